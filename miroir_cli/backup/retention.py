"""Which backups stay: rules as those of restic and borg. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from miroir_cli.errors import UsageError

AGE: Final = re.compile(r"(\d+)([hdwmy])")
UNITS: Final = {"h": 1, "d": 24, "w": 7 * 24, "m": 30 * 24, "y": 365 * 24}
"""Hours of each; a month has 30 days here."""


CLOCKS_DIFFER: Final = 600_000
"""Milliseconds that the clocks of two hosts may be apart."""


def parse_age(text: str) -> int:
    """`36h`, `30d`, `8w`, `6m` or `1y`, what `--keep-within` says, in milliseconds. Raises `UsageError`."""
    found = AGE.fullmatch(text.strip())
    if found is None or not int(found[1]):
        raise UsageError(
            f"`--keep-within` is `{text}`, expected a length of time", hint="such as `36h`, `30d`, `8w`, `6m` or `1y`"
        )
    return int(found[1]) * UNITS[found[2]] * 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Dated:
    """A backup and when it began: milliseconds since 1970, and the day, week and month of that in local time, as any
    texts that are equal for equal ones. Those of one `series` can stand for each other. An unfinished one is not
    `complete`."""

    id: str
    at: int
    day: str
    week: str
    month: str
    series: str = ""
    complete: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Of each of the last so many days, weeks, months that have a backup the newest one stays; so do the last so many,
    and all that are not older than `within` milliseconds."""

    last: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    within: int = 0

    def __bool__(self) -> bool:
        return any((self.last, self.daily, self.weekly, self.monthly, self.within))


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A backup with the reasons for which it stays; without any it goes."""

    backup: Dated
    reasons: tuple[str, ...]


def plan(backups: Sequence[Dated], rules: Rules, *, now: int, resumable: int) -> list[Kept]:
    """Say of each backup, newest first, why it stays. The rules are applied to each series by itself.

    The newest complete one always stays. An unfinished one does as long as its command would go on with it: it is not
    older than `resumable` milliseconds and nothing newer is complete. One from the future stays and counts for nothing:
    a clock was wrong, and the rules would keep it instead of what is really the newest.
    """
    series: dict[str, list[Dated]] = {}
    kept: list[Kept] = []
    for backup in sorted(backups, key=lambda backup: (backup.at, backup.id), reverse=True):
        if is_ahead(backup.at, now):
            kept.append(Kept(backup=backup, reasons=("future",)))
        else:
            series.setdefault(backup.series, []).append(backup)
    kept += [each for ordered in series.values() for each in _plan(ordered, rules, now=now, resumable=resumable)]
    return sorted(kept, key=lambda each: (each.backup.at, each.backup.id), reverse=True)


def is_ahead(at: int, now: int) -> bool:
    """Whether a time is later than the present, by more than clocks differ."""
    return at - now > CLOCKS_DIFFER


def _plan(ordered: Sequence[Dated], rules: Rules, *, now: int, resumable: int) -> list[Kept]:
    """The same for the backups of one series, newest first."""
    complete = [backup for backup in ordered if backup.complete]
    reasons: dict[str, list[str]] = {backup.id: [] for backup in ordered}
    if complete:
        reasons[complete[0].id].append("newest")
    periods: tuple[tuple[str, int, Callable[[Dated], str]], ...] = (
        ("last", rules.last, lambda backup: backup.id),
        ("daily", rules.daily, lambda backup: backup.day),
        ("weekly", rules.weekly, lambda backup: backup.week),
        ("monthly", rules.monthly, lambda backup: backup.month),
    )
    for name, count, period in periods:
        newest: dict[str, str] = {}
        for backup in complete:
            newest.setdefault(period(backup), backup.id)
        for id in list(newest.values())[:count]:
            reasons[id].append(name)
    for backup in complete:
        if now - backup.at <= rules.within and rules.within:
            reasons[backup.id].append("within")
    for backup in ordered:
        newer = complete and complete[0].at > backup.at
        if not backup.complete and not newer and now - backup.at <= resumable:
            reasons[backup.id].append("unfinished")
    return [Kept(backup=backup, reasons=tuple(reasons[backup.id])) for backup in ordered]
