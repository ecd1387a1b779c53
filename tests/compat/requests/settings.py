"""Settings: all of them, and each through a route of its own."""

from __future__ import annotations

from typing import Any

from tests.compat.request import Ask

AT = "/indexes/set/settings"

ROUTES: tuple[tuple[str, str, Any, Any], ...] = (
    ("filterable-attributes", "PUT", ["year", "genres"], "year"),
    ("sortable-attributes", "PUT", ["year"], {"year": "asc"}),
    ("displayed-attributes", "PUT", ["id", "title"], "title"),
    ("typo-tolerance", "PATCH", {"minWordSizeForTypos": {"oneTypo": 4}, "disableOnWords": ["dune"]}, {"enabled": "no"}),
    ("searchable-attributes", "PUT", ["title", "plot"], 7),
    ("stop-words", "PUT", ["the", "of"], "the"),
    ("non-separator-tokens", "PUT", ["@", "#"], "@"),
    ("separator-tokens", "PUT", ["|"], "|"),
    ("dictionary", "PUT", ["J. R. R."], {}),
    ("synonyms", "PUT", {"film": ["movie"], "movie": ["film"]}, ["film"]),
    ("distinct-attribute", "PUT", "year", 7),
    ("proximity-precision", "PUT", "byAttribute", "byLetter"),
    ("localized-attributes", "PUT", [{"attributePatterns": ["*_en"], "locales": ["eng"]}], [{"locales": ["doggo"]}]),
    ("ranking-rules", "PUT", ["words", "sort", "typo", "year:desc"], ["doggo"]),
    ("faceting", "PATCH", {"maxValuesPerFacet": 7, "sortFacetValuesBy": {"genres": "count"}}, {"maxValuesPerFacet": "x"}),
    ("pagination", "PATCH", {"maxTotalHits": 50}, {"maxTotalHits": "many"}),
    ("embedders", "PATCH", {"own": {"source": "userProvided", "dimensions": 2}}, {"own": {"source": "doggo"}}),
    ("search-cutoff-ms", "PUT", 1000, "soon"),
    ("facet-search", "PUT", False, "no"),
    ("prefix-search", "PUT", "disabled", "sometimes"),
)  # fmt: skip
"""A setting's route, the verb that changes it, a value, and one that is refused."""


def _of(name: str, verb: str, value: Any, wrong: Any) -> tuple[Ask, ...]:
    path = f"{AT}/{name}"
    return (
        Ask("GET", path),
        Ask(verb, path, value),
        Ask("GET", path),
        Ask(verb, path, wrong),
        Ask("PATCH" if verb == "PUT" else "PUT", path, value),
        Ask("DELETE", path),
        Ask("GET", path),
    )


WRONG: tuple[Any, ...] = (
    {"rankingRules": ["doggo"]},
    {"rankingRules": "words"},
    {"rankingRules": ["typo:asc", 7]},
    {"stopWords": [7]},
    {"synonyms": {"a": "b"}},
    {"typoTolerance": {"minWordSizeForTypos": {"oneTypo": 9, "twoTypos": 3}}},
    {"typoTolerance": {"doggo": 1}},
    {"pagination": {"maxTotalHits": 0}},
    {"faceting": {"doggo": 1}},
    {"searchCutoffMs": -1},
    {"filterableAttributes": [7]},
    {"filterableAttributes": [{"attributePatterns": ["x"], "doggo": 1}]},
    {"doggo": 1},
    {"rankingrules": []},
    [],
    "{",
    "",
)

EMBEDDERS = (
    {"source": "userProvided"},
    {"source": "userProvided", "dimensions": 0},
    {"source": "userProvided", "dimensions": 2, "model": "x"},
)
"""Embedders whose fields do not go together."""

REQUESTS = (
    Ask("POST", "/indexes", {"uid": "set", "primaryKey": "id"}),
    Ask("GET", AT),
    *(ask for route in ROUTES for ask in _of(*route)),
    Ask("GET", AT),
    # all at once
    Ask("PATCH", AT, {"filterableAttributes": ["year"], "stopWords": ["a"], "pagination": {"maxTotalHits": 9}}),
    Ask("GET", AT),
    Ask("PATCH", AT, {"stopWords": None, "rankingRules": ["words", "typo"]}),
    Ask("PATCH", AT, {}),
    Ask("PATCH", AT, {"filterableAttributes": [{"attributePatterns": ["a*"], "features": {"facetSearch": True}}]}),
    Ask("GET", AT),
    Ask("PATCH", AT, {"typoTolerance": {"enabled": False, "disableOnNumbers": True}, "distinctAttribute": "sku"}),
    Ask("GET", AT),
    *(Ask("PATCH", AT, body) for body in WRONG),
    *(Ask("PATCH", AT, {"embedders": {"own": each}}, differs="wrong embedders") for each in EMBEDDERS),
    Ask("PATCH", AT, '{"stopWords": ["x"]}', type=None),
    Ask("PUT", AT, {}),
    Ask("POST", AT, {}),
    Ask("GET", AT + "/doggo"),
    Ask("PUT", AT + "/stop-words", "[", type="application/json"),
    Ask("PUT", AT + "/stop-words"),
    Ask("PUT", AT + "/stop-words", "null"),
    Ask("DELETE", AT),
    Ask("GET", AT),
    # not in a cluster
    Ask("GET", AT + "/foreign-keys"),
    Ask("PUT", AT + "/foreign-keys", [{"fieldName": "by", "foreignIndexUid": "set"}], differs="foreign keys"),
    Ask("GET", AT + "/chat"),
    Ask("PATCH", AT + "/chat", {"description": "books"}, differs="routes that are refused"),
    Ask("GET", AT + "/chat"),
    Ask("DELETE", AT + "/chat"),
    # with a word of the client's
    Ask("PATCH", AT + "?customMetadata=x", {"stopWords": ["x"]}),
    Ask("PUT", AT + "/stop-words?customMetadata=x", ["y"]),
    Ask("DELETE", AT + "/stop-words?customMetadata=x"),
    Ask("DELETE", AT + "?customMetadata=x"),
    # with documents
    Ask("POST", "/indexes/set/documents", [{"id": 1, "title": "Dune"}, {"id": 2, "title": "Emma", "_geo": None}]),
    Ask("PATCH", AT, {"searchableAttributes": ["title"], "filterableAttributes": ["title"]}),
    Ask("POST", "/indexes/set/search", {"filter": "title = Dune"}),
    Ask("PATCH", AT, {"embedders": {"own": {"source": "userProvided", "dimensions": 2}}}, differs="errors of settings"),
    # elsewhere
    Ask("GET", "/indexes/nowhere/settings"),
    Ask("GET", "/indexes/nowhere/settings/stop-words"),
    Ask("DELETE", "/indexes/nowhere/settings"),
    Ask("DELETE", "/indexes/nowhere/settings/stop-words"),
    Ask("GET", "/indexes/not%20good/settings"),
    Ask("PATCH", "/indexes/not%20good/settings", {}),
    Ask("PATCH", "/indexes/set-made/settings", {"stopWords": ["x"]}),
    Ask("GET", "/indexes/set-made"),
    Ask("PUT", "/indexes/set-made2/settings/stop-words", ["x"]),
    Ask("DELETE", "/indexes/set-made"),
    Ask("DELETE", "/indexes/set-made2"),
    Ask("DELETE", "/indexes/set"),
)
