"""How many replicas each node of a replica group should hold, and how many of one shard a zone may hold.

A node's *share* is proportional to its weight, with two exceptions that no weight can buy off: a node never holds
two replicas of one shard, so its share stops at the number of shards; and a zone never holds more replicas of one
shard than spreading them evenly over the zones asks for, so the share of a zone stops there too. What one node or
zone cannot take, the others divide by weight (water filling, in exact fractions, so equal weights get equal
shares). A node's load is its share rounded down or up.

With these limits a valid placement always exists: giving every node `share / shards` of every shard satisfies
all of them, and they form a network whose whole-number solutions exist whenever a fractional one does.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from miroir_cli.errors import TopologyInvalid

if TYPE_CHECKING:
    from miroir_cli.model import Node, NodeName


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """A node's exact share of replicas, and the two whole numbers around it (equal when it is whole)."""

    share: Fraction
    low: int
    high: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneLimit:
    """How many replicas of one shard a zone holds: at least `low`, at most `high`; they differ by at most one."""

    low: int
    high: int


def zone_of(node: Node) -> str:
    """The zone that a node counts in; a node without one is a zone of its own."""
    return f"node {node.name}" if node.zone is None else f"zone {node.zone}"


def zone_limits(nodes: Sequence[Node], replicas: int) -> dict[str, ZoneLimit]:
    """The limits per zone for the nodes of one group: replicas of a shard spread over zones as evenly as possible.

    With at least as many zones as replicas, every zone holds at most one replica of a shard. With fewer zones,
    every zone holds at least one, and so on, as far as the zone's number of nodes allows.
    """
    sizes: dict[str, int] = {}
    for node in nodes:
        sizes[zone_of(node)] = sizes.get(zone_of(node), 0) + 1
    level = 1
    while sum(min(level, size) for size in sizes.values()) < replicas:
        level += 1
    return {zone: ZoneLimit(low=min(level - 1, size), high=min(level, size)) for zone, size in sizes.items()}


def capacities(nodes: Sequence[Node], *, shards: int, replicas: int) -> dict[NodeName, Capacity]:
    """The capacity of every node of one group; the shares add up to `shards * replicas` exactly.

    Raises TopologyInvalid when the group has fewer nodes than `replicas`.
    """
    require_enough_nodes(nodes, replicas)
    limits = zone_limits(nodes, replicas)
    weights: dict[str, dict[NodeName, Fraction]] = {zone: {} for zone in sorted(limits)}
    for node in sorted(nodes, key=lambda node: node.name):
        weights[zone_of(node)][node.name] = Fraction(repr(float(node.weight)))
    totals = _zone_shares(weights, limits, shards=shards, replicas=replicas)
    result: dict[NodeName, Capacity] = {}
    for zone, members in weights.items():
        level = _level(members.values(), cap=shards, total=totals[zone])
        for name, weight in members.items():
            share = min(Fraction(shards), level * weight)
            low = share.numerator // share.denominator
            result[name] = Capacity(share=share, low=low, high=low if share == low else low + 1)
    return result


def require_enough_nodes(nodes: Sequence[Node], replicas: int) -> None:
    """Raise TopologyInvalid when one group's nodes, without the drained ones, are too few for `replicas` copies."""
    if sum(not node.drained for node in nodes) >= max(1, replicas):
        return
    group = f"group `{nodes[0].group}`" if nodes else "the cluster"
    raise TopologyInvalid(
        f"{group} has {count_of_active(nodes)}, too few for {replicas} replicas of each shard on different nodes",
        hint=f"add nodes to {group}, or lower `cluster.replicas`",
    )


def count_of_active(nodes: Sequence[Node]) -> str:
    """How many of one group's nodes take shards, in words that name the drained ones."""
    drained = sorted(node.name for node in nodes if node.drained)
    active = len(nodes) - len(drained)
    count = "1 node" if active == 1 else f"{active} nodes"
    if not drained:
        return count
    names = ", ".join(f"`{name}`" for name in drained)
    verb = "is" if len(drained) == 1 else "are"
    return f"{count} that {'takes' if active == 1 else 'take'} shards ({names} {verb} drained)"


def extras(capacity: Mapping[NodeName, Capacity], total: int) -> int:
    """How many nodes hold `high` rather than `low` replicas (where these differ) when all `total` are placed."""
    return total - sum(each.low for each in capacity.values())


def _zone_shares(
    weights: Mapping[str, Mapping[NodeName, Fraction]],
    limits: Mapping[str, ZoneLimit],
    *,
    shards: int,
    replicas: int,
) -> dict[str, Fraction]:
    """The share of each zone: by the weight of its nodes, between its limits times the number of shards."""
    caps = {zone: (shards * limit.low, shards * limit.high) for zone, limit in limits.items()}

    def zone_share(zone: str, level: Fraction) -> Fraction:
        low, high = caps[zone]
        filled = sum((min(Fraction(shards), level * weight) for weight in weights[zone].values()), Fraction(0))
        return min(max(filled, Fraction(low)), Fraction(high))

    breaks = {Fraction(0)}
    for zone, members in weights.items():
        breaks.update(shards / weight for weight in members.values())
        breaks.update(_level(members.values(), cap=shards, total=Fraction(cap)) for cap in caps[zone])
    level = _solve(
        sorted(breaks),
        lambda level: sum((zone_share(zone, level) for zone in weights), Fraction(0)),
        Fraction(shards * replicas),
    )
    return {zone: zone_share(zone, level) for zone in weights}


def _level(weights: Iterable[Fraction], *, cap: int, total: Fraction) -> Fraction:
    """The level at which `min(cap, level * weight)` over all weights adds up to `total`."""
    known = list(weights)
    breaks = sorted({Fraction(0), *(cap / weight for weight in known)})
    return _solve(
        breaks, lambda level: sum((min(Fraction(cap), level * weight) for weight in known), Fraction(0)), total
    )


def _solve(breaks: list[Fraction], filled: Callable[[Fraction], Fraction], total: Fraction) -> Fraction:
    """Where `filled`, which rises and is straight between `breaks`, reaches `total`."""
    position = bisect_left(breaks, total, key=filled)
    if position == 0:
        return breaks[0]
    before, after = breaks[position - 1], breaks[position]
    start, end = filled(before), filled(after)
    return before + (after - before) * (total - start) / (end - start)
