"""What the nodes say that a plan needs: who answers, how many documents each shard has, and how large they are."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from miroir_cli.errors import MiroirError
from miroir_cli.migration.plan import Facts
from miroir_cli.model import SHARD_FIELD, IndexMap, IndexUid, NodeName, ShardId, spell_shard

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.node.client import NodeClient


async def gather_facts(cluster: Cluster, maps: Sequence[IndexMap]) -> Facts:
    """Ask every node of the topology at once; one that does not answer is not `present`."""
    limit = cluster.patience.answer
    health = await cluster.fleet.each(lambda client: client.health(timeout=limit))
    present = frozenset(name for name, error in health.items() if error is None)
    documents: dict[IndexUid, dict[ShardId, int]] = {}
    sizes: dict[IndexUid, float] = {}
    for map in maps:
        uid = map.index.uid
        names = [name for name in map.nodes() if name in present]
        counts = await cluster.fleet.each(partial(_counts, map), names=names)
        documents[uid] = _by_shard(map, counts)
        stats = await cluster.fleet.each(partial(_stats, map), names=names)
        averages = [
            found["avgDocumentSize"]
            for found in stats.values()
            if not isinstance(found, MiroirError) and found.get("avgDocumentSize")
        ]
        if averages:
            sizes[uid] = sum(averages) / len(averages)
    return Facts(
        present=present,
        documents=documents,
        document_bytes=sizes,
        incarnations={map.index.uid: map.index.incarnation for map in maps},
    )


async def _stats(map: IndexMap, client: NodeClient) -> dict[str, Any]:
    return await client.stats(map.index.stored_as)


async def _counts(map: IndexMap, client: NodeClient) -> dict[ShardId, int]:
    """How many documents of each shard the node has."""
    found: dict[str, Any] = await client.search(map.index.stored_as, {"q": "", "limit": 0, "facets": [SHARD_FIELD]})
    by_spelling = (found.get("facetDistribution") or {}).get(SHARD_FIELD) or {}
    return {ShardId(shard): by_spelling.get(spell_shard(shard), 0) for shard in range(map.index.shards)}


def _by_shard(map: IndexMap, counts: dict[NodeName, dict[ShardId, int] | MiroirError]) -> dict[ShardId, int]:
    """Each shard's documents as one of its in-sync replicas counts them; shards that nobody counts are left out."""
    known: dict[ShardId, int] = {}
    for shard, names in map.in_sync().items():
        for name in names:
            found = counts.get(name)
            if isinstance(found, dict):
                known[shard] = found[shard]
                break
    return known
