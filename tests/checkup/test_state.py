"""What the doctor says of the state file and the locks, staged for real; and that it changes nothing."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from pathlib import Path

import pytest

from miroir_cli.checkup.finding import Severity
from miroir_cli.dev.engine.faults import Kind
from miroir_cli.model import ReplicaState, ShardId
from miroir_cli.replication.write import write
from tests.backends import about_the_file
from tests.checkup.staged import change_state, findings
from tests.faults.world import N1, N2, UID, addition, create, world_of, write_topology
from tests.store.test_locks import holder

pytestmark = about_the_file("of Redis tell test_redis.py and tests/store/contract/test_locks.py")


async def test_nothing_stored_yet(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        found = await findings(world)
        assert set(found) == {"state.none"}
        assert found["state.none"].severity is Severity.INFO
        assert not (tmp_path / ".miroir").exists()


async def test_a_missing_state_file_and_an_older_copy(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            await create(cluster)
        shutil.copytree(tmp_path / ".miroir", tmp_path / "copy")
        async with world.cluster() as cluster:
            await create(cluster, "films")
        shutil.rmtree(tmp_path / ".miroir")
        found = await findings(world)
        assert set(found) == {"state.missing"}
        assert "`n1`, `n2` belong to a cluster `test` already" in found["state.missing"].message
        assert "miroir state recover" in found["state.missing"].hint
        (tmp_path / "copy").rename(tmp_path / ".miroir")
        found = await findings(world)
        assert set(found) == {"state.outdated"}
        assert "miroir state recover" in found["state.outdated"].hint


async def test_an_empty_state_file_is_read_as_a_new_one_and_stays_empty(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        path = world.topology.state_path
        path.parent.mkdir()
        path.touch(mode=0o600)
        assert set(await findings(world)) == {"state.none"}
        assert path.read_bytes() == b""


@pytest.mark.parametrize("damage", ["header", "page"])
async def test_a_damaged_state_file_does_not_hide_the_nodes(tmp_path: Path, damage: str) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            await create(cluster)
        path = world.topology.state_path
        content = bytearray(path.read_bytes())
        start = 0 if damage == "header" else len(content) - 4096 * 3
        content[start : start + 4096] = b"\xff" * 4096
        path.write_bytes(content)
        world.engine(2).stop()
        found = await findings(world)
        assert set(found) == {"state.damaged", "node.down"}
        assert "miroir state recover" in found["state.damaged"].hint
        assert path.read_bytes() == content


async def test_a_state_file_of_a_newer_miroir_and_one_of_another_cluster(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            await create(cluster)
        text = world.path.read_text()
        world.path.write_text(text.replace('name = "test"', 'name = "other"'))
        assert "belongs to cluster `test`" in (await findings(world))["state.other-cluster"].message
        world.path.write_text(text)
        change_state(world, "pragma user_version = 99")
        found = await findings(world)
        assert set(found) == {"state.too-new"}
        assert "upgrade miroir" in found["state.too-new"].hint


async def test_a_state_file_that_cannot_be_opened(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=1, replicas=1) as world:
        world.topology.state_path.mkdir(parents=True)
        assert set(await findings(world)) == {"state.unreadable"}
        write_topology(tmp_path, {N1: world.engine(1).url})
        world.path.write_text(world.path.read_text() + '\n[state]\nurl = "sqlite:~nobody-of-this-name/state.db"\n')
        assert "home folder" in (await findings(world))["state.unreadable"].message


async def test_who_holds_a_lock_and_whether_it_is_stopped(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=1, replicas=1) as world:
        async with world.cluster() as cluster:
            await create(cluster)
        with holder(tmp_path / ".miroir" / "locks") as process:
            finding = (await findings(world))["lock.held"]
            assert finding.severity is Severity.INFO
            who = f"process {process.pid} (`miroir import books`) has held the order lock of index `books` for"
            assert finding.message.startswith(who)
            process.send_signal(signal.SIGSTOP)
            await asyncio.to_thread(os.waitid, os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
            finding = (await findings(world))["lock.stopped"]
            assert finding.severity is Severity.ERROR
            assert f"kill -CONT {process.pid}" in finding.hint
        assert await findings(world) == {}


async def test_a_check_up_changes_nothing(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=3, replicas=2) as world:
        write_topology(tmp_path, {name: world.engines[name].url for name in (N1, N2)}, shards=2, replicas=2)
        async with world.cluster() as cluster:
            index = await create(cluster)
            await cluster.store.mark(UID, {N1: [ShardId(0)]}, state=ReplicaState.STALE)
            await write(cluster, index, addition(index, {"k": 1}))
        write_topology(tmp_path, {name: engine.url for name, engine in world.engines.items()}, shards=2, replicas=2)
        world.engine(1).wipe()
        methods = ("POST", "PUT", "PATCH", "DELETE")
        changes = [e.faults.add(Kind.DELAY, method=m, count=None) for e in world.engines.values() for m in methods]
        state, topology = world.topology.state_path.read_bytes(), world.path.read_bytes()
        tasks = {name: list(engine.node.queue.tasks) for name, engine in world.engines.items()}
        found = await findings(world)
        assert {"node.disk", "node.new", "replica.stale", "write.unsettled", "index.placement"} <= set(found)
        assert world.topology.state_path.read_bytes() == state
        assert world.path.read_bytes() == topology
        assert {name: list(engine.node.queue.tasks) for name, engine in world.engines.items()} == tasks
        assert [fault.hits for fault in changes] == [0] * len(changes)
        async with world.cluster() as cluster:
            assert set(await cluster.store.members()) == {N1, N2}
            assert {r.state for r in (await cluster.reload(UID)).replicas if r.node == N1} == {
                ReplicaState.STALE,
                ReplicaState.SERVING,
            }
