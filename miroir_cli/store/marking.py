"""Which replicas a mark takes out of service. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from miroir_cli.model import NodeName, ReplicaState, ShardId

if TYPE_CHECKING:
    from miroir_cli.store.records import InSync


def marked(
    in_sync: InSync, replicas: Mapping[NodeName, Iterable[ShardId]], *, state: ReplicaState
) -> dict[NodeName, frozenset[ShardId]]:
    """Those of the replicas that are marked: stale ones from among those in sync, lost ones whatever they were.

    The last in-sync replica of a shard is never marked stale; it may be lost. Nodes are asked in the order of their
    names, so that every backend spares the same one.
    """
    serving = {shard: set(nodes) for shard, nodes in in_sync.items()}
    found: dict[NodeName, set[ShardId]] = {}
    for node in sorted(replicas):
        for shard in sorted(replicas[node]):
            left = serving.get(shard, set())
            if state is ReplicaState.STALE and (node not in left or len(left) == 1):
                continue
            left.discard(node)
            found.setdefault(node, set()).add(shard)
    return {node: frozenset(shards) for node, shards in found.items()}
