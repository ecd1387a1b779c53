"""`distinct` over three embedded nodes, whose shards the documents fall into as their keys hash."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from miroir_cli.cluster import Cluster
from miroir_cli.errors import UsageError
from miroir_cli.search.reading import SearchOptions
from miroir_cli.search.scatter import search
from tests.oracle.world import UID, embedded_nodes, world

FILTERABLE = {"filterableAttributes": ["tags", "color", "sku"]}


@asynccontextmanager
async def cluster_with(folder: Path, documents: Sequence[Any], **settings: Any) -> AsyncIterator[Cluster]:
    with embedded_nodes(folder, 4) as urls:
        async with world(folder / "home", urls, documents=documents, settings=settings) as made:
            yield made.cluster


async def answered(cluster: Cluster, **request: Any) -> tuple[list[int], int]:
    body = await search(cluster, UID, request)
    total = body["estimatedTotalHits"] if "limit" in body else body["totalHits"]
    return [hit["id"] for hit in body["hits"]], total


@pytest.fixture
def chain() -> list[dict[str, Any]]:
    """Each document shares a tag with the next: of a whole, every other one stays."""
    return [{"id": n, "tags": [f"t{n}", f"t{n + 1}"], "color": "red" if n % 3 else "blue"} for n in range(24)]


async def test_documents_of_several_values_are_chosen_as_by_one_node(tmp_path: Path, chain: Any) -> None:
    async with cluster_with(tmp_path, chain, **FILTERABLE) as cluster:
        assert await answered(cluster, distinct="tags") == (list(range(0, 24, 2)), 12)
        assert await answered(cluster, distinct="tags", limit=3) == ([0, 2, 4], 3 + 18)
        assert await answered(cluster, distinct="tags", page=2, hitsPerPage=5) == ([10, 12, 14, 16, 18], 12)


async def test_facets_count_one_document_of_each_value_up_to_the_page_and_all_after_it(
    tmp_path: Path, chain: Any
) -> None:
    async with cluster_with(tmp_path, chain, distinctAttribute="tags", **FILTERABLE) as cluster:
        first = await search(cluster, UID, {"limit": 2, "facets": ["color"]})
        assert first["facetDistribution"] == {"color": {"blue": 7, "red": 15}}  # not 1 and 3, which 0 and 2 exclude
        assert first["estimatedTotalHits"] == 22
        whole = await search(cluster, UID, {"hitsPerPage": 2, "facets": ["color"]})
        assert (whole["facetDistribution"], whole["totalHits"]) == ({"color": {"blue": 4, "red": 8}}, 12)


async def test_a_distinct_attribute_that_is_not_displayed_is_read_from_the_documents(tmp_path: Path) -> None:
    documents = [{"id": n, "sku": f"S{n % 5}".upper() if n % 2 else f"s{n % 5}", "color": "red"} for n in range(20)]
    async with cluster_with(tmp_path, documents, displayedAttributes=["color"], **FILTERABLE) as cluster:
        body = await search(cluster, UID, {"distinct": "sku", "limit": 3, "facets": ["sku", "color"]})
        assert body["hits"] == [{"color": "red"}] * 3
        assert body["estimatedTotalHits"] == 3 + 8
        assert {key.lower(): count for key, count in body["facetDistribution"]["sku"].items()} == {
            "s0": 1,
            "s1": 1,
            "s2": 1,
            "s3": 4,
            "s4": 4,
        }
        assert body["facetDistribution"]["color"] == {"red": 11}


async def test_a_number_and_the_text_of_its_digits_are_two_values(tmp_path: Path) -> None:
    documents = [{"id": n, "sku": n % 4 if n % 2 else str((n + 1) % 4)} for n in range(16)]
    async with cluster_with(tmp_path, documents, **FILTERABLE) as cluster:
        assert await answered(cluster, distinct="sku") == ([0, 1, 2, 3], 4)
        assert await answered(cluster, distinct="sku", limit=1) == ([0], 16 - 3)
        assert await answered(cluster, distinct="sku", limit=2) == ([0, 1], 16 - 6)


async def test_a_threshold_counts_what_is_left_above_it(tmp_path: Path) -> None:
    documents = [{"id": n, "title": "sea" if n % 2 else "sea of trees", "sku": f"s{n % 6}"} for n in range(24)]
    async with cluster_with(tmp_path, documents, searchableAttributes=["title"], **FILTERABLE) as cluster:
        request = {"q": "sea", "distinct": "sku", "rankingScoreThreshold": 0.99}
        assert await answered(cluster, **request) == ([1, 3, 5], 3)
        assert await answered(cluster, **request, limit=2) == ([1, 3], 2 + 16)
        assert await answered(cluster, **request, hitsPerPage=2) == ([1, 3], 3)


async def test_what_needs_too_many_documents_is_refused(tmp_path: Path, chain: Any) -> None:
    async with cluster_with(tmp_path, chain, **FILTERABLE) as cluster:
        few = SearchOptions(most_read=10)
        with pytest.raises(UsageError, match="read more than 10 documents"):
            await search(cluster, UID, {"distinct": "tags", "limit": 8}, options=few)
        with pytest.raises(UsageError, match="read more than 10 documents"):
            await search(cluster, UID, {"distinct": "color", "page": 1, "facets": ["color"]}, options=few)
        body = await search(cluster, UID, {"distinct": "color", "page": 1}, options=few)
        assert body["totalHits"] == 2
