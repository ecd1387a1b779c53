"""One copy of a shard, on one node: its keys, its documents, and the node's queue of the index's tasks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

from miroir_cli.errors import NodeUnavailable
from miroir_cli.migration.compare import Reader
from miroir_cli.model import SHARD_FIELD, Index, ShardId, spell_shard
from miroir_cli.node.client import path_of

if TYPE_CHECKING:
    import msgspec

    from miroir_cli.node.client import NodeClient

EVERYTHING: Final = 2**31 - 1
"""A limit that no shard reaches: one answer is one snapshot, pages are not."""

READ_LIMIT: Final = 120.0
"""Seconds for one answer of a whole shard's keys, or of a page of documents."""

PAGE_BYTES: Final = 4 << 20
FIRST_PAGE: Final = 200
LARGEST_PAGE: Final = 5000
TASK_PAGE: Final = 1000


Answer = TypeVar("Answer")


@dataclass(slots=True)
class Limit:
    """How long requests may take at this moment: no longer than until `until`, when that is set (monotonic)."""

    until: float | None = None

    def seconds(self, longest: float) -> float:
        return longest if self.until is None else min(longest, max(0.05, self.until - time.monotonic()))

    @property
    def passed(self) -> bool:
        return self.until is not None and time.monotonic() >= self.until


async def together(questions: Iterable[Coroutine[Any, Any, Answer]]) -> list[Answer]:
    """Ask all at once. Raises the first error as it is, once no question is on its way any more."""
    try:
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(question) for question in questions]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in asked]


class Side:
    """A shard of an index on one node. Every method raises the node's own error when it does not answer."""

    def __init__(self, client: NodeClient, index: Index, shard: ShardId, *, limit: Limit | None = None) -> None:
        self.client = client
        self.index = index
        self.shard = shard
        self.limit = limit or Limit()
        self._path = path_of(index.stored_as, "documents/fetch")
        self._filter = f'{SHARD_FIELD} = "{spell_shard(shard)}"'
        self._reader = Reader(index.primary_key)
        self._page = FIRST_PAGE

    async def keys(self) -> frozenset[str]:
        """All primary keys of the shard, of one moment."""
        body = {"filter": self._filter, "fields": [self.index.primary_key], "limit": EVERYTHING}
        answer = await self.client.read_raw(self._path, body, timeout=self.limit.seconds(READ_LIMIT))
        with self.client.understood():
            return frozenset(self._reader.keys(answer))

    async def count(self) -> int:
        """How many documents the shard has."""
        answer = await self.client.read_raw(self._path, {"filter": self._filter, "limit": 0, "fields": []})
        with self.client.understood():
            return self._reader.total(answer)

    async def documents(self, keys: Sequence[str]) -> dict[str, msgspec.Raw]:
        """Those of these documents that exist, by key."""
        if not keys:
            return {}
        body = {"ids": list(keys), "filter": self._filter, "limit": len(keys), "retrieveVectors": True}
        answer = await self.client.read_raw(self._path, body, timeout=self.limit.seconds(READ_LIMIT))
        with self.client.understood():
            found = self._reader.documents(answer)
        if found:
            self._page = max(1, min(LARGEST_PAGE, PAGE_BYTES * len(found) // len(answer)))
        return found

    def key_pages(self, keys: Iterable[str]) -> Iterator[tuple[str, ...]]:
        """The keys in pages of as many as make a few megabytes of documents."""
        rest = iter(sorted(keys))
        while page := tuple(islice(rest, self._page)):
            yield page

    # -- the node's queue

    async def top_task(self) -> int:
        """Highest uid of the index's tasks on the node; -1 when it never had one."""
        page = await self.client.tasks(index=self.index.stored_as, limit=1)
        return int(page["results"][0]["uid"]) if page["results"] else -1

    async def tasks_above(self, uid: int) -> list[dict[str, Any]]:
        """The index's tasks above a uid, oldest first."""
        found: list[dict[str, Any]] = []
        start: int | None = uid + 1
        while start is not None:
            page = await self.client.tasks(
                index=self.index.stored_as, limit=TASK_PAGE, reverse="true", **{"from": start}
            )
            found += [task for task in page["results"] if task["uid"] > uid]
            start = page.get("next")
        return found

    async def wait_until_idle(
        self, top: int, *, timeout: float, matters: Callable[[Mapping[str, Any]], bool] = lambda task: True
    ) -> None:
        """Wait until every task of the index up to `top` is final, but for those that do not matter."""
        pause = 0.02
        try:
            async with asyncio.timeout(timeout):
                while any(task["uid"] <= top and matters(task) for task in await self._unfinished()):
                    await asyncio.sleep(pause)
                    pause = min(pause * 1.5, 0.5)
        except TimeoutError:
            raise NodeUnavailable(
                f"node `{self.client.name}` did not finish its queue of index `{self.index.uid}` within {timeout:g} s",
                node=self.client.name,
                sent=True,
            ) from None

    async def _unfinished(self) -> list[dict[str, Any]]:
        """The oldest of the index's tasks that are not final, as many as fit a page."""
        page = await self.client.tasks(
            index=self.index.stored_as, statuses="enqueued,processing", limit=TASK_PAGE, reverse="true"
        )
        found: list[dict[str, Any]] = page["results"]
        return found
