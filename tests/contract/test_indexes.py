"""Indexes, settings, stats: the same on every server."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.server import Server, refusal


def test_an_index_is_created_shown_and_deleted(server: Server) -> None:
    index = server.index()
    shown = index.call("GET").json()
    assert (shown["uid"], shown["primaryKey"]) == (index.uid, "id")
    assert set(shown) == {"uid", "createdAt", "updatedAt", "primaryKey"}
    task = index.task("DELETE")
    assert (task["type"], task["status"], task["details"]) == ("indexDeletion", "succeeded", {"deletedDocuments": 0})
    assert refusal(index.call("GET")) == (404, "index_not_found")


def test_a_second_creation_fails_as_a_task(server: Server) -> None:
    index = server.index()
    task = server.wait(server.call("POST", "/indexes", {"uid": index.uid}))
    assert (task["status"], task["error"]["code"]) == ("failed", "index_already_exists")


def test_a_primary_key_changes_only_while_there_is_no_document(server: Server) -> None:
    index = server.index()
    assert index.task("PATCH", "", {"primaryKey": "sku"})["status"] == "succeeded"
    index.succeed("POST", "/documents", [{"sku": 1}])
    task = index.task("PATCH", "", {"primaryKey": "id"})
    assert task["error"]["code"] == "index_primary_key_already_exists"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"uid": "bad uid"}, (400, "invalid_index_uid")),
        ({}, (400, "missing_index_uid")),
        ({"uid": "x", "foo": 1}, (400, "bad_request")),
        ({"uid": "x", "primaryKey": 1}, (400, "invalid_index_primary_key")),
    ],
)
def test_wrong_creations_are_refused(server: Server, body: Any, expected: tuple[int, str]) -> None:
    assert refusal(server.call("POST", "/indexes", body)) == expected


@pytest.mark.parametrize("path", ["", "/stats", "/settings", "/documents", "/documents/1"])
def test_reading_a_missing_index_is_404(server: Server, path: str) -> None:
    assert refusal(server.call("GET", f"/indexes/nowhere{path}")) == (404, "index_not_found")


def test_stats_count_documents_and_fields(server: Server) -> None:
    index = server.index([{"id": 1, "a": 1, "n": {"x": 1}}, {"id": 2, "a": None}])
    stats = index.call("GET", "/stats").json()
    assert stats["numberOfDocuments"] == 2
    assert stats["fieldDistribution"] == {"a": 2, "id": 2, "n": 1}
    assert stats["isIndexing"] is False


def test_version_says_which_engine_answers(server: Server) -> None:
    version = server.call("GET", "/version").json()
    assert version["pkgVersion"].startswith("1.")
    assert (version.get("engine") == "miroir-embedded") is server.embedded, "difference: engine-name"


def test_what_the_embedded_node_cannot_do_is_501(server: Server) -> None:
    index = server.index([{"id": 1}])
    response = index.call("POST", "/search", {"q": "x", "matchingStrategy": "frequency"})
    expected = 501 if server.embedded else 200
    assert response.status_code == expected, "difference: unsupported-is-501"
    if server.embedded:
        assert refusal(response) == (501, "miroir_not_supported")


DEFAULTS = {
    "displayedAttributes": ["*"],
    "searchableAttributes": ["*"],
    "filterableAttributes": [],
    "sortableAttributes": [],
    "rankingRules": ["words", "typo", "proximity", "attributeRank", "sort", "wordPosition", "exactness"],
    "stopWords": [],
    "synonyms": {},
    "distinctAttribute": None,
    "faceting": {"maxValuesPerFacet": 100, "sortFacetValuesBy": {"*": "alpha"}},
    "pagination": {"maxTotalHits": 1000},
    "proximityPrecision": "byWord",
    "facetSearch": True,
    "prefixSearch": "indexingTime",
}


def test_settings_start_with_defaults_and_return_to_them(server: Server) -> None:
    index = server.index()
    before = index.call("GET", "/settings").json()
    assert DEFAULTS.items() <= before.items()
    index.succeed("PATCH", "/settings", {"stopWords": ["the", "a"], "pagination": {"maxTotalHits": 5}})
    assert index.call("GET", "/settings").json() == before | {
        "stopWords": ["a", "the"],
        "pagination": {"maxTotalHits": 5},
    }
    index.succeed("DELETE", "/settings")
    assert index.call("GET", "/settings").json() == before


@pytest.mark.parametrize(
    ("name", "method", "value", "shown"),
    [
        ("searchable-attributes", "PUT", ["title", "title"], ["title"]),
        ("displayed-attributes", "PUT", ["id", "*"], ["*"]),
        ("sortable-attributes", "PUT", ["b", "a"], ["a", "b"]),
        ("ranking-rules", "PUT", ["words", "year:asc"], ["words", "year:asc"]),
        ("typo-tolerance", "PATCH", {"enabled": False}, None),
        ("faceting", "PATCH", {"sortFacetValuesBy": {"a": "count"}}, None),
        ("synonyms", "PUT", {"b": ["c"], "a": ["d"]}, {"a": ["d"], "b": ["c"]}),
        ("distinct-attribute", "PUT", "year", "year"),
        ("proximity-precision", "PUT", "byAttribute", "byAttribute"),
        ("search-cutoff-ms", "PUT", 150, 150),
    ],
)
def test_each_setting_has_a_route_of_its_own(server: Server, name: str, method: str, value: Any, shown: Any) -> None:
    index = server.index()
    before = index.call("GET", f"/settings/{name}").json()
    index.succeed(method, f"/settings/{name}", value)
    after = index.call("GET", f"/settings/{name}").json()
    if shown is None:
        assert value.items() <= after.items() or after["sortFacetValuesBy"] == {"*": "alpha", "a": "count"}
    else:
        assert after == shown
    index.succeed("DELETE", f"/settings/{name}")
    assert index.call("GET", f"/settings/{name}").json() == before


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"rankingRules": ["words", "foo"]}, "invalid_settings_ranking_rules"),
        ({"searchableAttributes": 5}, "invalid_settings_searchable_attributes"),
        ({"filterableAttributes": [{"foo": 1}]}, "invalid_settings_filterable_attributes"),
        ({"typoTolerance": {"enabled": "x"}}, "invalid_settings_typo_tolerance"),
        ({"typoTolerance": {"foo": 1}}, "invalid_settings_typo_tolerance"),
        ({"faceting": {"sortFacetValuesBy": {"a": "x"}}}, "invalid_settings_faceting"),
        ({"pagination": {"maxTotalHits": "x"}}, "invalid_settings_pagination"),
        ({"synonyms": {"a": "b"}}, "invalid_settings_synonyms"),
        ({"proximityPrecision": "x"}, "invalid_settings_proximity_precision"),
        ({"foo": 1}, "bad_request"),
    ],
)
def test_wrong_settings_are_refused_by_name(server: Server, settings: Any, code: str) -> None:
    assert refusal(server.index().call("PATCH", "/settings", settings)) == (400, code)


def test_indexes_swap_their_names(server: Server) -> None:
    left, right = server.index([{"id": 1}]), server.index([{"id": 2}])
    server.wait(server.call("POST", "/swap-indexes", [{"indexes": [left.uid, right.uid]}]))
    assert (left.documents(), right.documents()) == ([{"id": 2}], [{"id": 1}])
