"""Clients' writes of documents as tasks."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from miroir_cli.cluster import Cluster
from miroir_cli.dev.engine.faults import Kind
from miroir_cli.documents.formats import Format
from miroir_cli.documents.payload import read_payload
from miroir_cli.errors import ApiError, ShardUnavailable, WriteUnknown
from miroir_cli.model import ReplicaState, ShardId, StoredUid
from miroir_cli.store.tasks import Task, TaskQuery, TaskStatus
from miroir_cli.tasks.finishing import finish
from miroir_cli.tasks.registry import enqueue, finish_all, perform
from miroir_cli.tasks.writing import Asked, add_documents, delete_all, delete_by_filter, delete_documents
from tests.faults.world import N1, N2, UID, create, eventually, world_of

FILMS = Asked(uid=UID)


async def add(cluster: Cluster, *documents: Any, asked: Asked = FILMS, **options: Any) -> Task:
    payload = read_payload(json.dumps(documents).encode(), Format.JSON)
    return await ended(cluster, await add_documents(cluster, asked, payload, **options))


async def ended(cluster: Cluster, task: Task) -> Task:
    """The task once it has ended."""
    found = task

    async def over() -> bool:
        nonlocal found
        await finish(cluster)
        current = await cluster.store.task(task.uid)
        assert current is not None
        found = current
        return found.status.final

    await eventually(over)
    return found


def code(task: Task) -> str | None:
    return task.error["code"] if task.error else None


async def test_documents_are_stored_and_counted_once_whatever_the_replicas(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=3, shards=5, replicas=2) as world:
        async with world.cluster() as cluster:
            await create(cluster)
            documents = [{"id": number, "n": number} for number in range(40)]
            task = await add(cluster, *documents, {"id": "7", "n": 70}, asked=Asked(uid=UID, custom_metadata="mine"))
            assert task.status is TaskStatus.SUCCEEDED
            assert task.details == {"receivedDocuments": 41, "indexedDocuments": 40}
            assert task.custom_metadata == "mine"
            assert task.started_at is not None and task.finished_at is not None
            assert set(task.node_tasks) == {"n1", "n2", "n3"}
            gone = await ended(cluster, await delete_documents(cluster, FILMS, ["1", "2", "2", "none", "a b"]))
            assert gone.details == {"providedIds": 5, "deletedDocuments": 2, "originalFilter": None}
            gone = await ended(cluster, await delete_all(cluster, FILMS))
            assert gone.details == {"deletedDocuments": 38}


async def test_deletions_are_counted_exactly_when_replicas_are_missing(tmp_path: Path) -> None:
    """When each node lacks another shard there are no weights for their whole counts: each gets two requests."""
    with world_of(tmp_path, nodes=2, shards=4, replicas=2) as world:
        async with world.cluster() as cluster:
            await create(cluster, settings={"filterableAttributes": ["n"]})
            await add(cluster, *[{"id": number, "n": number % 3} for number in range(60)])
            lost = {N1: [ShardId(0)], N2: [ShardId(3)]}
            await cluster.store.mark(UID, lost, state=ReplicaState.STALE)
            gone = await ended(cluster, await delete_by_filter(cluster, FILMS, "n = 1"))
            assert gone.details is not None and gone.details["deletedDocuments"] == 20
            assert max(len(tasks) for tasks in gone.node_tasks.values()) == 2
            gone = await ended(cluster, await delete_documents(cluster, FILMS, [str(number) for number in range(30)]))
            assert gone.details is not None and gone.details["deletedDocuments"] == 20
            gone = await ended(cluster, await delete_all(cluster, FILMS))
            assert gone.details == {"deletedDocuments": 20}


async def test_a_filter_deletes_what_it_finds_and_shows_only_the_clients_words(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=3, shards=5, replicas=2) as world:
        async with world.cluster() as cluster:
            await create(cluster, settings={"filterableAttributes": ["n"]})
            await add(cluster, *[{"id": number, "n": number % 3} for number in range(30)])
            task = await ended(cluster, await delete_by_filter(cluster, FILMS, ["n = 1", ["n = 1", "n != 0"]]))
            assert task.details == {
                "providedIds": 0,
                "deletedDocuments": 10,
                "originalFilter": '["n = 1",["n = 1","n != 0"]]',
            }
            failed = await delete_by_filter(cluster, FILMS, "year = 1")
            assert (failed.status, code(failed)) == (TaskStatus.FAILED, "invalid_document_filter")
            assert failed.error is not None and "_miroir" not in failed.error["message"]
            assert failed.error["message"].startswith(f"Index `{UID}`: Attribute `year` is not filterable.")
            with pytest.raises(Exception, match="Was expecting"):
                await delete_by_filter(cluster, FILMS, "n >")
            assert (await cluster.store.tasks(TaskQuery()))[1] == 3


async def test_a_missing_index_is_made_with_the_primary_key_of_the_first_document(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            task = await add(cluster, {"title": "a", "filmID": 1}, {"title": "b", "filmID": 2})
            assert task.details == {"receivedDocuments": 2, "indexedDocuments": 2}
            assert (await cluster.map(UID)).index.primary_key == "filmID"
            other = await add(cluster, {"x": 1, "id": 2}, asked=Asked(uid="other"), primary_key="x")
            assert other.status is TaskStatus.SUCCEEDED
            assert (await cluster.map("other")).index.primary_key == "x"


@pytest.mark.parametrize(
    ("documents", "options", "expected"),
    [
        ([{"title": "a"}], {}, "index_primary_key_no_candidate_found"),
        ([{"aid": 1, "bId": 1}], {}, "index_primary_key_multiple_candidates_found"),
        ([{"id": 1}, {"x": 2}], {}, "missing_document_id"),
        ([{"id": "a b"}], {}, "invalid_document_id"),
        ([{"id": 1}], {"may_create": False}, "index_not_found"),
        ([{"id": 1, "_vectors": {"e": "x"}}], {}, "invalid_vectors_type"),
    ],
)
async def test_what_is_bound_to_fail_is_a_failed_task_and_the_index_has_no_primary_key_yet(
    tmp_path: Path, documents: list[Any], options: dict[str, Any], expected: str
) -> None:
    with world_of(tmp_path, nodes=1, replicas=1) as world:
        async with world.cluster() as cluster:
            task = await add(cluster, *documents, **options)
            assert (task.status, code(task)) == (TaskStatus.FAILED, expected)
            assert task.details == {"receivedDocuments": len(documents), "indexedDocuments": 0}
            map = await cluster.store.map(UID)
            assert (map is None) == (expected == "index_not_found")
            assert map is None or map.index.primary_key == ""
            if map is not None:
                task = await add(cluster, {"key": 1, "id": 2}, primary_key="key")
                assert task.details == {"receivedDocuments": 1, "indexedDocuments": 1}
                assert (await cluster.reload(UID)).index.primary_key == "key"


async def test_another_primary_key_is_refused_by_the_task(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=1, replicas=1) as world:
        async with world.cluster() as cluster:
            await create(cluster)
            assert code(await add(cluster, {"id": 1}, primary_key="x")) == "index_primary_key_already_exists"
            assert (await add(cluster, {"id": 1}, primary_key="id")).status is TaskStatus.SUCCEEDED


async def test_reserved_names_are_refused_at_once(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=1, replicas=1) as world:
        async with world.cluster() as cluster:
            await create(cluster)
            with pytest.raises(ApiError) as refused:
                await add(cluster, {"id": 1, "_miroir_shard": "x"})
            assert refused.value.api_code == "miroir_reserved_field"
            assert (await cluster.store.tasks(TaskQuery()))[1] == 0


async def test_deletions_in_an_index_that_is_not_there_fail(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=1, replicas=1) as world:
        async with world.cluster() as cluster:
            await create(cluster, "another")
            for task in (
                await delete_documents(cluster, FILMS, ["1"]),
                await delete_all(cluster, FILMS),
                await delete_by_filter(cluster, FILMS, "x = 1"),
            ):
                assert (task.status, code(task)) == (TaskStatus.FAILED, "index_not_found")
                assert task.error is not None and task.error["message"] == f"Index `{UID}` not found."


async def test_documents_are_not_made_where_the_client_says_so(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            await create(cluster)
            await add(cluster, {"id": 1, "a": 1})
            task = await add(cluster, {"id": 1, "b": 2}, {"id": 2, "b": 2}, update=True, skip_creation=True)
            assert task.status is TaskStatus.SUCCEEDED
            found = await cluster.fleet[next(iter(cluster.fleet))].fetch_documents(
                StoredUid(UID), {"fields": ["id", "a", "b"]}
            )
            assert found["results"] == [{"id": 1, "a": 1, "b": 2}]


async def test_a_write_waits_for_the_index_that_is_about_to_be_made(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster, world.cluster() as other:
            gate = asyncio.Event()

            async def work() -> None:
                await gate.wait()
                await create(cluster)

            task = await enqueue(cluster, type="indexCreation", uid=UID, details={"primaryKey": "id"})
            await perform(cluster, task, work, wait=0)
            writing = asyncio.create_task(add(other, {"id": 1, "bookId": 2}))
            await asyncio.sleep(0.1)
            assert not writing.done()
            gate.set()
            assert (await writing).status is TaskStatus.SUCCEEDED
            await finish_all(cluster)


async def test_a_write_of_which_nobody_answers_has_a_task_that_will_tell(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=1, replicas=1) as world:
        async with world.cluster() as cluster:
            await create(cluster)
            await add(cluster, {"id": 1})
            world.engine(1).faults.add(Kind.LATE, path="documents", seconds=0.5)
            with pytest.raises(WriteUnknown) as unknown:
                await add_documents(cluster, FILMS, read_payload(b'{"id": 2}', Format.JSON))
            assert unknown.value.hint == "`GET /tasks/1` will say what became of it"
            task = await cluster.store.task(1)
            assert task is not None
            assert (await ended(cluster, task)).status is TaskStatus.SUCCEEDED


async def test_a_write_that_no_node_takes_leaves_no_task(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=1, replicas=1) as world:
        async with world.cluster() as cluster:
            await create(cluster)
            await add(cluster, {"id": 1})
            world.engine(1).stop()
            with pytest.raises(ShardUnavailable):
                await add_documents(cluster, FILMS, read_payload(b'{"id": 2}', Format.JSON))
            assert (await cluster.store.tasks(TaskQuery()))[1] == 1
            world.engine(1).start()
            assert (await add(cluster, {"id": 2})).status is TaskStatus.SUCCEEDED


async def test_a_part_that_no_node_takes_fails_the_task_and_says_which(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=2, shards=2, replicas=1) as world:
        async with world.cluster() as cluster:
            await create(cluster)
            await add(cluster, {"id": 0})
            world.engine(2).stop()
            payload = read_payload(json.dumps([{"id": number} for number in range(20)]).encode(), Format.JSON)
            task = await ended(cluster, await add_documents(cluster, FILMS, payload))
            assert (task.status, code(task)) == (TaskStatus.FAILED, "miroir_shard_unavailable")
            stored = (await cluster.fleet[next(iter(cluster.fleet))].stats(StoredUid(UID)))["numberOfDocuments"]
            assert task.details == {"receivedDocuments": 20, "indexedDocuments": stored}
