"""Indexes with their replicas as readers and writers see them, each of one moment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from miroir_cli.model import Index, IndexMap, IndexUid, NodeName, Replica, ReplicaState, StoredUid
from miroir_cli.store.encoding import from_json, now, to_json
from miroir_cli.store.records import Copies, Newest, Progress
from miroir_cli.store.redis.active import name_by_content, newest_number
from miroir_cli.store.redis.alias_hashes import ALIASES, read_aliases
from miroir_cli.store.redis.cluster import (
    DELETED,
    change_state,
    decode_placements,
    index_hash,
    index_of,
    placements,
    raise_epoch,
    read_epoch,
    read_index,
)
from miroir_cli.store.redis.keys import CLUSTER, key, listing
from miroir_cli.store.redis.members import read_cluster

if TYPE_CHECKING:
    from miroir_cli.store.redis.fields import Hash
    from miroir_cli.store.redis.transaction import Transaction

INDEXES = listing("indexes")


async def read_indexes(tx: Transaction) -> tuple[Index, ...]:
    uids = sorted(await tx.names(INDEXES))
    found = await tx.hashes([*(key("indexes", uid) for uid in uids), *(key("settings", uid) for uid in uids)])
    rows = zip(uids, found[: len(uids)], found[len(uids) :], strict=True)
    return tuple(index_of(uid, fields, settings) for uid, fields, settings in rows if _is_active(fields))


def _is_active(fields: Mapping[str, str]) -> bool:
    return fields.get("state") == "active"


async def read_states(tx: Transaction) -> dict[str, Hash]:
    """What is kept of each index but its settings, in the order of their uids."""
    uids = sorted(await tx.names(INDEXES))
    return dict(zip(uids, await tx.hashes(key("indexes", uid) for uid in uids), strict=True))


async def read_interrupted(tx: Transaction) -> dict[str, str]:
    """Indexes whose creation or deletion has begun and not ended: `creating` or `deleting` by uid."""
    return {uid: fields["state"] for uid, fields in (await read_states(tx)).items() if not _is_active(fields)}


async def read_map(tx: Transaction, uid: str) -> IndexMap | None:
    await tx.hashes([CLUSTER, *(key(kind, uid) for kind in ("indexes", "settings", "placements"))])
    index = await read_index(tx, uid)
    if index is None:
        return None
    stored = decode_placements(await placements(tx, uid))
    replicas = tuple(
        Replica(shard=shard, node=node, state=placement.state, since=placement.since)
        for (shard, node), placement in stored.items()
    )
    return IndexMap(epoch=await read_epoch(tx), index=index, replicas=replicas)


async def read_maps(tx: Transaction) -> tuple[IndexMap, ...]:
    uids = sorted(await tx.names(INDEXES))
    await tx.hashes([CLUSTER, *(key(kind, uid) for kind in ("indexes", "settings", "placements") for uid in uids)])
    return tuple([found for uid in uids if (found := await read_map(tx, uid)) is not None])


async def read_copies(tx: Transaction) -> Copies:
    await tx.ahead(hashes=[CLUSTER, DELETED], sets=[INDEXES, ALIASES])
    record = await read_cluster(tx)
    assert record is not None
    gone = ((uid, from_json(text)) for uid, text in (await tx.hash(DELETED)).items())
    deleted = tuple(
        Index(
            uid=IndexUid(uid),
            incarnation=fields["incarnation"],
            primary_key="",
            shards=0,
            replicas=0,
            stored_as=StoredUid(fields["stored_as"]),
        )
        for uid, fields in sorted(gone, key=lambda pair: -pair[1]["incarnation"])
    )
    return Copies(cluster=record, maps=await read_maps(tx), deleted=deleted, aliases=await read_aliases(tx))


async def read_progress(tx: Transaction, uid: str) -> Progress | None:
    cluster, fields = await tx.hashes([CLUSTER, key("indexes", uid)])
    if not cluster or not _is_active(fields):
        return None
    return Progress(epoch=int(cluster["epoch"]), incarnation=int(fields["incarnation"]), settled=int(fields["settled"]))


async def read_by_content(tx: Transaction, index: Index) -> Index | None:
    """The same index by the name that it has now."""
    uid = await name_by_content(tx, index)
    return None if uid is None else await read_index(tx, uid)


async def read_newest_numbers(tx: Transaction) -> tuple[Newest, ...]:
    """The number of the newest intent of each index, in the order of their uids."""
    states = await read_states(tx)
    return tuple(
        [
            Newest(
                uid=index.uid,
                stored_as=index.stored_as,
                incarnation=index.incarnation,
                n=await newest_number(tx, index, int(states[index.uid]["settled"])),
            )
            for index in await read_indexes(tx)
        ]
    )


# -- what is said of an index


async def set_replicas(tx: Transaction, index: Index, replicas: int) -> None:
    """What the index is to have of each shard in each group; its replicas follow by moves."""
    fields = await _current(tx, index)
    if fields is not None:
        fields["replicas"] = str(replicas)
    await raise_epoch(tx)


async def note_published(tx: Transaction, index: Index, epoch: int) -> None:
    """The nodes were given a copy of the index's map as it was at this epoch."""
    fields = await _current(tx, index)
    if fields is not None:
        fields["published"] = str(max(int(fields["published"]), epoch))


