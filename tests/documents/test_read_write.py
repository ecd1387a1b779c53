"""Getting, finding and deleting documents on embedded nodes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from miroir_cli.cluster import Cluster
from miroir_cli.dev.engine.faults import Kind
from miroir_cli.documents.load import ImportOptions, import_documents
from miroir_cli.documents.read import get_document, locate_document
from miroir_cli.documents.route import shard_of
from miroir_cli.documents.write import delete_documents
from miroir_cli.errors import (
    DocumentNotFound,
    IndexNotFound,
    NodeRefusal,
    ReservedField,
    ShardUnavailable,
    UsageError,
)
from miroir_cli.indexes.counts import count_documents
from tests.backends import both_backends
from tests.documents.test_import import check, numbered, write_ndjson
from tests.faults.world import N1, UID, World, create, world_of


@asynccontextmanager
async def filled(world: World, count: int = 60) -> AsyncIterator[Cluster]:
    async with world.cluster() as cluster:
        await create(cluster, settings={"filterableAttributes": ["id"]})
        source = write_ndjson(world.path.parent, numbered(count))
        await import_documents(cluster, UID, [source], options=ImportOptions())
        yield cluster


async def test_a_document_is_what_was_imported_without_what_is_miroirs_own(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=3, shards=6, replicas=2) as world:
        async with filled(world) as cluster:
            for document in numbered(20):
                assert await get_document(cluster, UID, str(document["id"])) == document
            assert await get_document(cluster, UID, "7", fields=["text"]) == {"text": numbered(8)[7]["text"]}


async def test_every_replica_in_turn_is_asked_until_one_answers(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=2, shards=4, replicas=2) as world:
        async with filled(world) as cluster:
            world.engine(1).stop()
            for document in numbered(10):
                assert await get_document(cluster, UID, str(document["id"])) == document
            world.engine(2).faults.add(Kind.REFUSE, count=None, status=503, path="documents")
            with pytest.raises(ShardUnavailable, match=r"no in-sync replica of shard \d of index `books` answers"):
                await get_document(cluster, UID, "1")


async def test_what_does_not_exist_is_named(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=1, shards=2, replicas=1) as world:
        async with filled(world, 3) as cluster:
            with pytest.raises(DocumentNotFound, match="document `99` not found in index `books`"):
                await get_document(cluster, UID, "99")
            with pytest.raises(IndexNotFound, match="index `book` not found"):
                await get_document(cluster, "book", "1")
            with pytest.raises(UsageError, match="`a b` cannot be a document's id"):
                await get_document(cluster, UID, "a b")
            with pytest.raises(ReservedField):
                await get_document(cluster, UID, "1", fields=["_miroir_shard"])


async def test_a_document_is_located_by_its_key_alone(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=3, shards=6, replicas=2) as world:
        async with filled(world, 3) as cluster:
            found = await locate_document(cluster, UID, "not-there")
            assert found.shard == shard_of("not-there", 6)
            assert found.in_sync == (await cluster.map(UID)).in_sync()[found.shard]
            assert found.others == {}


@both_backends
async def test_deleting_by_ids_takes_these_from_every_replica(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=3, shards=6, replicas=2) as world:
        async with filled(world) as cluster:
            summary = await delete_documents(cluster, UID, ids=[str(number) for number in range(30)])
            await check(cluster, numbered(30, start=30))
    assert (summary.ids, summary.writes, summary.stale) == (30, 1, {})


@both_backends
async def test_deleting_by_filter_takes_what_matches_from_every_replica(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=3, shards=6, replicas=2) as world:
        async with filled(world) as cluster:
            await delete_documents(cluster, UID, filter=["id >= 10", "id < 55"])
            await check(cluster, [*numbered(10), *numbered(5, start=55)])


@both_backends
async def test_deleting_everything_keeps_the_index(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=2, shards=4, replicas=2) as world:
        async with filled(world) as cluster:
            await delete_documents(cluster, UID)
            await check(cluster, [])


async def test_a_deletion_that_a_replica_misses_makes_it_stale(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=2, shards=4, replicas=2) as world:
        async with filled(world) as cluster:
            world.engine(1).stop()
            summary = await delete_documents(cluster, UID, ids=["1"])
            with pytest.raises(DocumentNotFound):
                await get_document(cluster, UID, "1")
    assert summary.stale == {N1: (shard_of("1", 4),)}


async def test_what_a_deletion_would_take_is_counted_once_whatever_the_replicas(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=3, shards=6, replicas=2) as world:
        async with filled(world) as cluster:
            index_map = await cluster.reload(UID)
            assert (await count_documents(cluster, index_map)).documents == 60
            assert (await count_documents(cluster, index_map, ids=["1", "2", "no-such"])).documents == 2
            assert (await count_documents(cluster, index_map, filter=["id < 7"])).documents == 7
            with pytest.raises(NodeRefusal, match="text"):
                await count_documents(cluster, index_map, filter=["text = 1"])
