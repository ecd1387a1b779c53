"""Tasks: what a write became, and the list of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

STATUSES = ("enqueued", "processing", "succeeded", "failed", "canceled")
DOCUMENTS, DELETION = "documentAdditionOrUpdate", "documentDeletion"
SETTINGS, CREATE, UPDATE, DELETE = "settingsUpdate", "indexCreation", "indexUpdate", "indexDeletion"
SWAP, CANCEL, PRUNE = "indexSwap", "taskCancelation", "taskDeletion"
TYPES = (
    DOCUMENTS, "documentEdition", DELETION, SETTINGS, CREATE, DELETE, UPDATE, SWAP, CANCEL, PRUNE,
    "dumpCreation", "snapshotCreation", "export", "upgradeDatabase", "indexCompaction",
    "networkTopologyChange", "dsrUpdate", "dsrClear",
)  # fmt: skip


def timestamp(moment: datetime | None = None) -> str:
    """Write a moment (default: now) as the API does."""
    text = (moment or datetime.now(UTC)).isoformat()
    return text.replace("+00:00", "Z")


def duration(started: str, finished: str) -> str:
    """Write the time between two timestamps as ISO 8601 duration."""
    begin, end = (datetime.fromisoformat(text) for text in (started, finished))
    return f"PT{(end - begin).total_seconds():.9f}S"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One task; `order` holds what the worker needs beyond the payload."""

    uid: int
    index_uid: str | None
    type: str
    enqueued_at: str
    status: str = "enqueued"
    details: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    canceled_by: int | None = None
    started_at: str | None = None
    finished_at: str | None = None
    batch_uid: int | None = None
    metadata: str | None = None
    order: dict[str, Any] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """Return what the store keeps."""
        return asdict(self)

    def shown(self) -> dict[str, Any]:
        """Return the task object of the API."""
        times = None
        if self.started_at and self.finished_at:
            times = duration(self.started_at, self.finished_at)
        body = {
            "uid": self.uid,
            "batchUid": self.batch_uid,
            "indexUid": self.index_uid,
            "status": self.status,
            "type": self.type,
            "canceledBy": self.canceled_by,
            "details": self.details,
            "error": self.error,
            "duration": times,
            "enqueuedAt": self.enqueued_at,
            "startedAt": self.started_at,
            "finishedAt": self.finished_at,
        }
        if not self.details:
            del body["details"]
        if self.metadata is not None:
            body["customMetadata"] = self.metadata
        return body

    def receipt(self) -> dict[str, Any]:
        """Return the short object that answers a write."""
        return {
            "taskUid": self.uid,
            "indexUid": self.index_uid,
            "status": self.status,
            "type": self.type,
            "enqueuedAt": self.enqueued_at,
        } | ({"customMetadata": self.metadata} if self.metadata is not None else {})

    def is_final(self) -> bool:
        """Tell whether nothing will happen to it any more."""
        return self.status in ("succeeded", "failed", "canceled")

    def undone(self) -> dict[str, Any] | None:
        """Return the details of a task that failed or was canceled: counts become zero."""
        if not self.details:
            return self.details
        counted = ("indexedDocuments", "deletedDocuments", "canceledTasks", "deletedTasks")
        return {key: 0 if key in counted else value for key, value in self.details.items()}

    def canceled(self, by: int, moment: str) -> Task:
        """Return this task canceled by another."""
        return replace(self, status="canceled", canceled_by=by, finished_at=moment, details=self.undone())


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFilter:
    """Which tasks a request means; empty fields mean all."""

    uids: Sequence[int] | None = None
    index_uids: Sequence[str] | None = None
    statuses: Sequence[str] | None = None
    types: Sequence[str] | None = None
    canceled_by: Sequence[int] | None = None
    batch_uids: Sequence[int] | None = None
    moments: Sequence[tuple[str, bool, str]] = ()

    def accepts(self, task: Task) -> bool:
        """Tell whether a task is meant."""
        for wanted, value in (
            (self.uids, task.uid),
            (self.index_uids, task.index_uid),
            (self.statuses, task.status),
            (self.types, task.type),
            (self.canceled_by, task.canceled_by),
            (self.batch_uids, task.batch_uid),
        ):
            if wanted is not None and value not in wanted:
                return False
        for name, after, moment in self.moments:
            value = getattr(task, name)
            if value is None or (value <= moment if after else value >= moment):
                return False
        return True
