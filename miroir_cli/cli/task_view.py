"""How queues and tasks look, and their JSON documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from miroir_cli.cli.table import Column, Styled, clock_time, counted, spoken
from miroir_cli.queues.consequence import carried_by
from miroir_cli.queues.measure import failures_of

if TYPE_CHECKING:
    from miroir_cli.cli.console import Console
    from miroir_cli.cluster import Cluster
    from miroir_cli.queues.consequence import Consequence
    from miroir_cli.queues.look import Queue
    from miroir_cli.queues.measure import Failures, NodeTask
    from miroir_cli.store.tasks import Task

STYLES = {"failed": "bold red", "canceled": "yellow", "processing": "green", "down": "bold red"}
QUEUE_COLUMNS = (
    Column(name="node", name_like=True, least=12),
    Column(name="enqueued", right=True, keep=True),
    Column(name="processing", right=True, keep=True, optional=True),
    Column(name="oldest", right=True, keep=True, optional=True),
    Column(name="left", right=True, keep=True, optional=True),
    Column(name="failed", right=True, keep=True),
    Column(name="documents/s", right=True, keep=True, optional=True),
    Column(name="tasks/min", right=True, keep=True, optional=True),
)
FAILURE_COLUMNS = (
    Column(name="failed", right=True, keep=True),
    Column(name="on", name_like=True, least=12),
    Column(name="example", keep=True),
    Column(name="reason", wrap=True),
)
TASK_COLUMNS = (
    Column(name="task", keep=True),
    Column(name="status", keep=True),
    Column(name="index", name_like=True, least=12),
    Column(name="what", least=12),
    Column(name="documents", right=True, keep=True),
    Column(name="enqueued", keep=True, optional=True),
    Column(name="took", right=True, keep=True, optional=True),
)


def show_queues(console: Console, queues: Sequence[Queue], limit: int) -> None:
    failures = failures_of(task for queue in queues for task in queue.failed)
    newest = sorted((task for queue in queues for task in queue.tasks), key=lambda task: task.enqueued_at, reverse=True)
    shown = [task_document(task) for task in newest[:limit]]
    document = {
        "nodes": [_queue_document(queue) for queue in queues],
        "failures": [_failures_document(each) for each in failures],
        "tasks": shown,
    }

    def render() -> None:
        console.table(QUEUE_COLUMNS, [_queue_row(queue) for queue in queues])
        if failures:
            console.print()
            console.table(FAILURE_COLUMNS, [_failures_row(each) for each in failures])
        if shown:
            console.print()
            console.table(TASK_COLUMNS, [task_row(task) for task in shown])

    console.show(document, render)


def _queue_document(queue: Queue) -> dict[str, Any]:
    up = queue.error is None
    return {
        "name": queue.node,
        "state": "up" if up else "down",
        "error": queue.error,
        "enqueued": queue.enqueued if up else None,
        "processing": queue.processing if up else None,
        "oldest_at": queue.oldest_at,
        "oldest_seconds": None if queue.oldest_at is None else max(0.0, (queue.now - queue.oldest_at) / 1000),
        "seconds_left": None if not up or queue.seconds_left is None else round(queue.seconds_left, 1),
        "tasks_per_minute": queue.speed.tasks_per_minute,
        "documents_per_second": queue.speed.documents_per_second,
        "failed": len(queue.failed) if up else None,
    }


def _queue_row(queue: Queue) -> tuple[Any, ...]:
    if queue.error is not None:
        return (queue.node, Styled(text="down", style=STYLES["down"]), *[None] * 6)
    age = None if queue.oldest_at is None else spoken(max(0, queue.now - queue.oldest_at) / 1000)
    left = None
    if queue.waiting:
        left = "not known" if queue.seconds_left is None else f"about {spoken(queue.seconds_left)}"
    speed = queue.speed
    return (
        queue.node,
        queue.enqueued,
        queue.processing,
        age,
        left,
        Styled(text=f"{len(queue.failed):,}", style=STYLES["failed"] if queue.failed else ""),
        None if speed.documents_per_second is None else f"{speed.documents_per_second:,.0f}",
        None if speed.tasks_per_minute is None else f"{speed.tasks_per_minute:,.0f}",
    )


def _failures_document(found: Failures) -> dict[str, Any]:
    return {
        "reason": found.reason,
        "code": found.code,
        "count": found.count,
        "nodes": list(found.nodes),
        "indexes": list(found.indexes),
        "example": found.example.id,
        "documents": list(found.documents),
    }


def _failures_row(found: Failures) -> tuple[Any, ...]:
    named = f" (documents {', '.join(found.documents)})" if len(found.documents) > 1 else ""
    return (found.count, ", ".join(found.nodes), found.example.id, f"{found.reason}{named}")


def task_document(task: NodeTask) -> dict[str, Any]:
    took = None if task.started_at is None or task.finished_at is None else task.finished_at - task.started_at
    return {
        "id": task.id,
        "node": task.node,
        "uid": task.uid,
        "index": task.index,
        "type": task.type,
        "status": task.status,
        "carries": carried_by(task).value,
        "documents": task.documents,
        "done": task.indexed,
        "enqueued_at": task.enqueued_at,
        "started_at": task.started_at,
        "finished_at": task.finished_at,
        "seconds": None if took is None else took / 1000,
        "error": task.error,
        "code": task.code,
    }


def task_row(task: Mapping[str, Any]) -> tuple[Any, ...]:
    return (
        task["id"],
        Styled(text=task["status"], style=STYLES.get(task["status"], "")),
        task["index"],
        task["type"],
        task["documents"],
        clock_time(task["enqueued_at"], seconds=True),
        None if task["seconds"] is None else f"{task['seconds']:.1f} s",
    )


def client_document(task: Task) -> dict[str, Any]:
    details = task.details or {}
    took = None if task.started_at is None or task.finished_at is None else task.finished_at - task.started_at
    error = task.error or {}
    return {
        "id": str(task.uid),
        "uid": task.uid,
        "index": task.index_uid,
        "type": task.type,
        "status": task.status.value,
        "documents": task.documents,
        "done": details.get("indexedDocuments", details.get("deletedDocuments")),
        "enqueued_at": task.enqueued_at,
        "started_at": task.started_at,
        "finished_at": task.finished_at,
        "seconds": None if took is None else took / 1000,
        "error": error.get("message"),
        "code": error.get("code"),
    }


TIMES = (("began", "started_at"), ("ended", "finished_at"))


def show_task(console: Console, found: Mapping[str, Any]) -> None:
    of = "a client's task" if found["kind"] == "client" else "a node's task"
    about = f" of index `{found['index']}`" if found["index"] else ""
    console.print(f"{found['id']}, {of}: {found['type']}{about}, {found['status']}")
    times = [f"enqueued {clock_time(found['enqueued_at'], seconds=True)}"]
    times += [f"{name} {clock_time(found[key], seconds=True)}" for name, key in TIMES if found[key] is not None]
    console.print(", ".join(times))
    if found["documents"] is not None:
        done = "" if found["done"] is None else f", {found['done']:,} done"
        console.print(f"{counted(found['documents'], 'document')}{done}")
    if found["error"] is not None:
        console.print(f"{found['code']}: {found['error']}")
    if found["kind"] == "client":
        if found["node_tasks"]:
            console.print(f"carried by {', '.join(found['node_tasks'])}")
        return
    if found["write"] is not None:
        console.print(f"carries write {found['write']} of index `{found['index']}`")
    elif found["carries"] == "move":
        console.print("belongs to a move of a shard: `miroir rebalance status`, `miroir journal list`")
    elif found["carries"] == "state":
        console.print("keeps a copy of the cluster's state on the node")
    if found["client_task"] is not None:
        console.print(f"for task {found['client_task']} of a client: `miroir tasks show {found['client_task']}`")


def cancel_document(task: NodeTask, consequence: Consequence, *, done: bool) -> dict[str, Any]:
    return {
        "task": task_document(task),
        "cancelled": done,
        "carries": consequence.carries.value,
        "write": consequence.n,
        "stale": sorted(consequence.stale),
        "lost": sorted(consequence.lost),
        "told": consequence.told,
    }


async def client_task(cluster: Cluster, uid: int) -> dict[str, Any]:
    """The document of a task that a client was given. Raises `NotFound`."""
    from miroir_cli.errors import NotFound
    from miroir_cli.tasks.finishing import finish_on_demand
    from miroir_cli.tasks.view import show

    await finish_on_demand(cluster)
    task = await cluster.store.task(uid)
    if task is None:
        raise NotFound(f"no client has a task {uid}", hint=f"a node's own is `NODE/{uid}`: run `miroir tasks list`")
    carriers = {str(name): list(uids) for name, uids in task.node_tasks.items()}
    if not carriers and task.index_uid is not None and task.n is not None:
        for intent in (await cluster.store.intents(task.index_uid, [task.n])).values():
            carriers = {str(t.node): [piece.task for piece in t.pieces] for t in intent.targets}
    return {
        **client_document(task),
        "kind": "client",
        "write": task.n,
        "node_tasks": [f"{name}/{each}" for name, uids in sorted(carriers.items()) for each in uids],
        "raw": show(task),
    }


async def node_task(cluster: Cluster, node: Any, uid: int) -> dict[str, Any]:
    """The document of a task of a node, with the write that it carries."""
    from miroir_cli.queues.cancel import intent_carried
    from miroir_cli.queues.look import read_task

    task, raw = await read_task(cluster, node, uid)
    intent = await intent_carried(cluster, task)
    number = None
    if intent is not None:
        client = await cluster.store.task_of(intent.uid, intent.incarnation, intent.n)
        number = None if client is None else client.uid
    return {
        **task_document(task),
        "kind": "node",
        "write": None if intent is None else intent.n,
        "client_task": number,
        "raw": raw,
    }
