"""A federated search: the lists of all queries from all shards, counted and merged as one Meilisearch would.

Each query is a search of its index, so that its list is the whole cluster's; `search/federation.py` merges the lists,
`search/outcomes.py` has the order of errors.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from miroir_cli.errors import MiroirError, UsageError
from miroir_cli.indexes.catalog import known_default_rules
from miroir_cli.indexes.settings import node_max_values
from miroir_cli.search.facet_values import facet_values, normalise, number_text
from miroir_cli.search.facets import FacetAnswer, cut_short, facet_answer, facet_rules, merge_facets
from miroir_cli.search.federation import Ranked, add_up_facets, merge_lists, with_origin
from miroir_cli.search.merge import SEMANTIC_HITS
from miroir_cli.search.outcomes import Facets, Listed, Outcomes, Summed, Unused, errors_of
from miroir_cli.search.pins import unpinned
from miroir_cli.search.rank import by_its_vector
from miroir_cli.search.reading import MISSING, PARTIAL, Reader, SearchOptions, all_outcomes, read
from miroir_cli.search.rules import searchable
from miroir_cli.search.scatter import find
from miroir_cli.search.semantics import semantics_of
from miroir_cli.search.shape import first_error
from miroir_cli.search.union import Counted, Union
from miroir_cli.search.view import show
from miroir_cli.search.weights import weighted_values
from miroir_cli.search.whole_facets import too_many_values

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.model import Index, Json, NodeName, ShardId, StoredUid
    from miroir_cli.node.client import NodeClient
    from miroir_cli.search.facets import Order
    from miroir_cli.search.federation import Federation, Query
    from miroir_cli.search.rank import Hit
    from miroir_cli.search.window import Window

Result = TypeVar("Result")
NO_FACETS: Facets = ({}, {})


async def federated_search(
    cluster: Cluster, request: Json, queries: Sequence[Query], federation: Federation, *, options: SearchOptions
) -> dict[str, Any]:
    """The body of a federated search. Raises as `multi_search` does."""
    if not queries:
        return await _without_queries(cluster, request)
    asking = _Asking(cluster=cluster, federation=federation, options=options)
    outcomes = await asking.everything(queries)
    rules = await _default_rules(cluster, outcomes) if len(queries) > 1 else []
    error = next(errors_of(outcomes, federation, rules), None)
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
        summed = dict(zip(uids, await all_outcomes(self._sum(uid, lists[uid]) for uid in uids), strict=True))
        checked = dict(zip(unused, await all_outcomes(self._check(uid, facets[uid]) for uid in unused), strict=True))
        counted = {**summed, **checked}
        return Outcomes(
            indexes=dict(zip(counted, await all_outcomes(self._index(uid) for uid in counted), strict=True)),
            listed=lists,
            summed=summed,
            unused=checked,
            merged={uid: await self._merged(uid, counted[uid]) for uid in counted if self.federation.merges_facets},
        )

    async def _index(self, uid: str) -> Index:
        return (await self.cluster.named(uid)).index

    async def _list(self, query: Query, *, alone: bool) -> Listed:
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
        distinct = _common_distinct(lists)
        if facets and any(listed.found.prepared.distinct for listed in lists):
            raise UsageError(
                f"facets of index `{uid}` cannot be merged exactly over several nodes: several queries of it with "
                "`distinct`",
                hint="leave `distinct` or `facetsByIndex` out of it",
            )
        counted = [*(facets or ()), *([distinct] if distinct else ())]
        union = Union(queries=[_counted(listed) for listed in lists], facets=counted)
        request = {"limit": 0, **({"facets": list(facets)} if facets else {})}

        async def work(reader: Reader) -> Summed:
            async def ask(client: NodeClient, shards: tuple[ShardId, ...]) -> dict[str, Any]:
                return await union.ask(client, reader.stored_as, shards, reader.options.timeout)

            answers, _ = await reader.ask(ask)
            parts = [facet_answer(part, part["estimatedTotalHits"]) for each in answers for part in each.body["parts"]]
            rules = facet_rules(reader.map.index.settings)
            listed = node_max_values(reader.map.index.settings)
            if cut_short(parts, rules, limit=listed, every=distinct is not None):
                raise too_many_values(reader, listed)
            total = sum(answer.total for answer in answers)
            return Summed(
                total=total
                if distinct is None
                else _count_distinct(total, parts, lists, distinct, once=self.federation.distinct is not None),
                facets=None if facets is None else merge_facets(parts, rules) if facets else NO_FACETS,
            )

        return await self._read(uid, request, work)

    async def _check(self, uid: str, facets: Sequence[str] | None) -> Unused:
        request = {"limit": 0, **({"facets": list(facets)} if facets else {})}

        async def work(reader: Reader) -> Unused:
            found = await find(reader, request)
            return Unused(facets=found.ranking.facets or NO_FACETS)

        return await self._read(uid, request, work)

    async def _merged(self, uid: str, counted: Summed | Unused | MiroirError) -> Sequence[str]:
        if not isinstance(counted, MiroirError) and counted.facets is not None:
            return list(counted.facets[0])
        each = await all_outcomes(self._check(uid, [name]) for name in self.federation.facets.get(uid) or ())
        return [name for found in each if not isinstance(found, MiroirError) for name in found.facets[0]]

    async def _read(self, uid: str, request: Json, work: Callable[[Reader], Awaitable[Result]]) -> Result:
        async def replay(client: NodeClient, stored_as: StoredUid, timeout: float) -> object:
            return await client.search(stored_as, request, timeout=timeout)

        return await read(self.cluster, uid, work, replay=replay, options=self.options)


def _counted(listed: Listed) -> Counted:
    """A search that has found enough counts all that match, whatever their score."""
    prepared = listed.found.prepared
    enough = not prepared.window.counts_everything and len(listed.hits) >= prepared.window.needed
    return Counted(
        prepared=prepared,
        by_vector=listed.found.by_vector,
        threshold=None if enough else prepared.original.get("rankingScoreThreshold"),
    )


def _common_distinct(lists: Sequence[Listed]) -> str | None:
    """The attribute of which all queries of an index show each value once, where nodes can count its values."""
    attributes = {each.attribute if (each := listed.found.prepared.distinct) else None for listed in lists}
    first = lists[0].found.prepared.distinct
    return first.attribute if first and first.filterable and len(attributes) == 1 else None


def _count_distinct(
    total: int, parts: Sequence[FacetAnswer], lists: Sequence[Listed], distinct: str, *, once: bool
) -> int:
    """Of the documents found those without a value, those in a list, and all of the others whose values no list has, if
    one Meilisearch would not look further. An estimate, as Meilisearch's own is.

    `once`: of each value one document counts, not one of each list.
    """
    often: dict[str, int] = {}
    for part in parts:
        for value, count in part.distribution.get(distinct, {}).items():
            often[normalise(value)] = often.get(normalise(value), 0) + count
    shown: dict[str, set[str]] = {}
    for listed in lists:
        for hit in listed.hits:
            key = str(hit.get(listed.found.prepared.primary_key))
            for text in _facet_texts(hit, distinct):
                shown.setdefault(text, set()).add(key)
    if lists[0].found.prepared.window.pages:
        return total - sum(count - (1 if once else max(1, len(shown.get(value, ())))) for value, count in often.items())
    return total - sum(often[value] - (1 if once else len(shown[value])) for value in shown if value in often)


def _facet_texts(hit: Hit, name: str) -> Iterator[str]:
    """The values of a hit as facets list them, in their normalised forms."""
    found = facet_values(hit, name)
    yield from found.strings
    yield from map(number_text, found.numbers)


def _body(outcomes: Outcomes, queries: Sequence[Query], federation: Federation) -> dict[str, Any]:
    """The answer, with its parts in Meilisearch's order."""
    lists = list(outcomes.lists())
    by_index: dict[str, list[list[Ranked]]] = {}
    for listed in lists:
        by_index.setdefault(listed.query.uid, []).append(_ranked(listed, several=len(lists) > 1))
    needed = {listed.query.uid: listed.found.prepared.window.needed for listed in lists}
    hits, fallen = merge_lists(by_index, needed, distinct=federation.distinct)
    window = federation.window({})
    page = hits[window.skip : window.skip + window.take]
    views = {listed.query.position: _view(listed) for listed in lists}
    shown = [with_origin(show(each.hit, views[each.query]), each) for each in page]
    summed = {uid: each for uid, each in outcomes.summed.items() if isinstance(each, Summed)}
    bodies = [answer.body for listed in lists for answer in listed.found.answers]
    body: dict[str, Any] = {"hits": shown}
    if any(query.request.get("retrieveVectors") for query in queries):
        body["queryVectors"] = _query_vectors(lists)
    body["processingTimeMs"] = max(int(each.get("processingTimeMs", 0)) for each in bodies)
    body |= window.totals(sum(each.total for each in summed.values()) - fallen)
    body |= _shown_facets(summed, outcomes, federation)
    if "requestUid" in bodies[0]:
        body["requestUid"] = bodies[0]["requestUid"]
    if any(map(_looks_at_vectors, queries)):
        body[SEMANTIC_HITS] = _count_by_vector([each.hit for each in hits], window)
    missing = {
        uid: sorted(
            {shard for _, each in outcomes.listed[uid] if isinstance(each, Listed) for shard in each.found.missing}
        )
        for uid in outcomes.listed
    }
    if any(missing.values()):
        body[PARTIAL] = True
        body[MISSING] = {uid: shards for uid, shards in missing.items() if shards}
    return body


