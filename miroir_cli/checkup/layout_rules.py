"""Whether the cluster is laid out as safely and evenly as its nodes allow: copies, zones, shares. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from miroir_cli.checkup.finding import Finding, have, info, quoted, several, warning
from miroir_cli.errors import MiroirError
from miroir_cli.model import ReplicaState, staying_groups
from miroir_cli.topology.capacity import capacities, zone_limits, zone_of

if TYPE_CHECKING:
    from miroir_cli.checkup.facts import Facts, IndexFacts
    from miroir_cli.model import Node, NodeName

UNEVEN = 1.5
MANY_DOCUMENTS = 100_000
"""A node has too much above `UNEVEN` times its share, and by so many documents."""


def _groups(facts: Facts) -> dict[str, list[Node]]:
    """The nodes of each group that take shards."""
    groups = staying_groups([node.node for node in facts.nodes])
    return {name: [node for node in members if not node.drained] for name, members in groups.items()}


def one_copy(facts: Facts) -> Iterator[Finding]:
    """Several nodes, and each document of an index on one of them."""
    groups = _groups(facts)
    alone = [
        str(index.map.index.uid)
        for index in facts.state.indexes
        if index.map.index.replicas_wanted(facts.cluster.replicas) * len(groups) == 1
    ]
    if alone and sum(map(len, groups.values())) > 1:
        yield info(
            "cluster.replicas",
            facts.cluster.name,
            f"each document of {quoted(alone)} is on one node only: without that node its shards do not answer",
            "set `replicas = 2` in `[cluster]` of the topology file, then run `miroir rebalance run`",
        )


def no_margin(facts: Facts) -> Iterator[Finding]:
    """`min_in_sync` as large as there are copies: the first node that is away stops writes."""
    copies = facts.cluster.replicas * len(_groups(facts))
    if copies > 1 and facts.cluster.min_in_sync >= copies:
        yield info(
            "cluster.margin",
            facts.cluster.name,
            f"writes need all {copies} copies (`min_in_sync = {facts.cluster.min_in_sync}`): one node away stops them",
            f"set `min_in_sync = {copies - 1}` in `[cluster]` of the topology file, unless that is what you want",
        )


def few_zones(facts: Facts) -> Iterator[Finding]:
    """Groups that name zones, but fewer than there are copies, or not for every node."""
    for group, members in _groups(facts).items():
        zones = {node.zone for node in members if node.zone is not None}
        if not zones:
            continue
        bare = [node.name for node in members if node.zone is None]
        if bare:
            yield info(
                "cluster.zones",
                group,
                f"{quoted(bare)} {'has' if len(bare) == 1 else 'have'} no zone and others of group `{group}` have: "
                "each counts as a zone of its own",
                "name the zone of every node in the topology file",
            )
        elif facts.cluster.replicas > len(zones):
            yield warning(
                "cluster.zones",
                group,
                f"group `{group}` has {several(len(zones), 'zone')} for {facts.cluster.replicas} copies: with a zone "
                "more than one copy of a shard goes",
                "add a node in another zone with `miroir node add NAME=URL,zone=ZONE`, or lower `replicas`",
            )


def zones_crowded(facts: Facts) -> Iterator[Finding]:
    """Shards with more copies in one zone than the nodes of the group make necessary."""
    groups = _groups(facts)
    for index in facts.state.indexes:
        crowded: set[int] = set()
        wanted = index.map.index.replicas_wanted(facts.cluster.replicas)
        for members in groups.values():
            if len(members) < wanted or not any(node.zone for node in members):
                continue
            limits = zone_limits(members, wanted)
            zones = {node.name: zone_of(node) for node in members}
            held = Counter(
                (replica.shard, zones[replica.node])
                for replica in index.map.replicas
                if replica.node in zones and replica.state is not ReplicaState.LEAVING
            )
            crowded |= {shard for (shard, zone), count in held.items() if count > limits[zone].high}
        if crowded:
            yield warning(
                "index.zones",
                index.map.index.uid,
                f"index `{index.map.index.uid}`: {have(sorted(crowded))} more copies in one zone than need be",
                "run `miroir rebalance run` to spread them",
            )


def narrow(facts: Facts) -> Iterator[Finding]:
    """Indexes of too few shards for every node to have one."""
    for index in facts.state.indexes:
        shards = index.map.index.shards
        copies = shards * index.map.index.replicas_wanted(facts.cluster.replicas)
        most = max((len(members) for members in _groups(facts).values()), default=0)
        if copies < most:
            uid = index.map.index.uid
            yield info(
                "index.narrow",
                uid,
                f"index `{uid}` has {several(copies, 'replica')} for {most} nodes of a group: some nodes do nothing "
                "for it",
                f"make it anew with more shards (`miroir index create UID --shards {8 * most}`) and import again",
            )


def uneven(facts: Facts) -> Iterator[Finding]:
    """Nodes with far more documents than their weight asks for, where every node of the group tells."""
    for members in _groups(facts).values():
        stored, due = _shares(facts, members)
        for name, documents in sorted(stored.items()):
            if documents > UNEVEN * due[name] and documents - due[name] > MANY_DOCUMENTS:
                yield info(
                    "node.share",
                    name,
                    f"node `{name}` holds {documents:,} documents where its weight asks for {due[name]:,.0f}",
                    "`miroir rebalance plan` shows whether shards can move; otherwise more shards spread documents "
                    "better (`miroir index create UID --shards N`)",
                )


def _shares(facts: Facts, members: list[Node]) -> tuple[dict[NodeName, int], dict[NodeName, float]]:
    """Documents that each node has, and should have; both empty where one of them does not tell."""
    told = {node.name: node.stats for node in facts.nodes if node.stats is not None}
    if any(node.name not in told for node in members):
        return {}, {}
    stored = {node.name: 0 for node in members}
    due = {node.name: 0.0 for node in members}
    for index in facts.state.indexes:
        shares = _capacities(index, members, facts.cluster.replicas)
        uid = index.map.index.stored_as
        held = {name: told[name].indexes[uid].documents if uid in told[name].indexes else 0 for name in stored}
        for name, share in shares.items():
            stored[name] += held[name]
            due[name] += sum(held.values()) * share
    return stored, due


def _capacities(index: IndexFacts, members: list[Node], replicas: int) -> dict[NodeName, float]:
    """The part of all replicas of an index that each node should have; nothing for one that cannot be placed."""
    wanted, shards = index.map.index.replicas_wanted(replicas), index.map.index.shards
    try:
        found = capacities(members, shards=shards, replicas=wanted)
    except MiroirError:
        return {}
    return {name: float(capacity.share / (shards * wanted)) for name, capacity in found.items()}


LAYOUT_RULES = (
    one_copy,
    no_margin,
    few_zones,
    zones_crowded,
    narrow,
    uneven,
)
