"""A task as it is kept in Redis, and where it is listed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from miroir_cli.model import NodeName
from miroir_cli.store.redis.keys import listing
from miroir_cli.store.tasks import SWAP, Task, TaskEnd, TaskStatus

if TYPE_CHECKING:
    from miroir_cli.store.redis.columns import Wanted
    from miroir_cli.store.redis.subjects import Subject

WORK: Final = listing("task_work")
"""Work that has not ended, by uid. `listing("task_work", name)`: that of an index."""

WRITES: Final = listing("task_writes")
"""Subjects with writes that have not ended. `listing("task_writes", subject)`: those, by their intents' numbers."""

SWAPS: Final = listing("task_swaps")
"""Swaps of indexes, by uid: they name the indexes once more."""

UNTOLD: Final = listing("untold_tasks")
"""Tasks that have ended and of which no webhook was told, by uid."""

CANCELED: Final = listing("canceled_tasks")
"""Canceled tasks, by the uid of the task that did it."""


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The JSON under `miroir:tasks:<uid>`: a `Task` with the number of its subject instead of names, and whether
    webhooks were told. `key`: the idempotency key that stands for it."""

    type: str
    status: TaskStatus
    subject: int
    enqueued_at: int
    started_at: int | None = None
    finished_at: int | None = None
    details: Any = None
    error: Any = None
    custom_metadata: str | None = None
    canceled_by: int | None = None
    n: int | None = None
    node_tasks: dict[str, tuple[int, ...]] = {}
    owner: str | None = None
    documents: int | None = None
    key: str | None = None
    told: bool = False

    @property
    def waits(self) -> bool:
        """Whether it is work that has not ended."""
        return self.n is None and not self.status.final

    def written(self) -> str:
        return msgspec.json.encode(self).decode()


def record_of(text: str) -> Record:
    return _DECODER.decode(text)


_DECODER: Final = msgspec.json.Decoder(Record)


def ended(record: Record, end: TaskEnd) -> Record:
    """As it is once it has ended so."""
    return msgspec.structs.replace(
        record,
        status=end.status,
        started_at=record.started_at if end.started_at is None else end.started_at,
        finished_at=end.finished_at,
        details=record.details if end.details is None else end.details,
        error=end.error,
        canceled_by=end.canceled_by,
        node_tasks={node: tuple(tasks) for node, tasks in end.node_tasks.items()},
    )


def task_of(uid: int, record: Record, subject: Subject) -> Task:
    return Task(
        uid=uid,
        index_uid=subject.index_uid,
        type=record.type,
        status=record.status,
        details=record.details,
        error=record.error,
        enqueued_at=record.enqueued_at,
        started_at=record.started_at,
        finished_at=record.finished_at,
        custom_metadata=record.custom_metadata,
        canceled_by=record.canceled_by,
        incarnation=subject.incarnation,
        n=record.n,
        node_tasks={NodeName(node): tasks for node, tasks in record.node_tasks.items()},
        owner=record.owner,
        documents=record.documents,
    )


def is_wanted(record: Record, wanted: Wanted) -> bool:
    """Whether a task that was found in its columns is still wanted. What never changes of it is not looked at."""
    moments = {"enqueued_at": record.enqueued_at, "started_at": record.started_at, "finished_at": record.finished_at}
    limits = [(moments[column], float("-inf"), limit) for column, limit in wanted.before.items()]
    limits += [(moments[column], limit, float("inf")) for column, limit in wanted.after.items()]
    return (
        (wanted.statuses is None or record.status.value in wanted.statuses)
        and (not wanted.begun or record.started_at is not None)
        and (wanted.subjects is None or record.subject in wanted.subjects)
        and all(moment is not None and low < moment < high for moment, low, high in limits)
    )


def lists_of(uid: int, record: Record, subject: Subject) -> Mapping[str, int]:
    """The sorted sets that name a task, and its score in each."""
    found: dict[str, int] = {}
    if record.waits:
        found |= {WORK: uid} | {listing("task_work", name): uid for name in subject.touched}
    elif not record.status.final:
        assert record.n is not None
        found[listing("task_writes", record.subject)] = record.n
    elif not record.told:
        found[UNTOLD] = uid
    if record.type == SWAP:
        found[SWAPS] = uid
    if record.canceled_by is not None:
        found[CANCELED] = record.canceled_by
    return found
