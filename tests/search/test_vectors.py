"""Semantic and hybrid search, and similar documents, over embedded nodes: what the oracle does not stage."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from miroir_cli.dev.engine.testing import running_engine
from miroir_cli.errors import NodeRefusal, ReservedField, ShardUnavailable, UsageError
from miroir_cli.model import Node, NodeName, StoredUid
from miroir_cli.search.multi import multi_search
from miroir_cli.search.reading import SearchOptions
from miroir_cli.search.scatter import search
from miroir_cli.search.similar import similar
from tests.oracle.world import UID, World, embedded_nodes, world

SETTINGS = {
    "embedders": {"e": {"source": "userProvided", "dimensions": 2}},
    "filterableAttributes": ["n"],
    "searchableAttributes": ["title"],
}
HYBRID = {"embedder": "e"}
DOCUMENTS = [
    {"id": key, "title": "sea" if key < 4 else "land", "n": key % 3, "_vectors": {"e": [1, key / 10]}}
    for key in range(40)
]


class Embedder(httpx.AsyncBaseTransport):
    """A node's connection on which texts have vectors: it answers what asks for one, and counts how often."""

    asked = 0

    def __init__(self, *, vector: list[float]) -> None:
        self.wire, self.vector = httpx.AsyncHTTPTransport(), vector

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content or b"null")
        if (
            isinstance(body, dict)
            and "hybrid" in body
            and "vector" not in body
            and body["hybrid"].get("semanticRatio") == 1
        ):
            Embedder.asked += 1
            return httpx.Response(200, json={"hits": [], "queryVector": self.vector}, request=request)
        return await self.wire.handle_async_request(request)

    async def aclose(self) -> None:
        await self.wire.aclose()


@asynccontextmanager
async def three_nodes(folder: Path, *, vector: list[float] | None = None, **settings: Any) -> AsyncIterator[World]:
    def transport(_: Node) -> httpx.AsyncBaseTransport:
        assert vector is not None
        return Embedder(vector=vector)

    Embedder.asked = 0
    with ExitStack() as stack:
        urls = [stack.enter_context(running_engine(folder / f"disk{number}")).url for number in range(4)]
        chosen = None if vector is None else transport
        wanted = {**SETTINGS, **settings}
        async with world(folder / "home", urls, documents=DOCUMENTS, settings=wanted, transport=chosen) as made:
            yield made


async def ids(made: World, **request: Any) -> list[int]:
    return [hit["id"] for hit in (await search(made.cluster, UID, request))["hits"]]


@pytest.mark.parametrize("ratio", [1, 0.5])
async def test_one_node_makes_the_vector_and_all_look_for_it(tmp_path: Path, ratio: float) -> None:
    async with three_nodes(tmp_path, vector=[1, 1]) as made:
        hybrid = {**HYBRID, "semanticRatio": ratio}
        found = await search(made.cluster, UID, {"q": "shore", "hybrid": hybrid, "limit": 3, "retrieveVectors": True})
        assert [hit["id"] for hit in found["hits"]] == [10, 11, 9]
        assert (found["queryVector"], found["semanticHitCount"], Embedder.asked) == ([1, 1], 3, 1)


async def test_no_vector_is_made_where_words_are_good_enough(tmp_path: Path) -> None:
    async with three_nodes(tmp_path, vector=[1, 1]) as made:
        found = await search(made.cluster, UID, {"q": "sea", "hybrid": HYBRID, "limit": 4, "retrieveVectors": True})
        assert [hit["id"] for hit in found["hits"]] == [0, 1, 2, 3]
        assert (found["semanticHitCount"], "queryVector" in found, Embedder.asked) == (0, False, 0)
        assert found["estimatedTotalHits"] == 4


async def test_the_decision_is_one_over_all_nodes(tmp_path: Path) -> None:
    """Five good hits by words are wanted, of which no node has more than four."""
    async with three_nodes(tmp_path) as made:
        request = {"q": "sea", "vector": [1, 3.9], "hybrid": HYBRID, "limit": 5}
        expected = await made.single.search(StoredUid(UID), request)
        found = await search(made.cluster, UID, request)
        assert [hit["id"] for hit in found["hits"]] == [hit["id"] for hit in expected["hits"]]
        assert found["semanticHitCount"] == expected["semanticHitCount"] > 0
        assert list(found) == list(expected)


