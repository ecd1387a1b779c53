"""Writing one task, and everything by which it is found.

- `miroir:tasks:<uid>`: a `Record`. Their listing names the blocks in which they are marked.
- `miroir:task_marks:<block>:<column>`, `miroir:task_times:<block>:<column>`: what they are asked for by (`columns.py`),
  and between which moments their times lie (`spans.py`).
- `miroir:task_types`: type -> number. `miroir:task_type_counts`: type -> how many tasks have it.
- `miroir:task_statuses`: status, as it is marked -> how many tasks have it.
- `miroir:task_intents:<subject>:<n // 64>`: n -> the uid of the task that stands for the intent.

Only the task itself is read and watched: two changes disturb each other when they are of one task.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from miroir_cli.store.redis.columns import BLOCK, MARKS, STATUS, SUBJECT, TIME, TYPE, marks_of, place, status_mark, time
from miroir_cli.store.redis.keys import key, listing
from miroir_cli.store.redis.spans import TIMES, first_key, kept, last_key
from miroir_cli.store.redis.subjects import subjects_numbered, touched_key
from miroir_cli.store.redis.task_record import WRITES, Record, lists_of, record_of

if TYPE_CHECKING:
    from miroir_cli.store.redis.subjects import Subject
    from miroir_cli.store.redis.transaction import Transaction

BLOCKS: Final = listing("tasks")
TYPES: Final = key("task_types")
TYPE_COUNTS: Final = key("task_type_counts")
STATUSES: Final = key("task_statuses")

INTENTS_TOGETHER: Final = 64
"""Numbers of intents that are kept in one hash: few enough for Redis to keep it small."""


def marks_key(block: int | str, column: str) -> str:
    return key("task_marks", block, column)


def times_key(block: int | str, column: str) -> str:
    return key("task_times", block, column)


def block_keys(block: int | str) -> list[str]:
    """Every key of a block; some of them may not be there."""
    return [*(marks_key(block, column) for column in MARKS), *(times_key(block, column) for column in TIMES)]


def intents_key(subject: int, n: int) -> str:
    return key("task_intents", subject, n // INTENTS_TOGETHER)


async def read_records(tx: Transaction, uids: Iterable[int]) -> dict[int, Record]:
    """Those of the tasks that are there."""
    wanted = list(dict.fromkeys(uids))
    texts = await tx.texts(key("tasks", uid) for uid in wanted)
    return {uid: record_of(text) for uid, text in zip(wanted, texts, strict=True) if text is not None}


async def subjects_of(tx: Transaction, records: Mapping[int, Record]) -> dict[int, Subject]:
    """The subjects of these tasks, by their numbers."""
    return await subjects_numbered(tx, (record.subject for record in records.values()))


async def save_task(
    tx: Transaction, uid: int, before: Record | None, after: Record, subjects: Mapping[int, Subject]
) -> None:
    """Write a task as it is now. `before`: as it was, None for a new one. `subjects`: those of both, by numbers."""
    tx.put(key("tasks", uid), after.written())
    if before is None:
        await _begin_marks(tx, uid, after)
    else:
        _change_marks(tx, uid, before, after)
    _count(tx, before, after)
    _list(tx, uid, before, after, subjects)


def forget_task(tx: Transaction, uid: int, record: Record, subjects: Mapping[int, Subject]) -> None:
    """There is no such task any more. Its uid is never given again."""
    tx.put(key("tasks", uid), None)
    block, number = place(uid)
    tx.also("SETRANGE", marks_key(block, STATUS), number, "\0")
    if record.n is not None:
        tx.also("HDEL", intents_key(record.subject, record.n), record.n)
    _count(tx, record, None)
    _list(tx, uid, record, None, subjects)


async def leave_writes(tx: Transaction, subjects: Iterable[int], *, leaving: int) -> None:
    """Take those of the subjects out of the listing of writes that have none left, after `leaving` were ended at most.
    Only what seems to be empty is watched: the next write is not to disturb those that end."""
    numbers = sorted(set(subjects))
    sizes = await tx.ask([("ZCARD", listing("task_writes", number)) for number in numbers], watch=False)
    for number, size in zip(numbers, sizes, strict=True):
        if size <= leaving and not await tx.ranged(listing("task_writes", number), limit=1):
            tx.discard(WRITES, str(number))


# -- inside


async def _begin_marks(tx: Transaction, uid: int, record: Record) -> None:
    types = await tx.hash(TYPES)
    type = int(types.setdefault(record.type, str(len(types) + 1)))
    block, number = place(uid)
    tx.add(BLOCKS, str(block), block)
    if number == 0:  # at once as long as it will ever be: Redis doubles strings that grow
        for column in (STATUS, TYPE, SUBJECT[0]):
            tx.also("SETRANGE", marks_key(block, column), BLOCK - 1, "\0")
        for column in TIMES:
            tx.also("SETRANGE", times_key(block, column), BLOCK * TIME - 1, "\0")
    _set_marks(tx, uid, {}, _marks(record, type=type))
    _set_times(tx, uid, None, record)


def _change_marks(tx: Transaction, uid: int, before: Record, after: Record) -> None:
    _set_marks(tx, uid, _marks(before), _marks(after))
    _set_times(tx, uid, before, after)


def _marks(record: Record, *, type: int | None = None) -> dict[str, str]:
    return marks_of(record.status, begun=record.started_at is not None, subject=record.subject, type=type)


def _set_marks(tx: Transaction, uid: int, before: Mapping[str, str], after: Mapping[str, str]) -> None:
    block, number = place(uid)
    for column, mark in after.items():
        if mark != before.get(column, "\0"):
            tx.also("SETRANGE", marks_key(block, column), number, mark)


def _set_times(tx: Transaction, uid: int, before: Record | None, after: Record) -> None:
    block, number = place(uid)
    for column in TIMES:
        moment = getattr(after, column)
        if moment != (None if before is None else getattr(before, column)):
            tx.also("SETRANGE", times_key(block, column), number * TIME, time(moment))
            if moment is not None:
                tx.bound(first=first_key(column), last=last_key(column), name=str(block), score=kept(moment))


def _count(tx: Transaction, before: Record | None, after: Record | None) -> None:
    for record, by in ((before, -1), (after, 1)):
        if record is not None:
            letter = status_mark(record.status, begun=record.started_at is not None)
            tx.increase("HINCRBY", STATUSES, letter, by=by)
            tx.increase("HINCRBY", TYPE_COUNTS, record.type, by=by)
            if record.subject:
                tx.increase("INCRBY", touched_key(record.subject), by=by)


def _list(
    tx: Transaction, uid: int, before: Record | None, after: Record | None, subjects: Mapping[int, Subject]
) -> None:
    old = {} if before is None else lists_of(uid, before, subjects[before.subject])
    new = {} if after is None else lists_of(uid, after, subjects[after.subject])
    for name in old.keys() - new.keys():
        tx.discard(name, str(uid))
    for name, score in new.items():
        if old.get(name) != score:
            tx.add(name, str(uid), score)
    if after is not None and after.n is not None and not after.status.final:
        tx.add(WRITES, str(after.subject), after.subject)
