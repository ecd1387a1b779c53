"""The client's tasks: recording one, and doing the work of those that are not a write.

Work of one index is done in the order of the tasks' uids, whichever process does it. Writes of documents keep behind
it (`store.open_intent`), and what takes an index away waits for the writes before it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from miroir_cli.errors import Interrupted, MiroirError
from miroir_cli.store.journal import Process
from miroir_cli.store.processes import this_process
from miroir_cli.store.tasks import NewTask, Task, TaskEnd, TaskStatus
from miroir_cli.wire import wire_error

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.model import Json

AFTER_WRITES: Final = frozenset({"indexDeletion", "indexSwap"})
"""Work that must not begin before the writes of documents ahead of it have ended."""

POLL_FIRST: Final = 0.005
POLL_LONGEST: Final = 0.25
"""Seconds between two looks at whether it is a task's turn, at first and at most."""

_performed: set[tuple[str, int]] = set()
"""The tasks that this process performs at this moment: where their state is, and the uid."""


def now() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


async def enqueue(
    cluster: Cluster,
    *,
    type: str,
    uid: str | None,
    details: Json | None,
    custom_metadata: str | None = None,
    indexes: Sequence[str] | None = None,
    key: str | None = None,
) -> Task:
    """Record a task, durably: from here on clients see it. `indexes`: all that it touches, if not just `uid`.

    `key`: the idempotency key that stands for it from now on (see `idempotency.once`).
    """
    return await cluster.store.add_task(
        NewTask(
            type=type,
            index_uid=uid,
            details=details,
            custom_metadata=custom_metadata,
            indexes=None if indexes is None else tuple(indexes),
            key=key,
            owner=str(this_process()),
        )
    )


async def perform(
    cluster: Cluster, task: Task, work: Callable[[], Awaitable[Json | None]], *, wait: float = 5.0
) -> Task:
    """Do the work of a task when its turn comes, and give the task as it is once that ended, or after `wait` seconds.

    What the work returns takes its place in the task's details; an error of it becomes the task's. A task that was
    canceled before its turn is left alone.
    """
    running = _running(cluster)
    background = asyncio.create_task(_perform(cluster, task, work))
    running.add(background)
    background.add_done_callback(running.discard)
    await asyncio.wait([background], timeout=wait)
    if background.done():
        background.result()
    return await cluster.store.task(task.uid) or task


async def finish_all(cluster: Cluster) -> None:
    """Wait for all work that this process has begun."""
    while running := _running(cluster):
        await asyncio.wait(set(running))


def alarm(cluster: Cluster) -> asyncio.Event:
    """Set when this process has made a task that somebody has to end."""
    event = cluster.session.setdefault("tasks alarm", asyncio.Event())
    assert isinstance(event, asyncio.Event)
    return event


def _running(cluster: Cluster) -> set[asyncio.Task[None]]:
    running = cluster.session.setdefault("tasks performed", set())
    assert isinstance(running, set)
    return running


async def _perform(cluster: Cluster, task: Task, work: Callable[[], Awaitable[Json | None]]) -> None:
    mark = (cluster.topology.state_place, task.uid)
    _performed.add(mark)
    try:
        await _wait_for_turn(cluster, task)
        if await cluster.store.begin_task(task.uid):
            await cluster.store.end_tasks([await _result(task, work)])
    finally:
        _performed.discard(mark)


async def _result(task: Task, work: Callable[[], Awaitable[Json | None]]) -> TaskEnd:
    error: MiroirError
    try:
        found = await work()
    except MiroirError as raised:
        error = raised
    except Exception as raised:
        error = MiroirError(f"unexpected: {raised!r}")
        error.__cause__ = raised
    else:
        details = None if found is None else {**(task.details or {}), **found}
        return TaskEnd(uid=task.uid, status=TaskStatus.SUCCEEDED, finished_at=now(), details=details)
    return TaskEnd(
        uid=task.uid, status=TaskStatus.FAILED, finished_at=now(), details=_undone(task), error=wire_error(error)
    )


def _undone(task: Task) -> dict[str, Any] | None:
    """Details of a task that failed: what it was to count is 0."""
    if task.details is None:
        return None
    counts = ("deletedDocuments", "indexedDocuments", "editedDocuments")
    return {name: 0 if name in counts and value is None else value for name, value in task.details.items()}


async def _wait_for_turn(cluster: Cluster, task: Task) -> None:
    pause = POLL_FIRST
    while ahead := await cluster.store.tasks_ahead(task, intents=task.type in AFTER_WRITES):
        if pause >= POLL_LONGEST:
            await bury(cluster, ahead)
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, POLL_LONGEST)


async def bury(cluster: Cluster, tasks: Sequence[Task]) -> None:
    """End those of these tasks whose process is gone before their work was done."""
    lost = [task for task in tasks if task.n is None and not await _is_performed(cluster, task)]
    if not lost:
        return
    error = Interrupted(
        "the process that performed this task ended before the task did: it may have been done in part",
        hint="see what the index is like now, and send the request again",
    )
    await cluster.store.end_tasks(
        [
            TaskEnd(
                uid=task.uid,
                status=TaskStatus.FAILED,
                finished_at=now(),
                details=_undone(task),
                error=wire_error(error),
            )
            for task in lost
        ]
    )


async def _is_performed(cluster: Cluster, task: Task) -> bool:
    if task.owner == str(this_process()):
        return (cluster.topology.state_place, task.uid) in _performed or now() - task.enqueued_at < 1000
    return task.owner is None or await cluster.locks.lives(Process.of(task.owner))
