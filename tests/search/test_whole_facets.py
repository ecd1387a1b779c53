"""Facets of more values than a node lists, over embedded nodes that list 1,000."""

from __future__ import annotations

from pathlib import Path

import pytest

from miroir_cli.errors import UsageError
from miroir_cli.search.reading import SearchOptions
from miroir_cli.search.scatter import search
from tests.oracle.world import UID, embedded_nodes, world

SETTINGS = {"filterableAttributes": ["price", "name", "kind"]}


async def test_numbers_in_the_order_of_their_text_on_the_nodes_are_listed_by_value(tmp_path: Path) -> None:
    documents = [{"id": n, "price": n % 2000, "name": f"name {n % 2500:04d}"} for n in range(3200)]
    with embedded_nodes(tmp_path, 3) as urls:
        async with world(tmp_path / "home", urls, documents=documents, settings=SETTINGS) as made:
            body = await search(made.cluster, UID, {"facets": ["price", "name"], "limit": 0})
            assert list(body["facetDistribution"]["price"].items()) == [(str(price), 2) for price in range(100)]
            assert list(body["facetDistribution"]["name"].items()) == [(f"name {n:04d}", 2) for n in range(100)]


async def test_distinct_values_beyond_a_nodes_list_are_counted_shard_by_shard(tmp_path: Path) -> None:
    documents = [{"id": n, "name": f"name {n // 2:04d}"} for n in range(5000)]
    with embedded_nodes(tmp_path, 3) as urls:
        async with world(tmp_path / "home", urls, documents=documents, settings=SETTINGS) as made:
            body = await search(made.cluster, UID, {"distinct": "name", "hitsPerPage": 1})
            assert body["totalHits"] == 2500


async def test_a_shard_with_more_values_than_its_node_lists_is_read_or_refused(tmp_path: Path) -> None:
    documents = [{"id": n, "name": f"name {n // 2:04d}"} for n in range(5000)]
    with embedded_nodes(tmp_path, 3) as urls:
        async with world(tmp_path / "home", urls, documents=documents, settings=SETTINGS, shards=2) as made:
            asked = {"distinct": "name", "hitsPerPage": 1}
            assert (await search(made.cluster, UID, asked))["totalHits"] == 2500
            with pytest.raises(UsageError, match="more than 4,000 documents"):
                await search(made.cluster, UID, asked, options=SearchOptions(most_read=4000))


async def test_facets_that_a_shard_cuts_short_are_refused(tmp_path: Path) -> None:
    documents = [{"id": n, "price": n} for n in range(3600)]
    with embedded_nodes(tmp_path, 3) as urls:
        async with world(tmp_path / "home", urls, documents=documents, settings=SETTINGS, shards=2) as made:
            with pytest.raises(UsageError, match="more than 1,000 values"):
                await search(made.cluster, UID, {"facets": ["price"]})
