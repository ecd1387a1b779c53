"""JSON from strangers: read as far as Meilisearch follows it. Pure."""

from __future__ import annotations

from typing import Any, Final

import msgspec

DEEPEST: Final = 127
"""Levels of nesting that serde_json follows. Whatever is read here may be walked through by functions that call
themselves."""


def read_json(text: bytes) -> Any:
    """The value of a JSON text. Raises `ValueError` for one that is malformed or nested too deeply for Meilisearch."""
    try:
        found = msgspec.json.decode(text)
    except RecursionError:
        raise ValueError("recursion limit exceeded") from None
    if text.count(b"[") + text.count(b"{") > DEEPEST and _is_deep(found):
        raise ValueError("recursion limit exceeded")
    return found


def _is_deep(value: Any) -> bool:
    level = [value] if isinstance(value, list | dict) else []
    for _ in range(DEEPEST):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, list | dict)
        ]
        if not level:
            return False
    return True
