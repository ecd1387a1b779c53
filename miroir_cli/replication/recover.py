"""Ending an intent whose sender died or got no answer (rule R): fence, look, decide."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from miroir_cli.errors import MiroirError, WriteUnknown
from miroir_cli.model import Index, Intent, IntentState, IntentTarget, NodeName, ShardId, StoredUid
from miroir_cli.replication.members import confirm, publish
from miroir_cli.replication.verdict import Part, Sent, judge_recovery

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster, Site
    from miroir_cli.node.client import NodeClient

PAGE = 1000


async def recover(cluster: Cluster, index: Index) -> Intent | None:
    """End the newest intent when it is still open. Call it with the order lock held.

    Returns the intent as it ended, or None when there was nothing to do. Raises `WriteUnknown` when no in-sync target
    of some shard answers: nothing may be written before that is known.
    """
    newest = await cluster.store.newest_intent(index.uid)
    if newest is None or newest.state is not IntentState.OPEN:
        return None
    if newest.incarnation != index.incarnation:
        await cluster.store.require(index)  # its name stands for another one now
    above = await newest_known(cluster, newest)
    fenced = await fence(cluster, [target.node for target in newest.targets], overtaken=newest.slot)
    known = [name for name in fenced if await _has_its_disk(cluster, name)]
    found = await cluster.fleet.each(
        lambda client: find_tasks(client, newest, index.stored_as, above=above[client.name]), names=known
    )
    answers: dict[NodeName, tuple[Part, ...]] = {}
    for target in newest.targets:
        tasks = found.get(target.node)
        if isinstance(tasks, dict):
            answers[target.node] = _parts(newest, target, tasks, rest=Sent.REFUSED)
        else:
            answers[target.node] = _parts(newest, target, {}, rest=Sent.UNKNOWN)
    closed, marked = await cluster.store.close_intent(
        newest, lambda intent, in_sync: judge_recovery(intent, in_sync, answers)
    )
    if marked.stale:
        await publish(cluster, index.uid)
    if closed.state is IntentState.OPEN:
        raise WriteUnknown(
            f"write {newest.n} of index `{index.uid}` was interrupted, and no node that knows its outcome answers",
            hint="bring them back (`miroir status` names them) and run the command again",
        )
    return closed


async def _has_its_disk(cluster: Cluster, name: NodeName) -> bool:
    """Whether a node's disk is the one we know: what another one took in proves nothing, and it is lost from now on."""
    try:
        return await confirm(cluster, cluster.fleet[name])
    except MiroirError:
        return False


async def fence(site: Site, names: Iterable[NodeName], *, overtaken: str | None = None) -> tuple[NodeName, ...]:
    """Wait until nothing that a dead process sent can still reach these nodes; those for which that is certain.

    A node must answer first: one that is frozen takes in what waits in its sockets when it continues, however late.
    Where writers have slots, the keys of those that are dirty are deleted, and so are those of the holder that this
    mark names (`overtaken`): what is sent under them from then on is refused. The wait is for what was half read.
    """
    patience = site.patience
    asked = await site.fleet.each(
        lambda client: client.health(timeout=patience.answer), names=[name for name in names if name in site.fleet]
    )
    answered = tuple(name for name, error in asked.items() if error is None)
    if site.fencing is not None:
        answered = await site.fencing.shut_out(site.fleet, answered, overtaken=overtaken)
    if answered:
        await asyncio.sleep(patience.grace)
    return answered


async def newest_known(cluster: Cluster, intent: Intent) -> dict[NodeName, int]:
    """For each target the newest task of the intent's index that was accounted for before the intent was sent."""
    pending = await cluster.store.pending(intent.uid)
    newest: dict[NodeName, int] = {}
    for target in intent.targets:
        known = pending.known.get(target.node, frozenset()) - {piece.task for piece in target.pieces}
        lane = pending.lanes.get(target.node)
        newest[target.node] = max([*known, lane.looked if lane else -1])
    return newest


def _parts(intent: Intent, target: IntentTarget, tasks: dict[str, int], *, rest: Sent) -> tuple[Part, ...]:
    """What a node has of an intent: the tasks recorded before, those found now, and what is said of the rest.

    What a fenced node does not have it never will.
    """
    parts = [
        Part(shards=piece.shards, sent=Sent.ACCEPTED, task=piece.task, documents=piece.documents)
        for piece in target.pieces
    ]
    here = {shard for piece in target.pieces for shard in piece.shards}
    recorded = {piece.task for piece in target.pieces}
    for metadata, task in tasks.items():
        if task in recorded:
            continue
        suffix = metadata[len(intent.metadata) :].removeprefix(":")
        shards = frozenset(ShardId(int(shard)) for shard in suffix.split(",")) if suffix else target.shards
        documents = target.documents if shards == target.shards else None
        parts.append(Part(shards=shards, sent=Sent.ACCEPTED, task=task, documents=documents))
        here |= shards
    if target.shards - here:
        parts.append(Part(shards=target.shards - here, sent=rest))
    return tuple(parts)


async def find_tasks(client: NodeClient, intent: Intent, index: StoredUid, *, above: int) -> dict[str, int]:
    """The tasks of a node that carry an intent of the index: their metadata and uids. Looks at its newest
    tasks.

    A task of settings or of a primary key carries no metadata: it is the intent's when its uid is above all tasks of
    the index that were recorded of the node, for only the holder of the order lock sends those.
    """
    if intent.kind.unmarked is not None:
        page = await client.tasks(index=index, types=intent.kind.unmarked, limit=1)
        newest = page["results"][0]["uid"] if page["results"] else -1
        return {intent.metadata: newest} if newest > above else {}
    found: dict[str, int] = {}
    start: int | None = None
    while True:
        params: dict[str, Any] = {"limit": PAGE}
        if start is not None:
            params["from"] = start
        page = await client.tasks(index=index, **params)
        for task in page["results"]:
            metadata = task.get("customMetadata") or ""
            if metadata == intent.metadata or metadata.startswith(f"{intent.metadata}:"):
                found[metadata] = task["uid"]
            elif _older(metadata, intent):
                return found
        start = page.get("next")
        if start is None:
            return found


def _older(metadata: str, intent: Intent) -> bool:
    """Whether a task belongs to an intent well below this one: what follows in the list is older still."""
    parts = metadata.split(":")
    ours = len(parts) >= 4 and parts[0] == "m" and parts[1] == str(intent.incarnation) and parts[2].isdecimal()
    return ours and int(parts[2]) < intent.n - 100
