"""The part of the store that is about moves: replicas on their way, and what is written to shards meanwhile."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from miroir_cli.store.journal import Changes
from miroir_cli.store.redis import changes, moves
from miroir_cli.store.redis.access import Part
from miroir_cli.store.redis.cluster import index_hash
from miroir_cli.store.redis.keys import content_of

if TYPE_CHECKING:
    from miroir_cli.model import Index, NodeName, ReplicaState, ShardId
    from miroir_cli.store.records import Marked
    from miroir_cli.store.redis.transaction import Transaction


class Moves(Part):
    """Methods of the protocol `miroir_cli.store.protocol.Store`."""

    async def join(
        self, index: Index, shard: ShardId, node: NodeName, *, nonce: str, top: int
    ) -> tuple[int, ReplicaState | None]:
        return await self.access.write(lambda tx: moves.join(tx, index, shard, node, nonce=nonce, top=top))

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
        return await self.access.write(
            lambda tx: moves.switch(
                tx, index, shard, node, nonce=nonce, source=source, leaving=leaving, newest=newest, base=base
            )
        )

    async def leave(self, index: Index, shard: ShardId, node: NodeName, *, keep: int) -> bool:
        return await self.access.write(lambda tx: moves.leave(tx, index, shard, node, keep=keep))

    async def unjoin(self, index: Index, shard: ShardId, node: NodeName) -> None:
        await self.access.write(lambda tx: moves.unjoin(tx, index, shard, node))

    async def served_until_they_left(self, index: Index, node: NodeName, shards: Iterable[ShardId]) -> bool:
        asked = tuple(shards)
        return await self.access.read(lambda tx: moves.served_until_they_left(tx, index, node, asked))

    async def begin_forgetting(
        self, index: Index, node: NodeName, shards: Iterable[ShardId], *, nonce: str
    ) -> tuple[ShardId, ...]:
        asked = tuple(shards)
        return await self.access.write(lambda tx: moves.begin_forgetting(tx, index, node, asked, nonce=nonce))

    async def forget(self, index: Index, node: NodeName, shards: Iterable[ShardId]) -> None:
        asked = tuple(shards)
        await self.access.write(lambda tx: moves.forget(tx, index, node, asked))

    async def promote(self, index: Index, shard: ShardId, node: NodeName, *, top: int) -> None:
        await self.access.write(lambda tx: moves.promote(tx, index, shard, node, top=top))

    async def account(self, index: Index, node: NodeName, tasks: Iterable[int]) -> None:
        noted = tuple(tasks)
        await self.access.write(lambda tx: moves.account(tx, index, node, noted))

    async def accounted(self, uid: str, node: NodeName, *, above: int) -> frozenset[int]:
        return await self.access.read(lambda tx: moves.read_accounted(tx, uid, node, above=above))

    async def was_addressed(self, uid: str, node: NodeName) -> bool:
        return await self.access.read(lambda tx: moves.was_addressed(tx, uid, node))

    async def expel(self, node: NodeName) -> None:
        await self.access.write(lambda tx: moves.expel(tx, node))

    # -- what is written meanwhile

    async def changes(self, uid: str, shard: ShardId, *, above: int, most: int | None = None) -> Changes:
        content = await self.access.read(lambda tx: _content(tx, uid))
        keys: set[str] = set()
        while content is not None:
            page, read = await self._changes_above(content, shard, above)
            keys |= page.keys
            if page.sweep:
                return Changes(sweep=True)
            if read is None or (most is not None and len(keys) > most):
                break
            above = read
        return Changes(keys=frozenset(keys))

    async def _changes_above(self, content: str, shard: ShardId, above: int) -> tuple[Changes, int | None]:
        return await self.access.read(lambda tx: changes.read_changes(tx, content, shard, above=above))

    async def watch(self, index: Index, shard: ShardId, *, nonce: str) -> int:
        return await self.access.write(lambda tx: changes.watch(tx, index, shard, nonce=nonce))

    async def renew_watch(self, nonce: str) -> bool:
        return await self.access.write(lambda tx: changes.renew_watch(tx, nonce))

    async def is_still(self, index: Index, shard: ShardId, *, nonce: str, source: NodeName, newest: int) -> bool:
        return await self.access.read(
            lambda tx: changes.is_still(tx, index, shard, nonce=nonce, source=source, newest=newest)
        )

    async def unwatch(self, index: Index, shard: ShardId, *, nonce: str) -> None:
        await self.access.write(lambda tx: changes.unwatch(tx, index, shard, nonce=nonce))


async def _content(tx: Transaction, uid: str) -> str | None:
    fields = await index_hash(tx, uid)
    return content_of(fields) if fields else None
