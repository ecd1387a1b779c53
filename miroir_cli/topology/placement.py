"""Which nodes hold the replicas of each shard: bounded, sticky rendezvous hashing. Pure.

What `place` promises, for each replica group by itself:

1. Every shard is on exactly `replicas` different nodes of the group.
2. The replicas of a shard are spread over the zones as evenly as possible: in different zones when there are at
   least as many zones as replicas, in every zone otherwise. A node without a zone counts as a zone of its own.
3. A node's load is its share rounded down or up. Shares are proportional to weights, but no node's share exceeds
   the number of shards, and no zone's share exceeds what promise 2 lets it hold; the rest goes to the others by
   weight. So equal weights without zones, or with zones none of which is too heavy, give loads that differ by at
   most one; when a zone has more than its part of the weight (say three nodes in one zone and one in the other,
   with two replicas), zones win over balance: loads then differ by at most one within that zone, and among the
   nodes of all zones that are not held back.
4. Starting from `current` no placement that keeps 1 to 3 copies fewer replicas.
5. The answer depends on the current placement and the nodes only, not on any order; placing again moves nothing.

Sources: rendezvous hashing, Thaler and Ravishankar, "Using name-based mappings to increase hit rates", IEEE/ACM
Transactions on Networking 6 (1), 1998; the weighted score -w / ln(h), Schindelhauer and Schomaker, "Weighted
distributed hash tables", SPAA 2005; bounded loads, Mirrokni, Thorup and Zadimoghaddam, "Consistent hashing with
bounded loads", 2016; rounding by largest remainder, Hamilton; repairs along cheapest augmenting paths, Ford and
Fulkerson, Busacker and Gowen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from math import log

from xxhash import xxh64_intdigest

from miroir_cli.model import Node, NodeName, ShardId, staying_groups
from miroir_cli.topology.assignment import Assignment, Limits
from miroir_cli.topology.capacity import (
    Capacity,
    capacities,
    extras,
    require_enough_nodes,
    zone_limits,
    zone_of,
)

Placement = Mapping[ShardId, Set[NodeName]]
"""The nodes of each shard, of all groups together."""

NOTHING: Placement = {}

UNIT = 2.0**-52
"""Brings the upper 52 bits of a hash, plus a half, into (0, 1) without rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One replica that changes: copied to `target` (None: only dropped), taken from `source` (None: only added)."""

    shard: ShardId
    source: NodeName | None
    target: NodeName | None


def place(
    *, shards: int, nodes: Sequence[Node], replicas: int, current: Placement = NOTHING
) -> dict[ShardId, frozenset[NodeName]]:
    """The placement of all groups together: for each shard `replicas` nodes of every group.

    `current` may be anything, also from other nodes, weights, zones or numbers of replicas; nodes in it that are
    not in `nodes` have vanished, and nodes that changed their group count in the new one. Drained nodes get
    nothing, and a group of drained nodes alone is left out.
    Raises TopologyInvalid when a group has fewer nodes that are not drained than `replicas`, or when there is no node.
    """
    result: dict[ShardId, set[NodeName]] = {ShardId(shard): set() for shard in range(shards)}
    for group in _groups(nodes, shards=shards, replicas=replicas, current=current):
        for shard, names in enumerate(group.place()):
            result[ShardId(shard)].update(names)
    return {shard: frozenset(names) for shard, names in result.items()}


def preference(shard: int, nodes: Iterable[Node]) -> list[NodeName]:
    """The rendezvous order of the nodes for a shard, most preferred first; equal scores in the order of names."""
    ordered = sorted(nodes, key=lambda node: node.name)
    ordered.sort(key=lambda node: score(shard, node.name.encode(), node.weight), reverse=True)
    return [node.name for node in ordered]


def score(shard: int, name: bytes, weight: float) -> float:
    """The weighted rendezvous score -w / ln(h), h being xxh64 of the node's name seeded with the shard, in (0, 1)."""
    return -weight / log(((xxh64_intdigest(name, shard) >> 12) + 0.5) * UNIT)


