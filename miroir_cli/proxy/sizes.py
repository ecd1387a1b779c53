"""Sizes as Meilisearch writes them for people: `1.99 KiB`. Pure."""

from __future__ import annotations

import re

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_SIZE = re.compile(r"(?P<number>\d+(?:\.\d+)?) (?P<unit>[KMGTP]?i?B)")


def for_people(size: int) -> str:
    """In the largest unit of which it is at least one, with two digits after the point where they say something."""
    number, unit = float(size), 0
    while number >= 1024 and unit < len(_UNITS) - 1:
        number /= 1024
        unit += 1
    return f"{f'{number:.2f}'.rstrip('0').rstrip('.')} {_UNITS[unit]}"


def in_bytes(written: str) -> int:
    """About the size that was written so."""
    match = _SIZE.fullmatch(written)
    if match is None or match["unit"] not in _UNITS:
        return 0
    return int(float(match["number"]) * float(1024 ** _UNITS.index(match["unit"])))
