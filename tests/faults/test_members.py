"""Which disks belong to the cluster: foreign, swapped, emptied and rolled back ones, and an older state file."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from miroir_cli.cluster import Cluster
from miroir_cli.dev.engine.faults import Kind
from miroir_cli.errors import EpochStale, ForeignNode, NodeUnavailable
from miroir_cli.indexes.catalog import delete_index
from miroir_cli.model import NodeName, ReplicaState, ShardId, StoredUid
from miroir_cli.replication.members import call_roll, publish
from tests.backends import about_the_file, both_backends, lose_state
from tests.faults.world import (
    N1,
    N2,
    UID,
    Ledger,
    check,
    copies_are_kept_from_searches,
    create,
    eventually,
    keys_of_every_shard,
    put,
    world_of,
)


async def test_new_nodes_are_welcomed_once(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            assert (await call_roll(cluster)).present == ("n1", "n2")
            tops = [await client.top_task() for client in cluster.fleet.clients.values()]
            assert (await call_roll(cluster)).present == ("n1", "n2")
            assert [await client.top_task() for client in cluster.fleet.clients.values()] == tops


async def test_a_copy_of_the_map_is_one_task_and_a_tombstone_leaves_nothing_of_it(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            index = await create(cluster, settings={"stopWords": ["the"]})
            client = cluster.fleet[N1]
            top = await client.top_task()
            await publish(cluster, UID)
            assert await client.top_task() == top + 1
            await delete_index(cluster, UID)

            async def is_buried() -> bool:
                return bool((await client.get_document(StoredUid("_miroir"), f"index-{UID}"))["deleted"])

            await eventually(is_buried)
            tombstone = await client.get_document(StoredUid("_miroir"), f"index-{UID}")
            assert (tombstone["incarnation"], tombstone["settings"]) == (index.incarnation, None)
            await create(cluster)

            async def is_back() -> bool:
                copy = await client.get_document(StoredUid("_miroir"), f"index-{UID}")
                return copy["deleted"] is False and copy["incarnation"] > index.incarnation

            await eventually(is_back)


async def test_what_nodes_keep_of_the_state_is_not_for_searches(tmp_path: Path) -> None:
    """A key that may search every index must not show the secrets of embedders."""
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            await create(cluster, settings={"stopWords": ["hush"]})
            assert await copies_are_kept_from_searches(cluster)


async def test_a_node_that_is_down_is_absent_and_stops_who_needs_it(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            world.engine(2).stop()
            roll = await call_roll(cluster)
            assert roll.present == ("n1",) and isinstance(roll.absent[N2], NodeUnavailable)
            with pytest.raises(NodeUnavailable):
                await call_roll(cluster, required=[N2])


@both_backends
async def test_a_node_of_another_cluster_is_refused(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            await call_roll(cluster)
        lose_state(tmp_path)
        async with world.cluster() as cluster:
            with pytest.raises(EpochStale, match="is empty, but node `n1` belongs to a cluster `test` already"):
                await call_roll(cluster)
            assert await cluster.store.cluster() is None, "another one was begun"
        world.path.write_text(world.path.read_text().replace('name = "test"', 'name = "films"'))
        async with world.cluster() as cluster:
            with pytest.raises(ForeignNode, match="belongs to another cluster: `test`"):
                await call_roll(cluster)


async def test_swapped_urls_are_refused(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            await create(cluster)
        first, second = world.engine(1).url, world.engine(2).url
        text = world.path.read_text().replace(first, "X").replace(second, first).replace("X", second)
        world.path.write_text(text)
        async with world.cluster() as cluster:
            with pytest.raises(ForeignNode, match="is node `n2`, not `n1`"):
                await call_roll(cluster)


@about_the_file("an older copy of it is put back; of Redis tells test_lost_redis.py")
async def test_an_older_copy_of_the_state_file_is_refused(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            await create(cluster)
        shutil.copytree(tmp_path / ".miroir", tmp_path / "copy")
        async with world.cluster() as cluster:
            index, ledger = await cluster.reload(UID), Ledger()
            world.engine(1).faults.add(Kind.FAIL_TASK, path=UID)
            await put(cluster, index.index, {"k": 1}, ledger)

            async def published() -> bool:
                return (
                    int((await cluster.fleet[N2].get_document(StoredUid("_miroir"), "cluster"))["epoch"]) > index.epoch
                )

            await eventually(published)
        shutil.rmtree(tmp_path / ".miroir")
        shutil.copytree(tmp_path / "copy", tmp_path / ".miroir")
        async with world.cluster() as cluster:
            with pytest.raises(EpochStale, match="knows state"):
                await call_roll(cluster)


@about_the_file("an older copy of it is put back; of Redis tells test_lost_redis.py")
async def test_an_older_state_never_replaces_the_newer_copies(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            await create(cluster)
        shutil.copytree(tmp_path / ".miroir", tmp_path / "copy")
        async with world.cluster() as cluster:
            await create(cluster, "films")
            before = await _epochs(cluster)
        shutil.rmtree(tmp_path / ".miroir")
        shutil.copytree(tmp_path / "copy", tmp_path / ".miroir")
        async with world.cluster() as cluster:
            await publish(cluster, UID)
            assert await _epochs(cluster) == before


async def test_a_node_that_missed_a_copy_gets_it_with_the_next_roll_call(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            await create(cluster)
            index = (await create(cluster, "films")).uid
            world.engine(2).stop()
            await cluster.store.mark(index, {N2: [ShardId(0)]}, state=ReplicaState.STALE)
            await publish(cluster, index)
            world.engine(2).start()
        async with world.cluster() as cluster:
            await call_roll(cluster)  # what it copies is queued there
            copied = [0, "n2", "stale", await cluster.store.epoch()]

            async def is_copied() -> bool:
                known = await cluster.fleet[N2].get_document(StoredUid("_miroir"), "index-films")
                return copied in known["placement"]

            await eventually(is_copied)
            assert (await _epochs(cluster))[N2] == await cluster.store.epoch()


async def test_of_two_that_copy_at_once_the_older_one_is_never_what_stays(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            await create(cluster)
            await _epochs(cluster)
            world.engine(1).faults.add(Kind.DELAY, method="POST", path="_miroir/documents", seconds=0.6)
            older = asyncio.create_task(publish(cluster, UID))
            await asyncio.sleep(0.2)
            await cluster.store.mark(UID, {N2: [ShardId(0)]}, state=ReplicaState.STALE)
            await publish(cluster, UID)
            await older
            await _epochs(cluster)
            states = (await cluster.fleet[N1].get_document(StoredUid("_miroir"), "index-books"))["placement"]
            assert [0, "n2", "stale", await cluster.store.epoch()] in states


async def _epochs(cluster: Cluster) -> dict[NodeName, int]:
    """The epoch on each node's marker, once its queue is empty."""
    found = {}
    for name, client in cluster.fleet.clients.items():
        await client.wait_task(await client.top_task())
        found[name] = int((await client.get_document(StoredUid("_miroir"), "cluster"))["epoch"])
    return found


