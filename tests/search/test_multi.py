"""Multi-searches over several nodes: which errors come first, who is asked again, what is missing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from miroir_cli.cluster import Cluster
from miroir_cli.dev.engine.testing import Engine, running_engine
from miroir_cli.errors import MiroirError, NodeRefusal, ReservedField, ShardUnavailable, UsageError
from miroir_cli.indexes.nodes import settings_of
from miroir_cli.node.client import NodeClient
from miroir_cli.search.multi import multi_search
from miroir_cli.search.reading import SearchOptions
from tests.oracle.world import fill, two_sides

BOOKS = {"filterableAttributes": ["genre"], "sortableAttributes": ["pages"]}
BOOK_LIST = [{"id": key, "title": f"sea {key}", "genre": "ab"[key % 2], "pages": key % 7} for key in range(40)]
FILM_LIST = [{"id": key, "title": f"sea film {key}", "genre": "bc"[key % 2]} for key in range(30)]


@dataclass(frozen=True, kw_only=True)
class Nodes:
    cluster: Cluster
    single: NodeClient
    engines: list[Engine]

    async def refusals(self, request: dict[str, Any]) -> tuple[Any, Any]:
        """What one node and the cluster say to a wrong request."""
        with pytest.raises(NodeRefusal) as single:
            await self.single.read("multi-search", request)
        with pytest.raises(NodeRefusal) as cluster:
            await multi_search(self.cluster, request)
        one, other = single.value, cluster.value
        return (one.status, one.node_code, one.message), (other.status, other.node_code, other.message)


@asynccontextmanager
async def nodes(folder: Path, *, replicas: int = 1) -> AsyncIterator[Nodes]:
    """Two indexes; `films` is on one node only."""
    with ExitStack() as stack:
        engines = [stack.enter_context(running_engine(folder / f"disk{number}")) for number in range(4)]
        urls = [engine.url for engine in engines]
        async with two_sides(folder / "home", urls, replicas=replicas) as both:
            await fill(both, "books", documents=BOOK_LIST, settings=BOOKS, plain=True)
            await fill(both, "films", documents=FILM_LIST, settings={"filterableAttributes": ["genre"]}, plain=True)
            yield Nodes(cluster=both.cluster, single=both.single, engines=engines[1:])


def books(**query: Any) -> dict[str, Any]:
    return {"indexUid": "books", **query}


def films(**query: Any) -> dict[str, Any]:
    return {"indexUid": "films", **query}


WRONG: list[dict[str, Any]] = [
    {"queries": [books(), films(unknown=1)]},
    {"queries": [books(filter="title = x"), films(q=5)]},
    {"queries": [books(), books(filter="title = x"), films(filter="y = 1")]},
    {"queries": [books(), {"indexUid": "nothing"}, films(filter="y = 1")]},
    {"queries": [books(federationOptions={})]},
    {"queries": [books()], "more": 1},
    {"queries": {}},
    {"queries": [films(filter="y = 1"), books(filter="title = x")], "federation": {}},
    {"queries": [{"indexUid": "nothing"}, books(filter="title = x")], "federation": {}},
    {"queries": [films(filter="y = 1"), books(limit=5)], "federation": {}},
    {"queries": [films(filter="y = 1"), books(federationOptions={"weight": -1})], "federation": {}},
    {"queries": [films(filter="y = 1")], "federation": {"more": 1}},
    {"queries": [books()], "federation": {"facetsByIndex": {"books": ["title"]}}},
    {"queries": [books(), books(q="sea")], "federation": {"facetsByIndex": {"books": ["title"]}}},
    {"queries": [films(), books()], "federation": {"facetsByIndex": {"films": ["title"]}}},
    {"queries": [books()], "federation": {"facetsByIndex": {"films": ["title"]}}},
    {"queries": [books()], "federation": {"facetsByIndex": {"nothing": []}}},
    {"queries": [books()], "federation": {"distinct": "title"}},
    {"queries": [films(facets=["genre"])], "federation": {}},
]


async def test_a_wrong_request_gets_the_words_of_one_node(tmp_path: Path) -> None:
    async with nodes(tmp_path) as world:
        for request in WRONG:
            single, cluster = await world.refusals(request)
            assert single == cluster, request


async def test_queries_that_cannot_be_compared_are_refused(tmp_path: Path) -> None:
    async with nodes(tmp_path) as world:
        for queries in (
            [books(sort=["pages:asc"]), books(sort=["pages:desc"])],
            [films(q="sea"), books(sort=["pages:desc"])],
        ):
            single, cluster = await world.refusals({"queries": queries, "federation": {}})
            assert single[:2] == cluster[:2]
            assert cluster[2].startswith(single[2])


async def test_queries_with_and_without_words_are_counted_together(tmp_path: Path) -> None:
    async with nodes(tmp_path) as world:
        for queries in (
            [books(q="sea 3"), books(filter="genre = a")],
            [books(q="sea 3"), books(q="4", filter="genre = b"), books(filter=[["genre = a", "genre = c"]])],
            [books(q="3"), books()],
            [books(), books(filter="genre = a"), films()],
        ):
            request = {"queries": queries, "federation": {"limit": 3, "facetsByIndex": {"books": ["genre"]}}}
            single = await world.single.read("multi-search", request)
            cluster = await multi_search(world.cluster, request)
            for body in (single, cluster):
                del body["processingTimeMs"], body["requestUid"]
            assert cluster == single


E = {"embedders": {"e": {"source": "userProvided", "dimensions": 2}}}
NEAR = {"vector": [1, 0.4], "hybrid": {"embedder": "e", "semanticRatio": 1}}
BOTH = {**NEAR, "q": "sea", "hybrid": {"embedder": "e", "semanticRatio": 0.6}}
BY_VECTOR: list[dict[str, Any]] = [
    {"queries": [books(**NEAR), films(q="sea")], "federation": {"limit": 30}},
    {
        "queries": [books(**NEAR, filter="genre = a", retrieveVectors=True), books(q="sea 7")],
        "federation": {"limit": 9},
    },
    {
        "queries": [books(**BOTH), books(q="sea 3"), films(**NEAR)],
        "federation": {"facetsByIndex": {"books": ["genre"]}},
    },
    {"queries": [books(**NEAR, rankingScoreThreshold=0.9), books(q="sea 31")], "federation": {"page": 1}},
    {"queries": [books(**BOTH, filter="genre = b"), books(**NEAR, filter="pages = 3")], "federation": {}},
    {"queries": [books(**{**BOTH, "q": "sea -7"}), books(q="sea 3", filter="genre = b")], "federation": {"limit": 3}},
    {"queries": [films(**BOTH)], "federation": {"facetsByIndex": {"films": ["genre"]}, "mergeFacets": {}}},
    {"queries": [books(q="sea", vector=[1, 0], hybrid={"embedder": "e", "semanticRatio": 0})], "federation": {}},
]


async def test_queries_by_vector_are_merged_and_counted_with_others(tmp_path: Path) -> None:
    with ExitStack() as stack:
        urls = [stack.enter_context(running_engine(tmp_path / f"disk{number}")).url for number in range(4)]
        async with two_sides(tmp_path / "home", urls) as both:
            for uid, documents in (("books", BOOK_LIST), ("films", FILM_LIST)):
                near = [{**each, "_vectors": {"e": [1, place * 7 % 40 / 20]}} for place, each in enumerate(documents)]
                settings = {**BOOKS, **E, "filterableAttributes": ["genre", "pages"]}
                await fill(both, uid, documents=near, settings=settings, plain=True)
            for request in BY_VECTOR:
                expected = await both.single.read("multi-search", request)
                found = await multi_search(both.cluster, request)
                assert list(found) == list(expected)
                apart = {key for key in expected if found[key] != expected[key]}
                assert apart <= {"processingTimeMs", "requestUid"}, request


async def test_several_queries_with_a_distinct_attribute_are_counted_and_have_no_facets(tmp_path: Path) -> None:
    with ExitStack() as stack:
        urls = [stack.enter_context(running_engine(tmp_path / f"disk{number}")).url for number in range(4)]
        async with two_sides(tmp_path / "home", urls) as both:
            settings = {**BOOKS, "filterableAttributes": ["genre", "pages"], "distinctAttribute": "pages"}
            await fill(both, "books", documents=BOOK_LIST, settings=settings, plain=True)
            queries = [books(q="sea"), books(filter="genre = a"), books(q="sea", rankingScoreThreshold=0.2)]
            request = {"queries": queries, "federation": {"limit": 9}}
            expected = await both.single.read("multi-search", request)
            found = await multi_search(both.cluster, request)
            assert found["hits"] == expected["hits"]
            assert found["estimatedTotalHits"] == expected["estimatedTotalHits"] == 10
            facets = {"limit": 9, "facetsByIndex": {"books": ["genre"]}}
            with pytest.raises(UsageError, match="facets of index `books` cannot be merged exactly"):
                await multi_search(both.cluster, {"queries": queries, "federation": facets})
            alone = {"queries": queries[:1], "federation": facets}
            one = await both.single.read("multi-search", alone)
            assert (await multi_search(both.cluster, alone))["facetsByIndex"] == one["facetsByIndex"]


async def test_the_facet_by_which_distinct_values_are_counted_is_not_shown(tmp_path: Path) -> None:
    with ExitStack() as stack:
        urls = [stack.enter_context(running_engine(tmp_path / f"disk{number}")).url for number in range(4)]
        async with two_sides(tmp_path / "home", urls) as both:
            await fill(both, "books", documents=BOOK_LIST, settings=BOOKS, plain=True)
            federation = {"page": 1, "hitsPerPage": 5, "facetsByIndex": {"books": []}, "distinct": "genre"}
            request = {"queries": [books(q="sea 3"), books(filter="genre = a")], "federation": federation}
            found = await multi_search(both.cluster, request)
            assert found["facetsByIndex"] == {"books": {"distribution": {}, "stats": {}}}
            assert found["totalHits"] == 2


async def test_the_order_of_facets_is_looked_at_before_the_facets_are(tmp_path: Path) -> None:
    with ExitStack() as stack:
        urls = [stack.enter_context(running_engine(tmp_path / f"disk{number}")).url for number in range(3)]
        async with two_sides(tmp_path / "home", urls) as both:
            await fill(both, "books", documents=BOOK_LIST, settings=BOOKS, plain=True)
            settings = {"filterableAttributes": ["genre"], "faceting": {"sortFacetValuesBy": {"genre": "count"}}}
            await fill(both, "films", documents=FILM_LIST, settings=settings, plain=True)
            facets = {"books": ["genre"], "films": ["genre", "title"]}
            for queries in ([books(), films()], [books()], [books(), films(q="sea"), films()]):
                with pytest.raises(NodeRefusal, match="Inconsistent order for values in facet `genre`"):
                    await multi_search(
                        both.cluster, {"queries": queries, "federation": {"facetsByIndex": facets, "mergeFacets": {}}}
                    )


async def test_a_dead_node_is_replaced_and_missing_shards_are_named(tmp_path: Path) -> None:
    federated = {"queries": [books(q="sea"), films()], "federation": {"limit": 1000}}
    async with nodes(tmp_path, replicas=2) as world:
        world.engines[0].stop()
        options = SearchOptions(late_after=0.3)
        assert (await multi_search(world.cluster, federated, options=options))["estimatedTotalHits"] == 70
        world.engines[1].stop()
        with pytest.raises(ShardUnavailable, match=r"Inside `\.queries\[0\]`: index `books`: no in-sync replica"):
            await multi_search(world.cluster, federated, options=options)
        allowed = SearchOptions(late_after=0.3, partial="allow")
        body = await multi_search(world.cluster, federated, options=allowed)
        assert body["partial"] is True
        assert set(body["missingShards"]) == {"books", "films"}
        assert 0 < body["estimatedTotalHits"] == len(body["hits"]) < 70


async def test_what_cannot_be_asked_names_the_query(tmp_path: Path) -> None:
    async with nodes(tmp_path) as world:
        federations: list[dict[str, Any]] = [{}, {"federation": {}}]
        for more in federations:
            request: dict[str, Any] = {"queries": [books(), films(filter="_miroir_shard EXISTS")], **more}
            with pytest.raises(ReservedField, match=r"Inside `\.queries\[1\]`: `filter` names"):
                await multi_search(world.cluster, request)
        with pytest.raises(UsageError, match="personalize"):
            request = {"queries": [books()], "federation": {"personalize": {"userContext": "x"}}}
            await multi_search(world.cluster, request)
        with pytest.raises(MiroirError):
            await multi_search(world.cluster, {"queries": None})


async def test_without_queries_the_answer_is_empty(tmp_path: Path) -> None:
    async with nodes(tmp_path) as world:
        assert await multi_search(world.cluster, {"queries": []}) == {"results": []}
        body = await multi_search(world.cluster, {"queries": [], "federation": {"limit": 3}})
        assert (body["hits"], body["limit"], body["estimatedTotalHits"]) == ([], 3, 0)


async def test_a_federation_that_nobody_answered_leaves_no_ranking_rules_behind(tmp_path: Path) -> None:
    """They are known to a process from its first question on; whoever prepares a node later relies on them."""
    async with nodes(tmp_path) as world:
        rules = await settings_of(world.cluster, (await world.cluster.map("books")).index)
        world.cluster.session.pop("default rules")
        with pytest.raises(NodeRefusal):
            await multi_search(world.cluster, {"federation": {}, "queries": [books(sort=["x:asc"])] * 2})
        assert await settings_of(world.cluster, (await world.cluster.map("books")).index) == rules
