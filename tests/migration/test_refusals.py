"""What a plan does with replicas that are not in sync, and what it refuses."""

from __future__ import annotations

from miroir_cli.model import NodeName
from tests.migration.world import (
    BOOKS,
    JOINING,
    LEAVING,
    LOST,
    SERVING,
    STALE,
    States,
    after,
    check_done,
    index_map,
    node,
    nodes_of,
    placed,
    plan,
    reasons,
    step,
    topology,
)

# -- replicas that are not in sync


def test_a_stale_or_lost_replica_is_mended_where_it_is() -> None:
    before = index_map([{"n1": SERVING, "n2": STALE}, {"n1": LOST, "n2": SERVING}])
    planned = plan(before, topology(nodes_of("n1 n2"), replicas=2))
    assert planned.steps == (step("-> n1", shard=1, repair=True), step("-> n2", repair=True))
    assert planned.minimum == 2


def test_replicas_are_mended_in_place_although_other_nodes_would_do() -> None:
    names = ["n1", "n2", "n3", "n4"]
    before = index_map(
        [{names[s % 4]: SERVING, names[(s + 1 + s // 8) % 4]: STALE if s % 3 == 0 else SERVING} for s in range(16)]
    )
    planned = plan(before, topology(nodes_of("n1 n2 n3 n4"), replicas=2))
    stale = [(replica.shard, replica.node) for replica in before.replicas if replica.state is STALE]
    assert sorted((each.shard, each.target) for each in planned.steps) == sorted(stale)


def test_stale_replicas_are_mended_where_the_group_lacks_some_and_dropped_elsewhere() -> None:
    names = ["n1", "n2", "n3", "n4"]
    short: list[States] = [{"d": SERVING, names[s % 4]: STALE} for s in range(8)]
    enough: list[States] = [{names[s % 4]: SERVING, names[(s + 1 + s // 4) % 4]: STALE} for s in range(8)]
    wanted = topology([*nodes_of("n1 n2 n3 n4"), node("d", drained=True)])
    planned = plan(index_map([*short, *enough]), wanted)
    mended = [each for each in planned.steps if each.target]
    assert sorted((each.shard, each.target) for each in mended) == [(s, names[s % 4]) for s in range(8)]
    assert all(each.repair for each in mended)
    assert len(planned.steps) == 8 + 16


def test_fewer_replicas_keep_the_in_sync_one() -> None:
    for state in (STALE, LOST):
        for first, second in (("n1", "n2"), ("n2", "n1")):
            before = index_map([{first: state, second: SERVING}, {first: SERVING, second: state}])
            planned = plan(before, topology(nodes_of("n1 n2")))
            assert set(planned.steps) == {step(f"{first} ->"), step(f"{second} ->", shard=1)}


def test_a_stale_replica_on_a_drained_node_is_not_mended() -> None:
    before = index_map([{"n1": SERVING, "n2": STALE}])
    planned = plan(before, topology([*nodes_of("n1 n3"), node("n2", drained=True)], replicas=2))
    assert planned.steps == (step("n2 -> n3"),)


def test_what_an_earlier_run_left_is_finished_or_dropped() -> None:
    before = index_map(
        [
            {"n1": SERVING, "n2": LEAVING},
            {"n1": JOINING, "n2": SERVING},
            {"n1": SERVING, "n9": JOINING},
        ]
    )
    planned = plan(before, topology([*nodes_of("n1"), node("n2", drained=True)]))
    assert planned.steps == (
        step("n2 -> n1", shard=1, repair=True),
        step("n2 ->", shard=0),
        step("n9 ->", shard=2),
    )
    check_done(before, topology([*nodes_of("n1"), node("n2", drained=True)]), planned)


def test_a_replica_that_is_leaving_is_copied_to_when_the_shard_is_to_stay() -> None:
    before = index_map([{"n1": SERVING, "n2": LEAVING}])
    assert plan(before, topology(nodes_of("n1 n2"), replicas=2)).steps == (step("-> n2", repair=True),)


def test_only_repair_mends_what_is_stale_and_leaves_the_placement() -> None:
    before = index_map(
        [
            {"n1": SERVING, "n2": STALE},
            {"n1": SERVING, "n2": SERVING},
            {"n1": SERVING, "n2": LEAVING, "n3": JOINING},
            {"n1": SERVING, "n2": SERVING, "n3": STALE},
        ]
    )
    wanted = topology([*nodes_of("n1 n2 n3 n4"), node("n5", group="b"), node("n6", group="b")], replicas=2)
    planned = plan(before, wanted, only_repair=True)
    assert planned.steps == (step("-> n2", repair=True), step("-> n3", shard=2, repair=True))
    assert planned.minimum == 2
    assert plan(after(planned, before), wanted, only_repair=True).steps == ()


# -- what is refused


def test_a_copy_without_a_source_that_answers_is_refused_by_name() -> None:
    before = index_map([{"n1": SERVING}, {"n2": SERVING}])
    wanted = topology([node("n1", drained=True), *nodes_of("n2")])
    planned = plan(before, wanted, silent="n1")
    assert planned.steps == ()
    assert reasons(planned) == ["0: unreachable source: the only in-sync replica is on `n1`, which does not answer"]


def test_a_copy_to_a_node_that_does_not_answer_is_refused_and_its_source_stays() -> None:
    before = index_map([{"n1": SERVING}, {"n2": SERVING}])
    wanted = topology([node("n1", drained=True), *nodes_of("n2")])
    planned = plan(before, wanted, silent="n2")
    assert planned.steps == ()
    assert reasons(planned) == ["0: node `n2` does not answer"]


def test_the_last_copy_on_a_vanished_node_is_refused_until_the_node_is_given_up() -> None:
    before = index_map([{"gone": SERVING}, {"gone": SERVING, "n1": SERVING}])
    wanted = topology(nodes_of("n1"))
    planned = plan(before, wanted)
    assert planned.steps == (step("gone ->", shard=1),)
    where = "the only in-sync replica is on `gone`, which is not in the topology file"
    assert reasons(planned) == [f"0: last copy: {where}; put it back, or force its loss"]
    assert planned.lost == {} and [refusal.last_copy for refusal in planned.refusals] == [True]
    given_up = plan(before, wanted, nodes_lost=frozenset({NodeName("gone")}))
    assert given_up.lost == {BOOKS: (0,)}
    assert given_up.steps == (step("gone -> n1"), step("gone ->", shard=1))
    assert given_up.refusals == ()
    assert given_up.json()["lost"] == {"books": [0]}


def test_what_is_left_of_a_lost_shard_is_not_dropped() -> None:
    before = index_map([{"gone": SERVING, "n1": STALE, "n2": STALE}])
    planned = plan(before, topology(nodes_of("n1 n2")), nodes_lost=frozenset({NodeName("gone")}))
    assert planned.lost == {BOOKS: (0,)}
    kept = {"n1", "n2"} - {step.leaving for step in planned.steps}
    assert kept == {"n1", "n2"}
    assert [each.target in kept and each.repair for each in planned.steps if each.target] == [True]


def test_a_shard_with_stale_replicas_only_is_left_alone() -> None:
    before = index_map([{"n1": STALE, "n2": LOST}])
    planned = plan(before, topology(nodes_of("n1 n2")))
    assert planned.steps == ()
    assert reasons(planned) == ["0: no replica is in sync; left are `n2` (lost), `n1` (stale)"]


def test_the_last_in_sync_replica_that_answers_is_not_dropped() -> None:
    before = placed(nodes_of("n1 n2"), shards=4, replicas=2)
    wanted = topology(nodes_of("n1 n2"))
    planned = plan(before, wanted, silent="n2")
    assert {each.leaving for each in planned.steps} == {"n2"} and len(planned.steps) == 2
    assert len(planned.refusals) == 2
    assert all("`n1` would leave 0 in-sync replicas on nodes that answer" in reason for reason in reasons(planned))


def test_no_drop_goes_below_min_in_sync() -> None:
    before = index_map([{"n1": SERVING, "n2": SERVING}], own=True)
    planned = plan(before, topology(nodes_of("n1 n2"), replicas=2, min_in_sync=2))
    assert planned.steps == ()
    assert "would leave 1 in-sync replica on nodes that answer, at least 2 must remain" in reasons(planned)[0]


def test_a_group_that_stays_keeps_an_in_sync_replica_that_answers() -> None:
    nodes = [node("a1", group="a"), node("a2", group="a"), node("b1", group="b"), node("b2", group="b")]
    before = index_map([{"a1": SERVING, "a2": SERVING, "b1": SERVING, "b2": SERVING}] * 2)
    planned = plan(before, topology(nodes), silent="a2")
    assert {each.leaving for each in planned.steps if each.leaving and each.leaving.startswith("a")} == {"a2"}
    assert len(planned.refusals) == 1
    assert "`a1` would leave group `a` no in-sync replica on a node that answers" in reasons(planned)[0]
