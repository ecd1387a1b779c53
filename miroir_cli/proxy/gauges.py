"""The state of the cluster in metrics: nodes that answer, shards that are whole, runs under way, flips of aliases."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from miroir_cli import metrics
from miroir_cli.errors import MiroirError
from miroir_cli.model import ReplicaState
from miroir_cli.store.aliases import flips_since
from miroir_cli.store.tasks import TaskStatus

if TYPE_CHECKING:
    from miroir_cli.proxy.service import Service


async def measure(service: Service) -> None:
    """Look at the nodes and the state once, and set the gauges."""
    cluster = service.cluster
    found = await cluster.fleet.each(lambda client: client.health(timeout=cluster.patience.answer))
    for name, error in found.items():
        metrics.NODE_HEALTHY.set(0 if isinstance(error, MiroirError) else 1, name)
    shards = covered = degraded = 0
    held: Counter[str] = Counter()
    stale: Counter[str] = Counter()
    for index_map in await cluster.store.maps():
        in_sync = index_map.in_sync()
        groups = len(cluster.topology.groups())
        shards += len(in_sync)
        covered += sum(bool(nodes) for nodes in in_sync.values())
        degraded += sum(len(nodes) < index_map.index.replicas * groups for nodes in in_sync.values())
        for replica in index_map.replicas:
            held[replica.node] += 1
            stale[replica.node] += replica.state in (ReplicaState.STALE, ReplicaState.LOST)
    metrics.SHARD_COVERAGE.set(covered / shards if shards else 1.0)
    metrics.DEGRADED_SHARDS.set(degraded)
    for name in cluster.fleet:
        metrics.SHARD_DISTRIBUTION.set(held[name], name)
        metrics.REPLICAS_STALE.set(stale[name], name)
    tasks = await cluster.store.count_tasks()
    for status in TaskStatus:
        metrics.TASKS.set(tasks.get(status, 0), status.value)
    metrics.REBALANCING.set(0 if await cluster.store.unfinished_run() is None else 1)
    await _count_flips(service)


async def _count_flips(service: Service) -> None:
    """Count the flips since the last look; what was before the first one is not known to be new."""
    found = await service.cluster.store.aliases()
    if service.aliases is not None:
        metrics.ALIAS_FLIPS.inc(amount=flips_since(service.aliases, found))
    service.aliases = {alias.name: alias for alias in found}
