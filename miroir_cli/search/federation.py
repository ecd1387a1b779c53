"""Federated search: the ranked lists of several queries become one, as Meilisearch merges them. Pure.

First the lists of each index are merged, and a document that several queries found keeps its best place; then those
of all indexes, in the order of their uids. What is merged are the lists of the whole cluster, not those of its nodes.

Source: `search/federated/{perform,types,weighted_scores}.rs` of Meilisearch 1.50, and `kmerge_impl.rs` of itertools,
whose heap decides among hits that cannot be put in one order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from miroir_cli.search.facet_values import normalise
from miroir_cli.search.pins import around_pins, separate
from miroir_cli.search.view import DETAILS, FORMATTED, MATCHES, SCORE, values_of
from miroir_cli.search.weights import Value, compare
from miroir_cli.search.window import Window, make_window

if TYPE_CHECKING:
    from miroir_cli.model import Json
    from miroir_cli.search.facets import Counts, Order
    from miroir_cli.search.rank import Hit

FEDERATION = "_federation"
_AFTER_FEDERATION = (FORMATTED, MATCHES, SCORE, DETAILS)

_FEDERATION_KEYS = frozenset(
    ("limit", "offset", "page", "hitsPerPage", "facetsByIndex", "mergeFacets", "distinct",
     "showPerformanceDetails", "personalize")
)  # fmt: skip
_NOT_IN_QUERIES = ("offset", "limit", "page", "hitsPerPage", "personalize", "showPerformanceDetails")

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One query of a multi-search: `request` is what a search of the index alone would be asked.

    `position`: its number among all that are asked. `part_of`: the number that it has for the client, where that is
    another one: it is one of those that a query by an alias of several indexes has become.
    """

    position: int
    uid: str
    request: Json
    weight: float = 1.0
    options: Json | None = None
    part_of: int | None = None

    @property
    def place(self) -> int:
        """Its number in the client's request."""
        return self.position if self.part_of is None else self.part_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Federation:
    """How the lists are merged. `facets`: for each index the facets to count, None for none.

    `merges_facets`: those of all indexes are added up, and at most `max_values` shown of each.
    """

    pagination: Json
    facets: Mapping[str, Sequence[str] | None]
    merges_facets: bool
    max_values: int | None
    distinct: str | None
    unmergeable: str | None

    def window(self, settings: Json) -> Window:
        """The hits to show, and how many of them an index with these settings gives at most."""
        window = make_window(self.pagination, settings)
        assert window is not None
        return window

    def request(self, query: Query, settings: Json, *, facets: Sequence[str] | None) -> dict[str, Any]:
        """What to ask of the index for a query: as many hits as the whole may need, with their scores."""
        window = self.window(settings)
        pages = {"page": 1, "hitsPerPage": window.needed}
        return {
            **query.request,
            **(pages if window.pages else {"limit": window.needed}),
            **({"facets": list(facets)} if facets else {}),
            **({"distinct": self.distinct} if self.distinct else {}),
            "showRankingScore": True,
            "showRankingScoreDetails": True,
        }


def read_queries(request: Json) -> list[Query] | None:
    """The queries of a multi-search; None when the body is not one, which is for a node to say."""
    queries = request.get("queries")
    if not isinstance(queries, list) or not request.keys() <= {"queries", "federation"}:
        return None
    found = [_read_query(position, query) for position, query in enumerate(queries)]
    return None if None in found else [query for query in found if query is not None]


def spread(
    queries: Sequence[Query], federation: Federation, targets: Mapping[str, Sequence[str]]
) -> tuple[list[Query], Federation]:
    """The same with one query for each index of an alias of several, in the order of `targets`, where those of the
    aliases are. The facets asked of an alias are asked of each index that is not asked for others by its own name."""
    asked = [(query, uid) for query in queries for uid in targets.get(query.uid, (query.uid,))]
    several = [
        replace(query, position=position, uid=uid, part_of=query.place) for position, (query, uid) in enumerate(asked)
    ]
    facets = {uid: names for name, names in federation.facets.items() for uid in targets.get(name, ())}
    facets |= {name: names for name, names in federation.facets.items() if name not in targets}
    return several, replace(federation, facets=facets)


