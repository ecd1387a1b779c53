"""Bringing up the tasks of the first version of the schema, whose blocks were two strings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from miroir_cli.store.redis.columns import STATUS, SUBJECT, TIME, TYPE
from miroir_cli.store.redis.keys import key
from miroir_cli.store.redis.spans import TIMES, first_key, last_key
from miroir_cli.store.redis.task_changes import BLOCKS, marks_key, times_key

if TYPE_CHECKING:
    from miroir_cli.store.redis.transaction import Transaction

MARKED: Final = (STATUS, *reversed(SUBJECT), TYPE)
"""What each character of a task's marks was."""


async def part_columns(tx: Transaction) -> None:
    """Write each column of marks and times under its own key, and between which moments the times lie."""
    for block in map(int, await tx.names(BLOCKS)):
        marks, times = await tx.texts([key("task_marks", block), key("task_times", block)])
        for place, column in enumerate(MARKED):
            text = (marks or "")[place :: len(MARKED)]
            tx.put(marks_key(block, column), text if text.strip("\0") else None)
        for place, column in enumerate(TIMES):
            starts = range(place * TIME, len(times or ""), TIME * len(TIMES))
            found = [(times or "")[at : at + TIME] for at in starts]
            tx.put(times_key(block, column), "".join(found) or None)
            for moment in found:
                if moment.strip("\0"):
                    tx.bound(first=first_key(column), last=last_key(column), name=str(block), score=int(moment))
        for kind in ("task_marks", "task_times"):
            tx.put(key(kind, block), None)
