"""Importing into embedded nodes: every document on every in-sync replica, whatever the nodes do meanwhile."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from miroir_cli.cluster import Cluster
from miroir_cli.dev.engine.faults import Kind
from miroir_cli.documents.dry_run import route_documents
from miroir_cli.documents.load import ImportOptions, ImportSummary, import_documents
from miroir_cli.errors import Interrupted, ShardUnavailable, SourceInvalid, TemporaryError, UsageError
from miroir_cli.model import SHARD_FIELD, IndexMap, NodeName, StoredUid, spell_shard
from tests.backends import both_backends
from tests.documents.sample import as_ndjson
from tests.faults.world import N1, N2, UID, World, create, world_of

QUICK = ImportOptions(retry_for=0.3, batch_bytes=10_000)


def numbered(count: int, *, start: int = 0, **fields: Any) -> list[dict[str, Any]]:
    return [{"id": number, "text": f"text {number * 7919:x}", **fields} for number in range(start, start + count)]


def write_ndjson(folder: Path, documents: Sequence[dict[str, Any]], name: str = "a.ndjson") -> str:
    path = folder / name
    path.write_bytes(as_ndjson(documents))
    return str(path)


async def copies(cluster: Cluster) -> tuple[IndexMap, dict[str, list[dict[str, Any]]]]:
    """For each id its copies on in-sync replicas."""
    found = await cluster.reload(UID)
    held: dict[str, list[dict[str, Any]]] = {}
    for shard, nodes in found.in_sync().items():
        for node in nodes:
            body = {"filter": f'{SHARD_FIELD} = "{spell_shard(shard)}"', "limit": 1_000_000}
            for document in (await cluster.fleet[node].fetch_documents(StoredUid(UID), body))["results"]:
                assert document.pop(SHARD_FIELD) == spell_shard(shard)
                held.setdefault(str(document["id"]), []).append(document)
    return found, held


async def check(cluster: Cluster, documents: Iterable[dict[str, Any]]) -> None:
    """Exactly these documents, each on every in-sync replica of its shard and nowhere twice."""
    found, held = await copies(cluster)
    expected = {str(document["id"]): document for document in documents}
    assert held.keys() == expected.keys()
    sizes = {len(nodes) for nodes in found.in_sync().values()}
    for id, document in expected.items():
        assert len(held[id]) in sizes
        assert all(copy == document for copy in held[id])


@asynccontextmanager
async def opened(world: World, **options: Any) -> AsyncIterator[Cluster]:
    async with world.cluster() as cluster:
        await create(cluster, **options)
        yield cluster


async def load(cluster: Cluster, *sources: str, options: ImportOptions = QUICK) -> ImportSummary:
    return await import_documents(cluster, UID, sources, options=options)


@pytest.mark.parametrize("replicas", [1, 2])
async def test_every_document_is_on_every_replica_of_its_shard(tmp_path: Path, replicas: int) -> None:
    found = numbered(2000)
    with world_of(tmp_path, nodes=3, shards=6, replicas=replicas) as world:
        async with opened(world) as cluster:
            summary = await load(cluster, write_ndjson(tmp_path, found))
            await check(cluster, found)
    assert (summary.documents, summary.rejected, summary.resumed) == (2000, 0, False)
    assert summary.batches > 3
    assert summary.json().keys() == {"index", "documents", "rejected", "batches", "seconds", "resumed"}


@both_backends
async def test_several_files_and_formats_in_one_import_and_later_ones_win(tmp_path: Path) -> None:
    (tmp_path / "1.json").write_bytes(msgspec.json.encode(numbered(50)))
    (tmp_path / "2.csv").write_text("id:number,text\n" + "".join(f"{number},csv\n" for number in range(40, 60)))
    (tmp_path / "3.ndjson.gz").write_bytes(gzip.compress(as_ndjson(numbered(5, start=59))))
    expected = [*numbered(40), *({"id": number, "text": "csv"} for number in range(40, 59)), *numbered(5, start=59)]
    with world_of(tmp_path, nodes=2, shards=3, replicas=1) as world:
        async with opened(world) as cluster:
            summary = await load(cluster, str(tmp_path / "[123].*"))
            await check(cluster, expected)
    assert summary.documents == 75


async def test_partial_updates_merge_fields(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=2, shards=3, replicas=1) as world:
        async with opened(world) as cluster:
            await load(cluster, write_ndjson(tmp_path, numbered(30)))
            changes = write_ndjson(tmp_path, [{"id": number, "new": True} for number in range(30)], "b.ndjson")
            await load(cluster, changes, options=ImportOptions(update=True))
            await check(cluster, numbered(30, new=True))


async def test_bad_lines_are_named_and_the_rest_is_imported(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_bytes(b'{"id":1}\n{"x":\n{"name":"no key"}\n\n{"id":2}\n{"id":3,"_miroir_shard":1}\n\xff\n')
    rejects = tmp_path / "rejects.ndjson"
    with world_of(tmp_path, nodes=2, shards=2, replicas=1) as world:
        async with opened(world) as cluster:
            summary = await load(cluster, str(path), options=ImportOptions(rejects=rejects))
            await check(cluster, [{"id": 1}, {"id": 2}])
    assert (summary.documents, summary.rejected) == (2, 4)
    assert summary.reasons[1] == f"{path}, line 3: primary key `id` is missing"
    entries = [msgspec.json.decode(line) for line in rejects.read_bytes().splitlines()]
    assert [(entry["line"], entry["document"]) for entry in entries] == [
        (2, '{"x":'),
        (3, {"name": "no key"}),
        (6, {"id": 3, "_miroir_shard": 1}),
        (7, "�"),
    ]
    assert all(entry["file"] == str(path) and entry["reason"] for entry in entries)


@both_backends
async def test_a_dead_node_does_not_stop_an_import_with_two_replicas(tmp_path: Path) -> None:
    found = numbered(1000)
    with world_of(tmp_path, nodes=3, shards=6, replicas=2) as world:
        async with opened(world) as cluster:
            world.engine(2).stop()
            summary = await load(cluster, write_ndjson(tmp_path, found))
            await check(cluster, found)
            map = await cluster.reload(UID)
    assert summary.documents == 1000
    assert set(summary.stale) == {N2}
    assert summary.json()["stale"] == {"n2": list(summary.stale[N2])}
    assert all(N2 not in nodes for nodes in map.in_sync().values())


async def test_a_shard_whose_only_node_is_away_stops_the_import_and_the_same_call_goes_on(tmp_path: Path) -> None:
    found = numbered(1000)
    with world_of(tmp_path, nodes=2, shards=4, replicas=1) as world:
        source = write_ndjson(tmp_path, found)
        async with opened(world) as cluster:
            world.engine(2).stop()
            with pytest.raises(ShardUnavailable, match=r"no node took the documents of shards 0, 1 within 0.3 s"):
                await load(cluster, source)
            world.engine(2).start()
            summary = await load(cluster, source)
            await check(cluster, found)
    assert summary.documents == 1000
    assert summary.resumed


async def test_a_node_that_is_busy_is_asked_again(tmp_path: Path) -> None:
    found = numbered(300)
    with world_of(tmp_path, nodes=2, shards=4, replicas=1) as world:
        async with opened(world) as cluster:
            fault = world.engine(1).faults.add(Kind.REFUSE, count=4, status=503, method="POST", path="documents")
            summary = await load(
                cluster, write_ndjson(tmp_path, found), options=ImportOptions(retry_for=10, batch_bytes=10_000)
            )
            assert fault.hits == 4
            await check(cluster, found)
    assert summary.documents == 300
    assert not summary.stale


async def test_a_batch_that_is_too_large_is_sent_in_pieces(tmp_path: Path) -> None:
    found = numbered(300)
    with world_of(tmp_path, nodes=1, shards=2, replicas=1) as world:
        async with opened(world) as cluster:
            fault = world.engine(1).faults.add(Kind.REFUSE, count=4, status=413, method="POST", path="documents")
            summary = await load(cluster, write_ndjson(tmp_path, found))
            assert fault.hits == 4
            await check(cluster, found)
    assert summary.documents == 300


async def test_documents_of_a_failed_task_are_named_and_written_to_the_rejects(tmp_path: Path) -> None:
    found = numbered(100)
    rejects = tmp_path / "rejects.ndjson"
    with world_of(tmp_path, nodes=1, shards=2, replicas=1) as world:
        async with opened(world) as cluster:
            world.engine(1).faults.add(Kind.FAIL_TASK, task_type="documentAdditionOrUpdate", path="^books$")
            options = ImportOptions(batch_bytes=2000, rejects=rejects)
            summary = await load(cluster, write_ndjson(tmp_path, found), options=options)
            _, held = await copies(cluster)
    failed = [msgspec.json.decode(line) for line in rejects.read_bytes().splitlines()]
    assert summary.rejected == len(failed) > 0
    assert summary.documents == len(held) == 100 - len(failed)
    assert {str(entry["document"]["id"]) for entry in failed} == {str(one["id"]) for one in found} - held.keys()
    assert [entry["line"] for entry in failed] == [entry["document"]["id"] + 1 for entry in failed]
    (failure,) = summary.failures
    assert f"lines 1-{failed[-1]['line']}: {len(failed)} documents were not stored" in failure


async def test_a_replica_whose_task_fails_becomes_stale_and_nothing_is_lost(tmp_path: Path) -> None:
    found = numbered(200)
    with world_of(tmp_path, nodes=2, shards=2, replicas=2) as world:
        async with opened(world) as cluster:
            world.engine(1).faults.add(Kind.FAIL_TASK, task_type="documentAdditionOrUpdate", path="^books$")
            summary = await load(cluster, write_ndjson(tmp_path, found))
            await check(cluster, found)
    assert summary.documents == 200
    assert summary.rejected == 0
    assert set(summary.stale) == {N1}


async def test_a_changed_file_is_refused_until_told_to_begin_again(tmp_path: Path) -> None:
    found = numbered(500)
    source = write_ndjson(tmp_path, found)
    with world_of(tmp_path, nodes=2, shards=4, replicas=1) as world:
        async with opened(world) as cluster:
            world.engine(2).stop()
            with pytest.raises(TemporaryError):
                await load(cluster, source)
            world.engine(2).start()
            write_ndjson(tmp_path, found[:-1])
            with pytest.raises(SourceInvalid, match="has changed since its import was interrupted") as refused:
                await load(cluster, source)
            assert refused.value.hint == "`--restart` imports it from the beginning"
            summary = await load(cluster, source, options=ImportOptions(restart=True))
            assert (summary.documents, summary.resumed) == (499, False)


@both_backends
async def test_an_interruption_saves_and_the_same_call_goes_on(tmp_path: Path) -> None:
    found = numbered(3000)
    source = write_ndjson(tmp_path, found)
    with world_of(tmp_path, nodes=2, shards=4, replicas=2) as world:
        async with opened(world) as cluster:
            for engine in world.engines.values():
                engine.faults.add(Kind.DELAY, count=None, seconds=0.05, method="POST", path="documents$")
            task = asyncio.create_task(load(cluster, source))
            await asyncio.sleep(0.4)
            task.cancel()
            with pytest.raises(Interrupted, match="interrupted: .* documents were sent") as interrupted:
                await task
            assert interrupted.value.hint == "run the same command again: it goes on from there"
            for engine in world.engines.values():
                engine.faults.clear()
            summary = await load(cluster, source)
            assert summary.resumed
            assert summary.documents == 3000
            await check(cluster, found)


async def test_rejects_of_an_interrupted_import_are_there_once(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_bytes(b"".join(b'{"id":%d}\nbad %d\n' % (number, number) for number in range(2000)))
    rejects = tmp_path / "rejects.ndjson"
    options = ImportOptions(retry_for=0.2, batch_bytes=3000, rejects=rejects)
    with world_of(tmp_path, nodes=2, shards=4, replicas=1) as world:
        async with opened(world) as cluster:
            world.engine(2).stop()
            with pytest.raises(TemporaryError):
                await load(cluster, str(path), options=options)
            world.engine(2).start()
            summary = await load(cluster, str(path), options=options)
    assert (summary.documents, summary.rejected) == (2000, 2000)
    lines = [msgspec.json.decode(line)["line"] for line in rejects.read_bytes().splitlines()]
    assert lines == list(range(2, 4001, 2))


async def test_a_rejects_file_that_cannot_be_written_is_one_error_and_the_import_resumes(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_bytes(b'{"id":1}\nbad\n')
    with world_of(tmp_path, nodes=1, shards=1, replicas=1) as world:
        async with opened(world) as cluster:
            with pytest.raises(TemporaryError, match="cannot write the rejects to `/dev/full`: no space left") as full:
                await load(cluster, str(path), options=ImportOptions(rejects=Path("/dev/full")))
            assert full.value.exit_status == 5
            summary = await load(cluster, str(path), options=ImportOptions(rejects=tmp_path / "rejects"))
    assert (summary.documents, summary.rejected) == (1, 1)


async def test_a_dry_run_counts_and_sends_nothing(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=3, shards=6, replicas=2) as world:
        async with opened(world) as cluster:
            source = write_ndjson(tmp_path, [*numbered(100), {"no": "key"}])
            routing = await route_documents(cluster, UID, [source], options=ImportOptions())
            await check(cluster, [])
    assert (routing.documents, routing.rejected) == (100, 1)
    assert sum(routing.shards.values()) == 100
    assert sum(routing.nodes.values()) == 200
    assert set(routing.nodes) == {NodeName("n1"), NodeName("n2"), NodeName("n3")}


async def test_what_is_wrong_before_anything_is_sent_is_one_error(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=1, shards=1, replicas=1) as world:
        async with opened(world) as cluster:
            good = write_ndjson(tmp_path, numbered(3))
            (tmp_path / "bad.csv").write_text("name\nx\n")
            with pytest.raises(UsageError, match="has no column `id`"):
                await load(cluster, good, str(tmp_path / "bad.csv"))
            with pytest.raises(UsageError, match="has the primary key `id`, not `sku`"):
                await load(cluster, good, options=ImportOptions(primary_key="sku"))
            for name, message in [("missing", "no such file"), (".", "is a directory"), ("*.xyz", "no file matches")]:
                with pytest.raises(SourceInvalid, match=message):
                    await load(cluster, str(tmp_path / name))
            await check(cluster, [])
