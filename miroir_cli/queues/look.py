"""Asking all nodes for their queues."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from miroir_cli.errors import MiroirError, NodeRefusal, NodeUnavailable, NotFound, UsageError, first_of
from miroir_cli.model import NodeName, StoredUid
from miroir_cli.node.wording import for_users
from miroir_cli.queues.measure import WINDOW, NodeTask, Speed, seconds_left, speed_of
from miroir_cli.tasks.moments import read_moment

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.model import Index
    from miroir_cli.node.client import NodeClient

Names = Mapping[StoredUid, "Index"]
"""The indexes of the cluster by their names on the nodes."""

PAGE = 1000
"""Tasks of a node that are looked at: of a longer queue the oldest, of failures the newest."""

WAITING = "enqueued,processing"
DONE = "succeeded,failed,canceled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which tasks: of one index, on some nodes (all when empty), in one state, enqueued since a moment; at most so
    many."""

    index: str | None = None
    nodes: tuple[NodeName, ...] = ()
    status: str | None = None
    since: int | None = None
    limit: int = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """A node's queue. `now`: by the node's clock. `oldest_at`: when its first task was enqueued. `failed`: the newest
    failures since then; `tasks`: the newest that are wanted. With `error` the node did not answer."""

    node: NodeName
    error: str | None = None
    now: int = 0
    enqueued: int = 0
    processing: int = 0
    oldest_at: int | None = None
    speed: Speed = Speed()
    seconds_left: float | None = None
    failed: tuple[NodeTask, ...] = ()
    tasks: tuple[NodeTask, ...] = ()

    @property
    def waiting(self) -> int:
        return self.enqueued + self.processing


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What is left in the queues: tasks for each node that answers, and why the others do not."""

    left: Mapping[NodeName, int] = field(default_factory=dict)
    silent: Mapping[NodeName, str] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(self.left.values())


async def look_at_queues(cluster: Cluster, wanted: Wanted, *, failures_since: int) -> tuple[Queue, ...]:
    """The queues of all nodes that are wanted, in the order of the topology file."""
    names = await _names(cluster)
    index = await _stored(cluster, wanted.index, names)
    found = await cluster.fleet.each(
        lambda client: _within(
            client, _look(client, wanted, index, names, failures_since), limit=cluster.patience.answer
        ),
        names=chosen(cluster, wanted.nodes),
    )
    return tuple(
        Queue(node=name, error=queue.message) if isinstance(queue, MiroirError) else queue
        for name, queue in found.items()
    )


async def count_waiting(cluster: Cluster, wanted: Wanted) -> Waiting:
    """How many tasks are left."""
    names = chosen(cluster, wanted.nodes)
    index = await _stored(cluster, wanted.index, await _names(cluster))

    async def count(client: NodeClient) -> int:
        page = client.tasks(index=index, limit=1, statuses=WAITING)
        return _total(await _within(client, page, limit=cluster.patience.answer))

    found = await cluster.fleet.each(count, names=names)
    return Waiting(
        left={name: count for name, count in found.items() if not isinstance(count, MiroirError)},
        silent={name: error.message for name, error in found.items() if isinstance(error, MiroirError)},
    )


async def _names(cluster: Cluster) -> Names:
    return {index.stored_as: index for index in await cluster.store.indexes()}


async def _stored(cluster: Cluster, uid: str | None, names: Names) -> StoredUid | None:
    """What nodes call an index. A name that stands for none of the cluster's may be that of one that is gone; one that
    nodes have for another index is not meant. Raises `IndexNotFound` for it."""
    if uid is None:
        return None
    for stored_as, index in names.items():
        if index.uid == uid:
            return stored_as
    if StoredUid(uid) in names:
        raise await cluster.not_found(uid)
    return StoredUid(uid)


def chosen(cluster: Cluster, names: Sequence[NodeName]) -> list[NodeName]:
    """The names of the nodes to ask. Raises `NotFound` for one that the topology file does not have."""
    return [cluster.topology.node(name).name for name in names] if names else list(cluster.fleet)


def named(text: str) -> tuple[NodeName, int] | int:
    """`n1/42` as the task 42 of node `n1`; `42` as the task of a client. Raises `UsageError`."""
    node, slash, number = text.rpartition("/")
    if not (number.isascii() and number.isdigit() and len(number) < 19) or bool(slash) != bool(node):
        raise UsageError(
            f"`{text}` is no task",
            hint="`n1/42` is task 42 of node `n1`, `42` one that a client of the proxy was given",
        )
    return (NodeName(node), int(number)) if slash else int(number)


async def read_task(cluster: Cluster, node: NodeName, uid: int) -> tuple[NodeTask, dict[str, Any]]:
    """One task of a node, and the whole of what the node tells of it. Raises `NotFound`."""
    client = cluster.fleet[cluster.topology.node(node).name]
    try:
        found = await client.task(uid)
    except NodeRefusal as error:
        if error.status != 404:
            raise
        hint = f"run `miroir tasks list --node {node}`"
        raise NotFound(f"node `{node}` has no task {uid}", hint=hint) from error
    return task_of(client.name, found, await _names(cluster)), found


def task_of(node: NodeName, found: Mapping[str, Any], names: Names) -> NodeTask:
    """A task from a node's own words, with the names that clients know its index by."""
    index = names.get(StoredUid(found.get("indexUid") or ""))
    details, error = found.get("details") or {}, found.get("error") or {}
    message = error.get("message")
    indexed = details.get("indexedDocuments", details.get("deletedDocuments"))
    return NodeTask(
        node=node,
        uid=int(found["uid"]),
        type=str(found["type"]),
        status=str(found["status"]),
        enqueued_at=_moment(found.get("enqueuedAt")) or 0,
        index=found.get("indexUid") if index is None else index.uid,
        started_at=_moment(found.get("startedAt")),
        finished_at=_moment(found.get("finishedAt")),
        documents=_whole(details.get("receivedDocuments", details.get("providedIds"))),
        indexed=_whole(indexed),
        error=message if message is None or index is None else for_users(message, index),
        code=error.get("code"),
        mark=found.get("customMetadata"),
        canceled_by=found.get("canceledBy"),
    )