def _looks_at_vectors(query: Query) -> bool:
    asked = semantics_of(query.request)
    return asked is not None and asked.kind != "keyword"


def _count_by_vector(hits: Sequence[Hit], window: Window) -> int:
    """How many hits of the page were ranked by vectors; where hits are pinned, of all up to its end."""
    ranked = unpinned(hits)
    first = window.skip if len(ranked) == len(hits) else 0
    return sum(map(by_its_vector, ranked[first : window.skip + window.take]))


def _query_vectors(lists: Sequence[Listed]) -> dict[str, Any]:
    """The vectors that were looked for, by the positions of the queries that ask for them; of a query by an alias of
    several indexes that of the first."""
    found: dict[int, Any] = {}
    for listed in sorted(lists, key=lambda listed: listed.query.position):
        vector = listed.found.answers[0].body.get("queryVector")
        if vector is not None:
            found.setdefault(listed.query.place, vector)
    return {str(place): found[place] for place in sorted(found)}


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
                f"query {listed.query.place} cannot be merged exactly with the others: its scores cannot be taken "
                "apart",
                hint="leave `sort` out of it, or ask it alone",
            )
        found.append(
            Ranked(
                hit=hit,
                uid=listed.query.uid,
                query=listed.query.position,
                place=listed.query.place,
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
