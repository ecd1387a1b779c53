"""Which nodes to ask for which shards: one replica group, one in-sync replica per shard, as few nodes as possible.

Pure. A `Planner` is made once per map and answers from a table after the first call, so that planning costs a
search next to nothing. Sets of shards are bit masks: bit s is shard s.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import inf

from miroir_cli.model import IndexMap, Node, NodeName, ShardId

EXACT_UP_TO = 12
"""Candidate nodes up to which the minimum is searched exhaustively; beyond, a greedy cover is taken."""

COMPARED = 64
"""Smallest sets of nodes of a group that are compared by their prices, beginning with the one whose turn it is."""

REMEMBERED = 512
"""Plans kept per map; planning around failing nodes must not grow without bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPlan:
    """Who is asked for what. `missing`: shards that no node at hand has in sync.

    `group` is the replica group that answers; `borrowed` names the nodes of other groups that fill its gaps.
    """

    asks: Mapping[NodeName, tuple[ShardId, ...]]
    missing: tuple[ShardId, ...]
    group: str | None = None
    borrowed: tuple[NodeName, ...] = ()


class Planner:
    """Plans for one map and one topology. Nodes that the topology does not name are never asked."""

    def __init__(self, index_map: IndexMap, groups: Mapping[str, Sequence[Node]]) -> None:
        masks: dict[NodeName, int] = {}
        for shard, names in index_map.in_sync().items():
            for name in names:
                masks[name] = masks.get(name, 0) | 1 << shard
        self._everything = (1 << index_map.index.shards) - 1
        self._masks = masks
        self.nodes = tuple(masks)
        self._groups = tuple(
            (name, tuple(node.name for node in groups[name] if node.name in masks)) for name in sorted(groups)
        )
        self._covers: dict[tuple[tuple[NodeName, ...], int], tuple[tuple[NodeName, ...], ...]] = {}
        self._plans: dict[tuple[int, int, int, frozenset[NodeName]], SearchPlan] = {}

    def plan(
        self,
        *,
        rotation: int,
        avoid: frozenset[NodeName] = frozenset(),
        shards: Iterable[ShardId] | None = None,
        prices: Mapping[NodeName, float] | None = None,
    ) -> SearchPlan:
        """The nodes to ask for `shards` (default: all), never one of `avoid`.

        Consecutive values of `rotation` take the groups in turn and, within a group, the smallest sets of nodes. With
        `prices` the cheapest of these is taken: that of which the dearest node costs least.
        """
        wanted = self._everything if shards is None else mask_of(shards)
        first, candidates, reach = self._group(rotation, avoid, wanted)
        if first is None:
            return SearchPlan(asks={}, missing=shards_of(wanted))
        covers = self._cover(candidates, reach)
        turn = rotation // len(self._groups) % len(covers)
        if prices is not None and reach == wanted:
            first, turn, covers = self._cheapest(rotation, avoid, wanted, prices)
        key = (first, turn, wanted, avoid)
        found = self._plans.get(key)
        if found is None:
            if len(self._plans) >= REMEMBERED:
                self._plans.clear()
            found = self._plans[key] = self._compose(first, covers[turn], wanted, reach, avoid)
        return found

    def _group(
        self, rotation: int, avoid: frozenset[NodeName], wanted: int
    ) -> tuple[int | None, tuple[NodeName, ...], int]:
        """The first group in turn that has everything, else the first of those that have most."""
        count = len(self._groups)
        best: tuple[int | None, tuple[NodeName, ...], int] = (None, (), 0)
        for step in range(count):
            position = (rotation + step) % count
            names, reach = self._reach(position, avoid, wanted)
            if reach == wanted:
                return position, names, reach
            if best[0] is None or reach.bit_count() > best[2].bit_count():
                best = (position, names, reach)
        return best

    def _reach(self, group: int, avoid: frozenset[NodeName], wanted: int) -> tuple[tuple[NodeName, ...], int]:
        """The nodes of a group that may be asked, and which of the shards they have."""
        names = self._groups[group][1]
        if avoid:
            names = tuple(name for name in names if name not in avoid)
        reach = 0
        for name in names:
            reach |= self._masks[name]
        return names, reach & wanted

    def _cheapest(
        self, rotation: int, avoid: frozenset[NodeName], wanted: int, prices: Mapping[NodeName, float]
    ) -> tuple[int, int, tuple[tuple[NodeName, ...], ...]]:
        """Group, place of the cheapest set, and all sets of that group; of equal ones the first in turn."""
        count = len(self._groups)
        best: tuple[float, float] = (inf, inf)
        found: tuple[int, int, tuple[tuple[NodeName, ...], ...]] = (0, 0, ())
        for step in range(count):
            position = (rotation + step) % count
            names, reach = self._reach(position, avoid, wanted)
            if reach != wanted:
                continue
            covers = self._cover(names, wanted)
            for offset in range(min(len(covers), COMPARED)):
                turn = (rotation // count + offset) % len(covers)
                costs = [prices.get(name, 0.0) for name in covers[turn]]
                price = (max(costs, default=0.0), sum(costs))
                if price < best or not found[2]:
                    best, found = price, (position, turn, covers)
        return found

    def _cover(self, names: tuple[NodeName, ...], wanted: int) -> tuple[tuple[NodeName, ...], ...]:
        key = (names, wanted)
        found = self._covers.get(key)
        if found is None:
            if len(self._covers) >= REMEMBERED:
                self._covers.clear()
            found = self._covers[key] = smallest_covers({name: self._masks[name] for name in names}, wanted)
        return found

    def _compose(
        self,
        group: int,
        chosen: tuple[NodeName, ...],
        wanted: int,
        reach: int,
        avoid: frozenset[NodeName],
    ) -> SearchPlan:
        borrowed: tuple[NodeName, ...] = ()
        rest = wanted & ~reach
        if rest:
            others = {
                name: self._masks[name]
                for position, (_, names) in enumerate(self._groups)
                for name in names
                if position != group and name not in avoid
            }
            lent = 0
            for mask in others.values():
                lent |= mask
            borrowed = smallest_covers(others, rest & lent)[0]
            reach |= rest & lent
        asks = share(
            {name: self._masks[name] & wanted for name in chosen}
            | {name: self._masks[name] & rest for name in borrowed},
            reach,
        )
        return SearchPlan(
            asks=asks,
            missing=shards_of(wanted & ~reach),
            group=self._groups[group][0],
            borrowed=borrowed,
        )


def plan(
    index_map: IndexMap,
    groups: Mapping[str, Sequence[Node]],
    *,
    rotation: int,
    avoid: frozenset[NodeName] = frozenset(),
    shards: Iterable[ShardId] | None = None,
) -> SearchPlan:
    """One plan without keeping the planner: for explaining a query, for tests, for a command that asks once."""
    return Planner(index_map, groups).plan(rotation=rotation, avoid=avoid, shards=shards)


def smallest_covers(masks: Mapping[NodeName, int], wanted: int) -> tuple[tuple[NodeName, ...], ...]:
    """All smallest sets of nodes that together have every shard of `wanted`; their union must have them.

    With more than `EXACT_UP_TO` nodes to choose from: the smallest of the covers that a greedy choice finds from
    each starting node. Nodes that alone have a shard are taken first in both cases.
    """
    needed = _sole_holders(masks, wanted)
    rest = wanted
    for name in needed:
        rest &= ~masks[name]
    useful = [name for name in sorted(masks) if name not in needed and masks[name] & rest]
    if not rest:
        return (tuple(sorted(needed)),)
    if len(useful) > EXACT_UP_TO:
        extras: Collection[tuple[NodeName, ...]] = _greedy_covers(masks, useful, rest)
    else:
        extras = _exact_covers(masks, useful, rest)
    return tuple(sorted(tuple(sorted((*needed, *extra))) for extra in extras))


def _sole_holders(masks: Mapping[NodeName, int], wanted: int) -> set[NodeName]:
    once = twice = 0
    for mask in masks.values():
        twice |= once & mask
        once |= mask
    sole = once & ~twice & wanted
    return {name for name, mask in masks.items() if mask & sole}


def _exact_covers(masks: Mapping[NodeName, int], useful: Sequence[NodeName], rest: int) -> list[tuple[NodeName, ...]]:
    for size in range(1, len(useful) + 1):
        found: list[tuple[NodeName, ...]] = []
        for names in combinations(useful, size):
            union = 0
            for name in names:
                union |= masks[name]
            if not rest & ~union:
                found.append(names)
        if found:
            return found
    return [()]


def _greedy_covers(masks: Mapping[NodeName, int], useful: Sequence[NodeName], rest: int) -> set[tuple[NodeName, ...]]:
    covers: set[tuple[NodeName, ...]] = set()
    for start in useful:
        names, open_shards = [start], rest & ~masks[start]
        while open_shards:
            best = max(useful, key=lambda name: (masks[name] & open_shards).bit_count())
            names.append(best)
            open_shards &= ~masks[best]
        covers.add(tuple(sorted(_without_spare(masks, names, rest))))
    fewest = min(map(len, covers))
    return {names for names in covers if len(names) == fewest}


def _without_spare(masks: Mapping[NodeName, int], names: list[NodeName], rest: int) -> list[NodeName]:
    """Leave out every node whose shards the others have."""
    kept = list(names)
    for name in names:
        union = 0
        for other in kept:
            if other != name:
                union |= masks[other]
        if not rest & ~union:
            kept.remove(name)
    return kept


def share(masks: Mapping[NodeName, int], wanted: int) -> dict[NodeName, tuple[ShardId, ...]]:
    """Give each shard of `wanted` to one node that has it, as evenly as the holders allow."""
    holders = [(shard, [name for name in sorted(masks) if masks[name] >> shard & 1]) for shard in shards_of(wanted)]
    load = dict.fromkeys(sorted(masks), 0)
    owner: dict[ShardId, NodeName] = {}
    for shard, names in sorted(holders, key=lambda entry: len(entry[1])):
        name = min(names, key=load.__getitem__)
        owner[shard] = name
        load[name] += 1
    _even_out(owner, dict(holders), load)
    asks: dict[NodeName, list[ShardId]] = {}
    for shard in sorted(owner):
        asks.setdefault(owner[shard], []).append(shard)
    return {name: tuple(asks[name]) for name in sorted(asks)}


def _even_out(
    owner: dict[ShardId, NodeName], holders: Mapping[ShardId, Sequence[NodeName]], load: dict[NodeName, int]
) -> None:
    """Move single shards from fuller to emptier nodes while that lowers the difference."""
    moved = True
    while moved:
        moved = False
        for shard, name in owner.items():
            emptier = min(holders[shard], key=load.__getitem__)
            if load[emptier] + 1 < load[name]:
                load[name] -= 1
                load[emptier] += 1
                owner[shard] = emptier
                moved = True


def mask_of(shards: Iterable[ShardId]) -> int:
    mask = 0
    for shard in shards:
        mask |= 1 << shard
    return mask


def shards_of(mask: int) -> tuple[ShardId, ...]:
    return tuple(ShardId(shard) for shard in range(mask.bit_length()) if mask >> shard & 1)
