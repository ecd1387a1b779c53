"""What a new state begins with, decided from what all nodes know. Pure.

The newest copy of an index anywhere says which of its replicas were in sync; an older one does not count, for a node
that was down has missed the stale marks. Of those one begins as in sync for each shard, all others as stale: which of
them had a write last cannot be known for certain, and a comparison finds out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace

from miroir_cli.errors import ForeignNode, NotFound
from miroir_cli.model import Index, IndexMap, IndexUid, NodeName, Replica, ReplicaState, ShardId
from miroir_cli.replication.copies import Copy, Holding, newest_aliases, newest_copies
from miroir_cli.store.aliases import usable
from miroir_cli.store.records import ClusterRecord, Found, Member, Rebuilt, RebuiltIndex

BEYOND_LOST_NODES = 1_000_000
"""How far the epoch is raised when nodes were given up: one that comes back with more than the others knew must not
pass for the newer one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Election:
    """A new state, and what has to be said of it.

    `sources`: for each index the epoch of its newest copy and the nodes that have it. `uncovered`: shards that no node
    which answered was in sync for. `unknown`: indexes on nodes of which no node has a copy, by their names there.
    `vanished`: indexes with a copy that are on no node any more; they count as deleted. `newcomers`: nodes without a
    marker of the cluster. `dangling`: aliases that stand for nothing any more, and are not in the new state.
    """

    state: Rebuilt
    sources: Mapping[IndexUid, tuple[int, tuple[NodeName, ...]]]
    uncovered: Mapping[IndexUid, tuple[ShardId, ...]] = field(default_factory=dict)
    unknown: Mapping[str, tuple[NodeName, ...]] = field(default_factory=dict)
    vanished: tuple[IndexUid, ...] = ()
    newcomers: tuple[NodeName, ...] = ()
    dangling: tuple[str, ...] = ()


def cluster_of(holdings: Sequence[Holding]) -> ClusterRecord:
    """The cluster that the nodes belong to, at the highest epoch that any of them knows.

    Raises `ForeignNode` when they belong to several or are not the nodes they are called, `NotFound` when to none.
    """
    markers = [(holding, holding.marker) for holding in holdings if holding.marker is not None]
    members: dict[str, list[str]] = {}
    for holding, marker in markers:
        members.setdefault(marker.cluster_id, []).append(f"`{holding.node}`")
    if not members:
        raise NotFound(
            "no node carries a copy of the state: there is nothing to recover from",
            hint="if these are new servers, begin with `miroir index create`",
        )
    if len(members) > 1:
        parts = "; ".join(f"{', '.join(names)} to {id}" for id, names in sorted(members.items()))
        raise ForeignNode(
            f"the nodes belong to different clusters: {parts}",
            hint="take the nodes of the other cluster out of the topology file",
        )
    for holding, marker in markers:
        if marker.node != holding.node:
            raise ForeignNode(
                f"the server at {holding.url} is node `{marker.node}`, not `{holding.node}`",
                hint="correct the name or the url of the node in the topology file",
            )
    first = markers[0][1]
    return ClusterRecord(
        name=first.name,
        id=first.cluster_id,
        epoch=max(holding.epoch for holding in holdings),
        renamed=max(marker.names for _, marker in markers),
    )


def missing_nodes(holdings: Sequence[Holding], accepted: AbstractSet[NodeName]) -> tuple[NodeName, ...]:
    """Nodes that the newest copies name, that have not answered and were not given up."""
    named = {name for copy in newest_copies(holdings).values() if copy.map for name in copy.map.nodes()}
    return tuple(sorted(named - {holding.node for holding in holdings} - accepted))


def reason_to_rebuild(found: Found, holdings: Sequence[Holding]) -> str | None:
    """Why the store that is there has to be replaced; None when it is as new as what the nodes know.

    Raises `ForeignNode` when it is the store of another cluster.
    """
    cluster = cluster_of(holdings)
    if not found.exists:
        return f"the {found.called} is missing"
    if found.damage is not None:
        return found.damage
    if found.cluster is None or (found.blank and found.cluster.id != cluster.id):
        return f"the {found.called} is empty"
    if found.cluster.id != cluster.id:
        raise ForeignNode(
            f"the {found.called} is that of cluster {found.cluster.id}, the nodes belong to {cluster.id}",
            hint=f"point `[state] url` in the topology file at the {found.called} of these nodes",
        )
    if found.cluster.epoch < cluster.epoch:
        knowing = next(holding.node for holding in holdings if holding.epoch == cluster.epoch)
        return f"the {found.called} is at epoch {found.cluster.epoch}, node `{knowing}` knows {cluster.epoch}"
    for newest in found.newest:
        for holding in holdings:
            trace = holding.traces.get((newest.stored_as, newest.incarnation))
            if trace is not None and trace.newest > newest.n:
                ours = f"the {found.called} knows {newest.n} writes of index `{newest.uid}`"
                return f"{ours}, node `{holding.node}` has write {trace.newest}"
    return None


