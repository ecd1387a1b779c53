"""How indexes come and go: each begins and ends in two steps, so that others can finish what was interrupted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from miroir_cli.model import Index, IndexMap, NodeName, ReplicaState, ShardId, StoredUid
from miroir_cli.store.encoding import from_json, now, to_json
from miroir_cli.store.naming import free_among
from miroir_cli.store.records import Creation, Deletion
from miroir_cli.store.redis.active import gone
from miroir_cli.store.redis.alias_hashes import require_no_alias, require_unused
from miroir_cli.store.redis.belongings import forget_belongings
from miroir_cli.store.redis.cluster import (
    DELETED,
    STORED_NAMES,
    Placement,
    decode_placements,
    encode_placement,
    index_hash,
    index_of,
    lanes,
    new_fields,
    placement_field,
    placements,
    raise_epoch,
    read_index,
    settings_hash,
)
from miroir_cli.store.redis.content import forget_content
from miroir_cli.store.redis.keys import key, listing
from miroir_cli.store.redis.maps import read_map
from miroir_cli.store.redis.transaction import COUNTERS
from miroir_cli.store.refusals import exists_already, name_taken

if TYPE_CHECKING:
    from miroir_cli.store.redis.transaction import Transaction

UNDER_NAME: Final = ("indexes", "settings", "placements", "lanes", "movers", "node_settings_version")
"""The hashes that an index has under its uid."""

INCARNATION: Final = "incarnation"
"""Counts: no index, and nothing sent to the nodes for one, passes for another, whatever they were called and are."""

CREATED: Final = "created_at"
"""When the newest index was created: a later one has a later moment, whatever the clocks say, so that the name on the
nodes and the moment tell every index from every other (`content_key`)."""


async def free_name(tx: Transaction, uid: str) -> StoredUid:
    """What a new index is to be called on the nodes: its uid, unless one that was renamed is called so there."""
    return free_among(await tx.hash(STORED_NAMES), uid)


async def begin_creation(tx: Transaction, index: Index, *, nodes: Mapping[NodeName, int]) -> Index:
    uid = index.uid
    fields, settings, names, counters, deleted = await tx.hashes(
        [key("indexes", uid), key("settings", uid), STORED_NAMES, COUNTERS, DELETED]
    )
    if fields:
        raise exists_already(uid)
    await require_no_alias(tx, uid)
    if index.stored_as in names:
        raise name_taken(index)
    created_at = max(now(), int(counters.get(CREATED, "0")) + 1)
    counters[CREATED] = str(created_at)
    beginning = replace(index, incarnation=await tx.next(INCARNATION), created_at=created_at)
    fields.replace(new_fields(beginning, state="creating", creating=nodes))
    settings.replace({"settings": to_json(beginning.settings)})
    names[index.stored_as] = uid
    deleted.pop(uid, None)
    tx.add(listing("indexes"), uid, 0)
    return index_of(uid, fields, settings)


async def read_creation(tx: Transaction, uid: str) -> Creation | None:
    index = await read_index(tx, uid, state="creating")
    if index is None:
        return None
    return Creation(index=index, nodes=from_json((await index_hash(tx, uid))["creating"]))


async def finish_creation(
    tx: Transaction,
    index: Index,
    *,
    placement: Mapping[ShardId, frozenset[NodeName]],
    bases: Mapping[NodeName, int],
) -> IndexMap:
    fields = await index_hash(tx, index.uid)
    if fields.get("incarnation") != str(index.incarnation) or fields["state"] == "deleting":
        raise await gone(tx, index)
    if fields["state"] == "creating":
        epoch = await raise_epoch(tx)
        fields.update(state="active", creating="{}")
        serving = encode_placement(Placement(state=ReplicaState.SERVING, since=epoch))
        (await placements(tx, index.uid)).replace(
            {placement_field(shard, node): serving for shard, nodes in placement.items() for node in nodes}
        )
        (await lanes(tx, index.uid)).replace(
            {node: to_json({"base": base, "looked": base - 1}) for node, base in bases.items()}
        )
    found = await read_map(tx, index.uid)
    assert found is not None
    return found


async def begin_deletion(tx: Transaction, index: Index) -> None:
    """From here on the index is nobody's to read or write; its placement stays for those who delete it."""
    fields = await index_hash(tx, index.uid)
    await require_unused(tx, index.uid)
    if fields.get("state") == "active" and fields["incarnation"] == str(index.incarnation):
        fields["state"] = "deleting"
    await raise_epoch(tx)


async def read_deletion(tx: Transaction, uid: str) -> Deletion | None:
    index = await read_index(tx, uid, state="deleting")
    if index is None:
        return None
    nodes = {node for _, node in decode_placements(await placements(tx, uid))}
    return Deletion(index=index, nodes=tuple(sorted(nodes)))


async def forget_index(tx: Transaction, uid: str) -> None:
    """Everything of the index but its incarnation, by which nodes that were down know an older copy."""
    fields = await index_hash(tx, uid)
    if fields:
        index = index_of(uid, fields, await settings_hash(tx, uid))
        await forget_content(tx, index)
        await forget_belongings(tx, uid)
        for each in await tx.hashes(key(kind, uid) for kind in UNDER_NAME):
            each.clear()
        tx.discard(listing("indexes"), uid)
        (await tx.hash(STORED_NAMES)).pop(index.stored_as, None)
        (await tx.hash(DELETED))[uid] = left_behind(index.stored_as, index.incarnation)
    await raise_epoch(tx)


def left_behind(stored_as: str, incarnation: int) -> str:
    """What is kept of a name that stands for nothing any more."""
    return to_json({"stored_as": stored_as, "incarnation": incarnation})
