"""A look into the state file that takes no lock, makes no file, waits for nobody and may find nothing.

For the shell's completions: what it says may be a moment old, and no other code relies on it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

KINDS: Final = {
    "indexes": (
        "select uid, shards || ' shards, ' || replicas || ' replicas' from indexes where state = 'active' order by uid"
    ),
    "aliases": (
        "select name, 'an alias of ' || coalesce(current_uid, (select group_concat(value, ', ') "
        "from json_each(target_uids))) from aliases order by name"
    ),
    "runs": "select id, title || ', ' || state from runs order by id desc limit 50",
    "commands": "select 'c' || id, line from commands order by id desc limit 50",
}


def glance(path: Path, kinds: Sequence[str]) -> list[tuple[str, str]]:
    """The values of these kinds with a few words about each: none of a file that is not there, nor of a kind that a
    file of an older miroir does not know. Raises `sqlite3.Error` or `OSError`."""
    if not path.is_file():
        return []
    found: list[tuple[str, str]] = []
    with closing(sqlite3.connect(f"file:{quote(str(path))}?{_mode(path)}", uri=True, timeout=0)) as connection:
        for kind in kinds:
            with suppress(sqlite3.OperationalError):
                found += [(str(value), str(about)) for value, about in connection.execute(KINDS[kind])]
    return found


def _mode(path: Path) -> str:
    """Beside a file in use lie its write-ahead log and an index of that, which a reader opens and would make if they
    were missing; without them the file by itself is whole."""
    beside = [Path(f"{path}-wal"), Path(f"{path}-shm")]
    if all(file.exists() for file in beside):
        return "mode=ro&readonly_shm=1"
    return "mode=ro&immutable=1"
