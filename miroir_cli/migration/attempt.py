"""One attempt to change a node's copy past the writers: every request carries its nonce, none is sent twice.

Source: protocol rules F and M7. After an answer that is unknown, a refusal for good or a task that fails, the attempt
is over: what it sent may still arrive, so the next one fences the node and takes a new nonce, and where writers have
slots a new one of these.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from miroir_cli.migration.side import Limit
from miroir_cli.model import ShardId, shard_filter
from miroir_cli.node.answers import Accepted, Answer, Refused
from miroir_cli.node.client import path_of
from miroir_cli.store.journal import MOVER_PREFIX

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.model import Index
    from miroir_cli.node.client import NodeClient

LEAST_FOR_A_WRITE: Final = 0.5
"""Seconds that must be left to send anything: a request that is given up in the middle spoils the attempt."""

MOST_KEYS: Final = 50_000
"""Keys of one deletion."""

POLL_LONGEST: Final = 0.25
POLL_HELD: Final = 0.02
"""Seconds between two looks at a node's tasks, the second while writers wait."""

TASK_LIMIT: Final = 3600.0
"""Seconds within which a node has to end one of the tasks that an attempt has sent it."""


class Spoilt(Exception):
    """The attempt is over; `doubtful` when something that it sent may still arrive. `code` is that of the error of the
    task that failed."""

    def __init__(self, reason: str, *, doubtful: bool = False, code: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.doubtful = doubtful
        self.code = code


def new_nonce() -> str:
    return secrets.token_hex(8)


@dataclass(kw_only=True)
class Attempt:
    """The requests of one attempt to one node. `sent` maps its tasks to the documents that each must index."""

    cluster: Cluster
    index: Index
    client: NodeClient
    nonce: str
    limit: Limit = field(default_factory=Limit)
    report: Callable[[int], None] = lambda documents: None
    sent: dict[int, int | None] = field(default_factory=dict)

    @property
    def metadata(self) -> str:
        return f"{MOVER_PREFIX}{self.nonce}"

    async def add(self, documents: Sequence[bytes]) -> None:
        """Write documents; they are in the node's queue when this returns."""
        answer = await self._send("POST", "documents", b"\n".join(documents), "application/x-ndjson")
        if isinstance(answer, Refused) and answer.status == 413 and len(documents) > 1:
            middle = len(documents) // 2
            await self.add(documents[:middle])
            await self.add(documents[middle:])
            return
        self.sent[self._task(answer)] = len(documents)

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete documents by their keys."""
        for start in range(0, len(keys), MOST_KEYS):
            await self._delete_page(list(keys[start : start + MOST_KEYS]))

    async def _delete_page(self, keys: Sequence[str]) -> None:
        answer = await self._send("POST", "documents/delete-batch", msgspec.json.encode(keys))
        if isinstance(answer, Refused) and answer.status == 413 and len(keys) > 1:
            middle = len(keys) // 2
            await self._delete_page(keys[:middle])
            await self._delete_page(keys[middle:])
            return
        self.sent[self._task(answer)] = None

    async def delete_shards(self, shards: Sequence[ShardId]) -> None:
        """Delete every document of these shards."""
        body = msgspec.json.encode({"filter": shard_filter(shards)})
        self.sent[self._task(await self._send("POST", "documents/delete", body))] = None

    async def drop_index(self) -> None:
        """Delete the index with everything in it. Raises `NodeRefusal` when the node has none."""
        answer = await self._send("DELETE", "", None)
        if isinstance(answer, Refused) and answer.status == 404:
            raise answer.error
        self.sent[self._task(answer)] = None

    async def wait(self, *, timeout: float = TASK_LIMIT) -> None:
        """Until everything sent is stored. Raises `Spoilt` when a task failed or lost documents, or when the node has
        not ended one for `timeout` seconds, and `TimeoutError` when the attempt's limit has passed."""
        pause, moved = 0.01, time.monotonic()
        while self.sent:
            if await self._collect():
                moved = time.monotonic()
                continue
            if self.limit.passed:
                raise TimeoutError
            if time.monotonic() - moved > timeout:
                raise Spoilt(f"node `{self.client.name}` has not ended a task for {timeout:g} s", doubtful=True)
            await asyncio.sleep(pause if self.limit.until is None else POLL_HELD)
            pause = min(pause * 1.5, POLL_LONGEST)

    async def _collect(self) -> bool:
        """Take finished tasks off the list; whether there were any."""
        uids = sorted(self.sent)[:100]
        page = await self.client.tasks(uids=",".join(map(str, uids)), limit=len(uids))
        found = {task["uid"]: task for task in page["results"]}
        if len(found) < len(uids):
            raise Spoilt(f"node `{self.client.name}` has lost tasks that it had accepted", doubtful=True)
        ended = [task for task in found.values() if task["status"] not in ("enqueued", "processing")]
        for task in ended:
            expected = self.sent.pop(task["uid"])
            self._check(task, expected)
            self.report(expected or 0)
        return bool(ended)

    def _check(self, task: Mapping[str, object], expected: int | None) -> None:
        if task["status"] != "succeeded":
            found = task.get("error")
            error = found if isinstance(found, dict) else {}
            reason = error.get("message", task["status"])
            raise Spoilt(f"task {task['uid']} on node `{self.client.name}`: {reason}", code=error.get("code"))
        details = task.get("details")
        indexed = details.get("indexedDocuments") if isinstance(details, dict) else None
        if expected is not None and isinstance(indexed, int) and indexed != expected:
            raise Spoilt(f"task {task['uid']} on node `{self.client.name}` indexed {indexed} of {expected} documents")

    async def _send(
        self, method: str, path: str, content: bytes | None, content_type: str = "application/json"
    ) -> Answer:
        """One request; sent again only after the node said for certain that it did nothing and is busy."""
        pause = 0.1
        while True:
            if self.limit.seconds(1.0) < LEAST_FOR_A_WRITE:
                raise TimeoutError
            answer = await self.client.write(
                method,
                path_of(self.index.stored_as, path),
                content=content,
                content_type=content_type,
                params={"customMetadata": self.metadata},
                timeout=self.limit.seconds(self.cluster.patience.write),
            )
            if not isinstance(answer, Refused) or answer.status not in (408, 429, 503):
                return answer
            if pause > self.cluster.patience.busy:
                return answer
            await asyncio.sleep(max(pause, answer.retry_after or 0.0))
            pause *= 2

    def _task(self, answer: Answer) -> int:
        if isinstance(answer, Accepted):
            return answer.task
        raise Spoilt(answer.error.message, doubtful=not isinstance(answer, Refused))