async def test_a_text_that_cannot_be_embedded_is_searched_by_its_words(tmp_path: Path) -> None:
    async with three_nodes(tmp_path) as made:
        found = await search(made.cluster, UID, {"q": "sea", "hybrid": HYBRID})
        assert ([hit["id"] for hit in found["hits"]], found["semanticHitCount"]) == ([0, 1, 2, 3], 0)
        with pytest.raises(NodeRefusal, match="embeddings must be user provided") as raised:
            await search(made.cluster, UID, {"q": "sea", "hybrid": {**HYBRID, "semanticRatio": 1}})
        assert raised.value.node_code == "vector_embedding_error"


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"q": "sea", "vector": [1], "hybrid": HYBRID, "limit": 1}, "invalid_vector_dimensions"),
        ({"q": "sea", "vector": [1], "hybrid": HYBRID}, "invalid_vector_dimensions"),
        ({"q": "sea", "hybrid": {"embedder": "x"}, "limit": 1}, "invalid_search_embedder"),
        ({"vector": [1, 0], "hybrid": {"embedder": "x"}}, "invalid_search_embedder"),
        ({"vector": [1, 0]}, "missing_search_hybrid"),
        ({"q": "sea", "hybrid": {**HYBRID, "semanticRatio": 7}}, "invalid_search_semantic_ratio"),
        ({"q": "sea", "vector": [1, 0], "hybrid": HYBRID, "filter": "title = x"}, "invalid_search_filter"),
    ],
)
async def test_refusals_are_in_a_nodes_words(tmp_path: Path, request_: dict[str, Any], code: str) -> None:
    """Also where the words alone would have been good enough."""
    async with three_nodes(tmp_path) as made:
        with pytest.raises(NodeRefusal) as raised:
            await search(made.cluster, UID, request_)
        assert raised.value.node_code == code


async def test_without_a_rule_about_relevancy_several_nodes_cannot_be_merged(tmp_path: Path) -> None:
    async with three_nodes(tmp_path, rankingRules=["sort", "n:asc"]) as made:
        with pytest.raises(UsageError, match="without a rule about relevancy"):
            await search(made.cluster, UID, {"q": "sea", "vector": [1, 0], "hybrid": HYBRID})


async def test_one_node_with_all_shards_answers_what_several_cannot(tmp_path: Path) -> None:
    request = {"q": "sea", "vector": [1, 3.9], "hybrid": HYBRID, "showRankingScore": True}
    settings = {**SETTINGS, "rankingRules": ["sort", "n:asc"]}
    with running_engine(tmp_path / "one") as one, running_engine(tmp_path / "other") as other:
        async with world(tmp_path / "home", [one.url, other.url], documents=DOCUMENTS, settings=settings) as made:
            expected = await made.single.search(StoredUid(UID), request)
            found = await search(made.cluster, UID, request)
            assert found["hits"] == expected["hits"]
            assert found["estimatedTotalHits"] == expected["estimatedTotalHits"]


async def test_shards_that_nobody_answers_for_are_left_out_of_both_rankings(tmp_path: Path) -> None:
    async with three_nodes(tmp_path) as made:
        request = {"q": "sea", "vector": [1, 3.9], "hybrid": HYBRID, "limit": 40}
        await made.cluster.fleet[NodeName("n2")].write("DELETE", f"indexes/{UID}")
        with pytest.raises(ShardUnavailable):
            await search(made.cluster, UID, request)
        found = await search(made.cluster, UID, request, options=SearchOptions(partial="allow"))
        assert found["partial"] is True
        assert 0 < len(found["hits"]) == found["estimatedTotalHits"] < 40


@pytest.mark.parametrize(("displayed", "shown"), [(["title"], True), (["title", "_vectors"], False)])
async def test_vectors_are_displayed_as_on_one_node(tmp_path: Path, displayed: list[str], shown: bool) -> None:
    async with three_nodes(tmp_path, displayedAttributes=displayed) as made:
        found = await search(made.cluster, UID, {"retrieveVectors": True, "limit": 40})
        assert {"_vectors" in hit for hit in found["hits"]} == {shown}
        expected = await made.single.search(StoredUid(UID), {"retrieveVectors": True, "limit": 40})
        assert found["hits"] == expected["hits"]


