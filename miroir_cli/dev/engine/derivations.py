"""What a query term stands for in an index: near words, phrases, and where they are."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from . import bits

if TYPE_CHECKING:
    from array import array
    from collections.abc import Iterable, Sequence

    from .query import Phrase, Term
    from .words import Words

Level = int | None  # typos: 0, 1, 2; None is any; EXACT the very word only
EXACT = -1


@dataclass(frozen=True, slots=True)
class Scope:
    """Which fields count: all, or those searched on; `exact` fields allow no typos."""

    fields: frozenset[int] | None = None
    exact: frozenset[int] = frozenset()
    exact_numbers: bool = False
    by_attribute: bool = False


def within(word: str, other: str, limit: int, *, prefix: bool) -> int | None:
    """Return the edit distance (swaps count once) if at most `limit`, to a prefix of `other` if asked."""
    return next((edits for edits in range(limit + 1) if _fits(word, other, edits, prefix)), None)


def _fits(word: str, other: str, edits: int, prefix: bool) -> bool:
    """Tell whether so many edits are enough."""
    start = 0
    for letter, target in zip(word, other, strict=False):
        if letter != target:
            break
        start += 1
    rest, goal = word[start:], other[start:]
    if not rest:
        return prefix or len(goal) <= edits
    if not goal or not edits:
        return not goal and len(rest) <= edits
    swapped = len(rest) > 1 and len(goal) > 1 and rest[0] == goal[1] and rest[1] == goal[0]
    if edits == 1:
        if prefix:
            return (
                goal.startswith(rest[1:], 1)
                or goal.startswith(rest[1:])
                or goal.startswith(rest, 1)
                or (swapped and goal.startswith(rest[2:], 2))
            )
        return rest[1:] == goal[1:] or rest[1:] == goal or rest == goal[1:] or (swapped and rest[2:] == goal[2:])
    left = edits - 1
    return (
        _fits(rest[1:], goal[1:], left, prefix)
        or _fits(rest[1:], goal, left, prefix)
        or _fits(rest, goal[1:], left, prefix)
        or (swapped and _fits(rest[2:], goal[2:], left, prefix))
    )


class Lexicon:
    """Typo derivations over an index's vocabulary; without caps, so that no document decides for another."""

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self._groups: dict[str, list[tuple[str, int, int]]] = {}
        self.vocabulary = vocabulary
        letters: dict[str, int] = {}
        for word in vocabulary:
            mask = 0
            for letter in word:
                bit = letters.get(letter)
                if bit is None:
                    bit = letters[letter] = 1 << (len(letters) % 64)
                mask |= bit
            self._groups.setdefault(word[0], []).append((word, len(word), mask))
        self._letters = letters

    def starting(self, prefix: str) -> list[str]:
        """Return the words that start with a prefix."""
        start = end = bisect_left(self.vocabulary, prefix)
        while end < len(self.vocabulary) and self.vocabulary[end].startswith(prefix):
            end += 1
        return list(self.vocabulary[start:end])

    def near(self, word: str, typos: int, *, prefix: bool) -> tuple[list[str], list[str]]:
        """Return the words one and two typos away; a wrong first letter counts as two."""
        one: list[str] = []
        two: list[str] = []
        if not typos:
            return one, two
        mask, size = 0, len(word)
        for letter in word:
            mask |= self._letters.get(letter, 1 << 64)
        longest = 1 << 30 if prefix else size + typos
        for other, length, other_mask in self._groups.get(word[0], ()):
            if length < size - typos or length > longest or (mask & ~other_mask).bit_count() > typos:
                continue
            if not prefix and (other_mask & ~mask).bit_count() > typos:
                continue
            away = within(word, other, typos, prefix=prefix)
            if away == 1:
                one.append(other)
            elif away == 2:
                two.append(other)
        if typos == 2:
            two += self._other_first(word, prefix=prefix)
        return one, two

    def _other_first(self, word: str, *, prefix: bool) -> list[str]:
        tail = word[1:]
        forms = {tail, word[1:2] + word[:1] + word[2:]}
        for letter in self._groups:
            forms.update((letter + tail, letter + word))
        found: set[str] = set()
        for form in forms:
            if form and form[0] != word[0]:
                start = bisect_left(self.vocabulary, form)
                while start < len(self.vocabulary) and self.vocabulary[start].startswith(form):
                    if prefix or self.vocabulary[start] == form:
                        found.add(self.vocabulary[start])
                    elif not prefix:
                        break
                    start += 1
        return sorted(found)


