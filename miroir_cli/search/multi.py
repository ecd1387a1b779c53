"""`multi-search`: several queries in one request, each for itself or all as one list.

Errors are those of one Meilisearch, in its order: first what is wrong with the request's shape, in a node's words, then
what is wrong with a query.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from miroir_cli.errors import MiroirError, UsageError
from miroir_cli.search.federated import federated_search
from miroir_cli.search.federation import Query, read_federation, read_queries
from miroir_cli.search.reading import SearchOptions, all_outcomes
from miroir_cli.search.refusal import inside
from miroir_cli.search.scatter import search
from miroir_cli.search.shape import first_error, unreadable

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.model import Json


async def multi_search(cluster: Cluster, request: Json, *, options: SearchOptions | None = None) -> dict[str, Any]:
    """The body that one Meilisearch with all documents would answer to `POST /multi-search`.

    Raises as `search` does; the message begins with ``Inside `.queries[1]`: `` where a query is at fault. Parts of
    an answer that are missing, where that was allowed, are named as by `search`: in each result, or of a federation
    for each index.
    """
    chosen = options or SearchOptions()
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
    return await federated_search(cluster, request, queries, federation, options=chosen)


async def _each_for_itself(
    cluster: Cluster, request: Json, queries: Sequence[Query], options: SearchOptions
) -> dict[str, Any]:
    async def one(query: Query) -> dict[str, Any]:
        if query.options is not None:
            misplaced = {"queries": [{"indexUid": query.uid, "federationOptions": {}}]}
            error = await unreadable(cluster, misplaced)
            error.message = error.message.removeprefix("Inside `.queries[0]`: ")
            raise error
        return {"indexUid": query.uid, **await search(cluster, query.uid, query.request, options=options)}

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
