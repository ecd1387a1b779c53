"""Runs beside writers and faulty nodes: searches are complete at every moment, and replicas end equal."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

import msgspec
import pytest

from miroir_cli.cluster import Cluster
from miroir_cli.dev.engine.faults import Kind
from miroir_cli.errors import Interrupted
from miroir_cli.migration.rebalance import control
from miroir_cli.migration.run import RunOptions
from miroir_cli.model import SHARD_FIELD, Node, ReplicaState, ShardId, StoredUid, spell_shard
from miroir_cli.node.answers import Accepted
from miroir_cli.store.journal import RunState, StepRecord, StepState, Wanted
from tests.backends import both_backends
from tests.faults.moving import (
    FILTERABLE,
    REPAIR,
    Client,
    at,
    check_finished,
    checking,
    delete,
    hook,
    moving,
    once,
    run,
    stored,
)
from tests.faults.world import (
    N1,
    N2,
    N3,
    Ledger,
    World,
    check,
    create,
    eventually,
    keys_of_every_shard,
    put,
    world_of,
)

PATIENT = RunOptions(retry_for=25.0, max_pause=1.0)
"""Long enough for shards that are spoilt again and again by changes of the settings."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A cluster, and what an operator does to it."""

    do: Callable[[World], object]
    nodes: int = 2
    spare: int = 0
    replicas: int = 2


def replace(world: World) -> None:
    node = Node(name=N3, url=world.engine(3).url)
    world.edit(lambda document: document.replace_node("n1", node))


CASES = {
    "a node is added": Case(spare=1, do=lambda world: world.add(3)),
    "a node is drained": Case(nodes=3, do=lambda world: world.drain(1)),
    "a node is replaced": Case(spare=1, do=replace),
    "one replica more": Case(nodes=3, replicas=1, do=lambda world: world.set_replicas(2)),
    "one replica less": Case(nodes=3, do=lambda world: world.set_replicas(1)),
}


@pytest.mark.parametrize("case", CASES)
async def test_searches_are_complete_and_replicas_equal_while(tmp_path: Path, case: str) -> None:
    """Clients write, change settings, delete by ids, by a filter and everything, and search, all the time."""
    change = CASES[case]
    with world_of(tmp_path, nodes=change.nodes, spare=change.spare, shards=3, replicas=change.replicas) as world:
        async with world.cluster() as cluster:
            index = await create(cluster, settings=FILTERABLE)
            ledger = Ledger()
        change.do(world)
        async with world.cluster() as cluster, world.cluster() as other:
            async with Client(cluster=other, index=index, ledger=ledger) as client:
                hook(cluster, after_save_step=checking(client))
                outcome = await run(cluster, options=PATIENT)
                assert outcome.result is not None and not outcome.result.unfinished
            await check_finished(world, cluster, index, ledger)


@both_backends
async def test_searches_are_complete_and_replicas_equal_while_a_node_that_was_down_is_mended(tmp_path: Path) -> None:
    with world_of(tmp_path, shards=3) as world:
        async with world.cluster() as cluster, world.cluster() as other:
            index = await create(cluster, settings=FILTERABLE)
            ledger = Ledger()
            await put(cluster, index, dict.fromkeys(keys_of_every_shard(index), 0), ledger)
            world.engine(2).stop()
            await put(cluster, index, dict.fromkeys(keys_of_every_shard(index, each=1), 100), ledger)
            await delete(cluster, index, ledger, ["k1"])
            world.engine(2).start()
            async with Client(cluster=other, index=index, ledger=ledger) as client:
                hook(cluster, after_save_step=checking(client))
                outcome = await run(cluster, REPAIR, options=PATIENT)
                assert outcome.result is not None and not outcome.result.unfinished
            await check_finished(world, cluster, index, ledger)


async def test_a_run_that_is_paused_holds_no_lock(tmp_path: Path) -> None:
    """Also when it was about to switch: writers go on."""
    with world_of(tmp_path, nodes=1, spare=1, shards=1, replicas=1) as world:
        async with world.cluster() as cluster:
            index, ledger = await create(cluster), Ledger()
            await put(cluster, index, dict.fromkeys(keys_of_every_shard(index), 1), ledger)
        world.add(2)
        world.drain(1)
        async with world.cluster() as cluster, world.cluster(lock_timeout=3.0) as client:

            async def pause() -> None:
                await put(client, index, {"k0": 2}, ledger)
                await control(client, Wanted.PAUSE)

            paused = once(pause)

            async def when_switching(_: None, __: int, step: StepRecord, **___: object) -> None:
                if step.state is StepState.SWITCHING:
                    await paused()

            async def hold(*_: object, **__: object) -> None:
                await asyncio.sleep(0.5)  # until the run has heard of it

            hook(cluster, after_save_step=when_switching, before_changes=hold)
            running = asyncio.create_task(run(cluster))
            await asyncio.sleep(2.5)
            assert not running.done()
            await put(client, index, {"k0": 3}, ledger)
            await control(client, Wanted.GO)
            await running
            await check_finished(world, cluster, index, ledger)


