"""Search, multi-search and facet search."""

from __future__ import annotations

from typing import Any

import msgspec

from .call import Call, Entry, Result
from .errors import EngineError, not_supported
from .facet_search import facet_search
from .federation import Query, federated, inside, read_federation
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
    """`POST /multi-search`, with and without federation."""
    body = call.object()
    unknown = next((name for name in body if name not in ("queries", "federation")), None)
    if unknown is not None:
        raise EngineError("bad_request", f"Unknown field `{unknown}`: expected one of `queries`, `federation`")
    queries = body.get("queries")
    if not isinstance(queries, list):
        raise EngineError("bad_request", "Missing field `queries`")
    read = [_query(position, query) for position, query in enumerate(queries)]
    federation = body.get("federation")
    if federation is not None and not isinstance(federation, dict):
        raise EngineError("bad_request", "Invalid value type at `.federation`: expected an object")
    options = None if federation is None else read_federation(federation)
    with call.node.lock:
        for query in read:
            with inside(query.position):
                call.node.keys.check_record(call.key, "search", query.uid)
        if options is not None:
            return 200, federated(call.node.index, read, options)
        results = []
        for query in read:
            with inside(query.position):
                results.append(_alone(call, query))
        return 200, {"results": results}


def _query(position: int, query: Any) -> Query:
    where = f".queries[{position}]"
    if not isinstance(query, dict):
        raise EngineError("bad_request", f"Invalid value type at `{where}`: expected an object")
    if "indexUid" not in query:
        raise EngineError("missing_index_uid", f"Missing field `indexUid` inside `{where}`")
    if not isinstance(query["indexUid"], str):
        raise EngineError("invalid_index_uid", f"Invalid value type at `{where}.indexUid`: expected a string")
    rest = {key: value for key, value in query.items() if key not in ("indexUid", "federationOptions")}
    options = query.get("federationOptions")
    if options is not None:
        _check_options(options, f"{where}.federationOptions")
    return Query(
        position=position,
        uid=query["indexUid"],
        request=search_request(rest, where=where),
        given=rest,
        options=options,
    )


def _check_options(options: Any, where: str) -> None:
    if not isinstance(options, dict):
        raise EngineError("bad_request", f"Invalid value type at `{where}`: expected an object")
    taken = take(options, {"weight": "float", "remote": "str", "queryPosition": "int"}, "multi_search", where=where)
    if taken.get("weight", 1) < 0:
        expected = "the value of `weight` is invalid, expected a positive float (>= 0.0)."
        raise EngineError("invalid_multi_search_weight", f"Invalid value at `{where}.weight`: {expected}")
    for name in ("remote", "queryPosition"):
        if name in taken:
            raise not_supported(f"`federationOptions.{name}`")


def _alone(call: Call, query: Query) -> dict[str, Any]:
    if query.options is not None:
        problem = (
            "Using `federationOptions` is not allowed in a non-federated search.\n"
            " - Hint: remove `federationOptions` from the query or add `federation` to the request."
        )
        raise EngineError("invalid_multi_search_federation_options", problem)
    return {"indexUid": query.uid, **search(call.node.index(query.uid), query.request)}


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
