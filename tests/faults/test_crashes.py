"""kill -9 at every step of a write, and several writing processes: the next command ends in the same place."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from miroir_cli.cluster import Cluster
from miroir_cli.dev.engine.faults import Kind
from miroir_cli.model import Index, IntentState
from miroir_cli.replication.settle import settle_until
from tests.backends import both_backends
from tests.faults.moving import REPAIR, run
from tests.faults.process import Mortuary, start
from tests.faults.world import (
    HURRIED,
    N1,
    N2,
    UID,
    Ledger,
    World,
    check,
    contents,
    create,
    eventually,
    keys_of_every_shard,
    put,
    shard_of,
    stale,
    world_of,
)

POINTS = {
    "before:open_intent": None,
    "after:open_intent": IntentState.ABORTED,
    "before:close_intent": IntentState.DONE,
    "after:close_intent": IntentState.DONE,
    "before:settle_intents": IntentState.DONE,
    "after:settle_intents": IntentState.DONE,
}
"""Where the process dies, and how its write must end."""


@pytest.mark.parametrize("replicas", [1, 2])
async def test_a_write_whose_process_is_killed_ends_as_if_it_had_not_been(tmp_path: Path, replicas: int) -> None:
    with world_of(tmp_path, shards=2, replicas=replicas) as world, Mortuary(world.path) as mortuary:
        async with world.cluster() as cluster:
            index, ledger = await create(cluster), Ledger()
            keys = keys_of_every_shard(index)
            for value, (point, ending) in enumerate(POINTS.items()):
                documents = dict.fromkeys(keys, value)
                before = await cluster.store.newest_intent(UID)
                ledger.begun(documents)
                await mortuary.die("write", point, str(value))
                number = (before.n if before else 0) + 1
                await put(cluster, index, {"other": value}, ledger)
                if ending is None:
                    ledger.failed(documents)
                else:
                    ended = (await cluster.store.intents(UID, [number]))[number]
                    assert ended.state is ending, point
                    (ledger.acknowledged if ending is IntentState.DONE else ledger.failed)(documents)
                assert stale(await check(cluster, index, ledger)) == set(), point


@pytest.mark.parametrize(("late", "behind"), [(0.25, set()), (3.0, {N2})], ids=["in the grace", "after it"])
async def test_a_process_killed_between_two_nodes(tmp_path: Path, late: float, behind: set[str]) -> None:
    """The second node takes the request in later: within the grace both have it, after it the node is left behind."""
    with world_of(tmp_path, shards=2) as world:
        async with world.cluster() as cluster:
            index, ledger = await create(cluster), Ledger()
            keys = keys_of_every_shard(index)
            documents = dict.fromkeys(keys, 1)
            ledger.begun(documents)
            await _killed_after_the_first_node(world, late)
            await put(cluster, index, {"other": 2}, ledger)
            ledger.acknowledged(documents)
            assert stale(await check(cluster, index, ledger)) == behind


async def _killed_after_the_first_node(world: World, late: float) -> None:
    world.engine(2).faults.add(Kind.LATE, method="POST", path="/books/documents$", seconds=late)
    world.engine(2).faults.add(Kind.DELAY, method="GET", path="^/tasks$", seconds=0.1, count=1)
    with Mortuary(world.path) as mortuary:
        await mortuary.die("write", "before:close_intent", "1")


async def test_a_node_that_is_frozen_while_its_writer_is_missing_is_not_taken_for_one_that_has_nothing(
    tmp_path: Path,
) -> None:
    """What waits in the sockets of a frozen node is taken in when it goes on, however late that is."""
    with world_of(tmp_path, shards=1, replicas=1, nodes=1) as world:
        async with world.cluster() as cluster:
            index, ledger = await create(cluster), Ledger()
            keys = keys_of_every_shard(index)
            documents = dict.fromkeys(keys, 1)
            ledger.begun(documents)
            with Mortuary(world.path) as mortuary:
                await mortuary.die("write", "after:open_intent", "1")
            world.engine(1).faults.add(Kind.DELAY, path="^/health$", seconds=HURRIED.answer + 0.5)
            assert await put(cluster, index, {"other": 1}, ledger) is None
            ledger.failed(documents)
            await put(cluster, index, {"other": 2}, ledger)
            assert stale(await check(cluster, index, ledger)) == set()


@both_backends
async def test_two_writing_processes_of_which_one_is_killed_leave_equal_replicas(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=3, shards=4) as world:
        async with world.cluster() as cluster:
            index = await create(cluster)
            first, second = start(world.path, "loop", "a", "25"), start(world.path, "loop", "b", "1000")
            told = await asyncio.to_thread(first.communicate)
            second.send_signal(signal.SIGKILL)
            cut = await asyncio.to_thread(second.communicate)
            acknowledged = told[0].split() + cut[0].split()
            assert len(told[0].split()) == 25
            assert len(cut[0].split()) > 5, "the two did not take turns"
            await put(cluster, index, {"last": 1}, Ledger())
            await _check_copies(cluster, index, set(acknowledged))
            await run(cluster, REPAIR)  # the kill may have come when only one node had the write in hand
            assert stale(await cluster.reload(UID)) == set()
            await _check_copies(cluster, index, set(acknowledged))


async def _check_copies(cluster: Cluster, index: Index, acknowledged: set[str]) -> None:
    in_sync = (await cluster.reload(UID)).in_sync()
    assert set(in_sync) == set(range(index.shards))
    for shard, nodes in in_sync.items():
        copies = [await contents(cluster, node, index, shard) for node in nodes]
        assert all(copy == copies[0] for copy in copies)
        assert {key for key in acknowledged if shard_of(key, index) == shard} <= set(copies[0])


@both_backends
async def test_what_a_dead_process_left_in_the_queues_is_settled_by_anybody(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            index, ledger = await create(cluster), Ledger()
            documents = dict.fromkeys(keys_of_every_shard(index), 1)
            ledger.begun(documents)
            world.engine(1).faults.add(Kind.FAIL_TASK, path="books")
            with Mortuary(world.path) as mortuary:
                await mortuary.die("write", "after:close_intent", "1")
            outcome = (await settle_until(cluster, index, 1))[1]
            assert outcome.state is IntentState.DONE and outcome.stored_on == 1
            ledger.acknowledged(documents)
            assert stale(await check(cluster, index, ledger)) == {N1}


async def test_a_node_restarted_with_its_queue_goes_on(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            index, ledger = await create(cluster), Ledger()
            world.engine(2).faults.pause()
            documents = dict.fromkeys(keys_of_every_shard(index), 1)
            writing = asyncio.create_task(put(cluster, index, documents, ledger))

            async def queued() -> bool:
                newest = await cluster.store.newest_intent(UID)
                return newest is not None and newest.state is IntentState.SENT

            await eventually(queued)
            world.engine(2).stop()
            world.engine(2).faults.resume()
            world.engine(2).start()
            await writing
            assert stale(await check(cluster, index, ledger)) == set()
