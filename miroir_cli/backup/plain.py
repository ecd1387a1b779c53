"""One Meilisearch that is not a node of the cluster: documents are copied from it, or to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final

import msgspec

from miroir_cli.errors import (
    AuthenticationFailed,
    ForeignNode,
    MiroirError,
    NodeRefusal,
    NodeTaskFailed,
    NodeUnavailable,
    NodeUnsupported,
)
from miroir_cli.migration.compare import Reader, as_written
from miroir_cli.migration.side import EVERYTHING, READ_LIMIT
from miroir_cli.model import RESERVED_INDEX, Node, NodeName, StoredUid
from miroir_cli.node.answers import Accepted, Refused
from miroir_cli.node.client import NodeClient, path_of

TASK_PAGE: Final = 1000
MOST_KEYS: Final = 50_000
MOST_BYTES: Final = 64 << 20
"""Bytes that may be in the server's queue at a time."""

RETRY_FIRST: Final = 0.2
RETRY_LONGEST: Final = 10.0
POLL_FIRST: Final = 0.02
POLL_LONGEST: Final = 0.5


class _Listed(msgspec.Struct):
    uid: str
    primaryKey: str | None


def _checked(index: dict[str, Any]) -> dict[str, Any]:
    """An index as a server describes it, if it does."""
    msgspec.convert(index, _Listed)
    return index


