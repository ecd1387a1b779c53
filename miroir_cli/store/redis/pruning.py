"""What clients' tasks leave behind: those that ended long ago, and what nothing is kept under any more.

Everything is done in pages, each of them a transaction of its own that looks again at what it takes away: several may
prune at once, and each task is counted by the one that deleted it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from miroir_cli.store.redis.columns import BLOCK, Columns, Wanted, place
from miroir_cli.store.redis.keys import key
from miroir_cli.store.redis.spans import FIRST, LAST, members
from miroir_cli.store.redis.subjects import forget_subjects, unused_subjects
from miroir_cli.store.redis.task_changes import BLOCKS, leave_writes
from miroir_cli.store.redis.task_record import UNTOLD, WRITES
from miroir_cli.store.redis.tasks import delete_tasks
from miroir_cli.store.redis.transaction import COUNTERS
from miroir_cli.store.tasks import TaskStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from miroir_cli.store.redis.access import Access
    from miroir_cli.store.redis.transaction import Transaction

AT_ONCE: Final = 500

_FINAL: Final = tuple(status.value for status in TaskStatus if status.final)


async def prune_tasks(access: Access, *, before: int, keep: int) -> int:
    """Delete what ended before a moment, and the oldest of more than `keep`; how many. Only what webhooks were told."""
    columns = await access.read(_all_marks)
    beyond = columns.find(Wanted()).skip(max(0, keep - 1))
    pruned = 0
    for block in columns.blocks:
        uids = await access.read(partial(_prunable, block=block, before=before, beyond=beyond))
        for start in range(0, len(uids), AT_ONCE):
            pruned += await access.write(partial(delete_tasks, uids=uids[start : start + AT_ONCE], told=True))
    await _tidy(access)
    return pruned


async def _all_marks(tx: Transaction) -> Columns:
    (blocks,) = await tx.ask([("ZRANGE", BLOCKS, 0, -1)], watch=False)
    if not blocks:
        return Columns.of([], [])
    (marks,) = await tx.ask([("MGET", *(key("task_marks", block) for block in blocks))], watch=False)
    return Columns.of([int(block) for block in blocks], marks)


async def _prunable(tx: Transaction, *, block: int, before: int, beyond: int) -> Sequence[int]:
    """The tasks of a block that have ended and are told, and are too old or below `beyond`."""
    first = block * BLOCK
    marks, times, untold = await tx.ask(
        [
            ("GET", key("task_marks", block)),
            ("GET", key("task_times", block)),
            ("ZRANGEBYSCORE", UNTOLD, first, first + BLOCK - 1),
        ],
        watch=False,
    )
    columns = Columns.of([block], [marks], {block: times})
    old = columns.find(Wanted(statuses=_FINAL, before={"finished_at": before})).uids()
    over = [uid for uid in columns.find(Wanted(statuses=_FINAL)).uids() if uid < beyond]
    return sorted({*old, *over} - set(map(int, untold)))


async def _tidy(access: Access) -> None:
    """Take away blocks without tasks, and subjects and listings that are used no more."""
    await access.write(_free_blocks)
    await access.write(_leave_writes)
    unused = await access.read(unused_subjects)
    for start in range(0, len(unused), AT_ONCE):
        await access.write(partial(forget_subjects, numbers=unused[start : start + AT_ONCE]))


async def _free_blocks(tx: Transaction) -> None:
    """A block in front of that of the next task gets none any more. Which one that is has to be known first."""
    counter, blocks = await tx.ask([("HGET", COUNTERS, "tasks"), ("ZRANGE", BLOCKS, 0, -1)], watch=False)
    current, _ = place(int(counter or 0))
    old = [block for block in blocks if int(block) < current]
    if not old:
        return
    (marks,) = await tx.ask([("MGET", *(key("task_marks", block) for block in old))], watch=False)
    for block, text in zip(old, marks, strict=True):
        if not (text or "").strip("\0"):
            tx.put(key("task_marks", block), None)
            tx.put(key("task_times", block), None)
            tx.discard(BLOCKS, block)
            for name in members(int(block)):
                tx.discard(FIRST, name)
                tx.discard(LAST, name)


async def _leave_writes(tx: Transaction) -> None:
    (subjects,) = await tx.ask([("ZRANGE", WRITES, 0, -1)], watch=False)
    await leave_writes(tx, map(int, subjects), leaving=0)
