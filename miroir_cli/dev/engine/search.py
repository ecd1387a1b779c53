"""A search: filter, rank, page, shape the answer."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import facet_counts, filters
from .errors import EngineError
from .geo import distance
from .matches import Matcher, formatted
from .query import read_query
from .ranking import Ranked, Wanted, field_scope, rank
from .score import global_score, shown
from .shape import select
from .sorting import SortRule, parse_sort

if TYPE_CHECKING:
    from .index import Index
    from .parameters import SearchRequest
    from .query import Query
    from .score import Detail


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checked:
    """A request whose names were checked against the index."""

    request: SearchRequest
    sort: list[SortRule]
    distinct: str | None
    facets: list[str] | None
    query: Query


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The best documents of an index for a request, in their order."""

    index: Index
    checked: _Checked
    ranked: Ranked
    matcher: Matcher


def find(index: Index, request: SearchRequest, count: int, exhaustive: bool) -> Found:
    """Rank at least `count` documents; raises `EngineError` for what the index does not allow."""
    checked = _check(index, request)
    return Found(
        index=index,
        checked=checked,
        ranked=_ranked(index, checked, count, exhaustive=exhaustive),
        matcher=Matcher(index, checked.query, field_scope(index, request.attributes_to_search_on)),
    )


def shown_hit(found: Found, number: int, details: tuple[Detail, ...]) -> dict[str, Any]:
    """Return a document as the request wants to see it."""
    return _hit(found.index, found.checked, found.matcher, number, details)


def search(index: Index, request: SearchRequest) -> dict[str, Any]:
    """Answer a search; raises `EngineError` for what the index does not allow."""
    start = time.perf_counter()
    skip, take = request.window()
    limit = min(skip + take, index.settings["pagination"]["maxTotalHits"])
    found_hits = find(index, request, limit, request.is_finite)
    checked, ranked = found_hits.checked, found_hits.ranked
    page = ranked.hits[skip : skip + take]
    hits = [shown_hit(found_hits, number, details) for number, details in page]
    body: dict[str, Any] = {
        "hits": hits,
        "query": request.q or "",
        "processingTimeMs": int((time.perf_counter() - start) * 1000),
    }
    body |= request.totals(ranked.candidates.bit_count())
    if request.facets:
        found = checked.facets or []
        body["facetDistribution"] = {name: facet_counts.distribution(index, name, ranked.candidates) for name in found}
        stats = {name: facet_counts.stats(index, name, ranked.candidates) for name in found}
        body["facetStats"] = {name: value for name, value in stats.items() if value is not None}
    body["requestUid"] = str(uuid.uuid4())
    return body


def found_documents(index: Index, request: SearchRequest) -> int:
    """Return all documents that a search would count."""
    return _ranked(index, _check(index, request), 0, exhaustive=request.is_finite).candidates


def _check(index: Index, request: SearchRequest) -> _Checked:
    settings = index.settings
    sort = parse_sort(index, request.sort or [], "invalid_search_sort")
    if sort and "sort" not in settings["rankingRules"]:
        message = (
            f"Index `{index.uid}`: You must specify where `sort` is listed in the rankingRules setting"
            " to use the sort parameter at search time."
        )
        raise EngineError("invalid_search_sort", message)
    distinct = request.distinct or settings["distinctAttribute"]
    if request.distinct is not None:
        _check_distinct(index, request.distinct)
    facets = facet_counts.requested(index, request.facets) if request.facets else None
    query = read_query(request.q or "", settings)
    return _Checked(request=request, sort=sort, distinct=distinct, facets=facets, query=query)


def _check_distinct(index: Index, name: str) -> None:
    features = index.settings.features(name)
    if features is not None and features.filterable:
        return
    known = index.settings.patterns(lambda features: features.filterable)
    listed = ", ".join(known)
    has = (
        f"Available filterable attributes patterns are: `{listed}`."
        if known
        else ("This index does not have configured filterable attributes.")
    )
    problem = f"Attribute `{name}` is not filterable and thus, cannot be used as distinct attribute."
    message = f"Index `{index.uid}`: {problem} {has}"
    raise EngineError("invalid_search_distinct", message)


def _ranked(index: Index, checked: _Checked, count: int, *, exhaustive: bool) -> Ranked:
    request = checked.request
    universe = filters.evaluate(index, request.filter)
    scope = field_scope(index, request.attributes_to_search_on)
    wanted = Wanted(
        count=count,
        strategy=request.matching_strategy,
        sort=checked.sort,
        distinct=checked.distinct,
        threshold=request.ranking_score_threshold,
        exhaustive=exhaustive,
    )
    return rank(index, checked.query, universe, scope, wanted)


def _is_formatted(index: Index, request: SearchRequest) -> bool:
    """Tell whether any attribute to highlight or crop is a known, displayed one."""
    displayed = index.settings.displayed
    for text in (*(request.attributes_to_highlight or ()), *(request.attributes_to_crop or ())):
        name = text if text in index.fields else text.partition(":")[0]
        if name == "*" or (name in index.fields and (displayed is None or name in displayed)):
            return True
    return False


def _hit(index: Index, checked: _Checked, matcher: Matcher, number: int, details: tuple[Detail, ...]) -> dict[str, Any]:
    request = checked.request
    document = index.document(number)
    vectors = document.pop("_vectors", None)
    displayed = index.settings.displayed
    visible = document if displayed is None else select(document, displayed)
    retrieved = request.attributes_to_retrieve
    if retrieved is None or "*" in retrieved:
        hit = dict(visible)
    else:
        hit = select(visible, [name for name in retrieved if displayed is None or name in displayed])
    if request.retrieve_vectors:
        hit["_vectors"] = vectors or {}
    geo = next((rule.point for rule in checked.sort if rule.point is not None), None)
    if geo is not None and "_geo" in hit and number in index.points:
        hit["_geoDistance"] = int(distance(geo, index.points[number]) + 0.5)
    if _is_formatted(index, request):
        hit["_formatted"] = formatted(visible, hit, request, matcher)
    if request.show_matches_position:
        hit["_matchesPosition"] = matcher.positions(visible)
    if request.show_ranking_score:
        hit["_rankingScore"] = global_score(details)
    if request.show_ranking_score_details:
        hit["_rankingScoreDetails"] = shown(details)
    return hit
