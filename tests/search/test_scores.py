"""Scores of the rules before and behind a sort, from details that Meilisearch 1.50 has sent."""

from __future__ import annotations

from typing import Any

import pytest

from miroir_cli.search.scores import run_scores

WORDS = {"order": 0, "matchingWords": 2, "maxMatchingWords": 2, "score": 1.0}
TYPO = {"order": 1, "typoCount": 0, "maxTypoCount": 2, "score": 1.0}
SORT = {"order": 2, "value": 28.06}


def test_rules_in_one_run_have_the_score_of_the_hit() -> None:
    assert run_scores({"words": WORDS, "typo": TYPO, "n:asc": SORT}, 0.5, searchable=None) == [0.5]
    assert run_scores({"n:asc": SORT}, 0.5, searchable=None) == []


def test_a_sort_parts_the_score() -> None:
    details = {
        "words": WORDS,
        "typo": TYPO,
        "price:desc": SORT,
        "proximity": {"order": 3, "score": 0.25},
        "attributeRank": {"order": 4, "score": 0.8},
        "exactness": {"order": 5, "matchType": "exactMatch", "score": 1.0},
        "year:asc": {"order": 6, "value": 1977.0},
    }
    first, second = run_scores(details, 0.8657407407407407, searchable=3)
    assert first == 1.0
    assert second == pytest.approx(0.25 - 0.2 / 4 - (1 / 3) / 60)
    """Of the two words one is exact, which an `exactMatch` does not show: 2 of 3 places."""


def test_bases_are_found_where_it_takes_them() -> None:
    """Places 3 of 4, 4 of 5 and 10 of 11, the first two before the sort."""
    details: dict[str, Any] = {
        "proximity": {"order": 0, "score": 0.75},
        "attributeRank": {"order": 1, "score": 0.8},
        "n:asc": {"order": 2, "value": None},
        "wordPosition": {"order": 3, "score": 10 / 21},
    }
    score = ((2 * 5 + 3) * 21 + 10) / (4 * 5 * 21)
    assert run_scores(details, score, searchable=3) == [pytest.approx(14 / 20), pytest.approx(10 / 21)]


def test_the_old_rule_attribute_is_two_in_one() -> None:
    details = {
        "attribute": {"order": 0, "attributeRankingOrderScore": 1.0, "queryWordDistanceScore": 9 / 11, "score": 9 / 11},
        "n:asc": {"order": 1, "value": 1.0},
        "exactness": {
            "order": 2,
            "matchType": "noExactMatch",
            "matchingWords": 1,
            "maxMatchingWords": 1,
            "score": 1 / 3,
        },
    }
    score = ((9 - 1) * 6 + 2) / 66
    assert run_scores(details, score, searchable=None) == [pytest.approx(9 / 11), pytest.approx(1 / 3)]


def test_where_nothing_fits_the_score_of_all_stands_for_each() -> None:
    details = {"words": WORDS, "n:asc": SORT, "proximity": {"order": 3, "score": 0.123}}
    assert run_scores(details, 0.5, searchable=None) == [0.5, 0.5]
