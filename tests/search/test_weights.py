"""Places behind fractions, and which of two hits of different queries is better."""

from __future__ import annotations

from typing import Any

import pytest

from miroir_cli.search.scores import merged
from miroir_cli.search.weights import Distance, Score, SortValue, compare, weighted_values

PLACES = {
    "words": [(2, 3)],
    "typo": [(1, 3)],
    "proximity": [(3, 4)],
    "attributeRank": [(5, 7)],
    "wordPosition": [(19, 21)],
    "exactness": [(1, 3), (2, 4)],
}
"""A hit that has two of the three words of a query, in an index of four searchable attributes."""

DETAILS: dict[str, Any] = {
    "words": {"order": 0, "matchingWords": 2, "maxMatchingWords": 3, "score": 2 / 3},
    "typo": {"order": 1, "typoCount": 2, "maxTypoCount": 2, "score": 1 / 3},
    "proximity": {"order": 2, "score": 3 / 4},
    "attributeRank": {"order": 3, "score": 5 / 7},
    "price:asc": {"order": 4, "value": 3.0},
    "wordPosition": {"order": 5, "score": 19 / 21},
    "exactness": {"order": 6, "matchType": "noExactMatch", "matchingWords": 1, "maxMatchingWords": 3, "score": 0.1},
    "id:asc": {"order": 7, "value": 5.0},
}


def a_hit(names: list[str]) -> dict[str, Any]:
    places = [place for name in names for place in PLACES.get(name, ())]
    return {"_rankingScore": merged(places), "_rankingScoreDetails": {name: DETAILS[name] for name in names}}


def test_one_run_of_rules_is_the_whole_score() -> None:
    hit = a_hit(["words", "typo", "proximity", "id:asc"])
    assert weighted_values(hit, weight=0.5, attributes=None, without="id:asc") == [Score(hit["_rankingScore"] * 0.5)]


def test_runs_before_and_after_a_sort_are_taken_apart() -> None:
    first, second = ["words", "typo", "proximity", "attributeRank"], ["wordPosition", "exactness"]
    hit = a_hit([*first, "price:asc", *second, "id:asc"])
    assert weighted_values(hit, weight=1.0, attributes=4, without="id:asc") == [
        Score(merged(place for name in first for place in PLACES[name])),
        SortValue(True, 3.0),
        Score(merged(place for name in second for place in PLACES[name])),
    ]


def test_a_score_that_no_places_make_up_is_not_taken_apart() -> None:
    hit = a_hit(["words", "typo", "price:asc", "exactness"])
    hit["_rankingScore"] += 0.001
    assert weighted_values(hit, weight=1.0, attributes=4, without=None) is None


def test_places_are_digits_of_a_number_of_32_bits() -> None:
    assert merged([(2, 3), (1, 2)]) == 3 / 6
    many = [(60, 61)] * 6
    assert merged(many) == (sum(59 * 61**power for power in range(6)) + 1) % 2**32 / (61**6 % 2**32)


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ([Score(0.9)], [Score(0.8)]),
        ([Score(0.9), Score(0.1)], [Score(0.9)]),
        ([SortValue(True, 1.0)], [SortValue(True, 2.0)]),
        ([SortValue(False, 2.0)], [SortValue(False, 1.0)]),
        ([SortValue(True, 9.0)], [SortValue(True, "a")]),
        ([SortValue(False, 9.0)], [SortValue(False, "z")]),
        ([SortValue(True, "z")], [SortValue(True, None)]),
        ([Distance(True, 900.0)], [Distance(True, 100.0)]),
        ([Distance(False, 900.0)], [Distance(False, 100.0)]),
        ([Distance(True, 900.0)], [Distance(True, None)]),
        ([SortValue(True, 1.0), Score(0.1)], [SortValue(False, 1.0)]),
    ],
)
def test_the_better_of_two_hits(better: list[Any], worse: list[Any]) -> None:
    assert (compare(better, worse) or 0) > 0 > (compare(worse, better) or 0)


def test_values_of_different_kinds_are_left_to_the_whole_scores() -> None:
    assert compare([Score(0.9)], [SortValue(True, 1.0)]) is None
    assert compare([Score(0.5)], [Score(0.5 + 1e-16)]) == 0
