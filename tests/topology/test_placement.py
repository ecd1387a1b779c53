from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from xxhash import xxh64_intdigest

from miroir_cli.errors import TopologyInvalid
from miroir_cli.model import Node, NodeName, ShardId, group_of
from miroir_cli.topology.capacity import capacities, zone_limits, zone_of
from miroir_cli.topology.placement import Move, Placement, minimum_moves, moves, place, preference
from tests.topology.optimum import fewest_moves_by_flow, fewest_moves_by_trying_all

WEIGHTS = st.sampled_from([0.1, 0.25, 0.3, 0.5, 1.0, 1.0, 1.0, 2.0, 3.7, 100.0])
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def node(name: str, *, zone: str | None = None, weight: float = 1.0, group: str = "main") -> Node:
    return Node(name=NodeName(name), url=f"http://{name}:7700", zone=zone, weight=weight, group=group)


def equal(count: int, *, start: int = 0) -> list[Node]:
    return [node(f"n{number}") for number in range(start, start + count)]


def loads(placement: Placement, nodes: Sequence[Node]) -> dict[NodeName, int]:
    counts = Counter(name for names in placement.values() for name in names)
    return {node.name: counts[node.name] for node in nodes}


def copies(current: Placement, target: Placement) -> int:
    return sum(move.target is not None for move in moves(current, target))


@st.composite
def groups_of_nodes(draw: st.DrawFn, *, most: int = 7, zones: bool = True, weights: bool = True) -> list[Node]:
    names = draw(st.lists(st.sampled_from("abcdefghij"), min_size=1, max_size=most, unique=True))
    zone = st.sampled_from([None, "x", "y", "z"]) if zones else st.none()
    weight = WEIGHTS if weights else st.just(1.0)
    return [node(name, zone=draw(zone), weight=draw(weight)) for name in names]


@st.composite
def changes(draw: st.DrawFn, *, zones: bool = True, shards: int = 14) -> tuple[int, list[Node], int, Placement]:
    """Shards, nodes, replicas, and a current placement that came from anywhere."""
    nodes = draw(groups_of_nodes(zones=zones))
    count = draw(st.integers(1, shards))
    replicas = draw(st.integers(1, len(nodes)))
    names = st.frozensets(st.sampled_from([NodeName(name) for name in "abcdefghij"]), max_size=4)
    current = {ShardId(shard): draw(names) for shard in range(count)}
    return count, nodes, replicas, current


def check(
    placement: Mapping[ShardId, frozenset[NodeName]], *, shards: int, nodes: Sequence[Node], replicas: int
) -> None:
    """The promises that a placement keeps whatever it started from."""
    assert sorted(placement) == list(range(shards))
    for members in group_of(nodes).values():
        zones = {member.name: zone_of(member) for member in members}
        limits = zone_limits(members, replicas)
        for names in placement.values():
            mine = [name for name in names if name in zones]
            assert len(mine) == replicas
            counts = Counter(zones[name] for name in mine)
            assert all(limit.low <= counts[zone] <= limit.high for zone, limit in limits.items())
            assert len(counts) == min(replicas, len(limits))
        held = loads(placement, members)
        for name, each in capacities(members, shards=shards, replicas=replicas).items():
            assert each.low <= held[name] <= each.high
            assert abs(held[name] - each.share) < 1


@quick
@given(changes())
def test_every_shard_is_on_enough_nodes_in_enough_zones_with_loads_within_bounds(
    change: tuple[int, list[Node], int, Placement],
) -> None:
    shards, nodes, replicas, current = change
    check(place(shards=shards, nodes=nodes, replicas=replicas), shards=shards, nodes=nodes, replicas=replicas)
    changed = place(shards=shards, nodes=nodes, replicas=replicas, current=current)
    check(changed, shards=shards, nodes=nodes, replicas=replicas)


@quick
@given(st.integers(1, 40), st.integers(1, 9), st.data())
def test_equal_weights_give_loads_that_differ_by_at_most_one(shards: int, count: int, data: st.DataObject) -> None:
    nodes = equal(count)
    replicas = data.draw(st.integers(1, count))
    held = loads(place(shards=shards, nodes=nodes, replicas=replicas), nodes).values()
    assert max(held) - min(held) <= 1


@quick
@given(groups_of_nodes(zones=False), st.integers(1, 60), st.data())
def test_loads_are_proportional_to_weights_within_one(nodes: list[Node], shards: int, data: st.DataObject) -> None:
    replicas = data.draw(st.integers(1, len(nodes)))
    held = loads(place(shards=shards, nodes=nodes, replicas=replicas), nodes)
    light = [each for each in nodes if held[each.name] < shards]
    left = shards * replicas - sum(load for load in held.values() if load == shards)
    total = sum(each.weight for each in light)
    for each in light:
        # A node just below the number of shards may be a full one that was rounded down: then its share is no less.
        assert held[each.name] - left * each.weight / total < 1.000001
    assert sum(held.values()) == shards * replicas


