"""The assignment of one group's replicas to its nodes: a matching with bounds, improved along augmenting paths.

An assignment is a set of (shard, node) pairs under two families of limits: per shard (replicas, and how many in
each zone) and per node (its load). A pair of the current placement costs nothing, any other pair costs one move.
Pairs are added one by one, each along a cheapest path that may displace others, so that at every point the cost
is the least possible for the number of pairs, and at the end no valid assignment has fewer moves (successive
shortest paths; both families are laminar, which makes a whole-number solution exist whenever a fractional one
does). Nodes and zones are numbered in the order of their names here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count

NEVER = 1 << 30
"""The cost of what cannot be reached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What an assignment has to respect.

    `zone[i]` is the zone of node i. A shard has `zone_low[z]` to `zone_high[z]` replicas in zone z and `replicas`
    in all. Node i holds `low[i]` to `high[i]` replicas; `extra` nodes hold `high` where that is more than `low`.
    """

    shards: int
    replicas: int
    zone: Sequence[int]
    zone_low: Sequence[int]
    zone_high: Sequence[int]
    low: Sequence[int]
    high: Sequence[int]
    extra: int


class Assignment:
    """Who holds what, and the steps that change it without ever breaking a limit.

    `quota` is the load chosen for each node, `low` or `high`; a path may choose again who gets the extra ones.
    """

    def __init__(self, limits: Limits, current: Sequence[frozenset[int]]) -> None:
        self.limits = limits
        self.current = current
        self.holders: list[set[int]] = [set() for _ in range(limits.shards)]
        self.held: list[set[int]] = [set() for _ in limits.low]
        self.quota: list[int] = list(limits.high)
        self._zones_of: list[dict[int, int]] = [{} for _ in range(limits.shards)]
        self._zone_extra = limits.replicas - sum(limits.zone_low)
        self._apart = max(limits.zone_high) == 1
        self._floors = _Floors(len(limits.low))
        self._free_floors = _Floors(len(limits.low))

    def fits(self, shard: int, node: int, leaving: int | None = None) -> bool:
        """Whether the shard's own limits allow a replica on the node, once the one on `leaving` is gone."""
        if node in self.holders[shard]:
            return False
        limits, counts = self.limits, self._zones_of[shard]
        zone = limits.zone[node]
        left = None if leaving is None else limits.zone[leaving]
        mine = counts.get(zone, 0) - (zone == left)
        if self._apart:
            return mine == 0 and len(self.holders[shard]) - (leaving is not None) < limits.replicas
        if mine < limits.zone_low[zone]:
            return True
        if mine >= limits.zone_high[zone]:
            return False
        low = limits.zone_low
        used = sum(max(0, count - (each == left) - low[each]) for each, count in counts.items())
        return used < self._zone_extra

    def has_zone_for(self, shard: int, zone: int) -> bool:
        """Whether the zone holds fewer replicas of the shard than it may."""
        return self._zones_of[shard].get(zone, 0) < self.limits.zone_high[zone]

    def has_room(self, node: int) -> bool:
        """Whether the node is below the load chosen for it."""
        return len(self.held[node]) < self.quota[node]

    def add(self, shard: int, node: int) -> None:
        self.holders[shard].add(node)
        self.held[node].add(shard)
        counts, zone = self._zones_of[shard], self.limits.zone[node]
        counts[zone] = counts.get(zone, 0) + 1

    def remove(self, shard: int, node: int) -> None:
        self.holders[shard].remove(node)
        self.held[node].remove(shard)
        self._zones_of[shard][self.limits.zone[node]] -= 1

    def augment(self, shard: int) -> bool:
        """Give the shard one more replica at the least cost; False when no valid assignment has one more.

        Call it only when `augment_free` would find nothing for any shard: a path then costs 1 at least.
        """
        chosen = [node for node in range(len(self.held)) if self.has_room(node)]
        search = _Search(self, shard, chosen, floors=_Floors(len(self.held)), least=1, swap_extras=False, rounds=2)
        if search.total != 1:
            search = _Search(self, shard, self._flexible_rooms(), floors=self._floors, least=1)
        if search.total == NEVER:
            return False
        search.apply()
        self._follow_with_quotas()
        return True

    def augment_free(self, shard: int) -> bool:
        """Give the shard back one of its current replicas by exchanging current replicas only; False if impossible."""
        search = _Search(self, shard, self._flexible_rooms(), floors=self._free_floors, least=0, free=True)
        if search.total == NEVER:
            return False
        search.apply()
        return True

    def _flexible_rooms(self) -> list[int]:
        """The nodes that could take one more, whichever nodes were meant to have the extra ones."""
        low, high = self.limits.low, self.limits.high
        loads = [len(shards) for shards in self.held]
        spare = self.limits.extra > sum(load > least for load, least in zip(loads, low, strict=True))
        return [node for node, load in enumerate(loads) if load < low[node] or (spare and load < high[node])]

    def _follow_with_quotas(self) -> None:
        """After a node took an extra replica that it was not chosen for: another one no longer gets it."""
        low, high, quota = self.limits.low, self.limits.high, self.quota
        nodes = range(len(self.held))
        for node in nodes:
            if len(self.held[node]) > quota[node]:
                quota[node] = high[node]
        chosen = sum(quota[node] > low[node] for node in nodes)
        unused = [node for node in nodes if quota[node] > low[node] >= len(self.held[node])]
        for node in unused[len(unused) - max(0, chosen - self.limits.extra) :]:
            quota[node] = low[node]


