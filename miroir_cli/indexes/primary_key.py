"""The primary key of an index that holds no document yet: named late, or changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from miroir_cli.errors import NodeTaskFailed, PrimaryKeyFixed, SettingsInvalid, ShardUnavailable
from miroir_cli.indexes.catalog import require_key_name
from miroir_cli.indexes.configure import after_other_changes, propose, require_thawed
from miroir_cli.indexes.counts import count_documents
from miroir_cli.model import Index, IntentState, ShardId, WriteKind, shards_named
from miroir_cli.replication.members import call_roll
from miroir_cli.replication.settle import settle_until
from miroir_cli.replication.write import Outgoing, write_locked

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster


async def set_primary_key(
    cluster: Cluster, uid: str, key: str, *, replace: bool = True, timeout: float = 600.0
) -> Index:
    """Give an index this primary key on all its nodes; the index as it is then. Raises `PrimaryKeyFixed` when it has
    another one and holds documents. `replace` False: an index that has a key by now keeps that.

    The settings come first: what orders equal hits is there before the first document can be. A process that dies in
    between leaves an index of which the key is still to be named.
    """
    require_key_name(key)
    roll = await call_roll(cluster)
    async with after_other_changes(cluster, uid, timeout=timeout) as map:
        index = map.index
        if index.primary_key == key or (index.primary_key and not replace):
            return index
        await require_thawed(cluster, uid)
        newest = (await cluster.store.pending(uid)).newest
        await settle_until(cluster, index, newest, timeout=timeout)
        map = await cluster.reload(uid)
        if index.primary_key:
            count = await count_documents(cluster, map)
            if count.missing:
                raise ShardUnavailable(
                    f"nobody can tell whether index `{uid}` is empty: {shards_named(count.missing)} cannot be counted"
                )
            if count.documents:
                raise PrimaryKeyFixed(uid, index.primary_key)
        proposal = await propose(cluster, map, roll, index.settings, primary_key=key)
        await proposal.stored(timeout=timeout)
        body = {"primaryKey": key}
        outgoing = Outgoing(
            kind=WriteKind.PRIMARY_KEY,
            documents={ShardId(shard): None for shard in range(index.shards)},
            payload=lambda shards: msgspec.json.encode(body),
            path="",
            method="PATCH",
            content_type="application/json",
            body=body,
        )
        written = await write_locked(cluster, index, outgoing)
        if written.refused:
            raise SettingsInvalid(f"index `{uid}` did not get the primary key `{key}`: {written.reason}")
        outcome = (await settle_until(cluster, index, written.n, timeout=timeout))[written.n]
    if outcome.state is not IntentState.DONE or outcome.failed:
        raise NodeTaskFailed(
            f"index `{uid}` did not get the primary key `{key}` everywhere: {outcome.error}", hint="do it again"
        )
    return (await cluster.reload(uid)).index