def moves(current: Placement, target: Placement, *, nodes: Iterable[Node] = ()) -> tuple[Move, ...]:
    """What changes from one placement to the other, in the order of shards and names.

    In each shard every added replica is paired with a removed one, of the same group when `nodes` tells the
    groups; what is left over is only added or only dropped. The number of moves with a target is the number of
    replicas that have to be copied.
    """
    groups = {node.name: node.group for node in nodes}
    result: list[Move] = []
    for shard in sorted({*current, *target}):
        before, after = current.get(shard, frozenset()), target.get(shard, frozenset())
        leaving = sorted(before - after)
        for name in sorted(after - before):
            peers = [each for each in leaving if groups.get(each) == groups.get(name)]
            strays = [each for each in leaving if groups and each not in groups]
            source = next(iter(peers + strays), None)
            if source is not None:
                leaving.remove(source)
            result.append(Move(shard=shard, source=source, target=name))
        result.extend(Move(shard=shard, source=name, target=None) for name in leaving)
    return tuple(result)


def minimum_moves(*, shards: int, nodes: Sequence[Node], replicas: int, current: Placement = NOTHING) -> int:
    """A number of copied replicas that no valid placement can undercut, counted without looking for a placement.

    Per node: what is missing to the smallest load plus what must come from nodes above their largest load or
    vanished. Per shard: the replicas that are missing in the zones. The larger of the two sums, added up over the
    groups. `place` needs more only when every replica that has to leave is of a shard that the nodes with room
    already hold, so that other shards have to make way; it then needs as few as possible.
    """
    return sum(group.fewest_moves() for group in _groups(nodes, shards=shards, replicas=replicas, current=current))


def _groups(nodes: Sequence[Node], *, shards: int, replicas: int, current: Placement) -> Iterator[_Group]:
    """The groups that stay, each with its nodes that are not drained."""
    for members in list(staying_groups(nodes).values()) or [()]:
        require_enough_nodes(members, replicas)
        active = [node for node in members if not node.drained]
        yield _Group(active, shards=shards, replicas=replicas, current=current)


