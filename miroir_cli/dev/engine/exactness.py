"""The rule `exactness`: attributes that are the query, then the number of exact words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import bits
from .derivations import EXACT, documents_of, restricted
from .rules import Path, bucketed, merged
from .score import ExactAttribute, ExactWords

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .derivations import Level
    from .index import Index
    from .rules import Bucket, Split, State


def exact_attribute_buckets(
    index: Index, searched: frozenset[int] | None, state: State, universe: int
) -> Iterator[Bucket]:
    """Attributes that are the query, then those that start with it, then the rest."""
    exact = starts = 0
    for path, docs in state:
        for number in bits.members(docs & _opening(index, path, docs)):
            kind = _exact_kind(index, searched, path, number)
            if kind == 3:
                exact |= 1 << number
            elif kind == 2:
                starts |= 1 << number
    starts &= ~exact
    for rank, docs in ((3, exact), (2, starts), (1, universe & ~exact & ~starts)):
        if docs:
            yield ExactAttribute(rank), [(p, d & docs) for p, d in state if d & docs], docs


def _opening(index: Index, path: Path, universe: int) -> int:
    """Return the documents that have the first exact word of a path at its place."""
    first = path.nodes[0].term if path.nodes else None
    if first is None or first.glued or first.ids[0] or path.levels[0] not in (None, 0, EXACT):
        return 0
    word = first.word if first.phrase is None else first.phrase[0]
    if word is None:
        return universe
    place = bucketed(first.positions[0])
    places = restricted(index.words.postings.get(word, ()), universe)
    return documents_of([p for p in places if bucketed(p & 0xFFFF) == place], index.words.limit())


def _exact_kind(index: Index, searched: frozenset[int] | None, path: Path, number: int) -> int:
    """Return 3, 2 or 1 for one document on one path."""
    if not path.nodes or path.nodes[0].term.ids[0] != 0:
        return 1
    count, previous = 0, -1
    common: set[int] | None = None if searched is None else set(searched)
    for node, level in zip(path.nodes, path.levels, strict=True):
        term = node.term
        if term.glued or level not in (None, 0, EXACT):
            continue
        wanted = term.phrase if term.phrase is not None else (term.word,)
        found = [index.words.in_document(word, number) if word else [] for word in wanted]
        if term.prefix and not found[0]:
            continue
        if term.ids[0] - previous > 1:
            return 1
        previous = term.ids[0]
        count += term.positions[1] - term.positions[0] + 1
        for offset, (word, places) in enumerate(zip(wanted, found, strict=True)):
            if word is None:
                continue
            place = bucketed(term.positions[0] + offset)
            if not any(bucketed(p & 0xFFFF) == place for p in places):
                return 1
            fields = {p >> 16 & 0xFFFF for p in places}
            common = fields if common is None else common & fields
    if not common:
        return 1
    counts = index.words.counts[number]
    return 3 if any(counts[field] == count for field in common) and count <= 30 else 2


def exact_word_buckets(state: State, universe: int) -> Iterator[Bucket]:
    """Most exact words first."""
    most = max((sum(n.term.length for n in path.nodes) for path, _ in state), default=0)
    for cost, paths, docs in merged([_exact_split(path, docs) for path, docs in state], universe):
        yield ExactWords(most - cost, most), paths, docs


def _exact_split(path: Path, universe: int) -> Split:
    states: dict[tuple[Level, ...], int] = {(): universe}
    for node, level in zip(path.nodes, path.levels, strict=True):
        following: dict[tuple[Level, ...], int] = {}
        exact = node.documents(EXACT) if level in (None, 0, EXACT) else 0
        for levels, docs in states.items():
            if same := docs & exact:
                following[(*levels, EXACT)] = same
            if other := docs & ~exact:
                following[(*levels, level)] = following.get((*levels, level), 0) | other
        states = following
    split: Split = {}
    for levels, docs in states.items():
        chosen = zip(path.nodes, levels, strict=True)
        cost = sum(node.term.length for node, level in chosen if level != EXACT)
        split.setdefault(cost, []).append((Path(path.nodes, levels), docs))
    return split
