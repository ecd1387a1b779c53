"""Pages of tasks that are asked for by time, over several blocks of uids, on every backend."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from miroir_cli.store.redis.columns import BLOCK
from miroir_cli.store.sqlite import task_times
from miroir_cli.store.sqlite.store import SqliteStore
from miroir_cli.store.tasks import NewTask, Task, TaskEnd, TaskQuery, TaskStatus
from tests.store.contract.clients import ADDITION, SETTINGS, SWAP

TYPES, INDEXES = (ADDITION, SETTINGS, "a", "b", "c", "d"), ("books", "films", "people", "places")
ENDED = (TaskStatus.SUCCEEDED, TaskStatus.FAILED)
STATUSES = ("succeeded", "failed", "enqueued", "canceled")


async def skip_to(store: Any, uid: int) -> None:
    """The next task has this uid."""
    if isinstance(store, SqliteStore):
        await store._write(
            lambda db: db.conn.execute("update sqlite_sequence set seq = ? where name = 'tasks'", [uid - 1])
        )
    else:
        await store.access.ask("HSET", "miroir:counters", "tasks", uid)


async def fill(store: Any, rng: random.Random) -> list[tuple[Task, Sequence[str]]]:
    """Some tasks in each of a few blocks: in some they ended one after the other, in one at any moment; in one there
    are many kinds of them, and of one none has ended. Each with the indexes that it touches."""
    found: list[tuple[Task, Sequence[str]]] = []
    await store.add_task(NewTask(type="first"))
    await store.drop_task(0)
    for block, number in ((1, 12), (2, 40), (4, 9), (5, 3), (9, 6)):
        await skip_to(store, block * BLOCK + block)
        for place in range(number):
            moment = rng.randrange(60) if block == 4 else 10 * block + place % 9
            new = NewTask(type=rng.choice(TYPES), index_uid=rng.choice(INDEXES))
            if place % 11 == 5:
                new = NewTask(type=SWAP, indexes=tuple(rng.sample(INDEXES, 2)))
            begun = moment - 1 if place % 3 else None
            end = TaskEnd(uid=-1, status=rng.choice(ENDED), finished_at=moment, started_at=begun)
            found.append((await store.add_task(new, end=end if block != 5 else None), new.touched))
    return found


def fulfils(task: Task, touched: Sequence[str], query: TaskQuery) -> bool:
    def within(name: str, low: float, high: float) -> bool:
        moment = getattr(task, name)
        return moment is not None and low < moment < high

    return (
        (query.statuses is None or task.status in query.statuses)
        and (query.types is None or task.type in query.types)
        and (query.index_uids is None or not set(touched).isdisjoint(query.index_uids))
        and (not query.begun or task.started_at is not None)
        and all(within(name, float("-inf"), limit) for name, limit in query.before.items())
        and all(within(name, limit, float("inf")) for name, limit in query.after.items())
    )


def is_on_page(task: Task, query: TaskQuery) -> bool:
    if query.index_uids is not None and task.type == SWAP:
        return False
    return query.from_ is None or (task.uid >= query.from_ if query.reverse else task.uid <= query.from_)


def a_query(rng: random.Random) -> TaskQuery:
    def some(of: Sequence[str]) -> tuple[str, ...] | None:
        return rng.choice([None, tuple(rng.sample(of, rng.randint(0, 3)))])

    def limits(*moments: float) -> dict[str, float]:
        names = rng.sample(["enqueued_at", "started_at", "finished_at"], rng.choice([0, 1, 1, 2]))
        return {name: rng.choice(moments) for name in names}

    return TaskQuery(
        statuses=some(STATUSES),
        types=some(TYPES),
        index_uids=some(INDEXES),
        before=limits(1, 10, 15, 18.5, 22, 50, 10**15),
        after=limits(-1, 0, 9, 15, 20, 23.5, 45, 10**15) or {"finished_at": -1},
        begun=rng.random() < 0.2,
        from_=rng.choice([None, None, BLOCK + 5, 3 * BLOCK, 4 * BLOCK + 8, 10**9]),
        reverse=rng.random() < 0.5,
        limit=rng.choice([0, 1, 4, 25, 99]),
    )


async def test_what_is_asked_for_by_time_is_found_in_all_blocks(store: Any) -> None:
    assert task_times.BLOCK == BLOCK
    rng = random.Random(5)
    there = await fill(store, rng)
    found_any = 0
    for _ in range(600):
        query = a_query(rng)
        wanted = [task for task, touched in there if fulfils(task, touched, query)]
        uids = sorted((task.uid for task in wanted if is_on_page(task, query)), reverse=not query.reverse)
        page, total = await store.tasks(query)
        assert ([task.uid for task in page], total) == (uids[: query.limit], len(wanted)), query
        found_any += bool(page)
    assert found_any > 100, "most of this must be about something"
