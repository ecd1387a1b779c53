"""Cluster, members, indexes and placements as rows."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from miroir_cli.errors import AlreadyExists
from miroir_cli.model import Index, IndexMap, IndexUid, Json, NodeName, Replica, ReplicaState, ShardId
from miroir_cli.store.records import ClusterRecord, Creation, Deletion, InSync, Marked, Member, Rebuilt, RebuiltIndex

if TYPE_CHECKING:
    from sqlite_utils import Database


def to_json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def from_json(text: str) -> Any:
    return msgspec.json.decode(text)


def now() -> int:
    """Milliseconds since 1970, as all times in the store."""
    return time.time_ns() // 1_000_000


def read_cluster(db: Database) -> ClusterRecord | None:
    row = db.conn.execute("select name, cluster_id, epoch from cluster").fetchone()
    return ClusterRecord(name=row[0], id=row[1], epoch=row[2]) if row else None


def found_cluster(db: Database, *, name: str) -> ClusterRecord:
    db.execute(
        "insert or ignore into cluster (id, name, cluster_id, epoch) values (1, ?, ?, 1)",
        [name, uuid.uuid4().hex],
    )
    record = read_cluster(db)
    assert record is not None
    return record


def read_epoch(db: Database) -> int:
    row = db.conn.execute("select epoch from cluster").fetchone()
    return int(row[0]) if row else 0


def raise_epoch(db: Database) -> int:
    db.execute("update cluster set epoch = epoch + 1")
    return read_epoch(db)


def read_members(db: Database) -> dict[NodeName, Member]:
    rows = db.conn.execute("select name, url, top_task from members order by name")
    return {NodeName(row[0]): Member(name=NodeName(row[0]), url=row[1], top_task=row[2]) for row in rows}


def enrol(db: Database, member: Member) -> None:
    db.execute(
        "insert into members (name, url, top_task) values (?, ?, ?) on conflict (name) do update "
        "set url = excluded.url, top_task = excluded.top_task",
        [member.name, member.url, member.top_task],
    )


def raise_top_task(db: Database, node: NodeName, task: int) -> None:
    db.execute("update members set top_task = max(top_task, ?) where name = ?", [task, node])


_INDEX_COLUMNS = "uid, incarnation, primary_key, shards, replicas, own_replicas, tie_break, settings, created_at"


def _index_of(row: tuple[Any, ...]) -> Index:
    return Index(
        uid=IndexUid(row[0]),
        incarnation=row[1],
        primary_key=row[2],
        shards=row[3],
        replicas=row[4],
        own_replicas=bool(row[5]),
        tie_break=bool(row[6]),
        settings=from_json(row[7]),
        created_at=row[8],
    )


def read_indexes(db: Database) -> tuple[Index, ...]:
    rows = db.conn.execute(f"select {_INDEX_COLUMNS} from indexes where state = 'active' order by uid")
    return tuple(_index_of(row) for row in rows)


def read_index(db: Database, uid: str, *, state: str = "active") -> Index | None:
    row = db.conn.execute(f"select {_INDEX_COLUMNS} from indexes where uid = ? and state = ?", [uid, state]).fetchone()
    return _index_of(row) if row else None


def read_map(db: Database, uid: str) -> IndexMap | None:
    """Epoch, index and replicas of one moment: call it inside a transaction."""
    index = read_index(db, uid)
    if index is None:
        return None
    rows = db.conn.execute("select shard, node, state, since from placements where uid = ? order by shard, node", [uid])
    replicas = tuple(
        Replica(shard=ShardId(row[0]), node=NodeName(row[1]), state=ReplicaState(row[2]), since=row[3]) for row in rows
    )
    return IndexMap(epoch=read_epoch(db), index=index, replicas=replicas)


def read_in_sync(db: Database, uid: str) -> InSync:
    nodes: dict[ShardId, set[NodeName]] = {}
    for shard, node in db.conn.execute("select shard, node from placements where uid = ? and state = 'serving'", [uid]):
        nodes.setdefault(ShardId(shard), set()).add(NodeName(node))
    return {shard: frozenset(names) for shard, names in nodes.items()}


def begin_creation(db: Database, index: Index, *, nodes: Mapping[NodeName, int]) -> Index:
    row = db.conn.execute("select incarnation, state from indexes where uid = ?", [index.uid]).fetchone()
    if row and row[1] != "deleted":
        raise AlreadyExists(f"index `{index.uid}` exists already", hint=f"run `miroir index show {index.uid}`")
    incarnation = row[0] + 1 if row else 1
    db.execute(
        f"insert or replace into indexes ({_INDEX_COLUMNS}, state, creating, settled) "
        "values (?, ?, ?, ?, ?, ?, ?, ?, ?, 'creating', ?, 0)",
        [
            index.uid,
            incarnation,
            index.primary_key,
            index.shards,
            index.replicas,
            int(index.own_replicas),
            int(index.tie_break),
            to_json(index.settings),
            now(),
            to_json(nodes),
        ],
    )
    created = read_index(db, index.uid, state="creating")
    assert created is not None
    return created


def read_creation(db: Database, uid: str) -> Creation | None:
    index = read_index(db, uid, state="creating")
    if index is None:
        return None
    row = db.conn.execute("select creating from indexes where uid = ?", [uid]).fetchone()
    return Creation(index=index, nodes=from_json(row[0]))


def finish_creation(
    db: Database,
    index: Index,
    *,
    placement: Mapping[ShardId, frozenset[NodeName]],
    bases: Mapping[NodeName, int],
) -> IndexMap:
    epoch = raise_epoch(db)
    db.execute("update indexes set state = 'active', creating = '{}' where uid = ?", [index.uid])
    db.conn.executemany(
        "insert into placements (uid, shard, node, state, since) values (?, ?, ?, 'serving', ?)",
        [(index.uid, shard, node, epoch) for shard, nodes in placement.items() for node in sorted(nodes)],
    )
    db.conn.executemany(
        "insert into lanes (uid, node, base, looked) values (?, ?, ?, ?)",
        [(index.uid, node, base, base - 1) for node, base in bases.items()],
    )
    found = read_map(db, index.uid)
    assert found is not None
    return found


def begin_deletion(db: Database, index: Index) -> None:
    """From here on the index is nobody's to read or write; its placement stays for those who delete it."""
    db.execute(
        "update indexes set state = 'deleting' where uid = ? and incarnation = ? and state = 'active'",
        [index.uid, index.incarnation],
    )
    raise_epoch(db)


