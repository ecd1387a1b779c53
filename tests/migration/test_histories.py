"""Random histories of writes, moves, reads, faults and kills.

What happens in one is drawn in `course.py`; what must hold is in `history.py`, and for the end in `rest.py`.

A history that fails is printed with its seed and its course: `run_history(SEED, FOLDER)` plays it again.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from miroir_cli.store.sqlite.store import SqliteStore
from tests.migration.course import run_history
from tests.migration.virtual_clock import Deadlock, virtual_time

EACH = 35
ENOUGH = 25.0
"""Seconds after which a busy machine has seen enough of one lot."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory where that is possible: a history commits some hundred times."""
    memory = Path("/dev/shm")
    path = Path(tempfile.mkdtemp(prefix="miroir-histories-", dir=memory if memory.is_dir() else None))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def template(folder: Path) -> Path:
    path = folder / "empty.db"
    asyncio.run(SqliteStore.open(path).close())
    return path


@pytest.mark.parametrize("lot", range(8))
def test_whatever_happens_copies_are_equal_and_nothing_acknowledged_is_lost(
    folder: Path, template: Path, lot: int
) -> None:
    began, reads, checks = time.monotonic(), 0, 0
    for seed in range(lot * EACH, (lot + 1) * EACH):
        history = run_history(seed, folder / str(seed), template=template)
        reads, checks = reads + history.reads, checks + history.checks
        if time.monotonic() - began > ENOUGH:
            break
    assert reads > 0
    assert checks > 0


def test_a_history_is_the_same_whenever_it_is_played(folder: Path) -> None:
    first, second = (run_history(7, folder / name) for name in ("first", "second"))
    assert [line for line in first.trace if "epoch" in line] == [line for line in second.trace if "epoch" in line]


def test_waiting_takes_no_time_and_waiting_for_nothing_is_noticed() -> None:
    with virtual_time() as loop:
        began = time.monotonic()
        loop.run_until_complete(asyncio.sleep(3600.0))
        assert time.monotonic() - began >= 3600.0
        with pytest.raises(Deadlock):
            loop.run_until_complete(loop.create_future())