class Derived:
    """One term over one index: words and phrases by number of typos."""

    def __init__(self, term: Term, words: Words, scope: Scope) -> None:
        self.term, self._words, self.scope = term, words, scope
        key = (term.word, term.phrase, term.prefix, term.typos, term.glued, term.synonyms, scope)
        self._cache: dict[object, object] = words.cache.setdefault(("term", key), {})

    @cached_property
    def levels(self) -> list[list[str]]:
        """Words with no, one and two typos."""
        found = self._cache.get("levels")
        if found is None:
            term = self.term
            if term.phrase is not None:
                found = [[], [], []]
            else:
                lexicon = self._words.lexicon()
                exact = [term.word] if term.word in self._words.postings else []
                zero = lexicon.starting(term.word) if term.prefix else exact
                found = [zero, *lexicon.near(term.word, term.typos, prefix=term.prefix)]
            self._cache["levels"] = found
        return found  # type: ignore[return-value]

    @property
    def highest(self) -> int:
        """The most typos the term may have; a word without typos may still be split, at cost one."""
        return 0 if self.term.phrase is not None else max(1, self.term.typos)

    @cached_property
    def splits(self) -> list[Phrase]:
        """Pairs of words that the word may be, cut in two."""
        term = self.term
        if term.phrase is not None:
            return []
        postings = self._words.postings
        pairs: list[Phrase] = []
        for cut in range(1, len(term.word)):
            left, right = term.word[:cut], term.word[cut:]
            if left in postings and right in postings and (left, right) != term.glued:
                pairs.append((left, right))
        return pairs

    def phrases(self, level: Level) -> list[Phrase]:
        """Phrases that match with so many typos."""
        term = self.term
        if level == EXACT:
            return [term.phrase] if term.phrase is not None else []
        found = list(term.synonyms)
        if term.phrase is not None:
            found.append(term.phrase)
        if level in (None, 1):
            found += self.splits
        return found

    def words(self, level: Level) -> list[str]:
        """Words that match with so many typos."""
        if level == EXACT:
            term = self.term
            return [] if term.phrase is not None or term.glued else [term.word]
        if level is None:
            return [word for words in self.levels for word in words]
        return self.levels[level]

    def _derived(self, level: Level) -> bool:
        return bool(self.term.glued) or level in (1, 2)

    def documents(self, level: Level) -> int:
        """Return the documents that match with so many typos."""
        key = ("documents", level)
        found = self._cache.get(key)
        if found is None:
            if level is None:
                found = 0
                for each in range(self.highest + 1):
                    found |= self.documents(each)
            else:
                found = self._words.any_documents(self.words(level), self.scope, derived=self._derived(level))
                for phrase in self.phrases(level):
                    found |= self._words.phrase_documents(phrase, self.scope)
            self._cache[key] = found
        return found  # type: ignore[return-value]

    def places(self, level: Level, universe: int) -> Sequence[int]:
        """Return the occurrences of the matching words in some documents, sorted."""
        key = ("places", level)
        merged: Sequence[int] | None = self._cache.get(key)  # type: ignore[assignment]
        if merged is None:
            lists = [self._words.postings[word] for word in self.words(level) if word in self._words.postings]
            merged = lists[0] if len(lists) == 1 else sorted(place for each in lists for place in each)
            self._cache[key] = merged
        return restricted(merged, universe)


def restricted(places: Sequence[int] | array[int], universe: int) -> Sequence[int]:
    """Keep the occurrences in a set of documents; large sets are not cut, the caller masks anyway."""
    count = universe.bit_count()
    if count * 16 > len(places):
        return places
    kept: list[int] = []
    start = 0
    for number in bits.members(universe):
        base = number << 32
        start = bisect_left(places, base, start)
        end = bisect_left(places, base + (1 << 32), start)
        kept.extend(places[start:end])
        start = end
    return kept


def documents_of(places: Iterable[int], limit: int) -> int:
    """Return the documents of some occurrences."""
    return bits.from_numbers((place >> 32 for place in places), limit)
