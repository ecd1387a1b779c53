"""Opening the state file, transactions, and SQLite's errors in miroir's words."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from sqlite_utils import Database

from miroir_cli.errors import MiroirError, StateCorrupt, StateTooNew, StateUnavailable
from miroir_cli.store.sqlite.schema import NEWEST_VERSION, migrations

BUSY_TIMEOUT = 10.0
"""Seconds to wait for another process's transaction."""


def connect(path: Path, *, busy_timeout: float = BUSY_TIMEOUT) -> Database:
    """Open the state file without changing its tables. When missing it is made, readable by its owner alone:
    settings may hold the keys of embedders."""
    with translated(path):
        with suppress(OSError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        connection = sqlite3.connect(path, timeout=busy_timeout, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("pragma synchronous = full")
            connection.execute("pragma foreign_keys = on")
            return Database(connection)
        except BaseException:
            connection.close()
            raise


def connect_to_read(path: Path, *, busy_timeout: float = BUSY_TIMEOUT) -> Database:
    """Open a state file that is there, in a way that cannot change it.

    What an older miroir has written is read from a copy in memory, brought to the newest version there.
    """
    with translated(path):
        address = f"file:{quote(str(path))}?mode=ro"
        connection = sqlite3.connect(
            address, uri=True, timeout=busy_timeout, isolation_level=None, check_same_thread=False
        )
        try:
            if int(connection.execute("pragma user_version").fetchone()[0]) < NEWEST_VERSION:
                connection = _copy_in_memory(connection)
            db = Database(connection)
            prepare(db, path)
            connection.execute("pragma query_only = on")
            return db
        except BaseException:
            connection.close()
            raise


def _copy_in_memory(original: sqlite3.Connection) -> sqlite3.Connection:
    copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    with closing(original):
        original.backup(copy)
    return copy


def find_damage(db: Database, path: Path) -> str | None:
    """The first thing that SQLite finds wrong with the file; None when nothing, or when it was interrupted."""
    try:
        with translated(path):
            found = str(db.conn.execute("pragma quick_check(1)").fetchone()[0])
    except StateCorrupt as error:
        return error.message
    except StateUnavailable:
        return None
    return None if found == "ok" else f"state file `{path}` is damaged: {found.splitlines()[-1]}"


def prepare(db: Database, path: Path) -> None:
    """Bring the tables to the newest version; refuse a file that a newer miroir has written."""
    with translated(path):
        version = int(db.conn.execute("pragma user_version").fetchone()[0])
        if version > NEWEST_VERSION:
            raise StateTooNew(
                f"state file `{path}` has schema version {version}, this miroir knows {NEWEST_VERSION}",
                hint="upgrade miroir, or point `[state] url` at another file",
            )
        if version == NEWEST_VERSION:
            return
        db.enable_wal()
        with transaction(db, path):
            if int(db.conn.execute("pragma user_version").fetchone()[0]) < NEWEST_VERSION:
                migrations.apply(db)
                db.conn.execute(f"pragma user_version = {NEWEST_VERSION}")


@contextmanager
def transaction(db: Database, path: Path, *, durable: bool = True) -> Iterator[Database]:
    """One write transaction, begun at once so that nothing it read can change under it.

    With `durable` its commit is on the disk when the block ends; without, it may be lost with the power, not with
    the process.
    """
    with translated(path):
        db.conn.execute(f"pragma synchronous = {'full' if durable else 'normal'}")
        db.conn.execute("begin immediate")
        try:
            yield db
            db.conn.execute("commit")
        except BaseException:
            if db.conn.in_transaction:
                db.conn.execute("rollback")
            raise


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """SQLite's exceptions as errors that name the file and the next step."""
    try:
        yield
    except sqlite3.Error as error:
        raise _translate(error, path) from error


def _translate(error: sqlite3.Error, path: Path) -> MiroirError:
    name = getattr(error, "sqlite_errorname", "") or ""
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")) or "no such table" in str(error):
        return StateCorrupt(
            f"state file `{path}` is damaged: {error}",
            hint="run `miroir state recover`: it builds a new one from what the nodes know and keeps this one",
        )
    if name.startswith("SQLITE_FULL"):
        return StateUnavailable(
            f"no space left for state file `{path}`",
            hint="free some space and run the same command again: it resumes",
        )
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StateUnavailable(
            f"state file `{path}` is held by another process for too long",
            hint="end the program that holds it, or wait, and run the same command again",
        )
    if name.startswith("SQLITE_READONLY"):
        return StateUnavailable(
            f"state file `{path}` cannot be written",
            hint="check the owner and the mode of the file and its folder",
        )
    if name.startswith("SQLITE_CANTOPEN"):
        return StateUnavailable(
            f"state file `{path}` cannot be opened",
            hint="check that its folder exists, and run miroir as the user who owns both",
        )
    if name.startswith("SQLITE_IOERR"):
        return StateUnavailable(f"the disk failed under state file `{path}`: {error}", hint="check the disk")
    return StateUnavailable(f"state file `{path}`: {error}")
