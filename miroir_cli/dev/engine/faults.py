"""Faults that tests switch on: what can go wrong between a client, a node and its disk."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """What a fault does to a request, a task or the node."""

    DELAY = "delay"  # wait `seconds`, then answer as usual
    REFUSE = "refuse"  # answer `status` without executing; `bare` leaves Meilisearch's shape out
    DROP_BEFORE = "drop_before"  # close the connection without executing
    DROP_AFTER = "drop_after"  # execute, then close the connection without an answer
    LATE = "late"  # close the connection now, execute `seconds` later
    FAIL_TASK = "fail_task"  # the next task of `task_type` (any) fails
    TRUNCATE = "truncate"  # the next document addition succeeds with no document
    DELAY_TASK = "delay_task"  # the next task starts `seconds` late


TASK_KINDS = {Kind.FAIL_TASK, Kind.TRUNCATE, Kind.DELAY_TASK}


@dataclass(slots=True, kw_only=True)
class Fault:
    """One armed fault: hits `count` requests or tasks (None: all) that match, then is spent.

    `path` is a regular expression searched in the request path, or matched on the index of a task.
    `code` is the error that a failed task gets.
    """

    kind: Kind
    count: int | None = 1
    method: str | None = None
    path: str | None = None
    seconds: float = 0.0
    status: int = 503
    bare: bool = False
    code: str = "internal"
    task_type: str | None = None
    hits: int = 0

    def spent(self) -> bool:
        """Tell whether it has hit as often as it should."""
        return self.count is not None and self.hits >= self.count


@dataclass(slots=True)
class Faults:
    """The faults of one node; may be changed from any thread while the node runs."""

    armed: list[Fault] = field(default_factory=list)
    paused: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, kind: Kind | str, **options: Any) -> Fault:
        """Arm a fault and return it; `fault.hits` counts what it hit."""
        fault = Fault(kind=Kind(kind), **options)
        with self._lock:
            self.armed.append(fault)
        return fault

    def clear(self) -> None:
        """Disarm everything and let the queue run."""
        with self._lock:
            self.armed.clear()
        self.paused = False

    def pause(self) -> None:
        """Stop the queue: tasks stay enqueued until `resume`."""
        self.paused = True

    def resume(self) -> None:
        """Let the queue run again."""
        self.paused = False

    def for_request(self, method: str, path: str) -> list[Fault]:
        """Take the faults that hit a request; delays stack, the first other one decides."""
        taken: list[Fault] = []
        with self._lock:
            for fault in self.armed:
                if fault.kind in TASK_KINDS or fault.spent():
                    continue
                if fault.method and fault.method != method:
                    continue
                if fault.path and not re.search(fault.path, path):
                    continue
                if fault.kind != Kind.DELAY and any(other.kind != Kind.DELAY for other in taken):
                    continue
                fault.hits += 1
                taken.append(fault)
        return taken

    def for_task(self, kind: Kind, task_type: str, index_uid: str | None) -> Fault | None:
        """Take the fault of a kind that hits a task, if any."""
        with self._lock:
            for fault in self.armed:
                if fault.kind != kind or fault.spent():
                    continue
                if fault.task_type and fault.task_type != task_type:
                    continue
                if fault.path and not re.search(fault.path, index_uid or ""):
                    continue
                fault.hits += 1
                return fault
        return None
