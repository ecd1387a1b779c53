"""Answers of several nodes become the answer of one node that has everything. Pure.

Each node answers for shards of its own, so that nothing counts twice: hits are ordered by their ranks, counts are
added up. Everything that miroir asked for itself is taken away again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from miroir_cli.errors import UsageError
from miroir_cli.search.facets import FacetAnswer, FacetRules, facet_answer, merge_facets, normalise
from miroir_cli.search.rank import Hit, by_its_vector, rank_keys
from miroir_cli.search.rescore import rescore
from miroir_cli.search.semantics import settle_vectors
from miroir_cli.search.view import show, values_of

if TYPE_CHECKING:
    from miroir_cli.model import Index, NodeName, ShardId
    from miroir_cli.search.request import Prepared

_PAGINATION = ("limit", "offset", "estimatedTotalHits", "hitsPerPage", "page", "totalPages", "totalHits")
_FACETS = ("facetDistribution", "facetStats")
SEMANTIC_HITS = "semanticHitCount"
_ALL_VALUES = 2**62


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeAnswer:
    """A node's body for the shards that it was asked about."""

    node: NodeName
    shards: tuple[ShardId, ...]
    body: dict[str, Any]

    @property
    def hits(self) -> list[Hit]:
        found: list[Hit] = self.body["hits"]
        return found

    @property
    def total(self) -> int:
        return int(self.body.get("totalHits", self.body.get("estimatedTotalHits", 0)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """The hits of all nodes in order, as many as the window needs, and how many there are in all."""

    hits: list[Hit]
    total: int


def merge(
    prepared: Prepared, answers: Sequence[NodeAnswer], index: Index, *, counted: Sequence[NodeAnswer] | None = None
) -> dict[str, Any]:
    """The body for the client. The answers must not share a shard; they are used up.

    `counted` are answers about the same shards that only count, where those of the nodes do not add up (`needs_count`).
    Raises `UsageError` when the answers cannot be merged exactly.
    """
    return assemble(prepared, answers, rank(prepared, answers, index, counted=counted))


def rank(
    prepared: Prepared, answers: Sequence[NodeAnswer], index: Index, *, counted: Sequence[NodeAnswer] | None = None
) -> Ranking:
    """The hits of the answers in the order of one node; raises as `merge` does."""
    ordered = sorted(answers, key=lambda answer: answer.shards)
    total = sum(answer.total for answer in ordered)
    hits = _ordered_hits(prepared, ordered, index, total)
    if len(ordered) > 1 and prepared.scored:
        rescore(hits)
    if prepared.distinct and len(ordered) > 1:
        hits, total = _distinct(prepared, ordered, hits, prepared.distinct)
    hits = hits[: prepared.window.needed]
    if counted is not None:
        total = _counted(counted, hits, prepared.distinct)
    return Ranking(hits=hits, total=total)


def needs_count(prepared: Prepared, answers: Sequence[NodeAnswer]) -> bool:
    """Whether matching documents must be counted apart, because how many a node counts depends on how far it looked.

    One node that has found enough hits above a threshold counts those below as well, but some of these nodes may have
    gone on looking. With `distinct`, one node leaves out the documents that share a value with the hits it found.
    """
    if prepared.window.pages or len(answers) < 2:
        return False
    if prepared.original.get("distinct"):
        return True
    found = [len(answer.hits) for answer in answers]
    return prepared.threshold and sum(found) >= prepared.window.needed and min(found) < prepared.window.needed


def _counted(counts: Sequence[NodeAnswer], hits: Sequence[Hit], distinct: str | None) -> int:
    """What one node counts that stopped after `hits`."""
    total = sum(count.total for count in counts)
    if distinct is None:
        return total
    often: dict[str, int] = {}
    for count in counts:
        for value, documents in count.body.get("facetDistribution", {}).get(distinct, {}).items():
            key = normalise(value)
            often[key] = often.get(key, 0) + documents
    shown = {value for hit in hits for value in map(_facet_text, values_of(hit, distinct)) if value in often}
    return total - sum(often[value] - 1 for value in shown)


def _facet_text(value: Any) -> str:
    """A value as the key that Meilisearch gives it among the facets."""
    comparable = _comparable(value)
    if not isinstance(comparable, float):
        return str(comparable)
    return str(int(comparable)) if comparable.is_integer() else repr(comparable)


def _ordered_hits(prepared: Prepared, answers: Sequence[NodeAnswer], index: Index, total: int) -> list[Hit]:
    """All hits in the order of one node. Equal ones stand by primary key, or as the nodes sent them where the
    index has no tie-break (then also the nodes' lists are not ordered by it)."""
    if len(answers) == 1:
        return answers[0].hits
    hits = [hit for answer in answers for hit in answer.hits]
    keys = rank_keys(hits, primary_key=prepared.primary_key, candidates=total)
    if not index.tie_break:
        keys = [key[:-1] for key in keys]
    return [hits[place] for place in sorted(range(len(hits)), key=keys.__getitem__)]


def _distinct(
    prepared: Prepared, answers: Sequence[NodeAnswer], hits: list[Hit], attribute: str
) -> tuple[list[Hit], int]:
    """The hits without those whose value a better one has, and how many such documents there are.

    Exact for one value a document: what a node left out has the value of a hit that it kept. A hit of several values
    that falls away here may have pushed out others on its node, so that is refused.
    """
    kept: list[Hit] = []
    seen: set[Any] = set()
    for hit in hits:
        values = set(map(_comparable, values_of(hit, attribute))) - {None}
        if not values & seen:
            seen |= values
            kept.append(hit)
        elif len(values) > 1:
            raise UsageError(
                f"`distinct` by `{attribute}` cannot be merged exactly: documents have several values in it",
                hint="use an attribute with one value a document",
            )
    if prepared.counts_values:
        return kept, _count_distinct(answers, attribute)
    return kept, sum(answer.total for answer in answers) - (len(hits) - len(kept))


def _comparable(value: Any) -> Any:
    """A value as Meilisearch tells distinct ones apart; None for what it does not count as one."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return float(value)
    return normalise(value) if isinstance(value, str) else None


def _count_distinct(answers: Sequence[NodeAnswer], attribute: str) -> int:
    """Different values over all nodes, and on each node the documents without one."""
    parts = [facet_answer(answer.body, answer.total) for answer in answers]
    everything = FacetRules(max_values=_ALL_VALUES, orders={})
    return _values(parts, attribute, everything) + sum(
        part.candidates - _values([part], attribute, everything) for part in parts
    )


def _values(parts: Sequence[FacetAnswer], attribute: str, rules: FacetRules) -> int:
    distribution, _ = merge_facets(parts, rules)
    return len(distribution.get(attribute, ()))


def assemble(prepared: Prepared, answers: Sequence[NodeAnswer], ranking: Ranking) -> dict[str, Any]:
    """The first node's body with everything replaced that is not its own affair; the keys keep their order."""
    ordered = sorted(answers, key=lambda answer: answer.shards)
    window, view = prepared.window, prepared.view
    hits = ranking.hits[window.skip : window.skip + window.take]
    by_vector = sum(by_its_vector(hit) for hit in hits)
    if view.vectors and view.displayed is not None:
        settle_vectors(ranking.hits, view.displayed)
    body: dict[str, Any] = {}
    for key, value in ordered[0].body.items():
        if key == "hits":
            body[key] = [show(hit, view) for hit in hits]
        elif key == "processingTimeMs":
            body[key] = max(_numbers(ordered, key))
        elif key in _PAGINATION:
            body.update(window.totals(ranking.total))
        elif key == SEMANTIC_HITS:
            body[key] = by_vector
        elif key not in _FACETS:
            body[key] = value
        elif prepared.facets is not None:
            _add_facets(body, ordered, prepared.facets)
    return body


def _numbers(answers: Sequence[NodeAnswer], key: str) -> Iterable[int]:
    return (int(answer.body.get(key, 0)) for answer in answers)


def _add_facets(body: dict[str, Any], answers: Sequence[NodeAnswer], rules: FacetRules) -> None:
    if "facetDistribution" not in body:
        parts = [facet_answer(answer.body, answer.total) for answer in answers]
        body["facetDistribution"], body["facetStats"] = merge_facets(parts, rules)