async def _look(
    client: NodeClient, wanted: Wanted, index: StoredUid | None, names: Names, failures_since: int
) -> Queue:
    clock = (await client.greet()).clock
    now = int((clock if clock is not None else time.time()) * 1000)
    since: dict[str, Any] = {"afterEnqueuedAt": _text(wanted.since)} if wanted.since is not None else {}
    status: dict[str, Any] = {"statuses": wanted.status} if wanted.status is not None else {}
    async with asyncio.TaskGroup() as group:
        ahead = group.create_task(client.tasks(index=index, limit=PAGE, reverse="true", statuses=WAITING))
        working = group.create_task(client.tasks(index=index, limit=1, statuses="processing"))
        done = group.create_task(client.tasks(limit=PAGE, statuses=DONE, afterFinishedAt=_text(now - WINDOW)))
        failed = group.create_task(
            client.tasks(index=index, limit=PAGE, statuses="failed", afterFinishedAt=_text(failures_since))
        )
        newest = group.create_task(client.tasks(index=index, limit=wanted.limit, **since, **status))
    pages = [
        [task_of(client.name, task, names) for task in page.result()["results"]]
        for page in (ahead, done, failed, newest)
    ]
    waiting, processing = _total(ahead.result()), _total(working.result())
    speed = speed_of(pages[1], now=now)
    return Queue(
        node=client.name,
        now=now,
        enqueued=max(0, waiting - processing),
        processing=processing,
        oldest_at=min((task.enqueued_at for task in pages[0]), default=None),
        speed=speed,
        seconds_left=seconds_left(speed, tasks=waiting, sample=pages[0]),
        failed=tuple(pages[2]),
        tasks=tuple(pages[3]),
    )


async def _within(client: NodeClient, work: Any, *, limit: float) -> Any:
    try:
        async with asyncio.timeout(limit):
            return await work
    except ExceptionGroup as group:
        raise first_of(group) from group
    except TimeoutError:
        raise NodeUnavailable(
            f"node `{client.name}` did not answer within {limit:g} s", node=client.name, sent=True
        ) from None


def _total(page: Mapping[str, Any]) -> int:
    return int(page.get("total", len(page["results"])))


def _text(moment: int) -> str:
    return datetime.fromtimestamp(moment / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _moment(text: object) -> int | None:
    found = read_moment(text) if isinstance(text, str) else None
    return None if found is None else int(found)


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None
