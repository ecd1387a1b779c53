"""Compacting an index on all its nodes: its documents stay as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from miroir_cli.indexes.catalog import run_task
from miroir_cli.node.client import path_of

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.model import NodeName
    from miroir_cli.node.client import NodeClient


async def compact_index(cluster: Cluster, uid: str) -> dict[NodeName, dict[str, Any]]:
    """The details of each node's task. Raises the first node's error once all have ended."""
    map = await cluster.reload(uid)

    async def one(client: NodeClient) -> dict[str, Any]:
        sent = await run_task(client, "POST", path_of(map.index.stored_as, "compact"), as_admin=True)
        task = await client.task(sent)
        return dict(task.get("details") or {})

    return await cluster.fleet.all(one, names=[name for name in map.nodes() if name in cluster.fleet])
