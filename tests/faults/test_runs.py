"""Steering a run, and what stands in its way: pauses, limits, cancellations, other tools, the state file."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from miroir_cli.cluster import Cluster
from miroir_cli.dev.engine.faults import Kind
from miroir_cli.dev.engine.testing import Engine
from miroir_cli.errors import Interrupted, Locked, StateUnavailable
from miroir_cli.migration.rebalance import cancel, control, require_unfinished
from miroir_cli.migration.run import RunOptions
from miroir_cli.model import Index, ReplicaState
from miroir_cli.replication.write import write
from miroir_cli.store.journal import RunKind, RunState, StepState, Wanted
from tests.backends import both_backends
from tests.faults.moving import at, check_finished, check_search, moving, run, stored
from tests.faults.world import N3, UID, Ledger, addition, check, create, eventually, keys_of_every_shard, put, world_of

SLOW = RunOptions(retry_for=4.0, max_pause=1.0, rate=20, parallel=1)
"""Shards of ten documents, a shard every half a second."""


def switched(cluster: Cluster, count: int) -> Callable[[], Awaitable[bool]]:
    async def enough() -> bool:
        run = await cluster.store.unfinished_run()
        steps = await cluster.store.steps(run.id) if run is not None else ()
        return sum(step.state.switched for step in steps) >= count

    return enough


@both_backends
async def test_a_paused_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    async with (
        moving(tmp_path, nodes=2, replicas=2, shards=4, each=10) as (world, cluster, index, ledger),
        world.cluster() as shell,
    ):
        running = asyncio.create_task(run(cluster, options=SLOW))
        await eventually(switched(shell, 1))
        await control(shell, Wanted.PAUSE)
        await asyncio.sleep(1.2)  # until it has heard of it, and ended the shard in hand
        before = await shell.store.steps((await require_unfinished(shell)).id)
        await put(shell, index, {"k0": 2}, ledger)
        await asyncio.sleep(0.8)
        assert await shell.store.steps((await require_unfinished(shell)).id) == before
        assert not all(step.state.switched for step in before)
        await control(shell, Wanted.GO, rate=0)
        outcome = await running
        assert outcome.result is not None and outcome.result.run.state is RunState.DONE
        await check_finished(world, cluster, index, ledger)


@both_backends
async def test_a_run_that_is_cancelled_keeps_what_has_switched_and_takes_back_the_rest(tmp_path: Path) -> None:
    async with (
        moving(tmp_path, nodes=2, replicas=2, shards=4, each=10) as (world, cluster, index, ledger),
        world.cluster() as shell,
    ):
        running = asyncio.create_task(run(cluster, options=SLOW))
        await eventually(switched(shell, 1))
        assert (await cancel(shell)).state is RunState.CANCELLED
        assert (await running).result is not None
        map = await check(shell, index, ledger)
        assert {replica.state for replica in map.replicas} == {ReplicaState.SERVING}
        moved = [shard for shard, names in map.in_sync().items() if N3 in names]
        assert 0 < len(moved) < index.shards
        assert len(stored(world, N3, UID)) == 10 * len(moved)
        await check_search(shell, index, ledger)
        await run(cluster)
        await check_finished(world, cluster, index, ledger)


async def test_a_run_keeps_to_its_rate(tmp_path: Path) -> None:
    async with moving(tmp_path, nodes=2, replicas=2, shards=4, each=10) as (world, cluster, index, ledger):
        began = time.monotonic()
        await run(cluster, options=RunOptions(rate=20))
        assert time.monotonic() - began > (index.shards - 1) * 10 / 20
        await check_finished(world, cluster, index, ledger)


async def test_a_run_whose_time_is_over_is_gone_on_with(tmp_path: Path) -> None:
    async with moving(tmp_path, nodes=2, replicas=2, shards=4, each=10) as (world, cluster, index, ledger):
        outcome = await run(cluster, options=RunOptions(rate=20, parallel=1, max_duration=0.8))
        assert outcome.result is not None and outcome.result.run.state is RunState.STOPPED
        assert outcome.result.unfinished
        await check(cluster, index, ledger)
        again = await run(cluster)
        assert again.result is not None and again.result.run.id == outcome.result.run.id
        await check_finished(world, cluster, index, ledger)


async def test_a_node_that_takes_its_time_to_delete_does_not_hold_up_the_next_shards(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=2, spare=1, replicas=1, shards=6) as world:
        async with world.cluster() as cluster:
            index, ledger = await create(cluster), Ledger()
            await put(cluster, index, dict.fromkeys(keys_of_every_shard(index, each=3), 1), ledger)
        world.add(3)
        slow = [
            world.engine(number).faults.add(Kind.DELAY, path="/documents/delete$", seconds=3.0) for number in (1, 2)
        ]
        async with world.cluster() as cluster:
            outcome = await run(cluster, options=RunOptions(retry_for=8.0, parallel=1, forget_every=0.0))
            assert outcome.result is not None and any(fault.hits for fault in slow)
            events = [(event.step, event.state) for event in await cluster.store.events(outcome.result.run.id)]
            assert events.index((2, "joining")) < events.index((1, "done"))
            await check_finished(world, cluster, index, ledger)


@both_backends
async def test_two_tools_at_once(tmp_path: Path) -> None:
    """H14: the second is told who moves."""
    async with (
        moving(tmp_path, nodes=2, replicas=2, shards=4, each=10) as (world, cluster, index, ledger),
        world.cluster() as second,
    ):
        running = asyncio.create_task(run(cluster, options=SLOW))
        await eventually(switched(second, 1))
        with pytest.raises(Locked, match="`run` is locked by process .* \\(`test`\\)"):
            await run(second)
        await control(second, rate=0)
        await running
        await check_finished(world, cluster, index, ledger)


@pytest.mark.parametrize("state", [StepState.JOINING, StepState.COPYING, StepState.FORGETTING])
async def test_a_run_is_interrupted_although_a_queue_stands_still(tmp_path: Path, state: StepState) -> None:
    async with moving(tmp_path, nodes=2, replicas=2, each=10) as (world, cluster, index, ledger):
        stuck = world.engine(1 if state is StepState.FORGETTING else 3)
        running: list[asyncio.Task[object]] = []

        def interrupt() -> None:
            stuck.faults.pause()
            asyncio.get_running_loop().call_later(0.5, running[0].cancel)

        running.append(asyncio.create_task(run(cluster, report=at(state, interrupt))))
        began = time.monotonic()
        with pytest.raises(Interrupted):
            await running[0]
        assert time.monotonic() - began < 20.0
        await check(cluster, index, ledger)
        stuck.faults.add(Kind.DELAY_TASK, seconds=0.3, count=1)  # what waited there ends while the next run looks
        stuck.faults.resume()
        outcome = await run(cluster)
        assert outcome.result is not None and outcome.result.run.state is RunState.DONE, outcome
        await check_finished(world, cluster, index, ledger)


async def test_a_state_file_that_others_hold_for_a_while_is_waited_for(tmp_path: Path) -> None:
    async with moving(tmp_path, nodes=2, replicas=2, shards=4, each=10) as (world, cluster, index, ledger):
        other = sqlite3.connect(tmp_path / ".miroir" / "state.db", isolation_level=None, check_same_thread=False)

        def hold() -> None:
            other.execute("begin immediate")
            asyncio.get_running_loop().call_later(1.0, other.execute, "rollback")

        outcome = await run(cluster, report=at(StepState.COPYING, hold))
        other.close()
        assert outcome.result is not None and outcome.result.run.state is RunState.DONE
        await check_finished(world, cluster, index, ledger)


@pytest.mark.parametrize("state", [StepState.JOINING, StepState.COPYING, StepState.SWITCHING, StepState.FORGETTING])
async def test_a_state_file_that_cannot_be_written_ends_the_run_at_a_clean_place(
    tmp_path: Path, state: StepState
) -> None:
    async with moving(tmp_path, nodes=2, replicas=2, shards=2) as (world, cluster, index, ledger):
        other = sqlite3.connect(tmp_path / ".miroir" / "state.db", isolation_level=None)
        cluster.store._writer.conn.execute("pragma busy_timeout = 100")  # type: ignore[attr-defined]
        with pytest.raises(StateUnavailable, match="held by another process"):
            await run(cluster, report=at(state, lambda: other.execute("begin immediate")))
        other.execute("rollback")
        other.close()
        await check(cluster, index, ledger)
        await run(cluster)
        await check_finished(world, cluster, index, ledger)


@pytest.mark.parametrize("state", [StepState.JOINING, StepState.COPYING, StepState.SWITCHING, StepState.FORGETTING])
async def test_a_full_disk_under_the_state_file_ends_the_run_at_a_clean_place(tmp_path: Path, state: StepState) -> None:
    """Searches go on. So do the next write and the next run once there is room again."""
    async with (
        moving(tmp_path, nodes=2, replicas=2, shards=8) as (world, cluster, index, ledger),
        world.cluster() as client,
    ):
        cluster.command = "miroir rebalance run".ljust(200, "x")  # each line of the journal takes some room
        with pytest.raises(StateUnavailable, match="no space left"):
            await run(cluster, report=at(state, lambda: _leave_room(cluster, client, pages=0)))
        found = await client.store.unfinished_run()
        assert found is not None and found.state in (RunState.RUNNING, RunState.STOPPED)
        await check_search(client, index, ledger)
        await _write_without_room(client, index, ledger)
        await check_search(client, index, ledger)
        _leave_room(cluster, client, pages=10_000)
        await put(client, index, {"k0": 7}, ledger)
        outcome = await run(client)
        assert outcome.result is not None and outcome.result.run.id == found.id
        await check_finished(world, client, index, ledger)


def _leave_room(*clusters: Cluster, pages: int) -> None:
    """Let the state file grow by so many pages and no more."""
    for cluster in clusters:
        connection = cluster.store._writer.conn  # type: ignore[attr-defined]
        size = connection.execute("pragma page_count").fetchone()[0]
        connection.execute(f"pragma max_page_count = {size + pages}")


async def _write_without_room(cluster: Cluster, index: Index, ledger: Ledger) -> None:
    """Write until the state file has no room for it: it may be stored all the same, as far as anybody is told."""
    with pytest.raises(StateUnavailable, match="no space left"):
        for value in range(1, 2000):
            ledger.begun({"k1": value})
            await write(cluster, index, addition(index, {"k1": value}))


async def test_a_clock_that_is_set_back_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a day, in the middle of a run: what was recorded last is newer all the same, and no time is negative."""

    def set_back() -> None:
        now, day = time.time_ns, 24 * 3600
        monkeypatch.setattr(time, "time_ns", lambda: now() - day * 1_000_000_000)
        monkeypatch.setattr(time, "time", lambda: now() / 1e9 - day)

    async with (
        moving(tmp_path, nodes=2, replicas=2, shards=4, each=10) as (world, cluster, index, ledger),
        world.cluster() as client,
    ):
        slow = RunOptions(retry_for=4.0, rate=20, parallel=1, max_duration=1.0)
        stopped = await run(cluster, options=slow, report=at(StepState.SWITCHING, set_back))
        assert stopped.result is not None and stopped.result.run.state is RunState.STOPPED
        await put(client, index, {"k0": 2, "k1": 2}, ledger)
        outcome = await run(client)
        assert outcome.result is not None and outcome.result.run.state is RunState.DONE
        assert outcome.result.run.id == stopped.result.run.id
        ended = outcome.result.run
        assert ended.finished_at is not None and ended.finished_at < ended.started_at
        assert 0 < ended.summary["seconds"] < 60
        events = await client.store.events(ended.id)
        assert [event.state for event in events if event.step is None] == ["begun", "stopped", "resumed", "done"]
        await check_finished(world, client, index, ledger)
        assert (await client.store.runs(limit=1))[0].kind is RunKind.VERIFY


async def test_a_target_that_hangs_does_not_hold_up_writers(tmp_path: Path) -> None:
    """A node that serves nothing yet answers nothing at all, in the moment of the switch too."""
    async with (
        moving(tmp_path, nodes=2, replicas=2, each=10) as (world, cluster, index, ledger),
        world.cluster() as client,
    ):
        target = world.engine(3)

        def hang() -> None:
            target.faults.add(Kind.DELAY, seconds=30.0, count=None)

        running = asyncio.create_task(run(cluster, report=at(StepState.SWITCHING, hang)))
        await eventually(lambda: _hit(target))
        slowest = 0.0
        for value in range(6):
            began = time.monotonic()
            await put(client, index, {"k0": value}, ledger)
            slowest = max(slowest, time.monotonic() - began)
        assert slowest < 10.0, slowest
        target.faults.clear()
        world.engine(3).stop()
        world.engine(3).start()
        await running
        await run(cluster)
        await check_finished(world, cluster, index, ledger)


async def _hit(engine: Engine) -> bool:
    return any(fault.hits for fault in engine.faults.armed)
