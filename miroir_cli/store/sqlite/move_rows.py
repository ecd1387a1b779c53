"""The part of the store that is about moves: replicas on their way, and what is written to shards meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

from miroir_cli.store.journal import Changes
from miroir_cli.store.sqlite import changes, moves
from miroir_cli.store.sqlite.access import Access

if TYPE_CHECKING:
    from miroir_cli.model import Index, NodeName, ReplicaState, ShardId
    from miroir_cli.store.records import Marked


class MoveRows(Access):
    """Methods of the protocol `miroir_cli.store.protocol.Store`."""

    async def join(
        self, index: Index, shard: ShardId, node: NodeName, *, nonce: str, top: int
    ) -> tuple[int, ReplicaState | None]:
        return await self._write(lambda db: moves.join(db, index, shard, node, nonce=nonce, top=top))

    async def switch(
        self,
        index: Index,
        shard: ShardId,
        node: NodeName,
        *,
        nonce: str,
        source: NodeName,
        leaving: NodeName | None,
        newest: int,
        base: int,
    ) -> Marked | None:
        return await self._write(
            lambda db: moves.switch(
                db, index, shard, node, nonce=nonce, source=source, leaving=leaving, newest=newest, base=base
            )
        )

    async def leave(self, index: Index, shard: ShardId, node: NodeName, *, keep: int) -> bool:
        return await self._write(lambda db: moves.leave(db, index, shard, node, keep=keep))

    async def unjoin(self, index: Index, shard: ShardId, node: NodeName) -> None:
        await self._write(lambda db: moves.unjoin(db, index, shard, node))

    async def served_until_they_left(self, index: Index, node: NodeName, shards: Iterable[ShardId]) -> bool:
        return self._read(lambda db: moves.served_until_they_left(db, index, node, shards))

    async def begin_forgetting(
        self, index: Index, node: NodeName, shards: Iterable[ShardId], *, nonce: str
    ) -> tuple[ShardId, ...]:
        return await self._write(lambda db: moves.begin_forgetting(db, index, node, shards, nonce=nonce))

    async def forget(self, index: Index, node: NodeName, shards: Iterable[ShardId]) -> None:
        await self._write(lambda db: moves.forget(db, index, node, shards))

    async def promote(self, index: Index, shard: ShardId, node: NodeName, *, top: int) -> None:
        await self._write(lambda db: moves.promote(db, index, shard, node, top=top))

    async def account(self, index: Index, node: NodeName, tasks: Iterable[int]) -> None:
        await self._write(lambda db: moves.account(db, index, node, tasks))

    async def accounted(self, uid: str, node: NodeName, *, above: int) -> frozenset[int]:
        return self._read(lambda db: moves.read_accounted(db, uid, node, above=above))

    async def was_addressed(self, uid: str, node: NodeName) -> bool:
        return self._read(lambda db: moves.was_addressed(db, uid, node))

    async def expel(self, node: NodeName) -> None:
        await self._write(lambda db: moves.expel(db, node))

    # -- what is written meanwhile

    async def changes(self, uid: str, shard: ShardId, *, above: int, most: int | None = None) -> Changes:
        keys: set[str] = set()
        while True:
            page, read = self._changes_above(uid, shard, above)
            keys |= page.keys
            if page.sweep:
                return Changes(sweep=True)
            if read is None or (most is not None and len(keys) > most):
                return Changes(keys=frozenset(keys))
            above = read
            await asyncio.sleep(0)

    def _changes_above(self, uid: str, shard: ShardId, above: int) -> tuple[Changes, int | None]:
        return self._read(lambda db: changes.read_changes(db, uid, shard, above=above))

    async def watch(self, index: Index, shard: ShardId, *, nonce: str) -> int:
        return await self._write(lambda db: changes.watch(db, index, shard, nonce=nonce))

    async def renew_watch(self, nonce: str) -> bool:
        return await self._write(lambda db: changes.renew_watch(db, nonce))

    async def is_still(self, index: Index, shard: ShardId, *, nonce: str, source: NodeName, newest: int) -> bool:
        return self._read(lambda db: changes.is_still(db, index, shard, nonce=nonce, source=source, newest=newest))

    async def unwatch(self, index: Index, shard: ShardId, *, nonce: str) -> None:
        await self._write(lambda db: changes.unwatch(db, index, shard, nonce=nonce))
