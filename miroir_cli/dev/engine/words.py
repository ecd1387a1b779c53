"""The inverted index of words: where every word stands, and which words are near a query word.

An occurrence is one integer, `document << 32 | field << 16 | position`, so that documents, fields
and distances come out of shifts and sorted arrays.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING, Any

from . import bits
from .derivations import Lexicon, documents_of
from .fields import walk
from .text import MAX_WORD_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from .derivations import Scope
    from .query import Phrase
    from .text import Tokenizer

MAX_POSITION = 0xFFFF
_GAP = 8


class DocumentWords:
    """One document's words with their places, side by side, and the number of words in each field."""

    __slots__ = ("counts", "places", "words")

    def __init__(self) -> None:
        self.words: list[str] = []
        self.places: list[int] = []
        self.counts: dict[int, int] = {}


def document_words(
    document: dict[str, Any], tokenizer: Tokenizer, selection: Callable[[str], int], words: Words
) -> DocumentWords:
    """Cut a document's searchable values into words."""
    result = DocumentWords()
    ends: dict[int, int] = {}
    for name, value, _ in walk(document, selection):
        field = words.field_number(name)
        offset = ends[field] + _GAP if field in ends else 0
        ends[field] = offset
        text = _text(value)
        if text is None or offset >= MAX_POSITION:
            continue
        positions, found = tokenizer.words(text, offset)
        if positions and (positions[-1] > MAX_POSITION or len(text) > MAX_WORD_BYTES // 4):
            kept = [
                (position, word)
                for position, word in zip(positions, found, strict=True)
                if position <= MAX_POSITION and (len(word) <= 62 or len(word.encode()) <= MAX_WORD_BYTES)
            ]
            positions, found = [position for position, _ in kept], [word for _, word in kept]
        if positions:
            base = field << 16
            result.words += found
            result.places += [base | position for position in positions]
            result.counts[field] = result.counts.get(field, 0) + len(found)
            ends[field] = positions[-1]
    return result


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, (int, float)) else None


