"""Values as the texts that Redis keeps: numbers in decimals, everything composed as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from miroir_cli.store.encoding import to_json


def texts(fields: Mapping[str, object]) -> dict[str, str]:
    """Fields of a hash: one that is None is left out, and what is neither a text nor a number is JSON."""
    return {name: _text(value) for name, value in fields.items() if value is not None}


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(int(value))
    return str(value) if isinstance(value, str | int | float) else to_json(value)


def number(text: str | None) -> int | None:
    """A number that may be missing."""
    return None if text is None else int(text)


def answered(found: Mapping[str, str] | Sequence[str]) -> dict[str, str]:
    """What a server answers to HGETALL, in either protocol."""
    return dict(found) if isinstance(found, Mapping) else dict(zip(found[::2], found[1::2], strict=True))
