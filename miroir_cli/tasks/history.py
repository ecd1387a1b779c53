"""What clients do with tasks that are there: cancel them, delete them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from miroir_cli.store.processes import this_process
from miroir_cli.store.tasks import UNFINISHED, NewTask, Task, TaskEnd, TaskQuery, TaskStatus
from miroir_cli.tasks.finishing import finish_on_demand
from miroir_cli.tasks.registry import POLL_FIRST, POLL_LONGEST, now, perform

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster

PATIENCE: Final = 5.0
"""Seconds for which a deletion waits for tasks that have not ended; the client is answered before."""

MayTouch = Callable[[str], bool]
"""Whether somebody may touch the tasks of an index."""


async def cancel(cluster: Cluster, query: TaskQuery, *, original: str) -> Task:
    """Cancel the tasks asked for, as far as nobody has begun them.

    A write of documents is in the nodes' queues before its task is known to anybody: taking it back there, node by
    node, would let replicas differ. It is matched, and not canceled.
    """
    uids = await cluster.store.task_uids(query)
    task = await _begin(cluster, "taskCancelation", "canceledTasks", len(uids), original)
    canceled = await cluster.store.cancel_tasks(uids, by=task.uid)
    return await _end(cluster, task, "canceledTasks", len(canceled))


async def delete(cluster: Cluster, query: TaskQuery, *, original: str) -> Task:
    """Delete the tasks asked for, as far as they have ended; those that are about to are waited for, not for long.

    One Meilisearch begins with a deletion when what it works on has ended, and a client that deletes a task at once
    after making it finds it deleted.
    """
    uids = await cluster.store.task_uids(query)
    task = await _begin(cluster, "taskDeletion", "deletedTasks", len(uids), original)

    async def work() -> dict[str, int]:
        await _wait_for(cluster, uids)
        return {"deletedTasks": await cluster.store.delete_tasks(uids)}

    return await perform(cluster, task, work, wait=0.0)


async def _wait_for(cluster: Cluster, uids: Sequence[int]) -> None:
    """Until these tasks have ended, or `PATIENCE` seconds have passed."""
    left = TaskQuery(uids=tuple(uids), statuses=tuple(status.value for status in UNFINISHED))
    pause, until = POLL_FIRST, time.monotonic() + PATIENCE
    while await cluster.store.task_uids(left) and time.monotonic() < until:
        await finish_on_demand(cluster)
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, POLL_LONGEST)


async def _begin(cluster: Cluster, type: str, counted: str, matched: int, original: str) -> Task:
    details = {"matchedTasks": matched, counted: None, "originalFilter": original}
    return await cluster.store.add_task(NewTask(type=type, details=details, owner=str(this_process())))


async def _end(cluster: Cluster, task: Task, counted: str, count: int) -> Task:
    end = TaskEnd(
        uid=task.uid,
        status=TaskStatus.SUCCEEDED,
        started_at=task.enqueued_at,
        finished_at=now(),
        details={**(task.details or {}), counted: count},
    )
    await cluster.store.end_tasks([end])
    return task


async def visible_indexes(cluster: Cluster, sees: MayTouch, asked: Sequence[str] | None) -> tuple[str, ...]:
    """Those of the indexes that tasks touch which somebody sees, and asked for if he named some."""
    found = await cluster.store.task_indexes() if asked is None else asked
    return tuple(uid for uid in found if sees(uid))
