"""The clients' API keys as rows. Their values are not among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from miroir_cli.store.records import ApiKey
from miroir_cli.store.sqlite.cluster import from_json, to_json

if TYPE_CHECKING:
    from sqlite_utils import Database

_COLUMNS = "uid, name, description, actions, indexes, expires_at, created_at, updated_at, deleted"


def read_keys(db: Database) -> tuple[ApiKey, ...]:
    """All keys, the newest first; deleted ones too."""
    rows = db.conn.execute(f"select {_COLUMNS} from api_keys order by created_at desc, uid")
    return tuple(
        ApiKey(
            uid=row[0],
            name=row[1],
            description=row[2],
            actions=tuple(from_json(row[3])),
            indexes=tuple(from_json(row[4])),
            expires_at=row[5],
            created_at=row[6],
            updated_at=row[7],
            deleted=bool(row[8]),
        )
        for row in rows
    )


def begin_keys(db: Database, keys: Sequence[ApiKey]) -> None:
    """Write the first keys, unless another process did so before."""
    if db.conn.execute("select 1 from api_keys where not deleted limit 1").fetchone() is None:
        for key in keys:
            _put(db, key)


def add_key(db: Database, key: ApiKey) -> bool:
    """Write a new key; False when there is one with its uid."""
    if db.conn.execute("select 1 from api_keys where uid = ? and not deleted", [key.uid]).fetchone():
        return False
    _put(db, key)
    return True


def save_key(db: Database, key: ApiKey) -> bool:
    """Change a key, or mark it as deleted; False when it is gone already."""
    if db.conn.execute("select 1 from api_keys where uid = ? and not deleted", [key.uid]).fetchone() is None:
        return False
    _put(db, key)
    return True


def _put(db: Database, key: ApiKey) -> None:
    db.execute(
        f"insert or replace into api_keys ({_COLUMNS}) values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            key.uid,
            key.name,
            key.description,
            to_json(key.actions),
            to_json(key.indexes),
            key.expires_at,
            key.created_at,
            key.updated_at,
            int(key.deleted),
        ],
    )
