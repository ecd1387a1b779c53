"""Where a shard can be copied from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from miroir_cli.errors import MiroirError, ShardUnavailable
from miroir_cli.migration.side import Limit, Side
from miroir_cli.replication.members import confirm

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.model import Index, IndexMap, NodeName, ShardId


async def find_source(cluster: Cluster, index: Index, shard: ShardId, *, limit: Limit) -> Side:
    """A replica in sync whose node answers and has the disk that we know. Raises `ShardUnavailable` with what is wrong
    with each of them."""
    map = await cluster.current(index)
    reasons = []
    for name in _candidates(cluster, map, shard):
        try:
            client = cluster.fleet[name]
            await client.health(timeout=cluster.patience.answer)
            if await confirm(cluster, client):
                return Side(client, index, shard, limit=limit)
            reasons.append(f"node `{name}` has lost its disk")
        except MiroirError as error:
            reasons.append(error.message)
    raise ShardUnavailable(
        f"no in-sync replica of shard {shard} of index `{index.uid}` can be copied"
        + (f": {'; '.join(reasons)}" if reasons else ""),
        hint="run `miroir status` to see its replicas",
    )


def _candidates(cluster: Cluster, map: IndexMap, shard: ShardId) -> list[NodeName]:
    """Nodes to copy from, in an order of each shard's own so that all of them are used."""
    names = [name for name in map.in_sync()[shard] if name in cluster.fleet]
    turn = shard % len(names) if names else 0
    return [*names[turn:], *names[:turn]]
