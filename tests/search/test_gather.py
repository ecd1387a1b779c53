from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from miroir_cli.errors import NodeRefusal, NodeUnavailable
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
from miroir_cli.node.watch import NodeWatch
from miroir_cli.search.gather import Gathered, gather
from miroir_cli.search.plan import Planner

SERVING = ReplicaState.SERVING


def planner(placement: Mapping[str, list[int]], shards: int) -> Planner:
    index = Index(uid=IndexUid("books"), incarnation=1, primary_key="id", shards=shards, replicas=1)
    replicas = tuple(
        Replica(shard=ShardId(shard), node=NodeName(node), state=SERVING, since=1)
        for node, held in placement.items()
        for shard in held
    )
    nodes = [Node(name=NodeName(name), url=f"http://{name}") for name in placement]
    return Planner(IndexMap(epoch=1, index=index, replicas=replicas), group_of(nodes))


class Nodes:
    """Nodes by script: seconds until they answer, or an error."""

    def __init__(self, **script: float | Exception) -> None:
        self.script = script
        self.asked: list[tuple[str, tuple[int, ...]]] = []
        self.cancelled: list[str] = []

    async def __call__(self, node: NodeName, shards: tuple[ShardId, ...]) -> dict[str, Any]:
        self.asked.append((node, shards))
        does = self.script.get(node, 0.0)
        if isinstance(does, Exception):
            raise does
        try:
            await asyncio.sleep(does)
        except asyncio.CancelledError:
            self.cancelled.append(node)
            raise
        return {"from": node}


def down(node: str) -> NodeUnavailable:
    return NodeUnavailable(f"node `{node}` cannot be reached", node=node, sent=False)


def answered(found: Gathered) -> dict[str, tuple[int, ...]]:
    shards = sorted(shard for answer in found.answers for shard in answer.shards)
    assert len(set(shards)) == len(shards)
    return {answer.node: answer.shards for answer in found.answers}


async def test_all_nodes_are_asked_at_once() -> None:
    nodes = Nodes(a=0.05, b=0.05)
    begin = asyncio.get_running_loop().time()
    found = await gather(planner({"a": [0], "b": [1]}, 2), nodes, rotation=0)
    assert answered(found) == {"a": (0,), "b": (1,)}
    assert asyncio.get_running_loop().time() - begin < 0.09


async def test_a_node_that_fails_is_replaced_by_others_for_its_shards() -> None:
    nodes = Nodes(a=down("a"))
    found = await gather(planner({"a": [0, 1, 2], "b": [0], "c": [1, 2]}, 3), nodes, rotation=0)
    assert answered(found) == {"b": (0,), "c": (1, 2)}
    assert list(found.failures) == ["a"]


async def test_the_replacement_of_a_replacement_may_fail_too() -> None:
    nodes = Nodes(a=down("a"), b=down("b"))
    found = await gather(planner({"a": [0], "b": [0], "c": [0]}, 1), nodes, rotation=0)
    assert answered(found) == {"c": (0,)}


async def test_shards_without_another_replica_are_missing_and_the_rest_is_answered() -> None:
    nodes = Nodes(a=down("a"))
    found = await gather(planner({"a": [0, 1], "b": [1, 2]}, 4), nodes, rotation=0)
    assert answered(found).keys() == {"b"}
    assert found.missing == (0, 3)


async def test_who_is_late_has_a_competitor_and_the_first_answer_counts() -> None:
    nodes = Nodes(a=5.0)
    found = await gather(planner({"a": [0, 1], "b": [0], "c": [1]}, 2), nodes, rotation=0, late_after=0.02)
    assert answered(found) == {"b": (0,), "c": (1,)}
    assert nodes.cancelled == ["a"]


async def test_a_late_answer_counts_when_it_comes_before_all_its_competitors() -> None:
    nodes = Nodes(a=0.06, c=5.0)
    found = await gather(planner({"a": [0, 1], "b": [0], "c": [1]}, 2), nodes, rotation=0, late_after=0.02)
    assert answered(found) == {"a": (0, 1)}
    assert nodes.cancelled == ["c"]


