"""Replacing the state file as a whole: the new one is complete before it gets the name, the old one is never deleted.

SQLite keeps what is not yet in the file in a second one beside it (`-wal`) and would mix an old one into a new file, so
that must be gone before the new file takes the name. Whoever replaces the file must be alone with it (`locks.STATE`):
the last one to close an old file deletes `-wal` by its name.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlite_utils import Database

from miroir_cli.errors import StateCorrupt, StateUnavailable
from miroir_cli.store.records import Found
from miroir_cli.store.sqlite.cluster import read_cluster, read_newest_numbers
from miroir_cli.store.sqlite.database import connect, prepare, translated
from miroir_cli.store.sqlite.schema import migrations
from miroir_cli.store.sqlite.store import SqliteStore

if TYPE_CHECKING:
    from miroir_cli.store.records import Rebuilt

BESIDE = ("-wal", "-shm")
"""What SQLite keeps beside a file while it is open."""


class StateFile:
    """The protocol `miroir_cli.store.protocol.Replacement` over one SQLite file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._new = path.with_name(f"{path.name}.new")

    async def inspect(self) -> Found:
        """What the file is. Raises `StateTooNew`, and `StateUnavailable` when it cannot be opened at all.

        Of one that can be read everything ends up in the file itself: nothing of it is left beside it.
        """
        return await asyncio.to_thread(_inspect, self.path)

    async def build(self, state: Rebuilt) -> None:
        """Write the whole state into a file beside; what an attempt that was killed left of one is thrown away."""
        for suffix in ("", *BESIDE):
            with _in_the_folder(self._new):
                _beside(self._new, suffix).unlink(missing_ok=True)
        store = await asyncio.to_thread(SqliteStore.open, self._new)
        try:
            await store.rebuild(state)
        finally:
            await store.close()

    async def set_aside(self) -> str | None:
        """Give the old file another name, with the time in it; None when there is none."""
        kept = await asyncio.to_thread(_set_aside, self.path)
        return None if kept is None else str(kept)

    async def take_place(self) -> None:
        """The file built becomes the state file, in one step."""
        await asyncio.to_thread(_take_place, self._new, self.path)


def _inspect(path: Path) -> Found:
    if not path.exists() or path.stat().st_size == 0:
        return Found(exists=path.exists())
    try:
        db = connect(path)
        try:
            prepare(db, path)
            with translated(path):
                return _read(db, path)
        finally:
            db.conn.close()
    except StateCorrupt as error:
        return Found(damage=error.message)


def _read(db: Database, path: Path) -> Found:
    wrong = str(db.conn.execute("pragma integrity_check(1)").fetchone()[0])
    if wrong != "ok":
        return Found(damage=f"state file `{path}` is damaged: {wrong.splitlines()[-1]}")
    missing = _tables() - set(db.table_names())
    if missing:
        return Found(damage=f"state file `{path}` is damaged: no table `{min(missing)}`")
    db.conn.execute("pragma wal_checkpoint(truncate)").fetchall()
    rows = db.conn.execute("select (select count(*) from members) + (select count(*) from indexes)").fetchone()[0]
    return Found(cluster=read_cluster(db), blank=not rows, newest=read_newest_numbers(db))


def _tables() -> set[str]:
    """The names of all tables that a state file has."""
    db = Database(memory=True)
    try:
        migrations.apply(db)
        return set(db.table_names())
    finally:
        db.conn.close()


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _set_aside(path: Path) -> Path | None:
    with _in_the_folder(path):
        there = [suffix for suffix in ("", *BESIDE) if _beside(path, suffix).exists()]
        if not there:
            return None
        kept = _free_name(path)
        for suffix in there:
            _second_name(_beside(path, suffix), _beside(kept, suffix))
        _sync(path.parent)
        for suffix in BESIDE:
            _beside(path, suffix).unlink(missing_ok=True)
        _sync(path.parent)
    return kept if "" in there else None


def _free_name(path: Path) -> Path:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    number = 1
    while True:
        kept = _beside(path, f".{stamp}{'' if number == 1 else f'-{number}'}.old")
        if not any(_beside(kept, suffix).exists() for suffix in ("", *BESIDE)):
            return kept
        number += 1


def _second_name(path: Path, other: Path) -> None:
    """The same content under another name as well; a copy where the file system has no links."""
    try:
        os.link(path, other)
    except OSError:
        shutil.copy2(path, other)


def _take_place(new: Path, path: Path) -> None:
    with _in_the_folder(path):
        if any(_beside(new, suffix).exists() for suffix in BESIDE):
            raise StateUnavailable(f"new state file `{new}` is open elsewhere", hint="run the same command again")
        _sync(new)
        os.replace(new, path)
        _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _in_the_folder(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StateUnavailable(
            f"state file `{path}` cannot be replaced: {error.strerror}",
            hint="check the owner, the mode and the free space of its folder, then run the same command again",
        ) from error
