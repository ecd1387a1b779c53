"""Which index a name stands for, and how far its writes are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from miroir_cli.model import Index, IndexUid, ShardId
from miroir_cli.store import refusals
from miroir_cli.store.encoding import from_json

if TYPE_CHECKING:
    from sqlite_utils import Database

    from miroir_cli.errors import MiroirError


def require_active(db: Database, index: Index) -> int:
    """How far the index is settled. Raises `IndexNotFound` when it is not there any more, `IndexRenamed` when it has
    another name now."""
    row = db.conn.execute(
        "select incarnation, settled from indexes where uid = ? and state = 'active'", [index.uid]
    ).fetchone()
    if row is None or row[0] != index.incarnation:
        raise gone(db, index)
    return int(row[1])


def gone(db: Database, index: Index) -> MiroirError:
    """Why an index is not to be found under its name any more."""
    return refusals.gone(index, now_called=name_by_content(db, index))


def name_by_content(db: Database, index: Index) -> IndexUid | None:
    """The name that the same index has now, whatever it was called when it was read."""
    row = db.conn.execute(
        "select uid from indexes where stored_as = ? and created_at = ? and state = 'active'",
        [index.stored_as, index.created_at],
    ).fetchone()
    return None if row is None else IndexUid(row[0])


def newest_number(db: Database, index: Index, settled: int) -> int:
    row = db.conn.execute(
        "select max(n) from intents where uid = ? and incarnation = ?", [index.uid, index.incarnation]
    ).fetchone()
    return max(row[0] or 0, settled)


def unsettled(db: Database, index: Index, shard: ShardId, *, settled: int) -> bool:
    """Whether a write of the shard has not ended. Those of other shards say nothing about it."""
    rows = db.conn.execute(
        "select shards from targets where uid = ? and incarnation = ? and n > ?",
        [index.uid, index.incarnation, settled],
    )
    return any(shard in from_json(row[0]) for row in rows)
