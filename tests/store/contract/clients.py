"""Tasks of clients, as the contract tests make them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from sqlite_utils import Database

from miroir_cli.model import Index, IndexUid, Json
from miroir_cli.store.records import Renaming
from miroir_cli.store.redis import tasks as in_redis
from miroir_cli.store.redis.store import RedisStore
from miroir_cli.store.redis.task_names import rename_tasks
from miroir_cli.store.redis.transaction import Transaction
from miroir_cli.store.sqlite import names as names_in_sqlite
from miroir_cli.store.sqlite import tasks as in_sqlite
from miroir_cli.store.sqlite.store import SqliteStore
from miroir_cli.store.tasks import NewTask, Task, TaskEnd, TaskQuery, TaskStatus

SETTINGS, ADDITION, SWAP = "settingsUpdate", "documentAdditionOrUpdate", "indexSwap"


async def work(store: Any, index: str | None = "books", *, type: str = SETTINGS, **more: Any) -> int:
    """Record work of an index; its uid."""
    return int((await store.add_task(NewTask(type=type, index_uid=index, **more))).uid)


async def add_write(store: SqliteStore | RedisStore, task: NewTask, *, incarnation: int, n: int) -> Task:
    """Record the task of an intent, as `open_intent` does in its transaction."""
    intent = (incarnation, n)
    if isinstance(store, SqliteStore):
        return await store._write(lambda db: in_sqlite.add_task(db, task, intent=intent))
    return await store.access.write(lambda tx: in_redis.add_task(tx, task, intent=intent))


async def add_many(store: SqliteStore | RedisStore, tasks: Sequence[NewTask], *, end: TaskEnd | None = None) -> None:
    """Record many tasks in a few transactions."""
    for start in range(0, len(tasks), 1000):
        page = tasks[start : start + 1000]
        if isinstance(store, SqliteStore):
            await store._write(partial(_add_rows, tasks=page, end=end))
        else:
            await store.access.write(partial(_add_records, tasks=page, end=end))


def _add_rows(db: Database, *, tasks: Sequence[NewTask], end: TaskEnd | None) -> None:
    for task in tasks:
        in_sqlite.add_task(db, task, end=end)


async def _add_records(tx: Transaction, *, tasks: Sequence[NewTask], end: TaskEnd | None) -> None:
    for task in tasks:
        await in_redis.add_task(tx, task, end=end)


async def write(store: Any, index: str = "books", *, incarnation: int = 1, n: int) -> int:
    task = NewTask(type=ADDITION, index_uid=index, documents=1)
    return (await add_write(store, task, incarnation=incarnation, n=n)).uid


async def add_writes(store: RedisStore, task: NewTask, number: int) -> None:
    """Record the tasks of many intents of an index, in a few transactions."""
    for start in range(0, number, 1000):
        await store.access.write(partial(_add_writes, task=task, numbers=range(start, min(start + 1000, number))))


async def _add_writes(tx: Transaction, *, task: NewTask, numbers: Iterable[int]) -> None:
    for n in numbers:
        await in_redis.add_task(tx, task, intent=(1, n))


async def rename(
    store: SqliteStore | RedisStore,
    follows: Mapping[IndexUid, IndexUid],
    fresh: Mapping[IndexUid, int],
    known: Mapping[IndexUid, Index],
) -> None:
    """Have tasks follow their indexes, as `Store.rename` does in its transaction."""
    if isinstance(store, SqliteStore):
        renaming = Renaming(pairs=(), indexes=known)
        await store._write(lambda db: names_in_sqlite._rename_tasks(db, renaming, follows, fresh))
    else:
        await store.access.write(lambda tx: rename_tasks(tx, follows, fresh, known))


async def end(
    store: Any, *uids: int, status: TaskStatus = TaskStatus.SUCCEEDED, finished_at: int = 1, details: Json | None = None
) -> int:
    ends = [TaskEnd(uid=uid, status=status, finished_at=finished_at, details=details) for uid in uids]
    return int(await store.end_tasks(ends))


async def uids_of(store: Any, **query: Any) -> list[int]:
    """The uids of a page, in its order."""
    page, _ = await store.tasks(TaskQuery(**query))
    return [task.uid for task in page]
