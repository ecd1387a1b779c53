"""Answers of several nodes become the answer of one node that has everything. Pure.

Each node answers for shards of its own, so that nothing counts twice: hits are ordered by their ranks, counts are
added up. Everything that miroir asked for itself is taken away again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from miroir_cli.indexes.settings import NODE_MAX_TOTAL_HITS
from miroir_cli.search.facets import NO_DOCUMENTS, DocumentFacets, FacetRules, facet_answer, merge_facets
from miroir_cli.search.geo import ORDERED_BY_METRES_BELOW
from miroir_cli.search.pins import around_pins, pinned, separate, unpinned
from miroir_cli.search.rank import Hit, by_its_vector, identity, rank_keys
from miroir_cli.search.reach import goes_beyond, reach
from miroir_cli.search.rescore import rescore
from miroir_cli.search.semantics import settle_vectors
from miroir_cli.search.view import DETAILS, show

if TYPE_CHECKING:
    from miroir_cli.model import Index, NodeName, ShardId
    from miroir_cli.search.request import Prepared

_PAGINATION = ("limit", "offset", "estimatedTotalHits", "hitsPerPage", "page", "totalPages", "totalHits")
_FACETS = ("facetDistribution", "facetStats")
SEMANTIC_HITS = "semanticHitCount"

Facets = tuple[dict[str, dict[str, int]], dict[str, Any]]
"""`facetDistribution` and `facetStats`."""


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
    """The hits of all nodes in order, as many as the window needs; how many there are in all; the client's facets."""

    hits: list[Hit]
    total: int
    facets: Facets | None = None


def merge(
    prepared: Prepared,
    answers: Sequence[NodeAnswer],
    index: Index,
    *,
    counted: Sequence[NodeAnswer] | None = None,
    listed: Sequence[NodeAnswer] | None = None,
) -> dict[str, Any]:
    """The body for the client. The answers must not share a shard; they are used up.

    `counted` are answers about the same shards that only count, where those of the nodes do not add up (`needs_count`),
    `listed` those with whole facets, where those of the nodes are cut short (`whole_facets.py`).
    Raises `UsageError` when the answers cannot be merged exactly.
    """
    return assemble(prepared, answers, rank(prepared, answers, index, counted=counted, listed=listed))


def rank(
    prepared: Prepared,
    answers: Sequence[NodeAnswer],
    index: Index,
    *,
    counted: Sequence[NodeAnswer] | None = None,
    listed: Sequence[NodeAnswer] | None = None,
) -> Ranking:
    """The hits of the answers in the order of one node; raises as `merge` does.

    The hits still have everything that the nodes sent (`view.show` takes it away).
    """
    counting = answers if counted is None else counted
    hits = ordered_hits(prepared, answers, index)
    if len(hits) < sum(len(answer.hits) for answer in answers):
        hits = with_pins(prepared, answers, hits)
    return Ranking(
        hits=hits[: prepared.window.needed],
        total=sum(answer.total for answer in counting),
        facets=merged_facets(listed or counting, prepared.facets) if prepared.facets else None,
    )


def with_pins(prepared: Prepared, answers: Sequence[NodeAnswer], hits: list[Hit]) -> list[Hit]:
    """Ranked hits of several nodes with the pinned ones of all in their places."""
    if len(answers) == 1:
        return hits
    found = [hit for answer in answers for hit in pinned(answer.hits)]
    if not found:
        return hits
    pins, _ = separate(found, lambda hit: hit)
    pins.sort(key=lambda pin: (pin[0], identity(pin[1], prepared.primary_key)))
    return list(around_pins(pins, hits))


def needs_count(prepared: Prepared, answers: Sequence[NodeAnswer]) -> bool:
    """Whether matching documents must be counted apart, because how many a node counts depends on how far it looked.

    One node that has found enough hits above a threshold counts those below as well, but some of these nodes may have
    gone on looking; asked for pages all have.
    """
    window = prepared.window
    if not prepared.threshold or window.counts_everything:
        return False
    found = [len(answer.hits) for answer in answers]
    if sum(found) < window.needed:
        return False
    return not prepared.distinct if window.pages else len(answers) > 1 and min(found) < window.needed


