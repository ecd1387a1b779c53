"""How a write's task ends: what the nodes made of it, summed up over shards. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from miroir_cli.errors import IndexNotFound, MiroirError, NodeTaskFailed, ShardUnavailable, WriteUnknown
from miroir_cli.model import IntentState, shards_named
from miroir_cli.node.wording import for_users
from miroir_cli.store.tasks import Task, TaskEnd, TaskStatus
from miroir_cli.tasks.counting import weigh
from miroir_cli.tasks.moments import read_moment
from miroir_cli.wire import wire_error

if TYPE_CHECKING:
    from miroir_cli.model import Index, Intent, Json, NodeName


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A task as one of its nodes shows it. Times are milliseconds since 1970."""

    uid: int
    status: str
    details: Json
    error: Json | None
    started_at: int | None
    finished_at: int | None


def look_of(task: Mapping[str, Any], index: Index) -> Look:
    """What a node shows of a task of this index."""
    error = task.get("error")
    return Look(
        uid=task["uid"],
        status=task["status"],
        details=task.get("details") or {},
        error=None if error is None else {**error, "message": for_users(str(error.get("message")), index)},
        started_at=_moment(task.get("startedAt")),
        finished_at=_moment(task.get("finishedAt")),
    )


def _moment(text: object) -> int | None:
    found = read_moment(text) if isinstance(text, str) else None
    return None if found is None else int(found)


def end_of(
    task: Task, intent: Intent | None, seen: Mapping[NodeName, Mapping[int, Look]], *, patience: float, now: int
) -> TaskEnd | None:
    """How a task ends whose write has ended; None as long as a node is waited for that can say how many documents a
    deletion found: `patience` seconds. `intent` None: nobody knows the write any more. `seen`: what the nodes that
    answered show of their tasks, by uid. `now`: milliseconds since 1970."""
    if intent is None:
        return _failed(task, WriteUnknown(f"what became of task {task.uid} is not known any more"), now=now)
    if intent.state is IntentState.ABORTED:
        return _failed(
            task,
            WriteUnknown(
                "the process that sent this write ended before any node had it: nothing of it is stored",
                hint="send it again",
            ),
            now=now,
        )
    pieces = [(target.node, piece) for target in intent.targets for piece in target.pieces]
    looks = [look for node, piece in pieces if (look := seen.get(node, {}).get(piece.task)) is not None]
    stored = intent.shards - intent.refused - intent.failed if intent.state is IntentState.DONE else frozenset()
    details, certain = _count(task, intent, seen, stored)
    if not certain and now - task.enqueued_at < patience * 1000:
        return None
    started = [look.started_at for look in looks if look.started_at is not None]
    finished = [look.finished_at for look in looks if look.finished_at is not None]
    node_tasks = {target.node: tuple(piece.task for piece in target.pieces) for target in intent.targets}
    error = None if stored == intent.shards else _error(task, intent, looks)
    return TaskEnd(
        uid=task.uid,
        status=TaskStatus.SUCCEEDED if error is None else TaskStatus.FAILED,
        started_at=min(started, default=task.started_at or now),
        finished_at=max(finished, default=now),
        details=details,
        error=error,
        node_tasks=node_tasks,
    )


def _count(
    task: Task, intent: Intent, seen: Mapping[NodeName, Mapping[int, Look]], stored: frozenset[Any]
) -> tuple[dict[str, Any], bool]:
    """The details with what was counted, and whether every count is certain."""
    details = dict(task.details or {})
    name = "indexedDocuments" if "indexedDocuments" in details else "deletedDocuments"
    if not stored:
        return {**details, name: 0}, True
    if name == "indexedDocuments" and stored == intent.shards:
        counts = [
            look.details.get(name)
            for target in intent.targets
            for piece in target.pieces
            if (look := seen.get(target.node, {}).get(piece.task)) is not None and look.status == "succeeded"
        ]
        # Null, as on one node, when it was batched with a deletion of everything.
        return {**details, name: None if counts and all(count is None for count in counts) else task.documents}, True
    parts: dict[frozenset[Any], int] = {}
    for target in intent.targets:
        for piece in target.pieces:
            look = seen.get(target.node, {}).get(piece.task)
            count = look.details.get(name) if look is not None and look.status == "succeeded" else None
            if isinstance(count, int):
                parts[piece.shards] = count
    weights = weigh(list(parts), stored)
    if weights is None:
        return details, False
    counts_in_order = list(parts.values())
    return {**details, name: round(sum(weight * counts_in_order[place] for place, weight in weights.items()))}, True


def _error(task: Task, intent: Intent, looks: Iterable[Look]) -> dict[str, Any]:
    """The error of the first node that failed it, without names of miroir's own."""
    for look in looks:
        if look.status == "failed" and look.error is not None and (intent.failed or not intent.refused):
            return dict(look.error)
    if intent.refused:
        return dict(
            wire_error(
                ShardUnavailable(
                    f"{shards_named(intent.refused)} took nothing of it: {intent.error}; the rest is stored",
                    hint="send it again",
                )
            )
        )
    return dict(wire_error(NodeTaskFailed(intent.error or "every node failed to apply it")))


def deleted(task: Task, *, now: int) -> TaskEnd:
    """How a task ends whose index is gone."""
    return _failed(task, IndexNotFound(f"index `{task.index_uid}` not found"), now=now)


def _failed(task: Task, error: MiroirError, *, now: int) -> TaskEnd:
    details = dict(task.details or {})
    for name in ("indexedDocuments", "deletedDocuments"):
        if name in details:
            details[name] = 0
    return TaskEnd(
        uid=task.uid,
        status=TaskStatus.FAILED,
        started_at=task.started_at or now,
        finished_at=now,
        details=details,
        error=wire_error(error),
    )
