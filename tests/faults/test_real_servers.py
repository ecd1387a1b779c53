"""The protocol on real servers: frozen, killed and emptied ones."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

from miroir_cli.cluster import open_site
from miroir_cli.indexes.catalog import delete_index
from miroir_cli.indexes.configure import change_settings, get_settings
from miroir_cli.model import IntentState, ReplicaState
from miroir_cli.replication.rebuild import recover_state
from miroir_cli.replication.settle import settle
from tests.faults.servers import LIVE, PATIENCE, servers_of
from tests.faults.world import (
    N2,
    UID,
    Ledger,
    check,
    copies_are_kept_from_searches,
    create,
    eventually,
    keys_of_every_shard,
    put,
    stale,
)

pytestmark = LIVE


async def test_create_configure_write_and_delete(tmp_path: Path) -> None:
    with servers_of(tmp_path) as (world, _):
        async with world.cluster(patience=PATIENCE) as cluster:
            index, ledger = await create(cluster, settings={"sortableAttributes": ["value"]}), Ledger()
            for value in range(3):
                await put(cluster, index, dict.fromkeys(keys_of_every_shard(index), value), ledger)
            patch = {"displayedAttributes": ["value"], "faceting": {"maxValuesPerFacet": 5}}
            assert (await change_settings(cluster, UID, patch)).stale == ()
            shown = await get_settings(cluster, UID)
            assert shown["displayedAttributes"] == ["value"] and "_miroir" not in str(shown)
            await change_settings(cluster, UID, {"displayedAttributes": None})
            assert stale(await check(cluster, index, ledger)) == set()
            await delete_index(cluster, UID)
            for client in cluster.fleet.clients.values():
                assert [found["uid"] for found in (await client.get("indexes"))["results"]] == ["_miroir"]


async def test_a_frozen_server_is_left_behind_and_its_late_task_noticed(tmp_path: Path) -> None:
    with servers_of(tmp_path) as (world, servers):
        async with world.cluster(patience=PATIENCE) as cluster:
            index, ledger = await create(cluster), Ledger()
            keys = keys_of_every_shard(index)
            await put(cluster, index, dict.fromkeys(keys, 1), ledger)
            servers[1].signal(signal.SIGSTOP)
            try:
                await put(cluster, index, dict.fromkeys(keys, 2), ledger)
            finally:
                servers[1].signal(signal.SIGCONT)
            assert stale(await check(cluster, index, ledger)) == {"n2"}

            async def arrived() -> bool:
                await settle(cluster, index)
                tasks = await cluster.fleet[N2].tasks(indexUids=UID, types="documentAdditionOrUpdate")
                return len(tasks["results"]) == 2

            await eventually(arrived)
            await put(cluster, index, dict.fromkeys(keys, 3), ledger)
            assert stale(await check(cluster, index, ledger)) == {"n2"}


async def test_a_write_to_a_frozen_sole_replica_is_found_when_it_goes_on(tmp_path: Path) -> None:
    with servers_of(tmp_path, nodes=1, replicas=1) as (world, servers):
        async with world.cluster(patience=PATIENCE) as cluster:
            index, ledger = await create(cluster), Ledger()
            keys = keys_of_every_shard(index)
            servers[0].signal(signal.SIGSTOP)
            try:
                assert await put(cluster, index, dict.fromkeys(keys, 1), ledger) is None
            finally:
                servers[0].signal(signal.SIGCONT)
            await put(cluster, index, {"other": 2}, ledger)
            assert (await cluster.store.intents(UID, [1]))[1].state is IntentState.DONE
            ledger.acknowledged(dict.fromkeys(keys, 1))
            assert stale(await check(cluster, index, ledger)) == set()


async def test_a_killed_server_is_left_behind_and_an_emptied_one_lost(tmp_path: Path) -> None:
    with servers_of(tmp_path) as (world, servers):
        async with world.cluster(patience=PATIENCE) as cluster:
            index, ledger = await create(cluster), Ledger()
            keys = keys_of_every_shard(index)
            await put(cluster, index, dict.fromkeys(keys, 1), ledger)
            servers[1].kill()
            await put(cluster, index, dict.fromkeys(keys, 2), ledger)
            assert stale(await check(cluster, index, ledger)) == {"n2"}
            shutil.rmtree(servers[1].folder)
            servers[1].start()
            await change_settings(cluster, UID, {"stopWords": ["the"]})
            map = await check(cluster, index, ledger)
            assert {r.node for r in map.replicas if r.state is ReplicaState.LOST} == {"n2"}


async def test_a_lost_state_file_comes_back_from_the_copies_and_the_tasks(tmp_path: Path) -> None:
    """The first server missed a write and the mark of that, so only the second one knows who is out of date."""
    with servers_of(tmp_path) as (world, servers):
        async with world.cluster(patience=PATIENCE) as cluster:
            index, ledger = await create(cluster, settings={"stopWords": ["the"]}), Ledger()
            keys = keys_of_every_shard(index)
            await put(cluster, index, dict.fromkeys(keys, 1), ledger)
            servers[0].kill()
            await put(cluster, index, dict.fromkeys(keys, 2), ledger)
            servers[0].start()
        shutil.rmtree(tmp_path / ".miroir")
        async with open_site(world.topology, patience=PATIENCE) as site:
            found = await recover_state(site)
        assert found.done and not found.election.uncovered
        async with world.cluster(patience=PATIENCE) as cluster:
            map = await cluster.reload(UID)
            assert map.index == index and stale(map) == {"n1"}
            written = await put(cluster, index, dict.fromkeys(keys, 3), ledger)
            assert written is not None and written.n == 3
            await check(cluster, index, ledger)


async def test_what_nodes_keep_of_the_state_is_not_for_searches(tmp_path: Path) -> None:
    with servers_of(tmp_path) as (world, _):
        async with world.cluster(patience=PATIENCE) as cluster:
            await create(cluster, settings={"stopWords": ["hush"]})
            assert await copies_are_kept_from_searches(cluster)
