"""The node: indexes, keys and queue over one data directory, and what each task does."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from . import filters
from .changes import Incoming, collect, infer_primary_key
from .errors import EngineError, index_not_found
from .faults import Faults
from .index import Index
from .keys import Keys
from .payloads import unpacked
from .settings import Settings, merged
from .store import Store
from .taskqueue import Queue
from .tasks import (
    CANCEL,
    CREATE,
    DELETE,
    DELETION,
    DOCUMENTS,
    PRUNE,
    SETTINGS,
    SWAP,
    UPDATE,
    Task,
    timestamp,
)
from .vectors import with_vectors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from .index import Change


class Node:
    """Everything behind the routes. `lock` guards the indexes; tasks run in the queue's thread."""

    def __init__(self, directory: Path, *, master_key: str | None, faults: Faults | None = None) -> None:
        self.faults = faults or Faults()
        self.store = Store(directory)
        self.lock = threading.RLock()
        self.indexes: dict[str, Index] = {}
        self.keys = Keys(self.store, master_key)
        self._runners: dict[str, Callable[[Task], dict[str, Any] | None]] = {
            DOCUMENTS: self._add_documents,
            DELETION: self._delete_documents,
            SETTINGS: self._update_settings,
            CREATE: self._create_index,
            UPDATE: self._update_index,
            DELETE: self._delete_index,
            SWAP: self._swap_indexes,
            CANCEL: self._cancel_tasks,
            PRUNE: self._prune_tasks,
        }
        for record in self.store.records("indexes"):
            index = Index(record["uid"], record)
            index.load(self.store.documents(index.uid))
            self.indexes[index.uid] = index
        self.queue = Queue(self.store, self.faults, lambda task: self._runners[task.type](task))

    def start(self) -> None:
        """Start running tasks."""
        self.queue.start()

    def stop(self) -> None:
        """Stop the queue and close the file."""
        self.queue.stop()
        self.store.close()

    def wipe(self) -> None:
        """Lose the disk while running."""
        with self.lock:
            self.queue.wipe()
            self.store.wipe()
            self.indexes.clear()
            self.keys.load()

    def cancel(self, uid: int) -> None:
        """Cancel one enqueued task by hand."""
        with self.store.transaction():
            self.queue.cancel([uid], uid)

    def index(self, uid: str) -> Index:
        """Return an index or raise `index_not_found`."""
        index = self.indexes.get(uid)
        if index is None:
            raise index_not_found(uid)
        return index

    def _new_index(self, uid: str, primary_key: str | None) -> Index:
        now = timestamp()
        record: dict[str, Any] = {
            "primaryKey": primary_key,
            "createdAt": now,
            "updatedAt": now,
            "settings": {},
            "fields": [],
        }
        return Index(uid, record)

    def _opened(self, task: Task, *, creating: bool) -> Index:
        uid = task.index_uid or ""
        index = self.indexes.get(uid)
        if index is None:
            if not creating or not task.order.get("mayCreate", True):
                raise index_not_found(uid)
            index = self._new_index(uid, None)
            with self.lock, self.store.transaction():
                self.store.put_record("indexes", uid, index.record())
                self.indexes[uid] = index
        return index

    def _commit(
        self,
        task: Task,
        index: Index,
        details: dict[str, Any],
        changes: Iterable[Change] = (),
        *,
        primary_key: str | None = None,
        cleared: bool = False,
    ) -> dict[str, Any]:
        """Store a task's effects and its end in one transaction, then make them visible."""
        changes = list(changes)
        prepared = index.prepare(changes)
        with self.lock, self.store.transaction():
            if cleared:
                self.store.delete_documents(index.uid)
                index.clear()
            else:
                gone = [change.number for change in changes if change.new is None]
                self.store.delete_documents(index.uid, gone)
                rows = ((c.number, c.id, c.body) for c in changes if c.new is not None)
                self.store.put_documents(index.uid, rows)
                index.apply(prepared)
            index.primary_key = primary_key or index.primary_key
            index.updated_at = timestamp()
            self.indexes[index.uid] = index
            self.store.put_record("indexes", index.uid, index.record())
            self.queue.finish(self.queue.succeeded(task, details))
        return details

    def _add_documents(self, task: Task) -> dict[str, Any] | None:
        index = self._opened(task, creating=True)
        documents = unpacked(self.store.payload(task.uid))
        requested = task.order.get("primaryKey")
        primary_key = index.primary_key or requested
        if index.primary_key and requested and requested != index.primary_key and index.bodies:
            message = f"Index already has a primary key: `{index.primary_key}`."
            raise EngineError("index_primary_key_already_exists", message)
        if requested and not index.bodies:
            primary_key = requested
        if documents and primary_key is None:
            primary_key = infer_primary_key(documents[0])
        incoming = Incoming(
            documents=documents,
            primary_key=primary_key or "",
            partial=bool(task.order.get("partial")),
            skip_creation=bool(task.order.get("skipCreation")),
        )
        count, changes = collect(index, incoming)
        details = {**(task.details or {}), "indexedDocuments": count}
        return self._commit(task, index, details, changes, primary_key=primary_key)

    def _delete_documents(self, task: Task) -> dict[str, Any] | None:
        index = self._opened(task, creating=False)
        order = task.order
        if order.get("all"):
            count = len(index.bodies)
            return self._commit(task, index, {**(task.details or {}), "deletedDocuments": count}, cleared=True)
        if "filter" in order:
            with self.lock:
                numbers = list(filters.evaluate_numbers(index, order["filter"], "invalid_document_filter"))
        else:
            numbers = [index.numbers[id_] for id_ in dict.fromkeys(order["ids"]) if id_ in index.numbers]
        changes = [index.deletion(number) for number in numbers]
        return self._commit(task, index, {**(task.details or {}), "deletedDocuments": len(changes)}, changes)

    def _update_settings(self, task: Task) -> dict[str, Any] | None:
        index = self._opened(task, creating=True)
        changes: dict[str, Any] = task.order["settings"]
        current = {} if task.order.get("reset") else index.settings.values
        settings = Settings(merged(current, changes))
        bodies = with_vectors(index, settings["embedders"])
        with self.lock, self.store.transaction():
            if settings.values != index.settings.values:
                index.bodies.update(bodies)
                self.store.put_documents(index.uid, ((n, index.ids[n], body) for n, body in bodies.items()))
                index.replace_settings(settings)
            index.updated_at = timestamp()
            self.indexes[index.uid] = index
            self.store.put_record("indexes", index.uid, index.record())
            self.queue.finish(self.queue.succeeded(task, task.details))
        return task.details

    def _create_index(self, task: Task) -> dict[str, Any] | None:
        uid = task.index_uid or ""
        if uid in self.indexes:
            raise EngineError("index_already_exists", f"Index `{uid}` already exists.")
        index = self._new_index(uid, task.order.get("primaryKey"))
        return self._commit(task, index, task.details or {})

    def _update_index(self, task: Task) -> dict[str, Any] | None:
        index = self._opened(task, creating=False)
        wanted = task.order.get("primaryKey")
        if wanted and index.primary_key != wanted and index.bodies:
            message = f"Index `{index.uid}`: Index already has a primary key: `{index.primary_key}`."
            raise EngineError("index_primary_key_already_exists", message)
        return self._commit(task, index, task.details or {}, primary_key=wanted)

    def _delete_index(self, task: Task) -> dict[str, Any] | None:
        index = self._opened(task, creating=False)
        details = {"deletedDocuments": len(index.bodies)}
        with self.lock, self.store.transaction():
            del self.indexes[index.uid]
            self.store.delete_documents(index.uid)
            self.store.delete_record("indexes", [index.uid])
            self.queue.finish(self.queue.succeeded(task, details))
        return details

    def _swap_indexes(self, task: Task) -> dict[str, Any] | None:
        with self.lock, self.store.transaction():
            for swap in task.order["swaps"]:
                left, right = swap["indexes"]
                for uid in (left,) if swap.get("rename") else (left, right):
                    self.index(uid)
                self._swap(left, right)
                self.queue.rename({left: right, right: left}, before=task.uid)
            self.queue.finish(self.queue.succeeded(task, task.details))
        return task.details

    def _swap(self, left: str, right: str) -> None:
        pair = {right: self.indexes.pop(left), left: self.indexes.pop(right, None)}
        self.store.rename_index(left, "\0")
        self.store.rename_index(right, left)
        self.store.rename_index("\0", right)
        for uid, index in pair.items():
            if index is not None:
                index.uid = uid
                self.indexes[uid] = index
                self.store.put_record("indexes", uid, index.record())

    def _cancel_tasks(self, task: Task) -> dict[str, Any] | None:
        with self.store.transaction():
            count = self.queue.cancel(task.order["uids"], task.uid)
            details = {**(task.details or {}), "canceledTasks": count}
            self.queue.finish(self.queue.succeeded(task, details))
        return details

    def _prune_tasks(self, task: Task) -> dict[str, Any] | None:
        with self.store.transaction():
            count = self.queue.forget(task.order["uids"])
            details = {**(task.details or {}), "deletedTasks": count}
            self.queue.finish(replace(self.queue.succeeded(task, details)))
        return details
