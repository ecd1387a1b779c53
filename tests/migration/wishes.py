"""What operators want: other nodes, other numbers of replicas."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from random import Random

from miroir_cli.model import Node, NodeName
from miroir_cli.topology.file import Topology

MOST_NODES = 5


def any_wish(
    random: Random, topology: Topology, holding: Collection[NodeName], *, newcomer: Callable[[], Node]
) -> tuple[str, Topology]:
    """Another topology, if possible one for which replicas of the nodes that are `holding` some have to move."""
    active, drained = topology.active_nodes, [node for node in topology.nodes if node.drained]
    full = [node.name for node in active if node.name in holding]
    empty = [node.name for node in drained if node.name not in holding]
    replicas = topology.cluster.replicas
    possible = {
        "drain": len(active) > replicas and bool(full),
        "swap": bool(drained) and bool(full),
        "replace": len(topology.nodes) < MOST_NODES and bool(full),
        "add": len(topology.nodes) < MOST_NODES,
        "remove": bool(empty),
        "more": replicas < len(active),
        "fewer": replicas > 1,
    }
    match random.choice([name for name, can in possible.items() if can] or ["nothing"]):
        case "drain":
            name = random.choice(full)
            return f"drain {name}", with_drained(topology, name, True)
        case "swap":
            back, name = random.choice(drained).name, random.choice(full)
            changed = with_drained(with_drained(topology, back, False), name, True)
            return f"drain {name} and take {back} back", changed
        case "replace":
            name, new = random.choice(full), newcomer()
            return f"replace {name} by {new.name}", with_node(with_drained(topology, name, True), new)
        case "add":
            new = newcomer()
            return f"add {new.name}", with_node(topology, new)
        case "remove":
            nodes = tuple(node for node in topology.nodes if node.name != empty[0])
            return f"remove {empty[0]}", replace(topology, nodes=nodes)
        case "more":
            return f"{replicas + 1} replicas", with_replicas(topology, replicas + 1)
        case "fewer":
            return f"{replicas - 1} replicas", with_replicas(topology, replicas - 1)
    return "nothing else", topology


def with_node(topology: Topology, node: Node) -> Topology:
    return replace(topology, nodes=(*topology.nodes, node))


def with_drained(topology: Topology, name: NodeName, drained: bool) -> Topology:
    nodes = tuple(replace(node, drained=drained) if node.name == name else node for node in topology.nodes)
    return replace(topology, nodes=nodes)


def with_replicas(topology: Topology, replicas: int) -> Topology:
    return replace(topology, cluster=replace(topology.cluster, replicas=replicas))
