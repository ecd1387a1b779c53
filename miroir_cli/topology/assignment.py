"""The assignment of one group's replicas to its nodes: a matching with bounds, improved along augmenting paths.

An assignment is a set of (shard, node) pairs under two families of limits: per shard (replicas, and how many in
each zone) and per node (its load). A pair of the current placement costs nothing, any other pair costs one move.
Pairs are added one by one, each along a cheapest path that may displace others, so that at every point the cost
is the least possible for the number of pairs, and at the end no valid placement has fewer moves (successive
shortest paths; the two families are laminar, which makes a whole-number solution exist whenever the limits can be
met at all). Nodes and zones are numbered in the order of their names here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


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


@dataclass(frozen=True, slots=True)
class _Hop:
    """The last displacement of a path: `shard` leaves `giver` for the labelled node, once `taker` got one more.

    `giver` is `taker`, or another node that gives up its extra replica so that `taker` may have one.
    `taker` is None for the first hop, which adds the shard that the path is for.
    """

    taker: int | None
    giver: int
    shard: int


class Assignment:
    """Who holds what, and the steps that change it without ever breaking a limit."""

    def __init__(self, limits: Limits, current: Sequence[frozenset[int]]) -> None:
        self.limits = limits
        self.current = current
        self.holders: list[set[int]] = [set() for _ in range(limits.shards)]
        self.held: list[set[int]] = [set() for _ in limits.low]
        self.quota: list[int] = list(limits.high)
        self._zone_extra = limits.replicas - sum(limits.zone_low)
        self._nodes = range(len(limits.low))

    # -- what is allowed

    def fits(self, shard: int, node: int, leaving: int | None = None) -> bool:
        """Whether the shard's own limits allow a replica on the node, once the one on `leaving` is gone."""
        holders = self.holders[shard]
        if node in holders:
            return False
        limits = self.limits
        zone = limits.zone
        counts: dict[int, int] = {}
        for holder in holders:
            if holder != leaving:
                counts[zone[holder]] = counts.get(zone[holder], 0) + 1
        mine = counts.get(zone[node], 0)
        if mine < limits.zone_low[zone[node]]:
            return True
        if mine >= limits.zone_high[zone[node]]:
            return False
        used = sum(max(0, count - limits.zone_low[each]) for each, count in counts.items())
        return used < self._zone_extra

    def has_room(self, node: int) -> bool:
        """Whether the node is below the load chosen for it."""
        return len(self.held[node]) < self.quota[node]

    def add(self, shard: int, node: int) -> None:
        self.holders[shard].add(node)
        self.held[node].add(shard)

    def remove(self, shard: int, node: int) -> None:
        self.holders[shard].remove(node)
        self.held[node].remove(shard)

    def cost(self, shard: int, node: int) -> int:
        return 0 if node in self.current[shard] else 1

    # -- paths

    def augment(self, shard: int) -> bool:
        """Give the shard one more replica at the least cost; False when no valid assignment has one more."""
        fixed = _Search(self, shard, rooms=self._rooms(), swap_extras=False, free=False)
        if fixed.cost == 1:
            fixed.apply()
            return True
        spread = _Search(self, shard, rooms=self._flexible_rooms(), swap_extras=True, free=False)
        if spread.cost is None:
            return False
        if fixed.cost is not None and fixed.cost <= spread.cost:
            fixed.apply()
        else:
            spread.apply()
            self._adjust_quotas()
        return True

    def augment_free(self, shard: int) -> bool:
        """Give the shard back one of its current replicas by exchanging current replicas only; False if impossible."""
        search = _Search(self, shard, rooms=self._flexible_rooms(), swap_extras=True, free=True)
        if search.cost is None:
            return False
        search.apply()
        return True

    def _rooms(self) -> frozenset[int]:
        return frozenset(node for node in self._nodes if self.has_room(node))

    def _flexible_rooms(self) -> frozenset[int]:
        """The nodes that could take one more, whichever nodes were meant to have the extra ones."""
        limits, spare = self.limits, self._spare_extras()
        return frozenset(
            node
            for node in self._nodes
            if (load := len(self.held[node])) < limits.low[node] or (spare and load < limits.high[node])
        )

    def _spare_extras(self) -> int:
        return self.limits.extra - sum(len(self.held[node]) > self.limits.low[node] for node in self._nodes)

    def givers(self, node: int) -> list[int]:
        """The nodes that may lose a replica so that a full `node` may have one more."""
        limits = self.limits
        result = [node]
        if len(self.held[node]) == limits.low[node] < limits.high[node]:
            result += [other for other in self._nodes if len(self.held[other]) > limits.low[other]]
        return result

    def _adjust_quotas(self) -> None:
        """After a node took an extra replica meant for another: the quotas follow."""
        low, high = self.limits.low, self.limits.high
        for node in self._nodes:
            if len(self.held[node]) > self.quota[node]:
                self.quota[node] = high[node]
                unused = [
                    other for other in self._nodes if self.quota[other] > low[other] >= len(self.held[other])
                ]
                self.quota[unused[-1]] = low[unused[-1]]


