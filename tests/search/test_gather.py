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
