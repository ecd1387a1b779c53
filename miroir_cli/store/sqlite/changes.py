"""What is written to a shard while somebody copies it, as rows: a replica that joins, or a copy that is no replica."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from miroir_cli.model import Index, NodeName, ShardId
from miroir_cli.store.journal import Changes
from miroir_cli.store.moving import CHANGES_PAGE, WATCH_LEASE, WATCHER
from miroir_cli.store.sqlite.active import newest_number, require_active, unsettled
from miroir_cli.store.sqlite.cluster import from_json, now, read_in_sync, to_json

if TYPE_CHECKING:
    from sqlite_utils import Database

    from miroir_cli.store.records import KeysOf


def register(db: Database, index: Index, node: NodeName, shards: Iterable[ShardId], *, nonce: str) -> None:
    db.execute(
        "insert into movers (nonce, uid, node, shards, created_at) values (?, ?, ?, ?, ?)",
        [nonce, index.uid, node, to_json(sorted(shards)), now()],
    )


def log_changes(db: Database, index: Index, n: int, shards: Iterable[ShardId], keys: KeysOf | None) -> None:
    """Note what an intent writes to shards of which a replica is joining, or that somebody watches: their keys, or that
    they are not known."""
    rows = db.conn.execute(
        "select distinct shard from placements where uid = ? and state = 'joining'", [index.uid]
    ).fetchall()
    wanted = {ShardId(row[0]) for row in rows} | _watched(db, index.uid)
    for shard in sorted(wanted & set(shards)):
        named = None if keys is None else to_json(sorted(set(keys(ShardId(shard)))))
        db.execute(
            "insert into changes (uid, incarnation, n, shard, keys) values (?, ?, ?, ?, ?)",
            [index.uid, index.incarnation, n, shard, named],
        )


def read_changes(db: Database, uid: str, shard: ShardId, *, above: int) -> tuple[Changes, int | None]:
    """The next writes above a number, and the last number read; None at the end."""
    rows = db.conn.execute(
        "select n, keys from changes where uid = ? and shard = ? and n > ? "
        "and incarnation = (select incarnation from indexes where uid = changes.uid) order by n limit ?",
        [uid, shard, above, CHANGES_PAGE],
    ).fetchall()
    named = [from_json(row[1]) for row in rows if row[1] is not None]
    changes = Changes(keys=frozenset(key for keys in named for key in keys), sweep=len(named) < len(rows))
    return changes, rows[-1][0] if len(rows) == CHANGES_PAGE else None


def forget_changes(db: Database, index: Index, shard: ShardId) -> None:
    """Nobody needs the log of a shard of which no replica is joining, and that nobody watches."""
    if shard in _watched(db, index.uid):
        return
    db.execute(
        "delete from changes where uid = ? and shard = ? and not exists (select 1 from placements p "
        "where p.uid = changes.uid and p.shard = changes.shard and p.state = 'joining')",
        [index.uid, shard],
    )


# -- watches: a copy of a shard that is no replica, such as a backup, wants to know what is written meanwhile


def _watched(db: Database, uid: str) -> set[ShardId]:
    rows = db.conn.execute(
        "select shards from movers where uid = ? and node = ? and created_at > ?", [uid, WATCHER, now() - WATCH_LEASE]
    )
    return {ShardId(shard) for row in rows for shard in from_json(row[0])}


def watch(db: Database, index: Index, shard: ShardId, *, nonce: str) -> int:
    """From here on intents name the keys that they write to the shard; the newest one before. Watches of processes that
    died are taken away."""
    newest = newest_number(db, index, require_active(db, index))
    over = [index.uid, WATCHER, now() - WATCH_LEASE]
    rows = db.conn.execute("select shards from movers where uid = ? and node = ? and created_at <= ?", over).fetchall()
    db.execute("delete from movers where uid = ? and node = ? and created_at <= ?", over)
    for left in {ShardId(each) for row in rows for each in from_json(row[0])}:
        forget_changes(db, index, left)
    register(db, index, NodeName(WATCHER), (shard,), nonce=nonce)
    return newest


def renew_watch(db: Database, nonce: str) -> bool:
    """Say that the watcher lives; False when the watch is over, and changes were not noted."""
    changed = db.conn.execute(
        "update movers set created_at = ? where nonce = ? and node = ? and created_at > ?",
        [now(), nonce, WATCHER, now() - WATCH_LEASE],
    )
    return bool(changed.rowcount)


def is_still(db: Database, index: Index, shard: ShardId, *, nonce: str, source: NodeName, newest: int) -> bool:
    """Whether the watch has held until now, the source is in sync, and every write of the shard up to the newest one
    has ended."""
    settled = require_active(db, index)
    holds = db.conn.execute(
        "select 1 from movers where nonce = ? and node = ? and created_at > ?", [nonce, WATCHER, now() - WATCH_LEASE]
    ).fetchone()
    return (
        holds is not None
        and source in read_in_sync(db, index.uid).get(shard, frozenset())
        and newest_number(db, index, settled) == newest
        and not unsettled(db, index, shard, settled=settled)
    )


def unwatch(db: Database, index: Index, shard: ShardId, *, nonce: str) -> None:
    """Nobody needs to know any more."""
    db.execute("delete from movers where nonce = ? and node = ?", [nonce, WATCHER])
    forget_changes(db, index, shard)