async def read_unpublished(tx: Transaction, uid: str) -> bool:
    """Whether a replica has changed since the nodes were given a copy of the map."""
    fields, stored = await tx.hashes([key("indexes", uid), key("placements", uid)])
    published = int(fields.get("published", "0"))
    return any(placement.since > published for placement in decode_placements(stored).values())


async def freeze(tx: Transaction, index: Index, reason: str | None) -> None:
    """Let an index take no documents any more, for this reason; None: let it take them again."""
    fields = await _current(tx, index)
    if fields is None:
        return
    if reason is None:
        fields.pop("frozen", None)
    else:
        fields["frozen"] = reason


async def read_frozen(tx: Transaction) -> dict[str, str]:
    """The indexes that take no documents, with the reasons."""
    states = (await read_states(tx)).items()
    return {uid: fields["frozen"] for uid, fields in states if _is_active(fields) and "frozen" in fields}


async def note_settings(tx: Transaction, index: Index, nodes: Iterable[NodeName], version: int) -> None:
    """These nodes were seen to have the settings of this version: the number of the intent that made them."""
    if await _current(tx, index) is None:
        return
    versions = await tx.hash(key("node_settings_version", index.uid))
    for node in nodes:
        versions[node] = to_json({"version": version, "updated_at": now()})


async def read_settings_versions(tx: Transaction, uid: str) -> dict[NodeName, int]:
    versions = await tx.hash(key("node_settings_version", uid))
    return {NodeName(node): int(from_json(text)["version"]) for node, text in versions.items()}


async def _current(tx: Transaction, index: Index) -> Hash | None:
    """What is kept of an index, as long as its name stands for it."""
    fields = await index_hash(tx, index.uid)
    return fields if fields.get("incarnation") == str(index.incarnation) else None


async def lose(tx: Transaction, node: NodeName) -> tuple[IndexUid, ...]:
    """A node's disk is gone, and with it all replicas there; the indexes of which it had one."""
    active = [uid for uid, fields in (await read_states(tx)).items() if _is_active(fields)]
    stored = dict(zip(active, await tx.hashes(key("placements", uid) for uid in active), strict=True))
    lost = {
        uid: [
            shard
            for (shard, holder), placement in decode_placements(fields).items()
            if holder == node and placement.state not in (ReplicaState.LOST, ReplicaState.LEAVING)
        ]
        for uid, fields in stored.items()
    }
    concerned = [uid for uid, shards in lost.items() if shards]
    if concerned:
        epoch = await raise_epoch(tx)
        for uid in concerned:
            for shard in lost[uid]:
                change_state(stored[uid], shard, node, ReplicaState.LOST, since=epoch)
    return tuple(map(IndexUid, concerned))
