from __future__ import annotations

import time
from collections.abc import Mapping
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from miroir_cli.model import (
    Index,
    IndexMap,
    IndexUid,
    Node,
    NodeName,
    Replica,
    ReplicaState,
    ShardId,
    group_of,
)
from miroir_cli.search.plan import Planner, SearchPlan, plan, share, smallest_covers


def index_map(placement: Mapping[str, Mapping[int, ReplicaState] | list[int]], shards: int) -> IndexMap:
    """A map from node -> shards (all serving) or node -> {shard: state}."""
    index = Index(uid=IndexUid("books"), incarnation=1, primary_key="id", shards=shards, replicas=1)
    replicas = [
        Replica(shard=ShardId(shard), node=NodeName(node), state=state, since=1)
        for node, held in placement.items()
        for shard, state in (
            held.items() if isinstance(held, Mapping) else ((shard, ReplicaState.SERVING) for shard in held)
        )
    ]
    return IndexMap(epoch=1, index=index, replicas=tuple(replicas))


def groups(*names: str) -> dict[str, tuple[Node, ...]]:
    """Nodes named `group/node`, or just `node` in the group `main`."""
    nodes = []
    for name in names:
        group, slash, _ = name.rpartition("/")
        nodes.append(Node(name=NodeName(name), url=f"http://{name}", group=group if slash else "main"))
    return group_of(nodes)


def covered(found: SearchPlan) -> list[int]:
    return sorted(shard for shards in found.asks.values() for shard in shards)


def test_two_of_three_nodes_answer_for_everything_and_take_turns() -> None:
    placed = index_map({"a": [0, 1, 2, 3], "b": [2, 3, 4, 5], "c": [4, 5, 0, 1]}, 6)
    planner = Planner(placed, groups("a", "b", "c"))
    chosen = [set(planner.plan(rotation=turn).asks) for turn in range(3)]
    assert chosen == [{"a", "b"}, {"a", "c"}, {"b", "c"}]
    assert all(covered(planner.plan(rotation=turn)) == [0, 1, 2, 3, 4, 5] for turn in range(3))


def test_shards_are_spread_evenly_over_the_chosen_nodes() -> None:
    placed = index_map({"a": [0, 1, 2, 3, 4, 5], "b": [1, 2, 3, 4, 5, 6]}, 7)
    found = plan(placed, groups("a", "b"), rotation=0)
    assert sorted(len(shards) for shards in found.asks.values()) == [3, 4]


def test_only_replicas_in_sync_are_asked() -> None:
    serving, stale, joining = ReplicaState.SERVING, ReplicaState.STALE, ReplicaState.JOINING
    placed = index_map({"a": {0: serving, 1: stale}, "b": {0: joining, 1: serving}}, 2)
    found = plan(placed, groups("a", "b"), rotation=0)
    assert found.asks == {"a": (0,), "b": (1,)}


def test_groups_take_turns_and_one_group_answers() -> None:
    placed = index_map({"x/a": [0], "x/b": [1], "y/c": [0, 1]}, 2)
    planner = Planner(placed, groups("x/a", "x/b", "y/c"))
    assert [planner.plan(rotation=turn).group for turn in range(4)] == ["x", "y", "x", "y"]
    assert planner.plan(rotation=1).asks == {"y/c": (0, 1)}


def test_a_group_with_a_gap_is_passed_over_while_another_is_whole() -> None:
    placed = index_map({"x/a": [0], "y/c": [0, 1]}, 2)
    assert plan(placed, groups("x/a", "y/c"), rotation=0).asks == {"y/c": (0, 1)}


def test_what_no_group_has_alone_is_borrowed() -> None:
    placed = index_map({"x/a": [0, 1], "y/b": [2], "y/c": [3]}, 5)
    found = plan(placed, groups("x/a", "y/b", "y/c"), rotation=0)
    assert found.asks == {"x/a": (0, 1), "y/b": (2,), "y/c": (3,)}
    assert found.group == "x"
    assert found.borrowed == ("y/b", "y/c")
    assert found.missing == (4,)


def test_nodes_to_avoid_are_replaced_for_the_shards_still_open() -> None:
    placed = index_map({"a": [0, 1, 2], "b": [0, 1], "c": [2]}, 3)
    found = plan(
        placed,
        groups("a", "b", "c"),
        rotation=0,
        avoid=frozenset({NodeName("a")}),
        shards=[ShardId(1), ShardId(2)],
    )
    assert found.asks == {"b": (1,), "c": (2,)}
    assert found.missing == ()


def test_nodes_that_the_topology_does_not_name_are_not_asked() -> None:
    placed = index_map({"a": [0], "gone": [0, 1]}, 2)
    found = plan(placed, groups("a"), rotation=0)
    assert found.asks == {"a": (0,)}
    assert found.missing == (1,)


def test_nobody_in_sync_leaves_everything_missing() -> None:
    found = plan(index_map({}, 3), groups("a"), rotation=5)
    assert (dict(found.asks), found.missing) == ({}, (0, 1, 2))


def test_planning_again_costs_next_to_nothing() -> None:
    placed = index_map({name: [s for s in range(24) if s % 3 != place] for place, name in enumerate("abc")}, 24)
    planner = Planner(placed, groups("a", "b", "c"))
    best = min(_seconds_of_a_hundred(planner) for _ in range(5)) / 100
    assert best < 100e-6


def _seconds_of_a_hundred(planner: Planner) -> float:
    begin = time.perf_counter()
    for turn in range(100):
        planner.plan(rotation=turn)
    return time.perf_counter() - begin


