"""`explain`: which nodes a query would ask for which shards, and why these. Nothing is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from miroir_cli.model import IndexMap, Json, NodeName, ReplicaState, ShardId
from miroir_cli.search.caveats import caveats
from miroir_cli.search.reading import planner_of
from miroir_cli.search.request import prepare

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.search.plan import SearchPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeQuestion:
    """What one node would be asked. `alone`: the shards that no other node in sync could answer for.

    `body` is None when the request is one that a node has to refuse.
    """

    node: NodeName
    url: str
    group: str
    shards: tuple[ShardId, ...]
    alone: tuple[ShardId, ...]
    body: Json | None


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleNode:
    """A node that holds shards of the index and would not be asked, with the reason."""

    node: NodeName
    group: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A plan with its reasons. `index` is the index's own name.

    `missing`: shards without any in-sync replica, for which nobody can answer. `narrowed`: the shards
    that the filter leaves because it names primary keys; None for all.
    """

    index: str
    shards: int
    narrowed: tuple[ShardId, ...] | None
    group: str | None
    asks: tuple[NodeQuestion, ...]
    idle: tuple[IdleNode, ...]
    missing: tuple[ShardId, ...]
    hits_per_node: int | None
    caveats: tuple[str, ...]
    """Differences from one node's answer that the request falls under, by their names in the documentation."""


async def explain(cluster: Cluster, uid: str, request: Json) -> Explanation:
    """The plan of the next query. Raises as `search` does for what cannot be asked."""
    index_map = await cluster.reload_named(uid)
    prepared = prepare(request, index_map.index)
    narrowed = prepared.shards if prepared else None
    plan = planner_of(cluster, index_map).plan(rotation=cluster.rotation, shards=narrowed)
    groups = {node.name: node.group for node in cluster.topology.nodes}
    urls = {node.name: node.url for node in cluster.topology.nodes}
    holders = index_map.in_sync()
    asks = tuple(
        NodeQuestion(
            node=node,
            url=urls[node],
            group=groups[node],
            shards=shards,
            alone=tuple(shard for shard in shards if sum(name in groups for name in holders[shard]) == 1),
            body=None if prepared is None else prepared.for_shards(shards),
        )
        for node, shards in plan.asks.items()
    )
    return Explanation(
        index=index_map.index.uid,
        shards=index_map.index.shards,
        narrowed=narrowed,
        group=plan.group,
        asks=asks,
        idle=_idle(index_map, plan, groups, narrowed),
        missing=plan.missing,
        hits_per_node=None if prepared is None else _hits(prepared.pagination()),
        caveats=() if prepared is None or len(asks) < 2 else caveats(prepared, index_map.index.settings),
    )


def _hits(body: Json) -> int:
    found: Any = body.get("hitsPerPage", body.get("limit", 0))
    return int(found)


def _idle(
    index_map: IndexMap, plan: SearchPlan, groups: dict[NodeName, str], narrowed: Sequence[ShardId] | None
) -> tuple[IdleNode, ...]:
    return tuple(
        IdleNode(node=node, group=groups.get(node, "-"), reason=_reason(node, index_map, plan, groups, narrowed))
        for node in index_map.nodes()
        if node not in plan.asks
    )


def _reason(
    node: NodeName,
    index_map: IndexMap,
    plan: SearchPlan,
    groups: dict[NodeName, str],
    narrowed: Sequence[ShardId] | None,
) -> str:
    if node not in groups:
        return "not in the topology file"
    serving = [r.shard for r in index_map.replicas if r.node == node and r.state is ReplicaState.SERVING]
    if not serving:
        return "none of its replicas is in sync"
    if narrowed is not None and not set(serving).intersection(narrowed):
        return "it has none of the shards of the primary keys that the filter names"
    if groups[node] != plan.group:
        return "another group answers this time"
    return "the others have all shards already; fewer nodes answer sooner"
