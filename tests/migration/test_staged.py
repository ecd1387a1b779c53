"""Moves over simulated nodes, each with the one thing that must not happen at one moment of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from miroir_cli.migration.rebalance import Change, rebalance
from miroir_cli.migration.repair import repair
from miroir_cli.migration.run import RunOptions
from miroir_cli.model import NodeName, ReplicaState, ShardId
from miroir_cli.replication.settle import settle_until
from miroir_cli.replication.write import write
from miroir_cli.store.journal import StepState
from tests.faults.world import UID
from tests.migration.history import WRITING, History, play
from tests.migration.process import PROCESS, Process
from tests.migration.rest import come_to_rest
from tests.migration.weather import Climate
from tests.migration.wishes import with_drained, with_replicas
from tests.migration.writes import Writing, adding_value, clearing
from tests.replication.simulated import Delivery, Killed

N1, N2 = NodeName("n1"), NodeName("n2")
CALM = Climate(nodes=2, shards=1, replicas=1, keys=3, writers=0, writes=0, haste=False, commands=0, faults=0)

Course = Callable[[History], Coroutine[Any, Any, None]]


def stage(tmp_path: Path, course: Course, climate: Climate = CALM) -> History:
    """Play the course and let the cluster come to rest, with all invariants checked on the way."""

    async def whole(history: History) -> None:
        await history.begin()
        await course(history)
        await come_to_rest(history)

    return play(whole, tmp_path / "history", random=Random(1), climate=climate)


async def put(history: History, writing: Writing) -> None:
    """A write by a process of its own, acknowledged."""

    async def client() -> None:
        WRITING.set(writing)
        cluster = history.cluster("client")
        written = await write(cluster, history.index, writing.outgoing)
        await settle_until(cluster, history.index, written.n)
        history.ledger.acknowledged(written.n, writing.effects)

    await Process(name="client").run(client())


async def put_in_doubt(history: History, writing: Writing) -> None:
    """A write by a process that is killed when it has recorded it."""
    history.doors.after["open_intent"] = [kill]
    with pytest.raises(Killed):
        await put(history, writing)


async def kill() -> None:
    process = PROCESS.get()
    assert process is not None
    process.die()


async def drain(history: History, name: NodeName) -> None:
    """Move everything away from a node, in a process of its own."""
    history.topology = with_drained(history.topology, name, True)
    options = RunOptions(retry_for=2.0)
    await Process(name="drain").run(rebalance(history.cluster("drain"), Change(title="drain"), options=options))


async def drain_killed(history: History, name: NodeName, *, after: str) -> None:
    history.doors.after[after] = [kill]
    with pytest.raises(Killed):
        await drain(history, name)


def holder(history: History) -> NodeName:
    """The node with the one replica in sync."""
    (name,) = history.placement().in_sync()[ShardId(0)]
    return name


async def is_switching(history: History) -> bool:
    (run, *_) = await history.store.runs()
    return any(step.state is StepState.SWITCHING for step in await history.store.steps(run.id))


def test_what_is_written_while_the_mover_looks_at_the_log_is_not_forgotten(tmp_path: Path) -> None:
    async def course(history: History) -> None:
        left = list(history.keys)

        async def put_another() -> None:
            writing = adding_value(history.index, [left.pop()], history.next_value())
            await asyncio.wait([asyncio.create_task(put(history, writing))], timeout=0.5)

        async def begin() -> None:
            """One write when the whole shard was compared, and then one right after the look at what was written."""
            if await is_switching(history):
                await put_another()
                history.doors.after = {"changes": [put_another]}

        await put(history, adding_value(history.index, history.keys, history.next_value()))
        history.doors.after["save_step"] = [begin] * 9
        await drain(history, holder(history))
        assert len(left) == len(history.keys) - 2

    stage(tmp_path, course)


def test_a_write_left_in_doubt_while_the_mover_catches_up_does_not_hold_it_up(tmp_path: Path) -> None:
    async def course(history: History) -> None:
        async def clear() -> None:
            if await is_switching(history):
                history.doors.after["save_step"] = []
                await put(history, clearing(history.index, history.keys))
                history.doors.after["changes"] = [wait, doubt]

        async def wait() -> None:
            """The first look is that of the attempt to switch, which finds the deletion."""

        async def doubt() -> None:
            await asyncio.wait([asyncio.create_task(put_in_doubt(history, clearing(history.index, history.keys)))])

        await put(history, adding_value(history.index, history.keys, history.next_value()))
        history.doors.after["save_step"] = [clear] * 9
        await drain(history, holder(history))
        assert history.loop.time() < 60.0

    stage(tmp_path, course)


def test_a_write_left_in_doubt_while_the_target_is_fenced_does_not_hold_up_a_move(tmp_path: Path) -> None:
    async def course(history: History) -> None:
        async def doubt() -> None:
            await asyncio.sleep(0.15)
            await put_in_doubt(history, adding_value(history.index, history.keys, history.next_value()))

        doubting = asyncio.create_task(doubt())
        await drain(history, holder(history))
        await doubting
        assert history.loop.time() < 60.0

    stage(tmp_path, course)


def test_a_run_that_finds_its_target_repaired_lets_the_replaced_replica_leave_first(tmp_path: Path) -> None:
    async def course(history: History) -> None:
        before = holder(history)
        await put(history, adding_value(history.index, history.keys, history.next_value()))
        await drain_killed(history, before, after="join")
        await repair(history.cluster("repair"))
        assert len(history.placement().in_sync()[ShardId(0)]) == 2
        await drain(history, before)
        assert holder(history) != before

    stage(tmp_path, course)


def test_a_replica_that_serves_is_never_forgotten(tmp_path: Path) -> None:
    async def course(history: History) -> None:
        index, name = history.index, holder(history)
        store = history.store
        assert await store.begin_forgetting(index, name, [ShardId(0)], nonce="a") == ()
        await store.join(index, ShardId(0), other(name), nonce="b", top=-1)
        assert await store.begin_forgetting(index, other(name), [ShardId(0)], nonce="c") == ()
        await store.unjoin(index, ShardId(0), other(name))
        assert await store.begin_forgetting(index, other(name), [ShardId(0)], nonce="d") == (ShardId(0),)

    stage(tmp_path, course)


def other(name: NodeName) -> NodeName:
    return N2 if name == N1 else N1


def test_a_replica_that_can_no_longer_be_dropped_does_not_hold_up_what_comes_next(tmp_path: Path) -> None:
    async def course(history: History) -> None:
        await put(history, adding_value(history.index, history.keys, history.next_value()))
        history.topology = with_replicas(history.topology, 1)
        history.doors.after["begin_run"] = [kill]
        with pytest.raises(Killed):
            await Process(name="fewer").run(rebalance(history.cluster("fewer"), Change(title="fewer")))
        steps = await history.store.steps((await history.store.runs())[0].id)
        kept = next(name for name in (N1, N2) if name != steps[0].leaving)
        await history.store.mark(UID, {kept: [ShardId(0)]}, state=ReplicaState.STALE)
        await Process(name="again").run(rebalance(history.cluster("again"), Change(title="fewer")))

    stage(tmp_path, course, replace(CALM, replicas=2))


def test_what_left_a_node_that_has_another_disk_by_now_is_forgotten(tmp_path: Path) -> None:
    async def course(history: History) -> None:
        before = holder(history)
        await put(history, adding_value(history.index, history.keys, history.next_value()))
        await drain_killed(history, before, after="switch")
        history.nodes[before].stop()
        history.nodes[before].lose_disk()
        history.nodes[before].start()
        began = history.loop.time()
        await drain(history, before)
        assert history.loop.time() - began < 2.0
        assert history.placement().replica(ShardId(0), before) is None

    stage(tmp_path, course)


@pytest.mark.parametrize("delivery", [Delivery.UNANSWERED, Delivery.LATE, Delivery.LOST, Delivery.BUSY])
def test_an_answer_that_does_not_come_costs_the_mover_another_attempt_only(tmp_path: Path, delivery: Delivery) -> None:
    async def course(history: History) -> None:
        async def worsen() -> None:
            history.weather.deliveries = {delivery: 1.0}

        async def mend() -> None:
            history.weather.deliveries = {}

        before = holder(history)
        await put(history, adding_value(history.index, history.keys, history.next_value()))
        history.doors.after["join"] = [worsen, mend]
        await drain(history, before)
        assert holder(history) != before

    stage(tmp_path, course)
