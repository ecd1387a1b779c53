"""Federated multi-search: the lists of several queries merged into one."""

from __future__ import annotations

import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from . import facet_counts
from .errors import EngineError, not_supported
from .parameters import SearchRequest, search_request, take
from .score import GeoSort, Rank, Sort, VectorSort, global_score, merged
from .search import Found, find, shown_hit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from .index import Index
    from .score import Detail
    from .semantic import Kind

EPSILON = 2.220446049250313e-16
_KINDS = {
    "limit": "int", "offset": "int", "page": "int", "hitsPerPage": "int", "facetsByIndex": "object",
    "mergeFacets": "object", "distinct": "str", "showPerformanceDetails": "bool", "personalize": "object",
}  # fmt: skip
_PAGINATION = ("offset", "limit", "page", "hitsPerPage")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One query of the request, in its place."""

    position: int
    uid: str
    request: SearchRequest
    given: Mapping[str, Any]
    options: Mapping[str, Any] | None

    @property
    def weight(self) -> float:
        return float((self.options or {}).get("weight", 1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hit:
    """A document in a query's list, with what it is compared by."""

    found: Found
    query: Query
    number: int
    details: tuple[Detail, ...]

    def score(self) -> float:
        return global_score(self.details) * self.query.weight


@dataclass(slots=True, kw_only=True)
class _Part:
    """What one index adds to the answer."""

    index: Index
    hits: list[_Hit]
    candidates: int
    facets: list[str] | None
    by_vector: bool
    """Whether a query looks at vectors."""
    vectors: dict[int, list[float]]
    """Those of the queries that want to see them, by their positions."""


def read_federation(values: Mapping[str, Any]) -> dict[str, Any]:
    """Check the types of the `federation` object."""
    taken = take(values, _KINDS, "search", where=".federation")
    for uid, names in taken.get("facetsByIndex", {}).items():
        if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
            message = f"Invalid value type at `.federation.facetsByIndex.{uid}`: expected an array"
            raise EngineError("invalid_multi_search_facets_by_index", message)
    if "mergeFacets" in taken:
        take(taken["mergeFacets"], {"maxValuesPerFacet": "int"}, "multi_search", where=".federation.mergeFacets")
    for key in ("personalize", "showPerformanceDetails"):
        if taken.get(key):
            raise not_supported(f"`federation.{key}`")
    return taken


def federated(index_of: Callable[[str], Index], queries: Sequence[Query], federation: dict[str, Any]) -> dict[str, Any]:
    """Answer a federated search; `index_of` raises `index_not_found`."""
    start = time.perf_counter()
    for query in queries:
        _check_place(query, federation)
    window = search_request({key: federation[key] for key in _PAGINATION if key in federation})
    skip, needed = window.window()
    facets = dict(federation.get("facetsByIndex", {}))
    parts: list[_Part] = []
    kinds: list[tuple[int, list[str]]] = []
    for uid in sorted({query.uid for query in queries}):
        own = [query for query in queries if query.uid == uid]
        with inside(own[0].position):
            index = index_of(uid)
        parts.append(_part(index, own, federation, window, kinds, facets.pop(uid, None)))
    for uid, names in sorted(facets.items()):
        _check_unused(index_of, uid, names)
    hits = list(_merge([part.hits for part in parts]))
    kept = list(_distinct(hits, federation.get("distinct")))
    total = sum(part.candidates.bit_count() for part in parts) - (len(hits) - len(kept))
    page = kept[skip : skip + needed]
    body: dict[str, Any] = {"hits": list(map(_shown, page))}
    if any(query.request.retrieve_vectors for query in queries):
        vectors = sorted(item for part in parts for item in part.vectors.items())
        body["queryVectors"] = {str(position): vector for position, vector in vectors}
    body["processingTimeMs"] = int((time.perf_counter() - start) * 1000)
    body |= window.totals(total)
    body |= _facets(parts, federation.get("mergeFacets"))
    body["requestUid"] = str(uuid.uuid4())
    if any(part.by_vector for part in parts):
        body["semanticHitCount"] = sum(any(isinstance(each, VectorSort) for each in hit.details) for hit in page)
    return body


