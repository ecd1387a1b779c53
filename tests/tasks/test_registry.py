"""Tasks of clients: uids, the order of work, and work whose process is gone."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from miroir_cli.errors import NotFound, WorkAhead
from miroir_cli.model import Json
from miroir_cli.replication.settle import settle_until
from miroir_cli.replication.write import write
from miroir_cli.store.tasks import NewTask, Reservation, Task, TaskStatus
from miroir_cli.tasks.idempotency import digest_of, once
from miroir_cli.tasks.registry import bury, enqueue, finish_all, now, perform
from miroir_cli.tasks.view import receipt, show
from tests.backends import both_backends
from tests.faults.world import UID, addition, create, keys_of_every_shard, world_of

pytestmark = both_backends


async def _nothing() -> Json | None:
    return None


async def test_a_task_is_shown_as_meilisearch_shows_it(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=1, replicas=1) as world:
        async with world.cluster() as cluster:
            task = await enqueue(cluster, type="indexCreation", uid="films", details={"primaryKey": "id"})
            assert list(receipt(task)) == ["taskUid", "indexUid", "status", "type", "enqueuedAt"]
            assert receipt(task)["status"] == "enqueued"
            done = show(await perform(cluster, task, _nothing))
            names = (
                "uid batchUid indexUid status type canceledBy details error duration enqueuedAt startedAt finishedAt"
            )
            assert list(done) == names.split()
            assert done["status"] == "succeeded"
            assert done["details"] == {"primaryKey": "id"}
            assert done["duration"].startswith("PT0.") or done["duration"] == "PT0S"


async def test_an_error_of_the_work_becomes_that_of_the_task(tmp_path: Path) -> None:
    async def work() -> Json | None:
        raise NotFound("there is no such thing", hint="make one")

    with world_of(tmp_path, nodes=1, replicas=1) as world:
        async with world.cluster() as cluster:
            task = await enqueue(cluster, type="indexDeletion", uid="films", details={"deletedDocuments": None})
            failed = await perform(cluster, task, work)
            assert failed.status is TaskStatus.FAILED
            assert failed.error is not None and failed.error["code"] == "miroir_not_found"
            assert failed.details == {"deletedDocuments": 0}


async def test_work_of_an_index_is_done_in_the_order_of_the_uids(tmp_path: Path) -> None:
    """Also when what was recorded first is begun last, and by another process."""
    done: list[int] = []

    with world_of(tmp_path, nodes=1, replicas=1) as world:
        async with world.cluster() as cluster, world.cluster() as other:

            def work(number: int) -> Json | None:
                done.append(number)
                return {"number": number}

            first = await enqueue(cluster, type="settingsUpdate", uid="films", details={})
            second = await enqueue(other, type="settingsUpdate", uid="films", details={})
            elsewhere = await enqueue(other, type="settingsUpdate", uid="books", details={})

            def performed(number: int) -> asyncio.Task[Task]:
                who, task = (cluster, first) if number == 1 else (other, second if number == 2 else elsewhere)

                async def act() -> Json | None:
                    return work(number)

                return asyncio.create_task(perform(who, task, act))

            later = [performed(2), performed(3)]
            await asyncio.sleep(0.1)
            assert done == [3]
            await performed(1)
            await asyncio.gather(*later)
            assert done == [3, 1, 2]


async def test_the_client_waits_only_so_long(tmp_path: Path) -> None:
    gate = asyncio.Event()

    async def work() -> Json | None:
        await gate.wait()
        return None

    with world_of(tmp_path, nodes=1, replicas=1) as world:
        async with world.cluster() as cluster:
            task = await enqueue(cluster, type="settingsUpdate", uid="films", details={})
            assert (await perform(cluster, task, work, wait=0.05)).status is TaskStatus.PROCESSING
            gate.set()
            await finish_all(cluster)
            found = await cluster.store.task(task.uid)
            assert found is not None and found.status is TaskStatus.SUCCEEDED


async def test_a_canceled_task_is_not_begun(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=1, replicas=1) as world:
        async with world.cluster() as cluster:
            task = await enqueue(cluster, type="settingsUpdate", uid="films", details={})
            assert await cluster.store.cancel_tasks([task.uid], by=7) == (task.uid,)
            found = await perform(cluster, task, _fail)
            assert (found.status, found.canceled_by) == (TaskStatus.CANCELED, 7)


async def _fail() -> Json | None:
    raise AssertionError("must not be called")


async def test_work_whose_process_is_gone_holds_up_nobody(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=1, replicas=1) as world:
        async with world.cluster() as cluster:
            lost = await cluster.store.add_task(NewTask(type="settingsUpdate", index_uid="films", owner="1.nobody"))
            kept = await enqueue(cluster, type="settingsUpdate", uid="films", details={})
            assert (await perform(cluster, kept, _nothing)).status is TaskStatus.SUCCEEDED
            found = await cluster.store.task(lost.uid)
            assert found is not None and found.status is TaskStatus.FAILED
            assert found.error is not None and found.error["code"] == "miroir_interrupted"


async def test_work_of_a_living_process_is_not_given_up(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=1, replicas=1) as world:
        async with world.cluster() as cluster:
            task = await enqueue(cluster, type="settingsUpdate", uid="films", details={})
            await bury(cluster, [task])
            assert (await cluster.store.task(task.uid)) == task


async def test_a_write_has_its_task_from_the_moment_it_is_recorded_and_keeps_behind_work(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=1, replicas=1) as world:
        async with world.cluster() as cluster:
            index = await create(cluster)
            outgoing = addition(index, dict.fromkeys(keys_of_every_shard(index), 1))
            new = NewTask(type="documentAdditionOrUpdate", index_uid=UID, custom_metadata="mine")
            ahead = await enqueue(cluster, type="settingsUpdate", uid=UID, details={})
            with pytest.raises(WorkAhead):
                await write(cluster, index, replace(outgoing, task=new))
            assert await cluster.store.newest_intent(UID) is None
            await perform(cluster, ahead, _nothing)
            written = await write(cluster, index, replace(outgoing, task=new))
            task = await cluster.store.task_of(UID, index.incarnation, written.n)
            assert task is not None and (task.uid, task.custom_metadata) == (ahead.uid + 1, "mine")
            await settle_until(cluster, index, written.n)


async def test_a_key_stands_for_work_as_for_a_write(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=1, replicas=1) as world:
        async with world.cluster() as cluster:

            async def act(key: str) -> Task:
                return await enqueue(cluster, type="indexCreation", uid="films", details=None, key=key)

            digest = digest_of("POST", "/indexes", "application/json", b"{}")
            tasks = [await once(cluster, "k", digest, type="indexCreation", uid="films", act=act) for _ in range(2)]
            assert tasks[0] == tasks[1]


async def test_a_key_that_a_dead_process_reserved_is_taken_over(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=1, replicas=1) as world:
        async with world.cluster() as cluster:
            left = Reservation(key="k", digest="d", task=None, owner="1.nobody")
            assert await cluster.store.reserve(left, expires_at=now() + 1000) is None

            async def act(key: str) -> Task:
                return await enqueue(cluster, type="indexCreation", uid="films", details=None, key=key)

            assert (await once(cluster, "k", "d", type="indexCreation", uid="films", act=act)).uid == 0