async def test_a_late_node_without_competitors_is_waited_for() -> None:
    nodes = Nodes(a=0.08)
    found = await gather(planner({"a": [0, 1], "b": [0]}, 2), nodes, rotation=0, late_after=0.01)
    assert answered(found) == {"a": (0, 1)}
    assert nodes.asked == [("a", (0, 1))]


async def test_a_late_node_that_fails_at_last_leaves_the_answer_to_its_competitors() -> None:
    async def call(node: NodeName, shards: tuple[ShardId, ...]) -> dict[str, Any]:
        await asyncio.sleep({"a": 0.05, "b": 0.1}[node])
        if node == "a":
            raise down("a")
        return {}

    found = await gather(planner({"a": [0], "b": [0]}, 1), call, rotation=0, late_after=0.01)
    assert answered(found) == {"b": (0,)}


async def test_a_refusal_ends_the_query_at_once() -> None:
    refusal = NodeRefusal("bad filter", status=400, node_code="invalid_search_filter", node="a")
    nodes = Nodes(a=refusal, b=5.0)
    found = await gather(planner({"a": [0], "b": [1]}, 2), nodes, rotation=0)
    assert found.refusal is refusal
    assert nodes.cancelled == ["b"]


async def test_only_open_shards_are_asked_and_failed_nodes_left_alone() -> None:
    nodes = Nodes()
    found = await gather(
        planner({"a": [0, 1], "b": [0, 1]}, 2),
        nodes,
        rotation=0,
        shards=[ShardId(1)],
        failures={NodeName("a"): down("a")},
    )
    assert answered(found) == {"b": (1,)}


async def test_an_error_that_nobody_expected_ends_the_query_and_the_other_calls() -> None:
    nodes = Nodes(a=ZeroDivisionError(), b=5.0)
    with pytest.raises(ExceptionGroup) as raised:
        await gather(planner({"a": [0], "b": [1]}, 2), nodes, rotation=0)
    assert raised.group_contains(ZeroDivisionError)
    assert nodes.cancelled == ["b"]


async def test_a_query_that_is_given_up_cancels_its_calls_and_asks_nobody_else() -> None:
    nodes = Nodes(a=5.0)
    task = asyncio.create_task(gather(planner({"a": [0], "b": [0]}, 1), nodes, rotation=0, late_after=0.05))
    await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.wait([task])
    await asyncio.sleep(0.05)
    assert nodes.cancelled == ["a"]
    assert nodes.asked == [("a", (0,))]


async def test_nobody_to_ask_is_an_answer_at_once() -> None:
    found = await gather(planner({"a": [0]}, 2), Nodes(), rotation=0, failures={NodeName("a"): down("a")})
    assert (found.answers, found.missing) == ((), (0, 1))


def learnt(answers: Mapping[str, float], **options: bool) -> NodeWatch:
    """A watch that knows how many seconds these nodes take."""
    clock = [0.0]
    watch = NodeWatch(clock=lambda: clock[0], **options)
    for node, seconds in answers.items():
        for _ in range(32):
            since = watch.asked(NodeName(node))
            clock[0] += seconds
            watch.answered(NodeName(node), since)
    return watch


TWO_OF_THREE = {"a": [0, 1], "b": [0], "c": [1]}
THREE_AND_SPARES = {"a": [0], "b": [1], "c": [2], "x": [0], "y": [1], "z": [2]}


async def test_a_fast_node_is_asked_whoevers_turn_it_is() -> None:
    nodes = Nodes()
    watch = learnt({"a": 0.5, "b": 0.001})
    for rotation in range(4):
        await gather(planner({"a": [0], "b": [0]}, 1), nodes, rotation=rotation, watch=watch)
    assert {node for node, _ in nodes.asked} == {"b"}


async def test_without_a_choice_by_speed_nodes_take_turns() -> None:
    nodes = Nodes()
    watch = learnt({"a": 0.5, "b": 0.001}, adaptive=False)
    for rotation in range(4):
        await gather(planner({"a": [0], "b": [0]}, 1), nodes, rotation=rotation, watch=watch)
    assert [node for node, _ in nodes.asked] == ["a", "b", "a", "b"]


