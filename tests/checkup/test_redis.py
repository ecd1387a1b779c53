"""What the doctor says of a Redis that has the state, staged for real; and that it changes nothing there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from miroir_cli.checkup.examine import examine
from miroir_cli.checkup.facts import StateFacts
from miroir_cli.checkup.finding import Severity
from miroir_cli.store.records import ClusterRecord, Rebuilt
from miroir_cli.store.redis.connection import connect
from miroir_cli.store.redis.replacement import RedisReplacement
from miroir_cli.store.standing import ServerStanding, standing_of
from miroir_cli.topology.state import StateSettings
from tests.backends import state_at
from tests.checkup.staged import findings
from tests.checkup.test_rules import facts
from tests.conftest import Miroir
from tests.faults.world import World, create, world_of
from tests.store.redis_server import RedisServer, running_redis


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of this test alone."""
    with running_redis(tmp_path / "redis", "--maxmemory-policy", "noeviction") as server, state_at(server.url):
        yield server


@pytest.fixture
def world(tmp_path: Path, redis: RedisServer) -> Iterator[World]:
    with world_of(tmp_path) as found:
        yield found


async def test_one_that_is_as_it_should_be_is_not_mentioned(world: World, redis: RedisServer) -> None:
    assert set(await findings(world)) == {"state.none"}
    redis.tell("PING")
    async with world.cluster() as cluster:
        await create(cluster)
    before = redis.ask("DBSIZE"), redis.ask("HGETALL", "miroir:cluster")
    assert await findings(world) == {}
    assert (redis.ask("DBSIZE"), redis.ask("HGETALL", "miroir:cluster")) == before


TOLD: dict[str, tuple[Callable[[RedisServer], object], str, Severity]] = {
    "evicts": (
        lambda redis: redis.tell("CONFIG", "SET", "maxmemory-policy", "allkeys-lru"),
        "state.eviction",
        Severity.WARNING,
    ),
    "evicts at a limit": (
        lambda redis: redis.tell("CONFIG", "SET", "maxmemory-policy", "allkeys-lru", "maxmemory", "1gb"),
        "state.eviction",
        Severity.ERROR,
    ),
    "full": (lambda redis: redis.tell("CONFIG", "SET", "maxmemory", "1mb"), "state.memory", Severity.ERROR),
    "a replica": (lambda redis: redis.tell("REPLICAOF", "127.0.0.1", "1"), "state.replica", Severity.ERROR),
    "only in memory": (
        lambda redis: redis.tell("CONFIG", "SET", "appendonly", "no"),
        "state.memory-only",
        Severity.WARNING,
    ),
    "late": (lambda redis: redis.tell("CONFIG", "SET", "appendfsync", "everysec"), "state.late-sync", Severity.WARNING),
    "emptied": (lambda redis: redis.empty(), "state.missing", Severity.ERROR),
    "older": (lambda redis: redis.tell("HSET", "miroir:cluster", "epoch", "1"), "state.outdated", Severity.ERROR),
    "newer": (lambda redis: redis.tell("SET", "miroir:schema_version", "99"), "state.too-new", Severity.ERROR),
    "another": (lambda redis: redis.tell("HSET", "miroir:cluster", "name", "x"), "state.other-cluster", Severity.ERROR),
    "closed": (lambda redis: redis.tell("CONFIG", "SET", "requirepass", "x"), "state.unreadable", Severity.ERROR),
    "frozen": (lambda redis: redis.stop(), "state.unreachable", Severity.ERROR),
    "down": (lambda redis: redis.kill(), "state.unreachable", Severity.ERROR),
}  # fmt: skip


@pytest.mark.parametrize("what", TOLD)
async def test_what_is_wrong_is_told_and_the_nodes_are_looked_at_all_the_same(
    world: World, redis: RedisServer, what: str
) -> None:
    async with world.cluster() as cluster:
        await create(cluster)
    stage, check, severity = TOLD[what]
    stage(redis)
    try:
        world.engine(2).stop()
        found = await findings(world)
        assert found[check].severity is severity
        assert "node.down" in found
        assert set(found) - {check, "node.down"} <= {"index.unreachable", "cluster.margin", "state.evicted"}
    finally:
        redis.go_on()