async def test_similar_documents_come_from_all_nodes(tmp_path: Path) -> None:
    async with three_nodes(tmp_path) as made:
        for request in (
            {"id": 10, "embedder": "e", "limit": 5, "showRankingScore": True},
            {"id": "10", "embedder": "e", "filter": "n = 0", "retrieveVectors": True},
            {"id": 10, "embedder": "e", "filter": "n = 1", "rankingScoreThreshold": 0.95, "offset": 2},
        ):
            expected = await made.single.similar(StoredUid(UID), request)
            found = await similar(made.cluster, UID, request)
            assert list(found) == list(expected)
            assert {**found, "processingTimeMs": 0} == {**expected, "processingTimeMs": 0}


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"id": 999, "embedder": "e"}, "not_found_similar_id"),
        ({"id": 1, "embedder": "x"}, "invalid_similar_embedder"),
        ({"id": "a b", "embedder": "e"}, "invalid_similar_id"),
        ({"id": 1, "embedder": "e", "filter": "title = x"}, "invalid_similar_filter"),
        ({"id": 1, "embedder": "e", "filter": "n ="}, "invalid_similar_filter"),
        ({"id": 1, "embedder": "e", "attributesToRetrieve": 5}, "invalid_similar_attributes_to_retrieve"),
        ({"id": 1, "embedder": "e", "limit": -1}, "invalid_similar_limit"),
        ({"embedder": "e"}, "bad_request"),
    ],
)
async def test_refusals_of_similar_are_in_a_nodes_words(tmp_path: Path, request_: dict[str, Any], code: str) -> None:
    async with three_nodes(tmp_path) as made:
        with pytest.raises(NodeRefusal) as raised:
            await similar(made.cluster, UID, request_)
        assert raised.value.node_code == code
        assert "_miroir" not in raised.value.message


async def test_similar_documents_are_not_left_out_for_a_distinct_attribute_nor_for_the_most_hits(
    tmp_path: Path,
) -> None:
    request = {"id": 10, "embedder": "e", "limit": 12, "offset": 3}
    async with three_nodes(tmp_path, distinctAttribute="n", pagination={"maxTotalHits": 5}) as made:
        expected, found = await made.single.similar(StoredUid(UID), request), await similar(made.cluster, UID, request)
        assert len(found["hits"]) == 12
        assert {**found, "processingTimeMs": 0} == {**expected, "processingTimeMs": 0}


PAGES: list[tuple[dict[str, int], int]] = [
    ({"page": 1, "hitsPerPage": 2}, 0),
    ({"page": 2, "hitsPerPage": 2}, 0),
    ({"page": 3, "hitsPerPage": 2}, 20),
    ({"page": 1, "hitsPerPage": 9}, 20),
    ({"page": 9, "hitsPerPage": 9}, 20),
]
"""Pages, and how many documents they count if not only those that reach the threshold."""


async def test_a_page_that_reaches_the_most_hits_counts_what_does_not_reach_the_threshold(tmp_path: Path) -> None:
    """`maxTotalHits` is 5; by words 6 of 20 documents reach the threshold, by vector 8, by either one 8."""
    titles = ["sea island"] * 6 + ["sea"] * 14
    documents = [{**each, "title": title} for each, title in zip(DOCUMENTS, titles, strict=False)]
    words: dict[str, Any] = {"q": "sea island", "rankingScoreThreshold": 0.9}
    near: dict[str, Any] = {"vector": [1, 0], "rankingScoreThreshold": 0.9}
    searches: list[tuple[dict[str, Any], int]] = [
        (words, 6),
        ({**near, "hybrid": {**HYBRID, "semanticRatio": 1}}, 8),
        ({**near, **words, "hybrid": {**HYBRID, "semanticRatio": 0.9}}, 8),
    ]
    settings = {**SETTINGS, "pagination": {"maxTotalHits": 5}}
    with embedded_nodes(tmp_path, 4) as urls:
        async with world(tmp_path / "home", urls, documents=documents, settings=settings) as made:
            for request, above in searches:
                for page, every in PAGES:
                    asked = {**request, **page, "facets": ["n"]}
                    expected, found = (
                        await made.single.search(StoredUid(UID), asked),
                        await search(made.cluster, UID, asked),
                    )
                    assert found["totalHits"] == expected["totalHits"] == (every or above), asked
                    assert found["hits"] == expected["hits"]
                    assert found["facetDistribution"] == expected["facetDistribution"]
                    assert sum(found["facetDistribution"]["n"].values()) == (every or above)
            for page, every in PAGES[:4]:
                queries = [{"indexUid": UID, **words}, {"indexUid": UID, "q": "sea", "filter": "n = 1"}]
                body = {"queries": queries, "federation": page}
                assert (await multi_search(made.cluster, body))["totalHits"] == (every or 11)
                assert (await made.single.read("multi-search", body))["totalHits"] == (every or 11)


async def test_names_of_miroirs_own_are_refused_here_too(tmp_path: Path) -> None:
    async with three_nodes(tmp_path) as made:
        with pytest.raises(ReservedField):
            await similar(made.cluster, UID, {"id": 1, "embedder": "e", "filter": "_miroir_shard EXISTS"})
