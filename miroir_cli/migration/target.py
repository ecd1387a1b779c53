"""Where the replicas of an index are to be: the placement that needs the fewest copies, given the states of its
replicas now. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from miroir_cli.errors import TopologyInvalid
from miroir_cli.model import IndexMap, Node, NodeName, ReplicaState, ShardId, group_of
from miroir_cli.topology.placement import Placement, minimum_moves, place

SERVING, STALE, LOST = ReplicaState.SERVING, ReplicaState.STALE, ReplicaState.LOST
JOINING, LEAVING = ReplicaState.JOINING, ReplicaState.LEAVING

HELD = (SERVING, STALE, LOST)
"""The states of replicas that belong to the placement; the other two are between two placements."""

MENDED_FIRST = (STALE, JOINING, LOST)
"""The states of replicas that can be mended in place, what needs the fewest documents first."""

States = Mapping[ShardId, Mapping[NodeName, ReplicaState]]
"""The state of every replica of an index."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A placement to get to, and the number of copies that no valid one can undercut."""

    placement: Placement
    minimum: int


def states_of(index_map: IndexMap, *, nodes_lost: Set[NodeName] = frozenset()) -> States:
    """The states of all replicas; what a lost node held is lost, whatever the map says."""
    states: dict[ShardId, dict[NodeName, ReplicaState]] = {
        ShardId(shard): {} for shard in range(index_map.index.shards)
    }
    for replica in index_map.replicas:
        lost = replica.node in nodes_lost and replica.state in HELD
        states[replica.shard][replica.node] = LOST if lost else replica.state
    return states


def held(states: States, *kinds: ReplicaState) -> Placement:
    """The nodes of each shard whose replica is in one of these states."""
    return {
        shard: frozenset(name for name, state in replicas.items() if state in kinds)
        for shard, replicas in states.items()
    }


def choose(states: States, *, nodes: Sequence[Node], replicas: int) -> Target:
    """The placement with the fewest copies, repairs included; of those the one that mends the most in place.

    A stale or lost replica costs a copy where it is as much as anywhere else, so only in-sync ones count as kept.
    Raises TopologyInvalid when a group has too few nodes that are not drained.
    """
    shards, in_sync = len(states), held(states, SERVING)
    fewest = place(shards=shards, nodes=nodes, replicas=replicas, current=in_sync)
    minimum = minimum_moves(shards=shards, nodes=nodes, replicas=replicas, current=in_sync)
    current = _with_repairable(states, nodes=nodes, replicas=replicas)
    if current != in_sync:
        sticky = place(shards=shards, nodes=nodes, replicas=replicas, current=current)
        if _copies(sticky, in_sync) <= _copies(fewest, in_sync):
            return Target(placement=sticky, minimum=minimum)
    return Target(placement=fewest, minimum=minimum)


def to_mend(states: States, *, nodes: Sequence[Node], replicas: int) -> Placement:
    """The replicas to mend when the placement is to stay as it is: as many as each group lacks in-sync ones.

    Where there are more candidates than that, those that the placement to come keeps go first, then by state.
    A group with too few nodes has no placement to come.
    """
    groups = group_of([node for node in nodes if not node.drained]).values()
    try:
        kept = choose(states, nodes=nodes, replicas=replicas).placement
    except TopologyInvalid:
        kept = {}
    result: dict[ShardId, frozenset[NodeName]] = {}
    for shard, mine in states.items():
        chosen: list[NodeName] = []
        for members in groups:
            present = {node.name: mine[node.name] for node in members if node.name in mine}
            missing = replicas - sum(state is SERVING for state in present.values())
            order = sorted(
                (name not in kept.get(shard, ()), MENDED_FIRST.index(state), name)
                for name, state in present.items()
                if state in MENDED_FIRST
            )
            chosen.extend(name for _, _, name in order[: max(0, missing)])
        result[shard] = frozenset(chosen)
    return result


def _with_repairable(states: States, *, nodes: Sequence[Node], replicas: int) -> Placement:
    """The in-sync replicas, and the stale and lost ones of a shard in those groups that have too few in-sync ones."""
    groups = {node.name: node.group for node in nodes if not node.drained}
    return {shard: frozenset(_kept(mine, groups, replicas)) for shard, mine in states.items()}


def _kept(mine: Mapping[NodeName, ReplicaState], groups: Mapping[NodeName, str], replicas: int) -> Iterator[NodeName]:
    in_sync: dict[str, int] = {}
    for name, state in mine.items():
        if state is SERVING and name in groups:
            in_sync[groups[name]] = in_sync.get(groups[name], 0) + 1
    for name, state in mine.items():
        short = name in groups and in_sync.get(groups[name], 0) < replicas
        if state is SERVING or (state in HELD and short):
            yield name


def _copies(target: Placement, in_sync: Placement) -> int:
    return sum(len(names - in_sync.get(shard, frozenset())) for shard, names in target.items())
