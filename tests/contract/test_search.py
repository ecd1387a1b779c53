"""Search answers around the ranking: pages, facets, sorting, places, marks, errors."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.corpus import BASE, DOCUMENTS
from tests.contract.server import Index, Server, refusal


@pytest.fixture(scope="module")
def corpus(server: Server) -> Index:
    return server.index(DOCUMENTS, BASE)


@pytest.mark.parametrize(
    ("body", "count", "window"),
    [
        ({}, 20, {"limit": 20, "offset": 0, "estimatedTotalHits": 20}),
        ({"limit": 2, "offset": 3}, 2, {"limit": 2, "offset": 3, "estimatedTotalHits": 20}),
        ({"limit": 0}, 0, {"limit": 0, "offset": 0, "estimatedTotalHits": 20}),
        ({"offset": 100}, 0, {"limit": 20, "offset": 100, "estimatedTotalHits": 20}),
        ({"page": 1}, 20, {"page": 1, "hitsPerPage": 20, "totalPages": 1, "totalHits": 20}),
        ({"page": 2, "hitsPerPage": 3}, 3, {"page": 2, "hitsPerPage": 3, "totalPages": 7, "totalHits": 20}),
        ({"page": 0}, 0, {"page": 0, "hitsPerPage": 20, "totalPages": 1, "totalHits": 20}),
        ({"hitsPerPage": 0}, 0, {"page": 1, "hitsPerPage": 0, "totalPages": 0, "totalHits": 20}),
        ({"page": 99}, 0, {"page": 99, "hitsPerPage": 20, "totalPages": 1, "totalHits": 20}),
    ],
)
def test_pages_and_totals(corpus: Index, body: Any, count: int, window: dict[str, int]) -> None:
    answer = corpus.search(**body)
    assert len(answer.pop("hits")) == count
    assert set(answer) - set(window) == {"query", "processingTimeMs", "requestUid"}
    assert window.items() <= answer.items()


def test_max_total_hits_bounds_the_hits_and_not_the_total(server: Server) -> None:
    index = server.index([{"id": n} for n in range(10)], {"pagination": {"maxTotalHits": 4}})
    answer = index.search(limit=20)
    assert (len(answer["hits"]), answer["estimatedTotalHits"]) == (4, 10)
    assert [hit["id"] for hit in index.search(offset=3)["hits"]] == [3]


def test_texts_without_a_character_are_one_value_among_the_hits_of_a_distinct_that_was_asked_for(
    server: Server,
) -> None:
    documents: list[dict[str, Any]] = [{"id": n, "kind": ["", "a", " ", "", None, "A", "", []][n]} for n in range(8)]
    settings = {"filterableAttributes": ["kind"], "rankingRules": ["id:asc"]}
    index = server.index(documents, settings)
    answer = index.search(distinct="kind", facets=["kind"])
    assert [hit["id"] for hit in answer["hits"]] == [0, 1, 4, 7]
    assert (answer["estimatedTotalHits"], answer["facetDistribution"]) == (4, {"kind": {"a": 1}})
    first = index.search(distinct="kind", limit=3)
    assert ([hit["id"] for hit in first["hits"]], first["estimatedTotalHits"]) == ([0, 1], 6)
    index.succeed("PATCH", "/settings", {"distinctAttribute": "kind"})
    by_default = index.search()
    assert [hit["id"] for hit in by_default["hits"]] == [0, 1, 2, 3, 4, 6, 7]


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        (["year:asc"], [19, 20, 12, 17, 18, 14, 15, 16, 1, 5, 3, 4, 7, 2, 6, 9, 10, 8, 11, 13]),
        (["year:desc"], [9, 10, 6, 2, 3, 4, 7, 1, 5, 16, 15, 14, 18, 17, 12, 20, 19, 8, 11, 13]),
        (["price:asc", "year:desc"], [4, 10, 1, 3, 9, 6, 2, 7, 5, 16, 15, 14, 18, 17, 12, 20, 19, 8, 11, 13]),
        (["_geoPoint(48.85,2.35):asc", "year:asc"], [1, 3, 6, 19, 20, 12, 17, 18, 14, 15, 16, 5, 4, 7, 2, 9, 10, 8]),
        (["_geoPoint(48.85,2.35):desc", "year:asc"], [6, 3, 1, 19, 20, 12, 17, 18, 14, 15, 16, 5, 4, 7, 2, 9, 10, 8]),
    ],
)
def test_sorting_puts_numbers_before_strings_before_nothing(
    corpus: Index, sort: list[str], expected: list[int]
) -> None:
    assert corpus.ids(sort=sort)[: len(expected)] == expected


def test_distances_are_shown_in_metres(corpus: Index) -> None:
    hits = corpus.search(sort=["_geoPoint(48.85,2.35):asc"], limit=4)["hits"]
    assert [hit.get("_geoDistance") for hit in hits] == [0, 392834, 16959621, None]
    details = corpus.search(sort=["_geoPoint(48.85, 2.35):asc"], limit=2, showRankingScoreDetails=True)["hits"]
    assert details[1]["_rankingScoreDetails"] == {
        "_geoPoint(48.85, 2.35):asc": {"order": 0, "value": {"lat": 45.75, "lng": 4.85}, "distance": 392833.907}
    }


@pytest.mark.parametrize(
    ("body", "distribution", "stats"),
    [
        (
            {"facets": ["tags", "price"]},
            {
                "price": {"10.5": 1, "3": 1, "7": 1, "cheap": 1},
                "tags": {"a": 1, "b c": 1, "city": 1, "fr": 1, "plant": 2, "US": 1, "yellow": 1},
            },
            {"price": {"min": 3.0, "max": 10.5}},
        ),
        ({"q": "hello", "facets": ["tags"]}, {"tags": {"a": 1, "b c": 1}}, {}),
        ({"q": "zzz", "facets": ["year"]}, {"year": {}}, {}),
        ({"q": "sunflower", "facets": ["*"]}, None, {"id": {"min": 1.0, "max": 2.0}}),
        ({"facets": []}, None, None),
    ],
)
def test_facets_count_values(corpus: Index, body: Any, distribution: Any, stats: Any) -> None:
    answer = corpus.search(**body)
    if distribution is not None:
        assert answer["facetDistribution"] == distribution
        assert {name: list(values) for name, values in answer["facetDistribution"].items()} == {
            name: list(values) for name, values in distribution.items()
        }
    if stats is None:
        assert "facetDistribution" not in answer
        assert "facetStats" not in answer
    else:
        assert stats.items() <= answer["facetStats"].items()


def test_facets_are_ordered_and_cut_as_settings_say(server: Server) -> None:
    documents = [{"id": n, "c": c} for n, c in enumerate(["b", "a", "b", "c", "B", "c", 2, 10])]
    settings = {
        "filterableAttributes": ["c"],
        "faceting": {"maxValuesPerFacet": 4, "sortFacetValuesBy": {"c": "count"}},
    }
    answer = server.index(documents, settings).search(facets=["c"])
    assert list(answer["facetDistribution"]["c"].items()) == [("10", 1), ("2", 1), ("b", 3), ("c", 2)]


@pytest.mark.parametrize(
    ("body", "expected", "total"),
    [
        ({"distinct": "year"}, [1, 2, 3, 6, 8, 9, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20], 16),
        ({"q": "hello", "distinct": "year"}, [11, 20, 5, 6, 4], 5),
        ({"distinct": "year", "hitsPerPage": 3}, [1, 2, 3], 16),
    ],
)
def test_distinct_keeps_one_of_each_value(corpus: Index, body: Any, expected: list[int], total: int) -> None:
    answer = corpus.search(**body)
    assert [hit["id"] for hit in answer["hits"]] == expected
    assert answer.get("totalHits", answer.get("estimatedTotalHits")) == total


@pytest.mark.parametrize(
    ("body", "number", "expected"),
    [
        ({"q": "hello wor", "attributesToHighlight": ["title"]}, 5, {"title": "<em>Hello</em> <em>wor</em>ld"}),
        (
            {"q": "helo", "attributesToHighlight": ["*"], "highlightPreTag": "[", "highlightPostTag": "]"},
            7,
            {"title": "[Helo] wolrd", "year": "2001"},
        ),
        ({"q": '"hello world"', "attributesToHighlight": ["title"]}, 5, {"title": "<em>Hello world</em>"}),
        ({"q": "eleve", "attributesToHighlight": ["title"]}, 8, {"title": "<em>Élève</em> à l'école"}),
        ({"q": "sun flower", "attributesToHighlight": ["title"]}, 1, {"title": "The <em>Sunflower</em>"}),
        (
            {"q": "leia", "attributesToHighlight": ["nested.list"], "attributesToRetrieve": ["id"]},
            14,
            {"nested": {"list": [{"x": "father"}, {"x": "sister <em>Leia</em>"}]}, "id": "14"},
        ),
        ({"q": "lazy", "attributesToCrop": ["text:4"]}, 3, {"text": "…over the lazy dog…"}),
        (
            {"q": "lazy hello", "attributesToCrop": ["text"], "cropLength": 4, "cropMarker": "~"},
            3,
            {"text": "~the lazy dog! Hello~"},
        ),
        ({"q": "fox", "attributesToCrop": ["text"], "cropLength": 2}, 3, {"text": "…brown fox…"}),
    ],
)
def test_matches_are_marked_and_texts_cropped(corpus: Index, body: Any, number: int, expected: Any) -> None:
    hits = {hit.get("id"): hit for hit in corpus.search(**body)["hits"]}
    assert expected.items() <= hits[number]["_formatted"].items()


def test_positions_are_bytes(corpus: Index) -> None:
    hit = corpus.search(q="école plant", showMatchesPosition=True)["hits"][0]
    assert hit["_matchesPosition"] == {"title": [{"start": 13, "length": 6}]}
    hit = corpus.search(q="yellow", showMatchesPosition=True)["hits"][0]
    assert hit["_matchesPosition"] == {"tags": [{"start": 0, "length": 6, "indices": [1]}]}


def test_retrieved_and_displayed_attributes_cut_hits(server: Server) -> None:
    index = server.index([{"id": 1, "a": 1, "n": {"x": 1, "y": 2}}], {"displayedAttributes": ["a", "n"]})
    assert index.search()["hits"] == [{"a": 1, "n": {"x": 1, "y": 2}}]
    assert index.search(attributesToRetrieve=["a", "n.x", "id"])["hits"] == [{"a": 1}]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"q": 5}, "invalid_search_q"),
        ({"limit": -1}, "invalid_search_limit"),
        ({"offset": "x"}, "invalid_search_offset"),
        ({"page": -1}, "invalid_search_page"),
        ({"foo": 1}, "bad_request"),
        ({"filter": "nope = 1"}, "invalid_search_filter"),
        ({"sort": ["nope:asc"]}, "invalid_search_sort"),
        ({"sort": ["year"]}, "invalid_search_sort"),
        ({"sort": "year:asc"}, "invalid_search_sort"),
        ({"sort": ["_geoPoint(100,2):asc"]}, "invalid_search_sort"),
        ({"facets": ["title"]}, "invalid_search_facets"),
        ({"facets": "x"}, "invalid_search_facets"),
        ({"distinct": "title"}, "invalid_search_distinct"),
        ({"matchingStrategy": "foo"}, "invalid_search_matching_strategy"),
        ({"rankingScoreThreshold": 2}, "invalid_search_ranking_score_threshold"),
        ({"attributesToRetrieve": "id"}, "invalid_search_attributes_to_retrieve"),
        ({"cropLength": "x"}, "invalid_search_crop_length"),
        ({"highlightPreTag": 5}, "invalid_search_highlight_pre_tag"),
    ],
)
def test_wrong_searches_are_refused(corpus: Index, body: Any, code: str) -> None:
    assert refusal(corpus.call("POST", "/search", body)) == (400, code)


def test_attributes_to_search_on_have_to_be_searchable(server: Server) -> None:
    index = server.index(DOCUMENTS, {"searchableAttributes": ["title"]})
    response = index.call("POST", "/search", {"q": "x", "attributesToSearchOn": ["text"]})
    assert refusal(response) == (400, "invalid_search_attributes_to_search_on")


def test_get_searches_with_query_parameters(corpus: Index) -> None:
    path = "/search?q=hello&limit=2&attributesToRetrieve=id&filter=year%20%3D%202001&sort=price:asc,year:desc"
    assert [hit["id"] for hit in corpus.call("GET", path).json()["hits"]] == [4, 3]
    assert refusal(corpus.call("GET", "/search?limit=x")) == (400, "invalid_search_limit")
    assert refusal(corpus.call("GET", "/search?foo=1")) == (400, "bad_request")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"facetName": "tags", "facetQuery": "p"}, [("plant", 2)]),
        ({"facetName": "tags", "facetQuery": "plnat"}, [("plant", 2)]),
        ({"facetName": "tags", "q": "sunflower"}, [("plant", 2), ("yellow", 1)]),
        ({"facetName": "tags", "filter": "year = 1999"}, [("a", 1), ("b c", 1), ("plant", 1), ("yellow", 1)]),
        ({"facetName": "tags", "facetQuery": "zzz"}, []),
    ],
)
def test_facet_search_finds_values(corpus: Index, body: Any, expected: list[tuple[str, int]]) -> None:
    answer = corpus.call("POST", "/facet-search", body).json()
    assert [(hit["value"], hit["count"]) for hit in answer["facetHits"]] == expected
    assert answer["facetQuery"] == body.get("facetQuery")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "missing_facet_search_facet_name"),
        ({"facetName": 5}, "invalid_facet_search_facet_name"),
        ({"facetName": "title"}, "invalid_facet_search_facet_name"),
        ({"facetName": "tags", "facetQuery": 5}, "invalid_facet_search_query"),
    ],
)
def test_wrong_facet_searches_are_refused(corpus: Index, body: Any, code: str) -> None:
    assert refusal(corpus.call("POST", "/facet-search", body)) == (400, code)


def test_multi_search_answers_in_order_or_not_at_all(corpus: Index) -> None:
    queries: list[dict[str, Any]] = [{"indexUid": corpus.uid, "q": "sunflower"}, {"indexUid": corpus.uid, "limit": 1}]
    answer = corpus.server.call("POST", "/multi-search", {"queries": queries}).json()
    assert [[hit["id"] for hit in part["hits"]] for part in answer["results"]] == [[1, 2], [1]]
    response = corpus.server.call("POST", "/multi-search", {"queries": [*queries, {"indexUid": "nowhere"}]})
    assert refusal(response) == (400, "index_not_found")
    assert response.json()["message"].startswith("Inside `.queries[2]`: ")


def test_a_full_list_of_facet_hits_keeps_later_values_of_equal_counts(server: Server) -> None:
    documents = [{"id": n, "kind": "abcdea"[n]} for n in range(6)]
    faceting = {"maxValuesPerFacet": 3, "sortFacetValuesBy": {"kind": "count"}}
    index = server.index(documents, {"filterableAttributes": ["kind"], "faceting": faceting})
    answer = index.call("POST", "/facet-search", {"facetName": "kind"}).json()
    assert [hit["value"] for hit in answer["facetHits"]] == ["a", "e", "d"]


def test_facet_search_counts_what_a_search_for_one_page_counts(server: Server) -> None:
    documents = [{"id": n, "kind": "ab"[n % 2], "title": "sea" if n % 2 else "sea of trees"} for n in range(50)]
    index = server.index(documents, {"filterableAttributes": ["kind", "id"], "searchableAttributes": ["title"]})
    request = {"facetName": "kind", "q": "sea", "rankingScoreThreshold": 0.99}
    enough = index.call("POST", "/facet-search", request).json()
    assert [hit["count"] for hit in enough["facetHits"]] == [25, 25]
    few = index.call("POST", "/facet-search", {**request, "filter": "id < 20"}).json()
    assert [hit["value"] for hit in few["facetHits"]] == ["b"]