def _read_query(position: int, query: Any) -> Query | None:
    if not isinstance(query, dict) or not isinstance(query.get("indexUid"), str):
        return None
    rest = {key: value for key, value in query.items() if key not in ("indexUid", "federationOptions")}
    options = query.get("federationOptions")
    if options is None:
        return Query(position=position, uid=query["indexUid"], request=rest)
    if not isinstance(options, dict) or not options.keys() <= {"weight", "remote", "queryPosition"}:
        return None
    weight = options.get("weight", 1.0)
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not weight >= 0:
        return None
    return Query(position=position, uid=query["indexUid"], request=rest, weight=float(weight), options=options)


def read_federation(federation: Any, queries: Iterable[Query]) -> Federation | None:
    """How queries are to be merged; None when they cannot be in this way, which is for a node to say."""
    if not isinstance(federation, dict) or not federation.keys() <= _FEDERATION_KEYS:
        return None
    facets, merge = federation.get("facetsByIndex", {}), federation.get("mergeFacets")
    distinct, details = federation.get("distinct"), federation.get("showPerformanceDetails", False)
    if not _are_facets(facets) or not _merges(merge) or not isinstance(distinct, str | None):
        return None
    if not isinstance(details, bool) or any(_is_misplaced(query, distinct) for query in queries):
        return None
    if make_window(federation, {}) is None:
        return None
    return Federation(
        pagination={key: federation[key] for key in ("limit", "offset", "page", "hitsPerPage") if key in federation},
        facets=facets,
        merges_facets=merge is not None,
        max_values=None if merge is None else merge.get("maxValuesPerFacet"),
        distinct=distinct,
        unmergeable=_unmergeable(federation),
    )


def _unmergeable(federation: Json) -> str | None:
    if federation.get("personalize") is not None:
        return "`federation.personalize`: personalized search"
    return "`federation.showPerformanceDetails`" if federation.get("showPerformanceDetails") else None


def _are_facets(facets: Any) -> bool:
    return isinstance(facets, dict) and all(
        names is None or (isinstance(names, list) and all(isinstance(name, str) for name in names))
        for names in facets.values()
    )


def _merges(merge: Any) -> bool:
    if merge is None:
        return True
    if not isinstance(merge, dict) or not merge.keys() <= {"maxValuesPerFacet"}:
        return False
    most = merge.get("maxValuesPerFacet")
    return most is None or (isinstance(most, int) and not isinstance(most, bool) and most >= 0)


