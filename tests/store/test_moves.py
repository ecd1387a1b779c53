"""Replicas that join, switch and leave in the state file."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

from miroir_cli.model import Index, IndexMap, IntentState, NodeName
from miroir_cli.store.journal import Changes, RunState, StepState
from miroir_cli.store.moving import CHANGES_PAGE
from miroir_cli.store.records import Settlement, Verdict
from miroir_cli.store.sqlite.store import SqliteStore
from tests.conftest import ROOT
from tests.store.test_sqlite import ZERO, with_index

C = NodeName("c")


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[tuple[SqliteStore, IndexMap]]:
    store = SqliteStore.open(folder / "state.db")
    try:
        yield store, await with_index(store)
    finally:
        await store.close()


async def settle(store: SqliteStore, index: Index) -> int:
    """Everything written is settled, by fiat."""
    pending = await store.pending(index.uid)
    verdicts = [Verdict(n=intent.n, state=IntentState.DONE) for intent in pending.intents]
    await store.settle_intents(index, lambda current: Settlement(verdicts=verdicts))
    return pending.newest


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


def test_every_state_of_runs_and_steps_is_one_that_somebody_comes_to() -> None:
    """Nothing else is in any state file, and nobody has to think of what cannot be."""
    source = "".join(path.read_text() for path in (ROOT / "miroir_cli" / "migration").glob("*.py"))
    for states in (RunState, StepState):
        for state in states:
            assert f"{states.__name__}.{state.name}" in source, state
