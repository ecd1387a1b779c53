"""Settings that somebody changed on a node behind the cluster's back: found, and put back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from miroir_cli import metrics
from miroir_cli.errors import MiroirError
from miroir_cli.indexes.configure import after_other_changes, frozen_because, propose
from miroir_cli.indexes.nodes import wrong_settings
from miroir_cli.replication.members import call_roll

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.model import Index, IndexMap, NodeName, StoredUid
    from miroir_cli.node.client import NodeClient

PAGE = 1000


async def mend_drift(cluster: Cluster, *, timeout: float = 600.0) -> dict[str, tuple[NodeName, ...]]:
    """Look at the settings of every index on every node in sync and put back what is not as the state has it; the nodes
    that were put right, by index. What cannot be put right now is left for the next time.

    All settings are sent again, also the secrets of embedders, which nodes mask.
    """
    mended: dict[str, tuple[NodeName, ...]] = {}
    for index in await cluster.store.indexes():
        try:
            map = await cluster.reload(index.uid)
            wrong = await wrong_nodes(cluster, map)
            if wrong and (names := await _put_back(cluster, index, timeout=timeout)):
                mended[index.uid] = names
        except MiroirError:
            continue
    return mended


async def wrong_nodes(cluster: Cluster, map: IndexMap) -> dict[NodeName, list[str]]:
    """Nodes in sync with settings otherwise than they should be, with the names of these; silent ones are left out."""
    names = sorted({name for nodes in map.in_sync().values() for name in nodes if name in cluster.fleet})
    found = await cluster.fleet.each(lambda client: wrong_settings(cluster, map.index, client), names=names)
    wrong = {name: each for name, each in found.items() if isinstance(each, list) and each}
    return {name: each for name, each in wrong.items() if cluster.session.get(_spelled(map.index, name)) != each}


def _spelled(index: Index, name: NodeName) -> str:
    """Under this name a process remembers which settings a node spells in a way of its own, once they were sent again
    and came back as before."""
    return f"spelled:{index.uid}:{index.incarnation}:{name}:{index.settings}"


async def _put_back(cluster: Cluster, index: Index, *, timeout: float) -> tuple[NodeName, ...]:
    """Send the settings of the state to all nodes, as one more write of the index. The change that was found counts as
    accounted for: it touched no document, and its replica is as before once the settings are."""
    roll = await call_roll(cluster)
    async with after_other_changes(cluster, index.uid, timeout=timeout) as map:
        wrong = await wrong_nodes(cluster, map)
        if not wrong:
            return ()
        metrics.SETTINGS_MISMATCHES.inc(amount=len(wrong))
        pending = await cluster.store.pending(index)
        for name in wrong:
            tasks = await _settings_tasks(cluster.fleet[name], index.stored_as)
            new = {task for task in tasks if task > pending.lanes[name].looked} - pending.known[name]
            await cluster.store.account(map.index, name, sorted(new))
        proposal = await propose(cluster, map, roll, map.index.settings)
    await proposal.stored(timeout=timeout)
    map = await cluster.reload(index.uid)
    still = await wrong_nodes(cluster, map)
    if len(still) == len(in_sync := {name for nodes in map.in_sync().values() for name in nodes}):
        cluster.session.update({_spelled(map.index, name): settings for name, settings in still.items()})
    right = in_sync - set(still)
    await cluster.store.note_settings(proposal.index, right, proposal.written.n)
    mended = tuple(name for name in wrong if name in right)
    metrics.DRIFT_REPAIRS.inc(amount=len(mended))
    return mended


async def _settings_tasks(client: NodeClient, uid: StoredUid) -> list[int]:
    """The newest tasks of a node that changed the settings of an index."""
    page: dict[str, Any] = await client.tasks(index=uid, types="settingsUpdate", limit=PAGE)
    return [int(task["uid"]) for task in page["results"]]


async def unfreeze(cluster: Cluster, uid: str, *, timeout: float = 600.0) -> tuple[NodeName, ...]:
    """Let an index take documents again, once all its nodes have the settings of the state; the nodes put right.

    Raises `IndexFrozen` while one has not.
    """
    index = (await cluster.reload(uid)).index
    if uid not in await cluster.store.frozen():
        return ()
    mended = await _put_back(cluster, index, timeout=timeout)
    wrong = await wrong_nodes(cluster, await cluster.reload(uid))
    if wrong:
        name, settings = next(iter(sorted(wrong.items())))
        raise frozen_because(uid, f"node `{name}` still has the setting `{settings[0]}` otherwise than the cluster")
    await cluster.store.freeze(index, None)
    return mended