@contextmanager
def inside(position: int, where: str = "") -> Iterator[None]:
    """Have errors say in which query of a multi-search they are."""
    try:
        yield
    except EngineError as error:
        status = 400 if error.code == "index_not_found" else error.status
        raise EngineError(error.code, f"Inside `.queries[{position}]`: {where}{error.message}", status=status) from None


def _check_place(query: Query, federation: Mapping[str, Any]) -> None:
    given = query.given
    problem = None
    for key in _PAGINATION:
        if given.get(key) is not None:
            problem = (
                "pagination",
                (
                    "Using pagination options is not allowed in federated queries.\n"
                    f" - Hint: remove `{key}` from the query or remove `federation` from the request\n"
                    " - Hint: pass `federation.limit` and `federation.offset` for pagination in federated search"
                ),
            )
            break
    if problem is None and given.get("facets"):
        names = ", ".join(f'"{name}"' for name in given["facets"])
        problem = (
            "facets",
            (
                "Using facet options is not allowed in federated queries.\n"
                " - Hint: remove `facets` from the query or remove `federation` from the request\n"
                f" - Hint: pass `federation.facetsByIndex.{query.uid}: [{names}]` for facets in federated search"
            ),
        )
    if problem is not None:
        message = f"Inside `.queries[{query.position}]`: {problem[1]}"
        raise EngineError(f"invalid_multi_search_query_{problem[0]}", message)
    if given.get("distinct") is not None and federation.get("distinct") is not None:
        message = (
            f"Inside `.queries[{query.position}]`: Using `distinct` options is not allowed in federated queries when it"
            " also appears in `.federation.distinct`.\n - Hint: remove `distinct` from the query or remove `federation`"
            " from the request\n  - Note: `distinct` at the query level is discouraged in federated search."
        )
        raise EngineError("invalid_multi_search_distinct", message)


def _part(
    index: Index,
    queries: Sequence[Query],
    federation: Mapping[str, Any],
    window: SearchRequest,
    kinds: list[tuple[int, list[str]]],
    facets: list[str] | None,
) -> _Part:
    skip, take_ = window.window()
    needed = min(skip + take_, index.settings["pagination"]["maxTotalHits"])
    distinct = federation.get("distinct")
    lists, searches, candidates = [], list[Found](), 0
    for query in queries:
        request = query.request if distinct is None else replace(query.request, distinct=distinct)
        with inside(query.position):
            found = find(index, request, needed, window.is_finite)
        _compatible(kinds, query, index, found.kind)
        searches.append(found)
        candidates |= found.ranked.candidates
        lists.append(
            [_Hit(found=found, query=query, number=number, details=rest) for number, rest in found.ranked.hits]
        )
    first: dict[int, _Hit] = {}
    for hit in _merge(lists):
        first.setdefault(hit.number, hit)
    unique = list(first.values())
    kept = list(_distinct(unique, distinct))
    if distinct is not None:
        left = {hit.number for hit in kept}
        for hit in unique:
            if hit.number not in left:
                candidates &= ~(1 << hit.number)
    names = None
    if facets is not None:
        where = f"Inside `.federation.facetsByIndex.{index.uid}`: "
        with inside(queries[0].position, where):
            names = facet_counts.requested(index, facets)
    vectors = {
        query.position: list(found.by_vector.vector)
        for query, found in zip(queries, searches, strict=True)
        if found.by_vector and query.request.retrieve_vectors
    }
    return _Part(
        index=index,
        hits=kept[:needed],
        candidates=candidates,
        facets=names,
        by_vector=any(found.kind != "words" for found in searches),
        vectors=vectors,
    )


