"""A hybrid search with `distinct`: two rankings with one document of each value, merged to one that has that as well.

What one node counts, from `bucket_sort.rs` and `search/hybrid.rs` of Meilisearch 1.50: each ranking stops at the end of
the window and then counts its hits and what shares no value with them. The whole counts what either does, without all
that shares a value with a merged hit, and the merged hits. By words there are few documents that count only there,
because they share a value with a hit by vectors: these are read. Everything else is counted by the nodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from miroir_cli.errors import UsageError
from miroir_cli.search.distinct import choose, numbers_like, repeated_blanks, with_any, without
from miroir_cli.search.distinct_answer import Rounds, Taken, total_of
from miroir_cli.search.facet_values import Value, facet_values
from miroir_cli.search.facets import attributes, facets_of
from miroir_cli.search.hybrid import by_vector_alone, first_of_both, with_pins_of
from miroir_cli.search.merge import Facets, NodeAnswer, Ranking, merged_facets
from miroir_cli.search.rank import Hit, identity
from miroir_cli.search.rules import searchable
from miroir_cli.search.whole_facets import too_many_values

if TYPE_CHECKING:
    from miroir_cli.search.reading import Reader
    from miroir_cli.search.request import Prepared

Values = frozenset[Value]
NO_VALUES: Values = frozenset()


@dataclass(frozen=True, kw_only=True)
class Leg:
    """One of the two rankings, and the questions about it."""

    prepared: Prepared
    rounds: Rounds
    taken: Taken

    @property
    def hits(self) -> list[Hit]:
        """The ranked hits with the pinned ones."""
        found = [hit for answer in self.rounds.answers for hit in answer.hits]
        return with_pins_of(found, self.taken.hits, self.prepared)

    @property
    def full(self) -> bool:
        """Whether a node that has everything stops before it has seen all documents."""
        return len(self.taken.hits) == self.prepared.window.needed

    @property
    def seen(self) -> Values:
        return NO_VALUES.union(*self.taken.values)

    def values(self) -> dict[str, Values]:
        return dict(zip(map(self.rounds.key, self.taken.hits), self.taken.values, strict=True))


async def leg_of(reader: Reader, prepared: Prepared, answers: Sequence[NodeAnswer]) -> Leg:
    assert prepared.distinct is not None
    keep = by_vector_alone if prepared.semantic else list
    rounds = Rounds(reader, prepared, prepared.distinct, answers, keep=keep)
    return Leg(prepared=prepared, rounds=rounds, taken=await rounds.hits())


async def merge_distinct(reader: Reader, near: Leg, words: Leg, *, ratio: float) -> Ranking:
    """The ranking of both. Raises `UsageError` for what cannot be told without reading too many documents."""
    prepared, distinct, index = near.prepared, near.rounds.distinct, reader.map.index
    hits = [*near.taken.hits, *words.taken.hits]
    values = [*near.taken.values, *words.taken.values]
    merged = first_of_both(
        near.hits,
        words.hits,
        prepared,
        ratio=ratio,
        searchable=searchable(index.settings),
        values={identity(hit, prepared.primary_key): own for hit, own in zip(hits, values, strict=True)},
    )
    dropped: set[int] = set()
    if distinct.asked:
        dropped = repeated_blanks(each.blank for each in await near.rounds.values(merged))
    keys = list(map(near.rounds.key, merged))
    both = _Both(reader, near, words, keys, {keys[place] for place in dropped})
    shown = [hit for place, hit in enumerate(merged) if place not in dropped]
    total, facets = await both.count()
    return Ranking(hits=with_pins_of([*words.hits, *near.hits], shown, prepared), total=total, facets=facets)


class _Both:
    """What counts beside the merged hits, given by their `keys`; `dropped`: hits that are not shown."""

    def __init__(self, reader: Reader, near: Leg, words: Leg, keys: Sequence[str], dropped: Set[str]) -> None:
        self.reader, self.near, self.words = reader, near, words
        self.keys, self.dropped = keys, dropped
        self.distinct = near.rounds.distinct
        self.own = {**words.values(), **near.values()}
        self.taken = NO_VALUES.union(*(self.own[key] for key in keys))
        bodies = [answer.body for answer in near.rounds.answers]
        self.names = attributes(body.get("facetDistribution") or {} for body in bodies)

    async def count(self) -> tuple[int, Facets | None]:
        rules = self.near.prepared.facets
        if self.near.prepared.threshold:
            if rules is not None:
                raise UsageError(
                    "cannot be merged exactly over several nodes: `facets` of `hybrid` with `distinct` and "
                    "`rankingScoreThreshold`",
                    hint="leave one of them out",
                )
            return await self._estimate_above(), None
        counted = await self._counted_by_nodes()
        read: Mapping[str, Any] = {}
        if counted is None:
            if rules is None and await self.near.rounds.are_too_many():
                return self._estimate(), None
            read = await self._read_beyond_vectors()
        beyond = {**read, **await self._read_beyond_words()}
        alone = [key for key in self._at_hand() if key not in beyond and not (counted and self._is_beyond(key))]
        total = total_of(counted or ()) + len(beyond) + len(alone) - len(self.dropped)
        if rules is None:
            return total, None
        documents = {**await self.near.rounds.documents(alone, self.names), **beyond}
        shown = [document for key, document in documents.items() if key not in self.dropped]
        listed = await self._listed(counted) if counted else []
        return total, merged_facets(listed, rules, facets_of(shown, self.names))

    async def _estimate_above(self) -> int:
        """What reaches a threshold: one node counts what either ranking does, but for what shares a value with a merged
        hit; near that is the larger of the two numbers."""
        legs = (self.near, self.words)
        if any([await leg.rounds.are_too_many() for leg in legs]):
            return self._estimate()
        counted = [(await leg.rounds.count(leg.taken))[0] for leg in legs]
        return max(*counted, len(self.keys) - len(self.dropped))

    def _estimate(self) -> int:
        answers = self.near.rounds.answers
        return total_of(answers) - sum(len(answer.hits) for answer in answers) + len(self.keys) - len(self.dropped)

    def _at_hand(self) -> list[str]:
        """Hits of both rankings that count: the merged ones, and those that share no value with them."""
        merged = set(self.keys)
        return [key for key, own in self.own.items() if key in merged or own.isdisjoint(self.taken)]

    def _is_beyond(self, key: str) -> bool:
        """Whether the nodes count a hit among what shares no value with merged hits and hits by vectors."""
        return self.own[key].isdisjoint(self.taken | self.near.seen)

    async def _counted_by_nodes(self) -> list[NodeAnswer] | None:
        """What shares no value with merged hits and hits by vectors, counted; None where no filter finds it."""
        if not self.near.full:
            return []
        seen, attribute = self.taken | self.near.seen, self.distinct.attribute
        by_filter = self.distinct.filterable and not (self.dropped and self.near.prepared.facets)
        if not by_filter or await self.near.rounds.any(numbers_like(attribute, seen)):
            return None
        return await self.near.rounds.counted(only=without(attribute, seen))

    async def _listed(self, counted: Sequence[NodeAnswer]) -> Sequence[NodeAnswer]:
        only = without(self.distinct.attribute, self.taken | self.near.seen)
        listed = await self.near.rounds.listed(counted, only=only)
        if listed is None:
            raise too_many_values(self.reader, self.near.prepared.listed)
        return listed

    async def _read_beyond_vectors(self) -> dict[str, Any]:
        """The same documents, read."""
        seen = self.taken | self.near.seen
        found = await self.near.rounds.everything(self.names)
        return {key: document for key, document in found.items() if self._values(document).isdisjoint(seen)}

    async def _read_beyond_words(self) -> dict[str, Any]:
        """What only the ranking by words counts: it shares a value with hits by vectors, or these are all there are.

        Of a page, only the first of each value.
        """
        only = await self._filter_beyond_words() if self.words.full else None
        if only is None:
            return {}
        found = await self.words.rounds.everything(self.names, only=only)
        found = {key: each for key, each in found.items() if self._values(each).isdisjoint(self.words.seen)}
        if self.words.prepared.window.pages:
            keys = list(found)
            first = choose((self._values(found[key]) for key in keys), len(keys))
            found = {keys[place]: found[keys[place]] for place in first.places}
        return {
            key: document
            for key, document in found.items()
            if self._values(document).isdisjoint(self.taken)
            and not (self.near.full and self._values(document).isdisjoint(self.near.seen))
        }

    async def _filter_beyond_words(self) -> str | None:
        """A filter that keeps all that `_read_beyond_words` looks for, as far as one is known; None for nothing."""
        attribute, near = self.distinct.attribute, self.near.seen - self.taken - self.words.seen
        if not near and self.near.full:
            return None
        if not self.distinct.filterable:
            return ""
        if self.near.full and not self.words.prepared.window.pages:
            return with_any(attribute, near)
        if await self.words.rounds.any(numbers_like(attribute, self.words.seen)):
            return ""
        return without(attribute, self.words.seen)

    def _values(self, document: Mapping[str, Any]) -> Values:
        return facet_values(document, self.distinct.attribute).all
