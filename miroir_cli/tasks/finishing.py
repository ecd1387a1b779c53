"""Ending the tasks that stand for writes: what the nodes made of them is learned and recorded.

The state store knows how a write ended before its task does; whoever comes next records what is left, so a process
can be killed anywhere.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from miroir_cli.errors import IndexNotFound, LeaseLost, Locked, MiroirError, StateUnavailable, WriteUnknown
from miroir_cli.model import IntentState
from miroir_cli.replication.recover import recover
from miroir_cli.replication.settle import settle
from miroir_cli.store.tasks import Task, TaskStatus
from miroir_cli.tasks.ending import Look, deleted, end_of, look_of
from miroir_cli.tasks.registry import alarm, bury, now
from miroir_cli.tasks.webhooks import tell

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.model import Index, Intent, NodeName
    from miroir_cli.node.client import NodeClient

FINISHER: Final = "tasks.finisher"
"""The lock of who ends tasks: one process does, the others stand by."""

POLL_FIRST: Final = 0.02
POLL_LONGEST: Final = 0.25
"""Seconds between two looks: after one that ended tasks, and at most."""

SHARE: Final = 4.0
"""A look is followed by a pause this many times as long: a long queue makes looks slow, and the nodes need the time."""

POLL_TELLING: Final = 0.2
"""Seconds until it is looked again whether webhooks are to be told."""

STAND_BY: Final = 1.0
"""Seconds after which a process asks again whether the one that ends tasks still lives."""

SENDING: Final = 1.0
"""Seconds after which a write that is still open may be one whose process died."""

KEPT: Final = 7 * 24 * 3600
"""Seconds for which tasks that have ended are kept."""

MOST_KEPT: Final = 1_000_000
PRUNED_EVERY: Final = 600.0
"""Seconds."""

AT_ONCE: Final = 500
"""Tasks of an index that can end at once."""

ASKED_AT_ONCE: Final = 200
"""Tasks of a node asked for in one request."""

_OVER: Final = (IntentState.DONE, IntentState.FAILED, IntentState.ABORTED)

LOG = logging.getLogger("miroir.tasks")


async def keep_finishing(cluster: Cluster) -> None:
    """End tasks as their writes end, prune them, and stand by while another process does, or while the state store does
    not answer; until cancelled."""
    while True:
        try:
            async with cluster.locks.once(FINISHER), asyncio.TaskGroup() as group:
                group.create_task(_finish_for_ever(cluster))
                group.create_task(_tell_for_ever(cluster))
        except* Locked:
            pass
        except* MiroirError as errors:
            LOG.info("this process ends tasks again soon", extra={"reasons": [str(each) for each in errors.exceptions]})
        await asyncio.sleep(STAND_BY)


async def _finish_for_ever(cluster: Cluster) -> None:
    pause = POLL_FIRST
    pruned = 0.0
    while True:
        began = time.monotonic()
        ended = 0
        try:
            ended = await finish(cluster)
            if began - pruned > PRUNED_EVERY:
                await cluster.store.prune_tasks(before=now() - KEPT * 1000, keep=MOST_KEPT)
                pruned = began
        except (LeaseLost, StateUnavailable):
            raise
        except MiroirError as error:
            LOG.warning("tasks could not be ended", extra={"reason": error.message})
        except Exception:
            LOG.exception("tasks could not be ended")
        pause = POLL_FIRST if ended else min(pause * 1.3, POLL_LONGEST)
        await _rest(cluster, pause, least=max(POLL_FIRST, SHARE * (time.monotonic() - began)))


async def _rest(cluster: Cluster, pause: float, *, least: float) -> None:
    """Wait between two looks, for less time when this process makes a task."""
    await asyncio.sleep(least)
    event = alarm(cluster)
    with suppress(TimeoutError):
        async with asyncio.timeout(max(0.0, pause - least)):
            await event.wait()
    event.clear()


async def _tell_for_ever(cluster: Cluster) -> None:
    while True:
        try:
            told = await tell(cluster)
        except (LeaseLost, StateUnavailable):
            raise
        except MiroirError as error:
            LOG.warning("webhooks could not be told", extra={"reason": error.message})
            told = 0
        except Exception:
            LOG.exception("webhooks could not be told")
            told = 0
        await asyncio.sleep(0 if told else POLL_TELLING)


async def finish_on_demand(cluster: Cluster) -> None:
    """End what can be ended, when no process does so by itself; called before tasks are shown."""
    if not await cluster.store.any_unfinished():
        return
    with suppress(MiroirError):
        async with cluster.locks.once(FINISHER):
            await finish(cluster)


async def finish(cluster: Cluster) -> int:
    """One look at the tasks that have not ended, of each index the first ones; how many ended now."""
    await bury(cluster, await cluster.store.unfinished_work())
    ended = 0
    for uid, tasks in (await cluster.store.unfinished_writes(limit=AT_ONCE)).items():
        try:
            ended += await _finish_index(cluster, uid, tasks)
        except Locked:
            continue
        except (LeaseLost, StateUnavailable):
            raise
        except MiroirError as error:
            LOG.info("tasks of an index wait", extra={"index": uid, "reason": error.message})
    return ended


async def _finish_index(cluster: Cluster, uid: str, tasks: Sequence[Task]) -> int:
    try:
        index = (await cluster.reload(uid)).index
        current = [task for task in tasks if task.incarnation == index.incarnation]
        if current:
            await _settle(cluster, index, current)
    except IndexNotFound:
        index, current = None, []
    ends = [deleted(task, now=now()) for task in tasks if task not in current and await _is_as_read(cluster, task)]
    if index is not None and current:
        intents = await cluster.store.intents(uid, [task.n for task in current if task.n is not None])
        progress = await cluster.store.progress(uid)
        if progress is None or progress.incarnation != index.incarnation:
            return 0  # the name stands for another index since: these were that one's intents
        over = {task.uid: intents.get(task.n or 0) for task in current}
        closed = {number: intent for number, intent in over.items() if intent is None or intent.state in _OVER}
        seen = await _look_at_nodes(cluster, index, [intent for intent in closed.values() if intent is not None])
        for task in current:
            if task.uid in closed:
                end = end_of(task, closed[task.uid], seen, patience=cluster.patience.silence, now=now())
                ends += [end] if end is not None else []
    return await cluster.store.end_tasks(ends) if ends else 0


async def _is_as_read(cluster: Cluster, task: Task) -> bool:
    """Whether a task is that of an index that is gone: it has not gone to another name with its index."""
    found = await cluster.store.task(task.uid)
    return found is not None and (found.index_uid, found.incarnation) == (task.index_uid, task.incarnation)


async def _settle(cluster: Cluster, index: Index, tasks: Sequence[Task]) -> None:
    """Learn what the nodes made of the writes; end one that a process left open when it died."""
    newest = await cluster.store.newest_intent(index.uid)
    if newest is not None and newest.state is IntentState.OPEN:
        mine = next((task for task in tasks if task.n == newest.n), None)
        if mine is not None and now() - mine.enqueued_at > SENDING * 1000:
            with suppress(WriteUnknown):
                async with cluster.locks.order(index.uid):
                    await recover(cluster, index)
    found = await settle(cluster, index)
    first = next((task for task in tasks if task.n == found.settled + 1), None)
    if first is not None and first.status is TaskStatus.ENQUEUED:
        await cluster.store.begin_task(first.uid)


async def _look_at_nodes(cluster: Cluster, index: Index, intents: Sequence[Intent]) -> dict[NodeName, dict[int, Look]]:
    """What the nodes that answer show of these writes' tasks."""
    wanted: dict[NodeName, list[int]] = {}
    for intent in intents:
        for target in intent.targets:
            wanted.setdefault(target.node, []).extend(piece.task for piece in target.pieces)
    names = [name for name, tasks in wanted.items() if tasks and name in cluster.fleet]

    async def ask(client: NodeClient) -> dict[int, Look]:
        looks: dict[int, Look] = {}
        uids = sorted(wanted[client.name])
        for start in range(0, len(uids), ASKED_AT_ONCE):
            chunk = uids[start : start + ASKED_AT_ONCE]
            page = await client.tasks(timeout=cluster.patience.answer, uids=",".join(map(str, chunk)), limit=len(chunk))
            looks |= {task["uid"]: look_of(task, index) for task in page["results"]}
        return looks

    found = await cluster.fleet.each(ask, names=names)
    return {name: looks for name, looks in found.items() if isinstance(looks, dict)}
