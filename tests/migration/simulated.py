"""Whole nodes without a network, in virtual time: indexes on a disk, a queue that a node works off at its own pace, and
a socket in which requests can wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

import msgspec

from miroir_cli.errors import NodeUnavailable
from miroir_cli.model import SHARD_FIELD, NodeName
from miroir_cli.node.answers import Answer, Refused, Unknown
from tests.migration.disk import Change, Document, Indexes, Refusal, StoredIndex, change_of, matches
from tests.migration.process import PROCESS, step
from tests.migration.weather import Weather
from tests.replication.simulated import Delivery, Killed, SimulatedNode


class MovingNode(SimulatedNode):
    """One node with its disk. `stepped` is called after each of its tasks, `told` with whatever happens to it."""

    def __init__(
        self, name: NodeName, weather: Weather, *, stepped: Callable[[], None], told: Callable[[str], None]
    ) -> None:
        super().__init__(name)
        self.weather = weather
        self.stepped = stepped
        self.told = told
        self.indexes: Indexes = {}
        self.disk = 0
        """Counts the disks that the node has had."""
        self.changes = 0
        """Counts what has happened to its documents."""
        self.held = False
        """Whether the queue stands still."""
        self._thawed = asyncio.Event()
        self._thawed.set()
        self._working = False
        self._changes: dict[int, Change] = {}

    def documents_of(self, uid: str) -> dict[str, Document]:
        found = self.indexes.get(uid)
        return found.documents if found is not None else {}

    # -- what happens to it

    def stop(self) -> None:
        """The process of the node ends; what waits in its sockets is gone."""
        self.up = False
        self.waiting.clear()
        self.told(f"{self.name} stops")

    def start(self) -> None:
        self.up = True
        self.told(f"{self.name} starts")
        self._work()

    def lose_disk(self) -> None:
        self.disk += 1
        self.indexes.clear()
        self.all_tasks.clear()
        self._changes.clear()
        self.waiting.clear()
        self.changes += 1
        self.told(f"{self.name} has an empty disk")

    def freeze(self) -> None:
        self._thawed.clear()
        self.told(f"{self.name} freezes")

    def thaw(self) -> None:
        if not self._thawed.is_set():
            self._thawed.set()
            self.told(f"{self.name} goes on")
            asyncio.get_running_loop().call_later(self.weather.lateness(), self.take_in)
            self._work()

    def hold(self, held: bool) -> None:
        self.held = held
        self.told(f"the queue of {self.name} {'stands still' if held else 'goes on'}")
        self._work()

    # -- its queue

    def enqueue(self, request: Mapping[str, Any]) -> int:
        fields = dict(request)
        change = fields.pop("change")
        task = super().enqueue(fields)
        self._changes[task] = change
        self.told(f"{self.name} #{task} {request['type']} {request['indexUid']} {request['customMetadata'] or ''}")
        self._work()
        return task

    def _work(self) -> None:
        if not self._working and self._changes and self.up and not self.held and self._thawed.is_set():
            self._working = True
            asyncio.get_running_loop().call_later(self.weather.task_time(), self._run_next, self.disk)

    def _run_next(self, disk: int) -> None:
        self._working = False
        if self.up and not self.held and self._thawed.is_set() and disk == self.disk:
            task = self.all_tasks[min(self._changes)]
            self.run_task(outcome="succeeded" if task["indexUid"] == "_miroir" else self.weather.outcome())
        self._work()

    def run_task(self, *, outcome: str = "succeeded") -> None:
        uid = min(self._changes)
        task, change = self.all_tasks[uid], self._changes.pop(uid)
        counted = task["type"] == "documentAdditionOrUpdate"
        if outcome == "failed" or (outcome == "truncated" and not counted):
            self._fail(task, "it failed")
        elif outcome == "truncated":
            task |= {"status": "succeeded", "details": {"indexedDocuments": 0}}
        else:
            try:
                indexed = change(self.indexes)
                task |= {"status": "succeeded", "details": {"indexedDocuments": indexed} if counted else {}}
            except Refusal as refusal:
                self._fail(task, str(refusal))
        if outcome != "succeeded":
            self.told(f"{self.name} #{uid} {outcome}")
        self.changes += 1
        self.stepped()

    def _fail(self, task: dict[str, Any], message: str) -> None:
        code = message if message.startswith("index_") else "internal"
        task |= {"status": "failed", "details": {}, "error": {"message": message, "code": code, "type": "internal"}}

    def delay(self, request: dict[str, Any]) -> None:
        disk = self.disk

        def arrive() -> None:
            if not self._thawed.is_set():
                self.waiting.append(request)
            elif self.up and self.disk == disk:
                self.enqueue(request)

        asyncio.get_running_loop().call_later(self.weather.lateness(), arrive)

    # -- what miroir asks of it

    async def get(self, path: str, *, params: Mapping[str, Any] | None = None, timeout: float | None = None) -> Any:
        return await self._asked(lambda: self.answer(path, params or {}), timeout)

    async def read(self, path: str, body: Mapping[str, Any], *, timeout: float | None = None) -> Any:
        return msgspec.json.decode(await self.read_raw(path, body, timeout=timeout))

    async def read_raw(self, path: str, body: Mapping[str, Any], *, timeout: float | None = None) -> bytes:
        return msgspec.json.encode(await self._asked(lambda: self._found(path, body), timeout))

    async def _asked(self, answer: Callable[[], Any], timeout: float | None) -> Any:
        """The answer is that of the moment at which the question arrives."""
        await self._reach(timeout)
        try:
            found = answer()
        finally:
            await asyncio.sleep(self.weather.latency())
        if not self.up or self.weather.random.random() < self.weather.silence:
            raise self.away(sent=True)
        step()
        return found

    async def _reach(self, timeout: float | None) -> None:
        step()
        await asyncio.sleep(self.weather.latency())
        if not self._thawed.is_set():
            try:
                async with asyncio.timeout(timeout or 1.0):
                    await self._thawed.wait()
            except TimeoutError:
                raise self.away(sent=True) from None
        self.answering()

    def answer(self, path: str, params: Mapping[str, Any]) -> Any:
        match [unquote(part) for part in path.split("/")]:
            case ["health"]:
                return {"status": "available"}
            case ["batches"]:
                return {"results": []}
            case ["tasks", uid]:
                return dict(self.all_tasks[int(uid)])
            case ["indexes", uid]:
                return {"uid": uid, "primaryKey": self._index(uid).primary_key}
            case ["indexes", uid, "settings"]:
                return dict(self._index(uid).settings)
            case ["indexes", uid, "stats"]:
                return {"numberOfDocuments": len(self._index(uid).documents), "avgDocumentSize": 50}
            case ["indexes", uid, "documents", key]:
                document = self._index(uid).documents.get(key)
                if document is None:
                    raise self.refusal(f"no document `{key}`", status=404, code="document_not_found")
                return dict(document)
        return super().answer(path, params)

    def _index(self, uid: str) -> StoredIndex:
        found = self.indexes.get(uid)
        if found is None:
            raise self.refusal(f"no index `{uid}`", status=404, code="index_not_found")
        return found

    def _found(self, path: str, body: Mapping[str, Any]) -> Any:
        """The answer to a search for counts or to `documents/fetch`."""
        uid = unquote(path.split("/")[1])
        index = self._index(uid)
        if path.endswith("/search"):
            counts: dict[str, int] = {}
            for document in index.documents.values():
                counts[document[SHARD_FIELD]] = counts.get(document[SHARD_FIELD], 0) + 1
            return {"hits": [], "facetDistribution": {SHARD_FIELD: counts}}
        if not index.can_filter():
            raise self.refusal("not filterable", status=400, code="invalid_document_filter")
        chosen = [each for each in index.documents.values() if matches(each, body["filter"])]
        if "ids" in body:
            chosen = [each for each in chosen if each["id"] in body["ids"]]
        total, chosen = len(chosen), chosen[: body["limit"]]
        if body.get("fields") is not None:
            chosen = [{name: each[name] for name in body["fields"]} for each in chosen]
        return {"results": chosen, "total": total}

    async def write(
        self,
        method: str,
        path: str,
        *,
        content: bytes | None = None,
        content_type: str = "application/json",
        params: Mapping[str, Any] | None = None,
        timeout: float = 120.0,
        as_admin: bool = False,
    ) -> Answer:
        del as_admin
        request = self._request(method, path, content or b"", content_type, params or {})
        delivery = self.weather.delivery()
        try:
            await self._reach(timeout)
        except NodeUnavailable as error:
            if not error.sent:
                return Refused(error=error)
            self.waiting.append(request)
            return Unknown(error=error)
        except asyncio.CancelledError:
            if self.up and self.weather.random.random() < 0.5:
                self.delay(request)  # it was on its way already
            raise
        answer = self._deliver_to_process(request, delivery)
        disk = self.disk
        await asyncio.sleep(self.weather.latency())
        if not self.up or disk != self.disk:
            return Unknown(error=self.away(sent=True))
        step()
        return answer

    def _deliver_to_process(self, request: dict[str, Any], delivery: Delivery) -> Answer:
        """A kill hits the process that sends, if one does."""
        if delivery is not Delivery.TAKEN:
            self.told(f"{self.name} {delivery.value}: {request['type']} {request['customMetadata'] or ''}")
        try:
            return self.deliver(request, delivery)
        except Killed:
            process = PROCESS.get()
            if process is None:
                return Unknown(error=self.away(sent=True))
            process.die()
            raise

    def _request(
        self, method: str, path: str, content: bytes, content_type: str, params: Mapping[str, Any]
    ) -> dict[str, Any]:
        parts = [unquote(part) for part in path.split("/")]
        kind, change = change_of(method, parts, content, content_type)
        uid = parts[1] if len(parts) > 1 else msgspec.json.decode(content)["uid"]
        return {"indexUid": uid, "type": kind, "customMetadata": params.get("customMetadata"), "change": change}
