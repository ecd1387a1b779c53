"""Many nodes at once: an error of one is its own result."""

from __future__ import annotations

import pytest

from miroir_cli.errors import NodeUnavailable
from miroir_cli.model import Node, NodeName
from miroir_cli.node.client import NodeClient
from miroir_cli.node.fleet import Fleet

A, B, C = NodeName("a"), NodeName("b"), NodeName("c")


def fleet() -> Fleet:
    return Fleet(NodeClient(Node(name=name, url=f"http://{name}.test")) for name in (A, B, C))


async def answer(client: NodeClient) -> str:
    if client.name == B:
        raise NodeUnavailable("node `b` is away", node=B, sent=False)
    return f"from {client.name}"


async def test_each_gives_an_answer_or_an_error_for_every_node() -> None:
    found = await fleet().each(answer)
    assert found[A] == "from a" and found[C] == "from c"
    assert isinstance(found[B], NodeUnavailable)


async def test_only_the_named_nodes_are_asked() -> None:
    assert set(await fleet().each(answer, names=[C])) == {C}


async def test_all_raises_the_first_error() -> None:
    with pytest.raises(NodeUnavailable, match="away"):
        await fleet().all(answer)
    assert await fleet().all(answer, names=[A, C]) == {A: "from a", C: "from c"}


def test_a_fleet_knows_its_nodes() -> None:
    assert list(fleet()) == [A, B, C]
    assert A in fleet() and "z" not in fleet()
    assert fleet()[C].name == C