def _compatible(kinds: list[tuple[int, list[str]]], query: Query, index: Index, kind: Kind) -> None:
    """Refuse queries whose hits are compared by different kinds of rules."""
    own = _kinds(query.request, index.settings["rankingRules"], kind)
    if kinds:
        position, before = kinds[-1]
        if any(one != other for one, other in zip(own, before, strict=False)):
            message = f"The results of queries #{position} and #{query.position} are incompatible"
            message = f"Inside `.queries[{query.position}]`: {message}"
            raise EngineError("invalid_multi_search_query_ranking_rules", message)
        if len(before) > len(own):
            return
    kinds.append((query.position, own))


def _kinds(request: SearchRequest, rules: Sequence[str], kind: Kind) -> list[str]:
    """What the hits of a query are compared by: runs of relevancy rules, and sorts of which each field counts once.

    Nearness takes the place of the first relevancy rule; one behind it ends the rules where a field was sorted by.
    """
    found: list[str] = []
    seen: set[str] = set()
    has_words = bool((request.q or "").strip())
    for rule in rules:
        if kind == "vector" and rule != "sort" and ":" not in rule:
            if "relevancy" not in found:
                found.append("relevancy")
            elif any(key.startswith(":") for key in seen):
                break
            continue
        if rule == "sort" and rule not in seen:
            seen.add(rule)
            texts = list(request.sort or [])
        elif ":" in rule:
            texts = [rule]
        else:
            texts = []
            counts = has_words and not (rule == "words" and request.matching_strategy == "all")
            if rule != "sort" and counts and found[-1:] != ["relevancy"]:
                found.append("relevancy")
        for text in texts:
            name, _, direction = text.rpartition(":")
            key = "_geo" if name.startswith("_geoPoint") else f":{name}"
            if key not in seen:
                seen.add(key)
                found.append(direction + " geo" * (key == "_geo"))
    return found


def _check_unused(index_of: Callable[[str], Index], uid: str, names: list[str] | None) -> None:
    try:
        index = index_of(uid)
        if names is not None:
            facet_counts.requested(index, names)
    except EngineError as error:
        message = (
            f"Inside `.federation.facetsByIndex.{uid}`: {error.message}\n - Note: index `{uid}` is not used in queries"
        )
        raise EngineError(error.code, message, status=400) from None


def _merge(lists: Sequence[Sequence[_Hit]]) -> Iterator[_Hit]:
    """Take the best of the first hits of all lists, again and again."""
    rests = [list(reversed(hits)) for hits in lists if hits]
    while rests:
        best = rests[0]
        for other in rests[1:]:
            if _goes_first(other[-1], best[-1]):
                best = other
        yield best.pop()
        rests = [rest for rest in rests if rest]


def _goes_first(left: _Hit, right: _Hit) -> bool:
    order = _compare(_values(left), _values(right))
    if order is None:
        order = (left.score() > right.score()) - (left.score() < right.score())
    return order > 0 or (order == 0 and left.query.position < right.query.position)


def _values(hit: _Hit) -> list[Any]:
    """A number for each run of relevancy rules, and the details of the sorts between them."""
    values: list[Any] = []
    run: list[Rank] = []
    for detail in (*hit.details, None):
        if detail is not None and not isinstance(detail, (Sort, GeoSort, VectorSort)):
            run.append(detail.rank())
            continue
        if run:
            values.append(merged(run).score * hit.query.weight)
            run = []
        if isinstance(detail, VectorSort):
            values.append((detail.similarity or 0.0) * hit.query.weight)
        elif detail is not None:
            values.append(detail)
    return values


