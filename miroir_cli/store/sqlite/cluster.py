"""Cluster, members, indexes and placements as rows."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from miroir_cli.model import Index, IndexMap, IndexUid, Json, NodeName, Replica, ReplicaState, ShardId, StoredUid
from miroir_cli.store.marking import marked
from miroir_cli.store.naming import free_among
from miroir_cli.store.records import (
    ClusterRecord,
    Creation,
    Deletion,
    InSync,
    Marked,
    Member,
    Newest,
    Progress,
)
from miroir_cli.store.refusals import exists_already, name_taken
from miroir_cli.store.sqlite.active import require_active

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
    row = db.conn.execute("select name, cluster_id, epoch, renamed from cluster").fetchone()
    return ClusterRecord(name=row[0], id=row[1], epoch=row[2], renamed=row[3]) if row else None


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


def read_progress(db: Database, uid: str) -> Progress | None:
    row = db.conn.execute(
        "select cluster.epoch, incarnation, settled from indexes, cluster where uid = ? and state = 'active'", [uid]
    ).fetchone()
    return Progress(epoch=row[0], incarnation=row[1], settled=row[2]) if row else None


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


INDEX_COLUMNS = (
    "uid, incarnation, primary_key, shards, replicas, own_replicas, tie_break, settings, created_at, stored_as"
)


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
        stored_as=StoredUid(row[9]),
    )


def index_row(index: Index) -> list[Any]:
    """The values of `INDEX_COLUMNS`."""
    return [
        index.uid,
        index.incarnation,
        index.primary_key,
        index.shards,
        index.replicas,
        int(index.own_replicas),
        int(index.tie_break),
        to_json(index.settings),
        index.created_at,
        index.stored_as,
    ]


def read_indexes(db: Database) -> tuple[Index, ...]:
    rows = db.conn.execute(f"select {INDEX_COLUMNS} from indexes where state = 'active' order by uid")
    return tuple(_index_of(row) for row in rows)


def read_index(db: Database, uid: str, *, state: str = "active") -> Index | None:
    row = db.conn.execute(f"select {INDEX_COLUMNS} from indexes where uid = ? and state = ?", [uid, state]).fetchone()
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


def read_maps(db: Database) -> tuple[IndexMap, ...]:
    """The maps of all indexes, as of one moment: call it inside a transaction."""
    return tuple(map for index in read_indexes(db) if (map := read_map(db, index.uid)) is not None)


def read_in_sync(db: Database, uid: str) -> InSync:
    nodes: dict[ShardId, set[NodeName]] = {}
    for shard, node in db.conn.execute("select shard, node from placements where uid = ? and state = 'serving'", [uid]):
        nodes.setdefault(ShardId(shard), set()).add(NodeName(node))
    return {shard: frozenset(names) for shard, names in nodes.items()}


def next_incarnation(db: Database) -> int:
    """A number above those of all indexes that there ever were: none of them, and nothing sent to the nodes for one,
    passes for another, whatever they were called and are called."""
    return int(db.conn.execute("select coalesce(max(incarnation), 0) + 1 from indexes").fetchone()[0])


def free_name(db: Database, uid: str) -> StoredUid:
    """What a new index is to be called on the nodes: its uid, unless one that was renamed is called so there."""
    return free_among(_names_on_nodes(db), uid)


def _names_on_nodes(db: Database) -> set[str]:
    return {row[0] for row in db.conn.execute("select stored_as from indexes where state != 'deleted'")}


def begin_creation(db: Database, index: Index, *, nodes: Mapping[NodeName, int]) -> Index:
    row = db.conn.execute("select state from indexes where uid = ?", [index.uid]).fetchone()
    if row and row[0] != "deleted":
        raise exists_already(index.uid)
    if index.stored_as in _names_on_nodes(db):
        raise name_taken(index)
    beginning = replace(index, incarnation=next_incarnation(db), created_at=now())
    db.execute(
        f"insert or replace into indexes ({INDEX_COLUMNS}, state, creating, settled) "
        "values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'creating', ?, 0)",
        [*index_row(beginning), to_json(nodes)],
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
    """The index is there from now on. What another has ended is as it has become; raises `IndexNotFound` or
    `IndexRenamed` when nothing of it is there to end."""
    begun = read_index(db, index.uid, state="creating")
    if begun is None or begun.incarnation != index.incarnation:
        require_active(db, index)
    else:
        _place(db, index, placement, bases)
    found = read_map(db, index.uid)
    assert found is not None
    return found


def _place(
    db: Database, index: Index, placement: Mapping[ShardId, frozenset[NodeName]], bases: Mapping[NodeName, int]
) -> None:
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
    for table in ("node_settings_version", "cdc_cursors", "search_ui_config"):
        db.execute(f"delete from {table} where index_uid = ?", [uid])
    db.execute("update indexes set frozen = null where uid = ?", [uid])
    raise_epoch(db)


def save_settings(db: Database, uid: str, settings: Json) -> None:
    db.execute("update indexes set settings = ? where uid = ?", [to_json(settings), uid])
    raise_epoch(db)


def save_primary_key(db: Database, uid: str, key: str) -> None:
    db.execute("update indexes set primary_key = ? where uid = ?", [key, uid])
    raise_epoch(db)


def freeze(db: Database, index: Index, reason: str | None) -> None:
    """Let an index take no documents any more, for this reason; None: let it take them again."""
    db.execute(
        "update indexes set frozen = ? where uid = ? and incarnation = ?", [reason, index.uid, index.incarnation]
    )


def read_frozen(db: Database) -> dict[str, str]:
    """The indexes that take no documents, with the reasons."""
    return dict(db.conn.execute("select uid, frozen from indexes where frozen is not null and state = 'active'"))


def note_settings(db: Database, index: Index, nodes: Iterable[NodeName], version: int) -> None:
    """These nodes were seen to have the settings of this version: the number of the intent that made them."""
    if not _is_current(db, index):
        return
    db.conn.executemany(
        "insert into node_settings_version (index_uid, node, version, updated_at) values (?, ?, ?, ?) "
        "on conflict (index_uid, node) do update set version = excluded.version, updated_at = excluded.updated_at",
        [(index.uid, node, version, now()) for node in sorted(nodes)],
    )


def read_settings_versions(db: Database, uid: str) -> dict[NodeName, int]:
    rows = db.conn.execute("select node, version from node_settings_version where index_uid = ?", [uid])
    return {NodeName(row[0]): int(row[1]) for row in rows}


def set_replicas(db: Database, index: Index, replicas: int) -> None:
    """What the index is to have of each shard in each group; its replicas follow by moves."""
    db.execute(
        "update indexes set replicas = ? where uid = ? and incarnation = ?", [replicas, index.uid, index.incarnation]
    )
    raise_epoch(db)


def note_published(db: Database, index: Index, epoch: int) -> None:
    """The nodes were given a copy of the index's map as it was at this epoch."""
    db.execute(
        "update indexes set published = max(published, ?) where uid = ? and incarnation = ?",
        [epoch, index.uid, index.incarnation],
    )