async def test_a_node_that_fails_often_is_not_asked_before_others() -> None:
    nodes = Nodes(a=down("a"))
    watch = NodeWatch()
    for rotation in range(12):
        await gather(planner({"a": [0], "b": [0]}, 1), nodes, rotation=rotation, watch=watch)
    assert sum(node == "a" for node, _ in nodes.asked) <= 3


async def test_a_node_that_fails_often_is_asked_for_what_nobody_else_has() -> None:
    watch = NodeWatch()
    for _ in range(3):
        watch.failed(NodeName("a"), watch.asked(NodeName("a")))
    found = await gather(planner({"a": [0, 1], "b": [0]}, 2), Nodes(), rotation=0, watch=watch)
    assert found.missing == ()
    assert "a" in answered(found)


async def test_a_node_is_late_by_its_own_measure() -> None:
    nodes = Nodes(a=0.5)
    watch = learnt({"a": 0.001})
    begin = asyncio.get_running_loop().time()
    found = await gather(planner(TWO_OF_THREE, 2), nodes, rotation=0, watch=watch)
    assert answered(found) == {"b": (0,), "c": (1,)}
    assert nodes.cancelled == ["a"]
    assert asyncio.get_running_loop().time() - begin < 0.4


async def test_two_late_nodes_of_a_query_have_competitors_and_no_more() -> None:
    nodes = Nodes(a=0.3, b=0.3, c=0.3)
    quick, slow = dict.fromkeys("abc", 0.001), dict.fromkeys("xyz", 0.9)
    found = await gather(planner(THREE_AND_SPARES, 3), nodes, rotation=0, watch=learnt({**quick, **slow}))
    assert [node for node, _ in nodes.asked[:3]] == ["a", "b", "c"]
    assert len(nodes.asked) == 5
    assert len(found.answers) == 3


async def test_without_hedging_a_late_node_is_waited_for() -> None:
    nodes = Nodes(a=0.2)
    watch = learnt({"a": 0.001}, hedging=False)
    found = await gather(planner(TWO_OF_THREE, 2), nodes, rotation=0, watch=watch)
    assert answered(found) == {"a": (0, 1)}
    assert [node for node, _ in nodes.asked] == ["a"]


async def test_questions_that_are_over_leave_nobody_outstanding() -> None:
    watch = learnt({"a": 0.001})
    nodes = Nodes(a=5.0)
    await gather(planner(TWO_OF_THREE, 2), nodes, rotation=0, watch=watch)
    task = asyncio.create_task(gather(planner({"a": [0]}, 1), nodes, rotation=0, watch=watch))
    await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.wait([task])
    assert watch._nodes[NodeName("a")].outstanding == 0


@pytest.mark.parametrize("watch", [None, NodeWatch(hedging=False)])
async def test_a_node_whose_time_is_over_is_replaced(watch: NodeWatch | None) -> None:
    nodes = Nodes(a=5.0, b=0.05)
    begin = asyncio.get_running_loop().time()
    found = await gather(
        planner({"a": [0], "b": [0]}, 1), nodes, rotation=0, late_after=0.02, timeout=0.04, watch=watch
    )
    if watch is None:  # b is asked once a is late, and then has no more time than a had
        assert (answered(found), found.missing) == ({}, (0,))
        assert sorted(found.failures) == ["a", "b"]
    assert "did not answer within 0.04 s" in found.failures[NodeName("a")].message
    assert nodes.cancelled[0] == "a"
    assert asyncio.get_running_loop().time() - begin < 1


async def test_a_node_whose_time_is_over_leaves_the_answer_to_its_competitor() -> None:
    nodes = Nodes(a=5.0, b=0.1)
    found = await gather(planner({"a": [0], "b": [0]}, 1), nodes, rotation=0, late_after=0.03, timeout=0.12)
    assert answered(found) == {"b": (0,)}
    assert nodes.cancelled == ["a"]


async def test_a_query_given_up_when_a_nodes_time_is_over_ends() -> None:
    nodes = Nodes(a=5.0)
    task = asyncio.create_task(gather(planner({"a": [0]}, 1), nodes, rotation=0, timeout=0.02))
    asyncio.get_running_loop().call_later(0.02, task.cancel)
    done, _ = await asyncio.wait([task], timeout=1)
    assert done
