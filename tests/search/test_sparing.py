"""Nodes are asked for the hits that they are likely to add, and again where they have more: the answer is the same."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from miroir_cli.dev.engine.testing import Engine, running_engine
from miroir_cli.documents.route import shard_of
from miroir_cli.model import NodeName, StoredUid
from miroir_cli.node.features import BELIEVED_FOR, Features
from miroir_cli.search.merge import NodeAnswer, Ranking, cut_short
from miroir_cli.search.scatter import search
from miroir_cli.search.window import enough
from tests.oracle.world import UID, World, world

SHARDS = 6
SETTINGS = {"sortableAttributes": ["rank"], "filterableAttributes": ["rank", "genre"]}
CHANGING = ("processingTimeMs", "requestUid")


@asynccontextmanager
async def filled(
    folder: Path, rank: Callable[[int], int], count: int = 400
) -> AsyncIterator[tuple[World, list[Engine]]]:
    """Three nodes with two shards each, and one with everything; `rank` says how documents are sorted."""
    documents = [{"id": key, "title": "sea", "rank": rank(key), "genre": "ab"[key % 2]} for key in range(count)]
    with ExitStack() as stack:
        engines = [stack.enter_context(running_engine(folder / f"disk{number}")) for number in range(4)]
        urls = [engine.url for engine in engines]
        async with world(folder / "home", urls, documents=documents, settings=SETTINGS, shards=SHARDS) as both:
            yield both, engines[1:]


async def compared(both: World, request: dict[str, Any]) -> dict[str, Any]:
    expected = await both.single.search(StoredUid(UID), request)
    found = await search(both.cluster, UID, request)
    assert {**found, **dict.fromkeys(CHANGING)} == {**expected, **dict.fromkeys(CHANGING)}
    return found


def questions(engines: list[Engine]) -> Callable[[], int]:
    faults = [engine.faults.add("delay", path="/search", count=None) for engine in engines]
    return lambda: sum(fault.hits for fault in faults)


async def test_hits_spread_over_the_nodes_are_asked_for_once(tmp_path: Path) -> None:
    async with filled(tmp_path, lambda key: key * 7919 % 1009) as (both, engines):
        asked = questions(engines)
        await compared(both, {"q": "sea", "sort": ["rank:asc"], "facets": ["genre"]})
        assert asked() == 3
        assert len({len(body["hits"]) for body in await sent(both, {"q": "sea", "sort": ["rank:asc"]})}) == 1


async def sent(both: World, request: dict[str, Any]) -> list[dict[str, Any]]:
    """What the nodes answer to what they are asked first."""
    bodies: list[dict[str, Any]] = []
    for client in both.cluster.fleet.clients.values():
        original = client.search

        async def search_and_note(uid: str, body: Any, *, timeout: Any = None, of: Any = original) -> dict[str, Any]:
            found: dict[str, Any] = await of(uid, body, timeout=timeout)
            bodies.append({"hits": list(found["hits"]), "limit": body.get("limit", body.get("hitsPerPage"))})
            return found

        client.search = search_and_note  # type: ignore[method-assign]
    await search(both.cluster, UID, request)
    assert {body["limit"] for body in bodies} == {enough(20, 1 / 3)} == {13}
    return bodies


@pytest.mark.parametrize("page", [{}, {"limit": 50}, {"offset": 30, "limit": 25}, {"page": 2, "hitsPerPage": 20}])
async def test_hits_that_are_all_on_one_node_are_asked_for_again(tmp_path: Path, page: dict[str, int]) -> None:
    def first_on_one(key: int) -> int:
        return key + (0 if shard_of(str(key), SHARDS) in favoured else 1000)

    favoured = {0}
    async with filled(tmp_path, first_on_one) as (both, engines):
        asked = questions(engines)
        await compared(both, {"q": "sea", "sort": ["rank:asc"], **page})
        assert asked() == 4


async def test_random_requests_are_answered_alike(tmp_path: Path) -> None:
    rng = random.Random(5)
    async with filled(tmp_path, lambda key: key * 31 % 50) as (both, _):
        for _ in range(40):
            await compared(
                both,
                {
                    "q": rng.choice(["", "sea", "se"]),
                    "limit": rng.randint(0, 60),
                    "offset": rng.choice([0, 0, 10, 350]),
                    "sort": rng.choice([[], ["rank:asc"], ["rank:desc"]]),
                    "filter": rng.choice(["rank >= 0", "genre = a", "rank < 3"]),
                },
            )


@pytest.mark.parametrize(
    "request_", [{"showRankingScore": True}, {"rankingScoreThreshold": 0.1}, {"distinct": "genre"}]
)
async def test_where_hits_behind_the_first_ones_matter_all_are_asked_for(
    tmp_path: Path, request_: dict[str, Any]
) -> None:
    async with filled(tmp_path, lambda key: key) as (both, _):
        for client in both.cluster.fleet.clients.values():
            original = client.search

            async def search_in_full(uid: str, body: Any, *, timeout: Any = None, of: Any = original) -> dict[str, Any]:
                assert body.get("limit", 20) in (0, 20) or body["limit"] > 20
                found: dict[str, Any] = await of(uid, body, timeout=timeout)
                return found

            client.search = search_in_full  # type: ignore[method-assign]
        await compared(both, {"q": "sea", **request_})


def test_a_share_of_the_first_hits_is_enough() -> None:
    assert [enough(needed, 1 / 3) for needed in (0, 1, 5, 20, 1000)] == [0, 1, 5, 13, 379]
    assert enough(20, 1.0) == 20
    assert enough(1000, 1 / 2) == 548


def test_the_node_whose_last_hit_is_among_the_first_may_have_more() -> None:
    hits = [{"id": number} for number in range(6)]
    full = NodeAnswer(node=NodeName("a"), shards=(), body={"hits": hits[:3], "estimatedTotalHits": 9})
    whole = NodeAnswer(node=NodeName("b"), shards=(), body={"hits": hits[3:], "estimatedTotalHits": 3})
    assert cut_short([full, whole], Ranking(hits=hits[:3], total=12), 4) == [full]
    assert cut_short([full, whole], Ranking(hits=[*hits[:2], *hits[3:]], total=12), 5) == []
    assert cut_short([full, whole], Ranking(hits=hits[:3], total=12), 3) == []


async def test_a_node_that_may_pin_documents_is_asked_for_all(tmp_path: Path) -> None:
    with running_engine(tmp_path / "disk") as engine:
        from miroir_cli.model import Node
        from miroir_cli.node.client import NodeClient

        now = 0.0
        features = Features(clock=lambda: now)
        async with NodeClient(Node(name=NodeName("a"), url=engine.url)) as client:
            assert not features.pins_nothing(client.name)
            await features.learn(client)
            assert features.pins_nothing(client.name)
            engine.faults.add("refuse", path="/experimental-features")
            await features.learn(client)
            assert features.pins_nothing(client.name)
            now += BELIEVED_FOR
            assert not features.pins_nothing(client.name)
