"""Queries whose hits cannot be compared, in the words of Meilisearch 1.50."""

from __future__ import annotations

from typing import Any

import pytest

from miroir_cli.search.compatibility import Rules, incompatible, rules_of, stricter

DEFAULT = ["words", "typo", "proximity", "attributeRank", "sort", "wordPosition", "exactness"]


def rules(position: int = 0, ranking: list[str] | None = None, **query: Any) -> Rules:
    found = rules_of(query, ranking or DEFAULT, position=position, uid="f")
    assert found is not None
    return found


def kinds(found: Rules) -> list[tuple[str, str]]:
    return [(rule.kind, rule.what) for rule in found.compared]


def test_neighbouring_relevancy_rules_are_compared_as_one() -> None:
    found = rules(q="sun", sort=["price:asc", "_geoPoint(1, 2):desc"])
    assert kinds(found) == [
        ("relevancy", "words, typo, proximity, attributeRank"),
        ("ascending sort", "on field `price`"),
        ("descending geo sort", "default"),
        ("relevancy", "wordPosition, exactness"),
    ]
    assert found.notes == []


def test_without_words_only_sorts_count() -> None:
    assert kinds(rules(q=" ", sort=["price:desc"])) == [("descending sort", "on field `price`")]
    assert kinds(rules()) == []


def test_a_field_counts_once_and_keeps_its_first_name() -> None:
    found = rules(q="sun", ranking=["sort", "words", "price:desc"], sort=["price:asc", "price:desc"])
    assert [kind for kind, _ in kinds(found)] == ["ascending sort", "relevancy"]
    sort = "`query.sort` (as `sort` is #0 in ranking rules)"
    earlier = f"as it already appears at position #0 in {sort}"
    assert found.notes == [
        f"    1. Removed duplicate rule `price:asc` at position #1 in {sort} {earlier}",
        f"    2. Removed duplicate rule `price:asc` at position #2 in ranking rules {earlier}",
    ]


def test_words_are_put_before_the_first_relevancy_rule_unless_all_have_to_match() -> None:
    assert kinds(rules(q="sun", ranking=["typo", "words"])) == [("relevancy", "words, typo, words")]
    assert kinds(rules(q="sun", ranking=["typo", "words"], matchingStrategy="all")) == [("relevancy", "typo")]


def test_the_message_names_rules_queries_and_what_was_left_out() -> None:
    message = incompatible(rules(position=1, sort=["price:desc"]), rules(q="sun", sort=["price:asc"]))
    assert message is not None
    lines = message.splitlines()
    assert lines[:5] == [
        "The results of queries #0 and #1 are incompatible: ",
        "  1. `queries[0]`, `f.rankingRules[0..=3]`: relevancy rule(s) words, typo, proximity, attributeRank",
        "  2. `queries[1].sort[0]`, `f.rankingRules[0]`: descending sort rule(s) on field `price`",
        "  - cannot compare a relevancy rule with a sort rule",
        "  - note: The ranking rules of query #1 were modified during canonicalization:",
    ]
    assert lines[5] == (
        "    1. Removed relevancy rule `words` at position #0 in ranking rules because the query is a placeholder "
        'search (`q`: "")'
    )
    assert len(lines) == 11
    assert message.endswith("\n")


@pytest.mark.parametrize(
    ("one", "other", "reason"),
    [
        (["a:asc"], ["a:desc"], "cannot compare two sort rules in opposite directions"),
        (["a:asc"], ["_geoPoint(1,1):asc"], "cannot compare a sort rule with a geosort rule"),
        (["_geoPoint(1,1):desc"], ["_geoPoint(1,1):asc"], "cannot compare two geosort rules in opposite directions"),
    ],
)
def test_reasons(one: list[str], other: list[str], reason: str) -> None:
    assert reason in str(incompatible(rules(sort=one), rules(position=1, sort=other)))


def test_the_longer_list_is_held_against_the_next() -> None:
    short, long = rules(sort=["a:asc"]), rules(position=1, sort=["a:asc", "b:asc"])
    assert incompatible(long, short) is None
    assert stricter(short, long) is long
    assert stricter(long, short) is long
    assert stricter(rules(position=2, sort=["b:asc"]), short).position == 2


def test_a_sort_that_cannot_be_read_is_left_to_a_node() -> None:
    assert rules_of({"sort": ["price"]}, DEFAULT, position=0, uid="f") is None
    assert rules_of({"sort": ["_geoPoint(x):asc"]}, DEFAULT, position=0, uid="f") is None


NEAR: dict[str, Any] = {"vector": [1, 0], "hybrid": {"embedder": "e", "semanticRatio": 1}}


def test_nearness_takes_the_place_of_the_first_rule_about_relevancy() -> None:
    """The default rules have a sort between those about relevancy: what is behind it has no effect then."""
    near = rules(**NEAR, sort=["price:asc"])
    assert [rule.kind for rule in near.compared] == ["relevancy", "ascending sort"]
    assert near.notes[0] == (
        "    1. Removed relevancy rule `typo` at position #1 in ranking rules because the query is a vector search and "
        "`vector` was already inserted at position #0 in ranking rules"
    )
    assert near.notes[-1].startswith("    4. Truncated relevancy rule `wordPosition` at position #5 in ranking rules")
    assert incompatible(near, rules(q="x", sort=["price:asc"])) is None


def test_a_hybrid_query_is_compared_as_one_with_words() -> None:
    hybrid = {**NEAR, "hybrid": {"embedder": "e"}}
    assert rules(**hybrid, q="x").compared == rules(q="x").compared
