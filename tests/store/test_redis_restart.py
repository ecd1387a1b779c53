"""Redis dies in the middle and is started again: nothing that was acknowledged is lost, and nothing is half there."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

from miroir_cli.errors import StateUnavailable
from miroir_cli.store.redis.store import RedisStore
from miroir_cli.store.tasks import NewTask, TaskEnd, TaskQuery, TaskStatus
from tests.store.redis_server import running_redis


async def test_acknowledged_tasks_outlive_a_redis_that_is_killed(tmp_path: Path) -> None:
    with running_redis(tmp_path) as server:
        stores = [await RedisStore.open(server.url) for _ in range(2)]
        acknowledged: dict[int, TaskStatus] = {}
        unknown: set[int] = set()
        enough = asyncio.Event()

        async def client(store: RedisStore, number: int) -> None:
            """Record tasks and end every other one, until nobody answers."""
            while True:
                uid = (await store.add_task(NewTask(type="settingsUpdate", index_uid=f"index{number}"))).uid
                acknowledged[uid] = TaskStatus.ENQUEUED
                if len(acknowledged) > 60:
                    enough.set()
                if uid % 2:
                    unknown.add(uid)
                    await store.end_tasks([TaskEnd(uid=uid, status=TaskStatus.SUCCEEDED, finished_at=uid)])
                    unknown.discard(uid)
                    acknowledged[uid] = TaskStatus.SUCCEEDED

        clients = [asyncio.create_task(client(stores[number % 2], number)) for number in range(6)]
        await enough.wait()
        server.kill()
        assert all(isinstance(end, StateUnavailable) for end in await asyncio.gather(*clients, return_exceptions=True))
        server.start()
        stores.append(await RedisStore.open(server.url))
        found = {task.uid: task.status for task in (await stores[-1].tasks(TaskQuery()))[0]}
        assert sorted(found) == list(range(len(found))), "no uid is missing"
        assert {uid: found[uid] for uid in acknowledged if uid not in unknown} == {
            uid: status for uid, status in acknowledged.items() if uid not in unknown
        }
        for store in stores:  # those that were open, too
            for status in TaskStatus:
                expected = tuple(uid for uid in sorted(found) if found[uid] is status)
                assert await store.task_uids(TaskQuery(statuses=(status.value,))) == expected
            assert await store.count_tasks() == Counter(found.values())
            assert (await store.add_task(NewTask(type="settingsUpdate"))).uid == len(found)
            found[len(found)] = TaskStatus.ENQUEUED
            await store.close()
