"""Writes of clients, with what each does to every document that it touches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

import msgspec

from miroir_cli.model import SHARD_FIELD, Index, ShardId, WriteKind, spell_shard
from miroir_cli.replication.write import Outgoing
from tests.faults.world import shard_of
from tests.migration.ledger import Effect, adding, deleting, deleting_above, updating


@dataclass(kw_only=True)
class Writing:
    """A write of a client: what it sends, and what it does to each document."""

    outgoing: Outgoing
    effects: dict[str, Effect]
    n: int | None = None


def any_write(random: Random, index: Index, keys: list[str], value: int) -> Writing:
    """Something that a client may want of these documents; `value` is new."""
    chosen = random.sample(keys, min(len(keys), random.choice((1, 1, 2, 3))))
    match random.choice(("add", "add", "add", "update", "delete", "delete", "filter", "clear")):
        case "add":
            return adding_value(index, chosen, value)
        case "update":
            return _documents(index, chosen, {"extra": value}, updating(value), WriteKind.UPDATE)
        case "delete":
            return _deletion(index, chosen)
        case "filter":
            limit = max(0, value - random.choice((1, 3, 6)))
            return _filtered(index, keys, f"value > {limit}", deleting_above(limit))
    return clearing(index, keys)


def adding_value(index: Index, keys: list[str], value: int) -> Writing:
    return _documents(index, keys, {"value": value}, adding(value), WriteKind.ADD)


def clearing(index: Index, keys: list[str]) -> Writing:
    """`keys` are those that there can be."""
    return _filtered(index, keys, None, deleting)


def _documents(index: Index, keys: list[str], fields: dict[str, int], effect: Effect, kind: WriteKind) -> Writing:
    by_shard = _by_shard(index, keys)

    def payload(shards: frozenset[ShardId]) -> bytes:
        return b"\n".join(
            msgspec.json.encode({SHARD_FIELD: spell_shard(shard), "id": key, **fields})
            for shard in sorted(shards)
            for key in by_shard.get(shard, ())
        )

    outgoing = Outgoing(
        kind=kind,
        documents={shard: len(mine) for shard, mine in by_shard.items()},
        payload=payload,
        method="POST" if kind is WriteKind.ADD else "PUT",
        keys=by_shard.__getitem__,
    )
    return Writing(outgoing=outgoing, effects=dict.fromkeys(keys, effect))


def _deletion(index: Index, keys: list[str]) -> Writing:
    by_shard = _by_shard(index, keys)
    outgoing = Outgoing(
        kind=WriteKind.DELETE,
        path="documents/delete-batch",
        content_type="application/json",
        documents=dict.fromkeys(by_shard),
        payload=lambda shards: msgspec.json.encode([key for shard in sorted(shards) for key in by_shard[shard]]),
        keys=by_shard.__getitem__,
    )
    return Writing(outgoing=outgoing, effects=dict.fromkeys(keys, deleting))


def _filtered(index: Index, keys: Iterable[str], filter: str | None, effect: Effect) -> Writing:
    outgoing = Outgoing(
        kind=WriteKind.CLEAR if filter is None else WriteKind.DELETE_BY_FILTER,
        path="documents/delete",
        content_type="application/json",
        documents=dict.fromkeys(map(ShardId, range(index.shards))),
        payload=lambda shards: msgspec.json.encode({"filter": [in_shards(shards), *([filter] if filter else [])]}),
    )
    return Writing(outgoing=outgoing, effects=dict.fromkeys(keys, effect))


def _by_shard(index: Index, keys: list[str]) -> dict[ShardId, list[str]]:
    found: dict[ShardId, list[str]] = {}
    for key in keys:
        found.setdefault(shard_of(key, index), []).append(key)
    return found


def in_shards(shards: Iterable[ShardId]) -> str:
    return f"{SHARD_FIELD} IN [{', '.join(f'{chr(34)}{spell_shard(shard)}{chr(34)}' for shard in sorted(shards))}]"
