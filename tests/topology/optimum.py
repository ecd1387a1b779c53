"""The least number of moves, found in ways that share nothing with the placement: trying all, and a flow network."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from itertools import combinations, product

from miroir_cli.model import Node, NodeName, ShardId
from miroir_cli.topology.capacity import capacities, extras, zone_limits, zone_of
from miroir_cli.topology.placement import Placement


def fewest_moves_by_trying_all(*, shards: int, nodes: Sequence[Node], replicas: int, current: Placement) -> int:
    """Every placement of one group, the valid one with the fewest copies."""
    capacity = capacities(nodes, shards=shards, replicas=replicas)
    choices = [frozenset(names) for names in _choices(nodes, replicas)]
    best = shards * replicas + 1
    for chosen in product(choices, repeat=shards):
        loads = Counter(name for names in chosen for name in names)
        if all(each.low <= loads[name] <= each.high for name, each in capacity.items()):
            copies = sum(len(names - current.get(ShardId(shard), frozenset())) for shard, names in enumerate(chosen))
            best = min(best, copies)
    return best


def _choices(nodes: Sequence[Node], replicas: int) -> Iterator[tuple[NodeName, ...]]:
    zones = {node.name: zone_of(node) for node in nodes}
    limits = zone_limits(nodes, replicas)
    for names in combinations(sorted(zones), replicas):
        counts = Counter(zones[name] for name in names)
        if all(limit.low <= counts[zone] <= limit.high for zone, limit in limits.items()):
            yield names


class Network:
    """A minimum-cost flow by repeated shortest paths (Bellman and Ford), as in the textbooks."""

    def __init__(self) -> None:
        self.arcs: list[tuple[object, int, int]] = []
        self.capacity: list[int] = []
        self.leaving: dict[object, list[int]] = {}

    def arc(self, start: object, end: object, capacity: int, cost: int = 0) -> None:
        for tail, head, room, price in ((start, end, capacity, cost), (end, start, 0, -cost)):
            self.leaving.setdefault(tail, []).append(len(self.arcs))
            self.arcs.append((head, price, len(self.arcs) ^ 1))
            self.capacity.append(room)

    def send(self, start: object, end: object) -> tuple[int, int]:
        """The largest flow and its least cost."""
        flow = cost = 0
        while (found := self._shortest(start, end)) is not None:
            price, path = found
            for number in path:
                self.capacity[number] -= 1
                self.capacity[number ^ 1] += 1
            flow, cost = flow + 1, cost + price
        return flow, cost

    def _shortest(self, start: object, end: object) -> tuple[int, list[int]] | None:
        least: dict[object, int] = {start: 0}
        through: dict[object, int] = {}
        waiting = deque([start])
        while waiting:
            tail = waiting.popleft()
            for number in self.leaving.get(tail, ()):
                head, price, _ = self.arcs[number]
                if self.capacity[number] and least[tail] + price < least.get(head, 1 << 30):
                    least[head] = least[tail] + price
                    through[head] = number
                    waiting.append(head)
        if end not in least:
            return None
        path, place = [], end
        while place != start:
            path.append(through[place])
            place = self.arcs[through[place] ^ 1][0]
        return least[end], path


def fewest_moves_by_flow(*, shards: int, nodes: Sequence[Node], replicas: int, current: Placement) -> int:
    """The same for larger cases of one group: lower limits become arcs that a full flow has to fill."""
    capacity = capacities(nodes, shards=shards, replicas=replicas)
    limits = zone_limits(nodes, replicas)
    network = Network()
    for shard in range(shards):
        network.arc("start", ("shard", shard), sum(limit.low for limit in limits.values()))
        network.arc("start", ("more", shard), replicas - sum(limit.low for limit in limits.values()))
        for zone, limit in limits.items():
            network.arc(("shard", shard), (shard, zone), limit.low)
            network.arc(("more", shard), (shard, zone), limit.high - limit.low)
        for node in nodes:
            held = node.name in current.get(ShardId(shard), frozenset())
            network.arc((shard, zone_of(node)), node.name, 1, 0 if held else 1)
    for name, each in capacity.items():
        network.arc(name, "end", each.low)
        network.arc(name, "extra", each.high - each.low)
    network.arc("extra", "end", extras(capacity, shards * replicas))
    flow, cost = network.send("start", "end")
    assert flow == shards * replicas
    return cost