def reaches(prepared: Prepared, answers: Sequence[NodeAnswer], index: Index, more: int) -> bool:
    """Whether nodes that were asked for `more` hits beyond the window sent all that decide about a sort by distance.

    The details of their hits name the first of their ranks afterwards, as `rank` leaves them.
    """
    asked = max(prepared.pagination(more).values())
    cut = [answer for answer in answers if _is_cut(answer)]
    if not prepared.window.needed or not cut or asked >= NODE_MAX_TOTAL_HITS:
        return True
    ends = [reach(answer.hits[-1]) for answer in cut]
    others: list[Hit] | None = None
    if sum(answer.total for answer in answers) >= ORDERED_BY_METRES_BELOW:
        others = list(map(_copy, ordered_hits(prepared, answers, index, crowded=False)[: prepared.window.needed]))
    hits = ordered_hits(prepared, answers, index)[: prepared.window.needed]
    if others is not None and others != hits:
        return False
    return len(hits) < prepared.window.needed or all(goes_beyond(end, reach(hits[-1])) for end in ends)


def cut_short(answers: Sequence[NodeAnswer], ranking: Ranking, needed: int) -> list[NodeAnswer]:
    """Answers behind whose last hit more may belong among the first `needed`: it is one of these itself."""
    last = {id(answer.hits[-1]): answer for answer in answers if _is_cut(answer) and len(answer.hits) < needed}
    return [last[id(hit)] for hit in ranking.hits if id(hit) in last] if last else []


def _is_cut(answer: NodeAnswer) -> bool:
    """Whether a node has more hits than it sent."""
    return 0 < len(answer.hits) < answer.total


def _copy(hit: Hit) -> Hit:
    """A hit whose details stay as they are when those of the other are changed."""
    return hit | ({DETAILS: {name: dict(detail) for name, detail in hit[DETAILS].items()}} if DETAILS in hit else {})


def ordered_hits(prepared: Prepared, answers: Sequence[NodeAnswer], index: Index, *, crowded: bool = True) -> list[Hit]:
    """All ranked hits in the order of one node, without the pinned ones. Equal ones stand by primary key, or as the
    nodes sent them where the index has no tie-break (then also the nodes' lists are not ordered by it)."""
    if len(answers) == 1:
        return answers[0].hits
    hits: list[Hit] = []
    ends: list[int] = []
    ordered = _by_shard(answers)
    for answer in ordered:
        hits += unpinned(answer.hits)
        if _is_cut(answer):
            ends.append(len(hits) - 1)
    keys = rank_keys(
        hits,
        primary_key=prepared.primary_key,
        candidates=sum(answer.total for answer in ordered),
        ends=ends,
        crowded=crowded,
        whole=index.tie_break,
    )
    if not index.tie_break:
        keys = [key[:-1] for key in keys]
    if prepared.scored:
        rescore(hits)
    return [hits[place] for place in sorted(range(len(hits)), key=keys.__getitem__)]


def merged_facets(answers: Sequence[NodeAnswer], rules: FacetRules, documents: DocumentFacets = NO_DOCUMENTS) -> Facets:
    """What the nodes counted, and `documents` that were counted here."""
    return merge_facets([facet_answer(answer.body, answer.total) for answer in _by_shard(answers)], rules, documents)


def assemble(prepared: Prepared, answers: Sequence[NodeAnswer], ranking: Ranking) -> dict[str, Any]:
    """The first node's body with everything replaced that is not its own affair; the keys keep their order."""
    ordered = _by_shard(answers)
    window, view = prepared.window, prepared.view
    hits = ranking.hits[window.skip : window.skip + window.take]
    by_vector = 0
    if SEMANTIC_HITS in ordered[0].body:  # a node with pins merges from the first hit
        by_vector = sum(map(by_its_vector, ranking.hits if pinned(ranking.hits) else hits))
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
        elif ranking.facets is not None:
            body["facetDistribution"], body["facetStats"] = ranking.facets
    return body


def _by_shard(answers: Sequence[NodeAnswer]) -> list[NodeAnswer]:
    return sorted(answers, key=lambda answer: answer.shards)


def _numbers(answers: Sequence[NodeAnswer], key: str) -> Iterable[int]:
    return (int(answer.body.get(key, 0)) for answer in answers)
