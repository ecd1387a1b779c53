"""Tasks of clients: recording them, beginning and ending their work, forgetting them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from miroir_cli.store.encoding import now
from miroir_cli.store.redis.idempotency import free, reservation_key, stand_for
from miroir_cli.store.redis.keys import listing
from miroir_cli.store.redis.subjects import Subject, names_key, number_of, subjects_named
from miroir_cli.store.redis.task_changes import (
    TYPES,
    forget_task,
    intents_key,
    leave_writes,
    read_records,
    save_task,
    subjects_of,
)
from miroir_cli.store.redis.task_record import Record, ended, record_of, task_of
from miroir_cli.store.redis.transaction import COUNTERS
from miroir_cli.store.refusals import work_ahead
from miroir_cli.store.tasks import TaskStatus

if TYPE_CHECKING:
    from miroir_cli.store.redis.transaction import Transaction
    from miroir_cli.store.tasks import NewTask, Task, TaskEnd


async def add_task(
    tx: Transaction, task: NewTask, *, end: TaskEnd | None = None, intent: tuple[int, int] | None = None
) -> Task:
    """Record a task under the next uid. `intent`: the incarnation and number of the one it stands for.

    `end`: it is final from the start; its `uid` does not count.
    """
    incarnation, n = intent or (None, None)
    record = Record(
        type=task.type,
        status=TaskStatus.ENQUEUED,
        subject=0,
        enqueued_at=now(),
        details=task.details,
        custom_metadata=task.custom_metadata,
        n=n,
        owner=task.owner,
        documents=task.documents,
        key=task.key,
    )
    record = record if end is None else ended(record, end)
    subject = Subject(index_uid=task.index_uid, touched=task.touched, incarnation=incarnation, waiting=record.waits)
    await _look_ahead(tx, subject, task.key)
    uid = await tx.next("tasks") - 1
    record = replace(record, subject=await number_of(tx, subject))
    await save_task(tx, uid, None, record, {record.subject: subject})
    if n is not None:
        tx.also("HSET", intents_key(record.subject, n), n, uid)
    if task.key is not None:
        await stand_for(tx, task.key, uid)
    return task_of(uid, record_of(record.written()), subject)


async def _look_ahead(tx: Transaction, subject: Subject, key: str | None) -> None:
    """Ask for all that a new task needs in one round trip."""
    hashes = [COUNTERS, TYPES, *map(names_key, subject.names)]
    texts = [] if key is None else [reservation_key(key)]
    await tx.ask([*(("HGETALL", each) for each in hashes), *(("GET", each) for each in texts)])


async def require_idle(tx: Transaction, index_uid: str) -> None:
    """Raise `WorkAhead` when work of the index that is no intent has not ended: writes keep behind it."""
    found = await tx.ranged(listing("task_work", index_uid), limit=1)
    if found:
        raise work_ahead(index_uid, int(found[0].name))


async def lowest_unfinished(tx: Transaction, index_uid: str) -> int | None:
    """The lowest intent of an index whose task has not ended. New ones are higher: nothing is begun again for them."""
    lowest: list[float] = []
    for number, subject in (await subjects_named(tx, index_uid)).items():
        if subject.index_uid == index_uid and subject.incarnation is not None:
            found = await tx.ranged(listing("task_writes", number), limit=1, watch=False)
            lowest += [member.score for member in found]
    return int(min(lowest)) if lowest else None


async def begin_task(tx: Transaction, uid: int) -> bool:
    """Mark a task as being worked on; False when it is not waiting any more."""
    record = (await read_records(tx, [uid])).get(uid)
    if record is None or record.status is not TaskStatus.ENQUEUED:
        return False
    begun = replace(record, status=TaskStatus.PROCESSING, started_at=now())
    await save_task(tx, uid, record, begun, await subjects_of(tx, {uid: record}))
    return True


async def end_tasks(tx: Transaction, ends: Sequence[TaskEnd]) -> int:
    """End tasks; one that has ended stays as it is. Returns how many did."""
    records = await read_records(tx, (end.uid for end in ends))
    subjects = await subjects_of(tx, records)
    done = 0
    for end in ends:
        record = records.get(end.uid)
        if record is not None and not record.status.final:
            records[end.uid] = await _end(tx, end.uid, record, ended(record, end), subjects)
            done += 1
    await leave_writes(tx, (record.subject for record in records.values() if record.n is not None), leaving=done)
    return done


async def cancel_tasks(tx: Transaction, uids: Iterable[int], *, by: int) -> tuple[int, ...]:
    """Cancel those that nobody has begun and that are no write; which ones that were."""
    records = await read_records(tx, uids)
    subjects = await subjects_of(tx, records)
    canceled = []
    for uid, record in records.items():
        if uid != by and record.n is None and record.status is TaskStatus.ENQUEUED:
            after = replace(record, status=TaskStatus.CANCELED, finished_at=now(), canceled_by=by)
            await _end(tx, uid, record, after, subjects)
            canceled.append(uid)
    return tuple(canceled)


async def drop_task(tx: Transaction, uid: int) -> None:
    """Forget a task whose request was refused after all: its client was told, and may use the key again."""
    records = await read_records(tx, [uid])
    for record in records.values():
        if record.key is not None:
            await free(tx, record.key, task=uid)
        forget_task(tx, uid, record, await subjects_of(tx, records))
        if record.n is not None:
            await leave_writes(tx, [record.subject], leaving=1)


async def delete_tasks(tx: Transaction, uids: Iterable[int], *, told: bool | None = None) -> int:
    """Delete those that have ended; how many. With `told`: only if webhooks were told of them."""
    records = await read_records(tx, uids)
    gone = {uid: record for uid, record in records.items() if record.status.final and told in (None, record.told)}
    subjects = await subjects_of(tx, gone)
    for uid, record in gone.items():
        forget_task(tx, uid, record, subjects)
    return len(gone)


async def tell_tasks(tx: Transaction, uids: Iterable[int]) -> None:
    """Webhooks were told of these."""
    records = await read_records(tx, uids)
    subjects = await subjects_of(tx, records)
    for uid, record in records.items():
        await save_task(tx, uid, record, replace(record, told=True), subjects)


async def _end(tx: Transaction, uid: int, before: Record, after: Record, subjects: dict[int, Subject]) -> Record:
    """Write a task that has ended; work is about the indexes from now on, not about their names."""
    if before.waits and not after.waits:
        subject = dataclasses.replace(subjects[before.subject], waiting=False)
        after = replace(after, subject=await number_of(tx, subject))
        subjects[after.subject] = subject
    await save_task(tx, uid, before, after, subjects)
    return after
