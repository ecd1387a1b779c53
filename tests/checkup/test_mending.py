"""What a finding says to type mends what it found: planted, typed, gone."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from miroir_cli.dev.engine.faults import Kind
from miroir_cli.model import Index, IndexUid, ReplicaState, ShardId, WriteKind
from miroir_cli.node.answers import Accepted
from miroir_cli.replication.members import call_roll
from tests.backends import about_the_file
from tests.checkup.staged import change_state, findings, type_in
from tests.faults.world import N1, N2, UID, Ledger, World, create, keys_of_every_shard, put, world_of, write_topology
from tests.store.test_locks import holder

Plant = Callable[[World], Awaitable[None]]


async def stocked(world: World) -> None:
    """Two documents in each shard."""
    async with world.cluster() as cluster:
        index = await create(cluster)
        await put(cluster, index, dict.fromkeys(keys_of_every_shard(index), 1), Ledger())


async def missed_a_write(world: World) -> None:
    await stocked(world)
    async with world.cluster() as cluster:
        index = (await cluster.reload(UID)).index
        world.engine(1).faults.add(Kind.FAIL_TASK, path=UID)
        await put(cluster, index, dict.fromkeys(keys_of_every_shard(index), 2), Ledger())


async def lost_its_disk(world: World) -> None:
    await stocked(world)
    world.engine(2).wipe()
    async with world.cluster() as cluster:
        await call_roll(cluster)


async def fewer_copies(world: World) -> None:
    await stocked(world)
    change_state(world, "delete from placements where node = 'n2' and shard = 1")


async def deleted_by_hand(world: World) -> None:
    await stocked(world)
    async with world.cluster() as cluster:
        answer = await cluster.fleet[N2].write("DELETE", f"indexes/{UID}")
        assert isinstance(answer, Accepted)
        await cluster.fleet[N2].wait_task(answer.task)


async def changed_by_hand(world: World) -> None:
    await stocked(world)
    async with world.cluster() as cluster:
        content = b'{"stopWords": ["the"]}'
        answer = await cluster.fleet[N2].write("PATCH", f"indexes/{UID}/settings", content=content)
        assert isinstance(answer, Accepted)
        await cluster.fleet[N2].wait_task(answer.task)


async def cut_off_in_a_write(world: World) -> None:
    await stocked(world)
    async with world.cluster() as cluster:
        index = (await cluster.reload(UID)).index
        await cluster.store.open_intent(
            index, kind=WriteKind.ADD, documents={ShardId(0): 1}, nonce="x", min_in_sync=1, owner="test"
        )


async def cut_off_in_a_creation(world: World) -> None:
    await stocked(world)
    async with world.cluster() as cluster:
        begun = Index(uid=IndexUid("films"), incarnation=0, primary_key="id", shards=2, replicas=2)
        await cluster.store.begin_creation(begun, nodes={N1: 3, N2: 3})


async def cut_off_in_a_deletion(world: World) -> None:
    await stocked(world)
    async with world.cluster() as cluster:
        await cluster.store.begin_deletion((await cluster.reload(UID)).index)


async def froze(world: World) -> None:
    await stocked(world)
    async with world.cluster() as cluster:
        await cluster.store.freeze((await cluster.reload(UID)).index, "node `n1` says otherwise")


async def fell_below_its_quorum(world: World) -> None:
    await stocked(world)
    async with world.cluster() as cluster:
        await cluster.store.mark(UID, {N1: [ShardId(0)]}, state=ReplicaState.STALE)
    world.edit(lambda document: document.set_cluster("min_in_sync", 2))


MENDED: dict[str, Plant] = {
    "replica.stale": missed_a_write,
    "replica.lost": lost_its_disk,
    "index.replicas": fewer_copies,
    "index.placement": fewer_copies,
    "index.missing": deleted_by_hand,
    "settings.drift": changed_by_hand,
    "write.doubt": cut_off_in_a_write,
    "index.unfinished": cut_off_in_a_creation,
    "index.frozen": froze,
    "index.quorum": fell_below_its_quorum,
}


@pytest.mark.parametrize(
    "check",
    [
        pytest.param(check, marks=about_the_file("staged with SQL") if plant is fewer_copies else ())
        for check, plant in MENDED.items()
    ],
)
async def test_what_is_typed_mends_what_was_found(tmp_path: Path, check: str) -> None:
    with world_of(tmp_path) as world:
        await MENDED[check](world)
        found = await findings(world)
        await type_in(world, found[check])
        left = set(await findings(world)) - {"node.tasks", "cluster.margin", "state.none"}
        assert left == set(), left


async def obey(world: World) -> None:
    """Type the first thing that the doctor says, as often as it says something that is to be typed."""
    for _ in range(3):
        found = [finding for finding in (await findings(world)).values() if finding.next]
        if not found:
            break
        await type_in(world, found[0])
    assert await findings(world) == {}


async def test_a_deletion_that_was_cut_off_goes_on(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        await cut_off_in_a_deletion(world)
        finding = (await findings(world))["index.unfinished"]
        assert finding.next == (f"miroir index delete {UID}",)
        await type_in(world, finding)
        assert await findings(world) == {}


async def test_a_node_that_is_to_join_and_one_that_left(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=3) as world:
        everybody = {name: engine.url for name, engine in world.engines.items()}
        write_topology(tmp_path, {N1: everybody[N1], N2: everybody[N2]}, shards=6, replicas=2)
        await stocked(world)
        write_topology(tmp_path, everybody, shards=6, replicas=2)
        await type_in(world, (await findings(world))["node.new"])
        assert await findings(world) == {}
        text = world.path.read_text()
        world.path.write_text(text[: text.rindex("[[nodes]]")])
        await type_in(world, (await findings(world))["node.left"])
        assert await findings(world) == {}


@about_the_file("of Redis tells test_redis.py")
@pytest.mark.timeout(150)  # two recoveries, each with what the doctor says after it
async def test_a_state_file_that_is_gone_or_old(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        await stocked(world)
        shutil.copytree(tmp_path / ".miroir", tmp_path / "copy")
        async with world.cluster() as cluster:
            await create(cluster, "films")
        shutil.rmtree(tmp_path / ".miroir")
        await type_in(world, (await findings(world))["state.missing"])
        await obey(world)
        shutil.rmtree(tmp_path / ".miroir")
        (tmp_path / "copy").rename(tmp_path / ".miroir")
        await type_in(world, (await findings(world))["state.outdated"])
        await obey(world)


@about_the_file("the kernel's lock of a stopped process")
async def test_a_stopped_process_goes_on(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        await stocked(world)
        with holder(tmp_path / ".miroir" / "locks") as process:
            process.send_signal(signal.SIGSTOP)
            await asyncio.to_thread(os.waitid, os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
            await type_in(world, (await findings(world))["lock.stopped"])
            assert set(await findings(world)) == {"lock.held"}