def read_deletion(db: Database, uid: str) -> Deletion | None:
    index = read_index(db, uid, state="deleting")
    if index is None:
        return None
    rows = db.conn.execute("select distinct node from placements where uid = ? order by node", [uid])
    return Deletion(index=index, nodes=tuple(NodeName(row[0]) for row in rows))


def read_interrupted(db: Database) -> dict[str, str]:
    """Indexes whose creation or deletion has begun and not ended: `creating` or `deleting` by uid."""
    rows = db.conn.execute("select uid, state from indexes where state in ('creating', 'deleting') order by uid")
    return {row[0]: row[1] for row in rows}


def forget_index(db: Database, uid: str) -> None:
    """Everything of the index but its incarnation, which its successor must exceed."""
    db.execute("update indexes set state = 'deleted', creating = '{}' where uid = ?", [uid])
    for table in ("placements", "lanes", "intents", "targets", "pieces", "foreign_tasks", "changes", "movers"):
        db.execute(f"delete from {table} where uid = ?", [uid])
    db.execute("delete from imports where uid = ?", [uid])
    raise_epoch(db)


def save_settings(db: Database, uid: str, settings: Json) -> None:
    db.execute("update indexes set settings = ? where uid = ?", [to_json(settings), uid])
    raise_epoch(db)


