"""Nodes without a network: queues whose tasks run, fail and lose their payload when the test says so."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from enum import Enum
from typing import Any
from urllib.parse import unquote

import msgspec

from miroir_cli.errors import NodeRefusal, NodeUnavailable
from miroir_cli.model import Node, NodeName
from miroir_cli.node.answers import Accepted, Answer, Refused, Unknown
from miroir_cli.node.client import NodeClient


class Killed(BaseException):
    """The process that sends is gone."""


class Delivery(Enum):
    """What becomes of the next write sent to a node."""

    TAKEN = "taken"
    REFUSED = "refused"
    BUSY = "busy"
    LOST = "lost"
    """Never arrives; nobody answers."""
    UNANSWERED = "unanswered"
    """Taken; nobody answers."""
    LATE = "late"
    """Waits in the socket; taken in some time later, at the latest when a fence has passed."""
    KILLED_BEFORE = "killed before"
    KILLED_AFTER = "killed after"
    KILLED_LATE = "killed, late"


class SimulatedNode(NodeClient):
    """One node. `documents` are those applied, {key: value}; `waiting` the requests not taken in yet; `cluster_id` that
    of its marker."""

    def __init__(self, name: NodeName) -> None:
        super().__init__(Node(name=name, url=f"http://{name}.test"))
        self.up = True
        self.cluster_id = ""
        self.all_tasks: list[dict[str, Any]] = []
        self.documents: dict[str, Any] = {}
        self.waiting: list[dict[str, Any]] = []
        self.deliveries: deque[Delivery] = deque()

    # -- what the test does to it

    def run_task(self, *, outcome: str = "succeeded") -> None:
        """Run the oldest task of the queue: `succeeded`, `failed`, or `truncated`."""
        task = next((task for task in self.all_tasks if task["status"] == "enqueued"), None)
        if task is None:
            return
        task["status"] = "failed" if outcome == "failed" else "succeeded"
        if outcome == "succeeded":
            self.documents.update(task["documents"])
        task["details"] = {"indexedDocuments": len(task["documents"]) if outcome == "succeeded" else 0}

    def take_in(self) -> None:
        """Take in what waits in the sockets."""
        for request in self.waiting:
            self.enqueue(request)
        self.waiting.clear()

    def enqueue(self, request: Mapping[str, Any]) -> int:
        self.all_tasks.append({"uid": len(self.all_tasks), "status": "enqueued", **request})
        return len(self.all_tasks) - 1

    # -- what miroir asks of it

    def answering(self) -> None:
        if not self.up:
            raise self.away()

    def away(self, *, sent: bool = False) -> NodeUnavailable:
        return NodeUnavailable(f"node `{self.name}` is away", node=self.name, sent=sent)

    async def get(self, path: str, *, params: Mapping[str, Any] | None = None, timeout: float | None = None) -> Any:
        await asyncio.sleep(0)
        self.answering()
        found = self.answer(path, params or {})
        await asyncio.sleep(0)
        return found

    def answer(self, path: str, params: Mapping[str, Any]) -> Any:
        """What the node says at this moment to a GET."""
        match path.split("/"):
            case ["health"]:
                self.take_in()  # it comes before the grace of a fence, within which a node takes in what waits
                return {"status": "available"}
            case ["version"]:
                return {"pkgVersion": "1.50.0", "engine": "simulated"}
            case ["tasks"]:
                return self._page(params)
            case ["indexes", "_miroir", "documents", key]:
                return {"id": key, "cluster_id": self.cluster_id, "node": self.name}
        raise self.away()

    def _page(self, params: Mapping[str, Any]) -> dict[str, Any]:
        start, limit = params.get("from"), params["limit"]
        if params.get("reverse") == "true":
            candidates = self.all_tasks[start or 0 :]
        else:
            candidates = self.all_tasks[: len(self.all_tasks) if start is None else start + 1][::-1]
        found = [task for task in candidates if _matches(task, params)]
        return {
            "results": [dict(task) for task in found[:limit]],
            "next": found[limit]["uid"] if len(found) > limit else None,
        }

    async def write(
        self,
        method: str,
        path: str,
        *,
        content: bytes | None = None,
        content_type: str = "application/json",
        params: Mapping[str, Any] | None = None,
        timeout: float = 0.0,
        as_admin: bool = False,
    ) -> Answer:
        del as_admin
        uid = unquote(path.split("/")[1])
        lines = (content or b"").splitlines() if content_type == "application/x-ndjson" else []
        documents = {document["id"]: document["value"] for document in map(msgspec.json.decode, lines)}
        request = {
            "indexUid": uid,
            "type": "documentAdditionOrUpdate",
            "customMetadata": (params or {}).get("customMetadata"),
            "documents": documents,
        }
        await asyncio.sleep(0)
        if not self.up:
            return Refused(error=self.away())
        if uid == "_miroir":
            return Accepted(task=self.enqueue(request | {"documents": {}}))
        return self.deliver(request, self.deliveries.popleft() if self.deliveries else Delivery.TAKEN)

    def deliver(self, request: dict[str, Any], delivery: Delivery) -> Answer:
        """What becomes of a request that is on its way."""
        if delivery is Delivery.KILLED_BEFORE:
            raise Killed
        if delivery is Delivery.REFUSED:
            return Refused(error=self.refusal("it is not taken", status=400), status=400)
        if delivery is Delivery.BUSY:
            return Refused(error=self.away(), status=429)
        if delivery in (Delivery.LATE, Delivery.KILLED_LATE):
            self.delay(request)
        elif delivery is not Delivery.LOST:
            task = self.enqueue(request)
        if delivery in (Delivery.KILLED_AFTER, Delivery.KILLED_LATE):
            raise Killed
        if delivery is Delivery.TAKEN:
            return Accepted(task=task)
        return Unknown(error=NodeUnavailable("no answer", node=self.name, sent=True))

    def delay(self, request: dict[str, Any]) -> None:
        """Leave the request waiting in the socket."""
        self.waiting.append(request)

    def refusal(self, message: str, *, status: int, code: str = "invalid") -> NodeRefusal:
        return NodeRefusal(message, status=status, node_code=code, node=self.name)


def _matches(task: Mapping[str, Any], params: Mapping[str, Any]) -> bool:
    """Whether a task is among those that are asked for."""
    for name, key in (("indexUids", "indexUid"), ("types", "type"), ("statuses", "status"), ("uids", "uid")):
        wanted = params.get(name)
        if wanted is not None and str(task[key]) not in wanted.split(","):
            return False
    return True