def _compare(left: list[Any], right: list[Any]) -> int | None:
    for one, other in zip(left, right, strict=False):
        if isinstance(one, float) and isinstance(other, float):
            order = _by_size(one, other)
        elif isinstance(one, Sort) and isinstance(other, Sort) and one.ascending == other.ascending:
            order = _by_value(one.value, other.value, ascending=one.ascending)
        elif isinstance(one, GeoSort) and isinstance(other, GeoSort) and one.ascending == other.ascending:
            if one.metres is None or other.metres is None:
                order = (one.metres is not None) - (other.metres is not None)
            else:
                order = _by_size(one.metres, other.metres)
        else:
            return (len(left) > len(right)) - (len(left) < len(right)) or None
        if order:
            return order
    return (len(left) > len(right)) - (len(left) < len(right))


def _by_size(one: float, other: float) -> int:
    return 0 if abs(one - other) <= EPSILON else 1 if one > other else -1


def _by_value(one: Any, other: Any, *, ascending: bool) -> int:
    classes = [0 if value is None else 1 if isinstance(value, str) else 2 for value in (one, other)]
    if classes[0] != classes[1]:
        return classes[0] - classes[1]
    if one is None or one == other:
        return 0
    return 1 if (one < other) == ascending else -1


def _distinct(hits: Sequence[_Hit], name: str | None) -> Iterator[_Hit]:
    if name is None:
        yield from hits
        return
    seen: set[Any] = set()
    for hit in hits:
        index = hit.found.index
        values = index.document_facets(index.document(hit.number)).get(name)
        own = set() if values is None else {*values.numbers, *values.strings}
        if not own & seen:
            seen |= own
            yield hit


def _shown(hit: _Hit) -> dict[str, Any]:
    body = shown_hit(hit.found, hit.number, hit.details)
    after = ("_formatted", "_matchesPosition", "_rankingScore", "_rankingScoreDetails")
    origin = {"indexUid": hit.query.uid, "queriesPosition": hit.query.position, "weightedRankingScore": hit.score()}
    shown = {key: value for key, value in body.items() if key not in after}
    return {**shown, "_federation": origin, **{key: body[key] for key in after if key in body}}


def _facets(parts: Sequence[_Part], merge: Mapping[str, Any] | None) -> dict[str, Any]:
    asked = [part for part in parts if part.facets is not None]
    if not asked:
        return {}
    found: dict[str, Any] = {}
    for part in asked:
        names = part.facets or []
        stats = {name: facet_counts.stats(part.index, name, part.candidates) for name in names}
        found[part.index.uid] = {
            "distribution": {name: facet_counts.distribution(part.index, name, part.candidates) for name in names},
            "stats": {name: value for name, value in stats.items() if value is not None},
        }
    if merge is None:
        return {"facetsByIndex": found}
    orders: dict[str, str] = {}
    for part in asked:
        for name in part.facets or []:
            order = facet_counts.facet_order(part.index, name)
            if orders.setdefault(name, order) != order:
                problem = f"Inconsistent order for values in facet `{name}`"
                message = f"Inside `.federation.facetsByIndex.{part.index.uid}`: {problem}"
                raise EngineError("invalid_multi_search_facet_order", message)
    return _added_up(found, orders, merge.get("maxValuesPerFacet"))


def _added_up(found: Mapping[str, Any], orders: Mapping[str, str], most: int | None) -> dict[str, Any]:
    counts: dict[str, dict[str, int]] = {}
    stats: dict[str, dict[str, float]] = {}
    for facets in found.values():
        for name, values in facets["distribution"].items():
            sums = counts.setdefault(name, {})
            for value, count in values.items():
                sums[value] = sums.get(value, 0) + count
        for name, own in facets["stats"].items():
            before = stats.get(name, own)
            stats[name] = {"min": min(before["min"], own["min"]), "max": max(before["max"], own["max"])}
    ordered = {
        name: dict(sorted(values.items(), key=lambda item: (-item[1],) if orders[name] == "count" else item)[:most])
        for name, values in sorted(counts.items())
    }
    return {"facetDistribution": ordered, "facetStats": dict(sorted(stats.items()))}