async def test_settings_of_a_node_that_serves_are_not_sent_again_when_another_replica_of_it_is_mended(
    tmp_path: Path,
) -> None:
    """A task of settings carries no mark: whoever settles meanwhile would take it for somebody else's."""
    with world_of(tmp_path, nodes=2, shards=2, replicas=2) as world:
        async with world.cluster() as cluster:
            index, ledger = await create(cluster), Ledger()
            await put(cluster, index, dict.fromkeys(keys_of_every_shard(index), 1), ledger)
            await cluster.store.mark(index.uid, {N2: [ShardId(0)]}, state=ReplicaState.STALE)
            before = (await cluster.fleet[N2].tasks(indexUids=index.uid, types="settingsUpdate"))["total"]
        async with world.cluster() as cluster:
            await run(cluster, REPAIR)
            await check_finished(world, cluster, index, ledger)
            assert (await cluster.fleet[N2].tasks(indexUids=index.uid, types="settingsUpdate"))["total"] == before


@pytest.mark.parametrize("written", [False, True], ids=["", "and written to"])
async def test_a_disk_that_was_emptied_has_nothing_left_to_forget(tmp_path: Path, written: bool) -> None:
    """A write to an emptied disk brings the index into being, without the settings by which shards are deleted."""
    with world_of(tmp_path, nodes=2, spare=1, shards=2, replicas=1) as world:
        async with world.cluster() as cluster:
            index, ledger = await create(cluster), Ledger()
            await put(cluster, index, dict.fromkeys(keys_of_every_shard(index), 1), ledger)
        world.add(3)
        world.drain(1)
        async with world.cluster() as cluster:
            wiped: list[StepRecord] = []

            async def when_switched(_: None, __: int, step: StepRecord, **___: object) -> None:
                if step.state is StepState.FORGETTING and step.leaving == N1 and not wiped:
                    wiped.append(step)
                    world.engine(1).wipe()
                    if written:
                        body = msgspec.json.encode({"id": "x", SHARD_FIELD: spell_shard(step.shard), "value": 3})
                        await cluster.fleet[N1].write("POST", "indexes/books/documents", content=body)

            hook(cluster, after_save_step=when_switched)
            outcome = await run(cluster)
            assert outcome.result is not None and not outcome.result.left
            await check_finished(world, cluster, index, ledger)


async def test_a_replica_that_serves_is_never_emptied_because_an_old_step_says_so(tmp_path: Path) -> None:
    """A run is stopped while it fills the replica that is to replace another one; a repair that needs both is quicker
    than the rest of it."""
    with world_of(tmp_path, nodes=2, spare=1, shards=1, replicas=2) as world:
        async with world.cluster() as cluster:
            index, ledger = await create(cluster), Ledger()
            await put(cluster, index, dict.fromkeys(keys_of_every_shard(index), 1), ledger)
        world.add(3)
        world.drain(1)
        async with world.cluster() as cluster:
            running: list[asyncio.Task[object]] = []
            stop = at(StepState.COPYING, lambda: running[0].cancel())
            running.append(asyncio.create_task(run(cluster, report=stop)))
            with pytest.raises(Interrupted):
                await running[0]
            await cluster.store.mark(index.uid, {N2: [ShardId(0)]}, state=ReplicaState.LOST)
            await run(cluster, REPAIR)
            states = {replica.node: replica.state for replica in (await check(cluster, index, ledger)).replicas}
            assert (states[N1], states[N3]) == (ReplicaState.SERVING, ReplicaState.SERVING), states
            looks: list[StepRecord] = []

            async def look(_: None, __: int, step: StepRecord, **___: object) -> None:
                await check(cluster, index, ledger)
                looks.append(step)

            hook(cluster, after_save_step=look)
            await run(cluster)
            assert any(step.state is StepState.FORGETTING for step in looks)
            await check(cluster, index, ledger)
            await run(cluster)
            await check_finished(world, cluster, index, ledger)


def start_import(world: World) -> subprocess.Popen[bytes]:
    """An import of what comes through a pipe, in batches of a few documents."""
    command = [sys.executable, "-m", "miroir_cli", "-t", str(world.path), "import", "books", "-", "--quiet"]
    command += ["--format", "ndjson", "--batch-bytes", "2000"]
    return subprocess.Popen(command, stdin=subprocess.PIPE)


