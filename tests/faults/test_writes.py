"""One write at a time against nodes that misbehave: what is acknowledged is on every replica that stays in sync."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from miroir_cli.cluster import Patience
from miroir_cli.dev.engine.faults import Kind
from miroir_cli.errors import ShardUnavailable
from miroir_cli.model import IntentState, ReplicaState
from miroir_cli.replication.recover import recover
from miroir_cli.replication.settle import settle, settle_until
from miroir_cli.replication.write import write
from tests.backends import both_backends
from tests.faults.world import (
    N1,
    N2,
    Ledger,
    World,
    addition,
    check,
    create,
    eventually,
    keys_of_every_shard,
    put,
    stale,
    world_of,
)

if TYPE_CHECKING:
    from miroir_cli.model import Intent
    from miroir_cli.store.protocol import Store
    from miroir_cli.store.records import Judge, Marked

DOCUMENTS = "/documents"


@both_backends
async def test_a_write_is_on_every_replica(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=3, shards=6, replicas=2) as world:
        async with world.cluster() as cluster:
            index, ledger = await create(cluster), Ledger()
            keys = keys_of_every_shard(index)
            await put(cluster, index, dict.fromkeys(keys, 1), ledger)
            await put(cluster, index, dict.fromkeys(keys, 2), ledger)
            assert stale(await check(cluster, index, ledger)) == set()


FAULTS: dict[str, Callable[[World], object]] = {
    "dead": lambda world: world.engine(2).stop(),
    "answers 500": lambda world: world.engine(2).faults.add(
        Kind.REFUSE, path=DOCUMENTS, status=500, bare=True, count=None
    ),
    "gateway answers 502": lambda world: world.engine(2).faults.add(
        Kind.REFUSE, path=DOCUMENTS, status=502, bare=True, count=None
    ),
    "answers 503": lambda world: world.engine(2).faults.add(Kind.REFUSE, path="/books/documents$", count=None),
    "answers 429": lambda world: world.engine(2).faults.add(
        Kind.REFUSE, path="/books/documents$", status=429, count=None
    ),
    "answers 400": lambda world: world.engine(2).faults.add(
        Kind.REFUSE, path="/books/documents$", status=400, count=None
    ),
    "drops the request": lambda world: world.engine(2).faults.add(
        Kind.DROP_BEFORE, method="POST", path="/books/documents$"
    ),
    "too slow": lambda world: world.engine(2).faults.add(
        Kind.DELAY, method="POST", path="/books/documents$", seconds=1.2
    ),
    "takes it late": lambda world: world.engine(2).faults.add(
        Kind.LATE, method="POST", path="/books/documents$", seconds=0.8
    ),
    "fails the task": lambda world: world.engine(2).faults.add(Kind.FAIL_TASK, path="books"),
    "loses the payload": lambda world: world.engine(2).faults.add(Kind.TRUNCATE, path="books"),
    "queue stands still": lambda world: world.engine(2).faults.pause(),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_with_two_replicas_a_node_that_misses_a_write_leaves_the_in_sync_set(tmp_path: Path, fault: str) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            index, ledger = await create(cluster), Ledger()
            keys = keys_of_every_shard(index)
            await put(cluster, index, dict.fromkeys(keys, 1), ledger)
            FAULTS[fault](world)
            assert await put(cluster, index, dict.fromkeys(keys, 2), ledger) is not None
            assert stale(await check(cluster, index, ledger)) == {"n2"}
            world.engine(2).faults.clear()
            world.engine(2).start()
            await put(cluster, index, dict.fromkeys(keys, 3), ledger)
            assert stale(await check(cluster, index, ledger)) == {"n2"}
        assert all(values == [3] for values in ledger.values.values())


async def test_an_answer_that_was_dropped_is_found_among_the_tasks_and_not_sent_again(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            index, ledger = await create(cluster), Ledger()
            keys = keys_of_every_shard(index)
            for number in (1, 2):
                world.engine(number).faults.add(Kind.DROP_AFTER, method="POST", path="/books/documents$")
            await put(cluster, index, dict.fromkeys(keys, 1), ledger)
            assert stale(await check(cluster, index, ledger)) == set()
            tasks = await cluster.fleet[N2].tasks(indexUids="books", types="documentAdditionOrUpdate")
            assert len(tasks["results"]) == 1


async def test_a_busy_node_is_asked_again_while_the_lock_is_held(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster(patience=Patience(grace=0.1, busy=5.0)) as cluster:
            index, ledger = await create(cluster), Ledger()
            world.engine(2).faults.add(Kind.REFUSE, path="/books/documents$", status=503)
            await put(cluster, index, dict.fromkeys(keys_of_every_shard(index), 1), ledger)
            assert stale(await check(cluster, index, ledger)) == set()


async def test_a_node_that_finds_a_write_too_large_gets_it_in_pieces(tmp_path: Path) -> None:
    with world_of(tmp_path, shards=8) as world:
        async with world.cluster() as cluster:
            index, ledger = await create(cluster), Ledger()
            world.engine(2).faults.add(Kind.REFUSE, path="/books/documents$", status=413, count=3)
            await put(cluster, index, dict.fromkeys(keys_of_every_shard(index), 1), ledger)
            assert stale(await check(cluster, index, ledger)) == set()
            tasks = await cluster.fleet[N2].tasks(indexUids="books", types="documentAdditionOrUpdate")
            assert len(tasks["results"]) == 4


async def test_a_write_refused_by_every_replica_leaves_them_in_sync_and_says_why(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            index, ledger = await create(cluster), Ledger()
            keys = keys_of_every_shard(index)
            for engine in world.engines.values():
                engine.faults.add(Kind.REFUSE, path="/books/documents$", status=400)
            written = await put(cluster, index, dict.fromkeys(keys, 1), ledger)
            assert written is not None and written.refused == {0, 1} and "fault switch" in str(written.reason)
            assert stale(await check(cluster, index, ledger)) == set()
            assert all(values == [None] for values in ledger.values.values())


@pytest.mark.parametrize("kind", [Kind.FAIL_TASK, Kind.TRUNCATE])
async def test_a_write_that_every_replica_fails_to_apply_is_failed_and_marks_nobody(tmp_path: Path, kind: Kind) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            index, ledger = await create(cluster), Ledger()
            keys = keys_of_every_shard(index)
            await put(cluster, index, dict.fromkeys(keys, 1), ledger)
            for engine in world.engines.values():
                engine.faults.add(kind, path="books")
            await put(cluster, index, dict.fromkeys(keys, 2), ledger)
            assert stale(await check(cluster, index, ledger)) == set()
            assert all(values == [1] for values in ledger.values.values())


async def test_different_writes_failing_on_different_replicas_leave_one_of_each_shard(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            index, ledger = await create(cluster), Ledger()
            keys = keys_of_every_shard(index)
            world.engine(1).faults.add(Kind.FAIL_TASK, path="books")
            await put(cluster, index, dict.fromkeys(keys, 1), ledger)
            world.engine(2).faults.add(Kind.FAIL_TASK, path="books")
            await put(cluster, index, dict.fromkeys(keys, 2), ledger)
            assert stale(await check(cluster, index, ledger)) == {"n1"}
            assert all(values == [1] for values in ledger.values.values())


@both_backends
async def test_without_any_answer_the_write_is_unknown_until_the_next_command_finds_out(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            index, ledger = await create(cluster), Ledger()
            keys = keys_of_every_shard(index)
            for number, kind in ((1, Kind.LATE), (2, Kind.DROP_BEFORE)):
                world.engine(number).faults.add(kind, method="POST", path="/books/documents$", seconds=0.45)
            assert await put(cluster, index, dict.fromkeys(keys, 1), ledger) is None
            newest = await cluster.store.newest_intent("books")
            assert newest is not None and newest.state is IntentState.OPEN
            await put(cluster, index, dict.fromkeys(keys, 2), ledger)
            assert stale(await check(cluster, index, ledger)) == {"n2"}
            ended = (await cluster.store.intents("books", [1]))[1]
            assert ended.state is IntentState.DONE


async def test_a_request_that_arrives_after_its_write_was_given_up_makes_its_replica_stale(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            index, ledger = await create(cluster), Ledger()
            keys = keys_of_every_shard(index)
            world.engine(1).faults.add(Kind.LATE, method="POST", path="/books/documents$", seconds=1.5)
            world.engine(2).faults.add(Kind.DROP_BEFORE, method="POST", path="/books/documents$")
            assert await put(cluster, index, dict.fromkeys(keys, 1), ledger) is None
            await put(cluster, index, dict.fromkeys(keys, 2), ledger)
            assert (await cluster.store.intents("books", [1]))[1].state is IntentState.ABORTED
            for values in ledger.values.values():
                assert values == [2]
            tasks = cluster.fleet[N1].tasks

            async def arrived() -> bool:
                return len((await tasks(indexUids="books", types="documentAdditionOrUpdate"))["results"]) == 2

            async def noticed() -> bool:
                return bool((await settle(cluster, index)).stale)

            await eventually(arrived)
            await eventually(noticed)
            assert stale(await check(cluster, index, ledger)) == {"n1"}


async def test_while_no_node_answers_nothing_is_written_and_nothing_marked(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            index, ledger = await create(cluster), Ledger()
            keys = keys_of_every_shard(index)
            for engine in world.engines.values():
                engine.stop()
            written = await put(cluster, index, dict.fromkeys(keys, 1), ledger)
            assert written is not None and written.refused == {0, 1} and written.temporary
            for engine in world.engines.values():
                engine.start()
            assert stale(await check(cluster, index, ledger)) == set()


async def test_with_one_replica_the_shards_of_a_dead_node_refuse_and_the_others_go_on(tmp_path: Path) -> None:
    with world_of(tmp_path, shards=4, replicas=1) as world:
        async with world.cluster() as cluster:
            index, ledger = await create(cluster), Ledger()
            keys = keys_of_every_shard(index)
            world.engine(2).stop()
            written = await put(cluster, index, dict.fromkeys(keys, 1), ledger)
            assert written is not None and len(written.refused) == 2
            world.engine(2).start()
            assert stale(await check(cluster, index, ledger)) == set()


@both_backends
async def test_an_emptied_disk_is_lost_even_when_it_was_the_last_replica(tmp_path: Path) -> None:
    with world_of(tmp_path, shards=4, replicas=1) as world:
        async with world.cluster() as cluster:
            index, ledger = await create(cluster), Ledger()
            keys = keys_of_every_shard(index)
            for value in range(4):
                await put(cluster, index, dict.fromkeys(keys, value), ledger)
            world.engine(2).wipe()
            written = await write(cluster, index, addition(index, dict.fromkeys(keys, 9)))
            assert len(written.refused) == 2
            map = await cluster.reload("books")
            assert {r.node for r in map.replicas if r.state is ReplicaState.LOST} == {"n2"}
            with pytest.raises(ShardUnavailable):
                await write(cluster, index, addition(index, dict.fromkeys(keys, 10)))


async def test_a_disk_emptied_after_it_accepted_is_lost_not_only_stale(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            index, ledger = await create(cluster), Ledger()
            documents = dict.fromkeys(keys_of_every_shard(index), 1)
            ledger.begun(documents)
            world.engine(2).faults.pause()
            written = await write(cluster, index, addition(index, documents))
            world.engine(2).wipe()
            world.engine(2).faults.resume()
            outcome = (await settle_until(cluster, index, written.n))[written.n]
            assert outcome.state is IntentState.DONE
            assert outcome.stored_on == 1
            ledger.acknowledged(documents)
            map = await check(cluster, index, ledger)
            assert {r.node for r in map.replicas if r.state is ReplicaState.LOST} == {"n2"}


async def test_a_stale_mark_gives_an_emptied_disk_no_marker(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=3, shards=3, replicas=3) as world:
        async with world.cluster() as cluster:
            index, ledger = await create(cluster), Ledger()
            keys = keys_of_every_shard(index)
            await put(cluster, index, dict.fromkeys(keys, 1), ledger)
            world.engine(3).wipe()
            world.engine(2).faults.add(Kind.FAIL_TASK, path="books")
            await put(cluster, index, dict.fromkeys(keys, 2), ledger)
            map = await check(cluster, index, ledger)
            assert {r.node: r.state for r in map.replicas} == {
                "n1": ReplicaState.SERVING,
                "n2": ReplicaState.STALE,
                "n3": ReplicaState.LOST,
            }


async def test_a_task_cancelled_by_hand_makes_its_replica_stale(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            index, ledger = await create(cluster), Ledger()
            documents = dict.fromkeys(keys_of_every_shard(index), 1)
            ledger.begun(documents)
            world.engine(2).faults.pause()
            written = await write(cluster, index, addition(index, documents))
            cancelled = await cluster.fleet[N2].tasks(indexUids="books", limit=1)
            world.engine(2).faults.resume()
            world.engine(2).faults.pause()
            await cluster.fleet[N2].read("_faults", {"cancel": cancelled["results"][0]["uid"]})
            world.engine(2).faults.resume()
            await settle_until(cluster, index, written.n)
            ledger.acknowledged(documents)
            assert stale(await check(cluster, index, ledger)) == {"n2"}


async def test_a_write_past_miroir_makes_its_replica_stale(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            index, ledger = await create(cluster), Ledger()
            keys = keys_of_every_shard(index)
            await put(cluster, index, dict.fromkeys(keys, 1), ledger)
            client = cluster.fleet[N1]
            await client.write("POST", "indexes/books/documents", content=b'{"id": "x", "value": 7}')
            await settle(cluster, index)
            assert stale(await check(cluster, index, ledger)) == {"n1"}


@both_backends
async def test_settling_while_a_write_is_being_sent_loses_nothing(tmp_path: Path) -> None:
    """A look taken before a request was sent, and judged after it was recorded, must not miss the task."""
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster, world.cluster() as other:
            index, ledger = await create(cluster), Ledger()
            keys = keys_of_every_shard(index)
            world.engine(1).faults.add(Kind.DELAY, method="GET", path="^/tasks$", seconds=0.3, count=None)

            async def watch() -> None:
                while True:
                    await settle(other, index)
                    await asyncio.sleep(0.01)

            watcher = asyncio.create_task(watch())
            for value in range(8):
                documents = dict.fromkeys(keys, value)
                ledger.begun(documents)
                written = await write(cluster, index, addition(index, documents))
                outcome = (await settle_until(cluster, index, written.n))[written.n]
                assert outcome.state is IntentState.DONE, outcome
                ledger.acknowledged(documents)
            watcher.cancel()
            assert stale(await check(cluster, index, ledger)) == set()


class SlowToRecord:
    """A store whose writer is held up between the answers of the nodes and their record."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.released = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def close_intent(self, intent: Intent, judge: Judge) -> tuple[Intent, Marked]:
        await self.released.wait()
        return await self._store.close_intent(intent, judge)


async def test_a_write_applied_before_it_was_recorded_is_settled_after(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster, world.cluster() as other:
            index = await create(cluster)
            store = SlowToRecord(cluster.store)
            cluster.store = cast("Store", store)
            documents = dict.fromkeys(keys_of_every_shard(index), 1)
            writing = asyncio.create_task(write(cluster, index, addition(index, documents)))

            async def applied() -> bool:
                pages = [await other.fleet[name].tasks(indexUids="books", limit=1) for name in (N1, N2)]
                return all(
                    page["results"][0]["type"] == "documentAdditionOrUpdate"
                    and page["results"][0]["status"] == "succeeded"
                    for page in pages
                )

            await eventually(applied)
            for _ in range(3):
                assert (await settle(other, index)).outstanding == 1
            store.released.set()
            written = await writing
            outcome = (await settle_until(other, index, written.n, timeout=5))[written.n]
            assert outcome.state is IntentState.DONE and outcome.stored_on == 2


async def test_nothing_to_recover_costs_nothing(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            index = await create(cluster)
            assert await recover(cluster, index) is None
