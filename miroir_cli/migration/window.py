"""Times for runs: the hours of the day in which they may go on, and lengths of time as people write them. No clock
is read here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from miroir_cli.errors import UsageError

WINDOW = re.compile(r"(\d{1,2}):(\d{2})-(\d{1,2}):(\d{2})")
DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A part of every day, in local time; one that closes before it opens goes over midnight."""

    opens: time
    closes: time

    def __str__(self) -> str:
        return f"{self.opens:%H:%M}-{self.closes:%H:%M}"

    def closing(self, now: datetime) -> datetime | None:
        """When it closes next, if it is open; `now` is local time without a zone."""
        closes = _next(self.closes, now)
        opened = _next(self.opens, closes - timedelta(days=1))
        return closes if opened <= now < closes else None

    def opening(self, now: datetime) -> datetime:
        """When it opens next."""
        return _next(self.opens, now)


def _next(moment: time, now: datetime) -> datetime:
    """The next time that the clock shows this, after `now`."""
    today = datetime.combine(now.date(), moment)
    return today if today > now else today + timedelta(days=1)


def parse_window(text: str) -> Window:
    """`01:00-05:00`, what `--window` says, as a window. Raises `UsageError`."""
    found = WINDOW.fullmatch(text.strip())
    hint = "such as `01:00-05:00`, or `22:00-04:00` over midnight"
    if found is None:
        raise UsageError(f"`--window` is `{text}`, expected HH:MM-HH:MM", hint=hint)
    hours, minutes, until_hours, until_minutes = map(int, found.groups())
    try:
        window = Window(opens=time(hours, minutes), closes=time(until_hours, until_minutes))
    except ValueError:
        raise UsageError(f"`--window` is `{text}`, expected hours up to 23 and minutes up to 59", hint=hint) from None
    if window.opens == window.closes:
        raise UsageError(f"`--window` is `{text}`, expected two different times", hint=hint)
    return window


def parse_duration(text: str) -> float:
    """`2h`, `90m`, `1h30m` or `45s`, what `--max-duration` says, in seconds. Raises `UsageError`."""
    found = DURATION.fullmatch(text.strip())
    seconds = (
        sum(int(part or 0) * unit for part, unit in zip(found.groups(), (3600, 60, 1), strict=True)) if found else 0
    )
    if not seconds:
        raise UsageError(
            f"`--max-duration` is `{text}`, expected a length of time", hint="such as `2h`, `90m`, `1h30m` or `45s`"
        )
    return float(seconds)
