"""Hybrid searches with `distinct` over three embedded nodes, against one that has everything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from miroir_cli.errors import UsageError
from miroir_cli.model import StoredUid
from miroir_cli.search.reading import SearchOptions
from miroir_cli.search.scatter import search
from tests.oracle.world import UID, World, embedded_nodes, world

TITLES = ("sea of trees", "sea", "land", "the sea and the land", "islands")
DOCUMENTS: list[dict[str, Any]] = [
    {
        "id": key,
        "title": TITLES[key % 5],
        "tags": [f"t{key % 11}", f"t{key * 7 % 13}"] if key % 6 else [],
        "sku": ["", f"S{key % 9}", key % 4, str(key % 4), None][key % 5],
        "color": "red" if key % 3 else "blue",
        **({"_vectors": {"e": [1, key % 17 / 10]}} if key % 8 else {"_vectors": {"e": None}}),
    }
    for key in range(80)
]
SETTINGS: dict[str, Any] = {
    "embedders": {"e": {"source": "userProvided", "dimensions": 2}},
    "filterableAttributes": ["tags", "sku", "color"],
    "searchableAttributes": ["title"],
    "faceting": {"maxValuesPerFacet": 50},
}
HYBRID = {"q": "sea land", "vector": [1, 1.1], "hybrid": {"embedder": "e"}}
REQUESTS: list[dict[str, Any]] = [
    {"distinct": "tags"},
    {"distinct": "tags", "limit": 3, "facets": ["color", "tags"]},
    {"distinct": "tags", "limit": 2, "offset": 1, "attributesToRetrieve": ["title"]},
    {"distinct": "tags", "hitsPerPage": 3, "page": 2},
    {"distinct": "tags", "hitsPerPage": 4, "facets": ["color"]},
    {"distinct": "sku", "limit": 4},
    {"distinct": "sku", "limit": 30, "facets": ["color", "sku"]},
    {"distinct": "sku", "hitsPerPage": 6},
    {"distinct": "color", "limit": 2, "filter": "tags = t3 OR tags = t5"},
    {"distinct": "color", "limit": 1},
    {"distinct": "tags", "limit": 3, "q": "sea -trees"},
    {"distinct": "tags", "limit": 2, "q": "sea", "hybrid": {"embedder": "e", "semanticRatio": 0.01}},
    {"distinct": "tags", "limit": 0},
]


@asynccontextmanager
async def three_nodes(folder: Path, **settings: Any) -> AsyncIterator[World]:
    with embedded_nodes(folder, 4) as urls:
        async with world(folder / "home", urls, documents=DOCUMENTS, settings={**SETTINGS, **settings}) as made:
            yield made


async def test_every_answer_is_that_of_one_node(tmp_path: Path) -> None:
    async with three_nodes(tmp_path) as made:
        for each in REQUESTS:
            request = {**HYBRID, **each}
            expected, found = (
                await made.single.search(StoredUid(UID), request),
                await search(made.cluster, UID, request),
            )
            assert told(found) == told(expected), request


@pytest.mark.parametrize("filterable", [True, False])
async def test_so_it_is_where_the_settings_have_the_attribute(tmp_path: Path, filterable: bool) -> None:
    names = SETTINGS["filterableAttributes"] if filterable else ["color"]
    async with three_nodes(tmp_path, distinctAttribute="tags", filterableAttributes=names) as made:
        for each in ({"limit": 3}, {"limit": 5, "facets": ["color"]}, {"hitsPerPage": 4}, {"limit": 40}):
            request = {**HYBRID, **each}
            expected, found = (
                await made.single.search(StoredUid(UID), request),
                await search(made.cluster, UID, request),
            )
            assert told(found) == told(expected), request


async def test_documents_without_a_vector_are_ranked_as_such_before_values_are_chosen(tmp_path: Path) -> None:
    """Those of an odd key have the words: a node that looks at both takes them before those of their values that have
    none, although their vectors say nothing."""
    documents: list[dict[str, Any]] = [
        *({"id": n, "title": "sea" if n % 2 else "land", "tags": [f"a{n // 2}"], "color": "blue"} for n in range(12)),
        *({"id": 12 + n, "title": "land", "tags": [f"b{n % 6}", f"t{n}"], "color": "red"} for n in range(18)),
        *({"id": 30 + n, "title": "land sea", "tags": [f"u{n}"], "color": "red"} for n in range(30)),
    ]
    for each in documents:
        if each["id"] < 12 and each["id"] % 2:
            each["tags"].append(f"b{each['id'] // 2}")
        each["_vectors"] = {"e": [1, each["id"] / 10] if each["id"] >= 12 else None}
    settings = {**SETTINGS, "rankingRules": ["sort", "words", "typo"], "sortableAttributes": ["color"]}
    near = {"embedder": "e", "semanticRatio": 0.8}
    request = {**HYBRID, "hybrid": near, "distinct": "tags", "sort": ["color:asc"], "facets": ["tags"]}
    with embedded_nodes(tmp_path, 3) as urls:
        async with world(tmp_path / "home", urls, documents=documents, settings=settings) as made:
            for each in ({"q": "sea", "limit": 5}, {"q": "sea", "limit": 9}, {"q": "land sea", "limit": 7}):
                expected = await made.single.search(StoredUid(UID), {**request, **each})
                assert told(await search(made.cluster, UID, {**request, **each})) == told(expected), each


async def test_vectors_alone_count_all_that_a_page_leaves(tmp_path: Path) -> None:
    async with three_nodes(tmp_path) as made:
        request = {**HYBRID, "hybrid": {"embedder": "e", "semanticRatio": 1}, "distinct": "tags", "hitsPerPage": 2}
        assert told(await search(made.cluster, UID, request)) == told(await made.single.search(StoredUid(UID), request))


async def test_what_reaches_a_threshold_is_estimated_and_has_no_facets(tmp_path: Path) -> None:
    near = {"embedder": "e", "semanticRatio": 0.9}
    request = {**HYBRID, "hybrid": near, "distinct": "tags", "rankingScoreThreshold": 0.5, "limit": 3}
    async with three_nodes(tmp_path) as made:
        expected, found = await made.single.search(StoredUid(UID), request), await search(made.cluster, UID, request)
        assert found["hits"] == expected["hits"]
        assert found["estimatedTotalHits"] == expected["estimatedTotalHits"] == 37
        with pytest.raises(UsageError, match="`facets` of `hybrid` with `distinct`"):
            await search(made.cluster, UID, {**request, "facets": ["color"]})


@pytest.mark.parametrize(
    ("page", "total"), [({"limit": 9}, 20), ({"hitsPerPage": 8}, 12), ({"hitsPerPage": 12, "page": 2}, 12)]
)
async def test_the_estimate_is_what_one_node_counts_where_one_ranking_finds_all(
    tmp_path: Path, page: dict[str, int], total: int
) -> None:
    near = {"embedder": "e", "semanticRatio": 0.9}
    request = {**HYBRID, "hybrid": near, "distinct": "tags", "rankingScoreThreshold": 0.99, **page}
    async with three_nodes(tmp_path) as made:
        for found in (await made.single.search(StoredUid(UID), request), await search(made.cluster, UID, request)):
            assert found.get("totalHits", found.get("estimatedTotalHits")) == total


async def test_no_more_documents_are_read_than_allowed(tmp_path: Path) -> None:
    request = {**HYBRID, "distinct": "tags", "hitsPerPage": 2}
    async with three_nodes(tmp_path) as made:
        with pytest.raises(UsageError, match="has to read more than 5 documents"):
            await search(made.cluster, UID, request, options=SearchOptions(most_read=5))


def told(body: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key not in ("processingTimeMs", "requestUid")}
