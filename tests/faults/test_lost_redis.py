"""`recover_state` with the state in Redis: emptied, older, other commands meanwhile, kill -9 in between."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from miroir_cli.cluster import open_site
from miroir_cli.dev.engine.faults import Kind
from miroir_cli.errors import EpochStale, IndexNotFound, LeaseLost, Locked, Refused
from miroir_cli.model import ReplicaState
from miroir_cli.replication.rebuild import Recovery, recover_state
from miroir_cli.replication.settle import settle_until
from miroir_cli.replication.write import write
from tests.backends import state_at
from tests.faults.loss import serving as serving_replicas
from tests.faults.loss import told, with_writes
from tests.faults.process import Mortuary
from tests.faults.world import HURRIED, N2, UID, World, addition, check, eventually, put, world_of
from tests.proxy.conftest import Served, serving
from tests.store.redis_server import RedisServer, running_redis


@dataclass(kw_only=True)
class Stored:
    """A Redis with the state of a cluster, and copies of it."""

    server: RedisServer
    world: World

    def copy(self, name: str) -> None:
        """Keep what is there now."""
        with self.client() as client:
            client.bgrewriteaof()
            while client.info("persistence")["aof_rewrite_in_progress"]:
                pass
        self.server.kill()
        shutil.copytree(self.server.folder, self._copy(name), dirs_exist_ok=True)
        self.server.start()

    def fail_over(self, name: str) -> None:
        """To one that has what was there then, and nothing that came after it."""
        self.server.kill()
        shutil.rmtree(self.server.folder)
        shutil.copytree(self._copy(name), self.server.folder)
        self.server.start()

    def put_back(self, name: str) -> None:
        """The same, long after."""
        self.fail_over(name)
        with self.client() as client:  # whoever held one then is long dead
            client.delete("nothing", *client.keys("miroir:lease*"))

    def _copy(self, name: str) -> Path:
        return self.server.folder.with_name(f"copy-{name}")

    def client(self) -> Redis:
        return Redis(port=self.server.port, decode_responses=True, socket_timeout=30)

    def kept(self) -> list[str]:
        """The old states that were put aside."""
        with self.client() as client:
            return [f"miroir:aside:{name}" for name in client.zrange("miroir:aside:_index", 0, -1)]


@contextmanager
def stored(folder: Path) -> Iterator[Stored]:
    with running_redis(folder / "redis") as server, state_at(server.url), world_of(folder) as world:
        yield Stored(server=server, world=world)


async def recover(world: World, *accept_loss: str, lock_timeout: float = 30.0, **options: Any) -> Recovery:
    async with open_site(world.topology, command="state recover", lock_timeout=lock_timeout, patience=HURRIED) as site:
        return await recover_state(site, accept_loss=accept_loss, **options)


async def test_an_emptied_redis_gets_one_replica_of_each_shard_and_all_that_was_acknowledged(tmp_path: Path) -> None:
    with stored(tmp_path) as at:
        ledger, keys = await with_writes(at.world, settings={"stopWords": ["the"]})
        async with at.world.cluster() as cluster:
            before, record = await cluster.reload(UID), await cluster.store.cluster()
        at.server.empty()
        found = await recover(at.world)
        assert found.done and found.aside is None and found.reason == "the state in Redis is missing"
        async with at.world.cluster() as cluster:
            map, after = await check(cluster, before.index, ledger), await cluster.store.cluster()
            assert record is not None and after is not None
            assert (after.id, after.name) == (record.id, record.name) and after.epoch > record.epoch
            assert map.index == before.index and serving_replicas(map) == {0: ("n1",), 1: ("n1",)}
            assert {(r.node, r.state) for r in map.replicas if r.node == N2} == {(N2, ReplicaState.STALE)}
            await put(cluster, map.index, dict.fromkeys(keys, "after"), ledger)
            await check(cluster, map.index, ledger)


async def test_an_older_state_is_refused_by_writers_replaced_and_kept(tmp_path: Path) -> None:
    with stored(tmp_path) as at:
        ledger, keys = await with_writes(at.world)
        at.copy("old")
        async with at.world.cluster() as cluster:
            index = (await cluster.reload(UID)).index
            at.world.engine(1).faults.add(Kind.FAIL_TASK, path=UID)
            await put(cluster, index, dict.fromkeys(keys, "newer"), ledger)
            await told(cluster, N2, (await cluster.reload(UID)).epoch)
        at.put_back("old")
        async with at.world.cluster() as cluster:
            with pytest.raises(EpochStale):
                await write(cluster, index, addition(index, {"k": 1}))
        found = await recover(at.world)
        assert "the state in Redis is at epoch" in found.reason and at.kept() == [found.aside]
        with at.client() as client:
            assert client.exists(f"{found.aside}:indexes:{UID}", f"{found.aside}:cluster") == 2
        async with at.world.cluster() as cluster:
            assert serving_replicas(await check(cluster, index, ledger)) == {0: ("n2",), 1: ("n2",)}
        with pytest.raises(Refused, match="nothing to recover: the state in Redis"):
            await recover(at.world)


async def test_nobody_has_the_state_open_meanwhile_and_who_had_writes_nothing_any_more(tmp_path: Path) -> None:
    with stored(tmp_path) as at:
        ledger, keys = await with_writes(at.world)
        async with at.world.cluster() as cluster:
            index = (await cluster.reload(UID)).index
            await settle_until(cluster, index, 3)
            with pytest.raises(Locked, match="the state is in use"):
                await recover(at.world, lock_timeout=0.3)
            at.server.empty()
            await recover(at.world)
            tops = [await client.top_task() for client in cluster.fleet.clients.values()]
            with pytest.raises((LeaseLost, IndexNotFound)):
                await write(cluster, index, addition(index, dict.fromkeys(keys, "lost")))
            assert [await client.top_task() for client in cluster.fleet.clients.values()] == tops
        async with at.world.cluster() as cluster:
            await check(cluster, index, ledger)


async def answers(served: Served, **headers: str) -> tuple[int, str | None]:
    """The status of a search, and what it says about its completeness."""
    got = await served.client.post(f"/indexes/{UID}/search", json={}, headers=headers)
    return got.status_code, got.headers.get("x-miroir-degraded")


async def refuses_for(served: Served, at: Stored, reason: str) -> bool:
    """A write is refused, and no node was asked for anything; whether it is for this reason (until Redis is noticed to
    be back it is for another one)."""
    before = [len(engine.node.queue.tasks) for engine in at.world.engines.values()]
    got = await served.client.post(f"/indexes/{UID}/documents", json=[{"id": "new"}])
    assert (got.status_code, got.json()["code"]) == (503, "miroir_state_unavailable"), got.text
    assert [len(engine.node.queue.tasks) for engine in at.world.engines.values()] == before
    said = got.json()["message"]
    return reason in said and "miroir state recover" in said


async def test_a_proxy_notices_that_redis_has_forgotten_a_change(tmp_path: Path) -> None:
    with stored(tmp_path) as at:
        ledger, keys = await with_writes(at.world)
        async with serving(at.world.path) as served:
            assert await answers(served) == (200, None)
            at.copy("replica")
            async with at.world.cluster() as cluster:
                index = (await cluster.reload(UID)).index
                at.world.engine(1).faults.add(Kind.FAIL_TASK, path=UID)
                await put(cluster, index, dict.fromkeys(keys, "newer"), ledger)
                newest = (await cluster.reload(UID)).epoch
                await told(cluster, N2, newest)
            await eventually(lambda: knows(served, newest), timeout=60)
            at.fail_over("replica")
            assert await answers(served) == (200, "state")
            await eventually(lambda: refuses_for(served, at, "has forgotten changes"), timeout=60)
            assert await answers(served) == (200, "state"), "not by what Redis says now"
        await recover(at.world)
        async with at.world.cluster() as cluster:
            assert serving_replicas(await check(cluster, index, ledger)) == {0: ("n2",), 1: ("n2",)}


async def knows(served: Served, epoch: int) -> bool:
    return await answers(served) == (200, None) and await served.service.cluster.store.epoch() == epoch


async def test_a_proxy_notices_that_redis_has_forgotten_nothing_but_writes(tmp_path: Path) -> None:
    with stored(tmp_path) as at:
        ledger, _ = await with_writes(at.world)
        async with serving(at.world.path) as served:
            session = {"X-Miroir-Session": "s"}
            assert await answers(served, **session) == (200, None)
            at.copy("replica")
            url, body = f"/indexes/{UID}/documents", [{"id": "last", "value": 1}]
            await eventually(lambda: is_taken(served, url, body, session), timeout=60)
            ledger.values["last"] = [1]
            at.fail_over("replica")
            await eventually(lambda: refuses_for(served, at, "has forgotten writes"), timeout=60)
            assert (await answers(served, **session))[0] == 503, "what the session wrote is not known any more"
            assert await answers(served) == (200, None), "where documents are was not forgotten"
        await recover(at.world)
        async with at.world.cluster() as cluster:
            await check(cluster, (await cluster.reload(UID)).index, ledger)


async def is_taken(served: Served, url: str, body: Any, headers: dict[str, str]) -> bool:
    """Whether Redis is noticed to be back, and a write was taken."""
    return bool((await served.client.post(url, json=body, headers=headers)).status_code == 202)


POINTS = ["after:inspect", "after:build", "after:set_aside", "before:take_place", "after:take_place"]


async def test_killed_at_any_point_it_leaves_the_old_state_or_the_whole_new_one(tmp_path: Path) -> None:
    with stored(tmp_path) as at, Mortuary(at.world.path) as mortuary:
        ledger, keys = await with_writes(at.world, writes=1)
        at.copy("old")
        async with at.world.cluster() as cluster:
            index = (await cluster.reload(UID)).index
            await put(cluster, index, dict.fromkeys(keys, "newer"), ledger)
        for point in POINTS:
            at.put_back("old")
            with at.client() as client:
                before = client.hgetall("miroir:cluster")
            await mortuary.die("recover", point)
            with at.client() as client:
                after = client.hgetall("miroir:cluster")
            if point == "after:take_place":
                assert int(after["epoch"]) > int(before["epoch"]) and len(at.kept()) == 1
                async with at.world.cluster() as cluster:
                    await check(cluster, index, ledger)
            else:
                assert after == before and at.kept() == [], point
        at.put_back("old")
        await recover(at.world)
        async with at.world.cluster() as cluster:
            await put(cluster, index, dict.fromkeys(keys, "last"), ledger)
            await check(cluster, index, ledger)
