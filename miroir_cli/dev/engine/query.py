"""From the text of a query to located terms: words, phrases, glued words, negatives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .text import MAX_WORD_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .settings import Settings
    from .text import Tokenizer

MAX_TERMS = 10
MAX_TOKENS = 1000
Phrase = tuple[str | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """A word, a phrase or glued words of the query; the spans are inclusive.

    `positions` count words and hard separators as documents do; `ids` count terms.
    """

    word: str
    phrase: Phrase | None = None
    synonyms: tuple[Phrase, ...] = ()
    prefix: bool = False
    typos: int = 0
    glued: tuple[str, ...] = ()
    positions: tuple[int, int]
    ids: tuple[int, int] = (0, 0)

    @property
    def length(self) -> int:
        """How many terms of the query it stands for."""
        return self.ids[1] - self.ids[0] + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A query read under one index's settings."""

    terms: tuple[Term, ...]
    glued: tuple[Term, ...]
    negative_words: tuple[str, ...]
    negative_phrases: tuple[Phrase, ...]

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing positive was asked."""
        return not self.terms


class _Builder:
    """The state while tokens go by."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        tolerance = settings["typoTolerance"]
        self.tolerant: bool = tolerance["enabled"]
        self.sizes = tolerance["minWordSizeForTypos"]
        self.exact_words = {settings.fold(word) for word in tolerance["disableOnWords"]}
        self.synonyms = settings.synonyms
        self.terms: list[Term] = []
        self.words: list[str] = []
        self.phrases: list[Phrase] = []
        self.phrase: list[str | None] | None = None
        self.start = self.end = 0
        self.negative_phrase = False

    def allowed_typos(self, word: str) -> int:
        if not self.tolerant or len(word) < self.sizes["oneTypo"] or word in self.exact_words:
            return 0
        return 1 if len(word) < self.sizes["twoTypos"] else 2

    def add_word(self, word: str, position: int, *, prefix: bool) -> None:
        short = len(word.encode()) <= MAX_WORD_BYTES
        self.terms.append(
            Term(
                word=word,
                synonyms=self.synonyms.get((word,), ()),
                prefix=prefix and short,
                typos=self.allowed_typos(word) if short else 0,
                positions=(position, position),
            )
        )

    def add_to_phrase(self, word: str | None, position: int) -> None:
        assert self.phrase is not None
        if not any(self.phrase):
            self.start = position
        self.end = position
        self.phrase.append(word)

    def close_phrase(self) -> None:
        words, self.phrase = tuple(self.phrase or ()), None
        if not any(words):
            return
        if self.negative_phrase:
            self.phrases.append(words)
        else:
            text = " ".join(word or "" for word in words)
            self.terms.append(Term(word=text, phrase=words, positions=(self.start, self.end)))

    def glue(self, terms: Sequence[Term]) -> Term | None:
        if any(term.phrase is not None for term in terms):
            return None
        if any(a.positions[1] != b.positions[0] - 1 for a, b in zip(terms, terms[1:], strict=False)):
            return None
        words = tuple(term.word for term in terms)
        text = "".join(words)
        if len(text.encode()) > MAX_WORD_BYTES:
            return None
        synonyms = {*self.synonyms.get((text,), ()), *self.synonyms.get(words, ())}
        return Term(
            word=text,
            synonyms=tuple(sorted(synonyms, key=str)),
            prefix=terms[-1].prefix,
            typos=max(0, self.allowed_typos(text) - (len(terms) - 1)),
            glued=words,
            positions=(terms[0].positions[0], terms[-1].positions[1]),
            ids=(terms[0].ids[0], terms[-1].ids[1]),
        )

    def finished(self) -> Query:
        terms = tuple(
            Term(
                word=t.word, phrase=t.phrase, synonyms=t.synonyms, prefix=t.prefix, typos=t.typos,
                positions=t.positions, ids=(n, n),
            )
            for n, t in enumerate(self.terms)
        )  # fmt: skip
        glued = [
            term
            for end in range(2, len(terms) + 1)
            for size in (2, 3)
            if size <= end and (term := self.glue(terms[end - size : end])) is not None
        ]
        return Query(
            terms=terms,
            glued=tuple(glued),
            negative_words=tuple(self.words),
            negative_phrases=tuple(self.phrases),
        )


def read_query(text: str, settings: Settings, limit: int = MAX_TERMS) -> Query:
    """Read a query; terms after the tenth are ignored."""
    builder = _Builder(settings)
    prefixes = settings["prefixSearch"] != "disabled"
    tokens = [token for token in list(settings.tokenizer.tokens(text))[:MAX_TOKENS] if token.lemma]
    position, blank, negative = -1, True, False
    for number, token in enumerate(tokens):
        if len(builder.terms) >= limit:
            return builder.finished()
        last = number == len(tokens) - 1
        if token.is_word:
            position += 1
            if builder.phrase is not None:
                builder.add_to_phrase(None if token.is_stop else token.lemma, position)
            elif negative:
                builder.words.append(token.lemma)
                negative = False
            elif last or not token.is_stop:
                builder.add_word(token.lemma, position, prefix=last and prefixes)
        else:
            position += 7 if token.is_hard else 0
            negative = _separator(builder, token.lemma, hard=token.is_hard, negative=negative, blank=blank)
        blank = token.lemma[-1].isspace()
    if builder.phrase is not None:
        builder.close_phrase()
    return builder.finished()


def _separator(builder: _Builder, text: str, *, hard: bool, negative: bool, blank: bool) -> bool:
    """Open and close phrases; return whether the next word is negative."""
    quotes = text.count('"')
    if builder.phrase is not None and hard:
        builder.close_phrase()
        builder.phrase = []
    if quotes:
        if builder.phrase is not None:
            quotes -= 1
            builder.close_phrase()
            builder.negative_phrase = False
        if quotes % 2:
            builder.negative_phrase = negative
            builder.phrase = []
    return builder.phrase is None and text == "-" and blank


def folded_synonyms(synonyms: dict[str, list[str]], tokenizer: Tokenizer) -> dict[tuple[str, ...], tuple[Phrase, ...]]:
    """Cut both sides of the synonyms into words."""
    found: dict[tuple[str, ...], list[Phrase]] = {}

    def words(text: str) -> tuple[str, ...]:
        return tuple(token.lemma for token in tokenizer.tokens(text) if token.is_word and not token.is_stop)

    for key, values in synonyms.items():
        if folded := words(key):
            phrases = [phrase for value in values if (phrase := words(value))]
            found.setdefault(folded, []).extend(phrases)
    return {key: tuple(dict.fromkeys(values)) for key, values in found.items()}
