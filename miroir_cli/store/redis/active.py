"""Which index a name stands for, and how far its writes are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from miroir_cli.model import Index, IndexUid, ShardId
from miroir_cli.store import refusals
from miroir_cli.store.redis.cluster import STORED_NAMES, index_hash
from miroir_cli.store.redis.keys import content_key
from miroir_cli.store.redis.order import read_newest_number, read_targets

if TYPE_CHECKING:
    from miroir_cli.errors import MiroirError
    from miroir_cli.store.redis.transaction import Transaction


async def require_active(tx: Transaction, index: Index) -> int:
    """How far the index is settled. Raises `IndexNotFound` when it is not there any more, `IndexRenamed` when it has
    another name now."""
    fields = await index_hash(tx, index.uid)
    if fields.get("state") != "active" or fields["incarnation"] != str(index.incarnation):
        raise await gone(tx, index)
    return int(fields["settled"])


async def gone(tx: Transaction, index: Index) -> MiroirError:
    """Why an index is not to be found under its name any more."""
    return refusals.gone(index, now_called=await name_by_content(tx, index))


async def name_by_content(tx: Transaction, index: Index) -> IndexUid | None:
    """The name that the same index has now, whatever it was called when it was read."""
    uid = (await tx.hash(STORED_NAMES)).get(index.stored_as)
    if uid is None:
        return None
    fields = await index_hash(tx, uid)
    same = fields.get("state") == "active" and fields["created_at"] == str(index.created_at)
    return IndexUid(uid) if same else None


async def newest_number(tx: Transaction, index: Index, settled: int) -> int:
    return await read_newest_number(tx, content_key(index), settled)


async def unsettled(tx: Transaction, index: Index, shard: ShardId, *, settled: int) -> bool:
    """Whether a write of the shard has not ended. Those of other shards say nothing about it."""
    content = content_key(index)
    newest = await read_newest_number(tx, content, settled)
    return any(shard in shards for shards in await read_targets(tx, content, range(settled + 1, newest + 1)))
