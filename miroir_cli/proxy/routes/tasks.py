"""Tasks, and batches, of which each holds one task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from miroir_cli.errors import ApiError
from miroir_cli.proxy.parameters import (
    Parameter,
    flag,
    index_uid,
    moment,
    one_of,
    read_parameters,
    several,
    small_number,
    whole,
)
from miroir_cli.proxy.router import Call, NotDone, Reply, Route
from miroir_cli.store.tasks import Task, TaskQuery, TaskStatus
from miroir_cli.tasks.finishing import finish_on_demand
from miroir_cli.tasks.history import cancel, delete, visible_indexes
from miroir_cli.tasks.view import receipt, show, show_batch

TYPES = (
    "documentAdditionOrUpdate", "documentEdition", "documentDeletion", "settingsUpdate", "indexCreation",
    "indexDeletion", "indexUpdate", "indexSwap", "taskCancelation", "taskDeletion", "dumpCreation",
    "snapshotCreation", "export", "upgradeDatabase", "indexCompaction", "networkTopologyChange", "dsrUpdate",
    "dsrClear",
)  # fmt: skip
STATUSES = tuple(status.value for status in TaskStatus)
COLUMNS = {"EnqueuedAt": "enqueued_at", "StartedAt": "started_at", "FinishedAt": "finished_at"}

NUMBERS = several(whole)
DATES = {
    f"{side}{name}": Parameter(moment(after=side == "after"), f"invalid_task_{side}_{column}")
    for name, column in COLUMNS.items()
    for side in ("after", "before")
}
STATUS = one_of(STATUSES, what="task status", plural="statuses")
TYPE = one_of(TYPES, what="task type", plural="types")
CONDITIONS = {
    "batchUids": Parameter(NUMBERS, "invalid_batch_uids"),
    "uids": Parameter(NUMBERS, "invalid_task_uids"),
    "canceledBy": Parameter(NUMBERS, "invalid_task_canceled_by"),
    "types": Parameter(several(TYPE), "invalid_task_types"),
    "statuses": Parameter(several(STATUS), "invalid_task_statuses"),
    "indexUids": Parameter(several(index_uid), "invalid_index_uid"),
    **DATES,
}
PAGING = {
    "limit": Parameter(whole, "invalid_task_limit"),
    "from": Parameter(whole, "invalid_task_from"),
    "reverse": Parameter(flag, "invalid_task_reverse"),
}
LISTING = {**PAGING, **CONDITIONS}
CHOOSING = {"uids": CONDITIONS["uids"], **CONDITIONS}
DEFAULT_LIMIT = 20


def _query_of(values: Mapping[str, Any]) -> TaskQuery:
    """The conditions that parameters name. A batch has its task's uid."""
    uids, batches = values.get("uids"), values.get("batchUids")
    if batches is not None:
        uids = batches if uids is None else tuple(set(uids) & set(batches))

    def limits(side: str) -> dict[str, float]:
        found = {column: values.get(f"{side}{name}") for name, column in COLUMNS.items()}
        return {column: limit for column, limit in found.items() if limit is not None}

    return TaskQuery(
        uids=uids,
        statuses=values.get("statuses"),
        types=values.get("types"),
        index_uids=values.get("indexUids"),
        canceled_by=values.get("canceledBy"),
        before=limits("before"),
        after=limits("after"),
    )


async def _seen(call: Call, query: TaskQuery) -> TaskQuery:
    """The query within what the caller may see."""
    if call.caller.sees_all:
        return query
    indexes = await visible_indexes(call.service.cluster, call.caller.sees, query.index_uids)
    return replace(query, index_uids=indexes)


async def list_tasks(call: Call) -> Reply:
    """`GET /tasks`."""
    tasks, page = await _page(call)
    return Reply(body={"results": [show(task) for task in tasks], **page})


async def list_batches(call: Call) -> Reply:
    """`GET /batches`: those of the tasks that have begun."""
    tasks, page = await _page(call, begun=True)
    return Reply(body={"results": [show_batch(task) for task in tasks], **page})


