"""Documents themselves, over embedded nodes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from miroir_cli.cluster import Cluster
from miroir_cli.errors import NodeRefusal, ReservedField
from miroir_cli.model import StoredUid
from miroir_cli.search.browse import browse, key_order
from tests.oracle.world import UID, World, embedded_nodes, world

DOCUMENTS: list[dict[str, Any]] = [
    {"id": key, "title": f"Book {key}", "pages": key % 5, "meta": {"shelf": f"s{key % 3}"}} for key in range(60)
]
SETTINGS = {"filterableAttributes": ["pages"], "sortableAttributes": ["pages"], "displayedAttributes": ["title"]}


@asynccontextmanager
async def nodes(folder: Path, documents: Any = DOCUMENTS, **settings: Any) -> AsyncIterator[World]:
    with embedded_nodes(folder, 4) as urls:
        async with world(folder / "home", urls, documents=documents, settings={**SETTINGS, **settings}) as made:
            yield made


async def ids(cluster: Cluster, **request: Any) -> list[Any]:
    return [document["id"] for document in (await browse(cluster, UID, request))["results"]]


async def test_documents_come_in_the_order_of_their_keys_with_fields_that_are_not_displayed(tmp_path: Path) -> None:
    async with nodes(tmp_path) as made:
        assert await browse(made.cluster, UID, {"offset": 7, "limit": 2}) == {
            "results": DOCUMENTS[7:9],
            "offset": 7,
            "limit": 2,
            "total": 60,
        }
        assert await ids(made.cluster, limit=1000, filter="pages = 2") == list(range(2, 60, 5))
        for limit in (2000, 2**31, 2**64 - 1):
            assert await ids(made.cluster, limit=limit) == list(range(60))
            assert len(await ids(made.cluster, limit=limit, sort=["pages:desc"])) == 60
        assert await ids(made.cluster, ids=[41, "3", 99, 3]) == [3, 41]


async def test_custom_ranking_rules_and_distinct_do_not_matter(tmp_path: Path) -> None:
    async with nodes(tmp_path, rankingRules=["words", "pages:desc"], distinctAttribute="pages") as made:
        assert await ids(made.cluster, limit=5) == [0, 1, 2, 3, 4]
    async with nodes(tmp_path / "other", distinctAttribute="pages") as made:
        assert await ids(made.cluster, limit=5) == [0, 1, 2, 3, 4]


async def test_sorted_documents_of_equal_values_come_by_their_keys(tmp_path: Path) -> None:
    async with nodes(tmp_path) as made:
        whole = await ids(made.cluster, sort=["pages:desc"], limit=60)
        assert whole == sorted(range(60), key=lambda key: (-(key % 5), key))
        for offset in range(0, 60, 7):
            assert await ids(made.cluster, sort=["pages:desc"], limit=7, offset=offset) == whole[offset : offset + 7]


async def test_places_are_sorted_by_distance(tmp_path: Path) -> None:
    documents = [{"id": key, "_geo": {"lat": 48 + (key * 7 % 10) / 100, "lng": 2}} for key in range(10)]
    async with nodes(tmp_path, documents, sortableAttributes=["_geo"]) as made:
        request = {"sort": ["_geoPoint(48, 2):asc"], "limit": 10}
        expected = await made.single.fetch_documents(StoredUid(UID), request)
        assert await browse(made.cluster, UID, request) == expected
        assert [document["id"] for document in expected["results"]] == [0, 3, 6, 9, 2, 5, 8, 1, 4, 7]


async def test_fields_are_cut_and_the_key_is_not_added(tmp_path: Path) -> None:
    async with nodes(tmp_path) as made:
        found = await browse(made.cluster, UID, {"fields": ["meta.shelf"], "limit": 2})
        assert found["results"] == [{"meta": {"shelf": "s0"}}, {"meta": {"shelf": "s1"}}]
        found = await browse(made.cluster, UID, {"fields": ["*"], "limit": 1})
        assert found["results"] == [{}]


async def test_refusals_are_in_a_nodes_own_words(tmp_path: Path) -> None:
    async with nodes(tmp_path) as made:
        wrong: list[dict[str, Any]] = [
            {"filter": "title = a"},
            {"sort": ["title:asc"]},
            {"sort": ["pages"]},
            {"ids": 1},
        ]
        for request in wrong:
            with pytest.raises(NodeRefusal) as caught:
                await browse(made.cluster, UID, request)
            with pytest.raises(NodeRefusal) as expected:
                await made.single.fetch_documents(StoredUid(UID), request)
            assert (caught.value.message, caught.value.node_code) == (expected.value.message, expected.value.node_code)
        with pytest.raises(ReservedField):
            await browse(made.cluster, UID, {"fields": ["_miroir_shard"]})


def test_keys_are_ordered_as_in_searches() -> None:
    assert sorted(["b", 10, "A", 9, "a"], key=key_order) == [9, 10, "A", "a", "b"]
