"""What a writing process has on the nodes: one key on each, for as long as it writes, and not one request more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from miroir_cli.dev.engine.faults import Kind
from tests.backends import state_at
from tests.faults.moving import run
from tests.faults.world import N1, N2, N3, UID, Ledger, check, create, keys_of_every_shard, put, stale
from tests.fencing.world import CALM, guarded_world, slot_keys, slots_of
from tests.store.redis_server import RedisServer


@pytest.fixture(autouse=True)
def redis(redis_server: RedisServer) -> Iterator[None]:
    redis_server.empty()
    with state_at(redis_server.url):
        yield


async def test_a_process_has_a_key_on_each_node_while_it_writes_and_none_afterwards(tmp_path: Path) -> None:
    ledger = Ledger()
    with guarded_world(tmp_path) as world:
        async with world.cluster(patience=CALM) as cluster:
            assert await slot_keys(cluster) == {"n1": [], "n2": []}
            index = await create(cluster)
            await put(cluster, index, dict.fromkeys(keys_of_every_shard(index), 1), ledger)
            (slot,) = await slots_of(cluster)
            assert await slot_keys(cluster) == {"n1": [slot.key_name], "n2": [slot.key_name]}
            newest = await cluster.store.newest_intent(UID)
            assert newest is not None and newest.slot == slot.mark
        async with world.cluster(patience=CALM) as cluster:
            assert await slot_keys(cluster) == {"n1": [], "n2": []}
            assert await slots_of(cluster) == ()
            await put(cluster, index, dict.fromkeys(keys_of_every_shard(index), 2), ledger)
            (later,) = await slots_of(cluster)
            assert later.number > slot.number
            await check(cluster, index, ledger)


async def test_a_node_that_others_have_added_gets_the_key_of_who_writes_already(tmp_path: Path) -> None:
    ledger = Ledger()
    with guarded_world(tmp_path, nodes=2, spare=1, shards=3) as world:
        async with world.cluster(patience=CALM) as writer:
            index = await create(writer)
            await put(writer, index, dict.fromkeys(keys_of_every_shard(index), 1), ledger)
            (slot,) = await slots_of(writer)
            world.add(3)
            async with world.cluster(patience=CALM) as mover:
                await run(mover)
                assert N3 in (await mover.reload(UID)).nodes()
            await put(writer, index, dict.fromkeys(keys_of_every_shard(index), 2), ledger)
            assert stale(await check(writer, index, ledger)) == set()
            (extended,) = await slots_of(writer)
            assert (extended.number, extended.nodes) == (slot.number, frozenset({N1, N2, N3}))
            assert await slot_keys(writer) == {name: [slot.key_name] for name in (N1, N2, N3)}


async def test_a_process_that_only_reads_has_no_slot(tmp_path: Path) -> None:
    with guarded_world(tmp_path) as world:
        async with world.cluster(patience=CALM) as cluster:
            await create(cluster)
        async with world.cluster(patience=CALM) as cluster:
            map = await cluster.map(UID)
            await cluster.fleet[map.nodes()[0]].search(map.index.stored_as, {"q": ""})
            assert await slots_of(cluster) == ()


async def test_only_the_first_write_of_a_process_makes_a_request_for_its_key(tmp_path: Path) -> None:
    ledger = Ledger()
    with guarded_world(tmp_path) as world:
        async with world.cluster(patience=CALM) as cluster:
            index = await create(cluster)
        counted = [engine.faults.add(Kind.DELAY, count=None, path="^/keys") for engine in world.engines.values()]
        writes = [engine.faults.add(Kind.DELAY, count=None, method="POST") for engine in world.engines.values()]
        async with world.cluster(patience=CALM) as cluster:
            await put(cluster, index, {"a": 0}, ledger)
            assert [each.hits for each in counted] == [1, 1]
            before = [each.hits for each in writes]
            for value in range(1, 6):
                await put(cluster, index, {"a": value}, ledger)
            assert [each.hits for each in counted] == [1, 1]
            assert [each.hits - hits for each, hits in zip(writes, before, strict=True)] == [5, 5]
        assert [each.hits for each in counted] == [2, 2]  # and one at its end
