"""What an import has in the nodes' queues: how much, and who waits for it to shrink."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from miroir_cli.model import NodeName, ShardId

MOST_BYTES: Final = 256 << 20
"""Bytes that a node may have in its queue from one import. Nodes keep payloads on disk and index what has gathered in
one go, so a deep queue is what makes them fast; this is minutes of work for a node, and all that a crash leaves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InQueue:
    """One write that was sent and has not ended: its batch's number, its shards with the number of their documents
    where that is known, and the bytes that each node got."""

    batch: int
    shards: frozenset[ShardId]
    documents: Mapping[ShardId, int] = field(default_factory=dict)
    sizes: Mapping[NodeName, int] = field(default_factory=dict)


class Outstanding:
    """The writes of an import that have not ended."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.writes: dict[int, InQueue] = {}
        self._sizes: Counter[NodeName] = Counter()
        self._most_bytes = most_bytes
        self._changed = asyncio.Condition()
        self._closed = False

    async def add(self, n: int, write: InQueue) -> None:
        async with self._changed:
            self.writes[n] = write
            self._sizes.update(write.sizes)
            self._changed.notify_all()

    async def remove(self, n: int) -> InQueue:
        async with self._changed:
            write = self.writes.pop(n)
            self._sizes.subtract(write.sizes)
            self._changed.notify_all()
            return write

    async def close(self) -> None:
        """Say that nothing more will be added."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()

    async def room(self) -> bool:
        """Wait until every node's queue has room for another batch; False once nothing may be added."""
        async with self._changed:
            await self._changed.wait_for(
                lambda: self._closed or max(self._sizes.values(), default=0) < self._most_bytes
            )
            return not self._closed

    async def some(self) -> bool:
        """Wait until there is anything in a queue; False when there is nothing and nothing more will come."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._closed or bool(self.writes))
            return bool(self.writes)

    def ends_batch(self, number: int) -> bool:
        """Whether no write of this batch is left."""
        return all(write.batch != number for write in self.writes.values())
