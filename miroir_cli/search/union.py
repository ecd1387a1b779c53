"""How many documents several queries of one index find together, and the facets of these documents.

A node counts documents that several queries find once, if it is asked all of them in one federated search. What it does
not compare, because of the rule that miroir adds to its ranking rules, are queries with words and queries without: the
latter, and most of those by vectors, are one filter, and what the former find beyond it is counted apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from miroir_cli.model import ABSENT_FIELD, shard_filter
from miroir_cli.search.filters import as_text

if TYPE_CHECKING:
    from miroir_cli.model import ShardId, StoredUid
    from miroir_cli.node.client import NodeClient
    from miroir_cli.search.request import Prepared

_FINDS = ("q", "matchingStrategy", "attributesToSearchOn", "locales")


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """One query as far as it decides what is found. `threshold`: documents that score less do not count.

    `by_vector`: it finds all that its filter keeps, but for words that must not be in a document, and for a threshold.
    """

    prepared: Prepared
    threshold: float | None
    by_vector: bool = False

    @property
    def is_a_filter(self) -> bool:
        """Whether the filter alone decides."""
        words = self.prepared.body.get("q") or ""
        if self.by_vector:
            return self.threshold is None and "-" not in words
        return not words.strip()

    def body(self) -> dict[str, Any]:
        parts = (*_FINDS, *(("vector", "hybrid") if self.by_vector else ()))
        found = {key: self.prepared.body[key] for key in parts if key in self.prepared.body}
        if self.prepared.distinct and self.prepared.distinct.by_default:
            found["distinct"] = ABSENT_FIELD
        return found if self.threshold is None else {**found, "rankingScoreThreshold": self.threshold}


@dataclass(frozen=True, slots=True, kw_only=True)
class Union:
    """The queries of one index, to be counted together."""

    queries: Sequence[Counted]
    facets: Sequence[str]

    async def ask(
        self, client: NodeClient, index: StoredUid, shards: Iterable[ShardId], timeout: float
    ) -> dict[str, Any]:
        """One node's answer for its shards: `{"parts": [...]}`, bodies of searches that have no document in common."""
        everything = [shard_filter(shards)]
        worded = [query for query in self.queries if not query.is_a_filter]
        filters = [query.prepared.filters for query in self.queries if query.is_a_filter]
        parts = []
        if filters:
            anything = not all(filters)
            rest = [] if anything else [" OR ".join(f"({as_text(each)})" for each in filters)]
            body = {"limit": 0, "filter": [*everything, *rest], "facets": self.facets}
            parts.append(await client.search(index, body, timeout=timeout))
            if anything:
                worded = []
            everything += [f"NOT ({text})" for text in rest]
        if worded:
            parts.append(await self._ask_for_words(client, index, worded, everything, timeout))
        return {"parts": parts, "estimatedTotalHits": sum(int(part["estimatedTotalHits"]) for part in parts)}

    async def _ask_for_words(
        self,
        client: NodeClient,
        index: StoredUid,
        worded: Sequence[Counted],
        shared: Sequence[str],
        timeout: float,
    ) -> dict[str, Any]:
        exhaustive = any(query.threshold is not None for query in worded)
        looking = any(query.by_vector for query in worded)  # asked for no hits a node would not look at vectors
        body = {
            "queries": [
                {"indexUid": index, **query.body(), "filter": [*query.prepared.filters, *shared]} for query in worded
            ],
            "federation": {
                **({"page": 1, "hitsPerPage": 1} if exhaustive else {"limit": int(looking)}),
                **({"facetsByIndex": {index: list(self.facets)}} if self.facets else {}),
            },
        }
        found = await client.read("multi-search", body, timeout=timeout)
        facets: Mapping[str, Any] = (found.get("facetsByIndex") or {}).get(index) or {}
        return {
            "estimatedTotalHits": found.get("totalHits", found.get("estimatedTotalHits")),
            "facetDistribution": facets.get("distribution"),
            "facetStats": facets.get("stats"),
        }