def test_largest_remainders_are_rounded_up() -> None:
    nodes = [node("a", weight=5.5), node("b", weight=2.9), node("c", weight=1.6)]
    assert loads(place(shards=10, nodes=nodes, replicas=1), nodes) == {"a": 5, "b": 3, "c": 2}


def test_a_heavy_node_holds_each_shard_once_and_the_rest_is_divided_by_weight() -> None:
    nodes = [node("a", weight=100), node("b"), node("c"), node("d", weight=2)]
    assert loads(place(shards=12, nodes=nodes, replicas=2), nodes) == {"a": 12, "b": 3, "c": 3, "d": 6}


def test_decimal_weights_count_as_written() -> None:
    nodes = [node("a", weight=0.1), node("b", weight=0.1), node("c", weight=0.1), node("d", weight=0.3)]
    assert loads(place(shards=6, nodes=nodes, replicas=1), nodes) == {"a": 1, "b": 1, "c": 1, "d": 3}


def test_replicas_are_in_different_zones_although_that_unbalances_a_heavy_zone() -> None:
    nodes = [node("a1", zone="a"), node("a2", zone="a"), node("a3", zone="a"), node("b1", zone="b")]
    placement = place(shards=9, nodes=nodes, replicas=2)
    assert all("b1" in names for names in placement.values())
    assert loads(placement, nodes) == {"a1": 3, "a2": 3, "a3": 3, "b1": 9}


def test_unequal_zones_stay_balanced_as_long_as_none_has_more_than_its_part() -> None:
    nodes = [
        node("a1", zone="a"),
        node("a2", zone="a"),
        node("b1", zone="b"),
        node("b2", zone="b"),
        node("c", zone="c"),
    ]
    held = loads(place(shards=20, nodes=nodes, replicas=2), nodes)
    assert set(held.values()) == {8}


def test_with_fewer_zones_than_replicas_every_zone_has_one() -> None:
    nodes = [node(f"{zone}{number}", zone=zone) for zone in "ab" for number in range(3)]
    for names in place(shards=24, nodes=nodes, replicas=3).values():
        assert {name[0] for name in names} == {"a", "b"}


def test_a_node_without_a_zone_is_a_zone_of_its_own() -> None:
    nodes = [node("a", zone="x"), node("b", zone="x"), node("c"), node("d")]
    for names in place(shards=16, nodes=nodes, replicas=3).values():
        assert {"c", "d"} < names


@quick
@given(changes(shards=4))
def test_moves_are_the_fewest_of_all_valid_placements(change: tuple[int, list[Node], int, Placement]) -> None:
    shards, nodes, replicas, current = change
    nodes, shards = nodes[:4], min(shards, 3)
    replicas = min(replicas, len(nodes))
    current = {shard: names for shard, names in current.items() if shard < shards}
    target = place(shards=shards, nodes=nodes, replicas=replicas, current=current)
    best = fewest_moves_by_trying_all(shards=shards, nodes=nodes, replicas=replicas, current=current)
    assert copies(current, target) == best
    assert fewest_moves_by_flow(shards=shards, nodes=nodes, replicas=replicas, current=current) == best


@quick
@given(changes())
def test_moves_are_the_fewest_that_a_flow_network_finds(change: tuple[int, list[Node], int, Placement]) -> None:
    shards, nodes, replicas, current = change
    target = place(shards=shards, nodes=nodes, replicas=replicas, current=current)
    best = fewest_moves_by_flow(shards=shards, nodes=nodes, replicas=replicas, current=current)
    assert copies(current, target) == best
    assert minimum_moves(shards=shards, nodes=nodes, replicas=replicas, current=current) <= best


@pytest.mark.parametrize("seed", range(12))
def test_moves_are_the_fewest_in_larger_clusters_that_change_in_every_way(seed: int) -> None:
    chance = random.Random(seed)
    shards, replicas = chance.randint(20, 60), chance.randint(1, 3)

    def cluster() -> list[Node]:
        names = chance.sample([f"n{number}" for number in range(16)], chance.randint(5, 12))
        zones = [None] if seed % 3 == 0 else ["x", "y", "z"]
        return [node(name, zone=chance.choice(zones), weight=chance.choice([1, 1, 2, 5])) for name in names]

    current = place(shards=shards, nodes=cluster(), replicas=chance.randint(1, 3))
    for _ in range(3):
        nodes = cluster()
        target = place(shards=shards, nodes=nodes, replicas=replicas, current=current)
        check(target, shards=shards, nodes=nodes, replicas=replicas)
        best = fewest_moves_by_flow(shards=shards, nodes=nodes, replicas=replicas, current=current)
        assert copies(current, target) == best
        current = target


