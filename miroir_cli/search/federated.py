"""A federated search: the lists of all queries from all shards, counted and merged as one Meilisearch would.

Each query is a search of its index, so that its list is the whole cluster's; `search/federation.py` merges the lists.
What is wrong is looked for where one Meilisearch does: index by index in the order of their uids, query by query.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from miroir_cli.errors import MiroirError, NodeRefusal, UsageError
from miroir_cli.indexes.catalog import known_default_rules
from miroir_cli.indexes.settings import node_max_values
from miroir_cli.search.compatibility import Rules, incompatible, rules_of, stricter
from miroir_cli.search.facet_values import facet_values, normalise, number_text
from miroir_cli.search.facets import FacetAnswer, cut_short, facet_answer, facet_rules, merge_facets
from miroir_cli.search.federation import Ranked, add_up_facets, merge_lists, with_origin
from miroir_cli.search.reading import Reader, SearchOptions, all_outcomes, read
from miroir_cli.search.refusal import inside
from miroir_cli.search.rules import searchable
from miroir_cli.search.scatter import Found, find
from miroir_cli.search.shape import first_error
from miroir_cli.search.union import Counted, Union
from miroir_cli.search.view import show
from miroir_cli.search.weights import weighted_values
from miroir_cli.search.whole_facets import too_many_values

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.model import Index, Json, NodeName, ShardId
    from miroir_cli.node.client import NodeClient
    from miroir_cli.search.facets import Counts, Order
    from miroir_cli.search.federation import Federation, Query
    from miroir_cli.search.rank import Hit

Result = TypeVar("Result")
Facets = tuple[Mapping[str, "Counts"], Mapping[str, Any]]

NO_FACETS: Facets = ({}, {})

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

    index: Index
    facets: Facets


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """All that was asked, for each index in the order of the uids: an answer, or what is wrong with it."""

    indexes: Mapping[str, Index | MiroirError]
    listed: Mapping[str, Sequence[tuple[Query, Listed | MiroirError]]]
    summed: Mapping[str, Summed | MiroirError]
    unused: Mapping[str, Unused | MiroirError]

    def lists(self) -> Iterator[Listed]:
        for outcomes in self.listed.values():
            yield from (outcome for _, outcome in outcomes if not isinstance(outcome, MiroirError))

    def errors(self) -> Iterator[MiroirError]:
        for outcomes in self.listed.values():
            yield from (outcome for _, outcome in outcomes if isinstance(outcome, MiroirError))


async def federated_search(
    cluster: Cluster, request: Json, queries: Sequence[Query], federation: Federation, *, options: SearchOptions
) -> dict[str, Any]:
    """The body of a federated search. Raises as `multi_search` does."""
    if not queries:
        return await _without_queries(cluster, request)
    asking = _Asking(cluster=cluster, federation=federation, options=options)
    outcomes = await asking.everything(queries)
    rules = await _default_rules(cluster, outcomes) if len(queries) > 1 else []
    error = next(_errors(outcomes, federation, rules), None)
    if error is not None:
        raise await first_error(cluster, request, [error, *outcomes.errors()])
    return _body(outcomes, queries, federation)


async def _without_queries(cluster: Cluster, request: Json) -> dict[str, Any]:
    found = await all_outcomes(cluster.fleet[name].read("multi-search", request) for name in cluster.fleet)
    bodies = [body for body in found if not isinstance(body, MiroirError)]
    if not bodies:
        raise next(error for error in found if isinstance(error, MiroirError))
    return dict(bodies[0])


async def _default_rules(cluster: Cluster, outcomes: Outcomes) -> list[str]:
    """The ranking rules of an index that names none; none when no node has answered anything."""
    names = {answer.node for listed in outcomes.lists() for answer in listed.found.answers}

    async def answered() -> set[NodeName]:
        return names

    return await known_default_rules(cluster, answered) if names else []


@dataclass(frozen=True, kw_only=True)
class _Asking:
    """The questions of one federated search."""

    cluster: Cluster
    federation: Federation
    options: SearchOptions

    async def everything(self, queries: Sequence[Query]) -> Outcomes:
        by_index: dict[str, list[Query]] = {}
        for query in queries:
            by_index.setdefault(query.uid, []).append(query)
        listed = await all_outcomes(self._list(query, alone=len(by_index[query.uid]) == 1) for query in queries)
        of_query = dict(zip((query.position for query in queries), listed, strict=True))
        uids = sorted(by_index)
        lists = {uid: [(query, of_query[query.position]) for query in by_index[uid]] for uid in uids}
        facets = self.federation.facets
        unused = sorted(uid for uid in facets if uid not in by_index)
        return Outcomes(
            indexes=dict(zip(uids, await all_outcomes(self._index(uid) for uid in uids), strict=True)),
            listed=lists,
            summed=dict(zip(uids, await all_outcomes(self._sum(uid, lists[uid]) for uid in uids), strict=True)),
            unused=dict(zip(unused, await all_outcomes(self._check(uid, facets[uid]) for uid in unused), strict=True)),
        )

    async def _index(self, uid: str) -> Index:
        return (await self.cluster.map(uid)).index

    async def _list(self, query: Query, *, alone: bool) -> Listed:
        if query.request.get("hybrid") is not None or query.request.get("vector") is not None:
            raise UsageError(
                f"query {query.position}: searches by vector cannot be merged with others exactly yet",
                hint="leave `hybrid` and `vector` out of it, or ask it alone",
            )
        settings = (await self._index(query.uid)).settings
        request = self.federation.request(
            query, settings, facets=self.federation.facets.get(query.uid) if alone else None
        )

        async def work(reader: Reader) -> Listed:
            found = await find(reader, request)
            ranking = found.ranking
            return Listed(query=query, index=reader.map.index, found=found, hits=ranking.hits, total=ranking.total)

        return await self._read(query.uid, request, work)

    async def _sum(self, uid: str, outcomes: Sequence[tuple[Query, Listed | MiroirError]]) -> Summed:
        lists = [outcome for _, outcome in outcomes if not isinstance(outcome, MiroirError)]
        facets = self.federation.facets.get(uid)
        if len(lists) < len(outcomes) or len(outcomes) == 1:
            return Summed(
                total=sum(listed.total for listed in lists),
                facets=None if facets is None or not lists else lists[0].found.ranking.facets or NO_FACETS,
            )
        distinct = self.federation.distinct
        counted = [*(facets or ()), *([distinct] if distinct else ())]
        union = Union(uid=uid, queries=[_counted(listed) for listed in lists], facets=counted)
        request = {"limit": 0, **({"facets": list(facets)} if facets else {})}

        async def work(reader: Reader) -> Summed:
            async def ask(client: NodeClient, shards: tuple[ShardId, ...]) -> dict[str, Any]:
                return await union.ask(client, shards, reader.options.timeout)

            answers, _ = await reader.ask(ask)
            parts = [facet_answer(part, part["estimatedTotalHits"]) for each in answers for part in each.body["parts"]]
            rules = facet_rules(reader.map.index.settings)
            listed = node_max_values(reader.map.index.settings)
            if cut_short(parts, rules, limit=listed, every=distinct is not None):
                raise too_many_values(reader, listed)
            total = sum(answer.total for answer in answers)
            return Summed(
                total=total if distinct is None else _count_distinct(total, parts, lists, distinct),
                facets=None if facets is None else merge_facets(parts, rules),
            )

        return await self._read(uid, request, work)

    async def _check(self, uid: str, facets: Sequence[str] | None) -> Unused:
        request = {"limit": 0, **({"facets": list(facets)} if facets else {})}

        async def work(reader: Reader) -> Unused:
            found = await find(reader, request)
            return Unused(index=reader.map.index, facets=found.ranking.facets or NO_FACETS)

        return await self._read(uid, request, work)

    async def _read(self, uid: str, request: Json, work: Callable[[Reader], Awaitable[Result]]) -> Result:
        async def replay(client: NodeClient, timeout: float) -> object:
            return await client.search(uid, request, timeout=timeout)

        return await read(self.cluster, uid, work, replay=replay, options=self.options)


def _counted(listed: Listed) -> Counted:
    """A search that has found enough counts all that match, whatever their score."""
    prepared = listed.found.prepared
    enough = not prepared.window.pages and len(listed.hits) >= prepared.window.needed
    return Counted(
        prepared=prepared,
        threshold=None if enough else prepared.original.get("rankingScoreThreshold"),
    )


def _count_distinct(total: int, parts: Sequence[FacetAnswer], lists: Sequence[Listed], distinct: str) -> int:
    """Of the documents found those without a value, one of each value in a list, and all of the others if one
    Meilisearch would not look further. An estimate, as Meilisearch's own is."""
    often: dict[str, int] = {}
    for part in parts:
        for value, count in part.distribution.get(distinct, {}).items():
            often[normalise(value)] = often.get(normalise(value), 0) + count
    if lists[0].found.prepared.window.pages:
        shown = set(often)
    else:
        shown = {text for listed in lists for hit in listed.hits for text in _facet_texts(hit, distinct)}
    return total - sum(often[value] - 1 for value in shown if value in often)


