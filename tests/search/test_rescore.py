"""Scores of hits from several nodes on one base. The numbers are those of a Meilisearch 1.50 with all documents."""

from __future__ import annotations

from typing import Any

import pytest

from miroir_cli.search.rescore import rescore


def hit(score: float | None, typos: int, most: int, *, words: int = 2, price: float | None = None) -> dict[str, Any]:
    details: dict[str, Any] = {} if price is None else {"price:asc": {"order": 0, "value": price}}
    details["words"] = {
        "order": len(details), "matchingWords": words, "maxMatchingWords": 2, "score": words / 2,
    }  # fmt: skip
    details["typo"] = {
        "order": len(details), "typoCount": typos, "maxTypoCount": most, "score": (most + 1 - typos) / (most + 1),
    }  # fmt: skip
    details["proximity"] = {"order": len(details), "score": 0.25}
    found: dict[str, Any] = {"_rankingScoreDetails": details}
    return found if score is None else {**found, "_rankingScore": score}


def test_a_hit_scores_as_beside_those_of_the_other_node() -> None:
    alone, other = hit(361 / 378, 0, 2), hit(487 / 504, 0, 3)
    rescore([alone, other])
    assert alone["_rankingScore"] == 487 / 504 == 0.9662698412698413
    assert alone["_rankingScoreDetails"]["typo"] == {"order": 1, "typoCount": 0, "maxTypoCount": 3, "score": 1.0}
    assert alone == other


def test_typos_count_against_the_larger_base() -> None:
    found, other = hit((1 + (1 + 0.5) / 3) / 2, 1, 2), hit(0.5, 3, 3)
    rescore([found, other])
    assert found["_rankingScore"] == (1 + (2 + 0.5) / 4) / 2
    assert found["_rankingScoreDetails"]["typo"]["score"] == 0.75


def test_without_a_score_the_details_change_alone() -> None:
    found = hit(None, 0, 1)
    rescore([found, hit(None, 1, 3)])
    assert found["_rankingScoreDetails"]["typo"]["maxTypoCount"] == 3
    assert "_rankingScore" not in found


@pytest.mark.parametrize("other", [hit(0.4, 0, 3, words=1), hit(0.9, 0, 3, price=2.0)])
def test_other_buckets_have_bases_of_their_own(other: dict[str, Any]) -> None:
    price = 1.0 if "price:asc" in other["_rankingScoreDetails"] else None
    found = hit(361 / 378, 0, 2, price=price)
    rescore([found, other])
    assert found == hit(361 / 378, 0, 2, price=price)


def test_all_words_of_a_query_may_be_wanted() -> None:
    """With `matchingStrategy: all` there is no rule `words`."""
    found, other = hit(2 / 3 + 1 / 6, 0, 2), hit(0.9, 0, 3)
    for each in (found, other):
        del each["_rankingScoreDetails"]["words"]
    rescore([found, other])
    assert found["_rankingScore"] == 0.875


def test_scores_behind_another_rule_are_left_alone() -> None:
    found, other = hit(361 / 378, 0, 2), hit(487 / 504, 0, 3)
    for each in (found, other):
        each["_rankingScoreDetails"]["attributeRank"] = {"order": -1, "score": 1.0}
    rescore([found, other])
    assert found["_rankingScore"] == 361 / 378
