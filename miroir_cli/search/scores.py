"""Scores of parts of a ranking, found again from a hit's details. Pure.

Meilisearch reads the places of the ranking rules like the digits of one number, and shows each rule's digit as a
fraction of its base, and all of them together as `_rankingScore`. Where a sort stands between the rules, hits of the
two parts of a hybrid search are compared by the rules before and behind it apart, which are not shown. They follow from
the fractions and the bases; the bases that are not shown are those with which everything fits together.

Source: `score_details.rs` of Meilisearch 1.50, and for the bases `ranking_rule_graph/{proximity,fid,position}`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Any

MOST_WORDS = 10
LARGEST_PROXIMITY = 64
EXACT_WORDS = "exactWords"
_TOLERANCE = 1e-9
_WRAPS_AT = 2**32


@dataclass(frozen=True, slots=True)
class _Digit:
    """One rule's place as a fraction of its base (None: not shown); `base` is its base, or the name of the rule that
    knows it."""

    fraction: float | None
    base: int | str


@dataclass(frozen=True, slots=True)
class _Guess:
    """What is not shown: bases by the names of their rules, and how many words match exactly."""

    bases: Mapping[str, int]
    exact_words: int


def run_scores(details: Mapping[str, Any], score: float, *, searchable: int | None) -> list[float]:
    """The score of every run of ranking rules without a sort between them, in order.

    `score` is that of all of them together, `searchable` the number of searchable attributes (None: all). Where no
    bases fit, the score of all stands for each.
    """
    runs = tuple(_runs(details))
    return [score for _ in runs] if len(runs) < 2 else list(_apart(runs, score, searchable))


@lru_cache(maxsize=1024)
def _apart(runs: tuple[tuple[_Digit, ...], ...], score: float, searchable: int | None) -> tuple[float, ...]:
    for guess in _guesses(runs, searchable):
        digits = [[_place(digit, guess) for digit in run] for run in runs]
        found = [_read(run) for run in digits]
        if None not in found and _fits(_read([place for run in digits for place in run]), score):
            return tuple(each for each in found if each is not None)
    return tuple(score for _ in runs)


def _runs(details: Mapping[str, Any]) -> Iterator[tuple[_Digit, ...]]:
    ordered = sorted(details.items(), key=lambda item: int(item[1]["order"]))
    for is_sort, rules in groupby(ordered, key=lambda item: "value" in item[1] or "similarity" in item[1]):
        if not is_sort:
            yield tuple(digit for name, detail in rules for digit in _digits(name, detail))


def _digits(name: str, detail: Mapping[str, Any]) -> list[_Digit]:
    if name == "words":
        return [_Digit(detail["score"], detail["maxMatchingWords"])]
    if name == "typo":
        return [_Digit(detail["score"], detail["maxTypoCount"] + 1)]
    if name == "attribute":
        return [
            _Digit(detail["attributeRankingOrderScore"], "attributeRank"),
            _Digit(detail["queryWordDistanceScore"], "wordPosition"),
        ]
    if name == "exactness":
        if detail["matchType"] != "noExactMatch":
            return [_Digit(detail["score"], 3), _Digit(None, EXACT_WORDS)]
        words, most = detail["matchingWords"], detail["maxMatchingWords"]
        return [_Digit(1 / 3, 3), _Digit((words + 1) / (most + 1), most + 1)]
    if name == "skipped":
        return [_Digit(0.0, 1)]
    return [_Digit(detail["score"], name)]


def _guesses(runs: Sequence[Sequence[_Digit]], searchable: int | None) -> Iterator[_Guess]:
    """All that is possible, the smallest bases first."""
    named = {digit.base for run in runs for digit in run}
    for words in range(1, MOST_WORDS + 1):
        attributes = 1 if searchable is None else 1 + max(searchable - 1, 0) * words
        bases = {"attributeRank": attributes, "wordPosition": 1 + 10 * words, EXACT_WORDS: words + 1}
        for proximity in range(1, LARGEST_PROXIMITY + 1) if "proximity" in named else (1,):
            for exact in range(words, -1, -1) if EXACT_WORDS in named else (words,):
                yield _Guess(bases={**bases, "proximity": proximity}, exact_words=exact)


def _place(digit: _Digit, guess: _Guess) -> tuple[int, int] | None:
    """(place, base) of a digit; None where the base cannot be it."""
    base = guess.bases.get(digit.base, 1) if isinstance(digit.base, str) else digit.base
    if digit.fraction is None:
        return guess.exact_words + 1, base
    place = round(digit.fraction * base)
    return (place, base) if abs(digit.fraction * base - place) < _TOLERANCE * base else None


def _read(places: Sequence[tuple[int, int] | None]) -> float | None:
    """Digits read as one number between 0 and 1."""
    rank, most = 1, 1
    for each in places:
        if each is None:
            return None
        place, base = each
        rank, most = (max(rank - 1, 0) * base + place) % _WRAPS_AT, most * base % _WRAPS_AT
    return rank / most if most else 0.0


def _fits(found: float | None, score: float) -> bool:
    return found is not None and abs(found - score) <= _TOLERANCE * 1e-3
