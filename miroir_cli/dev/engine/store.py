"""What survives a kill: documents, settings, tasks and keys in one SQLite file."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS tasks (uid INTEGER PRIMARY KEY, record BLOB NOT NULL, payload BLOB);
CREATE TABLE IF NOT EXISTS indexes (uid TEXT PRIMARY KEY, record BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS documents (
    index_uid TEXT NOT NULL, number INTEGER NOT NULL, id TEXT NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (index_uid, number)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS keys (uid TEXT PRIMARY KEY, record BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB NOT NULL);
"""
_TABLES = ("tasks", "indexes", "documents", "keys", "meta")


class Store:
    """One connection behind a lock; every method is one transaction unless inside `transaction`."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(directory / "engine.db", check_same_thread=False, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.executescript(_SCHEMA)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make the writes inside all or nothing."""
        with self._lock:
            if self._connection.in_transaction:
                yield
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def wipe(self) -> None:
        """Forget everything, as an empty disk would."""
        with self.transaction():
            for table in _TABLES:
                self._connection.execute(f"DELETE FROM {table}")

    def put_record(self, table: str, key: str | int, record: Any, payload: bytes | None = None) -> None:
        """Insert or replace one row of `tasks`, `indexes` or `keys`; tasks keep a payload beside."""
        with self.transaction():
            if table == "tasks":
                values = (key, msgspec.json.encode(record), payload)
                self._connection.execute("INSERT OR REPLACE INTO tasks VALUES (?, ?, ?)", values)
            else:
                row = (key, msgspec.json.encode(record))
                self._connection.execute(f"INSERT OR REPLACE INTO {table} VALUES (?, ?)", row)

    def update_task(self, uid: int, record: Any) -> None:
        """Replace a task's record and leave its payload."""
        with self.transaction():
            row = (msgspec.json.encode(record), uid)
            self._connection.execute("UPDATE tasks SET record = ? WHERE uid = ?", row)

    def delete_record(self, table: str, keys: Iterable[str | int]) -> None:
        """Delete rows of `tasks`, `indexes` or `keys`."""
        with self.transaction():
            self._connection.executemany(f"DELETE FROM {table} WHERE uid = ?", [(key,) for key in keys])

    def records(self, table: str) -> list[Any]:
        """Return all records of a table in key order."""
        with self._lock:
            rows = self._connection.execute(f"SELECT record FROM {table} ORDER BY uid").fetchall()
        return [msgspec.json.decode(record) for (record,) in rows]

    def payload(self, uid: int) -> bytes:
        """Return the payload of a task that has not run yet."""
        with self._lock:
            row = self._connection.execute("SELECT payload FROM tasks WHERE uid = ?", (uid,)).fetchone()
        return bytes(row[0]) if row and row[0] is not None else b"[]"

    def documents(self, index_uid: str) -> list[tuple[int, str, bytes]]:
        """Return (number, id, body) of an index in number order."""
        query = "SELECT number, id, body FROM documents WHERE index_uid = ? ORDER BY number"
        with self._lock:
            return self._connection.execute(query, (index_uid,)).fetchall()

    def put_documents(self, index_uid: str, rows: Iterable[tuple[int, str, bytes]]) -> None:
        """Insert or replace documents."""
        with self.transaction():
            values = [(index_uid, *row) for row in rows]
            self._connection.executemany("INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?)", values)

    def delete_documents(self, index_uid: str, numbers: Iterable[int] | None = None) -> None:
        """Delete documents by number, or all of an index."""
        with self.transaction():
            if numbers is None:
                self._connection.execute("DELETE FROM documents WHERE index_uid = ?", (index_uid,))
            else:
                rows = [(index_uid, number) for number in numbers]
                query = "DELETE FROM documents WHERE index_uid = ? AND number = ?"
                self._connection.executemany(query, rows)

    def rename_index(self, old: str, new: str) -> None:
        """Move an index's rows to another uid."""
        with self.transaction():
            self._connection.execute("UPDATE documents SET index_uid = ? WHERE index_uid = ?", (new, old))
            self._connection.execute("UPDATE indexes SET uid = ? WHERE uid = ?", (new, old))

    def value(self, name: str, default: Any) -> Any:
        """Return one named value."""
        with self._lock:
            row = self._connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return msgspec.json.decode(row[0]) if row else default

    def put_value(self, name: str, value: Any) -> None:
        """Set one named value."""
        with self.transaction():
            row = (name, msgspec.json.encode(value))
            self._connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", row)
