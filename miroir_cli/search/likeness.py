"""A search for similar documents, made into searches by vector for the nodes, and their answers merged. Pure.

A node can only compare with a document of its own, so the document's vector is read where it lives and looked for
everywhere. Source of what comes of it: `search/similar.rs` of Meilisearch 1.50.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from miroir_cli.documents.refusals import KEY_TEXT
from miroir_cli.errors import UsageError
from miroir_cli.search.merge import NodeAnswer, rank
from miroir_cli.search.rank import VECTOR_SORT
from miroir_cli.search.request import Prepared, prepare
from miroir_cli.search.rules import is_relevancy
from miroir_cli.search.semantics import is_number, settle_vectors
from miroir_cli.search.view import DETAILS, show, values_of
from miroir_cli.search.window import DEFAULT_LIMIT, is_size, max_total_hits

if TYPE_CHECKING:
    from miroir_cli.model import Index, Json, ShardId

_PARTS = {
    "id", "embedder", "offset", "limit", "filter", "attributesToRetrieve", "retrieveVectors", "showRankingScore",
    "showRankingScoreDetails", "rankingScoreThreshold",
}  # fmt: skip
_PASSED = ("filter", "attributesToRetrieve", "retrieveVectors", "showRankingScore", "showRankingScoreDetails")


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """A client's search for documents similar to `id`, as far as its parts are what they should be."""

    id: str
    embedder: str
    offset: int
    limit: int
    threshold: float | None
    passed: Json
    """What the nodes get of it as it is."""


def likeness_of(request: Json, settings: Json) -> Likeness | None:
    """What a request asks; None where a part of it is wrong, which a node has to say."""
    key, embedder = request.get("id"), request.get("embedder")
    offset, limit = request.get("offset", 0), request.get("limit", DEFAULT_LIMIT)
    threshold = request.get("rankingScoreThreshold")
    text = str(key) if isinstance(key, int) and not isinstance(key, bool) else key
    right = (
        not request.keys() - _PARTS
        and isinstance(text, str)
        and KEY_TEXT.fullmatch(text)
        and isinstance(embedder, str)
        and embedder in (settings.get("embedders") or {})
        and is_size(offset)
        and is_size(limit)
        and (threshold is None or (is_number(threshold) and 0 <= threshold <= 1))
    )
    if not right:
        return None
    passed = {name: request[name] for name in _PASSED if name in request}
    return Likeness(
        id=str(text), embedder=str(embedder), offset=offset, limit=limit, threshold=threshold, passed=passed
    )


def check_settings(settings: Json) -> None:
    """Raise `UsageError` where a search by vector orders otherwise than a search for similar ones."""
    for rule in settings.get("rankingRules") or ("words",):
        if is_relevancy(rule):
            return
        if rule != "sort":
            raise _cannot(f"`rankingRules` put `{rule}` before every rule about relevancy")
    raise _cannot("`rankingRules` have no rule about relevancy")


def vector_of(document: Json, asked: Likeness) -> list[float] | None:
    """The document's vector; None when it has none. Raises `UsageError` when it has several."""
    part = (document.get("_vectors") or {}).get(asked.embedder) or {}
    embeddings: list[list[float]] = part.get("embeddings") or []
    if len(embeddings) > 1:
        raise _cannot(f"document `{asked.id}` has several vectors")
    return embeddings[0] if embeddings else None


def _cannot(why: str) -> UsageError:
    return UsageError(
        f"similar documents cannot be merged exactly over several nodes: {why}", hint="ask one node directly"
    )


def search_by(vector: Sequence[float] | None, asked: Likeness, index: Index) -> Prepared | None:
    """The search that finds the nearest documents, or without a vector all. None where a part has a wrong type."""
    if vector is None:
        return prepare(asked.passed, index)
    return prepare(
        {**asked.passed, "vector": vector, "hybrid": {"embedder": asked.embedder, "semanticRatio": 1}}, index
    )


def nearest(prepared: Prepared, asked: Likeness, shards: Iterable[ShardId]) -> dict[str, Any]:
    """What to ask a node: the nearest documents, one more than wanted because the document itself is among them;
    without a vector, only how many there are. A `distinctAttribute` does not matter, nor how many a search shows."""
    return prepared.for_every(shards, most=asked.offset + asked.limit + 1 if prepared.semantic else 0)


def assemble_similar(
    asked: Likeness, prepared: Prepared, answers: Sequence[NodeAnswer], index: Index, *, among_them: bool
) -> dict[str, Any]:
    """The body for the client. `among_them`: the filter lets the document itself through."""
    at_most, wanted = max_total_hits(index.settings), asked.offset + asked.limit
    uncut = replace(prepared, window=replace(prepared.window, needed=wanted + 1))
    ranking = rank(uncut, answers, index)
    near = [hit for hit in ranking.hits if _nearness(hit) is not None]
    others = [hit for hit in near if [asked.id] != [str(value) for value in values_of(hit, prepared.primary_key)]]
    if prepared.view.vectors and prepared.view.displayed is not None:
        settle_vectors(others, prepared.view.displayed)
    total = ranking.total - among_them
    page: list[dict[str, Any]] = []
    for place, hit in enumerate(others[asked.offset : wanted], asked.offset):
        nearness = _nearness(hit)
        if asked.threshold is not None and nearness is not None and nearness < asked.threshold:
            total = place
            break
        hit[DETAILS] = {VECTOR_SORT: {"order": 0, "similarity": nearness}}
        page.append(show(hit, replace(prepared.view, hidden_rule=None)))
    return {
        "hits": page,
        "id": asked.id,
        "processingTimeMs": max(int(answer.body.get("processingTimeMs", 0)) for answer in answers),
        "limit": asked.limit,
        "offset": asked.offset,
        "estimatedTotalHits": min(total, at_most),
    }


def _nearness(hit: dict[str, Any]) -> float | None:
    found: float | None = (hit[DETAILS].get(VECTOR_SORT) or {}).get("similarity")
    return found
