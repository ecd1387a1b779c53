"""What an import would do: everything read and routed, nothing sent."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from miroir_cli.documents.batches import FIRST_SIZE, Cutter
from miroir_cli.documents.load import ImportOptions, open_cutter
from miroir_cli.documents.rejects import RejectsFile
from miroir_cli.model import IndexMap, NodeName, Replica, ReplicaState, ShardId

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.indexes.catalog import CreationPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """How many documents each shard and each node would get; `reasons` shows some of the rejected."""

    index: str
    documents: int
    rejected: int
    shards: dict[ShardId, int]
    nodes: dict[NodeName, int]
    reasons: tuple[str, ...]

    def json(self) -> dict[str, object]:
        """The contract with scripts."""
        return {
            "index": self.index,
            "documents": self.documents,
            "rejected": self.rejected,
            "shards": {str(shard): count for shard, count in sorted(self.shards.items())},
            "nodes": dict(sorted(self.nodes.items())),
        }


async def route_documents(
    cluster: Cluster,
    uid: str,
    sources: Sequence[str],
    *,
    options: ImportOptions,
    planned: CreationPlan | None = None,
) -> Routing:
    """Read and route the sources of an import; the rejects file is written as the import would.

    `planned`: of an index that is still to be made.
    """
    found = _as_planned(planned) if planned is not None else await cluster.reload(uid)
    cutter = await open_cutter(found.index, sources, options)
    rejects = RejectsFile(options.rejects, [source.name for source in cutter.inputs])
    try:
        shards, rejected = await asyncio.to_thread(_count, cutter, rejects)
    finally:
        cutter.close()
    nodes: Counter[NodeName] = Counter(dict.fromkeys(found.nodes(), 0))
    for shard, names in found.in_sync().items():
        nodes.update(dict.fromkeys(names, shards[shard]))
    return Routing(
        index=uid,
        documents=shards.total(),
        rejected=rejected,
        shards=dict(shards),
        nodes=dict(nodes),
        reasons=tuple(rejects.first),
    )


def _as_planned(planned: CreationPlan) -> IndexMap:
    replicas = tuple(
        Replica(shard=shard, node=node, state=ReplicaState.SERVING, since=0)
        for shard, nodes in planned.placement.items()
        for node in sorted(nodes)
    )
    return IndexMap(epoch=0, index=planned.index, replicas=replicas)


def _count(cutter: Cutter, rejects: RejectsFile) -> tuple[Counter[ShardId], int]:
    shards: Counter[ShardId] = Counter()
    rejected = 0
    rejects.begin(None)
    while (cut := cutter.next(FIRST_SIZE)) is not None:
        shards.update({ShardId(shard): count for shard, count in enumerate(cut.batch.counts)})
        rejected += len(cut.batch.rejects)
        rejects.add(cut.span.source, cut.batch.rejects)
    return shards, rejected
