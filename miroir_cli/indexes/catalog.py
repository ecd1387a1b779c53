"""The catalog of indexes: create on all nodes or not at all, list, show, count, delete."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec

from miroir_cli.errors import (
    AlreadyExists,
    MiroirError,
    NodeRefusal,
    NodeTaskFailed,
    NodeUnavailable,
    Refused,
    ReservedField,
    SettingsInvalid,
    UsageError,
)
from miroir_cli.indexes.differences import differences
from miroir_cli.indexes.settings import to_node, validate
from miroir_cli.model import (
    RESERVED_INDEX,
    RESERVED_PREFIX,
    Index,
    IndexMap,
    IndexUid,
    Json,
    NodeName,
    ReplicaState,
    ShardId,
    StoredUid,
)
from miroir_cli.node.answers import Accepted
from miroir_cli.node.client import NodeClient, path_of
from miroir_cli.replication.members import call_roll, publish
from miroir_cli.replication.recover import fence, recover
from miroir_cli.store.aliases import name_taken, require_unused
from miroir_cli.store.journal import RunKind
from miroir_cli.store.records import Creation, Deletion
from miroir_cli.store.refusals import exists_already
from miroir_cli.topology.placement import place

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster

UID = re.compile(r"[A-Za-z0-9_-]{1,400}")
MOST_SHARDS = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class CreationPlan:
    """What `create_index` is about to do; `--dry-run` prints it."""

    index: Index
    placement: Mapping[ShardId, frozenset[NodeName]]


async def plan_index(
    cluster: Cluster,
    uid: str,
    *,
    primary_key: str | None,
    shards: int | None = None,
    replicas: int | None = None,
    settings: Json | None = None,
    tie_break: bool = True,
    source: str = "settings",
) -> CreationPlan:
    """Check everything that can be checked without a node. Raises what is wrong with the names, settings or numbers.

    `source` is what errors call the settings: the file they come from. `primary_key` None: it is known with the first
    documents (`indexes/primary_key.py`).
    """
    require_uid(uid)
    if primary_key is not None:
        require_key_name(primary_key)
    defaults = cluster.topology.cluster
    count = shards if shards is not None else defaults.shards
    if not 1 <= count <= MOST_SHARDS:
        raise UsageError(f"{count} shards: an index has 1 to {MOST_SHARDS}")
    index = Index(
        uid=IndexUid(uid),
        incarnation=0,
        primary_key=primary_key or "",
        shards=count,
        replicas=replicas if replicas is not None else defaults.replicas,
        own_replicas=replicas is not None,
        tie_break=tie_break,
        settings=validate(dict(settings or {}), source=source),
    )
    placement = place(shards=count, nodes=cluster.topology.nodes, replicas=index.replicas)
    return CreationPlan(index=index, placement=placement)


def require_uid(uid: str, *, of: str = "the uid of an index") -> None:
    """Raise unless an index, or an alias, can be called so."""
    if not UID.fullmatch(uid):
        raise UsageError(f"`{uid}` cannot be {of}", hint="use 1 to 400 of the letters, digits, `-` and `_`")
    if uid.startswith(RESERVED_PREFIX.rstrip("_")):
        raise ReservedField(f"index uids that begin with `{RESERVED_PREFIX.rstrip('_')}` are miroir's own")


def require_key_name(name: str) -> None:
    """Raise unless a primary key can be called so."""
    if not name or name.startswith(RESERVED_PREFIX) or "." in name or ":" in name:
        raise UsageError(
            f"`{name}` cannot be a primary key", hint="name a top-level field of your documents, such as `id`"
        )


async def create_index(cluster: Cluster, plan: CreationPlan) -> IndexMap:
    """Create the index with its settings on every node that will hold it.

    When a node fails, what this call created is deleted again; an index that was there before is never touched.
    """
    uid = plan.index.uid
    found = await cluster.store.resolve(uid)
    if found is not None:
        alias = await cluster.store.alias(uid)
        raise exists_already(uid) if alias is None else name_taken(alias)
    names = sorted({name for nodes in plan.placement.values() for name in nodes})
    await call_roll(cluster, required=names)
    rules = await default_rules(cluster, names)
    async with cluster.locks.moves(uid), cluster.locks.order(uid):
        await clear_up(cluster, uid)
        wanted = replace(plan.index, stored_as=await cluster.store.free_name(uid))
        tops = await cluster.fleet.all(lambda client: _absent(client, wanted.stored_as), names=names)
        index = await cluster.store.begin_creation(wanted, nodes=tops)
        try:
            bases = await cluster.fleet.all(lambda client: _create_on(client, index, rules), names=names)
        except BaseException:
            await _undo(cluster, Creation(index=index, nodes=tops))
            raise
        map = await cluster.store.finish_creation(index, placement=plan.placement, bases=bases)
    await publish(cluster, uid)
    return map


async def clear_up(cluster: Cluster, uid: str) -> None:
    """End a creation or deletion whose process died. Call it with the order lock held."""
    left = await cluster.store.creation(uid)
    if left is not None:
        await _undo(cluster, left)
    deletion = await cluster.store.deletion(uid)
    if deletion is not None:
        await _finish_deletion(cluster, deletion)


async def _absent(client: NodeClient, uid: StoredUid) -> int:
    """The node's highest task uid, once it is certain that it has no such index."""
    top = await client.top_task()
    try:
        await client.index(uid)
    except NodeRefusal as error:
        if error.status == 404:
            return top
        raise
    raise AlreadyExists(
        f"node `{client.name}` already has an index `{uid}` that this cluster does not know",
        hint="choose another uid, or delete it on that node if nobody needs it",
    )


