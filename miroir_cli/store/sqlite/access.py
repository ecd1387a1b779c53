"""The two connections to the state file: one that writes, on a thread of its own, and one that reads."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from miroir_cli.errors import StateUnavailable
from miroir_cli.store.sqlite.database import transaction, translated

if TYPE_CHECKING:
    from sqlite_utils import Database

Result = TypeVar("Result")


class Access:
    """What every part of the store is built on."""

    def __init__(self, path: Path, writer: Database, reader: Database) -> None:
        self.path = path
        self._writer = writer
        self._reader = reader
        self._file = _identity(path)
        self._sessions = 0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="miroir-state")

    async def _write(self, change: Callable[[Database], Result], *, durable: bool = True) -> Result:
        def run() -> Result:
            self._check_place()
            with transaction(self._writer, self.path, durable=durable) as db:
                return change(db)

        return await asyncio.get_running_loop().run_in_executor(self._thread, run)

    def _check_place(self) -> None:
        """What is written into a file that was removed or replaced would be lost without anybody noticing."""
        if _identity(self.path) != self._file:
            raise StateUnavailable(
                f"state file `{self.path}` was removed or replaced while this command ran",
                hint="run the same command again; if the file is lost, run `miroir state recover` first",
            )

    def _read(self, look: Callable[[Database], Result]) -> Result:
        """Several reads of one moment."""
        with translated(self.path):
            self._reader.conn.execute("begin")
            try:
                return look(self._reader)
            finally:
                self._reader.conn.execute("rollback")


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file it is that has this name now; None when there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