class _Search:
    """The cheapest path that gives a shard one more replica, and among these one with the fewest hops.

    Rounds of relaxation (Bellman and Ford) over the nodes; a label is (cost, hops) of reaching a node with one
    replica more than it may hold. Fewest hops matter: only then do the exchanges of a path not disturb each other.
    A search ends early at a cost that cannot be undercut: 1, or 0 for a `free` search, which uses current pairs only.
    """

    def __init__(
        self, assignment: Assignment, shard: int, *, rooms: frozenset[int], swap_extras: bool, free: bool
    ) -> None:
        self.assignment = assignment
        self.shard = shard
        self.rooms = rooms
        self.swap_extras = swap_extras
        self.free = free
        self.labels: dict[int, tuple[int, int]] = {}
        self.hops: dict[int, _Hop] = {}
        self.end: int | None = None
        if rooms:
            self._run()

    @property
    def cost(self) -> int | None:
        """The cost of the path; None when there is no path."""
        return None if self.end is None else self.labels[self.end][0]

    def apply(self) -> None:
        """Carry the exchanges out, from the room at the end back to the shard."""
        node = self.end
        while node is not None:
            hop = self.hops[node]
            if hop.taker is not None:
                self.assignment.remove(hop.shard, hop.giver)
            self.assignment.add(hop.shard, node)
            node = hop.taker

    def _run(self) -> None:
        assignment = self.assignment
        everyone = frozenset(range(len(assignment.held)))
        for node in sorted(self._allowed(self.shard, everyone)):
            if assignment.fits(self.shard, node):
                self._label(node, (assignment.cost(self.shard, node), 1), _Hop(None, node, self.shard))
        frontier = sorted(self.labels)
        self._arrive()
        while frontier and not self._cheapest_possible():
            self._relax(frontier, self.rooms)
            self._arrive()
            if self._cheapest_possible():
                return
            frontier = self._relax(frontier, everyone - self.rooms)

    def _relax(self, frontier: Iterable[int], towards: frozenset[int]) -> list[int]:
        """Extend the paths that end in `frontier` by one hop; the nodes whose label improved."""
        assignment = self.assignment
        improved: set[int] = set()
        for taker in frontier:
            if taker in self.rooms:
                continue
            cost, hops = self.labels[taker]
            for giver in assignment.givers(taker) if self.swap_extras else (taker,):
                for shard in sorted(assignment.held[giver]):
                    saved = cost - assignment.cost(shard, giver)
                    for node in self._allowed(shard, towards):
                        label = (saved + assignment.cost(shard, node), hops + 1)
                        if (node not in self.labels or label < self.labels[node]) and assignment.fits(
                            shard, node, giver
                        ):
                            self._label(node, label, _Hop(taker, giver, shard))
                            improved.add(node)
        return sorted(improved)

    def _allowed(self, shard: int, nodes: frozenset[int]) -> Iterable[int]:
        return self.assignment.current[shard] & nodes if self.free else nodes

    def _label(self, node: int, label: tuple[int, int], hop: _Hop) -> None:
        self.labels[node] = label
        self.hops[node] = hop

    def _arrive(self) -> None:
        reached = [(self.labels[node], node) for node in self.rooms if node in self.labels]
        self.end = min(reached)[1] if reached else None

    def _cheapest_possible(self) -> bool:
        return self.end is not None and self.labels[self.end][0] <= (0 if self.free else 1)