class _Group:
    """The placement of one replica group, with its nodes numbered in the order of their names."""

    def __init__(self, nodes: Sequence[Node], *, shards: int, replicas: int, current: Placement) -> None:
        self.names = sorted(node.name for node in nodes)
        by_name = {node.name: node for node in nodes}
        per_node = capacities(nodes, shards=shards, replicas=replicas)
        self.capacity: list[Capacity] = [per_node[name] for name in self.names]
        per_zone = zone_limits(nodes, replicas)
        zones = {zone: number for number, zone in enumerate(sorted(per_zone))}
        self.limits = Limits(
            shards=shards,
            replicas=replicas,
            zone=[zones[zone_of(by_name[name])] for name in self.names],
            zone_low=[per_zone[zone].low for zone in zones],
            zone_high=[per_zone[zone].high for zone in zones],
            low=[each.low for each in self.capacity],
            high=[each.high for each in self.capacity],
            extra=extras(per_node, shards * replicas),
        )
        numbers = {name: number for number, name in enumerate(self.names)}
        self.current = [
            frozenset(numbers[name] for name in current.get(ShardId(shard), ()) if name in numbers)
            for shard in range(shards)
        ]
        self._encoded = [name.encode() for name in self.names]
        self._weights = [by_name[name].weight for name in self.names]
        self._one_weight = len(set(self._weights)) == 1
        self._by_remainder = sorted(
            (node for node, each in enumerate(self.capacity) if each.high > each.low),
            key=lambda node: (self.capacity[node].low - self.capacity[node].share, node),
        )

    def place(self) -> list[list[NodeName]]:
        """The names of the nodes of each shard."""
        assignment = Assignment(self.limits, self.current)
        self._keep(assignment)
        self._choose_quotas(assignment)
        self._fill(assignment)
        return [[self.names[node] for node in holders] for holders in assignment.holders]

    def fewest_moves(self) -> int:
        limits = self.limits
        loads = self._loads(self.current)
        bounded = [min(max(load, low), high) for load, low, high in zip(loads, limits.low, limits.high, strict=True)]
        missing = sum(max(0, low - load) for load, low in zip(loads, limits.low, strict=True))
        by_node = missing + max(0, limits.shards * limits.replicas - sum(bounded))
        return max(by_node, sum(self._missing(holders) for holders in self.current))

    def _missing(self, holders: frozenset[int]) -> int:
        """How many replicas a shard lacks when it keeps all that its zones allow."""
        limits = self.limits
        counts = [0] * len(limits.zone_low)
        for node in holders:
            counts[limits.zone[node]] += 1
        needed = sum(min(count, low) for count, low in zip(counts, limits.zone_low, strict=True))
        above = sum(
            min(count, high) - min(count, low)
            for count, low, high in zip(counts, limits.zone_low, limits.zone_high, strict=True)
        )
        return limits.replicas - needed - min(above, limits.replicas - sum(limits.zone_low))

    def _loads(self, holders: Iterable[Iterable[int]]) -> list[int]:
        loads = [0] * len(self.names)
        for nodes in holders:
            for node in nodes:
                loads[node] += 1
        return loads

    def _score(self, shard: int, node: int) -> float:
        return score(shard, self._encoded[node], self._weights[node])

    def _in_preference(self, shard: int, nodes: Sequence[int]) -> list[int]:
        """The order of `preference`, without the logarithms where all weights are equal: they change nothing."""
        names, weights = self._encoded, self._weights
        if self._one_weight:
            scores: dict[int, float] = {node: xxh64_intdigest(names[node], shard) >> 12 for node in nodes}
        else:
            scores = {
                node: -weights[node] / log(((xxh64_intdigest(names[node], shard) >> 12) + 0.5) * UNIT) for node in nodes
            }
        return sorted(nodes, key=scores.__getitem__, reverse=True)

    # -- the steps of a placement

    def _keep(self, assignment: Assignment) -> None:
        """Keep as many current replicas as the limits allow."""
        crowded = self._keep_within_shards(assignment)
        dropped = self._drop_above_bounds(assignment)
        if crowded:
            for shard in dropped:
                assignment.augment_free(shard)

    def _keep_within_shards(self, assignment: Assignment) -> bool:
        """Keep what each shard's own limits allow, first on nodes with room; whether anything had to go."""
        high = self.limits.high
        surplus = [load - high[node] for node, load in enumerate(self._loads(self.current))]
        crowded = False
        for shard, nodes in enumerate(self.current):
            for node in nodes:
                if not assignment.fits(shard, node):
                    break
                assignment.add(shard, node)
            else:
                continue
            crowded = True
            for node in sorted(assignment.holders[shard]):
                assignment.remove(shard, node)
            for node in sorted(nodes, key=lambda node: (surplus[node], -self._score(shard, node), node)):
                if assignment.fits(shard, node):
                    assignment.add(shard, node)
                else:
                    surplus[node] -= 1
        return crowded

    def _drop_above_bounds(self, assignment: Assignment) -> list[int]:
        """Drop from each node what exceeds its load, the shards that prefer it least first; the shards dropped."""
        limits, held = self.limits, assignment.held
        allowed = list(limits.low)
        above = [node for node in self._by_remainder if len(held[node]) > limits.low[node]]
        for node in above[: limits.extra]:
            allowed[node] = limits.high[node]
        dropped: dict[int, int] = {}
        for node, most in enumerate(allowed):
            if len(held[node]) > most:
                order = sorted(held[node], key=lambda shard: (dropped.get(shard, 0), self._score(shard, node), shard))
                for shard in order[: len(held[node]) - most]:
                    assignment.remove(shard, node)
                    dropped[shard] = dropped.get(shard, 0) + 1
        return sorted(shard for shard, times in dropped.items() for _ in range(times))

    def _choose_quotas(self, assignment: Assignment) -> None:
        """Choose who is to hold the extra replicas: those that do, then the largest remainders, zones permitting."""
        limits = self.limits
        quota = assignment.quota = list(limits.low)
        room = [limits.shards * high for high in limits.zone_high]
        for node, low in enumerate(limits.low):
            room[limits.zone[node]] -= low
        holding = {node for node in self._by_remainder if len(assignment.held[node]) > limits.low[node]}
        left = limits.extra
        for node in sorted(self._by_remainder, key=lambda node: node not in holding):
            if node in holding or (left and room[limits.zone[node]] > 0):
                quota[node] = limits.high[node]
                room[limits.zone[node]] -= 1
                left -= 1

    def _fill(self, assignment: Assignment) -> None:
        """Give every shard its missing replicas on the nodes it prefers; where these are full, along a path."""
        replicas, holders = self.limits.replicas, assignment.holders
        open_nodes = [node for node in range(len(self.names)) if assignment.has_room(node)]
        for shard in range(self.limits.shards):
            if len(holders[shard]) == replicas:
                continue
            for node in self._in_preference(shard, open_nodes):
                if assignment.fits(shard, node):
                    assignment.add(shard, node)
                    if not assignment.has_room(node):
                        open_nodes.remove(node)
                    if len(holders[shard]) == replicas:
                        break
        for shard in range(self.limits.shards):
            while len(holders[shard]) < replicas:
                if not assignment.augment(shard):  # pragma: no cover  (capacity.py says why it cannot happen)
                    raise AssertionError(f"no valid placement of shard {shard}")
