"""What came of the questions of a federated search, and what is wrong with them, in Meilisearch's order. Pure.

What is wrong is looked for where one Meilisearch does: index by index in the order of their uids, query by query.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from miroir_cli.errors import MiroirError, NodeRefusal
from miroir_cli.search.compatibility import Rules, incompatible, rules_of, stricter
from miroir_cli.search.facets import facet_rules
from miroir_cli.search.refusal import inside

if TYPE_CHECKING:
    from miroir_cli.model import Index
    from miroir_cli.search.facets import Counts, Order
    from miroir_cli.search.federation import Federation, Query
    from miroir_cli.search.questions import Found
    from miroir_cli.search.rank import Hit

Facets = tuple[Mapping[str, "Counts"], Mapping[str, Any]]

_ALONE = "\n - Note: index `{}` is not used in queries"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One query's list, with all that the nodes sent, and how many documents the query finds."""

    query: Query
    index: Index
    found: Found
    hits: Sequence[Hit]
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Summed:
    """What the queries of one index find together. `facets` None: none were asked."""

    total: int
    facets: Facets | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unused:
    """The facets of an index that no query names: they are only checked."""

    facets: Facets


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """All that was asked, for each index in the order of the uids: an answer, or what is wrong with it."""

    indexes: Mapping[str, Index | MiroirError]
    listed: Mapping[str, Sequence[tuple[Query, Listed | MiroirError]]]
    summed: Mapping[str, Summed | MiroirError]
    unused: Mapping[str, Unused | MiroirError]
    merged: Mapping[str, Sequence[str]]
    """The attributes of each index whose facets are to be added to those of the others, whatever is wrong with more."""

    def lists(self) -> Iterator[Listed]:
        for outcomes in self.listed.values():
            yield from (outcome for _, outcome in outcomes if not isinstance(outcome, MiroirError))

    def errors(self) -> Iterator[MiroirError]:
        for outcomes in self.listed.values():
            yield from (outcome for _, outcome in outcomes if isinstance(outcome, MiroirError))


def errors_of(outcomes: Outcomes, federation: Federation, default: Sequence[str]) -> Iterator[MiroirError]:
    """What is wrong, in the order in which one Meilisearch looks."""
    previous: Rules | None = None
    orders: dict[str, tuple[str, Order]] = {}
    for uid, of_queries in outcomes.listed.items():
        first = f".queries[{of_queries[0][0].place}]"
        summed, index = outcomes.summed[uid], outcomes.indexes[uid]
        if isinstance(index, MiroirError):
            yield inside(index, uid, first)
            continue
        if federation.merges_facets:
            order = _other_order(uid, outcomes.merged[uid], facet_rules(index.settings).order, orders)
            if order is not None:
                yield inside(inside(order, uid, _by_index(uid)), uid, first)
        about_facets = summed if isinstance(summed, MiroirError) else None
        for query, outcome in of_queries:
            where = f".queries[{query.place}]"
            own = index.settings.get("rankingRules")
            rules = rules_of(query.request, default if own is None else own, position=query.place, uid=uid)
            if rules is not None:
                message = None if previous is None else incompatible(rules, previous)
                if message:
                    yield inside(_refusal(message, "invalid_multi_search_query_ranking_rules"), uid, where)
                previous = stricter(rules, previous)
            if isinstance(outcome, MiroirError):
                if not _is_about_facets(outcome):
                    yield inside(outcome, uid, where)
                about_facets = outcome
        if about_facets is not None:
            yield inside(inside(about_facets, uid, _by_index(uid)), uid, first)
    yield from _errors_of_unused(outcomes, federation, orders)


def _errors_of_unused(
    outcomes: Outcomes, federation: Federation, orders: dict[str, tuple[str, Order]]
) -> Iterator[MiroirError]:
    for uid, unused in outcomes.unused.items():
        index = outcomes.indexes[uid]
        problem: MiroirError | None = None
        if federation.merges_facets and not isinstance(index, MiroirError):
            problem = _other_order(uid, outcomes.merged[uid], facet_rules(index.settings).order, orders)
        if problem is None and isinstance(unused, MiroirError):
            problem = unused
        if problem is not None:
            yield inside(problem, uid, _by_index(uid), note=_ALONE.format(uid))


def _by_index(uid: str) -> str:
    return f".federation.facetsByIndex.{uid}"


def _is_about_facets(error: MiroirError) -> bool:
    return isinstance(error, NodeRefusal) and error.node_code == "invalid_search_facets"


def _refusal(message: str, code: str) -> NodeRefusal:
    return NodeRefusal(message, status=400, node_code=code, node="")


def _other_order(
    uid: str, names: Iterable[str], order_of: Callable[[str], Order], orders: dict[str, tuple[str, Order]]
) -> NodeRefusal | None:
    """Why facets of an index cannot be added to those of the ones before; `orders` is added to."""
    words = {"alpha": "alphabetically", "count": "by count"}
    for name in names:
        before, order = orders.setdefault(name, (uid, order_of(name)))
        if order != order_of(name):
            return _refusal(
                f"Inconsistent order for values in facet `{name}`: index `{before}` orders {words[order]}, but index "
                f"`{uid}` orders {words[order_of(name)]}.\n - Hint: Remove `federation.mergeFacets` or change "
                "`faceting.sortFacetValuesBy` to be consistent in settings.",
                "invalid_multi_search_facet_order",
            )
    return None
