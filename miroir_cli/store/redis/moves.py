"""Replicas that join, switch and leave."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from miroir_cli.model import Index, NodeName, ReplicaState, ShardId
from miroir_cli.store.encoding import from_json, to_json
from miroir_cli.store.moving import before_filling, given_up
from miroir_cli.store.records import Marked
from miroir_cli.store.redis.active import newest_number, require_active, unsettled
from miroir_cli.store.redis.changes import WATCHES, forget_changes, register
from miroir_cli.store.redis.cluster import (
    Placement,
    decode_placement,
    decode_placements,
    encode_placement,
    index_hash,
    lanes,
    placement_field,
    placements,
    raise_epoch,
    read_in_sync,
)
from miroir_cli.store.redis.keys import CLUSTER, content_key, content_of, key, listing
from miroir_cli.store.redis.members import forget_member
from miroir_cli.store.redis.order import (
    OWN,
    addressed_key,
    foreign_key,
    forget_above,
    known_key,
    note_addressed,
    note_known,
    order_key,
    tasks_of,
)

if TYPE_CHECKING:
    from miroir_cli.store.redis.transaction import Transaction


async def _look_ahead(tx: Transaction, index: Index) -> None:
    """Read what all of these need in one round trip."""
    ahead = [key(kind, index.uid) for kind in ("indexes", "placements", "lanes", "movers")]
    await tx.hashes([*ahead, order_key(content_key(index)), WATCHES, CLUSTER])


async def _placement(tx: Transaction, index: Index, shard: ShardId, node: NodeName) -> Placement | None:
    found = (await placements(tx, index.uid)).get(placement_field(shard, node))
    return None if found is None else decode_placement(found)


async def _place(tx: Transaction, index: Index, shard: ShardId, node: NodeName, placement: Placement) -> None:
    (await placements(tx, index.uid))[placement_field(shard, node)] = encode_placement(placement)


async def join(
    tx: Transaction, index: Index, shard: ShardId, node: NodeName, *, nonce: str, top: int
) -> tuple[int, ReplicaState | None]:
    """Begin to fill a replica (rule M1). From here on intents name the keys that they write to the shard.

    Returns the newest intent, and what the replica was before (None: not there). A serving replica stays as it is.
    """
    await _look_ahead(tx, index)
    newest = await newest_number(tx, index, await require_active(tx, index))
    found = await _placement(tx, index, shard, node)
    if found is not None and found.state is ReplicaState.SERVING:
        return newest, ReplicaState.SERVING
    was = None if found is None else before_filling(found.state, found.was, found.nonce)
    await begin_lane(tx, index, node, top=top)
    await register(tx, index, node, (shard,), nonce=nonce)
    joining = Placement(state=ReplicaState.JOINING, since=await raise_epoch(tx), was=was, nonce=nonce)
    await _place(tx, index, shard, node, joining)
    return newest, was


async def begin_lane(tx: Transaction, index: Index, node: NodeName, *, top: int) -> None:
    """Begin to look at a node's tasks behind `top`, unless a replica of the index serves there already."""
    placed = decode_placements(await placements(tx, index.uid))
    if any(of == node and each.state is ReplicaState.SERVING for (_, of), each in placed.items()):
        return
    await forget_above(tx, content_key(index), node, top=top)
    (await lanes(tx, index.uid))[node] = to_json({"base": top + 1, "looked": top})