async def test_an_import_that_never_lets_a_queue_run_empty_does_not_stop_a_switch(tmp_path: Path) -> None:
    """H25: its batches come quicker than the only node can index them."""
    async with moving(tmp_path, shards=2) as (world, cluster, _, __):
        world.engine(1).faults.add(Kind.DELAY_TASK, seconds=0.1, count=None)
        importing = start_import(world)
        enough, lines, depths = threading.Event(), count(), list[int]()

        def feed() -> None:
            assert importing.stdin is not None
            with importing.stdin as pipe:
                while not enough.wait(0.1):
                    for number in islice(lines, 100):
                        pipe.write(b'{"id": "d%d", "value": 1, "text": "%s"}\n' % (number, b"x" * 100))
                    pipe.flush()

        async def look(*_: object, **__: object) -> None:
            depths.append(len((await cluster.store.pending("books")).intents))

        feeding = asyncio.create_task(asyncio.to_thread(feed))
        try:
            await eventually(lambda: _has(cluster, intents=5), timeout=20)
            hook(cluster, after_save_step=look)
            outcome = await run(cluster, options=PATIENT)
        finally:
            enough.set()
            await feeding
            world.engine(1).faults.clear()
            status = await asyncio.to_thread(importing.wait)
        assert outcome.result is not None and outcome.result.run.state is RunState.DONE
        assert status == 0 and max(depths) > 1
        assert len(stored(world, N2, "books")) == next(lines) + 4


async def _has(cluster: Cluster, *, intents: int) -> bool:
    return len((await cluster.store.pending("books")).intents) >= intents


@pytest.mark.parametrize("stranger", [False, True], ids=["", "but for a stranger's document"])
async def test_a_node_that_is_emptied_loses_its_index_as_a_whole(tmp_path: Path, stranger: bool) -> None:
    """Deleting documents one by one costs a node as much as indexing them."""
    with world_of(tmp_path, nodes=3, shards=4, replicas=1) as world:
        async with world.cluster() as cluster:
            index, ledger = await create(cluster), Ledger()
            await put(cluster, index, dict.fromkeys(keys_of_every_shard(index, each=3), 1), ledger)
            if stranger:
                body = msgspec.json.encode({"id": "stranger"})
                answer = await cluster.fleet[N1].write("POST", "indexes/books/documents", content=body)
                assert isinstance(answer, Accepted)
                await cluster.fleet[N1].wait_task(answer.task)
        world.drain(1)
        async with world.cluster() as cluster:
            await run(cluster)
            tasks = (await cluster.fleet[N1].tasks(indexUids="books", limit=1000))["results"]
            kinds = {task["type"] for task in tasks}
            if stranger:
                assert (await cluster.fleet[N1].stats(StoredUid("books")))["numberOfDocuments"] == 1
                assert "indexDeletion" not in kinds
            else:
                await check_finished(world, cluster, index, ledger)
                assert "documentDeletion" not in kinds
                assert "indexDeletion" in kinds


async def test_a_shard_that_joins_does_not_wait_for_what_others_copy(tmp_path: Path) -> None:
    """All copies are in the target's queue at once, and it makes one batch of them."""
    with world_of(tmp_path, nodes=1, spare=1, shards=6, replicas=1) as world:
        async with world.cluster() as cluster:
            index, ledger = await create(cluster), Ledger()
            await put(cluster, index, dict.fromkeys(keys_of_every_shard(index, each=3), 1), ledger)
        world.add(2)
        addition = "documentAdditionOrUpdate"
        world.engine(2).faults.add(Kind.DELAY_TASK, path="books", task_type=addition, seconds=1.0)
        seen: dict[int, bool] = {}

        async with world.cluster() as cluster:
            joined: list[None] = []

            async def noted(_: None, __: int, step: StepRecord, **___: object) -> None:
                if step.state is StepState.COPYING and step.number not in seen:
                    unfinished = await cluster.fleet[N2].tasks(
                        indexUids="books", types=addition, statuses="enqueued,processing"
                    )
                    seen[step.number] = bool(unfinished["total"])

            async def after_the_first_has_sent(*_: object, **__: object) -> None:
                joined.append(None)
                if len(joined) > 1:
                    await eventually(has_additions)

            async def has_additions() -> bool:
                found = await cluster.fleet[N2].tasks(indexUids="books", types=addition)
                return bool(found["total"])

            hook(cluster, after_save_step=noted, before_join=after_the_first_has_sent)
            await run(cluster)
            await check_finished(world, cluster, index, ledger)
        assert sorted(seen.values()) == [False, True, True], "the first found an empty queue"


async def test_a_node_that_the_roll_call_could_not_take_in_is_a_member_before_it_has_anything(tmp_path: Path) -> None:
    async with moving(tmp_path, nodes=2, replicas=1, shards=2) as (world, cluster, index, ledger):
        world.engine(3).faults.add(Kind.DROP_BEFORE, method="POST", path="_miroir/documents", count=1)
        world.engine(3).faults.add(Kind.DROP_BEFORE, method="PUT", path="_miroir/documents", count=1)
        outcome = await run(cluster)
        assert outcome.result is not None and not outcome.result.unfinished
        assert N3 in await cluster.store.members()
        await put(cluster, index, dict.fromkeys(keys_of_every_shard(index), 2), ledger)
        await check_finished(world, cluster, index, ledger)
