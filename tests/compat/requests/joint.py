"""Facet search, similar documents, several searches at once, and federations of them."""

from __future__ import annotations

from typing import Any

from tests.compat.request import Ask
from tests.compat.requests.search import PREPARE, REMOVE

FACETS = "/indexes/films/facet-search"
SIMILAR = "/indexes/films/similar"
MULTI = "/multi-search"

FACET_BODIES: tuple[Any, ...] = (
    {"facetName": "genres"},
    {"facetName": "genres", "facetQuery": "com"},
    {"facetName": "genres", "facetQuery": "comdy"},
    {"facetName": "genres", "facetQuery": "zzz"},
    {"facetName": "genres", "q": "night"},
    {"facetName": "genres", "q": "night train", "matchingStrategy": "all"},
    {"facetName": "genres", "filter": "year > 2000"},
    {"facetName": "genres", "q": "night", "attributesToSearchOn": ["title"]},
    {"facetName": "genres", "exhaustiveFacetCount": True},
    {"facetName": "genres", "q": "night", "limit": 1, "offset": 3},
    {"facetName": "year"},
    {"facetName": "title"},
    {"facetName": "nothing"},
    {"facetName": 7},
    {"facetName": None},
    {"facetQuery": "com"},
    {"facetName": "genres", "facetQuery": 7},
    {"facetName": "genres", "filter": "plot = 1"},
    {"facetName": "genres", "filter": 7},
    {"facetName": "genres", "q": 7},
    {"facetName": "genres", "sort": ["year:asc"]},
    {"facetName": "genres", "doggo": 1},
    {},
    [],
    "{",
    "",
)
SIMILAR_BODIES: tuple[Any, ...] = (
    {"id": 1, "embedder": "own"},
    {"id": "1", "embedder": "own", "limit": 3},
    {"id": 3, "embedder": "own", "limit": 2, "offset": 1, "showRankingScore": True},
    {"id": 3, "embedder": "own", "filter": "year > 2000", "attributesToRetrieve": ["title"]},
    {"id": 3, "embedder": "own", "rankingScoreThreshold": 0.99},
    {"id": 3, "embedder": "own", "retrieveVectors": True, "limit": 1},
    {"id": 99, "embedder": "own"},
    {"id": "not good!", "embedder": "own"},
    {"id": 1.5, "embedder": "own"},
    {"id": 1, "embedder": "none"},
    {"id": 1, "embedder": 7},
    {"id": 1},
    {"embedder": "own"},
    {"id": 1, "embedder": "own", "limit": "many"},
    {"id": 1, "embedder": "own", "filter": "plot = 1"},
    {"id": 1, "embedder": "own", "rankingScoreThreshold": 7},
    {"id": 1, "embedder": "own", "q": "night"},
    {},
)
NIGHT = {"indexUid": "films", "q": "night", "limit": 3}
TRAIN = {"indexUid": "films", "q": "train", "attributesToRetrieve": ["title"]}
FILTERED = {"indexUid": "films", "filter": "year > 2000", "sort": ["year:asc"]}
OTHERS = {"indexUid": "more", "q": "night"}

