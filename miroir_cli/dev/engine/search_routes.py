"""Search, multi-search and facet search."""

from __future__ import annotations

from typing import Any

import msgspec

from .call import Call, Entry, Result
from .errors import EngineError, not_supported
from .facet_search import facet_search
from .parameters import SEARCH_KINDS, SIMILAR_KINDS, from_query, search_request, similar_request, take
from .search import search
from .similar import similar


def search_post(call: Call) -> Result:
    """`POST /indexes/{uid}/search`."""
    request = search_request(call.object())
    with call.node.lock:
        return 200, search(call.index(), request)


def search_get(call: Call) -> Result:
    """`GET /indexes/{uid}/search`."""
    values = _with_vector(from_query(call.query, {**SEARCH_KINDS, **_QUERY_KINDS}, "search"))
    if "filter" in values:
        values["filter"] = _query_filter(values["filter"])
    if "sort" in values:
        values["sort"] = _joined_points(values["sort"])
    request = search_request(values)
    with call.node.lock:
        return 200, search(call.index(), request)


_QUERY_KINDS = {"vector": "strs", "hybridEmbedder": "str", "hybridSemanticRatio": "float"}


def _with_vector(values: dict[str, Any]) -> dict[str, Any]:
    """The parameters about vectors as a body has them."""
    if "vector" in values:
        try:
            values["vector"] = [float(number) for number in values["vector"]]
        except ValueError:
            message = f"Invalid value in parameter `vector`: {values['vector']}"
            raise EngineError("invalid_search_vector", message) from None
    embedder, ratio = values.pop("hybridEmbedder", None), values.pop("hybridSemanticRatio", None)
    if embedder is not None:
        values["hybrid"] = {"embedder": embedder, **({} if ratio is None else {"semanticRatio": ratio})}
    return values


def _query_filter(text: str) -> Any:
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
    return value if isinstance(value, (str, list)) else text


def _joined_points(parts: list[str]) -> list[str]:
    joined: list[str] = []
    for part in parts:
        if joined and joined[-1].count("(") > joined[-1].count(")"):
            joined[-1] += "," + part
        else:
            joined.append(part)
    return joined


def multi_search(call: Call) -> Result:
    """`POST /multi-search`, without federation."""
    body = call.object()
    if body.get("federation") is not None:
        raise not_supported("Federated multi-search")
    queries = body.get("queries")
    if not isinstance(queries, list):
        raise EngineError("bad_request", "Missing field `queries`")
    results = []
    with call.node.lock:
        for position, query in enumerate(queries):
            if not isinstance(query, dict) or not isinstance(query.get("indexUid"), str):
                raise EngineError("missing_index_uid", f"Missing field `indexUid` inside `.queries[{position}]`")
            if query.get("federationOptions") is not None:
                problem = "Using `federationOptions` is not allowed in a non-federated search."
                message = f"Inside `.queries[{position}]`: {problem}"
                raise EngineError("invalid_multi_search_federation_options", message)
            uid = query["indexUid"]
            rest = {k: v for k, v in query.items() if k not in ("indexUid", "federationOptions")}
            try:
                call.node.keys.check_record(call.key, "search", uid)
                found = search(call.node.index(uid), search_request(rest))
            except EngineError as error:
                status = 400 if error.code == "index_not_found" else error.status
                message = f"Inside `.queries[{position}]`: {error.message}"
                raise EngineError(error.code, message, status=status) from None
            results.append({"indexUid": uid, **found})
    return 200, {"results": results}


def facet_search_post(call: Call) -> Result:
    """`POST /indexes/{uid}/facet-search`."""
    kinds = {
        "facetName": "str", "facetQuery": "str", "q": "str", "filter": "any", "matchingStrategy": "str",
        "attributesToSearchOn": "strs", "rankingScoreThreshold": "float", "exhaustiveFacetCount": "bool",
        "vector": "any", "media": "any", "hybrid": "any", "locales": "any",
    }  # fmt: skip
    body = call.object()
    if "facetName" not in body:
        raise EngineError("missing_facet_search_facet_name", "Missing field `facetName`")
    if not isinstance(body["facetName"], str):
        raise EngineError("invalid_facet_search_facet_name", "Invalid value type at `.facetName`: expected a string")
    if not isinstance(body.get("facetQuery"), (str, type(None))):
        raise EngineError("invalid_facet_search_query", "Invalid value type at `.facetQuery`: expected a string")
    values = take({key: value for key, value in body.items() if key in kinds}, kinds, "search")
    name, query = values.pop("facetName"), values.pop("facetQuery", None)
    exhaustive = values.pop("exhaustiveFacetCount", False)
    request = search_request({**values, **({"page": 0} if exhaustive else {})})
    with call.node.lock:
        return 200, facet_search(call.index(), name, query, request)


def similar_post(call: Call) -> Result:
    """`POST /indexes/{uid}/similar`."""
    request = similar_request(call.object())
    with call.node.lock:
        return 200, similar(call.index(), request)


def similar_get(call: Call) -> Result:
    """`GET /indexes/{uid}/similar`."""
    values = from_query(call.query, SIMILAR_KINDS, "similar")
    if "filter" in values:
        values["filter"] = _query_filter(values["filter"])
    request = similar_request(values)
    with call.node.lock:
        return 200, similar(call.index(), request)


SEARCH_ROUTES = [
    Entry("POST", "/indexes/{index_uid}/search", "search", search_post),
    Entry("GET", "/indexes/{index_uid}/search", "search", search_get),
    Entry("POST", "/indexes/{index_uid}/similar", "search", similar_post),
    Entry("GET", "/indexes/{index_uid}/similar", "search", similar_get),
    Entry("POST", "/multi-search", "search", multi_search),
    Entry("POST", "/indexes/{index_uid}/facet-search", "search", facet_search_post),
]
