"""What has to be copied and dropped so that the cluster is what its topology file says. Pure.

The same plan is printed by `--dry-run` and run: it depends on its arguments only, not on the order of nodes or maps.
Sources: the placement and its least number of copies are those of `topology/placement.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from miroir_cli.errors import TopologyInvalid
from miroir_cli.migration.shard import Members, Shard, judge
from miroir_cli.migration.step import PlannedStep, Refusal, StepKind
from miroir_cli.migration.target import HELD, Target, choose, held, states_of, to_mend
from miroir_cli.topology.placement import Move, moves

if TYPE_CHECKING:
    from miroir_cli.model import IndexMap, IndexUid, Json, NodeName, ShardId
    from miroir_cli.topology.file import Topology

__all__ = ["Facts", "NodeLoad", "Plan", "PlannedStep", "Refusal", "StepKind", "plan_moves"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was found out about the nodes: which answer, how many documents each shard has, and the average size of
    an index's documents in bytes. Both mappings may lack anything. `incarnations`: what the names of the indexes stood
    for when they were looked at."""

    present: frozenset[NodeName]
    documents: Mapping[IndexUid, Mapping[ShardId, int]]
    document_bytes: Mapping[IndexUid, float]
    incarnations: Mapping[IndexUid, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLoad:
    """The replicas of all indexes on a node, before the plan and after it, and their documents (None: not known)."""

    node: NodeName
    shards_before: int
    shards_after: int
    documents_before: int | None
    documents_after: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The steps in the order in which to begin them.

    `minimum`: the copies that no valid placement can undercut, repairs included. `refusals`: what is not among the
    steps although it should be. `lost`: shards of which no replica is left to copy from because a node was given up;
    their steps are in the plan and start from nothing, so a run needs consent. `documents` and `bytes`: what all
    copies hold together, None when not known; a repair writes no more than what differs.
    """

    steps: tuple[PlannedStep, ...]
    minimum: int
    loads: tuple[NodeLoad, ...]
    refusals: tuple[Refusal, ...]
    lost: Mapping[IndexUid, tuple[ShardId, ...]]
    documents: int | None
    bytes: int | None

    def json(self) -> dict[str, Any]:
        """The plan as a JSON document."""
        document: dict[str, Any] = {
            "moves": [_move(step) for step in self.steps],
            "minimum": self.minimum,
            "nodes": [_load(load) for load in self.loads],
            "refused": [
                {"index": refusal.index, "shard": refusal.shard, "reason": refusal.reason} for refusal in self.refusals
            ],
            "documents": self.documents,
            "bytes": self.bytes,
        }
        if self.lost:
            document["lost"] = {uid: list(shards) for uid, shards in self.lost.items()}
        return document


def plan_moves(
    maps: Sequence[IndexMap],
    topology: Topology,
    facts: Facts,
    *,
    replicas: Mapping[IndexUid, int] | None = None,
    only_repair: bool = False,
    nodes_lost: frozenset[NodeName] = frozenset(),
) -> Plan:
    """The steps that lead from these replicas to the placement that the topology asks for.

    Every index has `[cluster] replicas` of each shard in each group, unless it was created with a number of its own
    or `replicas` names one. Nodes with replicas that are not in the topology have vanished: they are no source.
    `only_repair` leaves the placement as it is and mends as many replicas as the groups lack in-sync ones. What
    `nodes_lost` held is given up. Nothing is raised: what cannot be done is in `Plan.refusals`.
    """
    members = Members(
        nodes={node.name: node for node in topology.nodes},
        present=facts.present,
        lost=nodes_lost,
        min_in_sync=topology.cluster.min_in_sync,
    )
    parts = [
        _plan_index(
            index_map,
            members,
            replicas=_replicas_of(index_map, topology, replicas or {}),
            only_repair=only_repair,
        )
        for index_map in sorted(maps, key=lambda index_map: index_map.index.uid)
    ]
    steps = _interleave([step for part in parts for step in part.steps])
    return Plan(
        steps=steps,
        minimum=sum(part.minimum for part in parts),
        loads=_loads(maps, steps, [node.name for node in topology.nodes], facts),
        refusals=tuple(refusal for part in parts for refusal in part.refusals),
        lost={part.uid: part.lost for part in parts if part.lost},
        documents=_documents(steps, facts),
        bytes=_bytes(steps, facts),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """The part of a plan that is about one index."""

    uid: IndexUid
    steps: tuple[PlannedStep, ...]
    minimum: int
    refusals: tuple[Refusal, ...]
    lost: tuple[ShardId, ...]


def _replicas_of(index_map: IndexMap, topology: Topology, asked: Mapping[IndexUid, int]) -> int:
    index = index_map.index
    return asked.get(index.uid, index.replicas_wanted(topology.cluster.replicas))


def _plan_index(index_map: IndexMap, members: Members, *, replicas: int, only_repair: bool) -> _Part:
    uid, nodes = index_map.index.uid, list(members.nodes.values())
    states = states_of(index_map, nodes_lost=members.lost)
    refusals: list[Refusal] = []
    target: Target | None = None
    if not only_repair:
        try:
            target = choose(states, nodes=nodes, replicas=replicas)
        except TopologyInvalid as error:
            refusals.append(Refusal(index=uid, shard=None, reason=f"{error.message}; {error.hint}"))
    shards = [Shard(index=uid, number=shard, states=mine) for shard, mine in states.items()]
    if target is not None:
        changes = _by_shard(moves(held(states, *HELD), target.placement, nodes=nodes))
        wanted = [
            [*shard.steps(changes.get(shard.number, ()), target=target.placement[shard.number])] for shard in shards
        ]
    else:
        mended = to_mend(states, nodes=nodes, replicas=replicas)
        wanted = [[*shard.repairs(mended[shard.number])] for shard in shards]
    judged = [judge(shard, steps, members) for shard, steps in zip(shards, wanted, strict=True)]
    return _Part(
        uid=uid,
        steps=tuple(step for judgement in judged for step in judgement.steps),
        minimum=target.minimum if target is not None else sum(map(len, wanted)),
        refusals=(*refusals, *(refusal for judgement in judged for refusal in judgement.refusals)),
        lost=tuple(shard.number for shard, judgement in zip(shards, judged, strict=True) if judgement.lost),
    )


def _by_shard(changes: Iterable[Move]) -> dict[ShardId, list[Move]]:
    result: dict[ShardId, list[Move]] = {}
    for move in changes:
        result.setdefault(move.shard, []).append(move)
    return result


def _interleave(steps: Sequence[PlannedStep]) -> tuple[PlannedStep, ...]:
    """Repairs, then copies, then drops; within each the nodes take turns, so that several work at once."""

    def turn(step: PlannedStep) -> int:
        return 2 if step.kind is StepKind.DROP else 0 if step.repair else 1

    waiting: Counter[tuple[int, NodeName]] = Counter()
    keyed: list[tuple[tuple[int, int, NodeName], PlannedStep]] = []
    for step in sorted(steps, key=lambda step: (step.index, step.shard, step.node)):
        queue = (turn(step), step.node)
        keyed.append(((turn(step), waiting[queue], step.node), step))
        waiting[queue] += 1
    return tuple(step for _, step in sorted(keyed, key=lambda pair: pair[0]))


def _loads(
    maps: Sequence[IndexMap], steps: Sequence[PlannedStep], nodes: Sequence[NodeName], facts: Facts
) -> tuple[NodeLoad, ...]:
    """The loads of the topology's nodes, and of those that have vanished with replicas."""
    before: dict[NodeName, set[tuple[IndexUid, ShardId]]] = {name: set() for name in nodes}
    for index_map in maps:
        for replica in index_map.replicas:
            mine = before.setdefault(replica.node, set())
            if replica.state in HELD:
                mine.add((index_map.index.uid, replica.shard))
    after = {name: set(mine) for name, mine in before.items()}
    for step in steps:
        if step.target is not None:
            after[step.target].add((step.index, step.shard))
        if step.leaving is not None:
            after[step.leaving].discard((step.index, step.shard))
    return tuple(
        NodeLoad(
            node=name,
            shards_before=len(before[name]),
            shards_after=len(after[name]),
            documents_before=_count(before[name], facts),
            documents_after=_count(after[name], facts),
        )
        for name in sorted(before)
    )


def _count(shards: Iterable[tuple[IndexUid, ShardId]], facts: Facts) -> int | None:
    """The documents of these shards; None when one of them was not counted."""
    total = 0
    for uid, shard in shards:
        found = facts.documents.get(uid, {}).get(shard)
        if found is None:
            return None
        total += found
    return total


def _documents(steps: Sequence[PlannedStep], facts: Facts) -> int | None:
    return _count(((step.index, step.shard) for step in steps if step.kind is StepKind.COPY), facts)


def _bytes(steps: Sequence[PlannedStep], facts: Facts) -> int | None:
    total = 0.0
    for uid in sorted({step.index for step in steps}):
        documents = _documents([step for step in steps if step.index == uid], facts)
        if documents is None or (documents and uid not in facts.document_bytes):
            return None
        total += documents * facts.document_bytes.get(uid, 0.0)
    return round(total)


def _move(step: PlannedStep) -> Json:
    move: dict[str, Any] = {"index": step.index, "shard": step.shard, "from": step.leaving, "to": step.target}
    return {**move, "repair": True} if step.repair else move


def _load(load: NodeLoad) -> Json:
    return {
        "name": load.node,
        "shards_before": load.shards_before,
        "shards_after": load.shards_after,
        "documents_before": load.documents_before,
        "documents_after": load.documents_after,
    }
