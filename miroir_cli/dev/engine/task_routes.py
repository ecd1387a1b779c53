"""Tasks: list, show, cancel, delete."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from .call import Call, Entry, Result
from .errors import EngineError
from .parameters import snake
from .tasks import CANCEL, PRUNE, STATUSES, TYPES, TaskFilter, timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MOMENTS = {
    f"{side}{name}": (f"{snake(name[0].lower() + name[1:])}", side == "after")
    for side in ("before", "after")
    for name in ("EnqueuedAt", "StartedAt", "FinishedAt")
}
_UID = re.compile(r"[A-Za-z0-9_*-]{1,400}\Z")
_LISTS = {"uids", "batchUids", "canceledBy", "types", "statuses", "indexUids"}


def _code(name: str) -> str:
    singular = {"indexUids": "index_uid"}.get(name)
    return f"invalid_{singular}" if singular else f"invalid_task_{snake(name)}"


def _values(name: str, text: str) -> list[Any] | None:
    if text == "*":
        return None
    parts: list[Any] = [part.strip() for part in text.split(",")]
    if name in ("uids", "batchUids", "canceledBy"):
        if not all(part.isdigit() for part in parts):
            raise EngineError(_code(name), f"Invalid value in parameter `{name}`: `{text}`")
        return [int(part) for part in parts]
    known = {"statuses": STATUSES, "types": TYPES}.get(name)
    if known is None:
        if bad := next((part for part in parts if not _UID.fullmatch(part)), None):
            raise EngineError("invalid_index_uid", f"`{bad}` is not a valid index uid.")
        return parts
    lower = {choice.lower(): choice for choice in known}
    for part in parts:
        if part.lower() not in lower:
            raise EngineError(_code(name), f"Invalid value in parameter `{name}`: `{part}` is not a valid one.")
    return [lower[part.lower()] for part in parts]


def task_filter(query: Mapping[str, str], others: set[str]) -> TaskFilter:
    """Read the filter parameters; `others` are the parameters read elsewhere."""
    lists: dict[str, list[Any] | None] = {}
    moments: list[tuple[str, bool, str]] = []
    for name, text in query.items():
        if name in _LISTS:
            lists[snake(name)] = _values(name, text)
        elif name in _MOMENTS:
            try:
                moment = datetime.fromisoformat(text)
            except ValueError:
                raise EngineError(_code(name), f"Invalid value in parameter `{name}`: `{text}`") from None
            aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            moments.append((*_MOMENTS[name], timestamp(aware.astimezone(UTC))))
        elif name not in others:
            raise EngineError("bad_request", f"Unknown parameter `{name}`")
    return TaskFilter(moments=moments, **lists)


def list_tasks(call: Call) -> Result:
    """`GET /tasks`, newest first."""
    numbers = {}
    for name, default in (("limit", "20"), ("from", "")):
        text = call.query.get(name, default)
        if text and not text.isdigit():
            raise EngineError(f"invalid_task_{name}", f"Invalid value in parameter `{name}`: `{text}`")
        numbers[name] = int(text) if text else None
    limit, start = numbers["limit"] or 0, numbers["from"]
    found = call.node.queue.matching(task_filter(call.query, {"limit", "from", "reverse"}))
    reverse = call.query.get("reverse") == "true"
    if reverse:
        found.reverse()
    total = len(found)
    if start is not None:
        found = [task for task in found if (task.uid >= start if reverse else task.uid <= start)]
    page = found[:limit]
    following = found[limit].uid if len(found) > limit else None
    return 200, {
        "results": [task.shown() for task in page],
        "total": total,
        "limit": limit,
        "from": page[0].uid if page else None,
        "next": following,
    }


def get_task(call: Call) -> Result:
    """`GET /tasks/{uid}`."""
    text = call.path["task_uid"]
    if not text.isdigit():
        raise EngineError(
            "invalid_task_uids", f"Task uid `{text}` is invalid. It should only contain numeric characters."
        )
    task = call.node.queue.tasks.get(int(text))
    if task is None:
        raise EngineError("task_not_found", f"Task `{text}` not found.")
    return 200, task.shown()


def _select(kind: str, counted: str) -> Callable[[Call], Result]:
    def handler(call: Call) -> Result:
        if not call.query:
            verb = "delete" if kind == PRUNE else "cancel"
            message = f"Query parameters to filter the tasks to {verb} are missing."
            raise EngineError("missing_task_filters", message)
        uids = [task.uid for task in call.node.queue.matching(task_filter(call.query, set()))]
        shown = "?" + urlencode(call.query, safe="*,:")
        details = {"matchedTasks": len(uids), counted: None, "originalFilter": shown}
        task = call.node.queue.enqueue(kind, None, details=details, order={"uids": uids})
        return 200, task.receipt()

    return handler


TASK_ROUTES = [
    Entry("GET", "/tasks", "tasks.get", list_tasks),
    Entry("GET", "/tasks/{task_uid}", "tasks.get", get_task),
    Entry("POST", "/tasks/cancel", "tasks.cancel", _select(CANCEL, "canceledTasks")),
    Entry("DELETE", "/tasks", "tasks.delete", _select(PRUNE, "deletedTasks")),
]