async def default_rules(cluster: Cluster, names: Iterable[NodeName]) -> list[str]:
    """The ranking rules of an index that names none, as the oldest of the nodes has them: they changed with versions,
    and a newer node takes an older one's."""
    versions = await cluster.fleet.all(lambda client: client.version(), names=names)
    oldest = min(versions, key=lambda name: (versions[name].numbers, name))
    return list((await cluster.fleet[oldest].settings(RESERVED_INDEX))["rankingRules"])


async def known_default_rules(cluster: Cluster, names: Callable[[], Awaitable[Collection[NodeName]]]) -> list[str]:
    """The same, asked once a process: they change with the nodes' versions. `names` tells whom to ask, then."""
    kept = cluster.session.get("default rules")
    if isinstance(kept, list):
        return kept
    rules = cluster.session["default rules"] = await default_rules(cluster, await names())
    return rules


async def _create_on(client: NodeClient, index: Index, rules: Sequence[str]) -> int:
    """Create the index and its settings on one node and read them back; the first task uid that counts from then."""
    body = msgspec.json.encode({"uid": index.stored_as, "primaryKey": index.primary_key or None})
    await run_task(client, "POST", "indexes", body, as_admin=True)
    wanted = to_node(index.settings, primary_key=index.primary_key, tie_break=index.tie_break, default_rules=rules)
    wanted = {key: value for key, value in wanted.items() if value is not None}
    task = await run_task(client, "PATCH", path_of(index.stored_as, "settings"), msgspec.json.encode(wanted))
    wrong = differences(wanted, await client.settings(index.stored_as))
    if wrong:
        raise SettingsInvalid(
            f"node `{client.name}` did not take the setting `{wrong[0]}` as it was sent",
            hint="run `miroir status` to see the versions of the nodes: they may differ",
        )
    return task + 1


async def run_task(
    client: NodeClient, method: str, path: str, content: bytes | None = None, *, as_admin: bool = False
) -> int:
    """Send one request and wait for its task; the task's uid. Raises the node's own reason when it fails."""
    answer = await client.write(method, path, content=content, as_admin=as_admin)
    if not isinstance(answer, Accepted):
        raise answer.error
    await finish_task(client, answer.task)
    return answer.task


async def finish_task(client: NodeClient, uid: int) -> None:
    """Wait for a task. Raises the node's own reason when it fails."""
    task = await client.wait_task(uid)
    if task["status"] == "succeeded":
        return
    error = task.get("error") or {}
    message = f"node `{client.name}`: {error.get('message', 'the task was ' + task['status'])}"
    if error.get("code") == "index_already_exists":
        raise AlreadyExists(message)
    if error.get("type") == "invalid_request":
        raise SettingsInvalid(message)
    raise NodeTaskFailed(message, hint="look at the node's log, then run the command again")


async def _undo(cluster: Cluster, creation: Creation) -> None:
    """Delete what an unfinished creation made: the index on those nodes where its creation is newer than the moment
    it was seen not to be there, and where it holds no document."""
    uid = creation.index.uid
    names = [name for name in creation.nodes if name in cluster.fleet]
    fenced = await fence(cluster, names)
    found: dict[NodeName, Any] = await cluster.fleet.each(
        lambda client: _undo_on(client, creation.index.stored_as, above=creation.nodes[client.name]), names=names
    )
    found |= {name: _silent(name) for name in names if name not in fenced}
    errors = [error for error in found.values() if isinstance(error, MiroirError)]
    if errors:
        raise NodeUnavailable(
            f"index `{uid}` could not be created, and what was begun could not be removed: {errors[0].message}",
            node="",
            sent=True,
            hint="run the same command again when all nodes answer: it clears up first",
        )
    await cluster.store.forget_index(uid)


