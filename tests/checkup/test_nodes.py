"""What the doctor says of nodes, each state staged on servers that are really in it."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from miroir_cli.checkup.finding import Severity
from miroir_cli.cluster import Patience
from miroir_cli.dev.engine.faults import Kind
from miroir_cli.dev.engine.testing import running_engine
from miroir_cli.replication.members import call_roll
from miroir_cli.replication.write import write
from tests.backends import about_the_file
from tests.checkup.impostor import impostor
from tests.checkup.staged import findings, type_in
from tests.faults.world import (
    HURRIED,
    N1,
    N2,
    N3,
    Ledger,
    addition,
    create,
    keys_of_every_shard,
    put,
    world_of,
    write_topology,
)

MEILISEARCH = {"commitSha": "a", "commitDate": "b", "pkgVersion": "1.30.0"}


async def test_a_healthy_cluster_has_no_finding(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            index = await create(cluster, settings={"stopWords": ["the"], "typoTolerance": {"enabled": False}})
            await put(cluster, index, dict.fromkeys(keys_of_every_shard(index), 1), Ledger())
            assert await findings(world) == {}
        assert await findings(world) == {}


async def test_a_node_that_is_down_and_what_only_it_has(tmp_path: Path) -> None:
    with world_of(tmp_path, replicas=1) as world:
        async with world.cluster() as cluster:
            await create(cluster)
        world.engine(2).stop()
        found = await findings(world)
        assert set(found) == {"node.down", "index.unreachable", "cluster.replicas"}
        assert "node `n2` cannot be reached" in found["node.down"].message
        assert "`miroir node replace n2 NAME=URL`" in found["node.down"].hint
        assert "only `n2` has them" in found["index.unreachable"].message


async def test_a_node_that_hangs_is_told_in_time(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=3) as world:
        async with world.cluster() as cluster:
            await create(cluster)
        for number in (1, 2, 3):
            world.engine(number).faults.add(Kind.DELAY, seconds=30, count=None)
        began = time.monotonic()
        found = await findings(world, patience=HURRIED)
        assert time.monotonic() - began < 25.0
        assert f"did not answer within {HURRIED.answer:g} s" in found["node.hanging"].message


async def test_a_node_that_hangs_at_a_later_question_is_told_in_time(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            await create(cluster)
        world.engine(2).faults.add(Kind.DELAY, path="settings", seconds=30, count=None)
        began = time.monotonic()
        assert set(await findings(world, patience=HURRIED)) == {"node.hanging"}
        assert time.monotonic() - began < 12.0


async def test_a_slow_node(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            await call_roll(cluster)
        world.engine(2).faults.add(Kind.DELAY, path="version", seconds=1.1)
        found = await findings(world, patience=Patience())
        assert "node `n2` took 1." in found["node.slow"].message
        assert found["node.slow"].severity is Severity.WARNING


async def test_a_node_that_drops_connections(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        world.engine(2).faults.add(Kind.DROP_BEFORE, count=None)
        assert "closed the connection" in (await findings(world))["node.failing"].message


async def test_a_refused_key_and_one_that_cannot_be_had(tmp_path: Path) -> None:
    with running_engine(tmp_path / "disk", master_key="a-key-of-more-than-sixteen-bytes") as engine:
        path = write_topology(tmp_path, {N1: engine.url})
        assert "node `n1` refused the key" in (await findings(path))["node.key"].message
        path.write_text(path.read_text() + '\n[defaults]\nkey_env = "NOBODY_SETS_THIS"\n')
        found = await findings(path)
        assert "`NOBODY_SETS_THIS` is not set" in found["node.key"].message
        engine.stop()
        assert "node.down" in await findings(path)


async def test_a_key_file_that_others_can_read(tmp_path: Path) -> None:
    with running_engine(tmp_path / "disk", master_key="a-key-of-more-than-sixteen-bytes") as engine:
        path = write_topology(tmp_path, {N1: engine.url})
        path.write_text(path.read_text() + '\n[defaults]\nkey_file = "node.key"\n')
        (tmp_path / "node.key").write_text("a-key-of-more-than-sixteen-bytes\n")
        (tmp_path / "node.key").chmod(0o640)
        found = await findings(path)
        assert found["key.file"].next == (f"chmod 600 {tmp_path / 'node.key'}",)
        await type_in(path, found["key.file"])
        assert set(await findings(path)) == {"state.none"}


async def test_servers_that_are_not_meilisearch_or_too_old(tmp_path: Path) -> None:
    with impostor() as page, impostor(version={**MEILISEARCH, "pkgVersion": "1.11.3"}) as old:
        found = await findings(write_topology(tmp_path, {N1: page}))
        assert "is not Meilisearch" in found["node.unsupported"].message
        found = await findings(write_topology(tmp_path, {N1: old}))
        assert "runs Meilisearch 1.11.3" in found["node.unsupported"].message


async def test_versions_engines_and_clocks_that_differ(tmp_path: Path) -> None:
    with (
        impostor(version=MEILISEARCH, ahead=-60) as slow,
        impostor(version={**MEILISEARCH, "pkgVersion": "1.31.2"}, ahead=4) as newer,
        running_engine(tmp_path / "disk") as engine,
    ):
        found = await findings(write_topology(tmp_path, {N1: slow, N2: newer, N3: engine.url}))
        assert "1.30.0 (`n1`), 1.31.2 (`n2`)" in found["node.versions"].message
        assert "meilisearch (`n1`, `n2`), miroir-embedded (`n3`)" in found["node.engines"].message
        assert found["node.clock"].where == "n1"
        assert found["node.clock"].message.endswith("s behind the one here")


async def test_clocks_that_differ_from_each_other_more_than_from_ours(tmp_path: Path) -> None:
    with impostor(version=MEILISEARCH, ahead=-5) as behind, impostor(version=MEILISEARCH, ahead=5) as ahead:
        found = await findings(write_topology(tmp_path, {N1: behind, N2: ahead}))
        assert set(found) == {"node.clock", "state.none"}
        assert found["node.clock"].message.startswith("the clock of node `n2` is ")
        assert found["node.clock"].message.endswith(" s ahead of that of node `n1`")


@pytest.mark.parametrize(
    ("release", "better"), [("1.38.0", "1.38.1"), ("1.48.0", "1.48.1"), ("1.48.1", None), ("1.50.0", None)]
)
async def test_releases_with_a_known_fault(tmp_path: Path, release: str, better: str | None) -> None:
    with impostor(version={**MEILISEARCH, "pkgVersion": release}) as url:
        found = await findings(write_topology(tmp_path, {N1: url}))
        assert ("node.release" in found) is (better is not None)
        if better is not None:
            assert found["node.release"].hint == f"upgrade it to {better} or newer"


@about_the_file("which is put aside and back")
async def test_a_node_of_another_cluster_and_swapped_nodes(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            await create(cluster)
        text = world.path.read_text()
        first, second = world.engine(1).url, world.engine(2).url
        world.path.write_text(text.replace(first, "X").replace(second, first).replace("X", second))
        found = await findings(world)
        assert found["node.name"].message.endswith("is node `n2`, not `n1`")
        world.path.write_text(text)
        (tmp_path / ".miroir").rename(tmp_path / "elsewhere")
        for number in (1, 2):
            world.engine(number).wipe()
        async with world.cluster() as cluster:
            await call_roll(cluster)
        shutil.rmtree(tmp_path / ".miroir")
        (tmp_path / "elsewhere").rename(tmp_path / ".miroir")
        found = await findings(world)
        assert "belongs to another cluster (`test`)" in found["node.foreign"].message
        assert "node.disk" not in found


async def test_an_emptied_disk_and_an_older_one(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            index = await create(cluster)
            engine = world.engine(1)
            engine.stop()
            shutil.copytree(engine.directory, tmp_path / "snapshot")
            engine.start()
            await put(cluster, index, dict.fromkeys(keys_of_every_shard(index), 1), Ledger())
        engine.wipe()
        found = await findings(world)
        assert set(found) == {"node.disk"}
        assert "has no marker): its 2 replicas will count as lost" in found["node.disk"].message
        engine.stop()
        shutil.rmtree(engine.directory)
        shutil.copytree(tmp_path / "snapshot", engine.directory)
        engine.start()
        assert "is an older or another one (its newest task is" in (await findings(world))["node.disk"].message


async def test_a_node_to_be_taken_in_and_one_that_left(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=3, replicas=1) as world:
        everybody = {name: engine.url for name, engine in world.engines.items()}
        write_topology(tmp_path, {N1: everybody[N1], N2: everybody[N2]}, shards=4, replicas=1)
        async with world.cluster() as cluster:
            await create(cluster)
        write_topology(tmp_path, everybody, shards=4, replicas=1)
        found = await findings(world)
        assert set(found) == {"node.new", "index.placement", "cluster.replicas"}
        assert found["node.new"].severity is Severity.INFO
        assert "1 replica to copy" in found["index.placement"].message
        assert "miroir rebalance plan" in found["index.placement"].hint
        write_topology(tmp_path, {N1: everybody[N1]}, shards=4, replicas=1)
        found = await findings(world)
        assert set(found) == {"node.left", "index.placement", "index.replicas", "index.unreachable"}
        assert "node `n2` is no longer in the topology file and still holds 2 replicas" in found["node.left"].message


async def test_a_queue_that_stands(tmp_path: Path) -> None:
    at_once = Patience(answer=1.0, lag=0.0)
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            index = await create(cluster)
            world.engine(2).faults.pause()
            await write(cluster, index, addition(index, {"k": 1}))
            found = await findings(world, patience=at_once)
        assert "the queue of node `n2` does not move" in found["node.queue"].message
        assert set(found) == {"node.queue", "write.unsettled"}
        assert set(await findings(world)) == {"write.unsettled"}  # waits for less than `lag`
        world.engine(2).faults.resume()
        assert set(await findings(world, patience=at_once)) == {"write.unsettled"}


@pytest.mark.parametrize(("code", "check"), [("no_space_left_on_device", "node.full"), ("internal", "node.tasks")])
async def test_a_full_disk_and_other_failed_tasks(tmp_path: Path, code: str, check: str) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            index = await create(cluster)
            world.engine(2).faults.add(Kind.FAIL_TASK, path=index.uid, code=code)
            await put(cluster, index, {"k": 1}, Ledger())
        found = await findings(world)
        assert set(found) == {check, "replica.stale"}
        assert found[check].where == "n2"