def elect(holdings: Sequence[Holding], *, accepted: AbstractSet[NodeName], above: int = 0) -> Election:
    """The new state from what the nodes that answered have. `accepted`: nodes whose loss was accepted.

    Its epoch is above every one seen, and above `above`.
    """
    cluster = cluster_of(holdings)
    silent = accepted - {holding.node for holding in holdings}
    epoch = max(cluster.epoch, above) + (BEYOND_LOST_NODES if silent else 1)
    newest = newest_copies(holdings)
    vanished = tuple(uid for uid, copy in newest.items() if copy.map and _vanished(copy.map, holdings))
    alive = {uid: copy for uid, copy in newest.items() if copy.map and uid not in vanished}
    indexes = [_rebuilt(copy.map, holdings, epoch=epoch) for copy in alive.values() if copy.map]
    aliases, dangling = usable(newest_aliases(holdings), alive)
    return Election(
        state=Rebuilt(
            cluster=replace(cluster, epoch=epoch, renamed=epoch if cluster.renamed else 0),
            members=tuple(
                Member(name=holding.node, url=holding.url, top_task=holding.top_task)
                for holding in holdings
                if holding.marker is not None
            ),
            indexes=tuple(indexes),
            deleted={uid: copy.incarnation for uid, copy in newest.items() if uid not in alive},
            aliases=aliases,
        ),
        sources={uid: (copy.epoch, _knowing(copy, holdings)) for uid, copy in alive.items()},
        uncovered={found.index.uid: shards for found in indexes if (shards := _uncovered(found))},
        unknown=_unknown(alive, holdings),
        vanished=vanished,
        newcomers=tuple(holding.node for holding in holdings if holding.marker is None),
        dangling=dangling,
    )


def _vanished(map: IndexMap, holdings: Sequence[Holding]) -> bool:
    """Whether every node that had a part of the index answers with the same disk and without it."""
    return set(map.nodes()) <= {
        holding.node
        for holding in holdings
        if holding.marker is not None and map.index.stored_as not in holding.indexes
    }


def _rebuilt(map: IndexMap, holdings: Sequence[Holding], *, epoch: int) -> RebuiltIndex:
    index = map.index
    here = {
        holding.node: holding
        for holding in holdings
        if holding.marker is not None and index.stored_as in holding.indexes
    }
    chosen = {
        shard: min((here[name] for name in names if name in here), key=lambda holding: _preference(holding, index)).node
        for shard, names in map.in_sync().items()
        if any(name in here for name in names)
    }
    return RebuiltIndex(
        index=index,
        replicas=tuple(
            Replica(shard=old.shard, node=old.node, state=_state(old, chosen.get(old.shard), here), since=epoch)
            for old in map.replicas
        ),
        newest=max((holding.trace(index).newest for holding in holdings), default=0),
        tops={name: here[name].top_task for name in map.nodes() if name in here},
    )


def _preference(holding: Holding, index: Index) -> tuple[int, int, NodeName]:
    """The lowest has the newest write, then the most of them, then the first name."""
    trace = holding.trace(index)
    return -trace.applied, -trace.count, holding.node


def _state(old: Replica, chosen: NodeName | None, here: Mapping[NodeName, Holding]) -> ReplicaState:
    if old.node == chosen:
        return ReplicaState.SERVING
    if old.node not in here or old.state is ReplicaState.LOST:
        return ReplicaState.LOST
    return ReplicaState.STALE


def _uncovered(found: RebuiltIndex) -> tuple[ShardId, ...]:
    covered = {replica.shard for replica in found.replicas if replica.state is ReplicaState.SERVING}
    return tuple(ShardId(shard) for shard in range(found.index.shards) if shard not in covered)


def _knowing(copy: Copy, holdings: Iterable[Holding]) -> tuple[NodeName, ...]:
    return tuple(
        holding.node
        for holding in holdings
        if any(other.rank == copy.rank for other in holding.copies if other.uid == copy.uid)
    )


def _unknown(alive: Mapping[IndexUid, Copy], holdings: Sequence[Holding]) -> dict[str, tuple[NodeName, ...]]:
    found: dict[str, list[NodeName]] = {}
    known = {copy.map.index.stored_as for copy in alive.values() if copy.map}
    for holding in holdings:
        for uid in holding.indexes - known:
            found.setdefault(uid, []).append(holding.node)
    return {uid: tuple(names) for uid, names in sorted(found.items())}