async def _undo_on(client: NodeClient, uid: StoredUid, *, above: int) -> None:
    ours = await client.tasks(index=uid, types="indexCreation", limit=100)
    created = [await client.wait_task(task["uid"]) for task in ours["results"] if task["uid"] > above]
    if not any(task["status"] == "succeeded" for task in created):
        return
    try:
        if (await client.stats(uid))["numberOfDocuments"]:
            raise Refused(f"index `{uid}` on node `{client.name}` holds documents that somebody else wrote")
    except NodeRefusal as error:
        if error.status == 404:
            return
        raise
    await run_task(client, "DELETE", path_of(uid))


async def list_indexes(cluster: Cluster) -> list[dict[str, Any]]:
    """All indexes with their fixed properties, ordered by uid. Asks no node."""
    return [describe(map) for map in await cluster.store.maps()]


def describe(map: IndexMap) -> dict[str, Any]:
    """One index as `index list` and `status` show it, without documents."""
    states = [replica.state for replica in map.replicas]
    return {
        "uid": map.index.uid,
        "primary_key": map.index.primary_key,
        "shards": map.index.shards,
        "replicas": map.index.replicas,
        "in_sync": states.count(ReplicaState.SERVING),
        "stale": sum(state in (ReplicaState.STALE, ReplicaState.LOST) for state in states),
        "created_at": map.index.created_at,
    }


async def show_index(cluster: Cluster, uid: str) -> dict[str, Any]:
    """One index with the user's settings and the state of every replica."""
    map = await cluster.reload(uid)
    return {
        **describe(map),
        "tie_break": map.index.tie_break,
        "settings": dict(map.index.settings),
        "placement": [
            {"shard": replica.shard, "node": replica.node, "state": replica.state.value} for replica in map.replicas
        ],
    }


async def nodes_to_delete_from(cluster: Cluster, uid: str) -> list[NodeName]:
    """The nodes that have any of an index, also of one whose deletion was interrupted. Raises `IndexNotFound`, and
    `Refused` while an alias stands for it."""
    begun = await cluster.store.deletion(uid)
    if begun is not None:
        return list(begun.nodes)
    found = (await cluster.reload(uid)).nodes()
    require_unused(uid, await cluster.store.aliases())
    return list(found)


async def delete_index(cluster: Cluster, uid: str) -> list[NodeName]:
    """Delete the index from every node that has any of it, then from the store; the nodes it was deleted from.

    A node that does not answer stops it before anything is deleted. A deletion that was interrupted goes on with the
    next `delete_index` or `create_index` of the same uid; until then the index serves nobody.
    """
    names = await nodes_to_delete_from(cluster, uid)
    unknown = [name for name in names if name not in cluster.fleet]
    if unknown:
        raise Refused(
            f"node `{unknown[0]}` holds a part of index `{uid}` and is not in the topology file",
            hint="put it back into the topology file, then delete the index",
        )
    await call_roll(cluster, required=names)
    began = False
    async with cluster.locks.order(uid):
        if await cluster.store.deletion(uid) is None:
            index = (await cluster.reload(uid)).index
            await recover(cluster, index)
            await cluster.store.begin_deletion(index)
            began = not await _is_moving(cluster)
    # Moves of the index end now that it serves nobody, each at a clean place.
    async with cluster.locks.moves(uid), cluster.locks.order(uid):
        deletion = await cluster.store.deletion(uid)
        if deletion is not None:
            await _finish_deletion(cluster, deletion, fenced=began)
    return names


async def _is_moving(cluster: Cluster) -> bool:
    """Whether a run has not ended: requests of its process may be on their way, even if that is dead."""
    kinds = (RunKind.REBALANCE, RunKind.REPAIR)
    return any([await cluster.store.unfinished_run(kind) is not None for kind in kinds])


async def _finish_deletion(cluster: Cluster, deletion: Deletion, *, fenced: bool = False) -> None:
    """Delete what is left, once no request of the process that began, or of a move, can arrive any more."""
    silent = set() if fenced else set(deletion.nodes) - set(await fence(cluster, deletion.nodes))
    if silent:
        raise _silent(min(silent))
    await cluster.fleet.all(lambda client: delete_on(client, deletion.index.stored_as), names=deletion.nodes)
    await cluster.store.forget_index(deletion.index.uid)
    await publish(cluster, deletion.index.uid, deleted=deletion.index)


def _silent(name: NodeName) -> NodeUnavailable:
    return NodeUnavailable(f"node `{name}` does not answer", node=name, sent=False)


async def delete_on(client: NodeClient, uid: StoredUid) -> None:
    try:
        await client.index(uid)
    except NodeRefusal as error:
        if error.status == 404:
            return
        raise
    await run_task(client, "DELETE", path_of(uid))
