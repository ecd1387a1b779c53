"""Replicas that join, switch and leave, as rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from miroir_cli.model import Index, NodeName, ReplicaState, ShardId
from miroir_cli.store.journal import Mover
from miroir_cli.store.moving import before_filling, given_up
from miroir_cli.store.records import Marked
from miroir_cli.store.sqlite.active import newest_number, require_active, unsettled
from miroir_cli.store.sqlite.changes import forget_changes, register
from miroir_cli.store.sqlite.cluster import from_json, raise_epoch, read_in_sync

if TYPE_CHECKING:
    from sqlite_utils import Database

_WHERE = "where uid = ? and shard = ? and node = ?"


def _row(db: Database, index: Index, shard: ShardId, node: NodeName) -> tuple[Any, ...] | None:
    found: tuple[Any, ...] | None = db.conn.execute(
        f"select state, was, nonce from placements {_WHERE}", [index.uid, shard, node]
    ).fetchone()
    return found


def join(
    db: Database, index: Index, shard: ShardId, node: NodeName, *, nonce: str, top: int
) -> tuple[int, ReplicaState | None]:
    """Begin to fill a replica (rule M1). From here on intents name the keys that they write to the shard.

    Returns the newest intent, and what the replica was before (None: not there). A serving replica stays as it is.
    """
    newest = newest_number(db, index, require_active(db, index))
    row = _row(db, index, shard, node)
    if row is not None and row[0] == ReplicaState.SERVING:
        return newest, ReplicaState.SERVING
    was = _was(row)
    begin_lane(db, index, node, top=top)
    register(db, index, node, (shard,), nonce=nonce)
    db.execute(
        "insert or replace into placements (uid, shard, node, state, since, was, nonce) values (?, ?, ?, ?, ?, ?, ?)",
        [index.uid, shard, node, ReplicaState.JOINING.value, raise_epoch(db), was, nonce],
    )
    return newest, was


def _was(row: tuple[Any, ...] | None) -> ReplicaState | None:
    """What a replica was before somebody began to fill it."""
    if row is None:
        return None
    state, was, nonce = row
    return before_filling(ReplicaState(state), None if was is None else ReplicaState(was), nonce)


def begin_lane(db: Database, index: Index, node: NodeName, *, top: int) -> None:
    """Begin to look at a node's tasks behind `top`, unless a replica of the index serves there already."""
    serving = db.conn.execute(
        "select 1 from placements where uid = ? and node = ? and state = 'serving' limit 1", [index.uid, node]
    ).fetchone()
    if serving:
        return
    for table in ("pieces", "foreign_tasks"):
        db.execute(f"delete from {table} where uid = ? and node = ? and task > ?", [index.uid, node, top])
    db.execute(
        "insert or replace into lanes (uid, node, base, looked) values (?, ?, ?, ?)", [index.uid, node, top + 1, top]
    )


def switch(
    db: Database,
    index: Index,
    shard: ShardId,
    node: NodeName,
    *,
    nonce: str,
    source: NodeName,
    leaving: NodeName | None,
    newest: int,
    base: int,
) -> Marked | None:
    """The joining replica serves from now on, and the replaced one no longer (rule M5); None when something that the
    comparison rests on has changed: the attempt, the source, or a write of the shard that is not settled."""
    settled = require_active(db, index)
    row = _row(db, index, shard, node)
    if row is None or row[0] != ReplicaState.JOINING or row[2] != nonce:
        return None
    if source not in read_in_sync(db, index.uid).get(shard, frozenset()):
        return None
    if newest_number(db, index, settled) != newest or unsettled(db, index, shard, settled=settled):
        return None
    epoch = raise_epoch(db)
    db.execute(
        f"update placements set state = 'serving', since = ?, base = ?, was = null, nonce = null {_WHERE}",
        [epoch, base, index.uid, shard, node],
    )
    if leaving is not None:
        db.execute(
            f"update placements set state = 'leaving', was = state, since = ? {_WHERE}",
            [epoch, index.uid, shard, leaving],
        )
    _look_again(db, index, node, base=base)
    forget_changes(db, index, shard)
    return Marked(epoch=epoch)


def _look_again(db: Database, index: Index, node: NodeName, *, base: int) -> None:
    """Whoever settled looked at the node's tasks for the replicas that served then: those from the base on concern one
    more now."""
    where = "where uid = ? and node = ?"
    db.execute(f"update lanes set looked = min(looked, ?) {where}", [base - 1, index.uid, node])
    db.execute(f"delete from foreign_tasks {where} and task >= ? and own = 0", [index.uid, node, base])


def leave(db: Database, index: Index, shard: ShardId, node: NodeName, *, keep: int) -> bool:
    """Take a replica out of service for good; False when fewer than `keep` in-sync ones would be left."""
    require_active(db, index)
    row = _row(db, index, shard, node)
    if row is None or row[0] == ReplicaState.LEAVING:
        return True
    left = read_in_sync(db, index.uid).get(shard, frozenset()) - {node}
    if row[0] == ReplicaState.SERVING and len(left) < keep:
        return False
    db.execute(
        f"update placements set state = 'leaving', was = state, since = ?, nonce = null {_WHERE}",
        [raise_epoch(db), index.uid, shard, node],
    )
    forget_changes(db, index, shard)
    return True


