"""How fast a node's queue goes and how long the rest takes; what failed, by reason. Pure.

Times are milliseconds since 1970 by the node's own clock.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from miroir_cli.model import NodeName

WINDOW: Final = 300_000
"""Milliseconds before now whose tasks tell how fast a queue goes."""

MOST_NAMED: Final = 10
"""Documents that a group of failures names."""

_QUOTED: Final = re.compile(r"`[^`]*`|\"[^\"]*\"|\b\d+\b")
_DOCUMENT: Final = re.compile(
    r"\bdocuments?(?: identifier| with the id| with id| id)?:? `+\"?([^`\"]{1,200})\"?`", re.I
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeTask:
    """A task of a node. `documents`: those that it was sent, `indexed` those that it has stored or deleted, each None
    where that is not known. `mark`: its `customMetadata`."""

    node: NodeName
    uid: int
    type: str
    status: str
    enqueued_at: int
    index: str | None = None
    started_at: int | None = None
    finished_at: int | None = None
    documents: int | None = None
    indexed: int | None = None
    error: str | None = None
    code: str | None = None
    mark: str | None = None
    canceled_by: int | None = None

    @property
    def id(self) -> str:
        """Its name here: `n1/42`."""
        return f"{self.node}/{self.uid}"

    @property
    def final(self) -> bool:
        return self.status not in ("enqueued", "processing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """How fast a queue goes, measured over the time in which its node was at work; None where nothing was done."""

    tasks_per_minute: float | None = None
    documents_per_second: float | None = None


def speed_of(done: Iterable[NodeTask], *, now: int, window: int = WINDOW) -> Speed:
    """The speed of the last minutes: what was done in them, over the time that the node worked on it.

    A node does several tasks in one batch, which begin and end together; time in which nothing was worked on tells
    nothing of its speed.
    """
    begin = now - window
    recent = [task for task in done if task.started_at is not None and (task.finished_at or 0) > begin]
    busy = _covered((max(begin, task.started_at or 0), task.finished_at or 0) for task in recent)
    if not busy:
        return Speed()
    whole = sum(_share(task, begin) for task in recent)
    documents = sum((task.indexed or 0) * _share(task, begin) for task in recent)
    return Speed(
        tasks_per_minute=whole / (busy / 60_000), documents_per_second=documents / (busy / 1000) if documents else None
    )


def _share(task: NodeTask, begin: int) -> float:
    """The part of a task that was done after `begin`."""
    assert task.started_at is not None and task.finished_at is not None
    length = task.finished_at - task.started_at
    return 1.0 if length <= 0 else min(1.0, (task.finished_at - begin) / length)


def _covered(spans: Iterable[tuple[int, int]]) -> int:
    """The time that at least one span covers."""
    total, reached = 0, None
    for start, end in sorted(spans):
        if reached is None or start > reached:
            total += max(0, end - start)
            reached = max(start, end)
        elif end > reached:
            total += end - reached
            reached = end
    return total


def seconds_left(speed: Speed, *, tasks: int, sample: Sequence[NodeTask]) -> float | None:
    """About how long a queue of so many tasks takes; None when that is not known.

    `sample`: its first tasks, from which it is told how many documents all of them have.
    """
    if not tasks:
        return 0.0
    counted = [task.documents for task in sample if task.documents is not None]
    if speed.documents_per_second and counted:
        return sum(counted) * (tasks / len(sample)) / speed.documents_per_second
    return tasks / speed.tasks_per_minute * 60 if speed.tasks_per_minute else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failures:
    """Tasks that failed for one reason: how many on which nodes, the newest as an example, and the documents that the
    reasons name."""

    reason: str
    code: str | None
    count: int
    nodes: tuple[NodeName, ...]
    indexes: tuple[str, ...]
    example: NodeTask
    documents: tuple[str, ...]


def failures_of(tasks: Iterable[NodeTask]) -> tuple[Failures, ...]:
    """Failed tasks by their reason, the most frequent first.

    Two reasons are one that differ only in quoted parts and numbers: in what they are about.
    """
    groups: dict[tuple[str | None, str], list[NodeTask]] = {}
    for task in tasks:
        if task.status == "failed":
            groups.setdefault((task.code, _QUOTED.sub("`…`", task.error or "")), []).append(task)
    found = [_group(members) for members in groups.values()]
    return tuple(sorted(found, key=lambda each: (-each.count, each.reason)))


def _group(members: Sequence[NodeTask]) -> Failures:
    example = max(members, key=lambda task: (task.finished_at or 0, task.id))
    named = dict.fromkeys(name for task in members for name in _DOCUMENT.findall(task.error or ""))
    return Failures(
        reason=example.error or "no reason told",
        code=example.code,
        count=len(members),
        nodes=tuple(sorted({task.node for task in members})),
        indexes=tuple(sorted({task.index for task in members if task.index is not None})),
        example=example,
        documents=tuple(named)[:MOST_NAMED],
    )
