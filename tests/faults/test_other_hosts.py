"""Several hosts: what was begun on one that died goes on here, by the same commands, soon after its leases ran out."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from miroir_cli.cluster import Cluster
from miroir_cli.errors import Locked
from miroir_cli.migration.history import open_runs
from tests.backends import state_at
from tests.faults.moving import check_finished, run
from tests.faults.process import start
from tests.faults.world import UID, Ledger, check, create, keys_of_every_shard, put, world_of
from tests.store.redis_server import RedisServer

PATIENT = 60.0


@pytest.fixture(autouse=True)
def redis(redis_server: RedisServer) -> Iterator[None]:
    redis_server.empty()
    with state_at(redis_server.url):
        yield


async def die_elsewhere(topology: Path, *arguments: str) -> None:
    """Run a command of `tests.faults.process` on another host, where it is killed."""
    process = start(topology, *arguments, elsewhere=True)
    await asyncio.to_thread(process.communicate, timeout=PATIENT)
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("point", ["after:join", "before:switch"])
async def test_a_run_whose_driver_died_on_another_host_is_gone_on_with_here(tmp_path: Path, point: str) -> None:
    with world_of(tmp_path, nodes=3, shards=1) as world:
        ledger = Ledger()
        async with world.cluster(lock_timeout=PATIENT) as cluster:
            index = await create(cluster)
            await put(cluster, index, dict.fromkeys(keys_of_every_shard(index, each=4), 0), ledger)
            world.drain(int((await cluster.reload(UID)).nodes()[0].removeprefix("n")))
        await die_elsewhere(world.path, "rebalance", point)
        began = time.monotonic()
        async with world.cluster(lock_timeout=PATIENT) as cluster:
            (left,) = await open_runs(cluster)
            assert left["host"] == "elsewhere"
            await put(cluster, index, {"k0": 1}, ledger)
            await go_on(cluster)
            assert time.monotonic() - began < PATIENT / 2
            await check_finished(world, cluster, index, ledger)


async def go_on(cluster: Cluster) -> None:
    """The same command again, until nobody is believed to be at work."""
    end = time.monotonic() + PATIENT
    while True:
        try:
            await run(cluster)
            return
        except Locked as locked:
            assert "on host `elsewhere`" in locked.message
            assert time.monotonic() < end
        await asyncio.sleep(0.2)


async def test_a_write_cut_off_on_another_host_is_ended_here(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        ledger = Ledger()
        async with world.cluster() as cluster:
            index = await create(cluster)
        documents = dict.fromkeys(keys_of_every_shard(index), 7)
        ledger.begun(documents)
        await die_elsewhere(world.path, "write", "before:close_intent", "7")
        async with world.cluster(lock_timeout=PATIENT) as cluster:
            written = await put(cluster, index, {"other": 1}, ledger)
            assert written is not None
            await check(cluster, index, ledger)
