"""Requests that become a task: counted once by their key, and, where this process performs it, done in its turn."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from miroir_cli.proxy.router import Reply
from miroir_cli.tasks.idempotency import digest_of, once
from miroir_cli.tasks.registry import enqueue, perform
from miroir_cli.tasks.view import receipt

if TYPE_CHECKING:
    from miroir_cli.model import Json
    from miroir_cli.proxy.router import Call
    from miroir_cli.store.tasks import Task


async def accepted(
    call: Call,
    work: Callable[[], Awaitable[Json | None]],
    *,
    type: str,
    uid: str | None,
    details: Json | None,
    indexes: Sequence[str] | None = None,
    custom_metadata: str | None = None,
) -> Reply:
    """The receipt of a task that does `work` when its turn comes; what that returns completes the task's details."""
    cluster = call.service.cluster
    made = False

    async def make(key: str | None) -> Task:
        nonlocal made
        made = True
        return await enqueue(
            cluster, type=type, uid=uid, details=details, indexes=indexes, key=key, custom_metadata=custom_metadata
        )

    task = await counted_once(call, make, type=type, uid=uid)
    if made:
        await perform(cluster, task, work, wait=0.0)
    return Reply(status=202, body=receipt(task))


async def counted_once(call: Call, act: Callable[[str | None], Awaitable[Task]], *, type: str, uid: str | None) -> Task:
    """The task that `act` makes, which is given the request's `Idempotency-Key`: or the one that an equal request with
    that key has made. Raises as `once`."""
    key = call.headers.get("idempotency-key")
    if not key:
        return await act(None)
    digest = digest_of(call.method, call.target, call.content_type, call.body)
    return await once(call.service.cluster, key, digest, type=type, uid=uid, act=act)
