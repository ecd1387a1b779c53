"""A search with `distinct` over several nodes: the rounds of questions after the first, and the answer made of them.

In the first round each node answers by itself: one document of each value that it has. That is all it takes where
documents have one value each, but for what falls away between nodes. Where a document of several values falls away,
the nodes are asked for all documents, deeper until enough of them stay. What counts beside the hits is left to the
nodes where a filter can say it; else the documents are read, at most `most_read`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from miroir_cli.documents.route import shard_of
from miroir_cli.errors import UsageError
from miroir_cli.model import shard_filter
from miroir_cli.search.distinct import (
    Rest,
    choose,
    has_no_value,
    numbers_like,
    others,
    repeated_blanks,
    without,
)
from miroir_cli.search.facet_values import FacetValues, Value, facet_values
from miroir_cli.search.facets import FacetRules, attributes, facet_answer, facets_of, merge_facets
from miroir_cli.search.merge import Facets, NodeAnswer, Ranking, merged_facets, ordered_hits, with_pins
from miroir_cli.search.pins import unpinned
from miroir_cli.search.rank import Hit, identity
from miroir_cli.search.whole_facets import too_many_values, whole_facets

if TYPE_CHECKING:
    from miroir_cli.model import Json, ShardId
    from miroir_cli.node.client import NodeClient
    from miroir_cli.search.distinct import Distinct
    from miroir_cli.search.reading import Reader
    from miroir_cli.search.request import Prepared

DEEPER = 4
"""How many times as many documents each round asks for as the one before."""

READ_FOR_A_TOTAL = 1000
"""Documents read at most for nothing but an estimated total, where no filter can say it."""

EVERY_VALUE = 2**62
"""More values than a facet has."""

_ALL = FacetRules(max_values=EVERY_VALUE, orders={})


async def answer_distinct(reader: Reader, prepared: Prepared, answers: Sequence[NodeAnswer]) -> Ranking:
    """The client's hits, from the `answers` of more than one node to the first round.

    Raises `UsageError` for what cannot be told without reading more than `most_read` documents.
    """
    assert prepared.distinct is not None
    rounds = Rounds(reader, prepared, prepared.distinct, answers)
    chosen = await rounds.hits()
    total, facets = await rounds.count(chosen)
    hits = with_pins(prepared, answers, chosen.shown)[: prepared.window.needed]
    return Ranking(hits=hits, total=total, facets=facets)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """One document of each value, up to the end of the window, and the values; places of those that are not shown."""

    hits: list[Hit]
    values: list[frozenset[Value]]
    dropped: set[int]

    @property
    def shown(self) -> list[Hit]:
        return [hit for place, hit in enumerate(self.hits) if place not in self.dropped]

    @property
    def valued(self) -> list[Hit]:
        """Those shown that have a value."""
        return [hit for place, hit in enumerate(self.hits) if self.values[place] and place not in self.dropped]


class Rounds:
    """The questions about one search after the first. `keep`: what of the nodes' answers counts as theirs."""

    def __init__(
        self,
        reader: Reader,
        prepared: Prepared,
        distinct: Distinct,
        answers: Sequence[NodeAnswer],
        *,
        keep: Callable[[Sequence[NodeAnswer]], Sequence[NodeAnswer]] = lambda answers: answers,
    ) -> None:
        self.keep = keep
        self.reader = reader
        self.prepared = prepared
        self.distinct = distinct
        self.answers = answers
        self.most_read = reader.options.most_read
        self.shards = sorted(shard for answer in answers for shard in answer.shards)

    async def hits(self) -> Taken:
        needed = self.prepared.window.needed
        hits = unpinned(ordered_hits(self.prepared, self.answers, self.reader.map.index))
        values = await self.values(hits)
        chosen = choose((each.all for each in values), needed)
        asked = self.distinct.asked
        settled = not needed or not (chosen.doubtful or (asked and any(each.blank for each in values)))
        depth = needed
        while not settled:
            if depth >= self.most_read:
                raise self.too_many()
            depth = min(depth * DEEPER, self.most_read)
            hits, complete = await self._best(depth)
            values = await self.values(hits)
            chosen = choose((each.all for each in values), needed)
            settled = complete or len(chosen.places) == needed
        own = [values[place] for place in chosen.places]
        return Taken(
            hits=[hits[place] for place in chosen.places],
            values=[each.all for each in own],
            dropped=repeated_blanks(each.blank for each in own) if asked else set(),
        )

    async def count(self, chosen: Taken) -> tuple[int, Facets | None]:
        """As one node counts."""
        if self.prepared.window.pages and (self.prepared.threshold or not self.prepared.semantic):
            return await self._count_to_the_end(chosen)
        return await self._count_from_the_end(chosen)

    async def _count_from_the_end(self, chosen: Taken) -> tuple[int, Facets | None]:
        """As one node counts that stops at the end of the window."""
        attribute, facets = self.distinct.attribute, self.prepared.facets
        if len(chosen.hits) < self.prepared.window.needed:
            return len(chosen.shown), await self._facets(chosen.shown, self.answers, [])
        taken = frozenset[Value]().union(*chosen.values)
        by_filter = self.distinct.filterable and not (facets and chosen.dropped)
        if by_filter and not await self.any(numbers_like(attribute, taken)):
            only = without(attribute, taken)
            counted = await self.counted(only=only)  # those without a value among them
            total = sum(map(bool, chosen.values)) + total_of(counted) - len(chosen.dropped)
            if facets is None:
                return total, None
            listed = await self.listed(counted, only=only)
            if listed is None:
                raise too_many_values(self.reader, self.prepared.listed)
            return total, await self._facets(chosen.valued, counted, listed)
        if facets is None and await self.are_too_many():
            fallen = sum(len(answer.hits) for answer in self.answers) - len(chosen.shown)
            return total_of(self.answers) - fallen, None  # an estimate: no filter finds what shares a value with a hit
        return await self._read(chosen, Rest.ALL)

    async def are_too_many(self) -> bool:
        """Whether so many documents match that their number is better estimated than found by reading them."""
        most = self.most_read if self.distinct.filterable else min(READ_FOR_A_TOTAL, self.most_read)
        return total_of(self.answers) > most or total_of(await self.counted(facets=[])) > most

    async def _count_to_the_end(self, chosen: Taken) -> tuple[int, Facets | None]:
        """As one node counts that was asked for a page: one document of each value."""
        attribute = self.distinct.attribute
        if self.prepared.facets is None and self.distinct.filterable:
            counted = await self.counted(facets=[attribute])
            every = await self.listed(counted, facets=[attribute]) or []
            empty = total_of(await self.counted(facets=[], only=has_no_value(attribute)))
            found = [facet_answer(answer.body, answer.total) for answer in every]
            times = sum(sum(part.distribution.get(attribute, {}).values()) for part in found)
            if every and times + empty == total_of(every):  # no document has several values
                different = len(merge_facets(found, _ALL)[0].get(attribute, ()))
                return different + empty - len(chosen.dropped), None
        return await self._read(chosen, Rest.FIRST)

    async def _read(self, chosen: Taken, rest: Rest) -> tuple[int, Facets | None]:
        """The same from all matching documents."""
        names = attributes(answer.body.get("facetDistribution") or {} for answer in self.answers)
        ranked = self.prepared.threshold and rest is Rest.FIRST
        documents = await self.everything(names, ranked=bool(ranked), threshold=rest is Rest.FIRST)
        keys, shown = list(documents), list(documents.values())
        values = [facet_values(document, self.distinct.attribute).all for document in shown]
        places = {key: place for place, key in enumerate(keys)}
        own = {places[key] for key in map(self.key, chosen.hits) if key in places}
        dropped = {places.get(self.key(chosen.hits[place])) for place in chosen.dropped}
        counted = sorted(own.union(others(values, own, rest)) - dropped)
        if self.prepared.facets is None:
            return len(counted), None
        local = facets_of([shown[place] for place in counted], names)
        return len(counted), merge_facets([], self.prepared.facets, local)

    async def everything(
        self, names: Iterable[str], *, ranked: bool = False, threshold: bool = False, only: str = ""
    ) -> dict[str, dict[str, Any]]:
        """All matching documents by their keys, in the order of these or `ranked`, with the distinct attribute and
        other `names`. Raises `UsageError` for more than `most_read`."""
        found = total_of(await self.counted(facets=[], only=only))
        if found > self.most_read:
            raise self.too_many()
        best, _ = await self._best(max(found, 1), keys_only=True, threshold=threshold, only=only)
        if not ranked:
            best.sort(key=lambda hit: identity(hit, self.prepared.primary_key))
        keys = list(map(self.key, best))
        documents = await self.documents(keys, [*names, self.distinct.attribute])
        return {key: documents.get(key, {}) for key in keys}

    async def _facets(
        self, hits: Sequence[Hit], known: Sequence[NodeAnswer], counted: Sequence[NodeAnswer]
    ) -> Facets | None:
        """The facets of the hits, with what the nodes `counted`. `known` have all the names of attributes."""
        rules = self.prepared.facets
        if rules is None:
            return None
        names = attributes(answer.body.get("facetDistribution") or {} for answer in known)
        documents = await self.documents(list(map(self.key, hits)), names)
        return merged_facets(counted, rules, facets_of(list(documents.values()), names))

    # -- questions

    async def _best(
        self, depth: int, *, keys_only: bool = False, threshold: bool = True, only: str = ""
    ) -> tuple[list[Hit], bool]:
        """The best `depth` documents, and whether there are no more."""

        async def every(client: NodeClient, shards: tuple[ShardId, ...]) -> dict[str, Any]:
            body = self.prepared.for_every(shards, most=depth, keys_only=keys_only, threshold=threshold, only=only)
            return await self._search(client, body)

        answers = await self.reader.ask_all(every, self.shards)
        hits = unpinned(ordered_hits(self.prepared, self.keep(answers), self.reader.map.index))
        complete = all(len(answer.hits) < depth for answer in answers)
        return (hits if complete else hits[:depth]), complete

    async def counted(self, *, facets: Sequence[str] | None = None, only: str = "") -> list[NodeAnswer]:
        async def count(client: NodeClient, shards: tuple[ShardId, ...]) -> dict[str, Any]:
            return await self._search(client, self.prepared.for_count(shards, facets=facets, only=only))

        return await self.reader.ask_all(count, self.shards)

    async def listed(
        self, counted: Sequence[NodeAnswer], *, facets: Sequence[str] | None = None, only: str = ""
    ) -> list[NodeAnswer] | None:
        """The answers of `_counted`, or others, with whole facets; all values of those named in `facets`."""
        return await whole_facets(
            self.reader,
            counted,
            lambda shards: self.prepared.for_count(shards, facets=facets, only=only),
            self.prepared.facets or _ALL,
            limit=self.prepared.listed,
            every=facets is not None,
        )

    async def any(self, only: str | None) -> bool:
        """Whether anything matches that passes a filter."""
        return only is not None and total_of(await self.counted(facets=[], only=only)) > 0

    async def values(self, hits: Sequence[Hit]) -> list[FacetValues]:
        name = self.distinct.attribute
        if self.distinct.visible:
            return [facet_values(hit, name) for hit in hits]
        documents = await self.documents(list(map(self.key, hits)), [name])
        return [facet_values(documents.get(self.key(hit), {}), name) for hit in hits]

    async def documents(self, keys: Sequence[str], names: Iterable[str]) -> Mapping[str, dict[str, Any]]:
        """Documents by their primary keys, with these attributes; those that have gone meanwhile are missing."""
        primary_key = self.prepared.primary_key
        fields = sorted({primary_key, *names, *(name.partition(".")[0] for name in names)})
        index = self.reader.map.index
        wanted: dict[ShardId, list[str]] = {}
        for key in keys:
            wanted.setdefault(shard_of(key, index.shards), []).append(key)

        async def fetch(client: NodeClient, shards: tuple[ShardId, ...]) -> dict[str, Any]:
            ids = [key for shard in shards for key in wanted[shard]]
            body = {"ids": ids, "fields": fields, "filter": shard_filter(shards), "limit": len(ids)}
            return await client.fetch_documents(self.reader.stored_as, body, timeout=self.reader.options.timeout)

        if not wanted:
            return {}
        answers = await self.reader.ask_all(fetch, sorted(wanted))
        return {self.key(document): document for answer in answers for document in answer.body["results"]}

    def key(self, document: dict[str, Any]) -> str:
        return str(identity(document, self.prepared.primary_key)[1])

    def too_many(self) -> UsageError:
        return UsageError(
            f"`distinct` by `{self.distinct.attribute}` has to read more than {self.most_read:,} documents",
            hint="narrow the search with a filter, or leave `facets` out",
        )

    async def _search(self, client: NodeClient, body: Json) -> dict[str, Any]:
        return await client.search(self.reader.stored_as, body, timeout=self.reader.options.timeout)


def total_of(answers: Iterable[NodeAnswer]) -> int:
    return sum(answer.total for answer in answers)
