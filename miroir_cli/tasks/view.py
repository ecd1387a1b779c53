"""Tasks as Meilisearch 1.50 shows them. Pure.

Source of the shapes: `meilisearch-types/task_view.rs`, and what a server answers. Unlike there a duration has
milliseconds, and every task is a batch of its own, of the same uid: how a node batches its tasks is its own business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from miroir_cli.tasks.moments import show_duration, show_moment

if TYPE_CHECKING:
    from miroir_cli.store.tasks import Task


def show(task: Task) -> dict[str, Any]:
    """One task, as `GET /tasks/{uid}` answers it."""
    shown: dict[str, Any] = {
        "uid": task.uid,
        "batchUid": None if task.started_at is None else task.uid,
        "indexUid": task.index_uid,
        "status": task.status.value,
        "type": task.type,
        "canceledBy": task.canceled_by,
    }
    if task.details is not None:
        shown["details"] = dict(task.details)
    shown |= {
        "error": None if task.error is None else dict(task.error),
        "duration": show_duration(task.started_at, task.finished_at),
        "enqueuedAt": show_moment(task.enqueued_at),
        "startedAt": None if task.started_at is None else show_moment(task.started_at),
        "finishedAt": None if task.finished_at is None else show_moment(task.finished_at),
    }
    if task.custom_metadata is not None:
        shown["customMetadata"] = task.custom_metadata
    return shown


def receipt(task: Task) -> dict[str, Any]:
    """What a client gets at once for a request that makes a task."""
    shown = {
        "taskUid": task.uid,
        "indexUid": task.index_uid,
        "status": "enqueued",
        "type": task.type,
        "enqueuedAt": show_moment(task.enqueued_at),
    }
    if task.custom_metadata is not None:
        shown["customMetadata"] = task.custom_metadata
    return shown


def show_batch(task: Task) -> dict[str, Any]:
    """The batch that a task is, as `GET /batches/{uid}` answers it."""
    return {
        "uid": task.uid,
        "progress": None,
        "details": dict(task.details or {}),
        "stats": {
            "totalNbTasks": 1,
            "status": {task.status.value: 1},
            "types": {task.type: 1},
            "indexUids": {} if task.index_uid is None else {task.index_uid: 1},
        },
        "duration": show_duration(task.started_at, task.finished_at),
        "startedAt": None if task.started_at is None else show_moment(task.started_at),
        "finishedAt": None if task.finished_at is None else show_moment(task.finished_at),
        "batchStrategy": f"created batch containing only task with id {task.uid} of type `{task.type}`: each node of "
        "the cluster batches its own tasks.",
    }


def masked(secret: str) -> str:
    """A secret as Meilisearch shows it: of a longer one the first letters."""
    for below, kept, cover in ((10, 0, "XXX..."), (20, 2, "XXXX..."), (30, 3, "XXXXX...")):
        if len(secret.encode()) < below:
            return secret[:kept] + cover
    return secret[:5] + "XXXXXX..."
