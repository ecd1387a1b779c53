"""Keys that nobody knows of any more: the chores of `miroir serve`, a repair and a new state take them away."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from miroir_cli.cluster import Cluster, open_site
from miroir_cli.migration.repair import repair
from miroir_cli.replication.rebuild import recover_state
from miroir_cli.store.slots import KEY_PREFIX
from tests.backends import state_at
from tests.faults.moving import HASTY
from tests.faults.world import HURRIED, N1, N2, UID, Ledger, check, create, eventually, keys_of_every_shard, put
from tests.fencing.world import CALM, KINDS, MASTER, Kinds, guarded_world, slot_keys, slots_of
from tests.proxy.test_server import Process
from tests.store.redis_server import RedisServer

OLD = f"{KEY_PREFIX}slot:900"


@pytest.fixture(autouse=True)
def redis(redis_server: RedisServer) -> Iterator[None]:
    redis_server.empty()
    with state_at(redis_server.url):
        yield


async def leave_key(cluster: Cluster) -> None:
    """What a process leaves of which the state knows nothing any more."""
    body = {"name": OLD, "actions": ["documents.*"], "indexes": ["*"], "expiresAt": None}
    await cluster.fleet.all(lambda client: client.manage("POST", "keys", body))


async def test_a_repair_takes_it_away(tmp_path: Path) -> None:
    with guarded_world(tmp_path) as world:
        async with world.cluster(patience=CALM) as cluster:
            await create(cluster)
        async with world.cluster(patience=CALM) as cluster:
            await leave_key(cluster)
            await repair(cluster, options=HASTY)
            assert await slot_keys(cluster) == {N1: [], N2: []}


async def test_a_proxy_takes_it_away(tmp_path: Path) -> None:
    with guarded_world(tmp_path) as world:
        async with world.cluster(patience=CALM) as cluster:
            await create(cluster)
            await leave_key(cluster)
            serving = await asyncio.to_thread(Process, tmp_path)
            try:

                async def gone() -> bool:
                    return all(OLD not in names for names in (await slot_keys(cluster)).values())

                await eventually(gone, timeout=60)
            finally:
                await asyncio.to_thread(serving.kill)


async def test_a_proxy_has_its_keys_from_its_first_write_to_its_end(tmp_path: Path) -> None:
    with guarded_world(tmp_path) as world:
        async with world.cluster(patience=CALM) as cluster:
            await create(cluster)
        async with world.cluster(patience=CALM) as cluster:
            serving = await asyncio.to_thread(Process, tmp_path)
            try:
                assert await slot_keys(cluster) == {N1: [], N2: []}
                async with httpx.AsyncClient(headers={"Authorization": f"Bearer {MASTER}"}) as client:
                    sent = await client.post(f"{serving.url}/indexes/{UID}/documents", json=[{"id": "a", "value": 1}])
                    assert sent.status_code == 202
                    listed = (await client.get(f"{serving.url}/keys")).json()["results"]
                (slot,) = await slots_of(cluster)
                assert await slot_keys(cluster) == {N1: [slot.key_name], N2: [slot.key_name]}
                assert listed and slot.key_name not in {key["name"] for key in listed}
                assert await asyncio.to_thread(serving.stop) == 0
                assert await slot_keys(cluster) == {N1: [], N2: []}
                assert await slots_of(cluster) == ()
            finally:
                await asyncio.to_thread(serving.kill)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_new_state_begins_with_none_and_counts_anew(
    tmp_path: Path, kind: Kinds, redis_server: RedisServer
) -> None:
    with kind(tmp_path) as world:
        ledger = Ledger()
        async with world.cluster(patience=CALM) as cluster:
            index = await create(cluster)
            await put(cluster, index, dict.fromkeys(keys_of_every_shard(index), 1), ledger)
            (old,) = await slots_of(cluster)
            await leave_key(cluster)
            redis_server.empty()
        async with open_site(world.topology, command="state recover", patience=HURRIED) as site:
            await recover_state(site)
        async with world.cluster(patience=CALM) as cluster:
            assert await slot_keys(cluster) == {N1: [], N2: []}
            await put(cluster, (await cluster.map(UID)).index, dict.fromkeys(keys_of_every_shard(index), 2), ledger)
            await check(cluster, index, ledger)
            (new,) = await slots_of(cluster)
            assert new.key != old.key
            assert set((await slot_keys(cluster))[N1]) == {new.key_name}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_key_for_nodes_that_need_none_is_no_harm(tmp_path: Path, kind: Kinds) -> None:
    """The topology file names one, and the nodes have no master key: asked once, they are written to as before."""
    with kind(tmp_path, master_key=None) as world:
        (tmp_path / "key").write_text("a key that nobody asks for")
        (tmp_path / "key").chmod(0o600)
        world.path.write_text(world.path.read_text().replace('\nurl = "http:', '\nkey_file = "key"\nurl = "http:'))
        async with world.cluster(patience=CALM) as cluster:
            index, ledger = await create(cluster), Ledger()
            await put(cluster, index, dict.fromkeys(keys_of_every_shard(index), 1), ledger)
            await check(cluster, index, ledger)
            assert cluster.fencing is not None
            assert cluster.fencing.unfenced == dict.fromkeys((N1, N2), "has no master key")
        async with world.cluster(patience=CALM) as cluster:
            assert await slots_of(cluster) == ()
