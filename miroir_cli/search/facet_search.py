"""`facet_search`: the values of a facet that begin with what somebody types, over all shards as on one node.

Each node finds the values among its own documents, typos included; the merge adds up their counts.

Source: `facet/search.rs` and `routes/indexes/facet_search.rs` of Meilisearch 1.50. Without a query values are ordered
in their normalised form, with one by the form that words have in searches (no accents); by count: most frequent first,
equal counts by descending value.
"""

from __future__ import annotations

import heapq
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from miroir_cli.errors import ReservedField
from miroir_cli.model import RESERVED_PREFIX, shard_filter
from miroir_cli.search.distinct_facet_search import count_distinct
from miroir_cli.search.facet_values import normalise
from miroir_cli.search.facets import Order, facet_rules
from miroir_cli.search.filters import rewrite
from miroir_cli.search.reading import Reader, SearchOptions, marked, read
from miroir_cli.search.request import prepare, refuse

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.model import Json, ShardId, StoredUid
    from miroir_cli.node.client import NodeClient

_OF_THE_SEARCH = (
    "q",
    "vector",
    "hybrid",
    "filter",
    "matchingStrategy",
    "attributesToSearchOn",
    "rankingScoreThreshold",
    "locales",
)
_OF_THE_FACET = ("facetName", "facetQuery", "exhaustiveFacetCount")


async def facet_search(
    cluster: Cluster, uid: str, request: Json, *, options: SearchOptions | None = None
) -> dict[str, Any]:
    """The body that one Meilisearch with all documents would answer to `POST /indexes/{uid}/facet-search`.

    Raises and marks partial answers as `search` does.
    """

    async def replay(client: NodeClient, stored_as: StoredUid, timeout: float) -> object:
        return await client.facet_search(stored_as, request, timeout=timeout)

    return await read(cluster, uid, lambda reader: _facet_search(reader, request), replay=replay, options=options)


async def _facet_search(reader: Reader, request: Json) -> dict[str, Any]:
    refuse(request)
    name = request.get("facetName")
    if isinstance(name, str) and name.startswith(RESERVED_PREFIX):
        raise ReservedField(
            f"`facetName` names `{name}`: attributes that begin with `{RESERVED_PREFIX}` are miroir's own"
        )
    searched = prepare({key: request[key] for key in _OF_THE_SEARCH if key in request}, reader.map.index)
    if searched is None or not _well_typed(request):
        raise await reader.let_a_node_refuse()
    kept = {key: request[key] for key in (*_OF_THE_SEARCH, *_OF_THE_FACET) if request.get(key) is not None}
    if searched.threshold and not (searched.semantic or searched.distinct or request.get("exhaustiveFacetCount")):
        kept = await _as_far_as_one_node_looks(reader, kept)
    filters = rewrite(request.get("filter"))

    async def ask(client: NodeClient, shards: tuple[ShardId, ...]) -> dict[str, Any]:
        body = {**kept, "filter": [*filters, shard_filter(shards)]}
        return await client.facet_search(reader.stored_as, body, timeout=reader.options.timeout)

    answers, missing = await reader.ask(ask, searched.shards)
    bodies = [answer.body for answer in sorted(answers, key=lambda answer: answer.shards)]
    rules = facet_rules(reader.map.index.settings)
    body = {**bodies[0], "processingTimeMs": max(int(each["processingTimeMs"]) for each in bodies)}
    parts = [each["facetHits"] for each in bodies]
    if searched.distinct and not searched.semantic and len(bodies) > 1:
        shards = [shard for answer in answers for shard in answer.shards]
        parts = [await count_distinct(reader, request, searched.original, shards)]
    typed = request.get("facetQuery") is not None
    body["facetHits"] = merge_hits(parts, rules.order(str(name)), typed=typed, most=rules.max_values)
    return marked(body, missing)


async def _as_far_as_one_node_looks(reader: Reader, body: dict[str, Any]) -> dict[str, Any]:
    """The request without its threshold where one node finds a page of hits above it, and then counts those below as
    well; else asking all nodes to look at every document."""
    searched = prepare({key: body[key] for key in _OF_THE_SEARCH if key in body}, reader.map.index)
    assert searched is not None

    async def ask(client: NodeClient, shards: tuple[ShardId, ...]) -> dict[str, Any]:
        return await client.search(reader.stored_as, searched.for_shards(shards), timeout=reader.options.timeout)

    answers, _ = await reader.ask(ask, searched.shards)
    if sum(len(answer.hits) for answer in answers) >= searched.window.needed:
        return {key: value for key, value in body.items() if key != "rankingScoreThreshold"}
    return {**body, "exhaustiveFacetCount": True}


def _well_typed(request: Json) -> bool:
    texts = (request.get("facetName"), request.get("facetQuery", ""))
    return all(isinstance(text, str) for text in texts) or request.get("facetQuery", "") is None


def merge_hits(parts: Sequence[Sequence[Json]], order: Order, *, typed: bool, most: int) -> list[dict[str, Any]]:
    """The facet hits of all nodes as those of one, `most` at most; each as the first node that has it spells it.

    `typed`: there is a query.
    """
    counts: dict[str, int] = {}
    spelled: dict[str, str] = {}
    for part in parts:
        for hit in part:
            key = normalise(hit["value"])
            spelled.setdefault(key, hit["value"])
            counts[key] = counts.get(key, 0) + hit["count"]
    keys = sorted(counts, key=lambda key: (_as_words(key) if typed else "", key))
    found = [(counts[key], spelled[key]) for key in keys]
    chosen = found[:most] if order == "alpha" else _most_frequent(found, most)
    return [{"value": value, "count": count} for count, value in chosen]


def _most_frequent(found: Sequence[tuple[int, str]], most: int) -> list[tuple[int, str]]:
    """The best by count, in order. Of equal counts at the end of a full list a later one takes the place of the least
    by name, as Meilisearch does it."""
    best: list[tuple[int, str]] = []
    for each in found:
        if len(best) < most:
            heapq.heappush(best, each)
        elif best and best[0][0] <= each[0]:
            heapq.heapreplace(best, each)
    return sorted(best, reverse=True)


def _as_words(text: str) -> str:
    """A normalised value as words are compared: without accents."""
    if text.isascii():
        return text
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(letter for letter in decomposed if unicodedata.category(letter) != "Mn")
