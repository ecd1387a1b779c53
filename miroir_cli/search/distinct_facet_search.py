"""Facet search on an index with a `distinctAttribute`, over several nodes.

A facet search has no parameter that keeps a node from leaving documents out because of their distinct value, so that
neither its counts add up nor does it list every value that matches. How many documents count is therefore asked as for
a search with facets; of the nodes' facet searches only this is used: which of these values match what somebody types.
A node leaves out those documents that share a distinct value with its first hits, no more, so that values that it did
not come across are asked about again, by themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from miroir_cli.errors import UsageError
from miroir_cli.model import shard_filter
from miroir_cli.search.distinct import with_any
from miroir_cli.search.distinct_answer import EVERY_VALUE
from miroir_cli.search.facet_values import normalise
from miroir_cli.search.facets import FacetAnswer, facet_answer, facet_rules, strings_of
from miroir_cli.search.questions import hits_of, prepared_for, ranking_of
from miroir_cli.search.request import filtered_by_equality

if TYPE_CHECKING:
    from miroir_cli.model import Json, ShardId
    from miroir_cli.node.client import NodeClient
    from miroir_cli.search.facets import Order
    from miroir_cli.search.reading import Reader

ROUNDS = 12
"""How often the nodes are asked about values that they did not come across."""


async def count_distinct(
    reader: Reader, request: Json, searched: Json, shards: Sequence[ShardId]
) -> list[dict[str, Any]]:
    """The facet hits of all nodes, unordered. `searched`: the search whose documents count.

    Raises `UsageError` where the nodes do not come across all values in `ROUNDS` rounds.
    """
    name, query = str(request["facetName"]), request.get("facetQuery")
    order = facet_rules(reader.map.index.settings).order(name)
    pages = {"page": 0} if request.get("exhaustiveFacetCount") else {}
    prepared = await prepared_for(reader, {**searched, **pages, "facets": [name]})
    rules = replace(facet_rules(reader.map.index.settings), max_values=EVERY_VALUE)
    answers = await reader.ask_all(hits_of(reader, prepared), shards)
    ranking = await ranking_of(reader, replace(prepared, facets=rules), answers)
    distribution, stats = ranking.facets or ({}, {})
    whole = FacetAnswer(distribution=distribution, stats=stats, candidates=ranking.total)
    counts = strings_of(whole, name, order)
    if query is None:
        return [{"value": value, "count": count} for value, count in counts.items()]
    keys = {normalise(value): value for value in counts}
    matching = await _Matching(reader=reader, name=name, query=query, order=order, shards=shards).among(keys)
    return [{"value": matching[key], "count": counts[value]} for key, value in keys.items() if key in matching]


@dataclass(frozen=True, kw_only=True)
class _Matching:
    """The question which values of a facet match what somebody types."""

    reader: Reader
    name: str
    query: str
    order: Order
    shards: Sequence[ShardId]

    async def among(self, keys: Mapping[str, str]) -> dict[str, str]:
        """Those of the values, given in their normalised form, that match, as a node spells them."""
        matching: dict[str, str] = {}
        left = set(keys)
        by_filter = filtered_by_equality(self.name, self.reader.map.index.settings)
        for number in range(ROUNDS if by_filter else 1):
            if not left:
                break
            found, seen = await self._ask(with_any(self.name, left) if number else "")
            matching |= {key: value for key, value in found.items() if key not in matching}
            if number and not seen & left:
                break  # the documents have changed meanwhile
            left -= seen
        else:
            if left:
                raise UsageError(
                    f"facet search cannot be merged exactly over several nodes: index `{self.reader.uid}` has a "
                    f"`distinctAttribute`, and too many values of `{self.name}` are in documents that it leaves out",
                    hint="ask for the facet's values with `miroir search --facets`",
                )
        return matching

    async def _ask(self, only: str) -> tuple[dict[str, str], Set[str]]:
        """Values of the documents that pass a filter: those that match, and all that the nodes came across."""

        async def ask(client: NodeClient, shards: tuple[ShardId, ...]) -> dict[str, Any]:
            filters = [*([only] if only else []), shard_filter(shards)]
            uid, timeout = self.reader.stored_as, self.reader.options.timeout
            body = {"facetName": self.name, "facetQuery": self.query, "filter": filters}
            found = await client.facet_search(uid, body, timeout=timeout)
            same = {"facets": [self.name], "attributesToRetrieve": [], "filter": filters}
            return {**found, "seen": await client.search(uid, same, timeout=timeout)}

        found: dict[str, str] = {}
        seen: set[str] = set()
        for answer in await self.reader.ask_all(ask, self.shards):
            for hit in answer.body["facetHits"]:
                found.setdefault(normalise(hit["value"]), hit["value"])
            body = answer.body["seen"]
            listed = facet_answer(body, int(body["estimatedTotalHits"]))
            seen.update(map(normalise, strings_of(listed, self.name, self.order)))
        return found, seen
