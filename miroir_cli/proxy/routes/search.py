"""Searches: one index, facets, similar documents, several queries."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec

from miroir_cli.errors import NodeRefusal
from miroir_cli.proxy.access import invalid_key
from miroir_cli.proxy.forward import object_of, refusal_of, refused_by_a_node
from miroir_cli.proxy.query import search_request, similar_request
from miroir_cli.proxy.reads import allowed, answer_once
from miroir_cli.proxy.router import Call, Reply, Route
from miroir_cli.search.facet_search import facet_search
from miroir_cli.search.multi import multi_search, search_named
from miroir_cli.search.reading import MISSING
from miroir_cli.search.similar import similar

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.model import Json
    from miroir_cli.proxy.query import Parameters
    from miroir_cli.proxy.router import Handler


Ask = Callable[["Cluster", str, "Json"], Awaitable[dict[str, Any]]]
"""What answers a request for an index."""


def _with_body(ask: Ask) -> Handler:
    """The handler of a route whose request is its body."""

    async def handler(call: Call) -> Reply:
        async def work() -> Reply:
            request = await _allowed(call, call.uid, await object_of(call))
            return answered(await ask(call.service.cluster, call.uid, request))

        return await answer_once(call, [call.uid], work)

    return handler


def _with_parameters(ask: Ask, read: Callable[[Parameters], Json | None]) -> Handler:
    """The handler of a route whose request is made of the URL's parameters.

    What a node refuses is put to a node once more as the client wrote it: its words are about parameters then.
    """

    async def handler(call: Call) -> Reply:
        async def work() -> Reply:
            request = read(call.query)
            if request is None:
                raise await refusal_of(call)
            try:
                return answered(await ask(call.service.cluster, call.uid, await _allowed(call, call.uid, request)))
            except NodeRefusal as refusal:
                raise await refused_by_a_node(call, call.target) or refusal from None

        return await answer_once(call, [call.uid], work)

    return handler


async def search_many(call: Call) -> Reply:
    """`POST /multi-search`."""
    request = await object_of(call)
    queries = request.get("queries")
    for place, query in enumerate(queries if isinstance(queries, list) else ()):
        _require_allowed(call, place, query)

    async def work() -> Reply:
        asked = request
        if isinstance(queries, list):
            asked = {**request, "queries": [await _query_allowed(call, query) for query in queries]}
        found = await multi_search(call.service.cluster, asked)
        missing = found.get(MISSING)  # of a federation: for each index
        for result in found.get("results", ()):
            if MISSING in result:
                missing = {**(missing or {}), result["indexUid"]: result[MISSING]}
        return answered(found, missing)

    return await answer_once(call, _indexes_of(request), work)


async def _allowed(call: Call, name: str, request: Json) -> Json:
    """The request with what the caller's token filters by."""
    wanted = request.get("filter")
    narrowed = await allowed(call, name, wanted)
    return request if narrowed is wanted else {**request, "filter": narrowed}


def _require_allowed(call: Call, place: int, query: Any) -> None:
    """Raise Meilisearch's error when the caller may not search the index of one of several queries."""
    name = query.get("indexUid") if isinstance(query, dict) else None
    if isinstance(name, str) and not call.caller.sees(name):
        raise invalid_key(f"Inside `.queries[{place}]`: The provided API key is invalid.")


async def _query_allowed(call: Call, query: Any) -> Any:
    """One of several queries, with what the caller's token filters by."""
    name = query.get("indexUid") if isinstance(query, dict) else None
    return await _allowed(call, name, query) if isinstance(name, str) else query


def _indexes_of(request: Json) -> set[str]:
    """The indexes that a multi-search names, as far as it can be read."""
    queries = request.get("queries")
    uids = [query.get("indexUid") for query in queries if isinstance(query, dict)] if isinstance(queries, list) else []
    return {uid for uid in uids if isinstance(uid, str)}


def answered(found: Json, missing: Any = None) -> Reply:
    """An answer; one that lacks shards says so in a header, its body is what Meilisearch's clients know.

    `missing`: the shards that it lacks, by index where it is about several; None: those that the body names.
    """
    missing = missing or found.get(MISSING)
    return Reply(body=msgspec.json.encode(found), headers={"x-miroir-degraded": _named(missing)} if missing else {})


def _named(missing: Any) -> str:
    if isinstance(missing, dict):
        return "; ".join(f"{uid}: shards={','.join(map(str, shards))}" for uid, shards in missing.items())
    return f"shards={','.join(map(str, missing))}"


ROUTES = (
    Route("POST", "/indexes/{uid}/search", "search", _with_body(search_named)),
    Route("GET", "/indexes/{uid}/search", "search", _with_parameters(search_named, search_request)),
    Route("POST", "/indexes/{uid}/facet-search", "search", _with_body(facet_search)),
    Route("POST", "/indexes/{uid}/similar", "search", _with_body(similar)),
    Route("GET", "/indexes/{uid}/similar", "search", _with_parameters(similar, similar_request)),
    Route("POST", "/multi-search", "search", search_many),
)
