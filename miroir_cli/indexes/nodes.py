"""An index on one node: that it exists there with the right settings before a replica is filled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from miroir_cli.errors import NodeRefusal, NodeUnavailable
from miroir_cli.indexes.catalog import finish_task, known_default_rules
from miroir_cli.indexes.differences import defaults_from, differences, drift
from miroir_cli.indexes.settings import to_node, with_removals
from miroir_cli.model import RESERVED_INDEX
from miroir_cli.node.answers import Accepted
from miroir_cli.node.client import path_of
from miroir_cli.replication.recover import recover
from miroir_cli.replication.settle import settle_until

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.model import Index, Json, NodeName
    from miroir_cli.node.client import NodeClient


async def prepare_index(cluster: Cluster, index: Index, client: NodeClient, *, settle: bool = True) -> Json:
    """Create the index on the node if it is missing, and give it the settings of the state; returns those.

    Everything written before is settled first, so that no change of the settings is on its way. Sent once a process
    unless the settings change: a node shows neither the keys of embedders nor what was reset to a default that it
    does not know. One that serves replicas of the index has had every change, and whoever settles would take this one
    for somebody else's. Raises the node's own reason when it refuses. `settle` False: what is on its way cannot settle,
    for the only node that has it is gone.
    """
    if settle:
        async with cluster.locks.order(index.uid):
            await recover(cluster, index)  # a write in doubt would never settle by itself
            newest = (await cluster.store.pending(index)).newest
        await settle_until(cluster, index, newest)
    await _made_or_gone(client, index)
    found = await _settings_on(client, index)
    if found is None:
        body = msgspec.json.encode({"uid": index.stored_as, "primaryKey": index.primary_key or None})
        await finish_task(client, await _send(cluster, index, client, "POST", "indexes", body, as_admin=True))
    async with cluster.locks.order(index.uid):  # no change of the settings comes between the look and the request
        wanted = await settings_of(cluster, index)
        known = f"prepared:{index.uid}:{index.incarnation}:{client.name}"
        sure = found is not None and cluster.session.get(known) == wanted and not differences(wanted, found)
        if sure or await _serves(cluster, index, client):
            return wanted
        path = path_of(index.stored_as, "settings")
        sent = with_removals(wanted, before={}, present=(found or {}).get("embedders") or ())
        task = await _send(cluster, index, client, "PATCH", path, msgspec.json.encode(sent))
    await finish_task(client, task)
    cluster.session[known] = wanted
    return wanted


async def _serves(cluster: Cluster, index: Index, client: NodeClient) -> bool:
    map = await cluster.current(index)
    return any(replica.in_sync and replica.node == client.name for replica in map.replicas)


async def _send(
    cluster: Cluster,
    index: Index,
    client: NodeClient,
    method: str,
    path: str,
    content: bytes,
    *,
    as_admin: bool = False,
) -> int:
    """Enqueue it, and have it accounted for before anybody can wonder whose it is. Raises the node's own error."""
    timeout = cluster.patience.answer
    answer = await client.write(method, path, content=content, timeout=timeout, as_admin=as_admin)
    if not isinstance(answer, Accepted):
        raise answer.error
    await cluster.store.account(index, client.name, [answer.task])
    return answer.task


async def _made_or_gone(client: NodeClient, index: Index) -> None:
    """Wait for creations and deletions of the index that are still in the node's queue, such as those of a run that was
    interrupted: a look before they end is out of date after."""
    kinds = "indexCreation,indexDeletion"
    page = await client.tasks(index=index.stored_as, types=kinds, statuses="enqueued,processing", limit=1)
    for newest in page["results"]:
        await client.wait_task(newest["uid"])


async def settings_of(cluster: Cluster, index: Index) -> dict[str, Any]:
    """What every node of the index should have as its settings at this moment; null means the default."""
    user = (await cluster.current(index)).index.settings
    rules = await _default_rules(cluster, index)
    return to_node(user, primary_key=index.primary_key, tie_break=index.tie_break, default_rules=rules)


async def _default_rules(cluster: Cluster, index: Index) -> list[str]:
    """The ranking rules of an index that names none."""

    async def answering() -> list[NodeName]:
        nodes = (await cluster.map(index.uid)).nodes()
        names = [name for name in nodes if name in cluster.fleet] or list(cluster.fleet)
        found = await cluster.fleet.each(lambda client: client.health(timeout=cluster.patience.answer), names=names)
        answered = [name for name, error in found.items() if error is None]
        if not answered:
            raise NodeUnavailable(f"no node of index `{index.uid}` answers", node="", sent=False)
        return answered

    return await known_default_rules(cluster, answering)


async def wrong_settings(cluster: Cluster, index: Index, client: NodeClient) -> list[str]:
    """Names of the settings that a node has otherwise than the state says; of embedders, whose secrets nodes mask, only
    the names count."""
    kept = f"defaults:{client.name}"
    if kept not in cluster.session:
        cluster.session[kept] = defaults_from(await client.settings(RESERVED_INDEX))
    defaults = cluster.session[kept]
    assert isinstance(defaults, dict)
    return drift(
        (await cluster.current(index)).index.settings,
        await client.settings(index.stored_as),
        defaults=defaults,
        primary_key=index.primary_key,
        tie_break=index.tie_break,
        default_rules=await _default_rules(cluster, index),
    )


async def _settings_on(client: NodeClient, index: Index) -> Json | None:
    try:
        return await client.settings(index.stored_as)
    except NodeRefusal as error:
        if error.status == 404:
            return None
        raise
