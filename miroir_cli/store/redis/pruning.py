"""What clients' tasks leave behind: those that ended long ago, and what nothing is kept under any more.

Everything is done in pages, each of them a transaction of its own that looks again at what it takes away: several may
prune at once, and each task is counted by the one that deleted it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from miroir_cli.store.redis.columns import BLOCK, STATUS, Columns, Wanted, place
from miroir_cli.store.redis.spans import SPANS
from miroir_cli.store.redis.subjects import forget_subjects, unused_subjects
from miroir_cli.store.redis.task_changes import BLOCKS, block_keys, leave_writes, marks_key, times_key
from miroir_cli.store.redis.task_record import UNTOLD, WRITES
from miroir_cli.store.redis.tasks import delete_tasks
from miroir_cli.store.redis.transaction import COUNTERS
from miroir_cli.store.tasks import TaskStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from miroir_cli.store.redis.access import Access
    from miroir_cli.store.redis.transaction import Transaction

AT_ONCE: Final = 500
ENDED: Final = "finished_at"

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
        return Columns.of([], {STATUS: []})
    (marks,) = await tx.ask([("MGET", *(marks_key(block, STATUS) for block in blocks))], watch=False)
    return Columns.of([int(block) for block in blocks], {STATUS: marks})


async def _prunable(tx: Transaction, *, block: int, before: int, beyond: int) -> Sequence[int]:
    """The tasks of a block that have ended and are told, and are too old or below `beyond`."""
    first = block * BLOCK
    marks, times, untold = await tx.ask(
        [
            ("GET", marks_key(block, STATUS)),
            ("GET", times_key(block, ENDED)),
            ("ZRANGEBYSCORE", UNTOLD, first, first + BLOCK - 1),
        ],
        watch=False,
    )
    columns = Columns.of([block], {STATUS: [marks]}, {(ENDED, block): times})
    old = columns.find(Wanted(statuses=_FINAL, before={ENDED: before})).uids()
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
    (marks,) = await tx.ask([("MGET", *(marks_key(block, STATUS) for block in old))], watch=False)
    for block, text in zip(old, marks, strict=True):
        if not (text or "").strip("\0"):
            for key in block_keys(block):
                tx.put(key, None)
            tx.discard(BLOCKS, block)
            for span in SPANS:
                tx.discard(span, block)


async def _leave_writes(tx: Transaction) -> None:
    (subjects,) = await tx.ask([("ZRANGE", WRITES, 0, -1)], watch=False)
    await leave_writes(tx, map(int, subjects), leaving=0)
