"""Mending what becomes stale while something else goes on: a node that comes back is caught up with by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from miroir_cli.errors import Interrupted, MiroirError
from miroir_cli.migration.repair import repair
from miroir_cli.migration.run import RunOptions
from miroir_cli.model import ReplicaState

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.migration.rebalance import Outcome
    from miroir_cli.model import NodeName, ShardId

EVERY = 2.0
"""Seconds between two looks."""


@asynccontextmanager
async def healing(
    cluster: Cluster, uid: str, *, every: float = EVERY, told: Callable[[Outcome], None] = lambda outcome: None
) -> AsyncIterator[None]:
    """While the block runs, mend stale replicas of an index as soon as their nodes answer. What has begun when the
    block ends is finished; trouble is nobody's but the next look's."""
    ending = asyncio.Event()
    task = asyncio.create_task(_heal(cluster, uid, every, ending, told))
    try:
        yield
    except BaseException:
        task.cancel()
        raise
    finally:
        ending.set()
        with suppress(asyncio.CancelledError, Interrupted):
            await task


async def _heal(
    cluster: Cluster, uid: str, every: float, ending: asyncio.Event, told: Callable[[Outcome], None]
) -> None:
    while not ending.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(ending.wait(), every)
        with suppress(MiroirError):
            if await curable(cluster, uid):
                outcome = await repair(cluster, indexes=[uid], options=RunOptions(retry_for=5.0))
                if outcome.result is not None:
                    told(outcome)


async def curable(cluster: Cluster, uid: str) -> frozenset[NodeName]:
    """Nodes that answer and have replicas of the index that are out of sync, or were being mended by somebody who
    died."""
    names = [name for name in await out_of_sync(cluster, uid) if name in cluster.fleet]
    if not names:
        return frozenset()
    found = await cluster.fleet.each(lambda client: client.health(timeout=cluster.patience.answer), names=names)
    return frozenset(name for name, error in found.items() if error is None)


async def out_of_sync(cluster: Cluster, uid: str) -> dict[NodeName, tuple[ShardId, ...]]:
    """The shards of an index that nodes have and that are not read there, in the order of their names."""
    found: dict[NodeName, list[ShardId]] = {}
    for replica in sorted((await cluster.reload(uid)).replicas, key=lambda replica: (replica.node, replica.shard)):
        if replica.state in (ReplicaState.STALE, ReplicaState.LOST, ReplicaState.JOINING):
            found.setdefault(replica.node, []).append(replica.shard)
    return {node: tuple(shards) for node, shards in found.items()}
