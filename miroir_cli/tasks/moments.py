"""Moments and durations as text. A moment is milliseconds since 1970."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Final

MILLISECONDS_A_DAY: Final = 86_400_000
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
RFC3339: Final = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def show_moment(moment: int) -> str:
    """As RFC 3339 in UTC, always with a fraction: there are clients that cannot read a moment without one."""
    found = EPOCH + timedelta(milliseconds=moment)
    return f"{found:%Y-%m-%dT%H:%M:%S}.{moment % 1000:03}Z"


def show_duration(start: int | None, end: int | None) -> str | None:
    """As ISO 8601: days and seconds; None when one end is unknown or they are the wrong way round."""
    if start is None or end is None or end < start:
        return None
    days, rest = divmod(end - start, MILLISECONDS_A_DAY)
    seconds, milliseconds = divmod(rest, 1000)
    text = "P" + (f"{days}D" if days else "")
    if rest or not days:
        text += f"T{seconds}.{milliseconds:03}S" if milliseconds else f"T{seconds}S"
    return text


def read_moment(text: str, *, after: bool = False) -> float | None:
    """The moment that an RFC 3339 date and time, or a date, names; None when it is neither.

    A date alone is its beginning; with `after` its end, as what comes after a day begins there.
    """
    if match := RFC3339.fullmatch(text):
        day, time, fraction, zone = match.groups()
        try:
            moment = datetime.fromisoformat(f"{day}T{time}{zone.upper().replace('Z', '+00:00')}")
            return (moment - EPOCH) / timedelta(milliseconds=1) + float(f"0.{fraction or 0}") * 1000
        except (ValueError, OverflowError):
            return None
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
        return None
    try:
        found = date.fromisoformat(text)
    except ValueError:
        return None
    return (found.toordinal() - EPOCH.date().toordinal() + (1 if after else 0)) * float(MILLISECONDS_A_DAY)
