from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from miroir_cli.search.facets import (
    FacetAnswer,
    FacetRules,
    cut_short,
    facet_rules,
    facets_of,
    merge_facets,
    split_numbers,
)

ALPHA = FacetRules(max_values=100, orders={})
COUNT = FacetRules(max_values=100, orders={"*": "count"})
NUMERIC = {"f": {"min": 0.0, "max": 100.0}}


def answer(
    values: Mapping[str, int], *, stats: Mapping[str, Any] | None = None, candidates: int = 10, name: str = "f"
) -> FacetAnswer:
    return FacetAnswer(distribution={name: dict(values)}, stats=stats or {}, candidates=candidates)


def merged(*answers: FacetAnswer, rules: FacetRules = ALPHA) -> list[tuple[str, int]]:
    return list(merge_facets(answers, rules)[0]["f"].items())


def test_counts_add_up_and_spellings_of_one_value_are_one() -> None:
    found = merged(answer({"Été": 2, "red": 1}), answer({"blue": 4, "RED": 5, "été ": 1}))
    assert found == [("blue", 4), ("Été", 3), ("red", 6)]


def test_numbers_come_before_strings_and_are_ordered_as_text() -> None:
    found = merged(answer({"10": 1, "2": 1, "a": 1}, stats=NUMERIC), answer({"1": 1, "100": 1, "A": 1}, stats=NUMERIC))
    assert found == [("1", 1), ("10", 1), ("100", 1), ("2", 1), ("a", 2)]


def test_beyond_three_thousand_documents_numbers_are_ordered_by_value() -> None:
    found = merged(
        answer({"2": 1, "10": 1}, stats=NUMERIC, candidates=3000), answer({"1": 1, "9": 1}, stats=NUMERIC, candidates=1)
    )
    assert found == [("1", 1), ("2", 1), ("9", 1), ("10", 1)]


def test_strings_that_look_like_numbers_stay_strings_where_there_are_no_numbers() -> None:
    assert merged(answer({"10": 1, "2": 1}), answer({"b": 1, "1": 1})) == [("1", 1), ("10", 1), ("2", 1), ("b", 1)]


def test_by_count_equal_ones_go_down_by_value() -> None:
    found = merged(
        answer({"5": 2, "10": 1, "red": 3, "blue": 1}, stats=NUMERIC),
        answer({"7": 2, "yellow": 4, "blue": 2}, stats=NUMERIC),
        rules=COUNT,
    )
    assert found == [("7", 2), ("5", 2), ("10", 1), ("yellow", 4), ("red", 3), ("blue", 3)]


def test_the_users_limit_cuts_after_adding_up() -> None:
    rules = FacetRules(max_values=2, orders={"f": "count"})
    assert merged(answer({"a": 3, "b": 2}), answer({"c": 4, "b": 2}), rules=rules) == [("c", 4), ("b", 4)]


def test_a_limit_that_numbers_fill_shows_all_strings_where_meilisearch_does() -> None:
    parts = [answer({"1": 1, "2": 1, "3": 1, "x": 1}, stats=NUMERIC), answer({"4": 1, "y": 1}, stats=NUMERIC)]
    by_count = FacetRules(max_values=3, orders={"*": "count"})
    assert merged(*parts, rules=by_count) == [("4", 1), ("3", 1), ("2", 1), ("y", 1), ("x", 1)]
    assert merged(*parts, rules=FacetRules(max_values=3, orders={})) == [("1", 1), ("2", 1), ("3", 1)]


def test_attributes_of_any_node_appear_and_miroirs_own_do_not() -> None:
    parts = [
        FacetAnswer(distribution={"b": {"x": 1}, "_miroir_shard": {"§": 1}}, stats={}, candidates=1),
        FacetAnswer(distribution={"a": {}}, stats={"_miroir_shard": {"min": 1, "max": 1}}, candidates=1),
    ]
    assert merge_facets(parts, ALPHA) == ({"a": {}, "b": {"x": 1}}, {})


def test_statistics_are_the_widest_of_all_nodes() -> None:
    parts = [
        FacetAnswer(distribution={}, stats={"p": {"min": 2.0, "max": 5.0}}, candidates=1),
        FacetAnswer(distribution={}, stats={"p": {"min": 1.5, "max": 4.0}}, candidates=1),
        FacetAnswer(distribution={}, stats={}, candidates=1),
    ]
    assert merge_facets(parts, ALPHA)[1] == {"p": {"min": 1.5, "max": 5.0}}


def test_numbers_end_where_their_order_does() -> None:
    assert split_numbers({"1": 1, "30": 1, "10": 2, "x": 1}, order="alpha", as_text=True) == (
        {"1": 1, "30": 1},
        {"10": 2, "x": 1},
    )
    assert split_numbers({"9": 3, "8": 1, "7": 2}, order="count", as_text=True) == ({"9": 3, "8": 1}, {"7": 2})


