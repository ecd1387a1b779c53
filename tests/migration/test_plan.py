"""Plans: where copies go, what is dropped, what is refused, and that nothing is done twice or for nothing."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from miroir_cli.migration.plan import Facts, StepKind, plan_moves
from miroir_cli.model import IndexMap, IndexUid, ShardId
from miroir_cli.topology.file import Topology
from miroir_cli.topology.placement import place
from tests.migration.world import (
    BOOKS,
    JOINING,
    LEAVING,
    LOST,
    SERVING,
    STALE,
    after,
    check_done,
    copies,
    index_map,
    node,
    nodes_of,
    placed,
    plan,
    reasons,
    step,
    topology,
)

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


# -- every change of a cluster


@st.composite
def clusters(draw: st.DrawFn) -> tuple[Topology, Topology, IndexMap]:
    """A cluster whose topology was changed in any way while some replicas were not in sync."""
    wanted = []
    for replicas in (draw(st.integers(1, 3)), draw(st.integers(1, 3))):
        groups = draw(st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=2, unique=True))
        members = [
            node(
                f"{group}{number}",
                group=group,
                zone=draw(st.sampled_from([None, "x", "y"])),
                weight=draw(st.sampled_from([1.0, 1.0, 0.5, 3.0])),
            )
            for group in groups
            for number in draw(st.lists(st.integers(0, 6), min_size=replicas, max_size=6, unique=True))
        ]
        more = [node(f"{group}9", group=group, drained=True) for group in groups if draw(st.booleans())]
        wanted.append(topology([*members, *more], replicas=replicas))
    old, new = wanted
    placement = place(shards=draw(st.integers(1, 12)), nodes=old.nodes, replicas=old.cluster.replicas)
    reachable = {node.name for node in new.nodes}
    shards = []
    for shard in sorted(placement):
        states = {
            str(name): draw(st.sampled_from([SERVING, SERVING, SERVING, STALE, LOST])) for name in placement[shard]
        }
        source = draw(st.sampled_from(sorted(reachable)))
        states[source] = SERVING
        for other in draw(st.lists(st.sampled_from(sorted(reachable)), max_size=1)):
            states.setdefault(other, draw(st.sampled_from([JOINING, LEAVING])))
        shards.append(states)
    return old, new, index_map(shards)


@quick
@given(clusters())
def test_a_plan_leads_to_a_valid_placement_with_the_fewest_copies_and_then_there_is_nothing_to_do(
    cluster: tuple[Topology, Topology, IndexMap],
) -> None:
    _, wanted, before = cluster
    planned = plan(before, wanted)
    done = check_done(before, wanted, planned)
    again = plan(done, wanted)
    assert (again.steps, again.minimum, again.refusals) == ((), 0, ())


@quick
@given(clusters(), st.randoms())
def test_a_plan_does_not_depend_on_any_order(
    cluster: tuple[Topology, Topology, IndexMap], chance: random.Random
) -> None:
    _, wanted, before = cluster
    maps = [before, replace(before, index=replace(before.index, uid=IndexUid("films")))]
    planned = plan(maps, wanted)
    nodes, replicas = list(wanted.nodes), list(before.replicas)
    chance.shuffle(nodes)
    chance.shuffle(replicas)
    shuffled = [replace(each, replicas=tuple(replicas)) for each in reversed(maps)]
    assert plan(shuffled, replace(wanted, nodes=tuple(nodes))) == planned


@quick
@given(clusters(), st.data())
def test_whatever_does_not_answer_every_shard_keeps_what_it_needs(
    cluster: tuple[Topology, Topology, IndexMap], data: st.DataObject
) -> None:
    _, wanted, before = cluster
    names = sorted(node.name for node in wanted.nodes)
    silent = set(data.draw(st.lists(st.sampled_from(names), unique=True)))
    minimum = data.draw(st.integers(1, 2))
    wanted = replace(wanted, cluster=replace(wanted.cluster, min_in_sync=minimum))
    planned = plan(before, wanted, silent=" ".join(silent))
    done = after(planned, before).in_sync()
    usable = {node.name for node in wanted.nodes} - silent
    assert all(step.target in usable for step in planned.steps if step.target)
    for shard, names_before in before.in_sync().items():
        here = {*names_before} & usable
        left = {*done[shard]} & usable
        touched = [step for step in planned.steps if step.shard == shard]
        assert here or not touched
        assert len(left) >= min(len(here), minimum)
        for name in here:
            group = {node.name for node in wanted.nodes if node.group == wanted.node(name).group}
            assert left & group
    refused = {refusal.shard for refusal in planned.refusals}
    open_shards = {
        shard for shard, names in done.items() if shard not in refused and len({*names}) < wanted.cluster.replicas
    }
    assert not open_shards


@pytest.mark.parametrize(
    ("old", "new", "replicas", "expected"),
    [
        ("n1 n2 n3", "n1 n2 n3 n4", 2, 12),  # a node more
        ("n1 n2 n3 n4", "n1 n2 n3", 2, 12),  # a node less
        ("n1 n2 n3 n4", "n1 n2 n3 n5", 2, 12),  # a node replaced
        ("n1 n2 n3", "n1 n2 n3", 2, 0),
    ],
)
def test_a_change_of_nodes_moves_the_minimum(old: str, new: str, replicas: int, expected: int) -> None:
    before = placed(nodes_of(old), shards=24, replicas=replicas)
    wanted = topology([*nodes_of(new), *(node(name, drained=True) for name in {*old.split()} - {*new.split()})])
    wanted = replace(wanted, cluster=replace(wanted.cluster, replicas=replicas))
    planned = plan(before, wanted)
    check_done(before, wanted, planned)
    assert copies(planned) == planned.minimum == expected
    assert all(step.kind is StepKind.COPY and step.leaving and not step.repair for step in planned.steps)


def test_a_change_of_weights_moves_the_difference() -> None:
    before = placed(nodes_of("n1 n2 n3 n4"), shards=60, replicas=2)
    wanted = topology([*nodes_of("n1 n2 n3"), node("n4", weight=2)], replicas=2)
    planned = plan(before, wanted)
    check_done(before, wanted, planned)
    assert copies(planned) == planned.minimum == 18


def test_more_replicas_are_copied_and_nothing_is_dropped() -> None:
    before = placed(nodes_of("n1 n2 n3"), shards=12, replicas=1)
    wanted = topology(nodes_of("n1 n2 n3"), replicas=2)
    planned = plan(before, wanted)
    check_done(before, wanted, planned)
    assert copies(planned) == planned.minimum == 12 == len(planned.steps)
    assert all(step.leaving is None for step in planned.steps)


def test_fewer_replicas_are_dropped_and_nothing_is_copied() -> None:
    before = placed(nodes_of("n1 n2 n3"), shards=12, replicas=3)
    wanted = topology(nodes_of("n1 n2 n3"), replicas=1)
    planned = plan(before, wanted)
    check_done(before, wanted, planned)
    assert (copies(planned), planned.minimum, len(planned.steps)) == (0, 0, 24)


def test_a_new_group_gets_a_copy_of_everything() -> None:
    old, new = [node("a1", group="a"), node("a2", group="a")], [node("b1", group="b")]
    before = placed(old, shards=6, replicas=1)
    planned = plan(before, topology([*old, *new]))
    check_done(before, topology([*old, *new]), planned)
    assert planned.steps == tuple(step("-> b1", shard=shard) for shard in range(6))
    assert planned.minimum == 6


def test_a_removed_group_is_dropped_once_another_has_every_shard() -> None:
    old = [node("a1", group="a"), node("b1", group="b")]
    before = index_map([{"a1": SERVING, "b1": SERVING}, {"a1": STALE, "b1": SERVING}])
    planned = plan(before, topology(old[:1]))
    assert planned.steps == (step("b1 ->"),)
    assert len(planned.refusals) == 1
    assert "last copy: the only in-sync replica is on `b1`, which is not in the topology file" in reasons(planned)[0]


def test_replicas_go_to_different_zones() -> None:
    nodes = [node("n1", zone="x"), node("n2", zone="x"), node("n3", zone="y")]
    before = index_map([{"n1": SERVING, "n2": SERVING}])
    assert plan(before, topology(nodes, replicas=2)).steps in ((step("n1 -> n3"),), (step("n2 -> n3"),))


# -- whose replicas


def test_an_index_with_a_number_of_replicas_of_its_own_keeps_it() -> None:
    wanted = topology(nodes_of("n1 n2"), replicas=2)
    follows = index_map([{"n1": SERVING}], uid="books")
    own = index_map([{"n1": SERVING}], uid="films", own=True)
    assert plan([own, follows], wanted).steps == (step("-> n2"),)
    asked = plan([own, follows], wanted, replicas={IndexUid("films"): 2, BOOKS: 1})
    assert [(each.index, each.target) for each in asked.steps] == [("films", "n2")]


def test_a_group_with_too_few_nodes_is_refused_with_the_numbers_and_stale_replicas_are_mended() -> None:
    nodes = [*nodes_of("n1 n2"), node("n3", drained=True)]
    before = index_map([{"n1": SERVING, "n2": STALE, "n3": SERVING}])
    planned = plan(before, topology(nodes, replicas=3))
    assert planned.steps == (step("-> n2", repair=True),)
    assert len(planned.refusals) == 1
    assert reasons(planned)[0].startswith(
        "None: group `main` has 2 nodes that take shards (`n3` is drained), too few for 3 replicas"
    )


# -- the order, the loads, the numbers


def test_repairs_come_first_then_copies_then_drops_and_nodes_take_turns() -> None:
    before = [
        index_map([{"n1": SERVING, "n2": STALE}] * 3 + [{"n1": STALE, "n2": SERVING}] * 2, uid="books"),
        index_map([{"n3": SERVING}] * 4, uid="films", own=True),
    ]
    wanted = topology([*nodes_of("n1 n2"), node("n3", drained=True)], replicas=2)
    planned = plan(before, wanted)
    turns = [(each.kind.value, each.repair, each.target) for each in planned.steps]
    assert turns == [
        ("copy", True, "n1"),
        ("copy", True, "n2"),
        ("copy", True, "n1"),
        ("copy", True, "n2"),
        ("copy", True, "n2"),
        ("copy", False, "n1"),
        ("copy", False, "n2"),
        ("copy", False, "n1"),
        ("copy", False, "n2"),
    ]
    fewer = plan(placed(nodes_of("n1 n2 n3"), shards=9, replicas=2), topology(nodes_of("n1 n2 n3")))
    for start in (0, 3, 6):
        assert [each.leaving for each in fewer.steps[start : start + 3]] == ["n1", "n2", "n3"]


def test_loads_and_numbers_are_those_of_the_steps() -> None:
    before = index_map([{"n1": SERVING}, {"n1": SERVING, "gone": STALE}])
    wanted = topology(nodes_of("n1 n2"))
    counted = Facts(
        present=frozenset(node.name for node in wanted.nodes),
        documents={BOOKS: {ShardId(0): 100, ShardId(1): 300}},
        document_bytes={BOOKS: 10.25},
    )
    planned = plan_moves([before], wanted, counted)
    moved = next(each for each in planned.steps if each.target)
    count = {0: 100, 1: 300}[moved.shard]
    assert (planned.documents, planned.bytes) == (count, round(count * 10.25))
    loads = [(load.node, load.shards_before, load.shards_after) for load in planned.loads]
    assert loads == [("gone", 1, 0), ("n1", 2, 1), ("n2", 0, 1)]
    documents = [(load.documents_before, load.documents_after) for load in planned.loads]
    assert documents == [(300, 0), (400, 400 - count), (0, count)]


def test_what_was_not_counted_is_not_known() -> None:
    before = index_map([{"n1": SERVING}, {"n1": SERVING}])
    planned = plan(before, topology(nodes_of("n1 n2")))
    assert (planned.documents, planned.bytes) == (None, None)
    assert [load.documents_before for load in planned.loads] == [None, 0]


def test_the_json_document_of_a_plan() -> None:
    before = index_map([{"n1": SERVING, "n2": STALE}, {"n3": SERVING, "n1": SERVING}, {"n2": SERVING}])
    wanted = topology([*nodes_of("n1 n2"), node("n3", drained=True)], replicas=2)
    wanted = replace(wanted, nodes=wanted.nodes[:2])
    assert plan(before, wanted, silent="n2").json() == {
        "moves": [],
        "minimum": 3,
        "nodes": [
            {"name": "n1", "shards_before": 2, "shards_after": 2, "documents_before": None, "documents_after": None},
            {"name": "n2", "shards_before": 2, "shards_after": 2, "documents_before": None, "documents_after": None},
            {"name": "n3", "shards_before": 1, "shards_after": 1, "documents_before": None, "documents_after": None},
        ],
        "refused": [
            {"index": "books", "shard": 0, "reason": "node `n2` does not answer"},
            {"index": "books", "shard": 1, "reason": "node `n2` does not answer"},
            {
                "index": "books",
                "shard": 2,
                "reason": "unreachable source: the only in-sync replica is on `n2`, which does not answer",
            },
        ],
        "documents": 0,
        "bytes": 0,
    }
    assert plan(before, wanted).json()["moves"] == [
        {"index": "books", "shard": 0, "from": None, "to": "n2", "repair": True},
        {"index": "books", "shard": 2, "from": None, "to": "n1"},
        {"index": "books", "shard": 1, "from": "n3", "to": "n2"},
    ]


def test_work_is_spread_over_the_nodes_that_get_shards() -> None:
    before = placed(nodes_of("n1 n2"), shards=24, replicas=1)
    planned = plan(before, topology(nodes_of("n1 n2 n3 n4")))
    first = Counter(each.target for each in planned.steps[:4])
    assert first == {"n3": 2, "n4": 2}