def _is_current(db: Database, index: Index) -> bool:
    """Whether the name of an index still stands for it."""
    row = db.conn.execute("select incarnation from indexes where uid = ?", [index.uid]).fetchone()
    return row is not None and row[0] == index.incarnation


def read_unpublished(db: Database, uid: str) -> bool:
    """Whether a replica has changed since the nodes were given a copy of the map."""
    row = db.conn.execute(
        "select 1 from placements join indexes using (uid) where uid = ? and since > published limit 1", [uid]
    ).fetchone()
    return row is not None


def mark(
    db: Database,
    uid: str,
    replicas: Mapping[NodeName, Iterable[ShardId]],
    *,
    state: ReplicaState,
    incarnation: int | None = None,
) -> Marked:
    """Take replicas out of service: stale ones from among those in sync, lost ones whatever they were.

    `incarnation`: that of the index that is meant; nothing is marked when its name stands for another one now.
    """
    row = db.conn.execute("select incarnation from indexes where uid = ?", [uid]).fetchone()
    if incarnation is not None and (row is None or row[0] != incarnation):
        return Marked(epoch=read_epoch(db))
    found = marked(read_in_sync(db, uid), replicas, state=state)
    if not found:
        return Marked(epoch=read_epoch(db))
    epoch = raise_epoch(db)
    db.conn.executemany(
        "update placements set state = ?, since = ? where uid = ? and shard = ? and node = ? and state != ?",
        [(state.value, epoch, uid, shard, node, state.value) for node, shards in found.items() for shard in shards],
    )
    return Marked(epoch=epoch, stale=found)


def lose(db: Database, node: NodeName) -> tuple[IndexUid, ...]:
    """A node's disk is gone, and with it all replicas there; the indexes of which it had one."""
    rows = db.conn.execute(
        "select distinct uid from placements join indexes using (uid) where node = ? and indexes.state = 'active' "
        "and placements.state not in ('lost', 'leaving') order by uid",
        [node],
    ).fetchall()
    if rows:
        db.execute(
            "update placements set state = 'lost', since = ? where node = ? and state not in ('lost', 'leaving') "
            "and uid in (select uid from indexes where state = 'active')",
            [raise_epoch(db), node],
        )
    return tuple(IndexUid(row[0]) for row in rows)


def read_newest_numbers(db: Database) -> tuple[Newest, ...]:
    """The number of the newest intent of each index, in the order of their uids."""
    rows = db.conn.execute(
        "select uid, stored_as, incarnation, max(settled, coalesce((select max(n) from intents where "
        "intents.uid = indexes.uid and intents.incarnation = indexes.incarnation), 0)) "
        "from indexes where state = 'active' order by uid"
    )
    return tuple(
        Newest(uid=IndexUid(row[0]), stored_as=StoredUid(row[1]), incarnation=row[2], n=row[3]) for row in rows
    )
