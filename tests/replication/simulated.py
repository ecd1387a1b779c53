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
from miroir_cli.node.answers import Accepted, Answer, NodeVersion, Refused, Unknown
from miroir_cli.node.client import NodeClient


class Killed(BaseException):
    """The process that sends is gone."""


class Delivery(Enum):
    """What becomes of the next write sent to a node."""

    TAKEN = "taken"
    REFUSED = "refused"
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
            self._enqueue(request)
        self.waiting.clear()

    def _enqueue(self, request: Mapping[str, Any]) -> int:
        self.all_tasks.append({"uid": len(self.all_tasks), "status": "enqueued", **request})
        return len(self.all_tasks) - 1

    # -- what miroir asks of it

    def _answering(self) -> None:
        if not self.up:
            raise self._away()

    def _away(self) -> NodeUnavailable:
        return NodeUnavailable(f"node `{self.name}` is away", node=self.name, sent=False)

    async def health(self, *, timeout: float = 5.0) -> None:
        """Comes before the grace of a fence, within which a node takes in what waits."""
        await asyncio.sleep(0)
        self._answering()
        self.take_in()

    async def version(self) -> NodeVersion:
        self._answering()
        return NodeVersion(package="1.50.0", engine="simulated")

    async def get(self, path: str, *, params: Mapping[str, Any] | None = None, timeout: float | None = None) -> Any:
        raise self._away()

    async def get_document(self, uid: str, key: str, *, fields: list[str] | None = None) -> dict[str, Any]:
        self._answering()
        return {"id": key, "cluster_id": self.cluster_id, "node": self.name}

    async def tasks(self, *, timeout: float | None = None, **params: Any) -> dict[str, Any]:
        await asyncio.sleep(0)
        self._answering()
        found = [task for task in self.all_tasks if params.get("indexUids") in (None, task["indexUid"])]
        start = params.get("from")
        if params.get("reverse") == "true":
            found = [task for task in found if start is None or task["uid"] >= start]
        else:
            found = [task for task in reversed(found) if start is None or task["uid"] <= start]
        await asyncio.sleep(0)
        limit = params["limit"]
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
    ) -> Answer:
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
            return Refused(error=self._away())
        if uid == "_miroir":
            return Accepted(task=self._enqueue(request | {"documents": {}}))
        return self._deliver(request, self.deliveries.popleft() if self.deliveries else Delivery.TAKEN)

    def _deliver(self, request: dict[str, Any], delivery: Delivery) -> Answer:
        if delivery is Delivery.KILLED_BEFORE:
            raise Killed
        if delivery is Delivery.REFUSED:
            refusal = NodeRefusal("wrong", status=400, node_code="invalid", node=self.name)
            return Refused(error=refusal, status=400)
        if delivery in (Delivery.LATE, Delivery.KILLED_LATE):
            self.waiting.append(request)
        elif delivery is not Delivery.LOST:
            task = self._enqueue(request)
        if delivery in (Delivery.KILLED_AFTER, Delivery.KILLED_LATE):
            raise Killed
        if delivery is Delivery.TAKEN:
            return Accepted(task=task)
        return Unknown(error=NodeUnavailable("no answer", node=self.name, sent=True))
