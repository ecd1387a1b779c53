"""Requests that count once: the same key and the same request are the same task, however often they are sent.

A key is reserved before anything is sent, and stands for the task from the moment that the task's write is recorded:
whoever dies in between leaves either a reservation of a dead process, which the next one takes over, or the task.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from miroir_cli import metrics
from miroir_cli.errors import ApiError, Locked, WriteUnknown
from miroir_cli.model import IntentState
from miroir_cli.replication.recover import recover
from miroir_cli.store.journal import Process
from miroir_cli.store.processes import this_process
from miroir_cli.store.tasks import Reservation, Task, TaskStatus
from miroir_cli.tasks.registry import POLL_FIRST, POLL_LONGEST, now

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster

KEPT: Final = 24 * 3600 * 1000
"""Milliseconds for which a key stands for its task."""

LONGEST_KEY: Final = 255


def digest_of(method: str, target: str, content_type: str, body: bytes) -> str:
    """What tells one request from another."""
    digest = hashlib.sha256(f"{method} {target}\n{content_type}\n".encode())
    digest.update(body)
    return digest.hexdigest()


async def once(
    cluster: Cluster,
    key: str,
    digest: str,
    *,
    type: str,
    uid: str | None,
    act: Callable[[str], Awaitable[Task]],
) -> Task:
    """Do what a request asks for unless a request with this key did, or does: then its task is the answer.

    `act` is given the key, and records its task with it (`NewTask.key`). `type` and `uid`: those of the task. Raises
    `miroir_idempotency_key_reused` when that was another request, and what keeps the write from being done; the key can
    be used again then.
    """
    if len(key) > LONGEST_KEY:
        raise ApiError("bad_request", f"The header `Idempotency-Key` is longer than {LONGEST_KEY} characters.")
    mine = Reservation(key=key, digest=digest, task=None, owner=str(this_process()))
    deadline = asyncio.get_running_loop().time() + cluster.locks.timeout
    pause = POLL_FIRST
    while True:
        found = await cluster.store.reserve(mine, expires_at=now() + KEPT)
        if found is None:
            return await _act(cluster, mine, act)
        if found.digest != digest:
            metrics.IDEMPOTENCY_HITS.inc("other request")
            raise ApiError(
                "miroir_idempotency_key_reused",
                f"The idempotency key `{key}` was used for another request within the last 24 hours.",
            )
        if found.task is not None:
            task = await _task_of(cluster, found, type=type, uid=uid)
            if task is not None:
                metrics.IDEMPOTENCY_HITS.inc("same request")
                return task
        elif not await cluster.locks.lives(Process.of(found.owner)):
            await cluster.store.release(found)
        elif asyncio.get_running_loop().time() > deadline:
            raise Locked(f"another request with the idempotency key `{key}` has not been answered yet")
        else:
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, POLL_LONGEST)


async def _act(cluster: Cluster, mine: Reservation, act: Callable[[str], Awaitable[Task]]) -> Task:
    try:
        return await act(mine.key)
    finally:
        await asyncio.shield(cluster.store.release(mine))  # nothing once it stands for a task


async def _task_of(cluster: Cluster, found: Reservation, *, type: str, uid: str | None) -> Task | None:
    """The task that a key stands for; None when its write certainly never happened, and the key is free again."""
    assert found.task is not None
    task = await cluster.store.task(found.task)
    if task is None:  # deleted from the history, but done
        return Task(
            uid=found.task,
            type=type,
            status=TaskStatus.SUCCEEDED,
            enqueued_at=found.reserved_at,
            index_uid=uid,
        )
    if task.n is None or task.index_uid is None:
        return task
    intent = (await cluster.store.intents(task.index_uid, [task.n])).get(task.n)
    if intent is not None and intent.incarnation == task.incarnation and intent.state is IntentState.OPEN:
        index = (await cluster.reload(task.index_uid)).index
        async with cluster.locks.order(index.uid):  # whoever sends it holds this
            await recover(cluster, index)
        intent = (await cluster.store.intents(task.index_uid, [task.n])).get(task.n)
    if intent is not None and intent.incarnation == task.incarnation and intent.state is IntentState.OPEN:
        raise WriteUnknown(f"it is not known yet whether task {task.uid} is stored", hint="send the request again")
    if intent is not None and intent.incarnation == task.incarnation and intent.state is IntentState.ABORTED:
        await cluster.store.drop_task(task.uid)
        return None
    return task
