"""The holes of a simpler protocol (section 7 of its page), each staged by its trace on the real code.

Staged elsewhere: H5 in `test_crashes.py` (a process killed between two nodes), H7 and H16 in `test_writes.py` (answers
that are dropped, requests that arrive late, writes that fail on different replicas), H9 in `test_crashes.py` (what a
dead process left is settled by anybody), H10 with an empty target in `test_move_faults.py`, H14 with two tools at once
in `test_runs.py`, H15 in `test_move_faults.py` (a node that loses the payload), H24 and H25 in `test_moves.py` (clients
delete by a filter while a node that serves some shards is filled with others; an import with a deep queue).
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from miroir_cli.cluster import Cluster
from miroir_cli.dev.engine.faults import Kind
from miroir_cli.errors import IndexNotFound, Locked, NodeRefusal, ShardUnavailable
from miroir_cli.indexes.catalog import delete_index
from miroir_cli.migration.repair import accept_data_loss, last_resorts
from miroir_cli.migration.run import RunOptions, RunProgress
from miroir_cli.model import IntentState, ReplicaState, ShardId
from miroir_cli.node.answers import Accepted
from miroir_cli.replication.settle import settle
from miroir_cli.search.scatter import search
from miroir_cli.store.journal import MOVER_PREFIX, RunState, StepRecord, StepState
from miroir_cli.store.locks import Locks, Owner
from tests.faults.moving import (
    REPAIR,
    at,
    check_finished,
    check_search,
    clear,
    delete,
    hook,
    moving,
    once,
    run,
    stored,
)
from tests.faults.process import Mortuary, start
from tests.faults.world import (
    HURRIED,
    N1,
    N2,
    N3,
    UID,
    Ledger,
    check,
    create,
    eventually,
    keys_of_every_shard,
    put,
    stale,
    world_of,
)


async def test_h1_what_is_queued_at_the_source_is_not_taken_for_copied(tmp_path: Path) -> None:
    """The source has a write in its queue while it is compared: both have the old value, and then it is applied."""
    async with moving(tmp_path) as (world, cluster, index, ledger), world.cluster() as client:
        writing: list[asyncio.Task[object]] = []

        def write() -> None:
            world.engine(1).faults.pause()
            documents = dict.fromkeys(keys_of_every_shard(index), 2)
            writing.append(asyncio.create_task(put(client, index, documents, ledger)))

        def report(progress: RunProgress) -> None:
            at_copying(progress)
            at_switching(progress)

        at_copying = at(StepState.COPYING, write)
        at_switching = at(StepState.SWITCHING, lambda: world.engine(1).faults.resume())
        await run(cluster, report=report)
        await writing[0]
        await check_finished(world, cluster, index, ledger)
        assert ledger.values["k0"] == [2]


def owner_of(cluster: Cluster) -> Owner | None:
    """Who has signed the order lock."""
    assert isinstance(cluster.locks, Locks)
    return cluster.locks.owner(f"{UID}.order")


async def test_h1_a_write_that_is_settled_while_the_log_is_read_is_not_lost(tmp_path: Path) -> None:
    """The log says what was written since the last cut; a write gets its number after that was read and is applied
    before the next cut is taken."""
    async with moving(tmp_path) as (world, cluster, index, ledger), world.cluster() as client:
        written = once(lambda: put(client, index, {"late": 2}, ledger))

        async def write_when_read(*_: object, **__: object) -> None:
            if owner_of(client) is None:
                await written()

        hook(cluster, after_changes=write_when_read)
        await run(cluster)
        assert ledger.values["late"] == [2]
        await check_finished(world, cluster, index, ledger)


async def test_h2_a_deletion_without_keys_after_the_comparison_is_not_lost(tmp_path: Path) -> None:
    async with moving(tmp_path, shards=2) as (world, cluster, index, ledger), world.cluster() as client:
        cleared = once(lambda: clear(client, index, ledger))

        async def clear_when_compared(_: None, __: int, step: StepRecord, **___: object) -> None:
            if step.state is StepState.SWITCHING:
                await cleared()

        hook(cluster, after_save_step=clear_when_compared)
        await run(cluster)
        await check_finished(world, cluster, index, ledger)
        assert not any(map(any, ledger.values.values()))


async def test_h3_a_reader_with_an_old_map_does_not_answer_from_a_replica_that_was_emptied(tmp_path: Path) -> None:
    async with moving(tmp_path, shards=3) as (world, cluster, index, ledger), world.cluster() as reader:
        await check_search(reader, index, ledger)
        await run(cluster)
        assert not stored(world, N1, UID)
        await check_search(reader, index, ledger)


async def test_h4_a_reader_with_an_old_map_does_not_answer_from_a_replica_that_missed_a_write(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster, world.cluster() as reader, world.cluster() as other:
            index, ledger = await create(cluster), Ledger()
            keys = keys_of_every_shard(index)
            await put(cluster, index, dict.fromkeys(keys, 1), ledger)
            await check_search(reader, index, ledger)
            await check_search(other, index, ledger)
            other.rotation = reader.rotation + 1
            world.engine(2).faults.add(Kind.FAIL_TASK, path=UID)
            await put(cluster, index, dict.fromkeys(keys, 2), ledger)
            await check_search(reader, index, ledger)
            await check_search(other, index, ledger)


async def test_h6_a_writer_that_is_stopped_keeps_the_lock_and_nobody_overtakes_it(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster, world.cluster(lock_timeout=0.3) as hasty:
            index, ledger = await create(cluster), Ledger()
            writer = start(world.path, "loop", "a", "200")
            for _ in range(200):
                await asyncio.sleep(0.05)
                owner = owner_of(hasty)
                if owner is None or owner.pid != writer.pid:
                    continue
                writer.send_signal(signal.SIGSTOP)
                if (owner := owner_of(hasty)) and owner.pid == writer.pid:
                    break
                writer.send_signal(signal.SIGCONT)
            before = await cluster.store.newest_intent(UID)
            with pytest.raises(Locked, match="it is stopped: continue it with SIGCONT or kill it"):
                await put(hasty, index, {"k0": 2}, ledger)
            assert await cluster.store.newest_intent(UID) == before
            writer.send_signal(signal.SIGCONT)
            await put(cluster, index, {"last": 2}, Ledger())
            writer.kill()
            await asyncio.to_thread(writer.communicate)
            await put(cluster, index, {"last": 3}, Ledger())
            assert stale(await cluster.reload(UID)) == set()
            assert stored(world, N1, UID) == stored(world, N2, UID)


async def test_h8_a_replica_that_missed_a_write_is_marked_before_the_next_write_is_sent(tmp_path: Path) -> None:
    """The first writer is held up before it marks the node that was down; that one is back, and the other one goes."""
    with world_of(tmp_path, shards=1) as world:
        async with world.cluster() as cluster, world.cluster() as second:
            index, ledger = await create(cluster), Ledger()
            released = asyncio.Event()

            async def held_up(*_: object, **__: object) -> None:
                await released.wait()

            world.engine(1).stop()
            hook(cluster, before_close_intent=held_up)
            first = asyncio.create_task(put(cluster, index, {"a": 1}, ledger))
            await asyncio.sleep(0.3)
            world.engine(1).start()
            next_one = asyncio.create_task(put(second, index, {"b": 2}, ledger))
            await asyncio.sleep(0.3)
            world.engine(2).stop()
            released.set()
            world.engine(2).start()
            await first
            await next_one
            assert stale(await check(second, index, ledger)) == {N1}


async def test_h10_an_empty_source_is_not_copied(tmp_path: Path) -> None:
    """The only source is emptied after it was compared: what it had is on the target, and nobody takes it away."""
    async with moving(tmp_path) as (world, cluster, index, ledger):
        await run(cluster, report=at(StepState.COPYING, lambda: world.engine(1).wipe()))
        states = {replica.node: replica.state for replica in (await cluster.reload(UID)).replicas}
        assert states == {N1: ReplicaState.LOST, N2: ReplicaState.JOINING}
        with pytest.raises(ShardUnavailable):
            await search(cluster, UID, {"q": ""})
    async with moving(tmp_path / "second") as (world, cluster, index, ledger):
        await run(cluster, report=at(StepState.SWITCHING, lambda: world.engine(1).wipe()))
        if not (await cluster.reload(UID)).in_sync()[ShardId(0)]:
            await accept_data_loss(cluster, await last_resorts(cluster, UID))
        await check(cluster, index, ledger)
        await check_search(cluster, index, ledger)


async def test_h11_what_the_target_still_has_in_its_queue_is_waited_for(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            index, ledger = await create(cluster), Ledger()
            keys = keys_of_every_shard(index)
            world.engine(2).faults.pause()
            await put(cluster, index, dict.fromkeys(keys, 1), ledger)
            assert stale(await check(cluster, index, ledger)) == {N2}
            await put(cluster, index, dict.fromkeys(keys, 2), ledger)
            mending = asyncio.create_task(run(cluster, REPAIR))
            await asyncio.sleep(0.7)
            assert stale(await cluster.reload(UID)) or not mending.done()
            world.engine(2).faults.resume()
            await mending
            await check_finished(world, cluster, index, ledger)


async def test_h11_what_reaches_the_target_between_two_rounds_is_not_switched_in(tmp_path: Path) -> None:
    """A ghost empties the target after it was compared; writers go on, and the rounds that follow look at their keys
    only."""
    async with moving(tmp_path) as (world, cluster, index, ledger), world.cluster() as client:
        writing: list[asyncio.Task[object]] = []

        async def ghost() -> None:
            answer = await client.fleet[N2].write("DELETE", f"indexes/{UID}/documents")
            assert isinstance(answer, Accepted)
            await client.fleet[N2].wait_task(answer.task)
            world.engine(1).faults.pause()
            writing.append(asyncio.create_task(put(client, index, {"k0": 2}, ledger)))
            await eventually(sent)
            asyncio.get_running_loop().call_later(1.5, world.engine(1).faults.resume)  # at the latest

        async def sent() -> bool:
            newest = await client.store.newest_intent(UID)
            return newest is not None and newest.n == 2 and newest.state is IntentState.SENT

        haunt = once(ghost)

        async def when_compared(_: None, __: int, step: StepRecord, **___: object) -> None:
            if step.state is StepState.SWITCHING:
                await haunt()

        async def when_tried(*_: object, **__: object) -> None:
            if writing and owner_of(client) is None:
                world.engine(1).faults.resume()

        hook(cluster, after_save_step=when_compared, after_changes=when_tried)
        await run(cluster, options=RunOptions(retry_for=20.0, max_pause=1.0))
        await writing[0]
        await check_finished(world, cluster, index, ledger)


@pytest.mark.parametrize("state", [StepState.COPYING, StepState.SWITCHING])
async def test_h12_a_source_that_misses_a_write_during_the_move_is_a_source_no_longer(
    tmp_path: Path, state: StepState
) -> None:
    async with moving(tmp_path, nodes=2, replicas=2) as (world, cluster, index, ledger), world.cluster() as client:
        missed = once(lambda: put(client, index, {"k0": 2}, ledger))

        async def when_there(_: None, __: int, step: StepRecord, **___: object) -> None:
            if step.state is state:
                await missed()

        world.engine(1).faults.add(Kind.FAIL_TASK, path=UID, task_type="documentAdditionOrUpdate")
        hook(cluster, after_save_step=when_there)
        await run(cluster)
        await run(cluster)
        await check_finished(world, cluster, index, ledger)


async def test_h13_a_late_forget_does_not_empty_a_shard_that_has_come_back(tmp_path: Path) -> None:
    patience = replace(HURRIED, grace=0.6)
    async with moving(tmp_path) as (world, _, index, ledger):
        world.engine(1).faults.add(Kind.LATE, path="/books/documents/delete$", seconds=0.5)
        async with world.cluster(patience=patience) as cluster:
            await run(cluster, options=RunOptions(retry_for=0.0))
        world.drain(2)
        async with world.cluster(patience=patience) as cluster:
            await run(cluster)
            await check_finished(world, cluster, index, ledger)
            assert stored(world, N1, UID)


async def test_h14_a_late_page_of_a_dead_mover_is_found_after_the_switch(tmp_path: Path) -> None:
    """It arrives after the fence and brings an old value back: its replica is marked, and mended."""
    async with moving(tmp_path, nodes=2, replicas=2) as (world, cluster, index, ledger):
        with Mortuary(world.path) as mortuary:
            await mortuary.die("rebalance", f"before:{N3}/documents")
        (dead,) = (await cluster.store.pending(UID)).movers
        await run(cluster)
        await put(cluster, index, {"k0": 2}, ledger)
        await check(cluster, index, ledger)
        page = msgspec.json.encode({**stored(world, N3, UID)["k0"], "value": 1})
        mark = {"customMetadata": f"{MOVER_PREFIX}{dead}"}
        await cluster.fleet[N3].write("POST", f"indexes/{UID}/documents", content=page, params=mark)

        async def found() -> bool:
            await settle(cluster, index)
            return N3 in stale(await cluster.reload(UID))

        await eventually(found)
        assert stored(world, N3, UID)["k0"]["value"] == 1
        await check_search(cluster, index, ledger)
        await run(cluster, REPAIR)
        await check_finished(world, cluster, index, ledger)


async def test_h17_documents_that_vanish_while_they_are_listed_take_no_others_with_them(tmp_path: Path) -> None:
    async with moving(tmp_path, each=2200) as (world, cluster, index, ledger), world.cluster() as client:
        keys = keys_of_every_shard(index, each=2200)
        world.engine(1).faults.add(Kind.DELAY, path="/documents/fetch$", seconds=0.2, count=None)
        deleting: list[asyncio.Task[None]] = []

        def vanish() -> None:
            deleting.append(asyncio.create_task(delete(client, index, ledger, keys[:1500])))

        await run(cluster, report=at(StepState.COPYING, vanish))
        await deleting[0]
        world.engine(1).faults.clear()
        await check(cluster, index, ledger)
        assert set(stored(world, N2, UID)) == set(keys[1500:])


@pytest.mark.parametrize("verb", ["rebalance", "repair"])
async def test_h18_what_a_dead_mover_sent_to_a_deleted_index_does_not_reach_its_successor(
    tmp_path: Path, verb: str
) -> None:
    async with moving(tmp_path, nodes=2, replicas=2) as (world, _, index, ledger):
        target = N3 if verb == "rebalance" else N2
        async with world.cluster(patience=replace(HURRIED, grace=1.0)) as cluster:
            if verb == "repair":
                await cluster.store.mark(UID, {N2: [ShardId(0)]}, state=ReplicaState.STALE)
                answer = await cluster.fleet[N2].write("DELETE", f"indexes/{UID}/documents")
                assert isinstance(answer, Accepted)
            engine = world.engines[target]
            engine.faults.add(Kind.LATE, method="POST", path="/books/documents$", seconds=0.8)
            with Mortuary(world.path) as mortuary:
                await mortuary.die(verb, f"after:{target}/documents")
            await delete_index(cluster, UID)
            await create(cluster)
            await asyncio.sleep(1.0)
            assert [name for name in world.engines if stored(world, name, UID)] == []


async def test_h18_a_move_ends_when_its_index_is_deleted(tmp_path: Path) -> None:
    async with moving(tmp_path, nodes=2, replicas=2) as (world, cluster, _, __), world.cluster() as client:
        deleting: list[asyncio.Task[object]] = []

        def begin() -> None:
            deleting.append(asyncio.create_task(delete_index(client, UID)))

        outcome = await run(cluster, report=at(StepState.COPYING, begin))
        await deleting[0]
        assert outcome.result is not None and outcome.result.run.state is RunState.DONE
        assert [name for name, engine in world.engines.items() if UID in engine.node.indexes] == []
        with pytest.raises(IndexNotFound):
            await cluster.reload(UID)


async def test_h22_tasks_of_the_target_that_are_pruned_do_not_lead_astray(tmp_path: Path) -> None:
    async with moving(tmp_path, nodes=2, shards=3, replicas=2) as (world, cluster, index, ledger):

        async def prune(*_: object, **__: object) -> None:
            await cluster.fleet[N3].write("DELETE", "tasks?statuses=succeeded")
            with suppress(NodeRefusal):  # another one has pruned it
                await cluster.fleet[N3].wait_task(await cluster.fleet[N3].top_task())
            pruned.append((await cluster.fleet[N3].tasks(indexUids=UID))["total"])

        pruned: list[int] = []
        hook(cluster, after_save_step=prune)
        await run(cluster)
        assert 0 in pruned
        await check_finished(world, cluster, index, ledger)
