"""What the formats hand to the router: raw documents with their places in the source, and lines that are none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """A line that cannot be imported: where it begins, why, and its bytes as far as they were kept."""

    line: int
    reason: str
    document: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Consecutive documents of one source, one JSON text a line and untouched.

    `lines`: each with its line break, a single `\\n`, also the last one; empty ones are no documents. `data`: the bytes
    that they were cut from. `numbers`: the line of the source at which each begins, from 1. `end`: the position after
    the last one, as the format counts (bytes or records), at which reading can begin again. `rejects`: what the format
    itself had to refuse. `encoded`: the lines are our own encoding of typed values, so that they are valid JSON without
    repeated or hidden names.
    """

    data: bytes
    lines: Sequence[bytes]
    numbers: Sequence[int]
    end: int
    rejects: Sequence[Reject] = field(default=())
    encoded: bool = False
