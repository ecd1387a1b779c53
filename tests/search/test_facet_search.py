"""Facet search: what the nodes find, added up; and over embedded nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from miroir_cli.errors import NodeRefusal, ReservedField, UsageError
from miroir_cli.model import StoredUid
from miroir_cli.search.facet_search import facet_search, merge_hits
from tests.oracle.world import UID, embedded_nodes, world


def hits(**counts: int) -> list[dict[str, Any]]:
    return [{"value": value, "count": count} for value, count in counts.items()]


def test_counts_of_one_value_add_up_however_it_is_spelled() -> None:
    found = merge_hits([hits(Red=2, rose=1), hits(red=3, Rust=1)], "alpha", typed=False, most=100)
    assert found == hits(Red=5, rose=1, Rust=1)


def test_with_a_query_accents_do_not_count_for_the_order() -> None:
    parts = [hits(été=1, etna=1), hits(etude=1)]
    assert [hit["value"] for hit in merge_hits(parts, "alpha", typed=True, most=9)] == ["été", "etna", "etude"]
    assert [hit["value"] for hit in merge_hits(parts, "alpha", typed=False, most=9)] == ["etna", "etude", "été"]


def test_by_count_the_most_frequent_come_first_and_equal_ones_go_down() -> None:
    parts = [hits(a=2, b=1, c=1), hits(a=1, d=3)]
    assert merge_hits(parts, "count", typed=True, most=100) == hits(d=3, a=3, c=1, b=1)


def test_at_the_end_of_a_full_list_a_later_value_of_the_same_count_stays() -> None:
    assert merge_hits([hits(a=1, b=1, c=1, d=1)], "count", typed=True, most=2) == hits(d=1, c=1)
    assert merge_hits([hits(a=1)], "count", typed=True, most=0) == []


SETTINGS = {"filterableAttributes": ["genre", "sku"], "faceting": {"maxValuesPerFacet": 3}}
GENRES = ("Horror", "horror", "History", "Humour", "Sea")
TITLES = ("sea of trees", "sea")
DOCUMENTS = [{"id": n, "genre": GENRES[n % 5], "title": TITLES[n % 2]} for n in range(40)]


async def test_values_are_found_by_their_beginning(tmp_path: Path) -> None:
    with embedded_nodes(tmp_path, 4) as urls:
        async with world(tmp_path / "home", urls, documents=DOCUMENTS, settings=SETTINGS) as made:
            found = await facet_search(made.cluster, UID, {"facetName": "genre", "facetQuery": "h", "unknown": 1})
            assert list(found) == ["facetHits", "facetQuery", "processingTimeMs"]
            assert [(hit["value"].lower(), hit["count"]) for hit in found["facetHits"]] == [
                ("history", 8),
                ("horror", 16),
                ("humour", 8),
            ]
            typo = await facet_search(made.cluster, UID, {"facetName": "genre", "facetQuery": "hirror"})
            assert [hit["count"] for hit in typo["facetHits"]] == [16]


async def test_below_a_threshold_counts_what_one_node_counts(tmp_path: Path) -> None:
    request = {"facetName": "genre", "q": "sea", "rankingScoreThreshold": 0.99}
    settings = {**SETTINGS, "searchableAttributes": ["title"]}
    with embedded_nodes(tmp_path, 4) as urls:
        async with world(tmp_path / "home", urls, documents=DOCUMENTS, settings=settings) as made:
            found = await facet_search(made.cluster, UID, request)  # 20 hits above it: a page, so all 40 count
            assert sum(hit["count"] for hit in found["facetHits"]) == 32
            few = await facet_search(made.cluster, UID, {**request, "filter": "genre != Sea"})  # 16: only these
            assert sum(hit["count"] for hit in few["facetHits"]) == 16


async def test_what_cannot_be_asked_is_refused(tmp_path: Path) -> None:
    with embedded_nodes(tmp_path, 4) as urls:
        async with world(
            tmp_path / "home", urls, documents=DOCUMENTS, settings={**SETTINGS, "distinctAttribute": "sku"}
        ) as made:
            with pytest.raises(ReservedField):
                await facet_search(made.cluster, UID, {"facetName": "_miroir_shard"})
            with pytest.raises(NodeRefusal, match="facetName"):
                await facet_search(made.cluster, UID, {"facetQuery": "a"})


VARIED = [{"id": n, "sku": f"s{n % 4}", "genre": [f"genre {n % 30}", n % 5], "title": TITLES[n % 2]} for n in range(90)]
"""Of each sku there are many genres, which a node leaves out for that of its first document."""


async def test_with_a_distinct_attribute_one_document_of_each_value_counts(tmp_path: Path) -> None:
    settings = {"filterableAttributes": ["genre", "sku"], "distinctAttribute": "sku"}
    requests: list[dict[str, Any]] = [
        {"facetName": "genre"},
        {"facetName": "genre", "facetQuery": "genre 2"},
        {"facetName": "genre", "facetQuery": "gnere"},
        {"facetName": "genre", "facetQuery": "genre", "q": "trees", "filter": "sku != s1"},
        {"facetName": "genre", "facetQuery": "", "exhaustiveFacetCount": True},
        {"facetName": "genre", "facetQuery": "x"},
        {"facetName": "genre", "q": "sea", "rankingScoreThreshold": 0.99},
        {"facetName": "sku", "facetQuery": "S"},
    ]
    with embedded_nodes(tmp_path, 4) as urls:
        async with world(tmp_path / "home", urls, documents=VARIED, settings=settings) as made:
            for request in requests:
                found, expected = (
                    await facet_search(made.cluster, UID, request),
                    await made.single.facet_search(StoredUid(UID), request),
                )
                assert {**found, "processingTimeMs": 0} == {**expected, "processingTimeMs": 0}, request


async def test_values_of_which_a_node_shows_one_at_a_time_are_not_searched_among(tmp_path: Path) -> None:
    """The whole has twenty hits of other skus, so that all of the last one count. No node has."""
    documents = [{"id": n, "sku": f"s{n}", "genre": "first"} for n in range(20)]
    documents += [{"id": n, "sku": "last", "genre": f"genre {n}"} for n in range(20, 220)]
    settings = {
        "filterableAttributes": ["genre", "sku"], "distinctAttribute": "sku", "faceting": {"maxValuesPerFacet": 300}
    }  # fmt: skip
    with embedded_nodes(tmp_path, 4) as urls:
        async with world(tmp_path / "home", urls, documents=documents, settings=settings) as made:
            found = await facet_search(made.cluster, UID, {"facetName": "genre"})
            assert len(found["facetHits"]) == 201
            with pytest.raises(UsageError, match="too many values of `genre`"):
                await facet_search(made.cluster, UID, {"facetName": "genre", "facetQuery": "g"})


async def test_refusals_are_in_a_nodes_own_words(tmp_path: Path) -> None:
    with embedded_nodes(tmp_path, 4) as urls:
        async with world(tmp_path / "home", urls, documents=DOCUMENTS, settings=SETTINGS) as made:
            for request in ({"facetName": "title"}, {"facetName": "genre", "facetQuery": 4}):
                with pytest.raises(NodeRefusal) as caught:
                    await facet_search(made.cluster, UID, request)
                with pytest.raises(NodeRefusal) as expected:
                    await made.single.facet_search(StoredUid(UID), request)
                assert (caught.value.message, caught.value.node_code) == (
                    expected.value.message,
                    expected.value.node_code,
                )
