"""Comparing replicas and mending them, when the store cannot know that they differ and when nothing in sync is left."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from miroir_cli.cluster import Cluster
from miroir_cli.errors import ShardUnavailable, UsageError
from miroir_cli.migration.repair import accept_data_loss, last_resorts, prefer, repair, show_difference
from miroir_cli.migration.verify import Verification, VerifyOptions, verify
from miroir_cli.model import Index, NodeName, ReplicaState
from miroir_cli.replication.members import call_roll
from miroir_cli.replication.write import write
from miroir_cli.search.scatter import search
from tests.backends import both_backends
from tests.faults.moving import FILTERABLE, HASTY, REPAIR, Client, check_finished, check_search, run
from tests.faults.process import Mortuary
from tests.faults.world import (
    N1,
    N2,
    N3,
    UID,
    Ledger,
    World,
    addition,
    check,
    create,
    keys_of_every_shard,
    put,
    shard_of,
    stale,
    world_of,
)


@asynccontextmanager
async def filled(tmp_path: Path, *, nodes: int = 2) -> AsyncIterator[tuple[World, Cluster, Index, Ledger]]:
    """Every node has a replica of each of two shards, with six documents."""
    with world_of(tmp_path, nodes=nodes, shards=2, replicas=nodes) as world:
        async with world.cluster() as cluster:
            index, ledger = await create(cluster, settings=FILTERABLE), Ledger()
            await put(cluster, index, dict.fromkeys(keys_of_every_shard(index, each=6), 1), ledger)
            yield world, cluster, index, ledger


def tamper(world: World, name: NodeName, key: str, value: object) -> None:
    """Change a document on a node's disk without any task, or take it away (None)."""
    node = world.engines[name].node
    index = node.indexes[UID]
    number = index.numbers[key]
    with node.lock:
        if value is None:
            index.apply(index.prepare([index.deletion(number)]))
        else:
            index.bodies[number] = msgspec.json.encode({**msgspec.json.decode(index.bodies[number]), "value": value})


def found(result: Verification) -> set[tuple[int, str, str, tuple[str, ...], tuple[str, ...], tuple[str, ...]]]:
    return {
        (each.shard, each.node, each.reference, each.missing, each.extra, each.different) for each in result.differences
    }


@both_backends
async def test_what_nobody_can_know_is_found_by_a_comparison_and_named(tmp_path: Path) -> None:
    async with filled(tmp_path) as (world, cluster, index, _):
        assert (await verify(cluster)).clean
        tamper(world, N2, "k0", 2)
        tamper(world, N2, "k1", None)
        tamper(world, N1, "k2", None)
        result = await verify(cluster)
        of = {key: shard_of(key, index) for key in ("k0", "k1", "k2")}
        expected = {shard: ([], [], []) for shard in of.values()}  # type: dict[int, tuple[list[str], ...]]
        expected[of["k1"]][0].append("k1")
        expected[of["k2"]][1].append("k2")
        expected[of["k0"]][2].append("k0")
        assert found(result) == {(shard, "n2", "n1", *map(tuple, keys)) for shard, keys in expected.items()}
        assert not result.clean and result.shards == 2
        difference = next(each for each in result.differences if "k0" in each.different)
        shown = await show_difference(cluster, difference, "k0")
        assert (shown[N1]["value"], shown[N2]["value"]) == (1, 2)
        assert stale(await cluster.reload(UID)) == set(), "a comparison marks nobody"


@pytest.mark.parametrize(("right", "value"), [(N1, 1), (N2, 2)])
async def test_the_replica_that_is_right_is_named_and_the_other_one_is_mended(
    tmp_path: Path, right: NodeName, value: int
) -> None:
    async with filled(tmp_path) as (world, cluster, index, ledger):
        tamper(world, N2, "k0", 2)
        result = await verify(cluster)
        with pytest.raises(UsageError, match="`n9` has no replica that differs"):
            await prefer(cluster, result.differences, NodeName("n9"))
        assert await prefer(cluster, result.differences, right) == 1
        assert stale(await cluster.reload(UID)) == {N1, N2} - {right}
        await repair(cluster, options=HASTY)
        ledger.values["k0"] = [value]
        await check_finished(world, cluster, index, ledger)


@pytest.mark.parametrize("wrong", [4, 5])
async def test_two_of_three_replicas_are_mended_from_the_one_that_is_right(tmp_path: Path, wrong: int) -> None:
    async with filled(tmp_path, nodes=3) as (world, cluster, index, ledger):
        for value, name in ((wrong, N1), (5, N3)):
            tamper(world, name, "k0", value)
        assert await prefer(cluster, (await verify(cluster)).differences, N2) == 2
        await repair(cluster, options=HASTY)
        await check_finished(world, cluster, index, ledger)