async def _page(call: Call, *, begun: bool = False) -> tuple[tuple[Task, ...], dict[str, Any]]:
    values = read_parameters(call.query, LISTING)
    await finish_on_demand(call.service.cluster)
    limit = values.get("limit", DEFAULT_LIMIT)
    query = await _seen(call, replace(_query_of(values), begun=begun))
    query = replace(query, limit=limit + 1, from_=values.get("from"), reverse=values.get("reverse", False))
    tasks, total = await call.service.cluster.store.tasks(query)
    following = tasks[limit].uid if len(tasks) > limit else None
    tasks = tasks[:limit]
    start = tasks[0].uid if tasks else None
    return tasks, {"total": total, "limit": limit, "from": start, "next": following}


async def one_task(call: Call) -> Reply:
    """`GET /tasks/{id}`."""
    return Reply(body=show(await _one(call, "Task", "invalid_task_uids", "task_not_found")))


async def one_batch(call: Call) -> Reply:
    """`GET /batches/{id}`."""
    task = await _one(call, "Batch", "invalid_batch_uids", "batch_not_found")
    if task.started_at is None:
        raise ApiError("batch_not_found", f"Batch `{task.uid}` not found.")
    return Reply(body=show_batch(task))


async def _one(call: Call, noun: str, invalid: str, not_found: str) -> Task:
    given = call.path["id"]
    uid = small_number(given)
    if uid is None:
        raise ApiError(invalid, f"{noun} uid `{given}` is invalid. It should only contain numeric characters.")
    store = call.service.cluster.store
    task = await store.task(uid)
    if task is not None and not task.status.final:
        await finish_on_demand(call.service.cluster)
    query = await _seen(call, TaskQuery(uids=(uid,)))
    found, _ = await store.tasks(query)
    if not found:
        raise ApiError(not_found, f"{noun} `{uid}` not found.")
    return found[0]


async def cancel_tasks(call: Call) -> Reply:
    """`POST /tasks/cancel`."""
    query = await _chosen(call, "cancel")
    return Reply(body=receipt(await cancel(call.service.cluster, query, original=f"?{call.query_string}")))


async def delete_tasks(call: Call) -> Reply:
    """`DELETE /tasks`."""
    query = await _chosen(call, "delete")
    await finish_on_demand(call.service.cluster)
    return Reply(body=receipt(await delete(call.service.cluster, query, original=f"?{call.query_string}")))


async def _chosen(call: Call, verb: str) -> TaskQuery:
    values = read_parameters(call.query, CHOOSING)
    if not values:
        raise ApiError(
            "missing_task_filters",
            f"Query parameters to filter the tasks to {verb} are missing. Available query parameters are: `uids`, "
            "`indexUids`, `statuses`, `types`, `canceledBy`, `beforeEnqueuedAt`, `afterEnqueuedAt`, "
            "`beforeStartedAt`, `afterStartedAt`, `beforeFinishedAt`, `afterFinishedAt`.",
        )
    return await _seen(call, _query_of(values))


DOCUMENTS_OF = NotDone(
    what="`GET /tasks/{taskUid}/documents`", reason="a write is kept by the nodes only until it is stored"
)
COMPACT = NotDone(
    what="`POST /tasks/compact`", reason="tasks are in the cluster's state file, which needs no compaction"
)

ROUTES = (
    Route("GET", "/tasks", "tasks.get", list_tasks),
    Route("DELETE", "/tasks", "tasks.delete", delete_tasks),
    Route("POST", "/tasks/cancel", "tasks.cancel", cancel_tasks),
    Route("GET", "/tasks/{id}", "tasks.get", one_task),
    Route("GET", "/tasks/{id}/documents", "tasks.get", DOCUMENTS_OF),
    Route("POST", "/tasks/compact", "tasks.compact", COMPACT),
    Route("GET", "/batches", "tasks.get", list_batches),
    Route("GET", "/batches/{id}", "tasks.get", one_batch),
)
