"""What the order of writes asks of tasks in Redis, inside its own transactions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from miroir_cli.errors import WorkAhead
from miroir_cli.model import Index, IndexUid
from miroir_cli.store.redis import tasks
from miroir_cli.store.redis.columns import BLOCK
from miroir_cli.store.redis.fields import Command
from miroir_cli.store.redis.spans import SPANS
from miroir_cli.store.redis.store import RedisStore
from miroir_cli.store.redis.task_names import rename_tasks
from miroir_cli.store.redis.task_pages import read_tasks
from miroir_cli.store.redis.transaction import COUNTERS, Conflict, Transaction
from miroir_cli.store.tasks import NewTask, Task, TaskEnd, TaskQuery, TaskStatus

BOOKS, FILMS = IndexUid("books"), IndexUid("films")
ADDITION = NewTask(type="documentAdditionOrUpdate", index_uid=BOOKS)


async def of_intent(store: RedisStore, incarnation: int, n: int) -> Task:
    return await store.access.write(lambda tx: tasks.add_task(tx, ADDITION, intent=(incarnation, n)))


async def lowest(store: RedisStore, uid: str = BOOKS) -> int | None:
    return await store.access.read(lambda tx: tasks.lowest_unfinished(tx, uid))


async def test_a_write_keeps_behind_work_of_its_index(redis_store: RedisStore) -> None:
    store = redis_store
    await of_intent(store, 1, 1)
    await store.access.write(lambda tx: tasks.require_idle(tx, BOOKS))
    swap = await store.add_task(NewTask(type="indexSwap", indexes=(FILMS, BOOKS)))
    for uid in (BOOKS, FILMS):
        with pytest.raises(WorkAhead, match=f"`{uid}` waits for task 1"):
            await store.require_idle(uid)
    await store.require_idle("shelf")
    await store.end_tasks([TaskEnd(uid=swap.uid, status=TaskStatus.FAILED, finished_at=1)])
    await store.require_idle(BOOKS)


async def test_the_lowest_write_that_has_not_ended(redis_store: RedisStore) -> None:
    store = redis_store
    assert await lowest(store) is None
    first = [await of_intent(store, 1, n) for n in (7, 8)]
    await of_intent(store, 2, 9)
    await store.add_task(NewTask(type="settingsUpdate", index_uid=BOOKS))
    assert await lowest(store) == 7
    ends = [TaskEnd(uid=task.uid, status=TaskStatus.SUCCEEDED, finished_at=1) for task in first]
    assert await store.end_tasks(ends[:1]) == 1 and await lowest(store) == 8
    assert await store.end_tasks(ends) == 1 and await lowest(store) == 9
    assert await lowest(store, FILMS) is None


async def test_writes_go_along_with_their_index(redis_store: RedisStore) -> None:
    store = redis_store
    await of_intent(store, 1, 7)
    await of_intent(store, 2, 5)
    follows = {BOOKS: FILMS, FILMS: BOOKS}
    index = Index(uid=BOOKS, incarnation=2, primary_key="id", shards=1, replicas=1)
    await store.access.write(lambda tx: rename_tasks(tx, follows, {BOOKS: 9}, {BOOKS: index}))
    assert (await lowest(store), await lowest(store, FILMS)) == (None, 5)
    names = await store.access.ask("HGETALL", "miroir:task_names:films")
    assert names == {'["films",["films"],1,false]': "1", '["films",["films"],9,false]': "2"}


async def test_pages_are_looked_for_in_more_and_more_blocks(redis_store: RedisStore) -> None:
    store = redis_store
    uids: list[int] = []
    for block in (0, 1, 2, 5, 6, 9, 20):
        await store.access.ask("HSET", COUNTERS, "tasks", block * BLOCK + 7)
        uids += [(await store.add_task(NewTask(type=f"t{block % 2}", index_uid=FILMS))).uid for _ in range(3)]
    even = [uid for uid in uids if uid // BLOCK % 2 == 0]
    for type, there in ((None, uids), ("t0", even), ("t1", [uid for uid in uids if uid not in even])):
        for begin in (None, 0, 7, 8, BLOCK, 3 * BLOCK, 6 * BLOCK + 8, 30 * BLOCK):
            for reverse in (False, True):
                for limit in (1, 4, 11, 50):
                    query = TaskQuery(
                        types=None if type is None else (type,), limit=limit, from_=begin, reverse=reverse
                    )
                    page, total = await store.tasks(query)
                    behind = [uid for uid in there if begin is None or (uid >= begin if reverse else uid <= begin)]
                    expected = sorted(behind, reverse=not reverse)[:limit]
                    assert ([task.uid for task in page], total) == (expected, len(there)), query


async def test_a_page_on_which_a_task_has_changed_meanwhile_is_looked_for_again(redis_store: RedisStore) -> None:
    store = redis_store
    for _ in range(4):
        await store.add_task(NewTask(type="a", index_uid=FILMS))

    class Slow(Transaction):
        async def ask(self, commands: Sequence[Command], **more: Any) -> list[Any]:
            if commands[0][:2] == ("MGET", "miroir:tasks:3"):
                await store.end_tasks([TaskEnd(uid=3, status=TaskStatus.FAILED, finished_at=1)])
            return await super().ask(commands, **more)

    waiting = TaskQuery(statuses=("enqueued",), limit=2)
    with pytest.raises(Conflict):
        await read_tasks(Slow(store.access.client, watching=None), waiting)
    page, total = await store.tasks(waiting)
    assert ([task.uid for task in page], total) == ([2, 1], 3)


async def test_times_are_read_only_where_some_of_a_block_are_within_a_limit(redis_store: RedisStore) -> None:
    store = redis_store
    for block in range(4):
        await store.access.ask("HSET", COUNTERS, "tasks", block * BLOCK)
        for moment in (10 * block, 10 * block + 5):
            end = TaskEnd(uid=-1, status=TaskStatus.SUCCEEDED, finished_at=moment)
            await store.add_task(NewTask(type="a", index_uid=FILMS), end=end)
        await store.add_task(NewTask(type="a", index_uid=FILMS))
    one_block = 13 * BLOCK
    for limit, uids, blocks in ((10, [1, 0], 0), (15, [BLOCK, 1, 0], 1), (16, [BLOCK + 1, BLOCK, 1, 0], 0)):
        await store.access.ask("CONFIG", "RESETSTAT")
        page, total = await store.tasks(TaskQuery(before={"finished_at": limit}, limit=20))
        network = await store.access.ask("INFO", "stats")
        assert ([task.uid for task in page], total) == (uids, len(uids))
        assert network["total_net_output_bytes"] // one_block == blocks


async def test_pruned_blocks_leave_no_spans(redis_store: RedisStore) -> None:
    store = redis_store
    end = TaskEnd(uid=-1, status=TaskStatus.SUCCEEDED, finished_at=5, started_at=4)
    done = await store.add_task(NewTask(type="a", index_uid=FILMS), end=end)
    await store.access.ask("HSET", COUNTERS, "tasks", BLOCK)
    await store.add_task(NewTask(type="a", index_uid=FILMS))
    await store.tell_tasks([done.uid])
    assert await store.prune_tasks(before=6, keep=9) == 1
    left = {key: await store.access.ask("ZRANGE", key, 0, -1) for key in SPANS}
    assert left == {key: ["1"] if "enqueued" in key else [] for key in SPANS}
