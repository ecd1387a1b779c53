"""Clusters as plans see them: nodes, indexes with the state of every replica, and what a plan makes of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from miroir_cli.migration.plan import Facts, Plan, PlannedStep, StepKind, plan_moves
from miroir_cli.model import Index, IndexMap, IndexUid, Node, NodeName, Replica, ReplicaState, ShardId, group_of
from miroir_cli.topology.file import ClusterSettings, Topology
from miroir_cli.topology.placement import place
from miroir_cli.topology.state import StateSettings
from tests.topology.optimum import fewest_moves_by_flow
from tests.topology.test_placement import check

BOOKS = IndexUid("books")
SERVING, JOINING, LEAVING = ReplicaState.SERVING, ReplicaState.JOINING, ReplicaState.LEAVING
STALE, LOST = ReplicaState.STALE, ReplicaState.LOST

States = Mapping[str, ReplicaState]


def node(
    name: str, *, group: str = "main", zone: str | None = None, weight: float = 1.0, drained: bool = False
) -> Node:
    return Node(name=NodeName(name), url=f"http://{name}:7700", group=group, zone=zone, weight=weight, drained=drained)


def nodes_of(names: str) -> list[Node]:
    return [node(name) for name in names.split()]


def topology(nodes: Iterable[Node], *, replicas: int = 1, min_in_sync: int = 1) -> Topology:
    return Topology(
        path=Path("miroir.toml"),
        cluster=ClusterSettings(name="c", replicas=replicas, min_in_sync=min_in_sync),
        state=StateSettings(url="sqlite:x.db"),
        nodes=tuple(nodes),
    )


def index_map(shards: Sequence[States], *, uid: str = "books", replicas: int = 1, own: bool = False) -> IndexMap:
    """An index with the replicas of each shard as `{node: state}`."""
    index = Index(
        uid=IndexUid(uid), incarnation=1, primary_key="id", shards=len(shards), replicas=replicas, own_replicas=own
    )
    return IndexMap(
        epoch=7,
        index=index,
        replicas=tuple(
            Replica(shard=ShardId(shard), node=NodeName(name), state=state, since=1)
            for shard, states in enumerate(shards)
            for name, state in states.items()
        ),
    )


def placed(nodes: Sequence[Node], *, shards: int, replicas: int, uid: str = "books") -> IndexMap:
    """An index as it is after its creation on these nodes."""
    placement = place(shards=shards, nodes=nodes, replicas=replicas)
    return index_map([dict.fromkeys(sorted(placement[ShardId(s)]), SERVING) for s in range(shards)], uid=uid)


def facts(nodes: Iterable[Node], *, silent: str = "") -> Facts:
    present = frozenset(node.name for node in nodes) - {NodeName(name) for name in silent.split()}
    return Facts(present=present, documents={}, document_bytes={})


def plan(maps: IndexMap | Sequence[IndexMap], wanted: Topology, *, silent: str = "", **options: object) -> Plan:
    found = [maps] if isinstance(maps, IndexMap) else maps
    return plan_moves(found, wanted, facts(wanted.nodes, silent=silent), **options)  # type: ignore[arg-type]


def after(planned: Plan, index_map: IndexMap) -> IndexMap:
    """What the replicas are when every step has been done."""
    states = {(replica.shard, replica.node): replica for replica in index_map.replicas}
    for step in planned.steps:
        if step.index != index_map.index.uid:
            continue
        if step.target is not None:
            states[step.shard, step.target] = Replica(shard=step.shard, node=step.target, state=SERVING, since=9)
        if step.leaving is not None:
            del states[step.shard, step.leaving]
    return replace(index_map, replicas=tuple(states[key] for key in sorted(states)))


def copies(planned: Plan) -> int:
    return sum(step.target is not None for step in planned.steps)


def step(text: str, *, shard: int = 0, repair: bool = False) -> PlannedStep:
    """`a -> b`, `-> b` or `a ->` as a step of `books`."""
    leaving, target = (NodeName(name.strip()) if name.strip() else None for name in text.split("->"))
    return PlannedStep(
        index=BOOKS,
        shard=ShardId(shard),
        kind=StepKind.COPY if target else StepKind.DROP,
        target=target,
        leaving=leaving,
        repair=repair,
    )


def reasons(planned: Plan) -> list[str]:
    return [f"{refusal.shard}: {refusal.reason}" for refusal in planned.refusals]


def check_done(before: IndexMap, wanted: Topology, planned: Plan, *, replicas: int | None = None) -> IndexMap:
    """The plan leads to a valid placement, with as few copies as a flow network needs, and is done then."""
    done = after(planned, before)
    count = replicas if replicas is not None else wanted.cluster.replicas
    shards = before.index.shards
    assert planned.refusals == () and planned.lost == {}
    assert {replica.state for replica in done.replicas} == {SERVING}
    placement = {shard: frozenset(names) for shard, names in done.in_sync().items()}
    active = wanted.active_nodes
    assert {name for names in placement.values() for name in names} <= {node.name for node in active}
    check(placement, shards=shards, nodes=active, replicas=count)
    in_sync = {shard: frozenset(names) for shard, names in before.in_sync().items()}
    fewest = sum(
        fewest_moves_by_flow(shards=shards, nodes=members, replicas=count, current=in_sync)
        for members in group_of(active).values()
    )
    assert planned.minimum <= fewest == copies(planned)
    return done
