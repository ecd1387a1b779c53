"""Replicas that join, switch and leave in the state file, and the runs that move them."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path

import pytest

from miroir_cli.errors import IndexNotFound
from miroir_cli.model import Index, IndexMap, IndexUid, IntentState, NodeName, ReplicaState, ShardId, WriteKind
from miroir_cli.store.journal import Changes, RunId, RunKind, RunRecord, RunState, StepRecord, StepState, Wanted
from miroir_cli.store.records import Marked, Settlement, Verdict
from miroir_cli.store.sqlite.moves import CHANGES_PAGE
from miroir_cli.store.sqlite.store import SqliteStore
from tests.conftest import ROOT
from tests.store.test_sqlite import ONE, ZERO, A, B, with_index, write

C = NodeName("c")


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[tuple[SqliteStore, IndexMap]]:
    store = SqliteStore.open(folder / "state.db")
    try:
        yield store, await with_index(store)
    finally:
        await store.close()


async def state_of(store: SqliteStore, shard: ShardId, node: NodeName) -> ReplicaState | None:
    map = await store.map("books")
    assert map is not None
    replica = map.replica(shard, node)
    return None if replica is None else replica.state


async def settle(store: SqliteStore, index: Index) -> int:
    """Everything written is settled, by fiat."""
    pending = await store.pending(index.uid)
    verdicts = [Verdict(n=intent.n, state=IntentState.DONE) for intent in pending.intents]
    await store.settle_intents(index.uid, lambda current: Settlement(verdicts=verdicts))
    return pending.newest


async def switch(
    store: SqliteStore, index: Index, *, nonce: str = "n", newest: int = 0, source: NodeName = A, base: int = 8
) -> Marked | None:
    return await store.switch(index, ZERO, C, nonce=nonce, source=source, leaving=B, newest=newest, base=base)


async def test_a_replica_joins_switches_and_the_one_it_replaces_leaves(tmp_path: Path) -> None:
    async with opened(tmp_path) as (store, map):
        assert await store.join(map.index, ZERO, C, nonce="n", top=7) == (0, None)
        assert await state_of(store, ZERO, C) is ReplicaState.JOINING
        assert await switch(store, map.index) is not None
        assert await state_of(store, ZERO, C) is ReplicaState.SERVING
        assert await state_of(store, ZERO, B) is ReplicaState.LEAVING
        assert await store.begin_forgetting(map.index, B, [ZERO, ONE], nonce="f") == (ZERO,)
        await store.forget(map.index, B, [ZERO])
        assert await state_of(store, ZERO, B) is None
        assert await state_of(store, ONE, B) is ReplicaState.SERVING


async def test_nothing_switches_that_is_not_what_was_compared(tmp_path: Path) -> None:
    async with opened(tmp_path) as (store, map):
        await store.join(map.index, ZERO, C, nonce="n", top=7)
        assert await switch(store, map.index, nonce="another attempt") is None
        await store.mark("books", {A: [ZERO]}, state=ReplicaState.STALE)
        assert await switch(store, map.index, source=A) is None
        await write(store, map.index)
        assert await switch(store, map.index, source=B) is None, "a write is not settled"
        newest = await settle(store, map.index)
        assert await switch(store, map.index, source=B, newest=newest - 1) is None, "a write came after the look"
        assert await state_of(store, ZERO, C) is ReplicaState.JOINING
        assert await switch(store, map.index, source=B, newest=newest) is not None


async def test_writes_name_their_keys_while_a_replica_joins_and_only_then(tmp_path: Path) -> None:
    async with opened(tmp_path) as (store, map):

        async def add(*, named: bool = True) -> None:
            keys = {ZERO: ["k0"], ONE: ["k1"]}
            await store.open_intent(
                map.index,
                kind=WriteKind.ADD if named else WriteKind.CLEAR,
                documents={ZERO: 1, ONE: 1},
                nonce="x",
                min_in_sync=1,
                owner="test",
                keys=keys.__getitem__ if named else None,
            )

        await add()
        assert await store.changes("books", ZERO, above=0) == Changes()
        await store.join(map.index, ZERO, C, nonce="n", top=7)
        await add()
        assert await store.changes("books", ZERO, above=0) == Changes(keys=frozenset({"k0"}))
        assert await store.changes("books", ZERO, above=2) == Changes()
        assert await store.changes("books", ONE, above=0) == Changes(), "its shard has no joining replica"
        await add(named=False)
        assert (await store.changes("books", ZERO, above=2)).sweep
        await store.unjoin(map.index, ZERO, C)
        assert await store.changes("books", ZERO, above=0) == Changes()


async def test_what_was_written_meanwhile_is_read_in_pages_that_others_come_between(tmp_path: Path) -> None:
    """A long move has the keys of a million writes to read; nobody else of the process may wait for all of them."""
    async with opened(tmp_path) as (store, map):
        await store.join(map.index, ZERO, C, nonce="n", top=7)
        writes = 2 * CHANGES_PAGE + 50
        _log(tmp_path, [(n, f'["k{n}", "again"]') for n in range(1, writes + 1)])
        breaths = 0

        async def breathe() -> None:
            nonlocal breaths
            while True:
                breaths += 1
                await asyncio.sleep(0)

        others = asyncio.create_task(breathe())
        found = await store.changes("books", ZERO, above=0)
        others.cancel()
        assert found == Changes(keys=frozenset({"again", *(f"k{n}" for n in range(1, writes + 1))}))
        assert breaths >= 2
        later = await store.changes("books", ZERO, above=writes - CHANGES_PAGE)
        assert len(later.keys) == CHANGES_PAGE + 1
        few = await store.changes("books", ZERO, above=0, most=10)
        assert 10 < len(few.keys) <= CHANGES_PAGE + 1, "nobody wants to know of more"
        _log(tmp_path, [(writes + 1, None)])
        assert await store.changes("books", ZERO, above=0) == Changes(sweep=True)


def _log(folder: Path, rows: list[tuple[int, str | None]]) -> None:
    """Write into the log of changes what so many writes would."""
    with closing(sqlite3.connect(folder / "state.db")) as connection, connection:
        connection.executemany(
            "insert into changes (uid, incarnation, n, shard, keys) values ('books', 1, ?, 0, ?)", rows
        )


async def test_a_replica_given_up_is_what_it_was_before(tmp_path: Path) -> None:
    async with opened(tmp_path) as (store, map):
        await store.mark("books", {B: [ZERO]}, state=ReplicaState.STALE)
        assert (await store.join(map.index, ZERO, B, nonce="1", top=7))[1] is ReplicaState.STALE
        assert (await store.join(map.index, ZERO, B, nonce="2", top=7))[1] is ReplicaState.STALE, "begun anew"
        await store.unjoin(map.index, ZERO, B)
        assert await state_of(store, ZERO, B) is ReplicaState.STALE
        await store.join(map.index, ZERO, C, nonce="3", top=7)
        await store.unjoin(map.index, ZERO, C)
        assert await state_of(store, ZERO, C) is ReplicaState.LEAVING


async def test_a_replica_leaves_only_while_enough_stay(tmp_path: Path) -> None:
    async with opened(tmp_path) as (store, map):
        assert not await store.leave(map.index, ZERO, A, keep=2)
        assert await store.leave(map.index, ZERO, A, keep=1)
        assert not await store.leave(map.index, ZERO, B, keep=1)
        assert await state_of(store, ZERO, B) is ReplicaState.SERVING


async def test_tasks_seen_before_the_switch_are_looked_at_again_for_the_new_replica(tmp_path: Path) -> None:
    async with opened(tmp_path) as (store, map):
        await store.join(map.index, ZERO, C, nonce="n", top=7)
        await store.settle_intents("books", lambda pending: Settlement(foreign={C: {9: None}}, looked={C: 9}))
        assert (await store.pending("books")).known[C] == frozenset()
        await switch(store, map.index, base=9)
        pending = await store.pending("books")
        assert pending.lanes[C].looked == 8
        assert pending.known[C] == frozenset(), "the stranger's task is judged anew"
        assert pending.bases == {(C, ZERO): 9}


async def test_the_nodes_are_told_of_a_changed_map_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as (store, map):
        assert await store.unpublished("books")
        await store.note_published("books", map.epoch)
        assert not await store.unpublished("books")
        await store.mark("books", {A: [ZERO]}, state=ReplicaState.STALE)
        assert await store.unpublished("books")


async def test_whether_anything_was_ever_sent_to_a_node_is_known(tmp_path: Path) -> None:
    async with opened(tmp_path) as (store, map):
        assert await store.was_addressed("books", A)
        assert not await store.was_addressed("books", C)
        await store.join(map.index, ZERO, C, nonce="n", top=7)
        await store.unjoin(map.index, ZERO, C)
        await store.forget(map.index, C, [ZERO])
        assert await store.was_addressed("books", C), "an attempt may have sent something"


async def test_an_index_that_was_deleted_moves_no_more(tmp_path: Path) -> None:
    async with opened(tmp_path) as (store, map):
        await store.begin_deletion(map.index)
        with pytest.raises(IndexNotFound):
            await store.join(map.index, ZERO, C, nonce="n", top=7)


async def test_a_run_is_kept_with_its_steps_and_who_did_what(tmp_path: Path) -> None:
    step = StepRecord(number=1, index=IndexUid("books"), incarnation=1, shard=ZERO, target=C)
    run = RunRecord(
        id=RunId(0), kind=RunKind.REBALANCE, title="add c", state=RunState.RUNNING, wanted=Wanted.GO,
        parallel=2, rate=None, pid=11, command="first", fingerprint="f", started_at=0,
    )  # fmt: skip
    async with opened(tmp_path) as (store, _):
        begun = await store.begin_run(run, [step])
        await store.save_step(begun.id, replace(step, state=StepState.SWITCHING))
        assert await store.switching("books") == (11,)
        assert await store.unfinished_run(RunKind.REPAIR) is None
        await store.adopt_run(begun.id, pid=12, command="second")
        assert await store.switching("books") == (12,)
        await store.control_run(begun.id, command="third", wanted=Wanted.PAUSE, rate=50)
        found = await store.unfinished_run()
        assert found is not None and (found.wanted, found.rate, found.pid) == (Wanted.PAUSE, 50, 12)
        await store.save_step(begun.id, replace(step, state=StepState.DONE, copied=9), detail="well")
        await store.save_run(begun.id, state=RunState.DONE, summary={"moves": 1})
        assert await store.unfinished_run() is None
        assert await store.switching("books") == ()
        assert [(e.step, e.command, e.state) for e in await store.events(begun.id)] == [
            (None, "first", "begun"),
            (1, "first", "switching"),
            (None, "second", "resumed"),
            (None, "third", "asked: pause"),
            (None, "third", "rate: 50"),
            (1, "second", "done"),
            (None, "second", "done"),
        ]


@pytest.mark.parametrize(("shard", "switches"), [(ZERO, False), (ONE, True)], ids=["the same", "another"])
async def test_a_write_on_its_way_keeps_its_shard_from_switching_and_no_other(
    tmp_path: Path, shard: ShardId, switches: bool
) -> None:
    async with opened(tmp_path) as (store, map):
        await store.join(map.index, ZERO, C, nonce="n", top=7)
        await store.open_intent(
            map.index,
            kind=WriteKind.ADD,
            documents={shard: 1},
            nonce="x",
            min_in_sync=1,
            owner="test",
            keys=lambda shard: ["key"],
        )
        newest = (await store.pending("books")).newest
        assert (await switch(store, map.index, newest=newest) is not None) == switches


def test_every_state_of_runs_and_steps_is_one_that_somebody_comes_to() -> None:
    """Nothing else is in any state file, and nobody has to think of what cannot be."""
    source = "".join(path.read_text() for path in (ROOT / "miroir_cli" / "migration").glob("*.py"))
    for states in (RunState, StepState):
        for state in states:
            assert f"{states.__name__}.{state.name}" in source, state


async def test_whether_replicas_served_until_they_left_is_known(tmp_path: Path) -> None:
    async with opened(tmp_path) as (store, map):
        await store.leave(map.index, ZERO, B, keep=1)
        assert await store.served_until_they_left(map.index, B, [ZERO, ONE])
        await store.mark("books", {B: [ONE]}, state=ReplicaState.STALE)
        await store.leave(map.index, ONE, B, keep=1)
        assert not await store.served_until_they_left(map.index, B, [ZERO, ONE])
        await store.join(map.index, ZERO, C, nonce="n", top=7)
        await store.unjoin(map.index, ZERO, C)
        assert await state_of(store, ZERO, C) is ReplicaState.LEAVING
        assert not await store.served_until_they_left(map.index, C, [ZERO])
