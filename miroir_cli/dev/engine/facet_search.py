"""Search among the values of one facet."""

from __future__ import annotations

import time
from heapq import heappush, heapreplace
from typing import TYPE_CHECKING, Any

from .derivations import within
from .errors import EngineError
from .facet_counts import counts, facet_order, original
from .search import found_documents
from .text import normalize_word

if TYPE_CHECKING:
    from .index import Index
    from .parameters import SearchRequest


def facet_search(index: Index, name: str, query: str | None, request: SearchRequest) -> dict[str, Any]:
    """Return the values that start with the query, typos allowed, with their counts."""
    start = time.perf_counter()
    settings = index.settings
    features = settings.features(name)
    if not settings["facetSearch"]:
        message = "The facet search is disabled for this index"
        raise EngineError("facet_search_disabled", message)
    if features is None or not features.facet_search:
        message = f"Attribute `{name}` is not facet-searchable. {_advice(index, name)}"
        raise EngineError("invalid_facet_search_facet_name", message)
    docs = found_documents(index, request)
    column = index.facets.columns.get(name)
    strings = counts(column, docs)[1] if column is not None else {}
    if query:
        wanted = normalize_word(query.strip())
        allowed = _typos(index, wanted)
        strings = {value: n for value, n in strings.items() if _matches(wanted, value, allowed)}
    most = settings["faceting"]["maxValuesPerFacet"]
    ordered = sorted(strings.items(), key=lambda item: ("" if query is None else normalize_word(item[0]), item[0]))
    found = [(count, original(index, name, value, index.universe)) for value, count in ordered]
    chosen = _most_frequent(found, most) if facet_order(index, name) == "count" else found[:most]
    return {
        "facetHits": [{"value": value, "count": count} for count, value in chosen],
        "facetQuery": query,
        "processingTimeMs": int((time.perf_counter() - start) * 1000),
    }


def _most_frequent(found: list[tuple[int, str]], most: int) -> list[tuple[int, str]]:
    """The best by count; once the list is full, a value takes the place of a worst one with no higher count."""
    best: list[tuple[int, str]] = []
    for each in found:
        if len(best) < most:
            heappush(best, each)
        elif best and best[0][0] <= each[0]:
            heapreplace(best, each)
    return sorted(best, reverse=True)


def _advice(index: Index, name: str) -> str:
    features = index.settings.features(name)
    if features is not None:
        rule = features.rule
        return (
            f"Note: this attribute matches rule #{rule} in filterableAttributes, but this rule does not enable"
            f' facetSearch.\nHint: enable facetSearch in rule #{rule} by adding `"facetSearch": true` to the rule.'
            f"\nHint: prepend another rule matching {name} with facetSearch: true before rule #{rule}"
        )
    known = index.settings.patterns(lambda features: features.facet_search)
    if not known:
        return "This index does not have configured facet-searchable attributes."
    return (
        f"Available facet-searchable attributes patterns are: `{', '.join(known)}`."
        " To make it facet-searchable add it to the `filterableAttributes` index settings."
    )


def _typos(index: Index, word: str) -> int:
    tolerance = index.settings["typoTolerance"]
    sizes = tolerance["minWordSizeForTypos"]
    if not tolerance["enabled"] or len(word) < sizes["oneTypo"]:
        return 0
    return 1 if len(word) < sizes["twoTypos"] else 2


def _matches(wanted: str, value: str, typos: int) -> bool:
    folded = normalize_word(value)
    if folded.startswith(wanted):
        return True
    if not typos:
        return False
    away = within(wanted, folded, typos, prefix=True)
    same_first = folded[:1] == wanted[:1]
    return away is not None and (same_first or (typos == 2 and away <= 1))
