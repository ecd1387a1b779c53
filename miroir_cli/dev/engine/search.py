"""A search: filter, rank, page, shape the answer."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import facet_counts, filters
from .errors import EngineError
from .fields import MATCH, walk
from .geo import distance
from .matches import Matcher, formatted
from .query import Query, read_query
from .ranking import Ranked, Wanted, field_scope, rank
from .score import VectorSort, global_score, shown
from .semantic import cannot_embed, check, good_enough, kind_of, merged, near
from .shape import select
from .sorting import SortRule, parse_sort
from .vectors import FIELD as VECTORS
from .vectors import are_hidden
from .vectors import shown as shown_vectors

if TYPE_CHECKING:
    from .index import Index
    from .parameters import SearchRequest, SimilarRequest
    from .ranking import Near
    from .score import Detail
    from .semantic import Kind


_WITHOUT_WORDS = Query(terms=(), glued=(), negative_words=(), negative_phrases=())


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
    kind: Kind
    by_vector: Near | None
    """The vector that was looked at."""


def find(index: Index, request: SearchRequest, count: int, exhaustive: bool) -> Found:
    """Rank at least `count` documents; raises `EngineError` for what the index does not allow."""
    checked, kind = _check(index, request), kind_of(request)
    ranked, by_vector = _rankings(index, checked, kind, count, exhaustive=exhaustive)
    words = _WITHOUT_WORDS if kind == "vector" else checked.query
    return Found(
        index=index,
        checked=checked,
        ranked=ranked,
        matcher=Matcher(index, words, field_scope(index, request.attributes_to_search_on)),
        kind=kind,
        by_vector=by_vector,
    )


def shown_hit(found: Found, number: int, details: tuple[Detail, ...]) -> dict[str, Any]:
    """Return a document as the request wants to see it."""
    return _hit(found.index, found.checked, found.matcher, number, details)


def search(index: Index, request: SearchRequest) -> dict[str, Any]:
    """Answer a search; raises `EngineError` for what the index does not allow."""
    start = time.perf_counter()
    skip, take = request.window()
    limit = min(skip + take, index.settings["pagination"]["maxTotalHits"])
    found = find(index, request, limit, request.is_finite)
    checked, ranked, by_vector = found.checked, found.ranked, found.by_vector
    if request.distinct is not None:
        _drop_blanks(index, ranked, request.distinct)
    page = ranked.hits[skip : skip + take]
    hits = [shown_hit(found, number, details) for number, details in page]
    body: dict[str, Any] = {
        "hits": hits,
        "query": request.q or "",
        **({"queryVector": list(by_vector.vector)} if by_vector and request.retrieve_vectors else {}),
        "processingTimeMs": int((time.perf_counter() - start) * 1000),
    }
    body |= request.totals(ranked.candidates.bit_count())
    if request.facets:
        names = checked.facets or []
        body["facetDistribution"] = {name: facet_counts.distribution(index, name, ranked.candidates) for name in names}
        stats = {name: facet_counts.stats(index, name, ranked.candidates) for name in names}
        body["facetStats"] = {name: value for name, value in stats.items() if value is not None}
    body["requestUid"] = str(uuid.uuid4())
    if found.kind != "words":
        body["semanticHitCount"] = sum(any(isinstance(d, VectorSort) for d in details) for _, details in page)
    return body


def found_documents(index: Index, request: SearchRequest) -> int:
    """Return all documents that a search for one page would count: with `hybrid`, those that the filter keeps."""
    checked = _check(index, request)
    if kind_of(request) == "words":
        most = 0 if request.is_finite else min(request.limit, index.settings["pagination"]["maxTotalHits"])
        return _ranked(index, checked, most, exhaustive=request.is_finite).candidates
    check(index, request)
    return filters.evaluate(index, request.filter)


def _drop_blanks(index: Index, ranked: Ranked, name: str) -> None:
    """Drop all hits but one whose distinct field holds a text without any character.

    Meilisearch looks at the fields of the hits once more when the distinct field comes from the request; such texts,
    which are no facet values, are equal there.
    """
    kept, seen = [], False
    for number, details in ranked.hits:
        blank = any(
            field == name and isinstance(value, str) and not value.strip()
            for field, value, _ in walk(index.document(number), lambda _: MATCH)
        )
        if blank and seen:
            ranked.candidates &= ~(1 << number)
        else:
            kept.append((number, details))
        seen = seen or blank
    ranked.hits = kept


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


def _rankings(
    index: Index, checked: _Checked, kind: Kind, count: int, *, exhaustive: bool
) -> tuple[Ranked, Near | None]:
    """Return the ranking of a request, and the vector that was looked at for it."""
    request = checked.request
    if kind == "words":
        return _ranked(index, checked, count, exhaustive=exhaustive), None
    check(index, request)
    vector = near(request)
    if kind == "vector":
        if vector is None:
            raise cannot_embed(request.q)
        return _ranked(index, checked, count, exhaustive=exhaustive, near=vector), vector
    words = _ranked(index, checked, count, exhaustive=exhaustive)
    assert request.hybrid is not None
    ratio = request.hybrid.ratio
    if vector is None or good_enough(words.hits, wanted=count, ratio=ratio):
        return words, None
    other = _ranked(index, checked, count, exhaustive=exhaustive, near=vector)
    return merged(index, other, words, ratio=ratio, distinct=checked.distinct, wanted=count), vector


def _ranked(index: Index, checked: _Checked, count: int, *, exhaustive: bool, near: Near | None = None) -> Ranked:
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
        most=index.settings["pagination"]["maxTotalHits"],
        near=near,
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
    visible, hit = chosen(index, number, request)
    geo = next((rule.point for rule in checked.sort if rule.point is not None), None)
    if geo is not None and "_geo" in hit and number in index.points:
        hit["_geoDistance"] = int(distance(geo, index.points[number]) + 0.5)
    if _is_formatted(index, request):
        hit["_formatted"] = formatted(visible, hit, request, matcher)
    if request.show_matches_position:
        hit["_matchesPosition"] = matcher.positions(visible)
    return with_score(hit, details, request)


def chosen(index: Index, number: int, request: SearchRequest | SimilarRequest) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what of a document is displayed, and of that what a request retrieves."""
    document = index.document(number)
    vectors = document.pop(VECTORS, None)
    displayed = index.settings.displayed
    visible = document if displayed is None else select(document, displayed)
    retrieved = request.attributes_to_retrieve
    if retrieved is None or "*" in retrieved:
        hit = dict(visible)
    else:
        hit = select(visible, [name for name in retrieved if displayed is None or name in displayed])
    if request.retrieve_vectors and not are_hidden(index):
        hit[VECTORS] = shown_vectors(index, vectors)
    return visible, hit


def with_score(
    hit: dict[str, Any], details: tuple[Detail, ...], request: SearchRequest | SimilarRequest
) -> dict[str, Any]:
    """Add the scores that a request shows."""
    if request.show_ranking_score:
        hit["_rankingScore"] = global_score(details)
    if request.show_ranking_score_details:
        hit["_rankingScoreDetails"] = shown(details)
    return hit
