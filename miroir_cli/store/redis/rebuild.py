"""A whole state, put together from the copies that the nodes keep."""

from __future__ import annotations

from typing import TYPE_CHECKING

from miroir_cli.errors import StateUnavailable
from miroir_cli.store.encoding import to_json
from miroir_cli.store.redis import alias_hashes
from miroir_cli.store.redis.cluster import (
    DELETED,
    STORED_NAMES,
    Placement,
    encode_placement,
    index_hash,
    lanes,
    new_fields,
    placement_field,
    placements,
    settings_hash,
)
from miroir_cli.store.redis.creation import CREATED, INCARNATION, left_behind
from miroir_cli.store.redis.keys import CLUSTER, key
from miroir_cli.store.redis.maps import INDEXES
from miroir_cli.store.redis.members import enrol, save_cluster
from miroir_cli.store.redis.transaction import COUNTERS

if TYPE_CHECKING:
    from miroir_cli.store.records import Rebuilt, RebuiltIndex
    from miroir_cli.store.redis.transaction import Transaction


async def rebuild(tx: Transaction, state: Rebuilt) -> None:
    """Write a whole state into a store that is empty."""
    if await tx.hash(CLUSTER):
        raise StateUnavailable("the state is not empty", hint="run `miroir state recover`: it keeps the old one")
    uids = [found.index.uid for found in state.indexes]
    await tx.hashes(key(kind, uid) for kind in ("indexes", "settings", "placements", "lanes") for uid in uids)
    await save_cluster(tx, state.cluster)
    for member in state.members:
        await enrol(tx, member)
    for found in state.indexes:
        await _rebuild_index(tx, found)
    deleted = await tx.hash(DELETED)
    for uid, incarnation in state.deleted.items():
        deleted[uid] = left_behind(uid, incarnation)
    for alias in state.aliases:
        await alias_hashes.save(tx, alias)
    counters = await tx.hash(COUNTERS)
    incarnations = [*state.deleted.values(), *(found.index.incarnation for found in state.indexes)]
    counters[INCARNATION] = str(max(incarnations, default=0))
    counters[CREATED] = str(max((found.index.created_at for found in state.indexes), default=0))


async def _rebuild_index(tx: Transaction, found: RebuiltIndex) -> None:
    index = found.index
    (await index_hash(tx, index.uid)).replace(new_fields(index, state="active", settled=found.newest))
    (await settings_hash(tx, index.uid))["settings"] = to_json(index.settings)
    (await placements(tx, index.uid)).replace(
        {
            placement_field(replica.shard, replica.node): encode_placement(
                Placement(state=replica.state, since=replica.since)
            )
            for replica in found.replicas
        }
    )
    (await lanes(tx, index.uid)).replace(
        {node: to_json({"base": top + 1, "looked": top}) for node, top in found.tops.items()}
    )
    (await tx.hash(STORED_NAMES))[index.stored_as] = index.uid
    tx.add(INDEXES, index.uid, 0)