def set_replicas(db: Database, uid: str, replicas: int) -> None:
    """What the index is to have of each shard in each group; its replicas follow by moves."""
    db.execute("update indexes set replicas = ? where uid = ?", [replicas, uid])
    raise_epoch(db)


def note_published(db: Database, uid: str, epoch: int) -> None:
    """The nodes were given a copy of the index's map as it was at this epoch."""
    db.execute("update indexes set published = max(published, ?) where uid = ?", [epoch, uid])


def read_unpublished(db: Database, uid: str) -> bool:
    """Whether a replica has changed since the nodes were given a copy of the map."""
    row = db.conn.execute(
        "select 1 from placements join indexes using (uid) where uid = ? and since > published limit 1", [uid]
    ).fetchone()
    return row is not None


def mark(db: Database, uid: str, replicas: Mapping[NodeName, Iterable[ShardId]], *, state: ReplicaState) -> Marked:
    """Take replicas out of service: stale ones from among those in sync, lost ones whatever they were.

    The last in-sync replica of a shard is never marked stale; it may be lost.
    """
    epoch = read_epoch(db) + 1
    marked: dict[NodeName, set[ShardId]] = {}
    in_sync = {shard: set(nodes) for shard, nodes in read_in_sync(db, uid).items()}
    for node in sorted(replicas):
        for shard in sorted(replicas[node]):
            serving = in_sync.get(shard, set())
            if state is ReplicaState.STALE and (node not in serving or len(serving) == 1):
                continue
            serving.discard(node)
            db.execute(
                "update placements set state = ?, since = ? where uid = ? and shard = ? and node = ? and state != ?",
                [state.value, epoch, uid, shard, node, state.value],
            )
            marked.setdefault(node, set()).add(shard)
    if marked:
        raise_epoch(db)
    return Marked(epoch=read_epoch(db), stale={node: frozenset(shards) for node, shards in marked.items()})


def read_newest_numbers(db: Database) -> dict[str, tuple[int, int]]:
    """For each index its incarnation and the number of its newest intent."""
    rows = db.conn.execute(
        "select uid, incarnation, max(settled, coalesce((select max(n) from intents where intents.uid = indexes.uid "
        "and intents.incarnation = indexes.incarnation), 0)) from indexes where state = 'active'"
    )
    return {row[0]: (row[1], row[2]) for row in rows}


def rebuild(db: Database, state: Rebuilt) -> None:
    """Write a whole state into a store that is empty."""
    record = state.cluster
    db.execute(
        "insert into cluster (id, name, cluster_id, epoch) values (1, ?, ?, ?)", [record.name, record.id, record.epoch]
    )
    for member in state.members:
        enrol(db, member)
    for found in state.indexes:
        _rebuild_index(db, found)
    db.conn.executemany(
        f"insert into indexes ({_INDEX_COLUMNS}, state) values (?, ?, '', 0, 0, 0, 1, '{{}}', 0, 'deleted')",
        sorted(state.deleted.items()),
    )


def _rebuild_index(db: Database, found: RebuiltIndex) -> None:
    index = found.index
    db.execute(
        f"insert into indexes ({_INDEX_COLUMNS}, state, settled) values (?, ?, ?, ?, ?, ?, ?, ?, ?, 'active', ?)",
        [
            index.uid,
            index.incarnation,
            index.primary_key,
            index.shards,
            index.replicas,
            int(index.own_replicas),
            int(index.tie_break),
            to_json(index.settings),
            index.created_at,
            found.newest,
        ],
    )
    db.conn.executemany(
        "insert into placements (uid, shard, node, state, since) values (?, ?, ?, ?, ?)",
        [(index.uid, replica.shard, replica.node, replica.state.value, replica.since) for replica in found.replicas],
    )
    db.conn.executemany(
        "insert into lanes (uid, node, base, looked) values (?, ?, ?, ?)",
        [(index.uid, node, top + 1, top) for node, top in found.tops.items()],
    )
