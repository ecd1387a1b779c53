"""What every node keeps of the state, for the day that the store is lost: how it is written, and which is the newest.

In its index `_miroir` a node has a marker (whose disk this is, and the newest epoch that was told to it), and for each
index a copy: definition, settings and placement at an epoch. A deleted index leaves a tombstone in the place of its
copy, for a node that was down meanwhile still has the copy and would bring the index back. All aliases are in one
document more, of which the newest counts. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from miroir_cli.model import MARKER, Index, IndexMap, IndexUid, NodeName, Replica, ReplicaState, ShardId, StoredUid
from miroir_cli.store.aliases import Alias, alias_of

if TYPE_CHECKING:
    from miroir_cli.store.records import ClusterRecord, Copies

ALIASES = "aliases"

KEPT_TOMBSTONES = 1000
"""On each node; older ones are of use only for a node that has been down for as many deletions."""


def marker_document(record: ClusterRecord, node: NodeName) -> dict[str, Any]:
    return {
        "id": MARKER,
        "name": record.name,
        "cluster_id": record.id,
        "node": node,
        "epoch": record.epoch,
    }


def copy_document(record: ClusterRecord, map: IndexMap) -> dict[str, Any]:
    index = map.index
    return {
        "id": f"index-{index.uid}",
        "cluster_id": record.id,
        "epoch": map.epoch,
        "uid": index.uid,
        "stored_as": index.stored_as,
        "incarnation": index.incarnation,
        "primary_key": index.primary_key,
        "shards": index.shards,
        "replicas": index.replicas,
        "tie_break": index.tie_break,
        "own_replicas": index.own_replicas,
        "settings": index.settings,
        "created_at": index.created_at,
        "placement": [[replica.shard, replica.node, replica.state.value, replica.since] for replica in map.replicas],
        "deleted": False,
    }


def tombstone_document(record: ClusterRecord, index: Index) -> dict[str, Any]:
    """What takes the place of a copy. Both are written over what is there, key by key: nothing of it may stay."""
    return {
        "id": f"index-{index.uid}",
        "cluster_id": record.id,
        "epoch": record.epoch,
        "uid": index.uid,
        "stored_as": index.stored_as,
        "incarnation": index.incarnation,
        "settings": None,
        "placement": None,
        "deleted": True,
    }


def alias_document(record: ClusterRecord, aliases: Iterable[Alias]) -> dict[str, Any]:
    """All aliases. It names the cluster otherwise than the copies of indexes do, for which an older miroir would take
    it."""
    return {
        "id": ALIASES,
        "of_cluster": record.id,
        "names": record.renamed,
        "aliases": [alias.json() for alias in aliases],
    }


def surplus_tombstones(documents: Iterable[Mapping[str, Any]], *, keep: int = KEPT_TOMBSTONES) -> list[str]:
    """The ids of those tombstones that are older than the newest ones which are kept."""
    tombs = sorted((document for document in documents if document.get("deleted")), key=lambda tomb: -tomb["epoch"])
    return [tomb["id"] for tomb in tombs[keep:]]


def copy_documents(copies: Copies) -> list[dict[str, Any]]:
    """All that nodes keep, as of one moment. Of names that stand for nothing those that did so last."""
    return [
        alias_document(copies.cluster, copies.aliases),
        *(copy_document(copies.cluster, map) for map in copies.maps),
        *(tombstone_document(copies.cluster, index) for index in copies.deleted[:KEPT_TOMBSTONES]),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """Whose disk a node's is, the newest epoch that was told to it, and that of the newest names of the indexes."""

    name: str
    cluster_id: str
    node: str
    epoch: int
    names: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """What a node knows of an index; `map` is None when it knows that the index was deleted."""

    uid: IndexUid
    stored_as: StoredUid
    incarnation: int
    epoch: int
    map: IndexMap | None

    @property
    def rank(self) -> tuple[int, bool, int]:
        """The copy with the highest one is the newest: a deletion is the last that happens in an incarnation."""
        return self.incarnation, self.map is None, self.epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class Aliases:
    """What a node knows of the aliases. `names`: the epoch at which names changed last, as it was told."""

    names: int = -1
    aliases: tuple[Alias, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What the tasks of a node show of one incarnation of an index.

    `newest`: the highest number of a write among them, `applied`: of one that succeeded, `count`: how many succeeded.
    """

    newest: int = 0
    applied: int = 0
    count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What one node that answered has: its marker (None: its disk is not of this cluster), copies, indexes and tasks.

    All names of indexes are those of the node. `traces` is keyed by name and incarnation. `waiting` counts the tasks of
    each index that are not final.
    """

    node: NodeName
    url: str
    top_task: int
    marker: Marker | None
    copies: tuple[Copy, ...] = ()
    aliases: Aliases = Aliases()
    indexes: frozenset[StoredUid] = frozenset()
    traces: Mapping[tuple[StoredUid, int], Trace] = field(default_factory=dict)
    waiting: Mapping[StoredUid, int] = field(default_factory=dict)

    @property
    def epoch(self) -> int:
        """The newest epoch that the node has heard of."""
        return max([self.marker.epoch if self.marker else 0, *(copy.epoch for copy in self.copies)])

    def trace(self, index: Index) -> Trace:
        return self.traces.get((index.stored_as, index.incarnation), Trace())


def read_marker(document: Mapping[str, Any] | None) -> Marker | None:
    """A marker; None when there is none, or only what `publish` writes to a disk that was emptied."""
    if document is None or "cluster_id" not in document:
        return None
    return Marker(
        name=str(document.get("name")),
        cluster_id=str(document["cluster_id"]),
        node=str(document.get("node")),
        epoch=int(document.get("epoch", 0)),
        names=int(document.get("names", 0)),
    )


def read_copies(documents: Iterable[Mapping[str, Any]], *, cluster_id: str) -> tuple[Copy, ...]:
    """The copies and tombstones of one cluster among the documents of a node."""
    return tuple(
        _read_copy(document)
        for document in documents
        if document.get("id") != MARKER and document.get("cluster_id") == cluster_id
    )


def read_aliases(documents: Iterable[Mapping[str, Any]], *, cluster_id: str) -> Aliases:
    """The aliases of one cluster among the documents of a node."""
    for document in documents:
        if document.get("id") == ALIASES and document.get("of_cluster") == cluster_id:
            return Aliases(names=int(document["names"]), aliases=tuple(map(alias_of, document["aliases"])))
    return Aliases()


def newest_aliases(holdings: Iterable[Holding]) -> tuple[Alias, ...]:
    """The aliases as the node knows them that was told last."""
    return max((holding.aliases for holding in holdings), key=lambda found: found.names, default=Aliases()).aliases


def _read_copy(document: Mapping[str, Any]) -> Copy:
    uid, incarnation, epoch = IndexUid(document["uid"]), int(document["incarnation"]), int(document["epoch"])
    stored_as = StoredUid(document.get("stored_as") or uid)
    if document.get("deleted"):
        return Copy(uid=uid, stored_as=stored_as, incarnation=incarnation, epoch=epoch, map=None)
    index = Index(
        uid=uid,
        incarnation=incarnation,
        primary_key=document["primary_key"],
        shards=document["shards"],
        replicas=document["replicas"],
        tie_break=document["tie_break"],
        own_replicas=bool(document.get("own_replicas")),
        settings=document["settings"],
        created_at=document["created_at"],
        stored_as=stored_as,
    )
    replicas = tuple(
        Replica(shard=ShardId(shard), node=NodeName(node), state=ReplicaState(state), since=since)
        for shard, node, state, since in document["placement"]
    )
    return Copy(
        uid=uid,
        stored_as=stored_as,
        incarnation=incarnation,
        epoch=epoch,
        map=IndexMap(epoch=epoch, index=index, replicas=replicas),
    )


def newest_copies(holdings: Sequence[Holding]) -> dict[IndexUid, Copy]:
    """The newest copy of each index on any of the nodes, deleted ones included, in the order of their uids.

    What nodes hold under one name is one index: of two that claim it the one that was made, or named, later has it, and
    the other is one that was renamed and whose tombstone nobody keeps any more.
    """
    newest: dict[IndexUid, Copy] = {}
    for holding in holdings:
        for copy in holding.copies:
            if copy.uid not in newest or copy.rank > newest[copy.uid].rank:
                newest[copy.uid] = copy
    owners: dict[StoredUid, Copy] = {}
    for copy in newest.values():
        if copy.map is not None and (copy.stored_as not in owners or copy.rank > owners[copy.stored_as].rank):
            owners[copy.stored_as] = copy
    return {
        uid: copy if copy.map is None or owners[copy.stored_as] is copy else replace(copy, map=None)
        for uid, copy in sorted(newest.items())
    }


def read_traces(tasks: Iterable[Mapping[str, Any]]) -> dict[int, Trace]:
    """What the tasks of one index show, by incarnation. A write that was sent in pieces counts once."""
    numbers: dict[int, dict[int, bool]] = {}
    for task in tasks:
        parts = (task.get("customMetadata") or "").split(":")
        if len(parts) < 4 or parts[0] != "m" or not (parts[1].isdecimal() and parts[2].isdecimal()):
            continue
        seen = numbers.setdefault(int(parts[1]), {})
        seen[int(parts[2])] = seen.get(int(parts[2]), True) and task["status"] == "succeeded"
    return {incarnation: _trace(seen) for incarnation, seen in numbers.items()}


def _trace(seen: Mapping[int, bool]) -> Trace:
    applied = [n for n, succeeded in seen.items() if succeeded]
    return Trace(newest=max(seen), applied=max(applied, default=0), count=len(applied))
