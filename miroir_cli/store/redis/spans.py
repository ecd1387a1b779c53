"""Between which moments the times of a block's tasks lie. Pure.

Tasks are numbered as they come, and mostly end in that order: of nearly all blocks either every time is within a limit
or none is, and no time has to be looked at.

- `miroir:task_first:<column>`, `miroir:task_last:<column>`: block -> the earliest and the latest time that a task of it
  has had in the column. A time that is changed, or that goes with its task, leaves them as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import TYPE_CHECKING, Final

from miroir_cli.store.redis.keys import key

if TYPE_CHECKING:
    from miroir_cli.store.redis.fields import Command, Member

TIMES: Final = ("enqueued_at", "started_at", "finished_at")
LATEST: Final = 10**13 - 1
"""Times have thirteen digits; later ones are kept as this one, earlier ones than 0 as 0."""

Spans = Mapping[tuple[str, int], tuple[float, float]]
"""The earliest and the latest time, by column and block; where there is no time at all it is missing."""


def first_key(column: str) -> str:
    return key("task_first", column)


def last_key(column: str) -> str:
    return key("task_last", column)


SPANS: Final = tuple(name(column) for column in TIMES for name in (first_key, last_key))
"""The keys of all spans."""


def kept(moment: int) -> int:
    """A time as it is kept."""
    return min(max(moment, 0), LATEST)


@dataclass(frozen=True, slots=True)
class Limit:
    """Times of a column from `first` to `last`, both within; there may be none."""

    column: str
    first: int
    last: int

    def holds_all(self, block: int, spans: Spans) -> bool | None:
        """Whether every time of a block is within; False: none is; None: each has to be looked at."""
        found = spans.get((self.column, block))
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


def questions(limits: Iterable[Limit]) -> list[Command]:
    """What to ask for the spans by which limits are decided."""
    return [
        ("ZRANGE", name(column), 0, -1, "WITHSCORES") for column in _columns(limits) for name in (first_key, last_key)
    ]


def spans_of(
    limits: Iterable[Limit], answers: Sequence[Iterable[Member]]
) -> dict[tuple[str, int], tuple[float, float]]:
    """What is answered to these questions."""
    found: dict[tuple[str, int], tuple[float, float]] = {}
    for column, firsts, lasts in zip(_columns(limits), answers[::2], answers[1::2], strict=True):
        latest = {each.name: each.score for each in lasts}
        found |= {(column, int(each.name)): (each.score, latest[each.name]) for each in firsts if each.name in latest}
    return found


def _columns(limits: Iterable[Limit]) -> list[str]:
    return list(dict.fromkeys(limit.column for limit in limits))


def possible(blocks: Iterable[int], limits: Iterable[Limit], spans: Spans) -> list[int]:
    """The blocks that may have a task within all limits."""
    checked = list(limits)
    return [block for block in blocks if all(limit.holds_all(block, spans) is not False for limit in checked)]


def undecided(blocks: Iterable[int], limits: Iterable[Limit], spans: Spans) -> list[tuple[str, int]]:
    """The columns and blocks of which times have to be looked at, as far as that decides anything."""
    checked = list(limits)
    found = {
        (limit.column, block): None
        for block in possible(blocks, checked, spans)
        for limit in checked
        if limit.holds_all(block, spans) is None
    }
    return list(found)