def _facet_texts(hit: Hit, name: str) -> Iterator[str]:
    """The values of a hit as facets list them, in their normalised forms."""
    found = facet_values(hit, name)
    yield from found.strings
    yield from map(number_text, found.numbers)


def _errors(outcomes: Outcomes, federation: Federation, default: Sequence[str]) -> Iterator[MiroirError]:
    """What is wrong, in the order in which one Meilisearch looks."""
    previous: Rules | None = None
    orders: dict[str, tuple[str, Order]] = {}
    for uid, of_queries in outcomes.listed.items():
        first = f".queries[{of_queries[0][0].position}]"
        summed, index = outcomes.summed[uid], outcomes.indexes[uid]
        if isinstance(index, MiroirError):
            yield inside(index, uid, first)
            continue
        if federation.merges_facets and isinstance(summed, Summed) and summed.facets is not None:
            order = _other_order(uid, summed.facets, facet_rules(index.settings).order, orders)
            if order is not None:
                yield inside(inside(order, uid, _by_index(uid)), uid, first)
        about_facets = summed if isinstance(summed, MiroirError) else None
        for query, outcome in of_queries:
            where = f".queries[{query.position}]"
            own = index.settings.get("rankingRules")
            rules = rules_of(query.request, default if own is None else own, position=query.position, uid=uid)
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
        problem: MiroirError | None
        if isinstance(unused, MiroirError):
            problem = unused
        else:
            order_of = facet_rules(unused.index.settings).order
            problem = _other_order(uid, unused.facets, order_of, orders) if federation.merges_facets else None
        if problem is not None:
            yield inside(problem, uid, _by_index(uid), note=_ALONE.format(uid))


