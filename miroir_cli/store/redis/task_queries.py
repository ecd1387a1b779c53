"""Single tasks, how many there are of them, and what has not ended.

Nothing here is read twice to see that it is of one moment, however large it is: what has changed meanwhile is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from miroir_cli.store.redis.columns import status_mark, status_of
from miroir_cli.store.redis.keys import key, listing
from miroir_cli.store.redis.subjects import (
    NOTHING,
    SUBJECTS,
    Subject,
    names_key,
    subject_of,
    subjects_in,
    subjects_numbered,
    touched_key,
)
from miroir_cli.store.redis.task_changes import STATUSES, intents_key
from miroir_cli.store.redis.task_record import (
    UNTOLD,
    WORK,
    WRITES,
    Record,
    record_of,
    task_of,
)
from miroir_cli.store.redis.transaction import Conflict
from miroir_cli.store.redis.values import answered
from miroir_cli.store.tasks import UNFINISHED

if TYPE_CHECKING:
    from miroir_cli.store.redis.fields import Command
    from miroir_cli.store.redis.transaction import Transaction
    from miroir_cli.store.tasks import Task, TaskStatus

AT_ONCE = 1000
"""Tasks that are read in one round trip."""


async def read_task(tx: Transaction, uid: int) -> Task | None:
    return (await read_all(tx, [uid])).get(uid)


async def read_task_of(tx: Transaction, index_uid: str, incarnation: int, n: int) -> Task | None:
    """The task that stands for an intent."""
    (names,) = await tx.ask([("HGETALL", names_key(index_uid))], watch=False)
    for number, subject in subjects_in(answered(names)).items():
        if (subject.index_uid, subject.incarnation) == (index_uid, incarnation):
            (uid,) = await tx.ask([("HGET", intents_key(number, n), n)], watch=False)
            if uid is not None:
                return await read_task(tx, int(uid))
    return None


# -- counts


async def count_tasks(tx: Transaction) -> dict[TaskStatus, int]:
    """How many tasks have each status."""
    (found,) = await tx.ask([("HGETALL", STATUSES)], watch=False)
    counts: Counter[TaskStatus] = Counter()
    for letter, count in answered(found).items():
        counts[status_of(letter)] += int(count)
    return {status: count for status, count in counts.items() if count}


async def any_unfinished(tx: Transaction) -> bool:
    """Whether any task has not ended."""
    letters = [status_mark(status, begun=begun) for status in UNFINISHED for begun in (False, True)]
    (counts,) = await tx.ask([("HMGET", STATUSES, *letters)], watch=False)
    return any(count is not None and int(count) for count in counts)


async def read_task_indexes(tx: Transaction) -> tuple[str, ...]:
    """The indexes that any task touches."""
    (found,) = await tx.ask([("HGETALL", SUBJECTS)], watch=False)
    subjects = {int(number): subject_of(text) for number, text in answered(found).items()}
    counts = await texts_of(tx, [touched_key(number) for number in subjects])
    used = (subject for subject, count in zip(subjects.values(), counts, strict=True) if count and int(count))
    return tuple(sorted({name for subject in used for name in subject.touched}))


# -- what has not ended


async def read_work(tx: Transaction) -> tuple[Task, ...]:
    """Work that is no write and has not ended, oldest first."""
    (uids,) = await tx.ask([("ZRANGE", WORK, 0, -1)], watch=False)
    return _unfinished(await read_all(tx, map(int, uids)))


async def read_writes(tx: Transaction, *, limit: int) -> dict[str, tuple[Task, ...]]:
    """For each index the first writes that have not ended, in their order, `limit` of them at most."""
    (subjects,) = await tx.ask([("ZRANGE", WRITES, 0, -1)], watch=False)
    if not subjects or limit <= 0:
        return {}
    first = [("ZRANGE", listing("task_writes", subject), 0, limit - 1) for subject in subjects]
    found = await tx.ask(first, watch=False)
    tasks = _unfinished(await read_all(tx, (int(uid) for uids in found for uid in uids)))
    writes: dict[str, list[Task]] = {}
    for task in tasks:
        if task.index_uid is not None:
            writes.setdefault(task.index_uid, []).append(task)
    return {uid: tuple(sorted(writes[uid], key=_by_intent)[:limit]) for uid in sorted(writes)}


def _by_intent(task: Task) -> tuple[int, int]:
    return task.n or 0, task.uid


async def read_ahead(tx: Transaction, task: Task, *, intents: bool) -> tuple[Task, ...]:
    """Earlier tasks of the same indexes that have not ended; with `intents` those that are a write as well."""
    (text,) = await texts_of(tx, [key("tasks", task.uid)])
    if text is None:
        return ()
    own = record_of(text).subject
    names = (await subjects_numbered(tx, [own])).get(own, NOTHING).touched
    commands: list[Command] = [("ZRANGEBYSCORE", listing("task_work", name), "-inf", task.uid - 1) for name in names]
    if intents:
        named = await tx.ask([("HGETALL", names_key(name)) for name in names], watch=False) if names else []
        writing = touching(names, [subjects_in(answered(fields)) for fields in named])
        commands += [("ZRANGE", listing("task_writes", subject), 0, -1) for subject in sorted(writing)]
    found = await tx.ask(commands, watch=False) if commands else []
    ahead = sorted({int(uid) for uids in found for uid in uids if int(uid) < task.uid})
    return _unfinished(await read_all(tx, ahead))


async def read_untold(tx: Transaction, *, limit: int) -> tuple[Task, ...]:
    """Tasks that have ended and of which no webhook was told, oldest first."""
    if limit <= 0:
        return ()
    (uids,) = await tx.ask([("ZRANGE", UNTOLD, 0, limit - 1)], watch=False)
    return tuple((await read_all(tx, map(int, uids))).values())


def _unfinished(tasks: Mapping[int, Task]) -> tuple[Task, ...]:
    """Those that have not ended meanwhile."""
    return tuple(task for task in tasks.values() if not task.status.final)


# -- tasks


async def read_all(tx: Transaction, uids: Iterable[int]) -> dict[int, Task]:
    """Those of the tasks that are there."""
    return await tasks_of(tx, await look_at(tx, uids))


async def look_at(tx: Transaction, uids: Iterable[int]) -> dict[int, Record]:
    """Those of the tasks that are there, as they are kept."""
    left = list(uids)
    found: dict[int, Record] = {}
    for start in range(0, len(left), AT_ONCE):
        chunk = left[start : start + AT_ONCE]
        texts = await texts_of(tx, [key("tasks", uid) for uid in chunk])
        found |= {uid: record_of(text) for uid, text in zip(chunk, texts, strict=True) if text is not None}
    return found


async def tasks_of(tx: Transaction, records: Mapping[int, Record]) -> dict[int, Task]:
    """The tasks, with the names that their subjects have now. One whose subject is gone was deleted meanwhile."""
    subjects = await subjects_numbered(tx, (record.subject for record in records.values()))
    if not subjects.keys() >= {record.subject for record in records.values()}:
        raise Conflict
    return {uid: task_of(uid, record, subjects[record.subject]) for uid, record in records.items()}


async def texts_of(tx: Transaction, keys: Sequence[str]) -> list[str | None]:
    found: list[list[str | None]] = await tx.ask([("MGET", *keys)], watch=False) if keys else [[]]
    return found[0]


def touching(indexes: Iterable[str], named: Iterable[Mapping[int, Subject]]) -> set[int]:
    """The subjects of tasks that touch any of the indexes; `named`: those in which the name of each occurs."""
    return {
        number
        for name, subjects in zip(indexes, named, strict=True)
        for number, subject in subjects.items()
        if name in subject.touched
    }
