"""The queue: tasks are enqueued by requests and run one after another by one thread."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .errors import EngineError, error_body
from .faults import Kind
from .tasks import CANCEL, DOCUMENTS, PRUNE, Task, TaskFilter, timestamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from .faults import Faults
    from .store import Store

    Runner = Callable[[Task], dict[str, Any] | None]

_FIRST = {CANCEL: 0, PRUNE: 1}


class Queue:
    """All tasks of a node. `run` does one task: returns its final details or raises `EngineError`."""

    def __init__(self, store: Store, faults: Faults, run: Runner) -> None:
        self._store, self._faults, self._run = store, faults, run
        self._wake = threading.Condition()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self.tasks: dict[int, Task] = {}
        self._pending: set[int] = set()
        self._next_uid = 0
        self._next_batch = 0
        self._load()

    def _load(self) -> None:
        for record in self._store.records("tasks"):
            task = Task(**record)
            if task.status == "processing":
                task = replace(task, status="enqueued", started_at=None, batch_uid=None)
            self.tasks[task.uid] = task
            if task.status == "enqueued":
                self._pending.add(task.uid)
        self._next_uid = self._store.value("next_uid", 0)
        self._next_batch = self._store.value("next_batch", 0)

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._work, name="engine-queue", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop after the task in hand; what is enqueued stays so."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        if self._thread is not None:
            self._thread.join()

    def wipe(self) -> None:
        """Forget all tasks, as an empty disk would."""
        with self._wake:
            self.tasks, self._pending = {}, set()
            self._next_uid = self._next_batch = 0

    def enqueue(
        self,
        kind: str,
        index_uid: str | None,
        *,
        details: dict[str, Any] | None = None,
        order: dict[str, Any] | None = None,
        payload: bytes | None = None,
        metadata: str | None = None,
    ) -> Task:
        """Record a task durably and return it."""
        with self._wake:
            task = Task(
                uid=self._next_uid,
                index_uid=index_uid,
                type=kind,
                enqueued_at=timestamp(),
                details=details,
                order=order or {},
                metadata=metadata,
            )
            with self._store.transaction():
                self._store.put_record("tasks", task.uid, task.record(), payload)
                self._store.put_value("next_uid", task.uid + 1)
            self._next_uid += 1
            self.tasks[task.uid] = task
            self._pending.add(task.uid)
            self._wake.notify_all()
        return task

    def matching(self, wanted: TaskFilter) -> list[Task]:
        """Return the tasks a filter means, newest first."""
        tasks = list(self.tasks.values())
        return [task for task in reversed(tasks) if wanted.accepts(task)]

    def is_indexing(self, index_uid: str) -> bool:
        """Tell whether a task of an index runs now."""
        running = [uid for uid in list(self._pending) if self.tasks[uid].status == "processing"]
        return any(self.tasks[uid].index_uid == index_uid for uid in running)

    def finish(self, task: Task) -> None:
        """Record a task's final state; call inside the transaction of its effects."""
        self._store.put_record("tasks", task.uid, task.record())
        self.tasks[task.uid] = task
        self._pending.discard(task.uid)

    def cancel(self, uids: list[int], by: int) -> int:
        """Cancel those tasks that have not run; return how many."""
        count = 0
        for uid in uids:
            task = self.tasks[uid]
            if task.status == "enqueued":
                self.finish(task.canceled(by, timestamp()))
                count += 1
        return count

    def rename(self, names: dict[str, str], *, before: int) -> None:
        """Follow indexes that swapped their names with the tasks they had so far."""
        for task in list(self.tasks.values()):
            if task.index_uid in names and task.uid < before:
                renamed = replace(task, index_uid=names[task.index_uid])
                self._store.update_task(task.uid, renamed.record())
                self.tasks[task.uid] = renamed

    def forget(self, uids: list[int]) -> int:
        """Delete final tasks; return how many."""
        final = [uid for uid in uids if uid in self.tasks and self.tasks[uid].is_final()]
        self._store.delete_record("tasks", final)
        for uid in final:
            del self.tasks[uid]
        return len(final)

    def _take(self) -> Task | None:
        with self._wake:
            while not self._stopping:
                if self._pending and not self._faults.paused:
                    uid = min(self._pending, key=lambda uid: (_FIRST.get(self.tasks[uid].type, 2), uid))
                    return self.tasks[uid]
                self._wake.wait(0.02 if self._faults.paused else 0.5)
        return None

    def _work(self) -> None:
        while (task := self._take()) is not None:
            late = self._faults.for_task(Kind.DELAY_TASK, task.type, task.index_uid)
            if late is not None and not self._sleep(late.seconds, task.uid):
                continue
            with self._wake:
                if self.tasks.get(task.uid) is not task:
                    continue
                task = replace(task, status="processing", started_at=timestamp(), batch_uid=self._next_batch)
                self._next_batch += 1
                self.tasks[task.uid] = task
            self._execute(task)

    def _sleep(self, seconds: float, uid: int) -> bool:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self._stopping or uid not in self._pending:
                return False
            time.sleep(min(left, 0.02))
        return True

    def _execute(self, task: Task) -> None:
        try:
            if failure := self._faults.for_task(Kind.FAIL_TASK, task.type, task.index_uid):
                raise EngineError(failure.code, "An internal error has occurred: the fault switch failed this task.")
            truncated = task.type == DOCUMENTS and self._faults.for_task(Kind.TRUNCATE, task.type, task.index_uid)
            if truncated:
                done = self.succeeded(task, {**(task.details or {}), "indexedDocuments": 0})
                with self._store.transaction():
                    self.finish(done)
                return
            details = self._run(task)
            if not self.tasks[task.uid].is_final():
                with self._store.transaction():
                    self.finish(self.succeeded(task, details))
        except EngineError as error:
            self._fail(task, error.body())
        except Exception as error:
            self._fail(task, error_body("internal", f"An internal error has occurred. `{error!r}`."))

    def succeeded(self, task: Task, details: dict[str, Any] | None) -> Task:
        """Return a running task as succeeded."""
        return replace(task, status="succeeded", details=details, finished_at=timestamp(), order={})

    def _fail(self, task: Task, error: dict[str, Any]) -> None:
        details = task.undone()
        if task.uid not in self.tasks:
            return
        failed = replace(task, status="failed", error=error, details=details, finished_at=timestamp(), order={})
        with self._store.transaction():
            self._store.put_value("next_batch", self._next_batch)
            self.finish(failed)
