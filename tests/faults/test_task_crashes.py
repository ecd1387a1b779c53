"""kill -9 at every step of a client's request: sent again with the same key it is one write, and its task ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from miroir_cli.cluster import Cluster
from miroir_cli.dev.engine.faults import Kind
from miroir_cli.model import IntentState
from miroir_cli.store.tasks import Task, TaskQuery, TaskStatus
from miroir_cli.tasks.finishing import finish
from miroir_cli.tasks.writing import Asked, delete_all, delete_documents
from tests.faults.process import Mortuary, request
from tests.faults.world import (
    N1,
    UID,
    Ledger,
    check,
    contents,
    create,
    eventually,
    keys_of_every_shard,
    stale,
    world_of,
)

POINTS = (
    "before:reserve",
    "after:reserve",
    "before:open_intent",
    "after:open_intent",
    "before:n2/documents",
    "after:n2/documents",
    "before:close_intent",
    "after:close_intent",
    "before:release",
    "after:release",
)


async def all_over(cluster: Cluster) -> list[Task]:
    """All tasks, once they have ended; oldest first."""

    async def over() -> bool:
        await finish(cluster)
        return not await cluster.store.any_unfinished()

    await eventually(over, timeout=20)
    return list((await cluster.store.tasks(TaskQuery(reverse=True)))[0])


@pytest.mark.parametrize("replicas", [1, 2])
async def test_a_request_that_is_sent_again_is_one_write(tmp_path: Path, replicas: int) -> None:
    with world_of(tmp_path, shards=2, replicas=replicas) as world, Mortuary(world.path) as mortuary:
        async with world.cluster() as cluster:
            index, ledger = await create(cluster), Ledger()
            keys = keys_of_every_shard(index)
            for value, point in enumerate(POINTS):
                documents = dict.fromkeys(keys, value)
                ledger.begun(documents)
                await mortuary.die("request", point, str(value))
                task = await request(cluster, value)
                tasks = await all_over(cluster)
                assert [each.uid for each in tasks if each.status is TaskStatus.SUCCEEDED][-1] == task.uid, point
                assert len(tasks) == value + 1, point
                assert (await request(cluster, value)).uid == task.uid, point
                ledger.acknowledged(documents)
                assert stale(await check(cluster, index, ledger)) == set(), point
            newest = await cluster.store.newest_intent(UID)
            assert newest is not None
            every = (await cluster.store.intents(UID, range(1, newest.n + 1))).values()
            assert sum(intent.state is IntentState.DONE for intent in every) == len(POINTS)


async def test_a_request_that_is_not_sent_again_has_a_task_that_says_what_became_of_it(tmp_path: Path) -> None:
    with world_of(tmp_path, shards=2) as world, Mortuary(world.path) as mortuary:
        async with world.cluster() as cluster:
            index = await create(cluster)
            await mortuary.die("request", "after:open_intent", "1")
            await mortuary.die("request", "before:close_intent*2", "2")
            first, second = await all_over(cluster)
            assert first.status is TaskStatus.FAILED
            assert first.error is not None and first.error["code"] == "miroir_write_unknown"
            assert first.details == {"receivedDocuments": 4, "indexedDocuments": 0}
            assert second.status is TaskStatus.SUCCEEDED
            assert second.details == {"receivedDocuments": 4, "indexedDocuments": 4}
            keys = keys_of_every_shard(index)
            found = [await contents(cluster, N1, index, shard) for shard in (await cluster.map(UID)).in_sync()]
            assert {key: value for shard in found for key, value in shard.items()} == dict.fromkeys(keys, 2)


@pytest.mark.parametrize(
    "point", ["before:settle_intents", "after:settle_intents", "before:end_tasks", "after:end_tasks"]
)
async def test_who_ends_tasks_can_die_anywhere(tmp_path: Path, point: str) -> None:
    with world_of(tmp_path, shards=2) as world, Mortuary(world.path) as mortuary:
        async with world.cluster() as cluster:
            await create(cluster)
            task = await request(cluster, 1)
            await mortuary.die("finish", point)
            (found,) = await all_over(cluster)
            assert (found.uid, found.status) == (task.uid, TaskStatus.SUCCEEDED)
            assert found.details == {"receivedDocuments": 4, "indexedDocuments": 4}


async def test_the_error_of_a_task_is_that_of_the_first_node_that_failed(tmp_path: Path) -> None:
    with world_of(tmp_path, shards=2) as world:
        async with world.cluster() as cluster:
            await create(cluster)
            await request(cluster, 0)
            for number in (1, 2):
                world.engine(number).faults.add(Kind.FAIL_TASK, count=1)
            await request(cluster, 1)
            first, second = await all_over(cluster)
            assert first.status is TaskStatus.SUCCEEDED
            assert second.status is TaskStatus.FAILED
            assert second.error is not None and second.error["message"] and set(second.error) == {
                "message", "code", "type", "link",
            }  # fmt: skip
            assert second.details == {"receivedDocuments": 4, "indexedDocuments": 0}


async def test_tasks_end_and_count_while_a_node_is_away(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=3, shards=3, replicas=2) as world:
        async with world.cluster() as cluster:
            await create(cluster)
            await request(cluster, 0)
            (first,) = await all_over(cluster)
            world.engine(3).stop()
            await request(cluster, 1)
            asked = Asked(uid=UID)
            await delete_documents(cluster, asked, keys_of_every_shard((await cluster.map(UID)).index)[:4])
            await delete_all(cluster, asked)
            _, second, third, fourth = await all_over(cluster)
            assert {task.status for task in (first, second, third, fourth)} == {TaskStatus.SUCCEEDED}
            assert second.details == {"receivedDocuments": 6, "indexedDocuments": 6}
            assert third.details is not None and third.details["deletedDocuments"] == 4
            assert fourth.details == {"deletedDocuments": 2}


async def test_a_count_that_only_a_dead_node_knows_is_not_invented(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=3, shards=3, replicas=2) as world:
        async with world.cluster() as cluster:
            await create(cluster)
            await request(cluster, 0)
            await all_over(cluster)
            world.engine(3).faults.add(Kind.DELAY_TASK, seconds=5)
            await delete_all(cluster, Asked(uid=UID))
            world.engine(3).stop()
            _, gone = await all_over(cluster)
            assert gone.status is TaskStatus.SUCCEEDED
            assert gone.details == {"deletedDocuments": None}
