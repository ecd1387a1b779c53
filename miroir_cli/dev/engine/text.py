"""Words of a text: separators, normalisation and positions as Meilisearch's tokenizer sees them.

Covers alphabets that write words apart, like a Meilisearch built without dictionaries: scripts
without spaces are one word per run.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_WORD_BYTES = 250
MAX_FACET_BYTES = 468
HARD_DISTANCE = 8
_SEPARATING_CATEGORIES = {"Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "Zl", "Zp", "Zs"}
_HARD = set("\0!;?¡§¶¿\u037e՜´՝։،؛؟۔।॥።፣፤፥፦․‥…※‼‽⁇⁈⁉⁏⁖⁚⸘⸮⹁、。！，．：；？｡､﹐﹑﹒﹔﹕﹖﹗᠆") | {". ", ", "}
_EXTRA = set("\0\n\r\t`+±×÷−\u200c") | {chr(code) for code in range(0x2213, 0x2300)}


def _default_separators() -> frozenset[str]:
    found = set(_EXTRA)
    for code in range(0x10000):
        character = chr(code)
        if unicodedata.category(character) in _SEPARATING_CATEGORIES:
            found.add(character)
    return frozenset(found)


@lru_cache(maxsize=1)
def default_separators() -> frozenset[str]:
    """Return every single character (of the basic plane) that parts words by default."""
    return _default_separators()


@dataclass(frozen=True, slots=True)
class Token:
    """A word or a separator; `start` and `end` are offsets into the original text, in characters."""

    lemma: str
    start: int
    end: int
    is_word: bool
    is_hard: bool = False
    is_stop: bool = False


def normalize_facet(text: str) -> str:
    """Fold a facet value as filters and facets compare it: trimmed, NFKD, lower case."""
    stripped = text.strip()
    if stripped.isascii():
        return stripped.lower()
    return unicodedata.normalize("NFKD", stripped).lower()


def truncate_facet(value: str) -> str:
    """Cut a folded facet value to the length that is stored."""
    if len(value) * 4 <= MAX_FACET_BYTES:
        return value
    return value.encode()[:MAX_FACET_BYTES].decode(errors="ignore")


@lru_cache(maxsize=65536)
def normalize_word(word: str) -> str:
    """Fold a word as the search index stores it: without accents, lower case, `æ` as `ae`."""
    if word.isascii():
        folded = word.lower()
        return folded if folded.isprintable() else "".join(c for c in folded if c.isprintable())
    decomposed = unicodedata.normalize("NFKD", word)
    kept = (c for c in decomposed if unicodedata.category(c) not in ("Mn", "Cc"))
    folded = "".join(kept).lower()
    return folded.replace("œ", "oe").replace("æ", "ae")


class Tokenizer:
    """Cuts texts into words under one index's settings (separators, dictionary, stop words)."""

    def __init__(
        self,
        *,
        separators: Sequence[str] = (),
        non_separators: Sequence[str] = (),
        dictionary: Sequence[str] = (),
        stop_words: Sequence[str] = (),
    ) -> None:
        singles = (default_separators() | {s for s in separators if len(s) == 1}) - set(non_separators)
        longer = {". ", ", "} | {s for s in separators if len(s) > 1}
        longer -= set(non_separators)
        multiple = [re.escape(text) for text in sorted(longer, key=len, reverse=True)]
        one = "[" + "".join(re.escape(character) for character in sorted(singles)) + "]"
        self._splitter = re.compile("(" + "|".join([*multiple, one]) + ")")
        known = sorted((word for word in dictionary if word), key=len, reverse=True)
        self._dictionary = re.compile("|".join(re.escape(word) for word in known)) if known else None
        self._stop_words = frozenset(stop_words)
        inside = one[1:-1]
        self._runs = re.compile(f"([^{inside}]+)([{inside}]*)")
        self._plain = not (known or stop_words or longer - {". ", ", "})

    def tokens(self, text: str) -> Iterator[Token]:
        """Yield words and separators in order."""
        position = 0
        for found in self._dictionary.finditer(text) if self._dictionary else ():
            yield from self._plain_tokens(text, position, found.start())
            yield self._word(text, found.start(), found.end())
            position = found.end()
        yield from self._plain_tokens(text, position, len(text))

    def _plain_tokens(self, text: str, start: int, end: int) -> Iterator[Token]:
        for index, part in enumerate(self._splitter.split(text[start:end])):
            stop = start + len(part)
            if index % 2:
                yield Token(part, start, stop, is_word=False, is_hard=part in _HARD)
            elif part:
                yield self._word(text, start, stop)
            start = stop

    def _word(self, text: str, start: int, end: int) -> Token:
        raw = text[start:end]
        lemma = normalize_word(raw)
        return Token(lemma, start, end, is_word=True, is_stop=raw in self._stop_words)

    def words(self, text: str, offset: int) -> tuple[list[int], list[str]]:
        """Return the positions and the words of a field's text, the first word at `offset`.

        Neighbours are one apart, words parted by a hard separator eight; stop words take a
        position but are not returned.
        """
        positions: list[int] = []
        words: list[str] = []
        position, started, gap = offset, False, 0
        if self._plain:
            for raw, run in self._runs.findall(text):
                if word := normalize_word(raw):
                    position += gap
                    gap = _gap(run)
                    positions.append(position)
                    words.append(word)
            return positions, words
        for token in self.tokens(text):
            if not token.is_word:
                gap = HARD_DISTANCE if token.is_hard else max(gap, 1)
            elif token.lemma:
                position += max(gap, 1) if started else 0
                started, gap = True, 0
                if not token.is_stop:
                    positions.append(position)
                    words.append(token.lemma)
        return positions, words


@lru_cache(maxsize=4096)
def _gap(run: str) -> int:
    hard = ". " in run or ", " in run or any(character in _HARD for character in run)
    return HARD_DISTANCE if hard else 1
