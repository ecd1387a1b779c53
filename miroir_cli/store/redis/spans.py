"""Between which moments the times of a block's tasks lie. Pure.

Tasks are numbered as they come, and mostly end in that order: of nearly all blocks either every time is within a limit
or none is, and no time has to be looked at.

- `miroir:task_first:_index`, `miroir:task_last:_index`: `<column>:<block>` -> the earliest and the latest time that a
  task of the block has had in the column. A time that is changed, or that goes with its task, leaves them as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import ceil, floor
from typing import TYPE_CHECKING, Final

from miroir_cli.store.redis.keys import listing

if TYPE_CHECKING:
    from miroir_cli.store.redis.fields import Command, Member

FIRST: Final = listing("task_first")
LAST: Final = listing("task_last")

TIMES: Final = ("enqueued_at", "started_at", "finished_at")
LATEST: Final = 10**13 - 1
"""Times have thirteen digits; later ones are kept as this one, earlier ones than 0 as 0."""

QUESTIONS: Final[tuple[Command, ...]] = tuple(("ZRANGE", key, 0, -1, "WITHSCORES") for key in (FIRST, LAST))

Spans = Mapping[str, tuple[float, float]]
"""Columns of blocks by `member`, with the earliest and the latest time; one that has no time at all is missing."""


def member(column: str, block: int) -> str:
    return f"{column}:{block}"


def members(block: int) -> Iterator[str]:
    """Those of a block, whether they are there or not."""
    return (member(column, block) for column in TIMES)


def kept(moment: int) -> int:
    """A time as it is kept."""
    return min(max(moment, 0), LATEST)


def spans_of(first: Iterable[Member], last: Iterable[Member]) -> dict[str, tuple[float, float]]:
    """What both sorted sets hold."""
    latest = {each.name: each.score for each in last}
    return {each.name: (each.score, latest[each.name]) for each in first if each.name in latest}


@dataclass(frozen=True, slots=True)
class Limit:
    """Times of a column from `first` to `last`, both within; there may be none."""

    column: str
    first: int
    last: int

    def holds_all(self, block: int, spans: Spans) -> bool | None:
        """Whether every time of a block is within; False: none is; None: each has to be looked at."""
        found = spans.get(member(self.column, block))
        if found is None or found[0] > self.last or found[1] < self.first:
            return False
        return True if self.first <= found[0] and found[1] <= self.last else None


def limits_of(before: Mapping[str, float], after: Mapping[str, float]) -> list[Limit]:
    """What is between moments that are not within themselves."""
    found = [Limit(column, 0, ceil(min(max(moment, 0), LATEST + 1)) - 1) for column, moment in before.items()]
    return [
        *found,
        *(Limit(column, floor(min(max(moment, -1), LATEST)) + 1, LATEST) for column, moment in after.items()),
    ]


def possible(blocks: Iterable[int], limits: Iterable[Limit], spans: Spans) -> list[int]:
    """The blocks that may have a task within all limits."""
    checked = list(limits)
    return [block for block in blocks if all(limit.holds_all(block, spans) is not False for limit in checked)]


def undecided(blocks: Iterable[int], limits: Iterable[Limit], spans: Spans) -> list[int]:
    """Those of the possible blocks of which times have to be looked at."""
    checked = list(limits)
    return [
        block
        for block in possible(blocks, checked, spans)
        if any(limit.holds_all(block, spans) is None for limit in checked)
    ]
