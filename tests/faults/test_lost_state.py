"""`recover_state`: a state file that is lost, damaged or older, other commands meanwhile, kill -9 in between."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from miroir_cli.dev.engine.faults import Kind
from miroir_cli.documents.load import ImportOptions, import_documents
from miroir_cli.errors import (
    EpochStale,
    ForeignNode,
    IndexNotFound,
    Locked,
    NodeUnavailable,
    NotFound,
    Refused,
    StateCorrupt,
    StateUnavailable,
)
from miroir_cli.indexes.catalog import create_index, delete_index, plan_index
from miroir_cli.indexes.configure import change_settings
from miroir_cli.model import ReplicaState
from miroir_cli.replication.members import call_roll
from miroir_cli.replication.settle import settle_until
from miroir_cli.replication.write import write
from tests.backends import both_backends
from tests.documents.test_import import numbered, write_ndjson
from tests.faults.loss import kept, lose, recover, serving, state_file, told, with_writes
from tests.faults.process import Mortuary
from tests.faults.world import (
    N1,
    N2,
    UID,
    Ledger,
    addition,
    check,
    create,
    put,
    stale,
    world_of,
)
from tests.store.redis_server import RedisServer

# -- what was lost


@both_backends
async def test_a_lost_file_comes_back_with_one_replica_of_each_shard_and_all_that_was_acknowledged(
    tmp_path: Path,
) -> None:
    with world_of(tmp_path) as world:
        ledger, keys = await with_writes(world, settings={"stopWords": ["the"]})
        async with world.cluster() as cluster:
            before = await cluster.reload(UID)
            record = await cluster.store.cluster()
        lose(world)
        found = await recover(world)
        assert found.done and found.aside is None
        assert found.reason == f"the {world.topology.state_called} is missing"
        async with world.cluster() as cluster:
            map, after = await check(cluster, before.index, ledger), await cluster.store.cluster()
            assert record is not None and after is not None
            assert (after.id, after.name) == (record.id, record.name) and after.epoch > record.epoch
            assert map.index == before.index
            assert serving(map) == {0: ("n1",), 1: ("n1",)}
            assert {(r.node, r.state) for r in map.replicas if r.node == N2} == {(N2, ReplicaState.STALE)}
            for name, member in (await cluster.store.members()).items():
                assert 5 < member.top_task <= await cluster.fleet[name].top_task()
            await put(cluster, map.index, dict.fromkeys(keys, "new"), ledger)
            await check(cluster, map.index, ledger)


@both_backends
async def test_numbers_go_on_and_no_old_task_is_taken_for_a_new_write(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        ledger, keys = await with_writes(world, writes=4)
        lose(world)
        await recover(world)
        async with world.cluster() as cluster:
            index = (await cluster.reload(UID)).index
            written = await put(cluster, index, dict.fromkeys(keys, "new"), ledger)
            assert written is not None and written.n == 5
            pending = await cluster.store.pending(UID)
            assert pending.settled == 5 and pending.lanes[N1].base > 4
            assert stale(await check(cluster, index, ledger)) == {N2}


@both_backends
async def test_an_interrupted_write_after_recovery_is_found_by_its_own_mark(tmp_path: Path) -> None:
    """Killed after the intent was recorded and before it was sent: the tasks from before the loss do not answer it."""
    with world_of(tmp_path) as world:
        ledger, keys = await with_writes(world, writes=2)
        lose(world)
        await recover(world)
        with Mortuary(world.path) as mortuary:
            await mortuary.die("write", "after:open_intent", "99")
        async with world.cluster() as cluster:
            index = (await cluster.reload(UID)).index
            written = await put(cluster, index, dict.fromkeys(keys, "new"), ledger)
            assert written is not None and written.n == 4
            assert (await cluster.store.intents(UID, [3]))[3].state.value == "aborted"
            await check(cluster, index, ledger)


async def test_a_cluster_goes_from_a_file_to_redis(tmp_path: Path, redis_server: RedisServer) -> None:
    redis_server.empty()
    with world_of(tmp_path) as world:
        ledger, keys = await with_writes(world)
        text = world.path.read_text()
        world.path.write_text(f'{text}\n[state]\nurl = "{redis_server.url}"\n')
        with pytest.raises(EpochStale, match="is empty, but node `n1` belongs to a cluster `test` already"):
            async with world.cluster() as cluster:
                await create(cluster, "films")
        found = await recover(world)
        assert found.done and found.reason == "the state in Redis is empty"
        async with world.cluster() as cluster:
            index = (await cluster.reload(UID)).index
            await put(cluster, index, dict.fromkeys(keys, "new"), ledger)
            await check(cluster, index, ledger)
        assert state_file(world).exists()
        world.path.write_text(text)
        with pytest.raises(EpochStale, match="this state file is at"):
            async with world.cluster() as cluster:
                await create(cluster, "films")


async def test_a_damaged_file_is_kept_under_another_name(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        ledger, _ = await with_writes(world)
        damaged = b"SQLite format 3\0" + b"\xff" * 5000
        state_file(world).write_bytes(damaged)
        with pytest.raises(StateCorrupt) as caught:
            async with world.cluster():
                pass
        assert caught.value.hint is not None and "miroir state recover" in caught.value.hint
        found = await recover(world)
        assert [str(path) for path in kept(world)] == [found.aside] and kept(world)[0].read_bytes() == damaged
        async with world.cluster() as cluster:
            await check(cluster, (await cluster.reload(UID)).index, ledger)


async def test_a_table_that_is_gone_or_a_torn_page_is_damage(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        await with_writes(world)
        with closing(sqlite3.connect(state_file(world))) as db:
            db.execute("drop table lanes")
            db.commit()
        assert "no table `lanes`" in (await recover(world)).reason
        content = bytearray(state_file(world).read_bytes())
        content[8192:12288] = b"\xa5" * 4096
        state_file(world).write_bytes(content)
        assert "damaged" in (await recover(world)).reason
        assert len(kept(world)) == 2


async def test_an_older_copy_put_back_is_refused_by_writers_and_replaced(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        ledger, keys = await with_writes(world)
        shutil.copytree(tmp_path / ".miroir", tmp_path / "copy")
        async with world.cluster() as cluster:
            index = (await cluster.reload(UID)).index
            world.engine(1).faults.add(Kind.FAIL_TASK, path=UID)
            await put(cluster, index, dict.fromkeys(keys, "newer"), ledger)
            await told(cluster, N2, (await cluster.reload(UID)).epoch)
        lose(world)
        shutil.copytree(tmp_path / "copy", tmp_path / ".miroir")
        found = await recover(world)
        assert "node `n1` knows" in found.reason and [found.aside] == [str(path) for path in kept(world)]
        async with world.cluster() as cluster:
            assert serving(await check(cluster, index, ledger)) == {0: ("n2",), 1: ("n2",)}


async def test_an_older_copy_of_the_same_epoch_is_told_by_its_writes(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        ledger, keys = await with_writes(world, writes=1)
        shutil.copytree(tmp_path / ".miroir", tmp_path / "copy")
        async with world.cluster() as cluster:
            index = (await cluster.reload(UID)).index
            await put(cluster, index, dict.fromkeys(keys, "newer"), ledger)
        lose(world)
        shutil.copytree(tmp_path / "copy", tmp_path / ".miroir")
        found = await recover(world)
        assert found.reason == "the state file knows 1 writes of index `books`, node `n1` has write 2"
        async with world.cluster() as cluster:
            await check(cluster, index, ledger)


# -- what is not lost


async def test_there_is_nothing_to_recover_from_a_file_that_is_as_new_as_the_nodes(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        await with_writes(world)
        before = state_file(world).read_bytes()
        with pytest.raises(Refused, match="nothing to recover"):
            await recover(world)
        assert state_file(world).read_bytes() == before and not kept(world)


async def test_an_empty_file_that_a_command_made_in_the_place_of_the_lost_one_is_replaced(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        ledger, _ = await with_writes(world)
        lose(world)
        async with world.cluster() as cluster:
            with pytest.raises(IndexNotFound):
                await cluster.reload(UID)
            with pytest.raises(EpochStale) as caught:
                await create(cluster)
            assert caught.value.hint is not None and "miroir state recover" in caught.value.hint
            await cluster.store.found(name="test")  # as an older miroir did at this point
            with pytest.raises(ForeignNode, match="also called `test`"):
                await create(cluster)
        assert (await recover(world)).reason == "the state file is empty"
        async with world.cluster() as cluster:
            await check(cluster, (await cluster.reload(UID)).index, ledger)


async def test_the_file_of_another_cluster_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with world_of(tmp_path) as world, world_of(tmp_path / "other") as other:
        await with_writes(world)
        await with_writes(other)
        lose(world)
        shutil.copytree(tmp_path / "other" / ".miroir", tmp_path / ".miroir")
        with pytest.raises(ForeignNode, match="the state file is that of cluster"):
            await recover(world)


async def test_nodes_without_any_copy_have_nothing_to_recover_from(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        with pytest.raises(NotFound):
            await recover(world)
        assert not state_file(world).exists()


async def test_nodes_of_two_clusters_are_named(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        world.engine(2).stop()
        async with world.cluster() as cluster:
            await call_roll(cluster)
        lose(world)
        world.engine(1).stop()
        world.engine(2).start()
        async with world.cluster() as cluster:
            await call_roll(cluster)
        lose(world)
        world.engine(1).start()
        with pytest.raises(ForeignNode, match=r"different clusters: `n\d` to \w+; `n\d` to \w+"):
            await recover(world)


# -- queues and other commands


async def test_what_is_in_the_queues_is_waited_for_with_a_limit(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        ledger, keys = await with_writes(world)
        documents = dict.fromkeys(keys, "queued")
        async with world.cluster() as cluster:
            index = (await cluster.reload(UID)).index
            for number in (1, 2):
                world.engine(number).faults.add(Kind.DELAY_TASK, path=UID, seconds=1.2)
            ledger.begun(documents)
            await write(cluster, index, addition(index, documents))
        lose(world)
        planned = await recover(world, dry_run=True)
        assert planned.waiting == 2 and not state_file(world).exists()
        with pytest.raises(NodeUnavailable, match="has 1 tasks of the cluster's indexes left"):
            await recover(world, timeout=0.1)
        await recover(world)
        ledger.acknowledged(documents)
        async with world.cluster() as cluster:
            await check(cluster, index, ledger)


async def test_two_do_not_run_at_once_and_nobody_has_the_state_open_meanwhile(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        await with_writes(world)
        state_file(world).write_bytes(b"nothing of use" * 100)
        world.engine(1).faults.add(Kind.DELAY, method="GET", path="^/version$", seconds=1.0)
        first = asyncio.create_task(recover(world))
        await asyncio.sleep(0.3)
        with pytest.raises(Locked, match=r"`recover` is locked by process \d+ \(`state recover`\)"):
            await recover(world)
        with pytest.raises(Locked, match=r"the state is in use by process \d+ \(`state recover`\)"):
            async with world.cluster(lock_timeout=0.1):
                pass
        await first
        async with world.cluster():
            with pytest.raises(Locked, match="the state is in use by another process"):
                await recover(world)


async def test_a_process_whose_state_file_is_taken_away_writes_nothing_any_more(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        ledger, keys = await with_writes(world)
        async with world.cluster() as cluster:
            index = (await cluster.reload(UID)).index
            await settle_until(cluster, index, 3)
            lose(world)
            await recover(world)
            tops = [await client.top_task() for client in cluster.fleet.clients.values()]
            with pytest.raises(StateUnavailable, match="was removed or replaced while this command ran"):
                await write(cluster, index, addition(index, dict.fromkeys(keys, "lost")))
            assert [await client.top_task() for client in cluster.fleet.clients.values()] == tops
        async with world.cluster() as cluster:
            await check(cluster, index, ledger)


# -- killed in between

POINTS = [
    "after:inspect",
    "before:build",
    "after:build",
    "after:set_aside",
    "before:take_place",
    "after:take_place",
]


@pytest.mark.parametrize("damaged", [True, False], ids=["damaged", "older"])
async def test_killed_at_any_point_it_leaves_the_old_file_or_the_whole_new_one(tmp_path: Path, damaged: bool) -> None:
    with world_of(tmp_path) as world, Mortuary(world.path) as mortuary:
        ledger, keys = await with_writes(world, writes=1)
        old = state_file(world).read_bytes()
        async with world.cluster() as cluster:
            index = (await cluster.reload(UID)).index
            await put(cluster, index, dict.fromkeys(keys, "newer"), ledger)
        bad = b"SQLite format 3\0" + b"\xff" * 5000 if damaged else old
        for point in POINTS:
            state_file(world).write_bytes(bad)
            await mortuary.die("recover", point)
            if point == "after:take_place":
                async with world.cluster() as cluster:
                    await check(cluster, index, ledger)
            else:
                assert state_file(world).read_bytes() == bad, point
        state_file(world).write_bytes(bad)
        await recover(world)
        async with world.cluster() as cluster:
            await put(cluster, index, dict.fromkeys(keys, "last"), ledger)
            await check(cluster, index, ledger)
        assert all(path.read_bytes() == bad for path in kept(world))


# -- an older state touches no node


@pytest.mark.parametrize("verb", ["write", "import", "settle", "create", "delete", "settings"])
async def test_a_process_that_was_started_with_an_older_state_touches_no_node(tmp_path: Path, verb: str) -> None:
    with world_of(tmp_path) as world:
        _, keys = await with_writes(world)
        shutil.copytree(tmp_path / ".miroir", tmp_path / "copy")
        async with world.cluster() as cluster:
            index = (await cluster.reload(UID)).index
            world.engine(1).faults.add(Kind.FAIL_TASK, path=UID)
            await put(cluster, index, dict.fromkeys(keys, "newer"), Ledger())
            await told(cluster, N2, (await cluster.reload(UID)).epoch)
        lose(world)
        shutil.copytree(tmp_path / "copy", tmp_path / ".miroir")
        async with world.cluster() as cluster:
            tops = [await client.top_task() for client in cluster.fleet.clients.values()]
            assert (await cluster.reload(UID)).index.uid == UID
            with pytest.raises(EpochStale) as caught:
                if verb == "write":
                    await write(cluster, index, addition(index, {"k": 1}))
                elif verb == "import":
                    source = write_ndjson(tmp_path, numbered(10))
                    await import_documents(cluster, UID, [source], options=ImportOptions())
                elif verb == "settle":
                    await settle_until(cluster, index, 4)
                elif verb == "create":
                    await create_index(cluster, await plan_index(cluster, "films", primary_key="id"))
                elif verb == "delete":
                    await delete_index(cluster, UID)
                else:
                    await change_settings(cluster, UID, {"stopWords": ["a"]})
            assert caught.value.hint is not None and "miroir state recover" in caught.value.hint
            assert [await client.top_task() for client in cluster.fleet.clients.values()] == tops
