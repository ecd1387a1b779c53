"""Questions to a node about a shard, and several that are asked at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from pytest_httpx import HTTPXMock

from miroir_cli.errors import NodeUnavailable
from miroir_cli.migration.side import Side, together
from miroir_cli.model import Index, IndexUid, Node, NodeName, ShardId
from miroir_cli.node.client import NodeClient


async def test_when_one_question_fails_no_other_is_left_running() -> None:
    ended: list[str] = []

    async def fails() -> int:
        await asyncio.sleep(0)
        raise NodeUnavailable("away", node="n1", sent=False)

    async def waits() -> int:
        try:
            await asyncio.sleep(3600)
            return 1
        finally:
            ended.append("waits")

    with pytest.raises(NodeUnavailable, match="away"):
        await together([fails(), waits()])
    assert ended == ["waits"]


@pytest.mark.parametrize(
    "answer", ['{"results": [{"id": 1}, {"i', '{"results": [1, "x"]}', '{"results": {"id": 1}}', "[]"]
)
@pytest.mark.parametrize("ask", [Side.keys, Side.count, lambda side: side.documents(["1"])])
async def test_an_answer_that_cannot_be_read_is_the_nodes_trouble(
    httpx_mock: HTTPXMock, ask: Callable[[Side], Awaitable[object]], answer: str
) -> None:
    httpx_mock.add_response(text=answer, headers={"content-type": "application/json"})
    index = Index(uid=IndexUid("books"), incarnation=1, primary_key="id", shards=1, replicas=1)
    async with NodeClient(Node(name=NodeName("n1"), url="http://n1.example:7700"), key=None) as client:
        with pytest.raises(NodeUnavailable, match="node `n1` answered a body of an unknown shape"):
            await ask(Side(client, index, ShardId(0)))
