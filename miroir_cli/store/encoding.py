"""How values are written where a store keeps text, and the time as all stores keep it."""

from __future__ import annotations

import time
from typing import Any

import msgspec


def to_json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def from_json(text: str) -> Any:
    return msgspec.json.decode(text)


def now() -> int:
    """Milliseconds since 1970, as all times in the store."""
    return time.time_ns() // 1_000_000