def unjoin(db: Database, index: Index, shard: ShardId, node: NodeName) -> None:
    """Give up filling a replica: it is what it was before, stale or lost, or on its way out."""
    row = _row(db, index, shard, node)
    if row is None or row[2] is None:
        return
    db.execute(
        f"update placements set state = ?, since = ?, was = null, nonce = null {_WHERE}",
        [given_up(_was(row)).value, raise_epoch(db), index.uid, shard, node],
    )
    forget_changes(db, index, shard)


def begin_forgetting(
    db: Database, index: Index, node: NodeName, shards: Iterable[ShardId], *, nonce: str
) -> tuple[ShardId, ...]:
    """Record which of these shards are about to be deleted from a node (rule M6): those whose replica has left,
    whatever a step of an old run says."""
    require_active(db, index)
    gone = tuple(
        shard
        for shard in shards
        if (row := _row(db, index, shard, node)) is not None and row[0] == ReplicaState.LEAVING
    )
    if gone:
        register(db, index, node, gone, nonce=nonce)
    return gone


def served_until_they_left(db: Database, index: Index, node: NodeName, shards: Iterable[ShardId]) -> bool:
    """Whether all of these replicas, which have left, were in sync until then: nothing is on its way to them but what
    writers have seen answered."""
    for shard in shards:
        row = _row(db, index, shard, node)
        if row is not None and row[0] == ReplicaState.LEAVING and row[1] != ReplicaState.SERVING:
            return False
    return True


def forget(db: Database, index: Index, node: NodeName, shards: Iterable[ShardId]) -> None:
    """The documents of replicas that left are gone from their node."""
    for shard in shards:
        db.execute(f"delete from placements {_WHERE} and state = 'leaving'", [index.uid, shard, node])
    db.execute(
        "delete from lanes where uid = ? and node = ? and not exists "
        "(select 1 from placements p where p.uid = lanes.uid and p.node = lanes.node)",
        [index.uid, node],
    )
    raise_epoch(db)


def promote(db: Database, index: Index, shard: ShardId, node: NodeName, *, top: int) -> None:
    """Take whatever a node has of a shard as its truth, because the operator accepts what is lost by it. What others
    had in sync is stale from now on."""
    require_active(db, index)
    begin_lane(db, index, node, top=top)
    epoch = raise_epoch(db)
    db.execute(
        "update placements set state = 'stale', since = ? where uid = ? and shard = ? and state = 'serving'",
        [epoch, index.uid, shard],
    )
    db.execute(
        "insert or replace into placements (uid, shard, node, state, since, base) values (?, ?, ?, 'serving', ?, ?)",
        [index.uid, shard, node, epoch, top + 1],
    )


def was_addressed(db: Database, uid: str, node: NodeName) -> bool:
    """Whether anything of an index may ever have been sent to a node: all of it is recorded before it is sent."""
    return any(
        db.conn.execute(f"select 1 from {table} where uid = ? and node = ? limit 1", [uid, node]).fetchone()
        for table in ("placements", "lanes", "targets", "pieces", "movers")
    )


def expel(db: Database, node: NodeName) -> None:
    """The node is no member any more; what it held is forgotten."""
    for table in ("placements", "lanes"):
        db.execute(f"delete from {table} where node = ?", [node])
    db.execute("delete from members where name = ?", [node])
    raise_epoch(db)


# -- tasks of moves


def read_movers(db: Database, uid: str) -> dict[str, Mover]:
    rows = db.conn.execute("select nonce, node, shards from movers where uid = ?", [uid])
    return {row[0]: Mover(node=NodeName(row[1]), shards=frozenset(map(ShardId, from_json(row[2])))) for row in rows}


def read_bases(db: Database, uid: str) -> dict[tuple[NodeName, ShardId], int]:
    rows = db.conn.execute(
        "select node, shard, base from placements where uid = ? and state = 'serving' and base > 0", [uid]
    )
    return {(NodeName(row[0]), ShardId(row[1])): row[2] for row in rows}


def account(db: Database, index: Index, node: NodeName, tasks: Iterable[int]) -> None:
    """These tasks are miroir's own although no intent carries them (settings of a node that joins)."""
    require_active(db, index)
    db.conn.executemany(
        "insert or replace into foreign_tasks (uid, node, task, own) values (?, ?, ?, 1)",
        [(index.uid, node, task) for task in tasks],
    )


def read_accounted(db: Database, uid: str, node: NodeName, *, above: int) -> frozenset[int]:
    rows = db.conn.execute(
        "select task from pieces where uid = ? and node = ? and task > ? "
        "union select task from foreign_tasks where uid = ? and node = ? and task > ? and own = 1",
        [uid, node, above, uid, node, above],
    )
    return frozenset(row[0] for row in rows)
