"""`multi-search`: several queries in one request, each for itself or all as one list. And a search by a name, which may
be one of several indexes.

Errors are those of one Meilisearch, in its order: first what is wrong with the request's shape, in a node's words, then
what is wrong with a query.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from miroir_cli.errors import MiroirError, MultiAlias, TemporaryError, UsageError
from miroir_cli.search.federated import federated_search
from miroir_cli.search.federation import Query, read_federation, read_queries, spread
from miroir_cli.search.reading import ATTEMPTS, SearchOptions, all_outcomes
from miroir_cli.search.refusal import inside
from miroir_cli.search.scatter import search
from miroir_cli.search.shape import first_error, unreadable

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.model import IndexUid, Json

OF_ALL: Final = ("limit", "offset", "page", "hitsPerPage", "distinct", "personalize", "showPerformanceDetails")
"""What a federated search is told once, and not with each query."""


async def search_named(
    cluster: Cluster, name: str, request: Json, *, options: SearchOptions | None = None
) -> dict[str, Any]:
    """`search` of the index that a name stands for, or of all that an alias of several stands for: one list, as a
    federated search makes it, whose hits tell by `_federation` where they come from."""
    for _ in range(ATTEMPTS):
        try:
            return await search(cluster, name, request, options=options)
        except MultiAlias:
            alias = await cluster.store.alias(name)
        if alias is None or alias.target is not None:
            continue
        try:
            found = await multi_search(cluster, _of_several(alias.targets, request), options=options)
        except MiroirError:
            if await cluster.store.alias(name) != alias:
                continue
            for uid in alias.targets:  # a request that is wrong is wrong by itself, and told so without the queries
                await search(cluster, uid, request, options=options)
            raise
        if await cluster.store.alias(name) == alias:
            return {"hits": found.pop("hits"), "query": request.get("q") or "", **found}
    raise TemporaryError(
        f"alias `{name}` was changed {ATTEMPTS} times while it was searched", hint="run the same search again"
    )


def _of_several(uids: Sequence[IndexUid], request: Json) -> dict[str, Any]:
    """A search of several indexes as one multi-search."""
    query = {key: value for key, value in request.items() if key not in OF_ALL and key != "facets"}
    federation = {key: request[key] for key in OF_ALL if request.get(key) is not None}
    facets = request.get("facets")
    if facets is not None:
        federation |= {"facetsByIndex": dict.fromkeys(uids, facets), "mergeFacets": {}}
    return {"federation": federation, "queries": [{"indexUid": uid, **query} for uid in uids]}


async def multi_search(cluster: Cluster, request: Json, *, options: SearchOptions | None = None) -> dict[str, Any]:
    """The body that one Meilisearch with all documents would answer to `POST /multi-search`.

    All of it is of one moment as far as names of indexes and aliases are concerned: it starts again when some have
    changed. Raises as `search` does; the message begins with ``Inside `.queries[1]`: `` where a query is at fault.
    Parts of an answer that are missing, where that was allowed, are named as by `search`: in each result, or of a
    federation for each index.
    """
    for _ in range(ATTEMPTS):
        names = await cluster.heed_names()
        try:
            found = await _multi_search(cluster, request, options or SearchOptions())
        except MiroirError:
            if names == await cluster.heed_names():
                raise
        else:
            if names == await cluster.heed_names():
                return found
    raise TemporaryError(
        f"indexes were renamed {ATTEMPTS} times while they were searched", hint="run the same search again"
    )


async def _multi_search(cluster: Cluster, request: Json, chosen: SearchOptions) -> dict[str, Any]:
    queries = read_queries(request)
    if queries is None:
        raise await unreadable(cluster, request)
    if request.get("federation") is None:
        return await _each_for_itself(cluster, request, queries, chosen)
    federation = read_federation(request["federation"], queries)
    if federation is None:
        raise await unreadable(cluster, request)
    if federation.unmergeable:
        raise UsageError(f"cannot be merged exactly over several nodes: {federation.unmergeable}", hint="leave it out")
    targets = await _several_of(cluster, {query.uid for query in queries} | federation.facets.keys())
    queries, federation = spread(queries, federation, targets)
    return await federated_search(cluster, request, queries, federation, options=chosen)


async def _several_of(cluster: Cluster, names: Iterable[str]) -> dict[str, Sequence[IndexUid]]:
    """Those of the names that stand for several indexes, with these."""
    found: dict[str, Sequence[IndexUid]] = {}
    for name in sorted(names):
        try:
            await cluster.named(name)
        except MultiAlias:
            alias = await cluster.store.alias(name)
            if alias is not None and alias.target is None:
                found[name] = alias.targets
        except MiroirError:  # whoever searches it will say so
            continue
    return found


async def _each_for_itself(
    cluster: Cluster, request: Json, queries: Sequence[Query], options: SearchOptions
) -> dict[str, Any]:
    async def one(query: Query) -> dict[str, Any]:
        if query.options is not None:
            misplaced = {"queries": [{"indexUid": query.uid, "federationOptions": {}}]}
            error = await unreadable(cluster, misplaced)
            error.message = error.message.removeprefix("Inside `.queries[0]`: ")
            raise error
        return {"indexUid": query.uid, **await search_named(cluster, query.uid, query.request, options=options)}

    outcomes = await all_outcomes(one(query) for query in queries)
    errors = [
        inside(outcome, query.uid, f".queries[{query.position}]")
        for query, outcome in zip(queries, outcomes, strict=True)
        if isinstance(outcome, MiroirError)
    ]
    if errors:
        raise await first_error(cluster, request, errors)
    results = [result for result in outcomes if not isinstance(result, MiroirError)]
    for result in results:
        if "requestUid" in result:
            result["requestUid"] = results[0]["requestUid"]
    return {"results": results}
