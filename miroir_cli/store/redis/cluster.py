"""Epoch, members, indexes and placements as hashes: what every other part of the store looks at.

- `miroir:cluster` and the listing of members: see `members.py`.
- `miroir:indexes:<uid>`: the fields of `Index` but its uid and its settings, and state (creating, active or deleting),
  creating, settled, published, frozen. They are listed with score 0.
- `miroir:settings:<uid>`: the user's settings, apart because they may be large and every write looks at the index.
- `miroir:placements:<uid>`: `<shard>/<node>` -> `Placement`.
- `miroir:lanes:<uid>`: node -> base and looked, as JSON.
- `miroir:stored_names`: the name of an index on the nodes -> its uid.
- `miroir:deleted`: a name that stands for nothing any more -> what it stood for last, as JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import msgspec

from miroir_cli.model import Index, IndexUid, Json, NodeName, ReplicaState, ShardId, StoredUid
from miroir_cli.store.encoding import from_json, to_json
from miroir_cli.store.marking import marked
from miroir_cli.store.records import InSync, Marked
from miroir_cli.store.redis.keys import CLUSTER, key, listing

if TYPE_CHECKING:
    from miroir_cli.store.redis.fields import Hash
    from miroir_cli.store.redis.transaction import Transaction

STORED_NAMES: Final = "miroir:stored_names"
DELETED: Final = "miroir:deleted"


# -- the cluster


async def read_epoch(tx: Transaction) -> int:
    return int((await tx.hash(CLUSTER)).get("epoch", "0"))


async def raise_epoch(tx: Transaction) -> int:
    """The epoch from now on; 0 without a cluster."""
    cluster = await tx.hash(CLUSTER)
    if not cluster:
        return 0
    cluster["epoch"] = str(int(cluster["epoch"]) + 1)
    return int(cluster["epoch"])


async def raise_top_task(tx: Transaction, node: NodeName, task: int) -> None:
    """A member's disk has shown this task. Nothing is read for it, so that writes to several indexes at once do not
    disturb each other."""
    tx.also("ZADD", listing("members"), "XX", "GT", task, node)


# -- indexes


async def index_hash(tx: Transaction, uid: str) -> Hash:
    """What is kept of the index of a name but its settings; empty when there is none."""
    return await tx.hash(key("indexes", uid))


async def settings_hash(tx: Transaction, uid: str) -> Hash:
    """One field, `settings`."""
    return await tx.hash(key("settings", uid))


async def read_index(tx: Transaction, uid: str, *, state: str = "active") -> Index | None:
    fields, settings = await tx.hashes([key("indexes", uid), key("settings", uid)])
    return index_of(uid, fields, settings) if fields.get("state") == state else None


def index_of(uid: str, fields: Mapping[str, str], settings: Mapping[str, str]) -> Index:
    return Index(
        uid=IndexUid(uid),
        incarnation=int(fields["incarnation"]),
        primary_key=fields["primary_key"],
        shards=int(fields["shards"]),
        replicas=int(fields["replicas"]),
        own_replicas=fields["own_replicas"] == "1",
        tie_break=fields["tie_break"] == "1",
        settings=from_json(settings.get("settings", "{}")),
        created_at=int(fields["created_at"]),
        stored_as=StoredUid(fields["stored_as"]),
    )


def new_fields(
    index: Index, *, state: str, settled: int = 0, creating: Mapping[NodeName, int] | None = None
) -> dict[str, str]:
    """The hash of an index as it begins; its settings are apart."""
    return {
        "incarnation": str(index.incarnation),
        "primary_key": index.primary_key,
        "shards": str(index.shards),
        "replicas": str(index.replicas),
        "own_replicas": str(int(index.own_replicas)),
        "tie_break": str(int(index.tie_break)),
        "created_at": str(index.created_at),
        "stored_as": index.stored_as,
        "state": state,
        "creating": to_json(creating or {}),
        "settled": str(settled),
        "published": "0",
    }


async def save_settings(tx: Transaction, uid: str, settings: Json) -> None:
    if await index_hash(tx, uid):
        (await settings_hash(tx, uid))["settings"] = to_json(settings)
    await raise_epoch(tx)


async def save_primary_key(tx: Transaction, uid: str, key: str) -> None:
    fields = await index_hash(tx, uid)
    if fields:
        fields["primary_key"] = key
    await raise_epoch(tx)


# -- placements


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """A replica as it is stored. `base`: see `Pending.bases`. `was`: what it was before somebody began to fill it, or
    before it left. `nonce`: whose attempt fills it."""

    state: ReplicaState
    since: int
    base: int = 0
    was: ReplicaState | None = None
    nonce: str | None = None


def placement_field(shard: ShardId, node: NodeName) -> str:
    return f"{shard}/{node}"


def encode_placement(placement: Placement) -> str:
    return to_json(placement)


def decode_placement(text: str) -> Placement:
    return msgspec.json.decode(text, type=Placement)


def decode_placements(fields: Mapping[str, str]) -> dict[tuple[ShardId, NodeName], Placement]:
    """All of an index, in the order of their shards and nodes."""
    found = {}
    for field, text in fields.items():
        shard, _, node = field.partition("/")
        found[ShardId(int(shard)), NodeName(node)] = decode_placement(text)
    return dict(sorted(found.items()))


async def placements(tx: Transaction, uid: str) -> Hash:
    """The replicas of an index: `decode_placements` reads them, `hash[placement_field(...)] = encode_placement(...)`
    changes one."""
    return await tx.hash(key("placements", uid))


async def lanes(tx: Transaction, uid: str) -> Hash:
    """How far the tasks of an index are looked at on each node: node -> `{"base": ..., "looked": ...}`."""
    return await tx.hash(key("lanes", uid))


async def read_in_sync(tx: Transaction, uid: str) -> InSync:
    nodes: dict[ShardId, set[NodeName]] = {}
    for (shard, node), placement in decode_placements(await placements(tx, uid)).items():
        if placement.state is ReplicaState.SERVING:
            nodes.setdefault(shard, set()).add(node)
    return {shard: frozenset(names) for shard, names in nodes.items()}


async def mark(
    tx: Transaction,
    uid: str,
    replicas: Mapping[NodeName, Iterable[ShardId]],
    *,
    state: ReplicaState,
    incarnation: int | None = None,
) -> Marked:
    """Take replicas out of service: stale ones from among those in sync, lost ones whatever they were.

    `incarnation`: that of the index that is meant; nothing is marked when its name stands for another one now.
    """
    fields, stored, _ = await tx.hashes([key("indexes", uid), key("placements", uid), CLUSTER])
    if incarnation is not None and fields.get("incarnation") != str(incarnation):
        return Marked(epoch=await read_epoch(tx))
    found = marked(await read_in_sync(tx, uid), replicas, state=state)
    if not found:
        return Marked(epoch=await read_epoch(tx))
    epoch = await raise_epoch(tx)
    for node, shards in found.items():
        for shard in shards:
            change_state(stored, shard, node, state, since=epoch)
    return Marked(epoch=epoch, stale=found)


def change_state(stored: Hash, shard: ShardId, node: NodeName, state: ReplicaState, *, since: int) -> None:
    """Another state for a replica that is there; the rest of it stays, and so does one that has it already."""
    field = placement_field(shard, node)
    before = None if field not in stored else decode_placement(stored[field])
    if before is not None and before.state is not state:
        stored[field] = encode_placement(replace(before, state=state, since=since))
