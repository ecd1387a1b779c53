"""Scores of parts of a ranking, found again from a hit's details. Pure.

Meilisearch reads the places of the ranking rules like the digits of one number, and shows each rule's digit as a
fraction of its base, and all of them together as `_rankingScore`. Where a sort stands between the rules, hits of the
two parts of a hybrid search, and of the queries of a federation, are compared by the rules before and behind it apart,
which are not shown. They follow from the fractions and the bases; the bases that are not shown are those with which
everything fits together.

Source: `score_details.rs` of Meilisearch 1.50, and for the bases `ranking_rule_graph/{proximity,fid,position}`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Any

MOST_WORDS = 10
LARGEST_PROXIMITY = 64
EXACT_WORDS = "exactWords"
EPSILON = 2.0**-52
_SAME = 1e-12
_WRAPS_AT = 2**32

Place = tuple[int, int]
"""(rank, of how many); the higher the better."""


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
    """As `exact_run_scores`; where no bases fit, the score of all stands for each."""
    found = exact_run_scores(details, score, searchable=searchable)
    return [score for _ in _runs(details)] if found is None else found


def exact_run_scores(details: Mapping[str, Any], score: float, *, searchable: int | None) -> list[float] | None:
    """The score of every run of ranking rules without a sort between them, in order; None where no bases fit.

    `score` is that of all of them together, `searchable` the number of searchable attributes (None: all).
    """
    runs = tuple(_runs(details))
    if len(runs) < 2:
        return [score for _ in runs]
    found = _apart(runs, score, searchable, (details.get("words") or {}).get("matchingWords", 1))
    return None if found is None else list(found)


@lru_cache(maxsize=1024)
def _apart(
    runs: tuple[tuple[_Digit, ...], ...], score: float, searchable: int | None, likely: int
) -> tuple[float, ...] | None:
    for guess in _guesses(runs, searchable, likely):
        places: list[list[Place]] = []
        for run in runs:
            found = [_place(digit, guess) for digit in run]
            if None in found:
                break
            places.append([place for place in found if place is not None])
        else:
            if abs(merged(place for run in places for place in run) - score) <= _SAME:
                return tuple(map(merged, places))
    return None


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


def _guesses(runs: Sequence[Sequence[_Digit]], searchable: int | None, likely: int) -> Iterator[_Guess]:
    """All that is possible, the number of words that is `likely` first, and the smallest bases."""
    named = {digit.base for run in runs for digit in run}
    for words in sorted(range(1, MOST_WORDS + 1), key=lambda words: (words != likely, words)):
        attributes = 1 if searchable is None else 1 + max(searchable - 1, 0) * words
        bases = {"attributeRank": attributes, "wordPosition": 1 + 10 * words, EXACT_WORDS: words + 1}
        for proximity in range(1, LARGEST_PROXIMITY + 1) if "proximity" in named else (1,):
            for exact in range(words, -1, -1) if EXACT_WORDS in named else (words,):
                yield _Guess(bases={**bases, "proximity": proximity}, exact_words=exact)


def _place(digit: _Digit, guess: _Guess) -> Place | None:
    """The place of a digit; None where the base cannot be it."""
    base = guess.bases.get(digit.base, 1) if isinstance(digit.base, str) else digit.base
    if digit.fraction is None:
        return guess.exact_words + 1, base
    rank = round(digit.fraction * base)
    return (rank, base) if abs(rank / base - digit.fraction) <= _SAME else None


def merged(places: Iterable[Place]) -> float:
    """Places as the digits of one number, as a fraction of the highest; 32 bits wide, as Meilisearch's."""
    rank, most = 1, 1
    for inner, base in places:
        rank = (max(0, rank - 1) * base + inner) % _WRAPS_AT
        most = most * base % _WRAPS_AT
    return rank / most if most else 0.0