holdings = st.integers(1, 7).flatmap(
    lambda shards: st.tuples(
        st.just(shards),
        st.lists(st.frozensets(st.integers(0, shards - 1)), min_size=1, max_size=6),
        st.integers(0, 50),
        st.integers(1, 3),
    )
)


@given(holdings)
def test_every_shard_is_asked_once_of_a_node_that_has_it_in_sync(
    case: tuple[int, list[frozenset[int]], int, int],
) -> None:
    shards, held, rotation, group_count = case
    names = [f"g{place % group_count}/n{place}" for place in range(len(held))]
    placed = index_map({name: sorted(has) for name, has in zip(names, held, strict=True)}, shards)
    found = plan(placed, groups(*names), rotation=rotation)
    assert sorted([*covered(found), *found.missing]) == list(range(shards))
    assert set(found.missing) == set(range(shards)) - set().union(*held)
    for node, asked in found.asks.items():
        assert set(asked) <= held[names.index(node)]
        assert asked


@given(holdings)
def test_no_smaller_set_of_nodes_would_do(case: tuple[int, list[frozenset[int]], int, int]) -> None:
    shards, held, rotation, _ = case
    names = [f"n{place}" for place in range(len(held))]
    placed = index_map({name: sorted(has) for name, has in zip(names, held, strict=True)}, shards)
    found = plan(placed, groups(*names), rotation=rotation)
    there = set().union(*held)
    least = next(
        size
        for size in range(len(held) + 1)
        if any(set().union(*chosen) >= there for chosen in combinations(held, size))
    )
    assert len(found.asks) == least


@given(st.lists(st.frozensets(st.integers(0, 30), min_size=1), min_size=13, max_size=20))
def test_many_nodes_are_covered_without_a_spare_one(held: list[frozenset[int]]) -> None:
    masks = {NodeName(f"n{place:02}"): sum(1 << shard for shard in has) for place, has in enumerate(held)}
    everything = sum(1 << shard for shard in set().union(*held))
    for cover in smallest_covers(masks, everything):
        together = 0
        for name in cover:
            together |= masks[name]
        assert together & everything == everything
        for spare in cover:
            rest = 0
            for name in cover:
                rest |= masks[name] if name != spare else 0
            assert rest & everything != everything


def test_sharing_moves_shards_until_loads_are_even() -> None:
    masks = {NodeName("a"): 0b1111, NodeName("b"): 0b1111, NodeName("c"): 0b1000}
    assert {name: len(shards) for name, shards in share(masks, 0b1111).items()} in (
        {"a": 1, "b": 2, "c": 1},
        {"a": 2, "b": 1, "c": 1},
    )


def test_of_smallest_sets_the_one_whose_dearest_node_is_cheapest_is_asked() -> None:
    placed = index_map({"a": [0, 1, 2, 3], "b": [2, 3, 4, 5], "c": [4, 5, 0, 1]}, 6)
    planner = Planner(placed, groups("a", "b", "c"))
    prices = {NodeName("a"): 0.1, NodeName("b"): 5.0, NodeName("c"): 0.2}
    for turn in range(3):
        found = planner.plan(rotation=turn, prices=prices)
        assert set(found.asks) == {"a", "c"}
        assert covered(found) == [0, 1, 2, 3, 4, 5]


def test_the_cheapest_group_is_asked_and_equal_ones_take_turns() -> None:
    placed = index_map({"x/a": [0], "x/b": [1], "y/c": [0, 1]}, 2)
    planner = Planner(placed, groups("x/a", "x/b", "y/c"))
    assert {planner.plan(rotation=turn, prices={NodeName("c"): 1.0}).group for turn in range(4)} == {"y", "x"}
    named = {NodeName("x/a"): 0.2, NodeName("x/b"): 0.2, NodeName("y/c"): 1.0}
    assert {planner.plan(rotation=turn, prices=named).group for turn in range(4)} == {"x"}
    assert [planner.plan(rotation=turn, prices={}).group for turn in range(4)] == ["x", "y", "x", "y"]


def test_prices_do_not_lead_to_a_group_with_a_gap() -> None:
    placed = index_map({"x/a": [0], "y/c": [0, 1]}, 2)
    planner = Planner(placed, groups("x/a", "y/c"))
    prices = {NodeName("x/a"): 0.0, NodeName("y/c"): 9.0}
    assert planner.plan(rotation=0, prices=prices).asks == {"y/c": (0, 1)}
    assert planner.plan(rotation=0, prices=prices, avoid=frozenset([NodeName("y/c")])).missing == (1,)


@given(
    held=st.lists(st.sets(st.integers(0, 5), min_size=1), min_size=1, max_size=6),
    spent=st.lists(st.floats(0, 10), min_size=6, max_size=6),
    turn=st.integers(0, 20),
)
def test_prices_change_who_is_asked_and_never_what(held: list[set[int]], spent: list[float], turn: int) -> None:
    names = [f"n{number}" for number in range(len(held))]
    placed = index_map(dict(zip(names, map(sorted, held), strict=True)), 6)
    planner = Planner(placed, groups(*names))
    plain = planner.plan(rotation=turn)
    priced = planner.plan(rotation=turn, prices=dict(zip(map(NodeName, names), spent, strict=False)))
    assert (covered(priced), priced.missing) == (covered(plain), plain.missing)
    assert len(priced.asks) == len(plain.asks)
