"""Ranking rules: each splits a set of documents into buckets, best first.

A document's cost under a rule depends on the document, the query and the settings alone. A rule
sees, for each path through the query (which terms, which glued, how many typos), the documents
that reached the bucket by it; a document's cost is that of its cheapest path. This is
Meilisearch's graph search without the coupling of documents that share a bucket.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from . import bits
from .derivations import EXACT, Derived, Level, documents_of, restricted
from .score import (
    Detail,
    GeoSort,
    Position,
    Proximity,
    Rank,
    Sort,
    Typo,
)
from .sorting import geo_groups

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .index import Index
    from .score import AttributeRank
    from .sorting import SortRule

MAX_PROXIMITY = 3


@dataclass(frozen=True, slots=True)
class Path:
    """Terms in order with the typos each may have."""

    nodes: tuple[Derived, ...]
    levels: tuple[Level, ...]

    def order(self) -> tuple[tuple[int, int], ...]:
        """Sort key: the order in which Meilisearch visits paths."""
        return tuple(
            (node.term.length, 0 if level is None else level)
            for node, level in zip(self.nodes, self.levels, strict=True)
        )


State = list[tuple[Path, int]]
Bucket = tuple[Detail, State, int]
Split = dict[int, list[tuple[Path, int]]]


def merged(splits: Sequence[Split], universe: int) -> Iterator[tuple[int, State, int]]:
    """Yield (cost, paths with their documents, documents), each document at its cheapest cost.

    Of several paths at that cost a document keeps the first in the order of visits.
    """
    left = universe
    for cost in sorted({cost for split in splits for cost in split}):
        state: State = []
        found = 0
        paths = [item for split in splits for item in split.get(cost, ())]
        for path, docs in sorted(paths, key=lambda item: item[0].order()):
            if fresh := docs & left:
                state.append((path, fresh))
                found |= fresh
                left &= ~fresh
        if found:
            yield cost, state, found
    if left:
        yield max((cost for split in splits for cost in split), default=0) + 1, [], left


def first_come(state: State) -> State:
    """Give each document to the first path that matches it."""
    taken, kept = 0, []
    for path, docs in sorted(state, key=lambda item: item[0].order()):
        if fresh := docs & ~taken:
            kept.append((path, fresh))
            taken |= fresh
    return kept


def typo_buckets(state: State, universe: int) -> Iterator[Bucket]:
    """Fewest typos first; glued words cost as many as there are."""

    def highest(path: Path) -> int:
        most = (
            node.highest if level != EXACT else int(not node.term.typos and node.term.phrase is None)
            for node, level in zip(path.nodes, path.levels, strict=True)
        )
        return sum(most) + sum(node.term.length for node in path.nodes if node.term.length > 1)

    most = max((highest(path) for path, _ in state), default=0)
    splits = [_typo_split(path, docs) for path, docs in state]
    for cost, paths, docs in merged(splits, universe):
        yield Typo(cost, max(most, cost)), paths, docs


def _typo_split(path: Path, universe: int) -> Split:
    base = sum(node.term.length for node in path.nodes if node.term.length > 1)
    states: dict[tuple[Level, ...], int] = {(): universe}
    for node, allowed in zip(path.nodes, path.levels, strict=True):
        following: dict[tuple[Level, ...], int] = {}
        for levels, docs in states.items():
            if allowed == EXACT:
                following[(*levels, EXACT)] = docs
                continue
            left = docs
            for level in range(node.highest + 1):
                if found := left & node.documents(level):
                    following[(*levels, level)] = found
                    left &= ~found
                    if not left:
                        break
        states = following
    split: Split = {}
    for levels, docs in states.items():
        cost = base + sum(max(0, level or 0) for level in levels)
        split.setdefault(cost, []).append((Path(path.nodes, levels), docs))
    return split


def summed(
    state: State, universe: int, parts: Callable[[Path, int], Iterator[list[tuple[int, int]]]]
) -> Iterator[tuple[int, State, int]]:
    """Bucket by a sum: `parts` yields, for each place of a path, disjoint (cost, documents)."""
    splits: list[Split] = []
    for path, docs in state:
        sums = {0: docs}
        for pieces in parts(path, docs):
            following: dict[int, int] = {}
            for total, members in sums.items():
                for cost, piece in pieces:
                    if found := members & piece:
                        following[total + cost] = following.get(total + cost, 0) | found
            sums = following
        splits.append({cost: [(path, found)] for cost, found in sums.items()})
    yield from merged(splits, universe)


def _adjacent(left: Derived, right: Derived) -> bool:
    return left.term.positions[1] + 1 == right.term.positions[0]


def proximity_buckets(index: Index, state: State, universe: int) -> Iterator[Bucket]:
    """Nearest words first: neighbours cost 0, up to 3 when far apart; one more in reverse order."""
    by_attribute = index.settings["proximityPrecision"] == "byAttribute"

    def parts(path: Path, docs: int) -> Iterator[list[tuple[int, int]]]:
        pairs = zip(path.nodes, path.nodes[1:], path.levels, path.levels[1:], strict=False)
        for left, right, low, high in pairs:
            if _adjacent(left, right):
                yield _pair(index, (left, low), (right, high), docs, by_attribute=by_attribute)

    def base(path: Path) -> int:
        return sum(node.term.length - 1 for node in path.nodes)

    most = 0
    for path, _ in state:
        pairs = sum(_adjacent(a, b) for a, b in zip(path.nodes, path.nodes[1:], strict=False))
        most = max(most, base(path) + MAX_PROXIMITY * pairs)

    def with_base(path: Path, docs: int) -> Iterator[list[tuple[int, int]]]:
        yield [(base(path), docs)]
        yield from parts(path, docs)

    for cost, paths, docs in summed(state, universe, with_base):
        yield Proximity(Rank(most + 1 - cost, most + 1)), paths, docs


def _pair(
    index: Index,
    left: tuple[Derived, Level],
    right: tuple[Derived, Level],
    universe: int,
    *,
    by_attribute: bool,
) -> list[tuple[int, int]]:
    words = index.words

    def sides(node: Derived, level: Level, end: int) -> Iterator[tuple[Sequence[int], int, bool]]:
        yield node.places(level, universe), universe, False
        for phrase in node.phrases(level):
            docs = words.phrase_documents(phrase, node.scope) & universe
            if docs and phrase[end] is not None:
                yield restricted(words.postings[phrase[end] or ""], docs), docs, True

    found = [0] * MAX_PROXIMITY
    rights = [(set(places), docs, phrase) for places, docs, phrase in sides(*right, 0) if places]
    for places, left_docs, left_phrase in sides(*left, -1):
        for others, right_docs, right_phrase in rights:
            docs = left_docs & right_docs
            if by_attribute:
                fields = {place >> 16 for place in others}
                shared = [place for place in places if place >> 16 in fields]
                found[0] |= documents_of(shared, words.limit()) & docs
                continue
            for cost in range(MAX_PROXIMITY):
                step = cost + 1
                near = [place for place in places if place + step in others]
                if cost and not left_phrase and not right_phrase:
                    near += [place for place in places if place - cost in others]
                found[cost] |= documents_of(near, words.limit()) & docs
    left_over, pieces = universe, []
    for cost, docs in enumerate(found):
        if docs & left_over:
            pieces.append((cost, docs & left_over))
            left_over &= ~docs
    return [*pieces, (MAX_PROXIMITY, left_over)] if left_over else pieces


def _cheapest(
    node: Derived, level: Level, universe: int, index: Index, cost_of: Callable[[int], int | None], most: int
) -> list[tuple[int, int]]:
    """Split documents by the least cost among the places of a term, phrases by their first word."""
    words = index.words
    groups: dict[int, list[int]] = {}
    known: dict[int, list[int] | None] = {}

    def gather(places: Sequence[int], docs: int | None) -> None:
        for place in places:
            low = place & 0xFFFFFFFF
            if low not in known:
                cost = cost_of(low)
                known[low] = None if cost is None else groups.setdefault(cost, [])
            group = known[low]
            if group is not None and (docs is None or docs >> (place >> 32) & 1):
                group.append(place >> 32)

    gather(node.places(level, universe), None)
    for phrase in node.phrases(level):
        docs = words.phrase_documents(phrase, node.scope) & universe
        first = next((word for word in phrase if word is not None), None)
        if docs and first is not None:
            gather(restricted(words.postings[first], docs), docs)
    left, pieces = universe, []
    for cost in sorted(groups):
        if found := left & bits.from_numbers(groups[cost], words.limit()):
            pieces.append((cost, found))
            left &= ~found
    return [*pieces, (most, left)] if left else pieces


def attribute_buckets(
    index: Index, fields: frozenset[int] | None, state: State, universe: int, make: type[AttributeRank]
) -> Iterator[Bucket]:
    """Best attribute first, by the order of `searchableAttributes`."""
    weights = index.field_weights()
    highest = max(0, len(index.settings.searchable or ()) - 1)

    def parts(path: Path, docs: int) -> Iterator[list[tuple[int, int]]]:
        for node, level in zip(path.nodes, path.levels, strict=True):
            size = node.term.length

            def cost(place: int, size: int = size) -> int | None:
                field = place >> 16
                return None if fields is not None and field not in fields else weights[field] * size

            if highest:
                yield _cheapest(node, level, docs, index, cost, highest * size)

    most = highest * max((sum(n.term.length for n in path.nodes) for path, _ in state), default=0)
    for cost, paths, docs in summed(state, universe, parts):
        yield make(Rank(most + 1 - cost, most + 1)), paths, docs


@lru_cache(maxsize=65536)
def bucketed(position: int) -> int:
    """Round a position as Meilisearch stores it: exact to 15, then 24, then powers of two."""
    if position < 16:
        return position
    return 24 if position < 24 else 1 << (position - 1).bit_length()


_DISTANCES = ((0, 0), (1, 1), (4, 2), (7, 3), (11, 4), (16, 5), (24, 6), (64, 7), (256, 8), (1024, 9))


@lru_cache(maxsize=65536)
def position_cost(position: int, start: int, size: int) -> int:
    """Cost of a word at a position when the query has it at `start`, summed over glued words."""
    distance = abs(bucketed(position) - start)
    return sum(next((c for far, c in _DISTANCES if distance + i <= far), 10) for i in range(size))


def position_buckets(index: Index, state: State, universe: int, make: type[Position] = Position) -> Iterator[Bucket]:
    """Words at the place they have in the query first."""

    def parts(path: Path, docs: int) -> Iterator[list[tuple[int, int]]]:
        for node, level in zip(path.nodes, path.levels, strict=True):
            start, size = node.term.positions[0], node.term.length

            def cost(place: int, start: int = start, size: int = size) -> int:
                return position_cost(place & 0xFFFF, start, size)

            yield _cheapest(node, level, docs, index, cost, 10 * size)

    most = 10 * max((sum(n.term.length for n in path.nodes) for path, _ in state), default=0)
    for cost, paths, docs in summed(state, universe, parts):
        yield make(Rank(most + 1 - cost, most + 1)), paths, docs


def sort_buckets(index: Index, rule: SortRule, state: State, universe: int) -> Iterator[Bucket]:
    """Values in order: numbers, strings, none."""
    column = index.facets.columns.get(rule.field)
    displayed = index.settings.displayed
    hidden = displayed is not None and rule.field not in displayed
    groups: Iterator[tuple[Any, int]] = (
        iter([(None, universe)]) if column is None else column.sorted_groups(universe, ascending=rule.ascending)
    )
    for value, docs in groups:
        yield Sort(rule.field, rule.ascending, value, hidden), _cut(state, docs), docs


def geo_buckets(index: Index, rule: SortRule, state: State, universe: int) -> Iterator[Bucket]:
    """Nearest first, or farthest first."""
    assert rule.point is not None
    for point, docs, metres in geo_groups(index, rule, universe):
        yield GeoSort(rule.point, rule.ascending, point, metres), _cut(state, docs), docs


def _cut(state: State, docs: int) -> State:
    return [(path, found & docs) for path, found in state if found & docs]