def test_a_configuration_is_checked_without_asking_redis_unless_it_may(miroir: Miroir, tmp_path: Path) -> None:
    assert miroir("init", "--node", "n1=http://127.0.0.1:1", "--no-check", "--state", "redis://10.0.0.9/0").status == 0
    offline = miroir("config", "check", "--json")
    assert offline.status == 0
    assert {each["check"] for each in offline.json["findings"]} == {"file.plain"}
    assert [each["check"] for each in offline.json["changes"]] == ["change.unknown"]
    path = tmp_path / "miroir.toml"
    path.write_text(path.read_text().replace("redis://10.0.0.9/0", "redis://127.0.0.1:1/0"))
    online = miroir("config", "check", "--online", "--json")
    assert "state.unreachable" in {each["check"] for each in online.json["findings"]}
    assert online.status == 6
    assert miroir("config", "show", "--json").json["state_file"] is None


def found_of(server: ServerStanding) -> set[str]:
    state = StateFacts(path="redis://h", in_redis=True, server=server)
    return {each.check for each in examine(replace(facts(), state=state)).findings if each.check.startswith("state.")}


GOOD = ServerStanding(version="7.2", policy="noeviction", appendonly=True, appendfsync="always")


@pytest.mark.parametrize(
    ("server", "checks"),
    [
        (GOOD, set()),
        (replace(GOOD, policy=None, appendonly=None, appendfsync=None), set()),
        (replace(GOOD, evicted=3), {"state.evicted"}),
        (replace(GOOD, writes_fail=True), {"state.disk"}),
        (replace(GOOD, replicas=2), {"state.failover"}),
        (replace(GOOD, used_memory=85, max_memory=100), {"state.memory"}),
        (replace(GOOD, used_memory=75, max_memory=100), set()),
        (replace(GOOD, latency=0.2), {"state.slow"}),
    ],
)
def test_rules_of_the_server(server: ServerStanding, checks: set[str]) -> None:
    assert found_of(server) - {"state.none"} == checks


async def test_old_states_are_told_after_a_week_and_how_to_delete_them(world: World, redis: RedisServer) -> None:
    async with world.cluster() as cluster:
        await create(cluster)
    access = connect(redis.url)
    replacement = RedisReplacement(access)
    cluster_record = ClusterRecord(name="test", id="c1", epoch=99)
    await replacement.build(Rebuilt(cluster=cluster_record, members=(), indexes=(), deleted={}))
    aside = await replacement.set_aside()
    await replacement.take_place()
    assert aside is not None
    assert "state.aside" not in await findings(world)
    (name,) = await access.ask("ZRANGE", "miroir:aside:_index", 0, -1)
    await access.ask("ZADD", "miroir:aside:_index", int(time.time() - 8 * 86_400) * 1000, name)
    kept = await access.ask("ZCARD", f"{aside}:_index")
    found = (await findings(world))["state.aside"]
    assert found.severity is Severity.INFO
    assert (
        f"1 old state of `miroir state recover` is still in Redis ({kept} keys, the newest 8 days old)" in found.message
    )
    assert found.hint is not None
    commands = found.hint.partition("needs: ")[2].replace("redis-cli", f"redis-cli -u {redis.url}")
    assert await (await asyncio.create_subprocess_exec("bash", "-ec", commands)).wait() == 0
    assert not [key for key in await access.ask("KEYS", "*") if key.startswith("miroir:aside")]
    assert "state.aside" not in await findings(world)
    await access.client.aclose()


def test_what_a_server_does_not_tell_is_not_made_up() -> None:
    assert standing_of({}, {}, latency=0.1) == ServerStanding(version="?", latency=0.1)
    told = standing_of(
        {"valkey_version": "8.0", "role": "slave", "master_host": "h", "master_port": 1, "aof_enabled": 0},
        {"appendfsync": "no"},
        latency=0.0,
    )
    assert (told.version, told.primary, told.appendonly, told.appendfsync) == ("8.0", "h:1", False, "no")


def test_the_address_is_shown_without_the_user() -> None:
    assert StateSettings(url="rediss://somebody@h:1/2").address == "rediss://h:1/2"
    assert StateSettings(url="rediss://somebody@h:1/2").host == "h"
