"""kill -9 at every step of a run: the same command again ends in the same place."""

from __future__ import annotations

from pathlib import Path

import pytest

from miroir_cli.cluster import Cluster
from miroir_cli.migration.rebalance import cancel
from miroir_cli.model import Index, IndexMap, NodeName, ReplicaState
from miroir_cli.store.journal import RunKind, RunState
from tests.backends import both_backends
from tests.faults.moving import CHANGE, REPAIR, check_finished, check_search, run, stored
from tests.faults.process import Mortuary
from tests.faults.world import N1, N2, N3, UID, Ledger, World, check, create, keys_of_every_shard, put, world_of

ROUNDS = {
    "the run": ["before:begin_run", "after:begin_run", "before:save_run", "after:save_run"],
    "the join": ["before:save_step", "before:account", "after:account", "before:join", "after:join"],
    "the copy": ["before:TARGET/documents", "after:TARGET/documents", "before:save_step*2", "after:save_step*3"],
    "the switch": ["before:switch", "after:switch", "before:save_step*5", "after:save_step*5"],
    "the settings": [
        "before:TARGET/indexes",
        "after:TARGET/indexes",
        "before:TARGET/settings",
        "after:TARGET/settings",
    ],
    "the deletion": ["before:LEAVING/indexes/books", "after:LEAVING/indexes/books", "after:begin_forgetting"],
    "the end": ["before:forget", "after:forget", "before:save_step*6"],
}


def drain_another(world: World, map: IndexMap) -> dict[str, NodeName]:
    """Have the only replica that can move go to the only node that has none; who is who."""
    (target,) = {N1, N2, N3} - set(map.nodes())
    leaving = map.nodes()[0]
    world.drain(int(leaving.removeprefix("n")))
    return {"TARGET": target, "LEAVING": leaving}


async def go_on(world: World, ledger: Ledger, value: object, *, change: object = CHANGE) -> None:
    """What a client sees and does in between, and the same command again."""
    async with world.cluster() as cluster:
        index = (await cluster.reload(UID)).index
        await check(cluster, index, ledger)
        await check_search(cluster, index, ledger)
        written = await put(cluster, index, {"k0": value, f"after-{len(ledger.values)}": value}, ledger)
        assert written is not None and ledger.values["k0"] == [value]
        await run(cluster, REPAIR if change is REPAIR else CHANGE)
        await check_finished(world, cluster, index, ledger)


async def begin(world: World, **options: object) -> tuple[IndexMap, Ledger]:
    async with world.cluster() as cluster:
        index, ledger = await create(cluster), Ledger()
        await put(cluster, index, dict.fromkeys(keys_of_every_shard(index, each=4), 0), ledger)
        return await cluster.reload(UID), ledger


@both_backends
@pytest.mark.parametrize("part", ROUNDS)
async def test_a_run_that_is_killed_is_ended_by_the_same_command(tmp_path: Path, part: str) -> None:
    with world_of(tmp_path, nodes=3, shards=1) as world:
        map, ledger = await begin(world)
        with Mortuary(world.path) as mortuary:
            for point in ROUNDS[part]:
                who = drain_another(world, map)
                for word, name in who.items():
                    point = point.replace(word, name)
                await mortuary.die("rebalance", point)
                await go_on(world, ledger, point)
                async with world.cluster() as cluster:
                    map = await cluster.reload(UID)
                    assert who["LEAVING"] not in map.nodes()


async def test_a_run_that_is_killed_three_times_in_a_row(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=3, shards=1) as world:
        map, ledger = await begin(world)
        drain_another(world, map)
        with Mortuary(world.path) as mortuary:
            for point in ("after:join", "before:adopt_run", "after:adopt_run", "before:switch", "after:switch"):
                await mortuary.die("rebalance", point)
        await go_on(world, ledger, "at last")


async def test_a_writer_and_the_run_that_finds_its_write_open_are_killed(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=3, shards=1) as world:
        map, ledger = await begin(world)
        drain_another(world, map)
        documents = dict.fromkeys(keys_of_every_shard(map.index), 7)
        with Mortuary(world.path) as mortuary:
            for value, point in enumerate(("before:close_intent", "after:close_intent"), start=7):
                documents = dict.fromkeys(documents, value)
                ledger.begun(documents)
                await mortuary.die("write", "before:close_intent", str(value))
                await mortuary.die("rebalance", point)
        await go_on(world, ledger, "at last")


@pytest.mark.parametrize("point", ["before:leave", "after:leave", "after:LEAVING/documents/delete", "after:forget"])
async def test_a_run_that_only_drops_is_killed(tmp_path: Path, point: str) -> None:
    with world_of(tmp_path, shards=2) as world:
        _, ledger = await begin(world)
        world.set_replicas(1)
        with Mortuary(world.path) as mortuary:
            await mortuary.die("rebalance", point.replace("LEAVING", N1))
        await go_on(world, ledger, 1)
        async with world.cluster() as cluster:
            assert len((await cluster.reload(UID)).replicas) == 2


REPAIRS = [
    "after:begin_run",
    "before:n2/documents",
    "after:n2/documents",
    "after:join",
    "before:switch",
    "after:switch",
]


async def test_a_repair_that_is_killed_is_planned_anew(tmp_path: Path) -> None:
    with world_of(tmp_path, shards=1) as world:
        map, ledger = await begin(world)
        with Mortuary(world.path) as mortuary:
            for point in REPAIRS:
                world.engine(2).stop()
                async with world.cluster() as cluster:
                    await put(cluster, map.index, {"k0": point, f"missed-{len(ledger.values)}": 1}, ledger)
                world.engine(2).start()
                await mortuary.die("repair", point)
                await go_on(world, ledger, f"after {point}", change=REPAIR)
        async with world.cluster() as cluster:
            assert await cluster.store.unfinished_run(RunKind.REPAIR) is None


CANCELS = [
    *(
        "before:control_run",
        "after:control_run",
        "before:unjoin",
        "after:unjoin",
        "before:save_step",
        "after:save_step",
    ),
    *("before:TARGET/indexes/books", "after:TARGET/indexes/books", "before:forget", "after:forget"),
    *("before:save_run", "after:save_run"),
]


@pytest.mark.parametrize("half", [0, 1])
async def test_a_cancellation_that_is_killed_leaves_every_node_as_it_was(tmp_path: Path, half: int) -> None:
    with world_of(tmp_path, nodes=3, shards=1) as world:
        map, ledger = await begin(world)
        with Mortuary(world.path) as mortuary:
            for point in CANCELS[half::2]:
                who = drain_another(world, map)
                await mortuary.die("rebalance", "before:switch")
                assert stored(world, who["TARGET"], UID)
                await mortuary.die("cancel", point.replace("TARGET", who["TARGET"]))
                async with world.cluster() as cluster:
                    await put(cluster, map.index, {"k0": point}, ledger)
                    if await cluster.store.unfinished_run() is not None:
                        assert (await cancel(cluster)).state is RunState.CANCELLED
                    await _as_before(world, cluster, map.index, ledger, map)


async def _as_before(world: World, cluster: Cluster, index: Index, ledger: Ledger, before: IndexMap) -> None:
    after = await check(cluster, index, ledger)
    assert {(replica.node, replica.state) for replica in after.replicas} == {
        (replica.node, ReplicaState.SERVING) for replica in before.replicas
    }
    assert [name for name in world.engines if stored(world, name, UID)] == list(before.nodes())
    await check_search(cluster, index, ledger)