MULTI_BODIES: tuple[Any, ...] = (
    {"queries": []},
    {"queries": [NIGHT]},
    {"queries": [NIGHT, TRAIN, FILTERED]},
    {"queries": [NIGHT, OTHERS]},
    {"queries": [{**NIGHT, "page": 1, "hitsPerPage": 2}, {**NIGHT, "facets": ["genres"]}]},
    {"federation": {}, "queries": [NIGHT, OTHERS]},
    {"federation": None, "queries": [NIGHT]},
    {"federation": {"limit": 2, "offset": 1}, "queries": [{**NIGHT, "limit": None}, OTHERS]},
    {"federation": {"limit": 2}, "queries": [{"indexUid": "films", "q": "night"}, OTHERS]},
    {"federation": {"limit": 2, "offset": 1}, "queries": [{"indexUid": "films", "q": "night"}, OTHERS]},
    {
        "federation": {},
        "queries": [{**TRAIN, "federationOptions": {"weight": 0.5}}, {**OTHERS, "federationOptions": {"weight": 2}}],
    },
    {"federation": {"facetsByIndex": {"films": ["genres"], "more": []}}, "queries": [TRAIN, OTHERS]},
    {
        "federation": {"facetsByIndex": {"films": ["genres"]}, "mergeFacets": {"maxValuesPerFacet": 2}},
        "queries": [TRAIN],
    },
    {"federation": {}, "queries": [FILTERED, {**FILTERED, "filter": "year < 1990"}]},
    {"federation": {"distinct": "year"}, "queries": [{"indexUid": "films", "q": "night"}]},
    {"federation": {"page": 1, "hitsPerPage": 2}, "queries": [{"indexUid": "films", "q": "night"}, OTHERS]},
    # refused
    {},
    {"queries": {}},
    {"queries": [7]},
    {"queries": [{"q": "night"}]},
    {"queries": [{"indexUid": "not good", "q": "night"}]},
    {"queries": [{"indexUid": 7}]},
    {"queries": [NIGHT, {"indexUid": "nowhere"}]},
    {"queries": [NIGHT, {**NIGHT, "filter": "plot = 1"}]},
    {"queries": [NIGHT, {**NIGHT, "limit": "many"}]},
    {"queries": [NIGHT, {**NIGHT, "doggo": 1}]},
    {"queries": [{**NIGHT, "federationOptions": {"weight": 1}}]},
    {"queries": [NIGHT], "doggo": 1},
    {"federation": {}, "queries": [NIGHT]},
    {"federation": {}, "queries": [{**TRAIN, "page": 1}]},
    {"federation": {}, "queries": [{**TRAIN, "facets": ["genres"]}]},
    {"federation": {"doggo": 1}, "queries": [TRAIN]},
    {"federation": {"limit": "many"}, "queries": [TRAIN]},
    {"federation": {"facetsByIndex": {"nowhere": ["x"]}}, "queries": [TRAIN]},
    {"federation": {"facetsByIndex": {"films": ["plot"]}}, "queries": [TRAIN]},
    {"federation": {"mergeFacets": {}}, "queries": [TRAIN]},
    {"federation": {}, "queries": [{**TRAIN, "federationOptions": {"weight": -1}}]},
    {"federation": {}, "queries": [{**TRAIN, "federationOptions": {"weight": "heavy"}}]},
    {"federation": {}, "queries": [{**TRAIN, "federationOptions": {"doggo": 1}}]},
    {"federation": {}, "queries": [TRAIN, {"indexUid": "nowhere"}]},
    "{",
    "",
    [],
)

REQUESTS = (
    *PREPARE,
    Ask("POST", "/indexes/more/documents?primaryKey=id", [{"id": 1, "title": "A night more"}, {"id": 2, "title": "x"}]),
    *(Ask("POST", FACETS, body) for body in FACET_BODIES),
    Ask("POST", "/indexes/nowhere/facet-search", {"facetName": "genres"}),
    Ask("GET", FACETS),
    *(Ask("POST", SIMILAR, body) for body in SIMILAR_BODIES),
    Ask("GET", SIMILAR + "?id=1&embedder=own&limit=2"),
    Ask("GET", SIMILAR + "?id=1&embedder=own&filter=year%20%3E%202000&attributesToRetrieve=title"),
    Ask("GET", SIMILAR + "?embedder=own"),
    Ask("GET", SIMILAR + "?id=1"),
    Ask("GET", SIMILAR + "?id=1&embedder=own&limit=many"),
    Ask("GET", SIMILAR + "?id=1&embedder=own&doggo=1"),
    Ask("POST", SIMILAR, {"id": 1, "embedder": "own", "showPerformanceDetails": True}, differs="performance details"),
    Ask("POST", "/indexes/nowhere/similar", {"id": 1, "embedder": "own"}),
    *(Ask("POST", MULTI, body) for body in MULTI_BODIES),
    Ask("POST", MULTI, '{"queries": []}', type=None),
    Ask("GET", MULTI),
    Ask("DELETE", "/indexes/more"),
    *REMOVE,
)
