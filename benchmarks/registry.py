"""Pages out of many tasks of clients, in both stores: `python -m benchmarks.registry [--tasks N] [--rounds N]`.

Fills a state file and a Redis (`redis-server` on PATH) of its own with the same tasks: five indexes, half of the tasks
of one of them, four types, one in fifty failed, the oldest hundred canceled, the newest hundred not ended. Prints the
median and the quickest of the same questions to each, in turns, the processor time of the quickest on this side, and
what room the tasks take.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.search import say
from miroir_cli.model import NodeName
from miroir_cli.store.redis.store import RedisStore
from miroir_cli.store.sqlite.store import SqliteStore
from miroir_cli.store.tasks import NewTask, TaskEnd, TaskQuery, TaskStatus
from tests.store.contract.clients import add_many
from tests.store.redis_server import running_redis

Store = SqliteStore | RedisStore
INDEXES = ("books", "films", "people", "places", "songs")
TYPES = ("documentAdditionOrUpdate", "documentDeletion", "settingsUpdate", "indexCreation")
OPEN = 100
"""Tasks that have not ended, and as many that were canceled."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, running_redis(Path(name) / "redis") as server:
        asyncio.run(compare(Path(name), server.url, tasks=options.tasks, rounds=options.rounds))


async def compare(folder: Path, url: str, *, tasks: int, rounds: int) -> None:
    stores: dict[str, Store] = {
        "sqlite": SqliteStore.open(folder / "state.db"),
        "redis": await RedisStore.open(url),
    }
    try:
        for name, store in stores.items():
            empty, begin = await room(store), time.perf_counter()
            await fill(store, tasks)
            spent, taken = time.perf_counter() - begin, await room(store) - empty
            say(f"{name}: {tasks} tasks recorded in {spent:.0f} s, {taken / tasks:.0f} bytes each")
        for question, ask in questions(tasks).items():
            took = await measure(stores, ask, rounds)
            say(f"{question}: " + ", ".join(f"{name} {shown(each)}" for name, each in took.items()))
    finally:
        for store in stores.values():
            await store.close()


def shown(took: Sequence[tuple[float, float]]) -> str:
    wall, own = zip(*took, strict=True)
    return f"{median(wall) * 1000:.1f} ms (quickest {min(wall) * 1000:.1f}, own processor time {min(own) * 1000:.1f})"


async def fill(store: Store, number: int) -> None:
    rng = random.Random(7)
    nodes = {NodeName(f"n{node}"): (100_000 + node,) for node in range(1, 4)}
    canceled = TaskEnd(uid=-1, status=TaskStatus.CANCELED, finished_at=1, canceled_by=number + 1)
    await add_many(store, [new_task(rng) for _ in range(OPEN)], end=canceled)
    for start in range(0, number, 1000):
        status = TaskStatus.FAILED if rng.random() < 0.02 else TaskStatus.SUCCEEDED
        end = TaskEnd(uid=-1, status=status, started_at=start + 1, finished_at=start + 2, node_tasks=nodes)
        await add_many(store, [new_task(rng) for _ in range(min(1000, number - start))], end=end)
    await add_many(store, [new_task(rng) for _ in range(OPEN)])
    for start in range(0, number, 1000):
        await store.tell_tasks(range(start, min(start + 1000, number)))


def new_task(rng: random.Random) -> NewTask:
    return NewTask(
        type=rng.choices(TYPES, (70, 15, 10, 5))[0],
        index_uid=rng.choices(INDEXES, (50, 20, 15, 10, 5))[0],
        details={"receivedDocuments": 1000, "indexedDocuments": 1000},
        documents=1000,
    )


async def room(store: Store) -> int:
    """Bytes that the store takes."""
    if isinstance(store, SqliteStore):
        pages, size = (
            store._reader.conn.execute(f"pragma {name}").fetchone()[0] for name in ("page_count", "page_size")
        )
        return int(pages * size)
    stats = await store.access.ask("MEMORY", "STATS")
    return int(stats["dataset.bytes"] + stats.get("db.0", {}).get("overhead.hashtable.main", 0))


def questions(number: int) -> dict[str, Callable[[Store], Awaitable[Any]]]:
    def page(**query: Any) -> Callable[[Store], Awaitable[Any]]:
        return lambda store: store.tasks(TaskQuery(limit=21, **query))

    return {
        "newest": page(),
        "from the middle": page(from_=number // 2),
        "oldest first": page(reverse=True),
        "status succeeded": page(statuses=("succeeded",)),
        "status failed": page(statuses=("failed",)),
        "not ended": page(statuses=("enqueued", "processing")),
        "type": page(types=(TYPES[0],)),
        "a rare type": page(types=(TYPES[3],)),
        "index": page(index_uids=(INDEXES[0],)),
        "index, from the middle": page(index_uids=(INDEXES[4],), from_=number // 2),
        "two statuses, two types, two indexes": page(
            statuses=("succeeded", "failed"), types=TYPES[:2], index_uids=INDEXES[:2]
        ),
        "finished before": page(before={"finished_at": number // 2}),
        "finished after, the oldest first": page(after={"finished_at": number // 2}, reverse=True),
        "begun between, with a status": page(
            after={"started_at": number // 4}, before={"started_at": number // 2}, statuses=("failed",)
        ),
        "enqueued before and finished after, of an index": page(
            before={"enqueued_at": 10**13}, after={"finished_at": number // 3}, index_uids=(INDEXES[1],)
        ),
        "finished before, a status, a type and an index": page(
            before={"finished_at": number // 2}, statuses=("succeeded",), types=(TYPES[3],), index_uids=(INDEXES[4],)
        ),
        "finished before, from the middle": page(before={"finished_at": number // 2}, from_=number // 4),
        "finished before all of them": page(before={"finished_at": 1}),
        "canceled by": page(canceled_by=(number + 1, number + 2)),
        "canceled": page(statuses=("canceled",)),
        "twenty uids": page(uids=tuple(range(0, number, number // 20))),
        "one task": lambda store: store.task(number // 3),
        "counts": lambda store: store.count_tasks(),
        "indexes": lambda store: store.task_indexes(),
        "what has not ended": lambda store: store.unfinished_work(),
    }


async def measure(
    stores: dict[str, Store], ask: Callable[[Store], Awaitable[Any]], rounds: int
) -> dict[str, list[tuple[float, float]]]:
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in stores}
    for _ in range(rounds):
        for name, store in stores.items():
            begin, used = time.perf_counter(), time.process_time()
            await ask(store)
            took[name].append((time.perf_counter() - begin, time.process_time() - used))
    return took


if __name__ == "__main__":
    main()