class Words:
    """Postings of one index."""

    def __init__(self) -> None:
        self.postings: dict[str, array[int]] = {}
        self.counts: dict[int, dict[int, int]] = {}
        self.field_names: list[str] = []
        self.version = 0
        self._field_numbers: dict[str, int] = {}
        self._vocabulary: list[str] | None = None
        self._lexicon: Lexicon | None = None
        self.cache: dict[Any, Any] = {}

    def field_number(self, name: str) -> int:
        """Return the number of a field, given out on first sight."""
        number = self._field_numbers.get(name)
        if number is None:
            number = self._field_numbers[name] = len(self.field_names)
            self.field_names.append(name)
        return number

    def change(self, removed: Sequence[tuple[int, DocumentWords]], added: Sequence[tuple[int, DocumentWords]]) -> None:
        """Take out some documents' words, then put in others; drops everything derived."""
        if not removed and not added:
            return
        self.version += 1
        self.cache.clear()
        self._take_out(removed)
        self._put_in(added)

    def _take_out(self, removed: Iterable[tuple[int, DocumentWords]]) -> None:
        affected: dict[str, set[int]] = {}
        for number, words in removed:
            self.counts.pop(number, None)
            for word in words.words:
                affected.setdefault(word, set()).add(number)
        for word, numbers in affected.items():
            kept = [place for place in self.postings.get(word, ()) if place >> 32 not in numbers]
            if kept:
                self.postings[word] = array("Q", kept)
            else:
                self.postings.pop(word, None)
                self._vocabulary = self._lexicon = None

    def _put_in(self, added: Sequence[tuple[int, DocumentWords]]) -> None:
        fresh: dict[str, list[int]] = {}
        for number, words in added:
            self.counts[number] = words.counts
            base = number << 32
            for word, place in zip(words.words, words.places, strict=True):
                known = fresh.get(word)
                if known is None:
                    fresh[word] = [base | place]
                else:
                    known.append(base | place)
        for word, occurrences in fresh.items():
            existing = self.postings.get(word)
            occurrences.sort()
            if existing is None:
                self.postings[word] = array("Q", occurrences)
                self._vocabulary = self._lexicon = None
            elif existing[-1] < occurrences[0]:
                existing.extend(occurrences)
            else:
                self.postings[word] = array("Q", sorted([*existing, *occurrences]))

    def vocabulary(self) -> list[str]:
        """Return all words, sorted."""
        if self._vocabulary is None:
            self._vocabulary = sorted(self.postings)
        return self._vocabulary

    def lexicon(self) -> Lexicon:
        """Return the vocabulary, ready for typos."""
        if self._lexicon is None:
            self._lexicon = Lexicon(self.vocabulary())
        return self._lexicon

    def documents(self, word: str) -> int:
        """Return the documents that hold a word."""
        key = ("documents", word)
        found: int | None = self.cache.get(key)
        if found is None:
            places = self.postings.get(word)
            if places:
                found = bits.from_numbers((place >> 32 for place in places), (places[-1] >> 32) + 1)
            else:
                found = 0
            self.cache[key] = found
        return found

    def any_documents(self, words: Sequence[str], scope: Scope, *, derived: bool) -> int:
        """Return the documents that hold one of some words in the fields that count.

        `derived` words are typos or glued ones: they do not count in fields that must match exactly.
        """
        exact = scope.exact if derived else frozenset()
        if scope.fields is None and not exact and not scope.exact_numbers:
            if len(words) > 64:
                places = (place for word in words for place in self.postings.get(word, ()))
                return documents_of(places, self.limit())
            found = 0
            for word in words:
                found |= self.documents(word)
            return found
        found = 0
        for word in words:
            if derived and scope.exact_numbers and is_number(word):
                continue
            places = (
                place
                for place in self.postings.get(word, ())
                if (scope.fields is None or place >> 16 & 0xFFFF in scope.fields) and place >> 16 & 0xFFFF not in exact
            )
            found |= documents_of(places, self.limit())
        return found

    def limit(self) -> int:
        """Return a number above all document numbers."""
        limit: int | None = self.cache.get("limit")
        if limit is None:
            limit = self.cache["limit"] = max(self.counts, default=0) + 1
        return limit

    def in_document(self, word: str, number: int) -> Sequence[int]:
        """Return the occurrences of a word in one document."""
        places = self.postings.get(word)
        if not places:
            return ()
        start = bisect_left(places, number << 32)
        return places[start : bisect_left(places, (number + 1) << 32, start)]

    def phrase_documents(self, phrase: Phrase, scope: Scope) -> int:
        """Return the documents where the words of a phrase stand in a row; None stands for any word."""
        key = ("phrase", phrase, scope)
        found: int | None = self.cache.get(key)
        if found is None:
            found = self.cache[key] = self._phrase_documents(phrase, scope)
        return found

    def _phrase_documents(self, phrase: Phrase, scope: Scope) -> int:
        kept = -1
        for word in phrase:
            if word is not None:
                kept &= self.any_documents([word], scope, derived=False)
        if kept <= 0:
            return 0
        for start, first in enumerate(phrase):
            for distance in (1, 2):
                second = phrase[start + distance] if start + distance < len(phrase) else None
                if first is None or second is None or not kept:
                    continue
                left, right = self.postings[first], set(self.postings[second])
                if scope.by_attribute:
                    fields = {place >> 16 for place in right}
                    kept &= documents_of([p for p in left if p >> 16 in fields], self.limit())
                    continue
                near = [place for place in left if place + 1 in right or (distance == 2 and place + 2 in right)]
                kept &= documents_of(near, self.limit())
        return kept


def is_number(word: str) -> bool:
    """Tell whether a word is made of digits and ASCII punctuation only."""
    return all(c.isnumeric() or (c.isascii() and c.isprintable() and not c.isalnum() and c != " ") for c in word)
