"""What a page of tasks costs does not depend on how many tasks there are, however they are chosen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from miroir_cli.store.redis.store import RedisStore
from miroir_cli.store.sqlite.store import SqliteStore
from miroir_cli.store.tasks import NewTask, TaskEnd, TaskQuery, TaskStatus
from tests.store.contract.clients import ADDITION, SETTINGS, add_many

Ask = Callable[[SqliteStore | RedisStore], Awaitable[Any]]


def page(**query: Any) -> Ask:
    return lambda store: store.tasks(TaskQuery(limit=20, **query))


QUESTIONS: dict[str, Ask] = {
    "newest": page(),
    "status": page(statuses=("succeeded",)),
    "rare status": page(statuses=("failed",)),
    "type": page(types=(SETTINGS,)),
    "index": page(index_uids=("books",)),
    "all at once": page(statuses=("succeeded", "failed"), types=(SETTINGS, ADDITION), index_uids=("books", "films")),
    "from the middle": page(statuses=("succeeded",), from_=1500),
    "oldest": page(index_uids=("films",), reverse=True),
    "batches": page(begun=True),
    "by time": page(before={"finished_at": 9}),
    "by time, rare": page(after={"finished_at": 1}, statuses=("failed",)),
    "canceled by": page(canceled_by=(9, 10)),
    "counts": lambda store: store.count_tasks(),
    "indexes": lambda store: store.task_indexes(),
}


async def fill(store: SqliteStore | RedisStore) -> None:
    done = TaskEnd(uid=-1, status=TaskStatus.SUCCEEDED, started_at=1, finished_at=2)
    for type in (SETTINGS, ADDITION):
        for index in ("books", "films"):
            await add_many(store, [NewTask(type=type, index_uid=index)] * 1000, end=done)
    await store.add_task(
        NewTask(type=ADDITION, index_uid="books"), end=TaskEnd(uid=-1, status=TaskStatus.FAILED, finished_at=3)
    )


@pytest.fixture
async def sqlite_store(tmp_path: Path) -> Any:
    store = SqliteStore.open(tmp_path / "state.db")
    yield store
    await store.close()


async def test_sqlite_takes_few_steps(sqlite_store: SqliteStore) -> None:
    """A step of its virtual machine is done a few million times a second; a look at each task would be ten of them."""
    await fill(sqlite_store)
    for name, ask in QUESTIONS.items():
        steps = 0

        def count() -> int:
            nonlocal steps
            steps += 100
            return 0

        sqlite_store._reader.conn.set_progress_handler(count, 100)
        await ask(sqlite_store)
        sqlite_store._reader.conn.set_progress_handler(None, 100)
        assert steps < 5000, name


async def test_redis_is_asked_a_few_times_and_no_task_is_read_that_is_not_shown(redis_store: RedisStore) -> None:
    await fill(redis_store)
    for name, ask in QUESTIONS.items():
        await redis_store.access.ask("CONFIG", "RESETSTAT")
        await ask(redis_store)
        stats = await redis_store.access.ask("INFO", "commandstats")
        calls = sum(stats[command]["calls"] for command in stats if not command.startswith("cmdstat_config"))
        network = await redis_store.access.ask("INFO", "stats")
        assert calls <= 24, (name, stats)
        assert network["total_net_output_bytes"] < 50_000, name
