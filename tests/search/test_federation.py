"""Lists of several queries become one: order, repetition, shared values, and what a request may say."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from miroir_cli.search.federation import (
    Ranked,
    add_up_facets,
    merge_lists,
    merge_sorted,
    read_federation,
    read_queries,
    spread,
    with_origin,
)
from miroir_cli.search.weights import Score


def a_list(query: int, *entries: tuple[str, float], uid: str = "books", **fields: Any) -> list[Ranked]:
    return [
        Ranked(
            hit={"id": key, **{name: values[key] for name, values in fields.items() if key in values}},
            uid=uid,
            query=query,
            place=query,
            values=[Score(score)],
            score=score,
            identity=key,
        )
        for key, score in entries
    ]


def merged(lists: dict[str, list[list[Ranked]]], *, needed: int = 20, distinct: str | None = None) -> list[Any]:
    hits, _ = merge_lists(lists, dict.fromkeys(lists, needed), distinct=distinct)
    return [(hit.identity, hit.query) for hit in hits]


def test_a_query_by_an_alias_of_several_becomes_one_for_each_index() -> None:
    options = {"weight": 0.5}
    queries = read_queries(
        {
            "queries": [
                {"indexUid": "books", "q": "a"},
                {"indexUid": "all", "q": "b", "federationOptions": options},
                {"indexUid": "films", "q": "c"},
            ]
        }
    )
    assert queries is not None
    asked = read_federation({"facetsByIndex": {"all": ["x"], "books": ["y"]}, "limit": 3}, queries)
    assert asked is not None
    several, federation = spread(queries, asked, {"all": ("books", "films")})
    assert [(query.position, query.place, query.uid, query.request["q"], query.weight) for query in several] == [
        (0, 0, "books", "a", 1.0),
        (1, 1, "books", "b", 0.5),
        (2, 1, "films", "b", 0.5),
        (3, 2, "films", "c", 1.0),
    ]
    assert federation.facets == {"films": ["x"], "books": ["y"]}
    assert spread(queries, asked, {}) == ([replace(each, part_of=each.position) for each in queries], asked)


def test_a_document_keeps_its_best_place() -> None:
    lists = [a_list(0, ("a", 0.9), ("b", 0.5)), a_list(1, ("b", 0.8), ("a", 0.7), ("c", 0.1))]
    assert merged({"books": lists}) == [("a", 0), ("b", 1), ("c", 1)]


def test_the_earlier_query_has_equal_hits() -> None:
    assert merged({"books": [a_list(0, ("a", 0.5)), a_list(1, ("b", 0.5))]}) == [("a", 0), ("b", 1)]
    assert merged({"books": [a_list(1, ("b", 0.5))], "films": [a_list(0, ("a", 0.5))]}) == [("a", 0), ("b", 1)]


def test_documents_of_two_indexes_are_two_even_with_one_key() -> None:
    assert merged({"books": [a_list(0, ("a", 0.5))], "films": [a_list(1, ("a", 0.4))]}) == [("a", 0), ("a", 1)]


def test_an_index_gives_no_more_hits_than_it_may() -> None:
    assert merged({"books": [a_list(0, ("a", 0.5), ("b", 0.4)), a_list(1, ("c", 0.45))]}, needed=2) == [
        ("a", 0),
        ("c", 1),
    ]


def test_a_value_is_shown_once_in_all_indexes() -> None:
    genres = {"a": "Crime", "b": "crime", "c": ["war", "love"], "d": "love", "e": None}
    books = [a_list(0, ("a", 0.9), ("c", 0.6), genre=genres)]
    films = [a_list(1, ("b", 0.8), ("d", 0.5), ("e", 0.4), uid="films", genre=genres)]
    hits, fallen = merge_lists({"books": books, "films": films}, {"books": 9, "films": 9}, distinct="genre")
    assert [hit.identity for hit in hits] == ["a", "c", "e"]
    assert fallen == 2


@pytest.mark.parametrize("seed", range(5))
def test_sorted_lists_merge_to_one_sorted_list(seed: int) -> None:
    rng = random.Random(seed)
    lists = [sorted(rng.randrange(50) for _ in range(rng.randrange(9))) for _ in range(rng.randrange(7))]
    assert list(merge_sorted(lists, lambda one, other: one < other)) == sorted(sum(lists, []))


def test_where_a_hit_comes_from_stands_behind_its_fields() -> None:
    hit = {"id": 1, "_geoDistance": 5, "_formatted": {}, "_rankingScore": 0.5}
    shown = with_origin(hit, a_list(3, ("1", 0.25))[0])
    assert list(shown) == ["id", "_geoDistance", "_federation", "_formatted", "_rankingScore"]
    assert shown["_federation"] == {"indexUid": "books", "queriesPosition": 3, "weightedRankingScore": 0.25}


def test_facets_of_indexes_are_added_up_by_what_is_shown() -> None:
    found = {
        "books": ({"color": {"red": 2, "Blue": 1}, "year": {"10": 1}}, {"year": {"min": 10.0, "max": 10.0}}),
        "films": ({"color": {"blue": 1, "red": 3}, "year": {"9": 4}}, {"year": {"min": 9.0, "max": 9.0}}),
    }
    distribution, stats = add_up_facets(found, {"year": "count"}, max_values=2)
    assert list(distribution["color"].items()) == [("Blue", 1), ("blue", 1)]
    assert list(distribution["year"].items()) == [("9", 4), ("10", 1)]
    assert stats == {"year": {"min": 9.0, "max": 10.0}}


@pytest.mark.parametrize(
    "request_body",
    [
        {},
        {"queries": 5},
        {"queries": [5]},
        {"queries": [{"q": "no index"}]},
        {"queries": [], "more": 1},
        {"queries": [{"indexUid": "books", "federationOptions": {"weight": -1}}]},
        {"queries": [{"indexUid": "books", "federationOptions": {"weight": True}}]},
        {"queries": [{"indexUid": "books", "federationOptions": {"wait": 1}}]},
    ],
)
def test_what_is_no_multi_search_is_left_to_a_node(request_body: dict[str, Any]) -> None:
    assert read_queries(request_body) is None


@pytest.mark.parametrize(
    ("query", "federation"),
    [
        ({"limit": 1}, {}),
        ({"facets": ["color"]}, {}),
        ({"distinct": "color"}, {"distinct": "year"}),
        ({"federationOptions": {"remote": "elsewhere"}}, {}),
        ({}, {"limit": -1}),
        ({}, {"facetsByIndex": {"books": "color"}}),
        ({}, {"mergeFacets": {"most": 1}}),
        ({}, {"unknown": 1}),
        ({}, []),
    ],
)
def test_what_a_federation_cannot_be_asked_is_left_to_a_node(query: dict[str, Any], federation: Any) -> None:
    queries = read_queries({"queries": [{"indexUid": "books", **query}]})
    assert queries is not None
    assert read_federation(federation, queries) is None


def test_a_query_is_asked_for_as_many_hits_as_the_whole_needs() -> None:
    queries = read_queries({"queries": [{"indexUid": "books", "q": "x", "federationOptions": {"weight": 2}}]})
    assert queries is not None
    federation = read_federation({"limit": 5, "offset": 30}, queries)
    assert federation is not None
    few = {"pagination": {"maxTotalHits": 33}}
    assert federation.request(queries[0], {}, facets=None)["limit"] == 35
    assert federation.request(queries[0], few, facets=["color"]) == {
        "q": "x",
        "limit": 33,
        "facets": ["color"],
        "showRankingScore": True,
        "showRankingScoreDetails": True,
    }