@quick
@given(st.integers(1, 60), st.integers(1, 8), st.integers(1, 4), st.data())
def test_adding_nodes_moves_only_what_the_new_ones_take(
    shards: int, count: int, more: int, data: st.DataObject
) -> None:
    replicas = data.draw(st.integers(1, count))
    current = place(shards=shards, nodes=equal(count), replicas=replicas)
    nodes = equal(count + more)
    target = place(shards=shards, nodes=nodes, replicas=replicas, current=current)
    bound = minimum_moves(shards=shards, nodes=nodes, replicas=replicas, current=current)
    new = {each.name for each in nodes[count:]}
    assert copies(current, target) == bound
    assert all(move.target in new for move in moves(current, target) if shards * replicas >= len(nodes))
    assert bound <= more * -(-shards * replicas // len(nodes))


def test_removing_a_node_moves_only_what_it_held() -> None:
    nodes = equal(6)
    current = place(shards=60, nodes=nodes, replicas=2)
    target = place(shards=60, nodes=nodes[1:], replicas=2, current=current)
    changed = moves(current, target)
    assert len(changed) == 20 == minimum_moves(shards=60, nodes=nodes[1:], replicas=2, current=current)
    assert {move.source for move in changed} == {"n0"}


def test_a_change_of_weights_moves_the_difference() -> None:
    current = place(shards=60, nodes=equal(4), replicas=2)
    nodes = [*equal(3), node("n3", weight=2)]
    target = place(shards=60, nodes=nodes, replicas=2, current=current)
    assert loads(target, nodes) == {"n0": 24, "n1": 24, "n2": 24, "n3": 48}
    assert copies(current, target) == 18 == minimum_moves(shards=60, nodes=nodes, replicas=2, current=current)


def test_when_the_receiver_holds_the_shard_already_another_one_makes_way() -> None:
    nodes = [node("u"), node("x"), node("y")]
    current = {
        ShardId(0): frozenset({NodeName("u"), NodeName("gone")}),
        ShardId(1): frozenset({NodeName("x"), NodeName("y")}),
        ShardId(2): frozenset({NodeName("x"), NodeName("y")}),
    }
    target = place(shards=3, nodes=nodes, replicas=2, current=current)
    assert loads(target, nodes) == {"u": 2, "x": 2, "y": 2}
    assert minimum_moves(shards=3, nodes=nodes, replicas=2, current=current) == 1
    assert copies(current, target) == 2


@quick
@given(changes(), st.randoms())
def test_the_answer_does_not_depend_on_any_order(
    change: tuple[int, list[Node], int, Placement], chance: random.Random
) -> None:
    shards, nodes, replicas, current = change
    target = place(shards=shards, nodes=nodes, replicas=replicas, current=current)
    shuffled = list(nodes)
    chance.shuffle(shuffled)
    items = list(current.items())
    chance.shuffle(items)
    again = {shard: frozenset(sorted(names, reverse=True)) for shard, names in items}
    assert place(shards=shards, nodes=shuffled, replicas=replicas, current=again) == target


@quick
@given(changes())
def test_placing_again_moves_nothing(change: tuple[int, list[Node], int, Placement]) -> None:
    shards, nodes, replicas, current = change
    target = place(shards=shards, nodes=nodes, replicas=replicas, current=current)
    assert place(shards=shards, nodes=nodes, replicas=replicas, current=target) == target
    assert minimum_moves(shards=shards, nodes=nodes, replicas=replicas, current=target) == 0


@quick
@given(groups_of_nodes(), groups_of_nodes(), st.integers(1, 12))
def test_groups_are_placed_apart(first: list[Node], second: list[Node], shards: int) -> None:
    def named(nodes: list[Node], group: str) -> list[Node]:
        return [node(f"{group}-{each.name}", zone=each.zone, weight=each.weight, group=group) for each in nodes]

    one, two = named(first, "one"), named(second, "two")
    replicas = min(len(one), len(two))
    both = place(shards=shards, nodes=[*two, *one], replicas=replicas)
    check(both, shards=shards, nodes=[*one, *two], replicas=replicas)
    alone = place(shards=shards, nodes=one, replicas=replicas)
    assert {shard: names & {each.name for each in one} for shard, names in both.items()} == alone


def test_a_new_group_leaves_the_others_alone() -> None:
    old = [node(f"a{number}", group="a") for number in range(3)]
    new = [node(f"b{number}", group="b") for number in range(2)]
    current = place(shards=12, nodes=old, replicas=2)
    target = place(shards=12, nodes=[*old, *new], replicas=2, current=current)
    assert all(current[shard] < target[shard] for shard in current)
    assert copies(current, target) == 24 == minimum_moves(shards=12, nodes=[*old, *new], replicas=2, current=current)


def test_fewer_replicas_only_drop() -> None:
    current = place(shards=48, nodes=equal(6), replicas=3)
    target = place(shards=48, nodes=equal(6), replicas=2, current=current)
    assert copies(current, target) == 0
    assert all(target[shard] < current[shard] for shard in current)


def test_more_replicas_than_nodes_names_the_group() -> None:
    nodes = [node("a1", group="a"), node("a2", group="a"), node("b1", group="b")]
    with pytest.raises(TopologyInvalid, match="group `b` has 1 node, too few for 2 replicas"):
        place(shards=4, nodes=nodes, replicas=2)
    with pytest.raises(TopologyInvalid, match="the cluster has 0 nodes"):
        place(shards=4, nodes=[], replicas=1)


def test_a_drained_node_holds_nothing_and_what_it_held_goes_to_the_others_of_its_group() -> None:
    nodes = equal(4)
    current = place(shards=24, nodes=nodes, replicas=2)
    drained = [*nodes[:3], replace(nodes[3], drained=True)]
    target = place(shards=24, nodes=drained, replicas=2, current=current)
    assert target == place(shards=24, nodes=nodes[:3], replicas=2, current=current)
    assert copies(current, target) == 12 == minimum_moves(shards=24, nodes=drained, replicas=2, current=current)


def test_too_few_nodes_because_some_are_drained_names_them() -> None:
    nodes = [node("a1"), replace(node("a2"), drained=True)]
    with pytest.raises(
        TopologyInvalid, match=r"group `main` has 1 node that takes shards \(`a2` is drained\), too few"
    ):
        place(shards=4, nodes=nodes, replicas=2)


def test_a_group_of_drained_nodes_gets_nothing_and_the_others_stay_as_they_are() -> None:
    kept = equal(3)
    going = [replace(node(name, group="b"), drained=True) for name in ("b1", "b2")]
    current = place(shards=12, nodes=[*kept, *(replace(each, drained=False) for each in going)], replicas=2)
    target = place(shards=12, nodes=[*kept, *going], replicas=2, current=current)
    assert copies(current, target) == 0 == minimum_moves(shards=12, nodes=[*kept, *going], replicas=2, current=current)
    assert {name for names in target.values() for name in names} == {each.name for each in kept}


def test_the_first_choice_is_the_highest_hash_of_shard_and_name() -> None:
    nodes = equal(10)
    for shard in range(20):
        best = max(nodes, key=lambda each: xxh64_intdigest(each.name.encode(), shard))
        assert preference(shard, nodes)[0] == best.name


def test_a_twice_as_heavy_node_is_preferred_twice_as_often() -> None:
    nodes = [node("a"), node("b"), node("c", weight=2)]
    first = Counter(preference(shard, nodes)[0] for shard in range(4000))
    assert 0.47 < first[NodeName("c")] / 4000 < 0.53


def test_the_placement_stays_the_same_from_release_to_release() -> None:
    placement = place(shards=6, nodes=equal(4), replicas=2)
    assert [sorted(placement[ShardId(shard)]) for shard in range(6)] == [["n0", "n3"]] * 3 + [["n1", "n2"]] * 3


def test_moves_pair_what_leaves_with_what_comes_in_the_same_group() -> None:
    def names(text: str) -> frozenset[NodeName]:
        return frozenset(NodeName(name) for name in text.split())

    nodes = [node("a1", group="a"), node("a2", group="a"), node("b1", group="b"), node("b2", group="b")]
    current = {ShardId(0): names("a2 b1"), ShardId(1): names("a1 gone"), ShardId(2): names("a1 b1")}
    target = {ShardId(0): names("a1 b2"), ShardId(1): names("a1 b1"), ShardId(2): names("a1")}
    assert moves(current, target, nodes=nodes) == (
        Move(shard=ShardId(0), source=NodeName("a2"), target=NodeName("a1")),
        Move(shard=ShardId(0), source=NodeName("b1"), target=NodeName("b2")),
        Move(shard=ShardId(1), source=NodeName("gone"), target=NodeName("b1")),
        Move(shard=ShardId(2), source=NodeName("b1"), target=None),
    )
    assert moves(target, target) == ()


@pytest.mark.parametrize("replicas", [2, 3])
def test_a_thousand_shards_on_a_hundred_nodes_are_placed_at_once(replicas: int) -> None:
    """Far below a second; the limit is loose because machines that run tests are busy."""
    started = time.process_time()
    current = place(shards=1024, nodes=equal(100), replicas=replicas)
    target = place(shards=1024, nodes=equal(101, start=5), replicas=replicas, current=current)
    assert time.process_time() - started < 1.0
    check(target, shards=1024, nodes=equal(101, start=5), replicas=replicas)
