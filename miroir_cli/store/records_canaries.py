"""Canaries: searches that are made again and again, with what their answers must be like."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from miroir_cli.model import Json

KEPT_CANARY_RUNS = 100
"""Of each canary."""


class CanaryStatus(StrEnum):
    """`error`: there was no answer to judge."""

    PASS = "pass"
    FAIL = "fail"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """A search of an index by its name, as a client makes it, every `interval_s` seconds. What gets the name later is
    searched then. `created_at`: milliseconds since 1970."""

    id: str
    name: str
    index_uid: str
    interval_s: int
    query: Json
    assertions: tuple[Any, ...]
    created_at: int
    enabled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryRun:
    """How a canary went at a moment (milliseconds since 1970)."""

    canary_id: str
    ran_at: int
    status: CanaryStatus
    latency_ms: int
    failed_assertions: tuple[Any, ...] = ()