def test_rules_are_the_users_with_meilisearchs_defaults() -> None:
    assert facet_rules({}) == FacetRules(max_values=100, orders={})
    rules = facet_rules({"faceting": {"maxValuesPerFacet": 0, "sortFacetValuesBy": {"*": "count", "a": "alpha"}}})
    assert (rules.max_values, rules.order("a"), rules.order("b")) == (0, "alpha", "count")


def test_documents_are_counted_as_a_node_counts_them() -> None:
    documents: list[dict[str, Any]] = [
        {"color": "Red", "price": 3, "dog": {"name": "Rex"}},
        {"color": ["red", "blue", "RED"], "price": [3.0, 2.5, "3"], "dog": [{"name": "Rex"}, {"name": "Ida"}]},
        {"color": None, "price": "", "dog": []},
    ]
    found = facets_of(documents, ["color", "dog.name", "price", "rare"])
    assert found.values == {
        "color": ({}, {"Red": 2, "blue": 1}),
        "dog.name": ({}, {"Rex": 2, "Ida": 1}),
        "price": ({"3": 2, "2.5": 1}, {"3": 1}),
        "rare": ({}, {}),
    }
    assert (found.stats, found.candidates) == ({"price": {"min": 2.5, "max": 3.0}}, 3)


def test_documents_add_to_what_the_nodes_counted() -> None:
    local = facets_of([{"f": text} for text in ("RED", 7)], ["f", "g"])
    distribution, stats = merge_facets([answer({"red": 2, "blue": 1})], ALPHA, local)
    assert distribution == {"f": {"7": 1, "blue": 1, "red": 3}, "g": {}}
    assert list(distribution["f"]) == ["7", "blue", "red"]
    assert stats == {"f": {"min": 7.0, "max": 7.0}}


MANY = 3001


@pytest.mark.parametrize(
    ("parts", "rules", "cut"),
    [
        # the first strings of the whole are among the first of each node
        ([answer({"a": 1, "b": 1, "c": 1}, candidates=MANY), answer({"d": 1}, candidates=9)], ALPHA, False),
        ([answer({"a": 3, "b": 2, "c": 1}), answer({"d": 1})], COUNT, True),
        ([answer({"a": 3, "b": 2}), answer({"d": 1})], COUNT, False),
        # numbers in the order of their text, here and there
        ([answer({"1": 1, "10": 1, "2": 1}, stats=NUMERIC), answer({"3": 1}, stats=NUMERIC)], ALPHA, False),
        # numbers in the order of their text on the first node, by value in the whole
        ([answer({"1": 1, "10": 1, "2": 1}, stats=NUMERIC), answer({}, candidates=MANY)], ALPHA, True),
        ([answer({"1": 1, "2": 1, "10": 1}, stats=NUMERIC, candidates=MANY)], ALPHA, False),
        # one node that has three numbers to show shows all strings
        (
            [answer({"1": 1, "a": 1, "b": 1}, stats=NUMERIC), answer({"2": 1, "3": 1}, stats=NUMERIC, candidates=MANY)],
            FacetRules(max_values=3, orders={}),
            True,
        ),
        ([answer({"1": 1, "a": 1, "b": 1}, stats=NUMERIC), answer({"2": 1}, candidates=MANY)], ALPHA, False),
    ],
)
def test_lists_that_are_too_short_are_known(parts: list[FacetAnswer], rules: FacetRules, cut: bool) -> None:
    assert cut_short(parts, rules, limit=3) is cut


def test_all_values_are_missed_where_all_are_wanted() -> None:
    assert cut_short([answer({"a": 1, "b": 1})], ALPHA, limit=2, every=True)
    assert not cut_short([answer({"a": 1})], ALPHA, limit=2, every=True)


def test_numbers_are_within_the_bounds_of_the_statistics() -> None:
    stats = {"min": 2.0, "max": 10.0}
    assert split_numbers({"3": 1, "70": 1}, order="alpha", as_text=True, stats=stats) == ({"3": 1}, {"70": 1})
    assert split_numbers({"3": 1, "10": 1, "10.5": 1, "11": 1}, order="alpha", as_text=False, stats=stats) == (
        {"3": 1, "10": 1},
        {"10.5": 1, "11": 1},
    )


@pytest.mark.parametrize("other", [" red", "RED ", "\tRed", "red\x1f", "red\n", "Red"])
@pytest.mark.parametrize("beside", [{"A\nB": 1}, {"été": 1}, {"blue sky": 1}, {"Blue Sky": 1}, {}])
def test_spellings_are_one_value_whatever_stands_beside_them(other: str, beside: dict[str, int]) -> None:
    """Values are looked at all at once where they can be."""
    found = merged(answer({"red": 2, **beside}), answer({**beside, other: 3}), rules=COUNT)
    assert found == [("red", 5), *((name, 2) for name in beside)]
