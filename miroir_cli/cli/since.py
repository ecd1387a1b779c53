"""`--since`: a length of time before now, or a moment."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Annotated, Final

import typer

from miroir_cli.errors import UsageError

UNITS: Final = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
LENGTH: Final = re.compile(r"(?:(\d{1,5})w)?(?:(\d{1,6})d)?(?:(\d{1,7})h)?(?:(\d{1,8})m)?(?:(\d{1,9})s)?")

SinceOption = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help="Only since then: `90m`, `2h`, `7d`, or `2026-11-27T08:00`."),
]


def since(text: str | None) -> int | None:
    """The moment that `--since` names, in milliseconds since 1970; None without it. Raises `UsageError`."""
    return None if text is None else parse_since(text, now=datetime.now())


def parse_since(text: str, *, now: datetime) -> int:
    """The same at a given moment; `now` is local time without a zone, as is a moment that names none."""
    written = text.strip()
    found = LENGTH.fullmatch(written)
    try:
        if found is not None and any(found.groups()):
            parts = zip(UNITS.values(), found.groups(), strict=True)
            moment = now - timedelta(**{unit: int(count) for unit, count in parts if count})
        else:
            moment = datetime.fromisoformat(written)
        return max(0, int(moment.timestamp() * 1000))
    except (ValueError, OverflowError):
        raise UsageError(
            f"`--since` is `{text}`, expected a length of time or a moment",
            hint="such as `90m`, `2h`, `7d`, `2026-11-27` or `2026-11-27T08:00`",
        ) from None