async def switch(
    tx: Transaction,
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
    """The joining replica serves from now on, and the replaced one no longer (rule M5); None when something that the
    comparison rests on has changed: the attempt, the source, or a write of the shard that is not settled."""
    await _look_ahead(tx, index)
    settled = await require_active(tx, index)
    found = await _placement(tx, index, shard, node)
    if found is None or found.state is not ReplicaState.JOINING or found.nonce != nonce:
        return None
    if source not in (await read_in_sync(tx, index.uid)).get(shard, frozenset()):
        return None
    if await newest_number(tx, index, settled) != newest or await unsettled(tx, index, shard, settled=settled):
        return None
    epoch = await raise_epoch(tx)
    await _place(tx, index, shard, node, Placement(state=ReplicaState.SERVING, since=epoch, base=base))
    if leaving is not None:
        await _let_leave(tx, index, shard, leaving, since=epoch)
    await _look_again(tx, index, node, base=base)
    await forget_changes(tx, index.uid, shard)
    return Marked(epoch=epoch)


async def _let_leave(tx: Transaction, index: Index, shard: ShardId, node: NodeName, *, since: int) -> None:
    found = await _placement(tx, index, shard, node)
    if found is not None:
        left = replace(found, state=ReplicaState.LEAVING, was=found.state, since=since)
        await _place(tx, index, shard, node, left)


async def _look_again(tx: Transaction, index: Index, node: NodeName, *, base: int) -> None:
    """Whoever settled looked at the node's tasks for the replicas that served then: those from the base on concern one
    more now."""
    by_node = await lanes(tx, index.uid)
    if node in by_node:
        lane = from_json(by_node[node])
        by_node[node] = to_json({**lane, "looked": min(lane["looked"], base - 1)})
    strangers = foreign_key(content_key(index), node)
    for member in await tx.ranged(strangers, low=base):
        tx.discard(strangers, member.name)


async def leave(tx: Transaction, index: Index, shard: ShardId, node: NodeName, *, keep: int) -> bool:
    """Take a replica out of service for good; False when fewer than `keep` in-sync ones would be left."""
    await _look_ahead(tx, index)
    await require_active(tx, index)
    found = await _placement(tx, index, shard, node)
    if found is None or found.state is ReplicaState.LEAVING:
        return True
    left = (await read_in_sync(tx, index.uid)).get(shard, frozenset()) - {node}
    if found.state is ReplicaState.SERVING and len(left) < keep:
        return False
    epoch = await raise_epoch(tx)
    await _place(
        tx, index, shard, node, replace(found, state=ReplicaState.LEAVING, was=found.state, since=epoch, nonce=None)
    )
    await forget_changes(tx, index.uid, shard)
    return True


async def unjoin(tx: Transaction, index: Index, shard: ShardId, node: NodeName) -> None:
    """Give up filling a replica: it is what it was before, stale or lost, or on its way out."""
    await _look_ahead(tx, index)
    found = await _placement(tx, index, shard, node)
    if found is None or found.nonce is None:
        return
    state = given_up(before_filling(found.state, found.was, found.nonce))
    since = await raise_epoch(tx)
    await _place(tx, index, shard, node, replace(found, state=state, since=since, was=None, nonce=None))
    await forget_changes(tx, index.uid, shard)


async def begin_forgetting(
    tx: Transaction, index: Index, node: NodeName, shards: Iterable[ShardId], *, nonce: str
) -> tuple[ShardId, ...]:
    """Record which of these shards are about to be deleted from a node (rule M6): those whose replica has left,
    whatever a step of an old run says."""
    await _look_ahead(tx, index)
    await require_active(tx, index)
    gone = tuple([shard for shard in shards if await _has_left(tx, index, shard, node)])
    if gone:
        await register(tx, index, node, gone, nonce=nonce)
    return gone


async def _has_left(tx: Transaction, index: Index, shard: ShardId, node: NodeName) -> bool:
    found = await _placement(tx, index, shard, node)
    return found is not None and found.state is ReplicaState.LEAVING


async def served_until_they_left(tx: Transaction, index: Index, node: NodeName, shards: Iterable[ShardId]) -> bool:
    """Whether all of these replicas, which have left, were in sync until then: nothing is on its way to them but what
    writers have seen answered."""
    for shard in shards:
        found = await _placement(tx, index, shard, node)
        if found is not None and found.state is ReplicaState.LEAVING and found.was is not ReplicaState.SERVING:
            return False
    return True


async def forget(tx: Transaction, index: Index, node: NodeName, shards: Iterable[ShardId]) -> None:
    """The documents of replicas that left are gone from their node."""
    await _look_ahead(tx, index)
    stored = await placements(tx, index.uid)
    for shard in shards:
        if await _has_left(tx, index, shard, node):
            del stored[placement_field(shard, node)]
    if not any(of == node for _, of in decode_placements(stored)):
        (await lanes(tx, index.uid)).pop(node, None)
    await raise_epoch(tx)


async def promote(tx: Transaction, index: Index, shard: ShardId, node: NodeName, *, top: int) -> None:
    """Take whatever a node has of a shard as its truth, because the operator accepts what is lost by it. What others
    had in sync is stale from now on."""
    await _look_ahead(tx, index)
    await require_active(tx, index)
    await begin_lane(tx, index, node, top=top)
    epoch = await raise_epoch(tx)
    for (of, other), each in decode_placements(await placements(tx, index.uid)).items():
        if of == shard and each.state is ReplicaState.SERVING:
            await _place(tx, index, of, other, replace(each, state=ReplicaState.STALE, since=epoch))
    await _place(tx, index, shard, node, Placement(state=ReplicaState.SERVING, since=epoch, base=top + 1))


async def was_addressed(tx: Transaction, uid: str, node: NodeName) -> bool:
    """Whether anything of an index may ever have been sent to a node: all of it is recorded before it is sent."""
    fields, placed, by_node, movers = await tx.hashes(
        [key(kind, uid) for kind in ("indexes", "placements", "lanes", "movers")]
    )
    if node in by_node or any(of == node for _, of in decode_placements(placed)):
        return True
    if any(from_json(text)["node"] == node for text in movers.values()):
        return True
    return bool(fields) and bool(await tx.score(addressed_key(content_of(fields)), node))


async def expel(tx: Transaction, node: NodeName) -> None:
    """The node is no member any more; what it held is forgotten."""
    uids = await tx.names(listing("indexes"))
    for placed in await tx.hashes(key("placements", uid) for uid in uids):
        for shard, of in decode_placements(placed):
            if of == node:
                del placed[placement_field(shard, of)]
    for by_node in await tx.hashes(key("lanes", uid) for uid in uids):
        by_node.pop(node, None)
    await forget_member(tx, node)
    await raise_epoch(tx)


# -- tasks of moves


async def account(tx: Transaction, index: Index, node: NodeName, tasks: Iterable[int]) -> None:
    """These tasks are miroir's own although no intent carries them (settings of a node that joins)."""
    await require_active(tx, index)
    content = content_key(index)
    for task in tasks:
        note_known(tx, content, node, task, carries=OWN)
        tx.discard(foreign_key(content, node), str(task))
    note_addressed(tx, content, [node], sent=False)


async def read_accounted(tx: Transaction, uid: str, node: NodeName, *, above: int) -> frozenset[int]:
    fields = await index_hash(tx, uid)
    if not fields:
        return frozenset()
    found = await tx.ranged(known_key(content_of(fields), node), low=above + 1)
    return tasks_of(member.name for member in found)
