"""Which nodes are fenced: nothing that was sent to them before can still arrive (protocol rule M1)."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from miroir_cli.errors import NodeUnavailable
from miroir_cli.replication.recover import fence, recover

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.model import Index, NodeName, ShardId


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fence:
    """`serving`: the shards that writers still sent to the node when it was fenced."""

    doubts: int
    serving: frozenset[ShardId]


class Fences:
    """The fences of one run. One is enough for all shards that a node does not serve: nobody sends it their writes,
    and what this run sends it itself is known. After a doubtful answer the node is fenced anew. A node to which nothing
    of the index was ever sent needs no waiting."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._fences: dict[tuple[str, NodeName], _Fence] = {}
        self._doubts: Counter[NodeName] = Counter()
        self._turns: dict[tuple[str, NodeName], asyncio.Lock] = {}

    def doubt(self, node: NodeName) -> None:
        """A request to this node may still arrive."""
        self._doubts[node] += 1

    async def pass_(self, index: Index, shard: ShardId, node: NodeName) -> None:
        """Return once nothing sent for the shard can still reach the node, which does not serve it.

        Raises `NodeUnavailable` when the node does not answer.
        """
        async with self._turns.setdefault((index.uid, node), asyncio.Lock()):
            while not self._holds(self._fences.get((index.uid, node)), shard, node):
                self._fences[index.uid, node] = await self._fence(index, node)
                if shard in self._fences[index.uid, node].serving:
                    return  # it serves after all: nothing will be sent

    def _holds(self, fence: _Fence | None, shard: ShardId, node: NodeName) -> bool:
        return fence is not None and fence.doubts == self._doubts[node] and shard not in fence.serving

    async def _fence(self, index: Index, node: NodeName) -> _Fence:
        """Whoever sends holds the order lock: once it was free, nobody is still sending what came before."""
        client = self._cluster.fleet.clients.get(node)
        if client is None:
            raise NodeUnavailable(f"node `{node}` is not in the topology file", node=node, sent=False)
        doubts = self._doubts[node]
        async with self._cluster.locks.order(index.uid):
            await recover(self._cluster, index)
            map = await self._cluster.current(index)
            addressed = doubts or await self._cluster.store.was_addressed(index.uid, node)
        if not addressed:
            await client.health(timeout=self._cluster.patience.answer)
        elif not await fence(self._cluster, [node]):
            raise NodeUnavailable(f"node `{node}` does not answer", node=node, sent=False)
        serving = frozenset(shard for shard, names in map.in_sync().items() if node in names)
        return _Fence(doubts=doubts, serving=serving)
