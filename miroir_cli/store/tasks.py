"""Tasks as clients see them, what asks for them, and the keys that make a request count once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from miroir_cli.model import Json, NodeName


class TaskStatus(StrEnum):
    """As Meilisearch names them."""

    ENQUEUED = "enqueued"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def final(self) -> bool:
        """Whether it stays so."""
        return self not in (TaskStatus.ENQUEUED, TaskStatus.PROCESSING)


UNFINISHED = (TaskStatus.ENQUEUED, TaskStatus.PROCESSING)

SWAP = "indexSwap"
"""The type of tasks that name indexes once more, in their details."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTask:
    """A task that is about to be recorded.

    `indexes`: the indexes that it touches, where that is not just `index_uid` (a swap). `key`: the client's
    idempotency key, reserved before, which stands for this task from now on. `owner`: the process that performs it.
    `documents`: how many distinct ones a write sends.
    """

    type: str
    index_uid: str | None = None
    details: Json | None = None
    custom_metadata: str | None = None
    indexes: tuple[str, ...] | None = None
    key: str | None = None
    owner: str | None = None
    documents: int | None = None

    @property
    def touched(self) -> tuple[str, ...]:
        """Every index that it touches, each once."""
        if self.indexes is not None:
            return tuple(dict.fromkeys(self.indexes))
        return () if self.index_uid is None else (self.index_uid,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task. Times are milliseconds since 1970. `incarnation` and `n`: the intent that it stands for, if it does.

    `node_tasks`: the tasks of the nodes that carried it. `owner`: the process that performs one without an intent.
    """

    uid: int
    type: str
    status: TaskStatus
    enqueued_at: int
    index_uid: str | None = None
    details: Json | None = None
    error: Json | None = None
    started_at: int | None = None
    finished_at: int | None = None
    custom_metadata: str | None = None
    canceled_by: int | None = None
    incarnation: int | None = None
    n: int | None = None
    node_tasks: Mapping[NodeName, tuple[int, ...]] = field(default_factory=dict)
    owner: str | None = None
    documents: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEnd:
    """How a task ends. `details` takes the place of those it had, unless None."""

    uid: int
    status: TaskStatus
    finished_at: int
    started_at: int | None = None
    details: Json | None = None
    error: Json | None = None
    canceled_by: int | None = None
    node_tasks: Mapping[NodeName, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskQuery:
    """Which tasks: those that fulfil every condition given. `before` and `after` are for the columns `enqueued_at`,
    `started_at`, `finished_at`, in milliseconds, both exclusive. `from_` and `limit` cut a page, newest first unless
    `reverse`. `begun`: only those that were."""

    uids: tuple[int, ...] | None = None
    statuses: tuple[str, ...] | None = None
    types: tuple[str, ...] | None = None
    index_uids: tuple[str, ...] | None = None
    canceled_by: tuple[int, ...] | None = None
    before: Mapping[str, float] = field(default_factory=dict)
    after: Mapping[str, float] = field(default_factory=dict)
    begun: bool = False
    limit: int | None = None
    from_: int | None = None
    reverse: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """An idempotency key in use. `task` is None until its request's task is recorded; `owner` is its process.
    `reserved_at`: milliseconds since 1970."""

    key: str
    digest: str
    task: int | None
    owner: str
    reserved_at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Where final tasks are told, and with which headers."""

    uuid: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
