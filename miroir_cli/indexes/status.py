"""The state of the whole cluster in one document, as `miroir status` shows it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from miroir_cli.errors import EpochStale, MiroirError, NodeRefusal, NodeUnavailable
from miroir_cli.fencing.keys import why_unfenced
from miroir_cli.indexes.catalog import describe
from miroir_cli.indexes.counts import count_documents
from miroir_cli.model import IndexMap, IntentState, ReplicaState, shards_named
from miroir_cli.replication.members import refuse_lost_state

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.node.answers import NodeVersion
    from miroir_cli.node.client import NodeClient


async def status(cluster: Cluster) -> dict[str, Any]:
    """{"cluster", "nodes", "indexes", "aliases", "runs", "imports", "unfenced", "warnings"} (shape:
    docs/reference/json.md).

    A node that does not answer is shown as such, never an error. `documents` of an index is null when a shard of it
    could not be counted. `unfenced` gives the nodes that cannot refuse what is sent late, with the reason; only with
    the state in Redis.
    """
    maps = list(await cluster.store.maps())
    async with asyncio.TaskGroup() as group:
        fences = group.create_task(_unfenced(cluster))
        probes = group.create_task(
            cluster.fleet.each(lambda client: _probe(client, maps, limit=cluster.patience.answer))
        )
        counts = [group.create_task(count_documents(cluster, map)) for map in maps]
    indexes = []
    for map, task in zip(maps, counts, strict=True):
        count = task.result()
        pending = await cluster.store.pending(map.index)
        indexes.append(
            {
                **describe(map),
                "documents": None if count.missing else count.documents,
                "missing_shards": list(count.missing),
                "writes_in_queues": sum(intent.state is IntentState.SENT for intent in pending.intents),
                "writes_in_doubt": sum(intent.state is IntentState.OPEN for intent in pending.intents),
            }
        )
    found = probes.result()
    nodes = [_node(cluster, name, found[name], maps) for name in cluster.fleet]
    imports = await cluster.store.unfinished_imports()
    return {
        "cluster": {"name": cluster.topology.cluster.name, "epoch": await cluster.store.epoch()},
        "nodes": nodes,
        "indexes": indexes,
        "aliases": [alias.json() for alias in await cluster.store.aliases()],
        "runs": [],
        "unfenced": fences.result(),
        "imports": [{"id": i.id, "index": i.uid, "started_at": i.started_at} for i in imports],
        "warnings": [
            *await _lost(cluster),
            *_warnings(nodes, maps),
            *_late(fences.result()),
            *_interrupted(await cluster.store.interrupted()),
        ],
    }


async def _lost(cluster: Cluster) -> list[str]:
    """Advice where there is no state, but nodes that belong to a cluster of this name."""
    try:
        await refuse_lost_state(cluster)
    except EpochStale as error:
        return [f"{error.message}: {error.hint}"]
    return []


async def _unfenced(cluster: Cluster) -> dict[str, str]:
    """Nodes that answer and on which writers can have no keys of their own."""
    if cluster.fencing is None:
        return {}
    limit = cluster.patience.answer
    found = await cluster.fleet.each(lambda client: why_unfenced(client, timeout=limit))
    return {name: reason for name, reason in found.items() if isinstance(reason, str)}


def _late(unfenced: Mapping[str, str]) -> list[str]:
    reasons: dict[str, list[str]] = {}
    for name, reason in unfenced.items():
        reasons.setdefault(reason, []).append(f"`{name}`")
    return [
        f"unfenced: {', '.join(names)} {'each ' if len(names) > 1 else ''}{reason}: what a host sends late that was "
        "frozen gets in there (`miroir doctor --check state.unfenced` says more)"
        for reason, names in reasons.items()
    ]


async def _probe(client: NodeClient, maps: list[IndexMap], *, limit: float) -> tuple[NodeVersion, int]:
    try:
        async with asyncio.timeout(limit):
            version = await client.version()
            documents = 0
            for map in maps:
                if client.name in map.nodes():
                    with suppress(NodeRefusal):
                        documents += int((await client.stats(map.index.stored_as))["numberOfDocuments"])
            return version, documents
    except TimeoutError:
        raise NodeUnavailable(
            f"node `{client.name}` did not answer within {limit:g} s", node=client.name, sent=True
        ) from None


def _node(
    cluster: Cluster, name: Any, probe: tuple[NodeVersion, int] | MiroirError, maps: list[IndexMap]
) -> dict[str, Any]:
    node = cluster.fleet[name].node
    states = [replica.state for map in maps for replica in map.replicas if replica.node == name]
    up = not isinstance(probe, MiroirError)
    return {
        "name": name,
        "url": node.url,
        "group": node.group,
        "zone": node.zone,
        "state": "up" if up else "down",
        "error": None if not isinstance(probe, MiroirError) else probe.message,
        "version": None if isinstance(probe, MiroirError) else probe[0].package,
        "engine": None if isinstance(probe, MiroirError) else probe[0].engine,
        "shards": len(states),
        "in_sync": states.count(ReplicaState.SERVING),
        "stale": sum(state in (ReplicaState.STALE, ReplicaState.LOST) for state in states),
        "documents": None if isinstance(probe, MiroirError) else probe[1],
    }


def _warnings(nodes: list[dict[str, Any]], maps: list[IndexMap]) -> list[str]:
    warnings = []
    if len({node["engine"] for node in nodes if node["engine"]}) > 1:
        warnings.append("embedded development nodes and Meilisearch servers are mixed: answers may differ")
    for map in maps:
        uncovered = [shard for shard, names in map.in_sync().items() if not names]
        if uncovered:
            warnings.append(f"index `{map.index.uid}`: no in-sync replica of {shards_named(uncovered)}")
    return warnings


def _interrupted(states: Mapping[str, str]) -> list[str]:
    """Advice on creations and deletions that have begun and not ended (or are under way just now)."""
    verbs = {"creating": ("creation", "create"), "deleting": ("deletion", "delete")}
    return [
        f"index `{uid}`: its {verbs[state][0]} has not ended: `miroir index {verbs[state][1]} {uid}` goes on with it"
        for uid, state in states.items()
    ]