def _by_index(uid: str) -> str:
    return f".federation.facetsByIndex.{uid}"


def _is_about_facets(error: MiroirError) -> bool:
    return isinstance(error, NodeRefusal) and error.node_code == "invalid_search_facets"


def _refusal(message: str, code: str) -> NodeRefusal:
    return NodeRefusal(message, status=400, node_code=code, node="")


def _other_order(
    uid: str, facets: Facets, order_of: Callable[[str], Order], orders: dict[str, tuple[str, Order]]
) -> NodeRefusal | None:
    """Why facets of an index cannot be added to those of the ones before; `orders` is added to."""
    words = {"alpha": "alphabetically", "count": "by count"}
    for name in facets[0]:
        before, order = orders.setdefault(name, (uid, order_of(name)))
        if order != order_of(name):
            return _refusal(
                f"Inconsistent order for values in facet `{name}`: index `{before}` orders {words[order]}, but index "
                f"`{uid}` orders {words[order_of(name)]}.\n - Hint: Remove `federation.mergeFacets` or change "
                "`faceting.sortFacetValuesBy` to be consistent in settings.",
                "invalid_multi_search_facet_order",
            )
    return None


def _body(outcomes: Outcomes, queries: Sequence[Query], federation: Federation) -> dict[str, Any]:
    """The answer, with its parts in Meilisearch's order."""
    lists = list(outcomes.lists())
    by_index: dict[str, list[list[Ranked]]] = {}
    for listed in lists:
        by_index.setdefault(listed.query.uid, []).append(_ranked(listed, several=len(lists) > 1))
    needed = {listed.query.uid: listed.found.prepared.window.needed for listed in lists}
    hits, fallen = merge_lists(by_index, needed, distinct=federation.distinct)
    window = federation.window({})
    views = {listed.query.position: _view(listed) for listed in lists}
    shown = [
        with_origin(show(each.hit, views[each.query]), each) for each in hits[window.skip : window.skip + window.take]
    ]
    summed = {uid: each for uid, each in outcomes.summed.items() if isinstance(each, Summed)}
    bodies = [answer.body for listed in lists for answer in listed.found.answers]
    body: dict[str, Any] = {"hits": shown}
    if any(query.request.get("retrieveVectors") for query in queries):
        body["queryVectors"] = {}
    body["processingTimeMs"] = max(int(each.get("processingTimeMs", 0)) for each in bodies)
    body |= window.totals(sum(each.total for each in summed.values()) - fallen)
    body |= _shown_facets(summed, outcomes, federation)
    if "requestUid" in bodies[0]:
        body["requestUid"] = bodies[0]["requestUid"]
    missing = {
        uid: sorted(
            {shard for _, each in outcomes.listed[uid] if isinstance(each, Listed) for shard in each.found.missing}
        )
        for uid in outcomes.listed
    }
    if any(missing.values()):
        body["partial"] = True
        body["missingShards"] = {uid: shards for uid, shards in missing.items() if shards}
    return body


