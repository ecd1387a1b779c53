"""Mending: replicas out of sync, settings that drifted, in-sync replicas that differ, and, with consent, shards that
have lost every replica in sync."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from miroir_cli.errors import Locked, MiroirError, Refused, TemporaryError, UsageError
from miroir_cli.indexes.configure import change_settings
from miroir_cli.migration.plan import PlannedStep, StepKind
from miroir_cli.migration.rebalance import RUN_LOCK, Change, Outcome, accept_as_truth, rebalance
from miroir_cli.migration.side import Side
from miroir_cli.model import IndexMap, NodeName, ReplicaState, ShardId
from miroir_cli.replication.members import call_roll, publish
from miroir_cli.replication.recover import recover
from miroir_cli.replication.settle import settle_until

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.migration.run import RunOptions, RunProgress
    from miroir_cli.migration.verify import ShardDifference, Verification


async def repair(
    cluster: Cluster,
    *,
    indexes: Sequence[str] | None = None,
    options: RunOptions | None = None,
    report: Callable[[RunProgress], None] = lambda progress: None,
) -> Outcome:
    """Make every replica that is stale or lost equal to one in sync, on nodes that answer; others are refusals.

    Raises what `rebalance` raises.
    """
    await end_writes(cluster, indexes)
    if cluster.fencing is not None:
        with suppress(TemporaryError):
            await cluster.fencing.tidy()
    change = Change(title="repair", only_repair=True, indexes=None if indexes is None else frozenset(indexes))
    return await rebalance(cluster, change, options=options, report=report)


async def end_writes(cluster: Cluster, indexes: Sequence[str] | None = None, *, timeout: float = 30.0) -> None:
    """Find out what became of every recorded write, so that all replicas that missed one are known. What cannot be
    told now is left as it is."""
    for uid in indexes if indexes is not None else [index.uid for index in await cluster.store.indexes()]:
        index = (await cluster.reload(uid)).index
        with suppress(TemporaryError, Locked):
            async with cluster.locks.order(uid):
                await recover(cluster, index)
            pending = await cluster.store.pending(uid)
            await settle_until(cluster, index, pending.newest, timeout=timeout)


async def mend_settings(cluster: Cluster, found: Verification) -> list[str]:
    """Send the settings of the indexes whose nodes have others again, to all their nodes; the indexes mended."""
    for uid in found.settings:
        await change_settings(cluster, uid, {})
    return sorted(found.settings)


# -- replicas in sync that differ


async def show_difference(cluster: Cluster, difference: ShardDifference, key: str) -> dict[NodeName, Any]:
    """A document as each of the two nodes has it; None where it is missing."""
    map = await cluster.reload(difference.index)
    shown: dict[NodeName, Any] = {}
    for name in (difference.reference, difference.node):
        documents = await Side(cluster.fleet[name], map.index, difference.shard).documents([key])
        shown[name] = msgspec.json.decode(documents[key]) if key in documents else None
    return shown


async def prefer(cluster: Cluster, differences: Sequence[ShardDifference], node: NodeName) -> int:
    """Take what a node has as right: the other replicas of the shards concerned are stale from now on, for `repair` to
    mend. The number of replicas.

    A comparison is with one reference. What was not found to differ from that equals it, so that every replica is
    either known to equal the node's or made equal to it. Raises `UsageError` when the node has none of these shards.
    """
    marked, concerned = 0, False
    for uid in sorted({each.index for each in differences}):
        async with cluster.locks.order(uid):
            map = await cluster.reload(uid)
            in_sync = map.in_sync()
            others: dict[NodeName, set[ShardId]] = {}
            for shard in sorted({each.shard for each in differences if each.index == uid}):
                if node not in in_sync[shard]:
                    continue
                concerned = True
                differ = {each.node for each in differences if (each.index, each.shard) == (uid, shard)}
                for name in (set(in_sync[shard]) - {node}) if node in differ else differ:
                    others.setdefault(name, set()).add(shard)
            found = await cluster.store.mark(uid, others, state=ReplicaState.STALE, incarnation=map.index.incarnation)
            marked += sum(len(shards) for shards in found.stale.values())
        await publish(cluster, uid)
    if not concerned:
        raise UsageError(
            f"node `{node}` has no replica that differs", hint="name one of the nodes that `miroir verify` names"
        )
    return marked


# -- shards of which nothing in sync is left


@dataclass(frozen=True, slots=True, kw_only=True)
class LastResort:
    """A shard without an in-sync replica, and the replica that would be taken for the truth.

    `node` None: nobody has anything, it would begin empty. `missed` counts the recorded writes to the shard that the
    replica may not have; `documents` are those that it has.
    """

    index: str
    shard: ShardId
    node: NodeName | None
    state: str
    documents: int | None
    missed: int
    candidates: Mapping[NodeName, str] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        return {
            "index": self.index,
            "shard": self.shard,
            "node": self.node,
            "state": self.state,
            "documents": self.documents,
            "writes_missed": self.missed,
        }


async def last_resorts(cluster: Cluster, uid: str, *, source: NodeName | None = None) -> list[LastResort]:
    """For every shard of an index of which no in-sync replica answers, what could be taken instead: on `source` if
    named, else the stale replica that answers and has most documents. Changes nothing."""
    map = await cluster.reload(uid)
    present = await _present(cluster, map)
    return [
        await _last_resort(cluster, map, shard, source)
        for shard, names in map.in_sync().items()
        if not present.intersection(names)
    ]


async def _present(cluster: Cluster, map: IndexMap) -> frozenset[NodeName]:
    """The nodes of an index that answer."""
    names = [name for name in map.nodes() if name in cluster.fleet]
    found = await cluster.fleet.each(lambda client: client.health(timeout=cluster.patience.answer), names=names)
    return frozenset(name for name, error in found.items() if error is None)


async def _last_resort(cluster: Cluster, map: IndexMap, shard: ShardId, source: NodeName | None) -> LastResort:
    candidates: dict[NodeName, str] = {}
    counts: dict[NodeName, int] = {}
    for replica in map.replicas:
        if replica.shard != shard or replica.node not in cluster.fleet or source not in (None, replica.node):
            continue
        candidates[replica.node] = replica.state.value
        try:
            counts[replica.node] = await Side(cluster.fleet[replica.node], map.index, shard).count()
        except MiroirError:
            continue
    known = [name for name in counts if candidates[name] != ReplicaState.LOST] or list(counts)
    best = max(known, key=lambda name: (counts[name], name), default=None)
    return LastResort(
        index=map.index.uid,
        shard=shard,
        node=best,
        state=candidates[best] if best is not None else "missing",
        documents=counts.get(best) if best is not None else None,
        missed=await _missed(cluster, map, shard, best),
        candidates=candidates,
    )


async def _missed(cluster: Cluster, map: IndexMap, shard: ShardId, node: NodeName | None) -> int:
    """Recorded writes to a shard that a node was not a target of, or did not take."""
    newest = (await cluster.store.pending(map.index)).newest
    intents = await cluster.store.intents(map.index.uid, range(max(1, newest - 5000), newest + 1))
    missed = 0
    for intent in intents.values():
        if shard in intent.shards - intent.refused - intent.failed:
            here = [target for target in intent.targets if target.node == node and target.piece(shard)]
            missed += not here
    return missed


async def accept_data_loss(cluster: Cluster, resorts: Sequence[LastResort]) -> None:
    """Take these replicas for the truth, as the operator has decided. Raises `Refused` for one that nobody has and no
    node can begin."""
    async with cluster.locks.once(RUN_LOCK):
        await call_roll(cluster)
        for resort in resorts:
            map = await cluster.reload(resort.index)
            present = await _present(cluster, map)
            if present.intersection(map.in_sync()[resort.shard]):
                continue
            node = resort.node or min(present, default=None)
            if node is None:
                raise Refused(f"no node can take shard {resort.shard} of index `{resort.index}`")
            step = PlannedStep(index=map.index.uid, shard=resort.shard, kind=StepKind.COPY, target=node)
            await accept_as_truth(cluster, map, step)
