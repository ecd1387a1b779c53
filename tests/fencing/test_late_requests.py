"""Traces of processes that were overtaken: what they send late is refused by the nodes themselves.

H6: a writer is stopped while one of its requests is on its way, for longer than its lease lasts. H14: a mover. H29: a
deletion whose answer never came is repeated, and the first one arrives when the shard has come back.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from miroir_cli.cluster import Cluster
from miroir_cli.migration.rebalance import RUN_LOCK
from miroir_cli.migration.repair import repair
from miroir_cli.model import NodeName, ReplicaState, ShardId, StoredUid
from miroir_cli.node.answers import Accepted
from miroir_cli.replication.settle import settle
from tests.backends import state_at
from tests.faults.moving import HASTY, run
from tests.faults.world import (
    N1,
    N2,
    UID,
    Ledger,
    check,
    contents,
    create,
    eventually,
    keys_of_every_shard,
    put,
    stale,
)
from tests.fencing.process import start
from tests.fencing.world import CALM, KINDS, Kinds, guarded_world, slot_keys, slots_of, slow_wire
from tests.store.redis_server import RedisServer

IMPATIENT = replace(CALM, write=3.0)


@pytest.fixture(autouse=True)
def redis(redis_server: RedisServer) -> Iterator[None]:
    redis_server.empty()
    with state_at(redis_server.url):
        yield


@asynccontextmanager
async def process(path: Path, what: str) -> AsyncIterator[subprocess.Popen[str]]:
    """A process that has opened the cluster and begins with what it is told."""
    child = start(path, what)
    try:
        assert child.stdout is not None
        assert await asyncio.to_thread(child.stdout.readline) == "ready\n"
        yield child
    finally:
        child.kill()
        await asyncio.to_thread(child.communicate)


async def has_tasks(cluster: Cluster, node: NodeName, number: int) -> bool:
    """Whether a node has taken in so many writes of documents."""
    page = await cluster.fleet[node].tasks(index=StoredUid(UID), types="documentAdditionOrUpdate")
    return len(page["results"]) == number


async def is_free(cluster: Cluster, lock: str) -> bool:
    return lock not in {held.name for held in await cluster.locks.held()}


async def end_of(child: subprocess.Popen[str]) -> str:
    """What a process says at its end."""
    out, _ = await asyncio.to_thread(child.communicate, None, 60)
    assert child.returncode == 0
    return out.strip()


@pytest.mark.parametrize("kind", KINDS)
async def test_h6_a_write_of_an_overtaken_process_is_refused_by_the_node(tmp_path: Path, kind: Kinds) -> None:
    """Without the fence the node takes it in, over the newer write that was acknowledged meanwhile."""
    with kind(tmp_path, quick=True) as world:
        async with slow_wire(world, N2) as wire, world.cluster(patience=CALM, lock_timeout=60) as cluster:
            index, ledger = await create(cluster), Ledger()
            keys = keys_of_every_shard(index)
            await put(cluster, index, dict.fromkeys(keys, 0), ledger)
            wire.hold(f"POST /indexes/{UID}/documents?")
            async with process(world.path, "1") as overtaken:
                await asyncio.wait_for(wire.held.wait(), 30)
                await eventually(lambda: has_tasks(cluster, N1, 2), timeout=30)
                overtaken.send_signal(signal.SIGSTOP)
                ledger.begun(dict.fromkeys(keys, 1))  # on one node already: it may be found there
                await put(cluster, index, dict.fromkeys(keys, 2), ledger)
                assert stale(await cluster.reload(UID)) == {N2}
                await repair(cluster, options=HASTY)
                assert stale(await cluster.reload(UID)) == set()
                wire.let_go.set()
                await asyncio.wait_for(wire.answered.wait(), 30)
                assert wire.status == 403
                overtaken.send_signal(signal.SIGCONT)
                assert await end_of(overtaken) in ("LeaseLost", "WriteUnknown")
            await settle(cluster, index)
            assert stale(await check(cluster, index, ledger)) == set()
            for shard in range(index.shards):
                copies = [await contents(cluster, node, index, ShardId(shard)) for node in (N1, N2)]
                assert copies[0] == copies[1]
                assert set(copies[0].values()) == {2}


@pytest.mark.parametrize("heard_of", [False, True])
@pytest.mark.parametrize("kind", KINDS)
async def test_h14_a_page_of_an_overtaken_mover_is_refused_by_the_node(
    tmp_path: Path, kind: Kinds, redis_server: RedisServer, heard_of: bool
) -> None:
    """`heard_of`: it went on for a moment, and takes part again, while its page was still on its way."""
    with kind(tmp_path, quick=True, shards=1) as world:
        async with slow_wire(world, N2) as wire, world.cluster(patience=CALM, lock_timeout=60) as cluster:
            index, ledger = await create(cluster), Ledger()
            keys = keys_of_every_shard(index)
            await put(cluster, index, dict.fromkeys(keys, 1), ledger)
            await cluster.store.mark(UID, {N2: [ShardId(0)]}, state=ReplicaState.STALE)
            emptied = await cluster.fleet[N2].write("DELETE", f"indexes/{UID}/documents")
            assert isinstance(emptied, Accepted)
            await cluster.fleet[N2].wait_task(emptied.task)
            wire.hold(f"POST /indexes/{UID}/documents?")
            async with process(world.path, "repair") as overtaken:
                await asyncio.wait_for(wire.held.wait(), 30)
                overtaken.send_signal(signal.SIGSTOP)
                await eventually(lambda: is_free(cluster, RUN_LOCK), timeout=30)
                if heard_of:
                    slot = next(slot for slot in await slots_of(cluster) if slot.process.pid == overtaken.pid)
                    redis_server.tell("SET", f"miroir:peers:{slot.process}", "again")
                await repair(cluster, options=HASTY)
                assert stale(await cluster.reload(UID)) == set()
                await put(cluster, index, dict.fromkeys(keys, 2), ledger)
                wire.let_go.set()
                await asyncio.wait_for(wire.answered.wait(), 30)
                assert wire.status == 403
                overtaken.send_signal(signal.SIGCONT)
                assert await end_of(overtaken) != "stored"
            await settle(cluster, index)
            assert stale(await check(cluster, index, ledger)) == set()


@pytest.mark.parametrize("kind", KINDS)
async def test_h29_a_deletion_without_an_answer_is_repeated_under_a_new_slot(tmp_path: Path, kind: Kinds) -> None:
    with kind(tmp_path, nodes=3, shards=1) as world:
        async with world.cluster(patience=CALM) as cluster:
            index, ledger = await create(cluster), Ledger()
            await put(cluster, index, dict.fromkeys(keys_of_every_shard(index, each=4), 1), ledger)
            left, stays = (await cluster.reload(UID)).nodes()
        world.drain(int(left.removeprefix("n")))
        async with slow_wire(world, left) as wire:
            async with world.cluster(patience=IMPATIENT) as cluster:
                await put(cluster, index, {"k0": 2}, ledger)
                (first,) = await slots_of(cluster)
                wire.hold(f"DELETE /indexes/{UID}?")
                await run(cluster)
                assert wire.held.is_set()
                assert left not in (await cluster.reload(UID)).nodes()
                dirty, second = await slots_of(cluster)
                assert (dirty.number, dirty.dirty, second.dirty) == (first.number, True, False)
            world.drain(int(stays.removeprefix("n")))
            async with world.cluster(patience=CALM) as cluster:
                await run(cluster)
                assert left in (await cluster.reload(UID)).nodes()
                wire.let_go.set()
                await asyncio.wait_for(wire.answered.wait(), 30)
                assert wire.status == 403
                await check(cluster, index, ledger)


async def test_a_key_that_is_made_behind_a_fence_is_not_used(tmp_path: Path) -> None:
    """Its request was on its way when the slot was shut out: nobody would come again to delete it."""
    with guarded_world(tmp_path) as world:
        async with slow_wire(world, N2) as wire, world.cluster(patience=CALM) as other:
            index, ledger = await create(other), Ledger()
            async with world.cluster(patience=CALM) as cluster:
                wire.hold("POST /keys ")
                writing = asyncio.create_task(put(cluster, index, dict.fromkeys(keys_of_every_shard(index), 1), ledger))
                await asyncio.wait_for(wire.held.wait(), 30)
                mine, first = await slots_of(other)
                assert other.fencing is not None
                assert set(await other.fencing.shut_out(other.fleet, [N1, N2], overtaken=first.mark)) == {N1, N2}
                wire.let_go.set()
                await writing
                assert wire.status == 201
                _, second = await slots_of(other)
                assert second.number > first.number
                assert (await slot_keys(other))[N2] == [mine.key_name, second.key_name]
                assert stale(await check(other, index, ledger)) == set()


async def test_what_a_killed_process_leaves_is_deleted_by_the_next_fence(tmp_path: Path) -> None:
    with guarded_world(tmp_path) as world:
        async with slow_wire(world, N2) as wire, world.cluster(patience=CALM, lock_timeout=60) as cluster:
            index, ledger = await create(cluster), Ledger()
            wire.hold(f"POST /indexes/{UID}/documents?")
            async with process(world.path, "1") as killed:
                await asyncio.wait_for(wire.held.wait(), 30)
                killed.kill()
            mine, other = await slots_of(cluster)
            assert await slot_keys(cluster) == {name: [mine.key_name, other.key_name] for name in (N1, N2)}
            ledger.begun(dict.fromkeys(keys_of_every_shard(index), 1))
            await put(cluster, index, dict.fromkeys(keys_of_every_shard(index), 2), ledger)
            assert await slot_keys(cluster) == {name: [mine.key_name] for name in (N1, N2)}
            assert [slot.number for slot in await slots_of(cluster)] == [mine.number]
            await check(cluster, index, ledger)
