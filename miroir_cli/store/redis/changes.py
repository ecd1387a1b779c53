"""What is written to a shard while somebody copies it: a replica that joins, or a copy that is no replica.

- `miroir:changes:<content>:<shard>`: JSON `[n, keys]` with score n; the keys are null when a write does not name them.
- `miroir:movers:<uid>`: nonce -> JSON node, shards, created_at of an attempt to fill or to empty replicas.
- `miroir:watches`: nonce -> JSON content, shards, created_at (when it was renewed last) of a copy that is no replica.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from miroir_cli.model import Index, NodeName, ReplicaState, ShardId
from miroir_cli.store.encoding import from_json, now, to_json
from miroir_cli.store.journal import Changes, Mover
from miroir_cli.store.moving import CHANGES_PAGE, WATCH_LEASE, WATCHER
from miroir_cli.store.redis.active import newest_number, require_active, unsettled
from miroir_cli.store.redis.cluster import decode_placements, index_hash, placements, read_in_sync
from miroir_cli.store.redis.keys import content_key, content_of, key
from miroir_cli.store.redis.order import order_key

if TYPE_CHECKING:
    from miroir_cli.store.records import KeysOf
    from miroir_cli.store.redis.transaction import Transaction

WATCHES: Final = "miroir:watches"


def changes_key(content: str, shard: ShardId) -> str:
    return key("changes", content, shard)


async def register(tx: Transaction, index: Index, node: NodeName, shards: Iterable[ShardId], *, nonce: str) -> None:
    """Whose attempt the tasks with this nonce are."""
    attempt = {"node": node, "shards": sorted(shards), "created_at": now()}
    (await tx.hash(key("movers", index.uid)))[nonce] = to_json(attempt)


async def log_changes(tx: Transaction, index: Index, n: int, shards: Iterable[ShardId], keys: KeysOf | None) -> None:
    """Note what an intent writes to shards of which a replica is joining, or that somebody watches: their keys, or that
    they are not known."""
    content = content_key(index)
    joining = {
        shard
        for (shard, _), placement in decode_placements(await placements(tx, index.uid)).items()
        if placement.state is ReplicaState.JOINING
    }
    for shard in sorted((joining | await _watched(tx, content)) & set(shards)):
        named = None if keys is None else sorted(set(keys(shard)))
        tx.add(changes_key(content, shard), to_json([n, named]), n)


async def read_changes(tx: Transaction, content: str, shard: ShardId, *, above: int) -> tuple[Changes, int | None]:
    """The next writes above a number, and the last number read; None at the end."""
    at = changes_key(content, shard)
    (found,) = await tx.ask([("ZRANGE", at, f"({above}", "+inf", "BYSCORE", "LIMIT", 0, CHANGES_PAGE)])
    rows = [from_json(member) for member in found]
    named = [keys for _, keys in rows if keys is not None]
    changes = Changes(keys=frozenset(key for keys in named for key in keys), sweep=len(named) < len(rows))
    return changes, rows[-1][0] if len(rows) == CHANGES_PAGE else None


async def forget_changes(tx: Transaction, uid: str, shard: ShardId) -> None:
    """Nobody needs the log of a shard of which no replica is joining, and that nobody watches."""
    fields = await index_hash(tx, uid)
    if not fields:
        return
    content = content_of(fields)
    if shard in await _watched(tx, content):
        return
    placed = decode_placements(await placements(tx, uid))
    if not any(of == shard and each.state is ReplicaState.JOINING for (of, _), each in placed.items()):
        tx.empty(changes_key(content, shard))


# -- watches: a copy of a shard that is no replica, such as a backup, wants to know what is written meanwhile


def read_watches(fields: Mapping[str, str], content: str) -> dict[str, Mover]:
    """Those of one index, by their nonces."""
    return {
        nonce: Mover(node=NodeName(WATCHER), shards=_shards(watch))
        for nonce, watch in _decoded(fields).items()
        if watch["content"] == content
    }


def _decoded(fields: Mapping[str, str]) -> dict[str, Any]:
    return {nonce: from_json(text) for nonce, text in fields.items()}


def _shards(watch: Mapping[str, Any]) -> frozenset[ShardId]:
    return frozenset(map(ShardId, watch["shards"]))


def _is_over(watch: Mapping[str, Any]) -> bool:
    return bool(watch["created_at"] <= now() - WATCH_LEASE)


async def _watched(tx: Transaction, content: str) -> set[ShardId]:
    watches = _decoded(await tx.hash(WATCHES)).values()
    return {
        shard for watch in watches if watch["content"] == content and not _is_over(watch) for shard in _shards(watch)
    }


async def watch(tx: Transaction, index: Index, shard: ShardId, *, nonce: str) -> int:
    """From here on intents name the keys that they write to the shard; the newest one before. Watches of processes that
    died are taken away."""
    content = content_key(index)
    await tx.hashes([key("indexes", index.uid), key("placements", index.uid), order_key(content), WATCHES])
    newest = await newest_number(tx, index, await require_active(tx, index))
    watches = await tx.hash(WATCHES)
    over = {nonce: each for nonce, each in _decoded(watches).items() if each["content"] == content and _is_over(each)}
    for each in over:
        del watches[each]
    for left in {shard for each in over.values() for shard in _shards(each)}:
        await forget_changes(tx, index.uid, left)
    watches[nonce] = to_json({"content": content, "shards": [shard], "created_at": now()})
    return newest


async def renew_watch(tx: Transaction, nonce: str) -> bool:
    """Say that the watcher lives; False when the watch is over, and changes were not noted."""
    watches = await tx.hash(WATCHES)
    found = from_json(watches.get(nonce, "null"))
    if found is None or _is_over(found):
        return False
    watches[nonce] = to_json({**found, "created_at": now()})
    return True


async def is_still(tx: Transaction, index: Index, shard: ShardId, *, nonce: str, source: NodeName, newest: int) -> bool:
    """Whether the watch has held until now, the source is in sync, and every write of the shard up to the newest one
    has ended."""
    await tx.hashes([key("indexes", index.uid), key("placements", index.uid), order_key(content_key(index)), WATCHES])
    settled = await require_active(tx, index)
    found = from_json((await tx.hash(WATCHES)).get(nonce, "null"))
    return (
        found is not None
        and not _is_over(found)
        and source in (await read_in_sync(tx, index.uid)).get(shard, frozenset())
        and await newest_number(tx, index, settled) == newest
        and not await unsettled(tx, index, shard, settled=settled)
    )


async def unwatch(tx: Transaction, index: Index, shard: ShardId, *, nonce: str) -> None:
    """Nobody needs to know any more."""
    (await tx.hash(WATCHES)).pop(nonce, None)
    await forget_changes(tx, index.uid, shard)


async def forget_watches(tx: Transaction, content: str) -> None:
    """The index is deleted."""
    watches = await tx.hash(WATCHES)
    for nonce in read_watches(watches, content):
        del watches[nonce]