def _is_misplaced(query: Query, distinct: str | None) -> bool:
    """Whether a query says what only the federation may say."""
    request, options = query.request, query.options or {}
    return (
        any(request.get(key) is not None for key in _NOT_IN_QUERIES)
        or bool(request.get("facets"))
        or (distinct is not None and request.get("distinct") is not None)
        or any(options.get(key) is not None for key in ("remote", "queryPosition"))
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """A hit of one query's list, with what it is compared by. `score` is its weighted `_rankingScore`. `query`: the
    position of the query; `place`: the one that the client knows."""

    hit: Hit
    uid: str
    query: int
    place: int
    values: Sequence[Value]
    score: float
    identity: str


def merge_lists(
    lists: Mapping[str, Sequence[Sequence[Ranked]]], needed: Mapping[str, int], *, distinct: str | None
) -> tuple[list[Ranked], int]:
    """All hits in one order, from each index's lists; and how many fell away because another index has their value.

    `needed` is how many hits an index gives at most.
    """
    pins: list[tuple[int, Ranked]] = []
    by_index: list[list[Ranked]] = []
    for uid in sorted(lists):
        own, ranked = _merge_queries(lists[uid], distinct)
        shown = separate(_first(around_pins(own, ranked), needed[uid]), _hit_of)
        pins += shown[0]
        by_index.append(shown[1])
    everything = list(merge_sorted(by_index, _goes_first))
    kept = list(_without_shared_values(everything, distinct))
    return list(around_pins(sorted(pins, key=_position), kept)), len(everything) - len(kept)


def _merge_queries(
    lists: Sequence[Sequence[Ranked]], distinct: str | None
) -> tuple[list[tuple[int, Ranked]], Iterator[Ranked]]:
    """The pins of an index, and its ranked hits in one order. A pin is not the same document's ranked hit."""
    pins: list[tuple[int, Ranked]] = []
    ranked: list[list[Ranked]] = []
    for hits in lists:
        own, others = separate(hits, _hit_of)
        pins += own
        ranked.append(others)
    unique = _without_repetition(merge_sorted(ranked, _goes_first))
    return sorted(pins, key=_position), _without_shared_values(unique, distinct)


def _hit_of(ranked: Ranked) -> Hit:
    return ranked.hit


def _position(pin: tuple[int, Ranked]) -> int:
    return pin[0]


def _goes_first(left: Ranked, right: Ranked) -> bool:
    order = compare(left.values, right.values)
    if order is None:
        order = (left.score > right.score) - (left.score < right.score)
    return order > 0 or (order == 0 and left.query < right.query)


def _without_repetition(hits: Iterable[Ranked]) -> Iterator[Ranked]:
    seen: set[str] = set()
    for hit in hits:
        if hit.identity not in seen:
            seen.add(hit.identity)
            yield hit


def _first(hits: Iterable[Ranked], count: int) -> Iterator[Ranked]:
    return (hit for _, hit in zip(range(count), hits, strict=False))


def _without_shared_values(hits: Iterable[Ranked], distinct: str | None) -> Iterator[Ranked]:
    if distinct is None:
        yield from hits
        return
    seen: set[Any] = set()
    for ranked in hits:
        values = set(map(_distinct_value, values_of(ranked.hit, distinct))) - {None}
        if not values & seen:
            seen |= values
            yield ranked


def _distinct_value(value: Any) -> Any:
    """A value as Meilisearch compares it here: 1 and 1.0 are two."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return (type(value).__name__, value)
    return normalise(value) if isinstance(value, str) else None


def merge_sorted(lists: Iterable[Sequence[Item]], goes_first: Callable[[Item, Item], bool]) -> Iterator[Item]:
    """The items of sorted lists in one order, by the heap that Meilisearch uses."""
    heap = [(items[0], iter(items[1:])) for items in lists if items]

    def sift_down(place: int) -> None:
        child = 2 * place + 1
        while child + 1 < len(heap):
            child += goes_first(heap[child + 1][0], heap[child][0])
            if not goes_first(heap[child][0], heap[place][0]):
                return
            heap[place], heap[child] = heap[child], heap[place]
            place, child = child, 2 * child + 1
        if child + 1 == len(heap) and goes_first(heap[child][0], heap[place][0]):
            heap[place], heap[child] = heap[child], heap[place]

    for place in reversed(range(len(heap) // 2)):
        sift_down(place)
    while heap:
        item, rest = heap[0]
        following = next(rest, _END)
        if following is _END:
            last = heap.pop()
            if heap:
                heap[0] = last
        else:
            heap[0] = (following, rest)  # type: ignore[assignment]
        if heap:
            sift_down(0)
        yield item


_END = object()


def with_origin(hit: Hit, ranked: Ranked) -> Hit:
    """A hit as a client sees it, with where it comes from, at the place that Meilisearch gives it."""
    shown = {key: value for key, value in hit.items() if key not in _AFTER_FEDERATION}
    shown[FEDERATION] = {"indexUid": ranked.uid, "queriesPosition": ranked.place, "weightedRankingScore": ranked.score}
    return shown | {key: hit[key] for key in _AFTER_FEDERATION if key in hit}


def add_up_facets(
    by_index: Mapping[str, tuple[Mapping[str, Counts], Mapping[str, Any]]],
    orders: Mapping[str, Order],
    *,
    max_values: int | None,
) -> tuple[dict[str, Counts], dict[str, Any]]:
    """`facetDistribution` and `facetStats` of all indexes, from each one's. Values are compared as they are shown."""
    counts: dict[str, Counts] = {}
    stats: dict[str, dict[str, float]] = {}
    for uid in sorted(by_index):
        distribution, ranges = by_index[uid]
        for name, values in distribution.items():
            total = counts.setdefault(name, {})
            for value, count in values.items():
                total[value] = total.get(value, 0) + count
        for name, found in ranges.items():
            known = stats.setdefault(name, dict(found))
            known["min"], known["max"] = min(known["min"], found["min"]), max(known["max"], found["max"])
    return {name: _ordered(counts[name], orders.get(name, "alpha"), max_values) for name in sorted(counts)}, {
        name: stats[name] for name in sorted(stats)
    }


def _ordered(values: Counts, order: Order, max_values: int | None) -> Counts:
    by_count = order == "count"
    ordered = sorted(values.items(), key=lambda item: -item[1] if by_count else item[0])
    return dict(ordered[:max_values])