async def test_a_write_past_miroir_is_marked_without_a_comparison_and_mended(tmp_path: Path) -> None:
    async with filled(tmp_path) as (world, cluster, index, ledger):
        await cluster.fleet[N2].write("POST", f"indexes/{UID}/documents", content=b'{"id": "k0", "value": 7}')
        assert (await verify(cluster)).clean
        assert stale(await cluster.reload(UID)) == {N2}
        await repair(cluster, options=HASTY)
        await check_finished(world, cluster, index, ledger)


async def test_a_comparison_beside_writers_finds_nothing_that_is_not_there(tmp_path: Path) -> None:
    async with filled(tmp_path) as (world, cluster, index, ledger), world.cluster() as other:
        async with Client(cluster=other, index=index, ledger=ledger):
            for _ in range(5):
                assert (await verify(cluster, options=VerifyOptions(restart=True))).clean
        await check_finished(world, cluster, index, ledger)


async def test_a_comparison_that_is_killed_is_gone_on_with(tmp_path: Path) -> None:
    async with filled(tmp_path) as (world, cluster, _, __):
        tamper(world, N2, "k0", 2)
        with Mortuary(world.path) as mortuary:
            await mortuary.die("verify", "after:save_step")
            await mortuary.die("verify", "before:save_run")
        result = await verify(cluster)
        assert result.resumed and result.shards == 2 and result.documents == 12
        assert {each.different for each in result.differences} == {("k0",)}
        assert not (await verify(cluster)).resumed


async def test_a_comparison_keeps_to_its_rate(tmp_path: Path) -> None:
    async with filled(tmp_path) as (_, cluster, __, ___):
        began = time.monotonic()
        assert (await verify(cluster, options=VerifyOptions(rate=10))).documents == 12
        assert time.monotonic() - began > 0.5


@both_backends
async def test_a_shard_that_has_lost_its_last_replica_serves_again_when_its_loss_is_accepted(tmp_path: Path) -> None:
    """It refuses until then, and what is lost is named."""
    async with filled(tmp_path) as (world, cluster, index, ledger):
        keys = list(ledger.values)
        world.engine(2).stop()
        missed = [key for key in keys if shard_of(key, index) == 0]
        await put(cluster, index, dict.fromkeys(missed, 2), ledger)
        world.engine(2).start()
        world.engine(1).wipe()
        await call_roll(cluster)
        with pytest.raises(ShardUnavailable):
            await write(cluster, index, addition(index, {missed[0]: 3}))
        with pytest.raises(ShardUnavailable):
            await search(cluster, UID, {"q": ""})
        (refusal,) = (await run(cluster, REPAIR)).refusals
        assert (refusal.shard, refusal.reason) == (0, "no replica is in sync; left are `n1` (lost), `n2` (stale)")
        (resort,) = await last_resorts(cluster, UID)
        assert (resort.shard, resort.node, resort.state) == (0, "n2", "stale")
        assert (resort.documents, resort.missed) == (6, 1)
        await accept_data_loss(cluster, [resort])
        ledger.values.update({key: [1] for key in missed})
        await check(cluster, index, ledger)
        await check_search(cluster, index, ledger)
        await put(cluster, index, dict.fromkeys(missed, 4), ledger)
        await repair(cluster, options=HASTY)
        await check_finished(world, cluster, index, ledger)


async def test_what_a_promoted_replica_still_had_in_its_queue_does_not_make_it_stale(tmp_path: Path) -> None:
    async with filled(tmp_path) as (world, cluster, index, ledger):
        await cluster.store.mark(UID, {N2: [shard_of("k0", index)]}, state=ReplicaState.STALE)
        world.engine(2).faults.pause()
        await cluster.fleet[N2].write("POST", f"indexes/{UID}/documents", content=b'{"id": "z", "value": 7}')
        await cluster.store.mark(UID, {N1: [shard_of("k0", index)]}, state=ReplicaState.LOST)
        asyncio.get_running_loop().call_later(0.3, world.engine(2).faults.resume)
        await accept_data_loss(cluster, await last_resorts(cluster, UID))
        await put(cluster, index, {"k0": 2}, ledger)
        ledger.values["z"] = [7, None]
        assert N2 in (await check(cluster, index, ledger)).in_sync()[shard_of("k0", index)]


async def test_a_stale_replica_serves_for_a_node_that_does_not_come_back(tmp_path: Path) -> None:
    """The write that only that node has is given up, named before; should the node return, it is mended like others."""
    async with filled(tmp_path) as (world, cluster, index, ledger):
        world.engine(2).stop()
        await put(cluster, index, {"k0": 2}, ledger)
        world.engine(2).start()
        world.engine(1).stop()
        assert [resort.shard for resort in await last_resorts(cluster, UID)] == [shard_of("k0", index)]
        await accept_data_loss(cluster, await last_resorts(cluster, UID))
        ledger.values["k0"] = [1]
        await put(cluster, index, {"k0": 3}, ledger)
        world.engine(1).start()
        await repair(cluster, options=HASTY)
        await check_finished(world, cluster, index, ledger)
