"""Documents whose vectors are near those of another document."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from . import filters
from .changes import document_id
from .errors import EngineError
from .score import VectorSort
from .search import chosen, with_score
from .vectors import similarity

if TYPE_CHECKING:
    from .index import Index
    from .parameters import SimilarRequest

_CODE = "invalid_similar_filter"


def similar(index: Index, request: SimilarRequest) -> dict[str, Any]:
    """Answer a search for similar documents; raises `EngineError` for what the index does not allow."""
    start = time.perf_counter()
    if request.embedder not in index.settings["embedders"]:
        message = f"Cannot find embedder with name `{request.embedder}`."
        raise EngineError("invalid_similar_embedder", message)
    if request.filter is not None:
        filters.check(request.filter, _CODE)
    id_ = _id(request.id)
    target = index.numbers.get(id_)
    if target is None:
        raise EngineError("not_found_similar_id", f"Document `{id_}` not found.")
    candidates = filters.evaluate(index, request.filter, _CODE, named=False) & ~(1 << target)
    hits: list[dict[str, Any]] = []
    seen = 0
    for near, number in _neighbours(index, request.embedder, target, candidates)[: request.offset + request.limit]:
        seen |= 1 << number
        if seen.bit_count() <= request.offset:
            continue
        if request.ranking_score_threshold is not None and near < request.ranking_score_threshold:
            candidates &= seen & ~(1 << number)
            break
        hits.append(with_score(chosen(index, number, request)[1], (VectorSort(near),), request))
    return {
        "hits": hits,
        "id": id_,
        "processingTimeMs": int((time.perf_counter() - start) * 1000),
        "limit": request.limit,
        "offset": request.offset,
        "estimatedTotalHits": min(candidates.bit_count(), index.settings["pagination"]["maxTotalHits"]),
    }


def _id(value: Any) -> str:
    try:
        return document_id({"id": value}, "id")
    except EngineError as error:
        raise EngineError("invalid_similar_id", f"Invalid value at `.id`: {error.message}") from None


def _neighbours(index: Index, embedder: str, target: int, candidates: int) -> list[tuple[float, int]]:
    """The candidates with a vector, the nearest first. First vectors are compared with first ones, second ones with
    second ones: the nearest pair counts."""
    vectors = index.vectors.vectors.get(embedder, {})
    found = [
        (max(map(similarity, vectors[target], others)), number)
        for number, others in vectors.items()
        if target in vectors and candidates >> number & 1
    ]
    return sorted(found, key=lambda pair: (-pair[0], pair[1]))
