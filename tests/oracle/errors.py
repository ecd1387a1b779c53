"""Requests that are wrong in some way, and what one node and a cluster say to them."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from miroir_cli.errors import MiroirError, NodeRefusal
from miroir_cli.model import StoredUid
from miroir_cli.search.multi import multi_search
from miroir_cli.search.scatter import search
from tests.oracle.world import UID, World

SETTINGS: dict[str, Any] = {
    "filterableAttributes": [
        "color",
        "price",
        {"attributePatterns": ["meta.*"], "features": {"facetSearch": True}},
        {"attributePatterns": ["locked"], "features": {"filter": {"equality": False, "comparison": False}}},
    ],
    "sortableAttributes": ["price", "secret", "_geo"],
    "searchableAttributes": ["title", "color", "secret"],
    "displayedAttributes": ["id", "title", "color", "price"],
}
"""Of everything there is something that is not displayed."""

SEARCHES: list[dict[str, Any]] = [
    {"q": 5},
    {"q": ["sun"]},
    {"limit": -1},
    {"limit": "5"},
    {"limit": 1.5},
    {"offset": -3},
    {"offset": None, "limit": None},
    {"page": -1},
    {"page": "1"},
    {"hitsPerPage": True},
    {"unknown": 1},
    {"filters": "color = red"},
    {"filter": 5},
    {"filter": {"color": "red"}},
    {"filter": "color"},
    {"filter": "color = "},
    {"filter": "color = red AND"},
    {"filter": "(color = red"},
    {"filter": "title = x"},
    {"filter": "secret = x"},
    {"filter": "color = red OR nothing > 4"},
    {"filter": ["color = red", ["title = x"]]},
    {"filter": ["color = red", [["price = 1"]]]},
    {"filter": ["color = red", 5]},
    {"filter": [["color = red", 5]]},
    {"filter": "meta.x > 5"},
    {"filter": "locked = 5"},
    {"filter": "meta.x = 1 AND locked EXISTS"},
    {"facets": ["locked"]},
    {"distinct": "locked"},
    {"filter": "price TO 5"},
    {"filter": "_geoRadius(1, 2, 3)"},
    {"filter": "_geoRadius(1, 2)"},
    {"filter": "_geoBoundingBox([1, 2])"},
    {"filter": "_geo = 1"},
    {"filter": "color IN [red"},
    {"filter": "color != "},
    {"filter": "title != red"},
    {"filter": "color CONTAINS re"},
    {"sort": "price:asc"},
    {"sort": ["price"]},
    {"sort": ["price:up"]},
    {"sort": ["title:asc"]},
    {"sort": ["price:asc", "nothing:desc"]},
    {"sort": ["_geoPoint(1):asc"]},
    {"sort": ["_geoPoint(100, 300):asc"]},
    {"sort": ["_geoRadius(1, 2, 3):asc"]},
    {"sort": [5]},
    {"facets": "color"},
    {"facets": ["title"]},
    {"facets": ["color", "nothing"]},
    {"facets": [5]},
    {"distinct": "title"},
    {"distinct": "secret"},
    {"distinct": 5},
    {"attributesToRetrieve": "title"},
    {"attributesToRetrieve": [1]},
    {"attributesToHighlight": "title"},
    {"attributesToCrop": [1]},
    {"cropLength": -1},
    {"cropLength": "x"},
    {"highlightPreTag": 5},
    {"showMatchesPosition": "yes"},
    {"showRankingScore": 1},
    {"showRankingScoreDetails": "true"},
    {"matchingStrategy": "some"},
    {"matchingStrategy": 5},
    {"rankingScoreThreshold": 2},
    {"rankingScoreThreshold": -0.1},
    {"rankingScoreThreshold": "0.5"},
    {"attributesToSearchOn": ["nothing"]},
    {"attributesToSearchOn": ["price"]},
    {"attributesToSearchOn": "title"},
    {"locales": ["xx"]},
    {"locales": "eng"},
    {"retrieveVectors": 1},
    {"q": 5, "filter": "color = ", "limit": -1},
    {"filter": "title = x", "sort": ["title:asc"], "facets": ["title"]},
]

_Q = {"indexUid": UID}
MULTI_SEARCHES: list[dict[str, Any]] = [
    {},
    {"queries": {}},
    {"queries": [5]},
    {"queries": [{"q": "x"}]},
    {"queries": [{"indexUid": 5}]},
    {"queries": [{"indexUid": "a b"}]},
    {"queries": [{"indexUid": "nothing"}]},
    {"queries": [_Q, {**_Q, "filter": "title = x"}, {"indexUid": "nothing"}]},
    {"queries": [_Q, {**_Q, "filter": "title = x"}, {**_Q, "q": 5}]},
    {"queries": [{**_Q, "federationOptions": {"weight": 1}}]},
    {"queries": [{**_Q, "federationOptions": {"weight": -1}}]},
    {"queries": [{**_Q, "federationOptions": {"weigth": 1}}]},
    {"queries": [_Q], "federations": {}},
    {"queries": [_Q], "federation": []},
    {"queries": [_Q], "federation": {"limit": -1}},
    {"queries": [_Q], "federation": {"unknown": 1}},
    {"queries": [_Q], "federation": {"facetsByIndex": {UID: "color"}}},
    {"queries": [_Q], "federation": {"facetsByIndex": {UID: ["title"]}}},
    {"queries": [_Q], "federation": {"facetsByIndex": {"nothing": ["title"]}}},
    {"queries": [_Q], "federation": {"facetsByIndex": {"a b": ["title"]}}},
    {"queries": [_Q], "federation": {"mergeFacets": 5}},
    {"queries": [_Q], "federation": {"mergeFacets": {"maxValuesPerFacet": -1}}},
    {"queries": [_Q], "federation": {"distinct": "title"}},
    {"queries": [_Q, {**_Q, "limit": 5}], "federation": {}},
    {"queries": [_Q, {**_Q, "hitsPerPage": 5}], "federation": {}},
    {"queries": [{**_Q, "facets": ["color", "price"]}], "federation": {}},
    {"queries": [{**_Q, "distinct": "color"}], "federation": {"distinct": "price"}},
    {"queries": [{**_Q, "sort": ["price:asc"]}, {**_Q, "sort": ["price:desc"]}], "federation": {}},
    {"queries": [{**_Q, "q": "sun"}, {**_Q, "sort": ["price:desc"]}], "federation": {}},
    {"queries": [{**_Q, "sort": ["title:asc"]}, {**_Q, "filter": "color ="}], "federation": {}},
    {"queries": [{**_Q, "filter": "title = x"}, {"indexUid": "nothing"}], "federation": {}},
    {"queries": [{**_Q, "federationOptions": {"remote": "elsewhere"}}], "federation": {}},
    {"queries": [{**_Q, "federationOptions": {"queryPosition": 1}}], "federation": {}},
]


NOT_EMBEDDED = ("locales", "remote", "queryPosition")
"""Parts that the embedded node does not know."""


async def differently_refused(world: World, *, embedded: bool) -> list[str]:
    """What one node and the cluster say differently, in words."""
    wrong = []
    for request in SEARCHES:
        if embedded and any(part in str(request) for part in NOT_EMBEDDED):
            continue
        single = await _refusal(world.single.search(StoredUid(UID), request))
        cluster = await _refusal(search(world.cluster, UID, request))
        if single != cluster:
            wrong.append(f"{request}\n    {single}\n    {cluster}")
    for request in MULTI_SEARCHES:
        if embedded and any(part in str(request) for part in NOT_EMBEDDED):
            continue
        single = await _refusal(world.single.read("multi-search", request))
        cluster = await _refusal(multi_search(world.cluster, request))
        if embedded and "are incompatible" in str(single):  # it names no reasons
            cluster = (*cluster[:3], cluster[3].partition(": \n")[0])
        if single != cluster:
            wrong.append(f"{request}\n    {single}\n    {cluster}")
    return wrong


async def _refusal(asked: Coroutine[Any, Any, Any]) -> Any:
    """Status, code, type and message of a refusal, the message of another error; None when there is none."""
    try:
        await asked
    except NodeRefusal as refusal:
        return refusal.status, refusal.node_code, refusal.error_type, refusal.message
    except MiroirError as error:
        return error.message
    return None