def _ranked(listed: Listed, *, several: bool) -> list[Ranked]:
    """The hits of a list with what they are compared by, if there is another list."""
    settings, prepared = listed.index.settings, listed.found.prepared
    found = []
    for hit in listed.hits:
        values = weighted_values(
            hit,
            weight=listed.query.weight,
            attributes=searchable(settings),
            without=prepared.view.hidden_rule,
        )
        if values is None and several:
            raise UsageError(
                f"query {listed.query.position} cannot be merged exactly with the others: its scores cannot be taken "
                "apart",
                hint="leave `sort` out of it, or ask it alone",
            )
        found.append(
            Ranked(
                hit=hit,
                uid=listed.query.uid,
                query=listed.query.position,
                values=values or (),
                score=float(hit["_rankingScore"]) * listed.query.weight,
                identity=str(hit.get(prepared.primary_key)),
            )
        )
    return found


def _view(listed: Listed) -> Any:
    request = listed.query.request
    return replace(
        listed.found.prepared.view,
        score=bool(request.get("showRankingScore")),
        details=bool(request.get("showRankingScoreDetails")),
    )


def _shown_facets(summed: Mapping[str, Summed], outcomes: Outcomes, federation: Federation) -> dict[str, Any]:
    found = {uid: each.facets for uid, each in summed.items() if each.facets is not None}
    if not found:
        return {}
    if not federation.merges_facets:
        by_index = {uid: {"distribution": distribution, "stats": stats} for uid, (distribution, stats) in found.items()}
        return {"facetsByIndex": by_index}
    orders: dict[str, Order] = {}
    for uid, (distribution, _) in found.items():
        index = outcomes.indexes[uid]
        assert not isinstance(index, MiroirError)
        order_of = facet_rules(index.settings).order
        orders |= {name: order_of(name) for name in distribution if name not in orders}
    distribution, stats = add_up_facets(found, orders, max_values=federation.max_values)
    return {"facetDistribution": distribution, "facetStats": stats}