async def test_an_emptied_disk_loses_all_its_replicas_and_the_node_is_welcomed_anew(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            index, ledger = await create(cluster), Ledger()
            films = await create(cluster, "films")
            await put(cluster, index, dict.fromkeys(keys_of_every_shard(index), 1), ledger)
            world.engine(1).wipe()
            assert set((await call_roll(cluster)).present) == {"n1", "n2"}
            for uid in (UID, films.uid):
                states = {(r.node, r.state) for r in (await cluster.reload(uid)).replicas}
                assert states == {("n1", ReplicaState.LOST), ("n2", ReplicaState.SERVING)}
            await put(cluster, index, dict.fromkeys(keys_of_every_shard(index), 2), ledger)
            await check(cluster, index, ledger)
            assert (await cluster.fleet[N1].get_document(StoredUid("_miroir"), "cluster"))["node"] == "n1"


async def test_a_disk_rolled_back_to_an_older_copy_is_lost(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            index, ledger = await create(cluster), Ledger()
            engine = world.engine(1)
            engine.stop()
            shutil.copytree(engine.directory, tmp_path / "snapshot")
            engine.start()
            for value in range(3):
                await put(cluster, index, dict.fromkeys(keys_of_every_shard(index), value), ledger)
            engine.stop()
            shutil.rmtree(engine.directory)
            shutil.copytree(tmp_path / "snapshot", engine.directory)
            engine.start()
            await call_roll(cluster)
            states = {(r.node, r.state) for r in (await check(cluster, index, ledger)).replicas}
            assert states == {("n1", ReplicaState.LOST), ("n2", ReplicaState.SERVING)}