class PlainServer:
    """A server by its address. Every method raises `NodeUnavailable`, `AuthenticationFailed` or the server's own
    refusal, with hints that fit a server which no topology file names. What is written carries `mark` in its tasks."""

    def __init__(self, url: str, *, key: str | None, retry_for: float = 60.0, mark: str = "") -> None:
        self.url = url.rstrip("/")
        self.retry_for = retry_for
        self.mark = mark
        self._client = NodeClient(Node(name=NodeName(self.url), url=self.url), key=key)
        self._sent: dict[int, int] = {}
        """Tasks in its queue with the bytes of each."""

    async def close(self) -> None:
        await self._client.close()

    # reading

    async def check(self) -> None:
        """Make sure that it is a Meilisearch which takes our key, new enough for marks if there is one. Raises
        `ForeignNode` for a node of a cluster, which has parts of indexes with what is miroir's own."""
        with self._translated():
            await self._client.greet()
            if self.mark:
                await self._client.version()
        if await self.index(RESERVED_INDEX) is not None:
            raise ForeignNode(
                f"server `{self.url}` is a node of a cluster", hint="name a server that no topology file names"
            )

    async def indexes(self) -> list[dict[str, Any]]:
        """All indexes as the server lists them: `uid`, `primaryKey`."""
        found: list[dict[str, Any]] = []
        with self._translated():
            while True:
                page = await self._client.get("indexes", params={"limit": TASK_PAGE, "offset": len(found)})
                found += map(_checked, page["results"])
                if len(found) >= page["total"] or not page["results"]:
                    return found

    async def index(self, uid: str) -> dict[str, Any] | None:
        with self._translated():
            try:
                return _checked(await self._client.index(StoredUid(uid)))
            except NodeRefusal as error:
                if error.status == 404:
                    return None
                raise

    async def settings(self, uid: str) -> dict[str, Any]:
        with self._translated():
            return await self._client.settings(StoredUid(uid))

    async def count(self, uid: str) -> int:
        with self._translated():
            return int((await self._client.stats(StoredUid(uid)))["numberOfDocuments"])

    async def keys(self, uid: str, primary_key: str) -> list[str]:
        """All primary keys as text, of one moment."""
        body = {"fields": [primary_key], "limit": EVERYTHING}
        answer = await self._fetch(uid, body)
        with self._translated():
            return await asyncio.to_thread(Reader(primary_key).keys, answer)

    async def documents(self, uid: str, primary_key: str, keys: Sequence[str]) -> dict[str, bytes]:
        """Those of these documents that exist, by key, as they are written elsewhere."""
        body = {"ids": list(keys), "limit": len(keys), "retrieveVectors": True}
        answer = await self._fetch(uid, body)
        with self._translated():
            found = Reader(primary_key).documents(answer)
            return {key: as_written(document) for key, document in found.items()}

    async def _fetch(self, uid: str, body: Mapping[str, Any]) -> bytes:
        path = path_of(StoredUid(uid), "documents/fetch")
        return await self._again(lambda: self._client.read_raw(path, body, timeout=READ_LIMIT))

    async def _again(self, ask: Any) -> bytes:
        """A question until it is answered, or `retry_for` seconds have passed."""
        pause, deadline = RETRY_FIRST, time.monotonic() + self.retry_for
        while True:
            try:
                with self._translated():
                    found: bytes = await ask()
                    return found
            except NodeUnavailable:
                if time.monotonic() + pause > deadline:
                    raise
            await asyncio.sleep(pause)
            pause = min(pause * 2, RETRY_LONGEST)

    # writing

    async def create(self, uid: str, primary_key: str, settings: Mapping[str, Any]) -> None:
        """Create an index, or give an empty one its settings."""
        if await self.index(uid) is None:
            body = {"uid": uid, "primaryKey": primary_key or None}
            await self._run("POST", "indexes", msgspec.json.encode(body))
        await self._run("PATCH", path_of(StoredUid(uid), "settings"), msgspec.json.encode(settings))

    async def delete(self, uid: str) -> None:
        await self._run("DELETE", path_of(StoredUid(uid)), None)

    async def add(self, uid: str, documents: Sequence[bytes]) -> None:
        """Write documents: they are in its queue when this returns. The same ones may be written twice: a request
        without an answer is sent again."""
        content = b"\n".join(documents)
        path = path_of(StoredUid(uid), "documents")
        try:
            task = await self._send("POST", path, content, "application/x-ndjson", marked=True)
        except NodeRefusal as error:
            if error.status != 413 or len(documents) == 1:
                raise
            middle = len(documents) // 2
            await self.add(uid, documents[:middle])
            await self.add(uid, documents[middle:])
            return
        self._sent[task] = len(content)
        while sum(self._sent.values()) > MOST_BYTES:
            await self._collect()

    async def remove(self, uid: str, keys: Sequence[str]) -> None:
        """Delete documents."""
        rest = iter(keys)
        while page := list(islice(rest, MOST_KEYS)):
            path = path_of(StoredUid(uid), "documents/delete-batch")
            self._sent[await self._send("POST", path, msgspec.json.encode(page), marked=True)] = 0

    async def stored(self) -> None:
        """Wait until everything that was written is stored. Raises `NodeTaskFailed` with the server's reason."""
        while self._sent:
            await self._collect()

    async def is_marked(self, uid: str) -> bool:
        """Whether nobody but writers with our mark has changed documents of an index since it was created."""
        start: int | None = None
        while True:
            params = {} if start is None else {"from": start}
            with self._translated():
                page = await self._client.tasks(index=StoredUid(uid), limit=TASK_PAGE, **params)
            for task in page["results"]:
                if task["type"] == "indexCreation" and task["status"] == "succeeded":
                    return True
                if str(task["type"]).startswith("document") and task.get("customMetadata") != self.mark:
                    return False
            start = page.get("next")
            if start is None:
                return False

    async def _run(self, method: str, path: str, content: bytes | None) -> None:
        self._sent[await self._send(method, path, content)] = 0
        await self.stored()

    async def _send(
        self,
        method: str,
        path: str,
        content: bytes | None,
        content_type: str = "application/json",
        *,
        marked: bool = False,
    ) -> int:
        pause, deadline = RETRY_FIRST, time.monotonic() + self.retry_for
        params = {"customMetadata": self.mark} if marked and self.mark else None
        while True:
            answer = await self._client.write(method, path, content=content, content_type=content_type, params=params)
            if isinstance(answer, Accepted):
                return answer.task
            lasting = isinstance(answer, Refused) and not answer.temporary
            if lasting or time.monotonic() + pause > deadline:
                with self._translated():
                    raise answer.error
            await asyncio.sleep(pause)
            pause = min(pause * 2, RETRY_LONGEST)

    async def _collect(self) -> None:
        """Wait until one of the tasks on their way has ended."""
        pause = POLL_FIRST
        while True:
            uids = sorted(self._sent)[:100]
            answer = await self._again(lambda: self._tasks(uids))  # noqa: B023 - asked before the next turn
            with self._translated():
                tasks = [task for task in msgspec.json.decode(answer)["results"] if task["uid"] in self._sent]
                ended = [task for task in tasks if task["status"] not in ("enqueued", "processing")]
            for task in ended:
                del self._sent[task["uid"]]
                if task["status"] != "succeeded":
                    reason = (task.get("error") or {}).get("message", task["status"])
                    raise NodeTaskFailed(f"task {task['uid']} of `{self.url}`: {reason}")
            if ended:
                return
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, POLL_LONGEST)

    async def _tasks(self, uids: Sequence[int]) -> bytes:
        page = await self._client.tasks(uids=",".join(map(str, uids)), limit=len(uids))
        return msgspec.json.encode(page)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Errors of a node, said of a server; and what comes of reading an answer that is none."""
        try:
            yield
        except NodeUnavailable as error:
            raise NodeUnavailable(
                self._of_server(error),
                node=error.node,
                sent=error.sent,
                retry_after=error.retry_after,
                hint="check the address and that the server runs, then run the same command again",
            ) from error
        except AuthenticationFailed as error:
            raise AuthenticationFailed(
                self._of_server(error), hint="name the variable that holds its key: `--key-env VARIABLE`"
            ) from error
        except NodeUnsupported as error:
            raise NodeUnsupported(
                self._of_server(error), hint=(error.hint or "").replace("the url in the topology file", "the address")
            ) from error

        except (KeyError, TypeError, ValueError, msgspec.MsgspecError) as error:
            raise NodeUnavailable(
                f"server `{self.url}` answered a body of an unknown shape",
                node=self.url,
                sent=True,
                hint="check that the address is that of a Meilisearch, and what stands between it and here",
            ) from error

    def _of_server(self, error: MiroirError) -> str:
        return error.message.replace("node `", "server `", 1).replace(f" at {self.url}", "")
