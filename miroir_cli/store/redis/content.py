"""What is kept of an index wherever its name goes: see `content_key`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from miroir_cli.model import NodeName, ShardId
from miroir_cli.store.redis.changes import changes_key, forget_watches
from miroir_cli.store.redis.keys import content_key
from miroir_cli.store.redis.order import addressed_key, foreign_key, intent_key, known_key, order_key

if TYPE_CHECKING:
    from miroir_cli.model import Index
    from miroir_cli.store.redis.transaction import Transaction

AT_ONCE: Final = 1_000
"""Keys that one command takes away."""


async def content_keys(tx: Transaction, content: str, *, shards: int) -> list[str]:
    """Every key that an index with so many shards may have for what was written for it."""
    order = await tx.hash(order_key(content))
    found = [intent_key(content, n) for n in range(int(order.get("oldest", "1")), int(order.get("newest", "0")) + 1)]
    for node in map(NodeName, await tx.names(addressed_key(content))):
        found += [known_key(content, node), foreign_key(content, node)]
    found += [changes_key(content, ShardId(shard)) for shard in range(shards)]
    return [*found, order_key(content), addressed_key(content)]


async def forget_content(tx: Transaction, index: Index) -> None:
    """The index is deleted: so is everything that was written for it."""
    content = content_key(index)
    gone = await content_keys(tx, content, shards=index.shards)
    for start in range(0, len(gone), AT_ONCE):
        tx.also("UNLINK", *gone[start : start + AT_ONCE])
    await forget_watches(tx, content)
