"""Taking one task out of a node's queue, with what follows known before and recorded after."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from miroir_cli.errors import MiroirError, Refused, TemporaryError, UsageError
from miroir_cli.queues.consequence import Consequence, intent_of, is_being_sent, judge_cancelling, number_in
from miroir_cli.queues.look import read_task
from miroir_cli.replication.settle import settle

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.model import Index, Intent, NodeName
    from miroir_cli.queues.measure import NodeTask


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """What became of it: the task as it is now, whether it was in time, and what followed."""

    task: NodeTask
    done: bool
    consequence: Consequence


async def weigh(cluster: Cluster, node: NodeName, uid: int) -> tuple[NodeTask, Consequence]:
    """What cancelling the task would mean. Raises `NotFound`, `UsageError` when it has ended, `TemporaryError` while
    the write that it carries is being sent."""
    task, _ = await read_task(cluster, node, uid)
    if task.final:
        raise UsageError(f"task {task.id} has ended already: {task.status}", hint=f"run `miroir tasks show {task.id}`")
    index = await _index_of(cluster, task)
    if index is None:
        return task, judge_cancelling(task, None, {}, {})
    pending = await cluster.store.pending(index)
    intent = intent_of(task, pending.intents)
    if intent is not None and is_being_sent(intent):
        raise TemporaryError(
            f"task {task.id} carries write {intent.n} of index `{index.uid}`, of which it is not known yet who has it",
            hint="run the same command again in a moment",
        )
    alive = await _siblings(cluster, task, intent) if intent is not None else {}
    return task, judge_cancelling(task, intent, pending.in_sync, alive)


async def cancel(cluster: Cluster, node: NodeName, uid: int, *, give_up: bool) -> Cancelled:
    """Cancel the task and record what follows from it.

    No write to its index comes between the look and the cancelling. Raises what `weigh` does, and `Refused` when a
    part of a write would be stored nowhere, unless that is given up.
    """
    task, _ = await read_task(cluster, node, uid)
    index = await _index_of(cluster, task)
    if index is None:
        return await _cancel(cluster, node, uid, give_up=give_up)
    async with cluster.locks.order(index.uid):
        await cluster.store.require(index)
        cancelled = await _cancel(cluster, node, uid, give_up=give_up)
    if cancelled.done and cancelled.consequence.n is not None:
        with suppress(MiroirError):  # writes before it may not have ended: whoever settles those learns of it
            await settle(cluster, index)
    return cancelled


async def _cancel(cluster: Cluster, node: NodeName, uid: int, *, give_up: bool) -> Cancelled:
    task, consequence = await weigh(cluster, node, uid)
    if consequence.lost and not give_up:
        raise Refused(f"task {task.id}: {consequence.told}", hint="wait for it, or say `--accept-data-loss`")
    client = cluster.fleet[task.node]
    order = int((await client.manage("POST", f"tasks/cancel?uids={uid}"))["taskUid"])
    await client.wait_task(order, timeout=60.0)
    after, _ = await read_task(cluster, node, uid)
    return Cancelled(task=after, done=after.canceled_by == order, consequence=consequence)


async def intent_carried(cluster: Cluster, task: NodeTask) -> Intent | None:
    """The write that a task carries, also when it has ended and is still known."""
    index = await _index_of(cluster, task)
    if index is None:
        return None
    pending = await cluster.store.pending(index)
    found = intent_of(task, pending.intents)
    if found is None and (n := number_in(task.mark, incarnation=index.incarnation)) is not None:
        return (await cluster.store.intents(index.uid, [n])).get(n)
    return found


async def _index_of(cluster: Cluster, task: NodeTask) -> Index | None:
    return next((index for index in await cluster.store.indexes() if index.uid == task.index), None)


async def _siblings(cluster: Cluster, task: NodeTask, intent: Intent) -> dict[tuple[NodeName, int], bool]:
    """Of the other nodes' tasks of a write, whether they were applied or still can be; those of silent nodes are left
    out."""
    found: dict[tuple[NodeName, int], bool] = {}
    for target in intent.targets:
        if target.node == task.node or target.node not in cluster.fleet:
            continue
        for piece in target.pieces:
            with suppress(MiroirError):
                other, _ = await read_task(cluster, target.node, piece.task)
                found[target.node, piece.task] = other.status not in ("failed", "canceled")
    return found