class _Floors:
    """For each node (and the hub) a cost that no path from it to a node with room undercuts.

    Distances to the rooms never shrink while pairs are added along cheapest paths, so what one search learns
    holds for all later ones.
    """

    def __init__(self, nodes: int) -> None:
        self.least = [0] * (nodes + 1)

    def learn(self, labels: dict[int, int], total: int) -> None:
        least = self.least
        for node, cost in labels.items():
            if total - cost > least[node]:
                least[node] = total - cost


@dataclass(frozen=True, slots=True)
class _Hop:
    """How a path came to a node: from `before` (None: from its start), with a shard or an extra one's right."""

    before: int | None
    shard: int | None


@dataclass(slots=True)
class _Search:
    """The cheapest path that gives a shard one more replica, and among these one with the fewest hops.

    Rounds of relaxation (Bellman and Ford) over the nodes; a node's label is the cost of reaching it with one
    replica more than it may hold. Fewest hops matter: only then do the exchanges of a path not disturb each other.
    The hub, numbered after the nodes, stands for the extra replicas: a node takes one there, another gives it up.
    A `free` search uses pairs of the current placement only; one with few `rounds` may miss the cheapest path.
    """

    assignment: Assignment
    shard: int
    rooms: Sequence[int]
    floors: _Floors
    least: int
    swap_extras: bool = True
    free: bool = False
    rounds: int | None = None
    total: int = NEVER
    _end: int = -1
    _labels: dict[int, int] = field(default_factory=dict)
    _hops: dict[int, _Hop] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.rooms:
            self._run()
            if self.rounds is None:
                self.floors.learn(self._labels, self.total)

    def apply(self) -> None:
        """Carry the exchanges out, from the room at the end back to the start."""
        node: int | None = self._end
        while node is not None:
            hop = self._hops[node]
            if hop.shard is not None:
                if hop.before is not None:
                    self.assignment.remove(hop.shard, hop.before)
                self.assignment.add(hop.shard, node)
            node = hop.before

    def _run(self) -> None:
        hub = len(self.assignment.held)
        current = self.assignment.current[self.shard]
        rooms = frozenset(self.rooms)
        for node in sorted(current) if self.free else range(hub):
            if self.assignment.fits(self.shard, node):
                self._reach(node, 0 if node in current else 1, _Hop(None, self.shard))
        least = max(
            self.least, min((cost + self.floors.least[node] for node, cost in self._labels.items()), default=NEVER)
        )
        others = [node for node in range(hub) if node not in rooms]
        frontier = list(self._labels.items())
        self._arrive()
        for _ in count() if self.rounds is None else range(self.rounds):
            if not frontier or self.total <= least:
                return
            open_ends = [
                (node, cost)
                for node, cost in frontier
                if node not in rooms and cost + self.floors.least[node] < self.total
            ]
            improved = self._relax(open_ends, self.rooms)
            self._arrive()
            if self.total <= least:
                return
            improved |= self._relax(open_ends, others)
            frontier = [(node, self._labels[node]) for node in sorted(improved)]

    def _relax(self, frontier: Iterable[tuple[int, int]], towards: Sequence[int]) -> set[int]:
        """Extend the paths that end in `frontier` by one hop to the nodes `towards`; who was reached at less cost."""
        improved: set[int] = set()
        for before, cost in frontier:
            hops = (
                self._extras(before) if before == len(self.assignment.held) else self._exchanges(before, cost, towards)
            )
            for node, more, hop in hops:
                if cost + more < self._labels.get(node, NEVER):
                    self._reach(node, cost + more, hop)
                    improved.add(node)
        return improved

    def _exchanges(self, before: int, cost: int, towards: Sequence[int]) -> Iterator[tuple[int, int, _Hop]]:
        """Each way in which a shard can leave `before` for a node that this reaches at less cost than known."""
        assignment, labels = self.assignment, self._labels
        limits, hub = assignment.limits, len(assignment.held)
        if self.swap_extras and len(assignment.held[before]) == limits.low[before] < limits.high[before]:
            yield hub, 0, _Hop(before, None)
        zone, goals = limits.zone, frozenset(towards)
        worse: dict[int, dict[int, list[int]]] = {}
        for shard in sorted(assignment.held[before]):
            current = assignment.current[shard]
            saved = 0 if before in current else -1
            nodes = sorted(current & goals)
            if not self.free:
                if saved not in worse:
                    worse[saved] = self._by_zone(towards, cost + saved + 1)
                for each, members in worse[saved].items():
                    if each == zone[before] or assignment.has_zone_for(shard, each):
                        nodes += members
            for node in nodes:
                more = saved + (node not in current)
                if cost + more < labels.get(node, NEVER) and assignment.fits(shard, node, before):
                    yield node, more, _Hop(before, shard)

    def _by_zone(self, nodes: Iterable[int], cost: int) -> dict[int, list[int]]:
        """Those of the nodes, by their zone, that are not known to be reached at this cost or less."""
        result: dict[int, list[int]] = {}
        for node in nodes:
            if self._labels.get(node, NEVER) > cost:
                result.setdefault(self.assignment.limits.zone[node], []).append(node)
        return result

    def _extras(self, hub: int) -> Iterator[tuple[int, int, _Hop]]:
        """The nodes that can give up an extra replica."""
        low = self.assignment.limits.low
        for node, shards in enumerate(self.assignment.held):
            if len(shards) > low[node]:
                yield node, 0, _Hop(hub, None)

    def _reach(self, node: int, cost: int, hop: _Hop) -> None:
        self._labels[node] = cost
        self._hops[node] = hop

    def _arrive(self) -> None:
        for node in self.rooms:
            if self._labels.get(node, NEVER) < self.total:
                self.total, self._end = self._labels[node], node
