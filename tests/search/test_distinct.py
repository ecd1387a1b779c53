from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miroir_cli.search.distinct import (
    Chosen,
    Rest,
    choose,
    has_no_value,
    numbers_like,
    others,
    repeated_blanks,
    spell,
    without,
)
from miroir_cli.search.facet_values import Value

A, B, C, AB, BC, NONE = ({"a"}, {"b"}, {"c"}, {"a", "b"}, {"b", "c"}, set[str]())


def test_of_each_value_the_first_document_stays_and_those_without_any_all_do() -> None:
    assert choose([A, NONE, A, B, NONE, B, C], 20) == Chosen(places=[0, 1, 3, 4, 6], doubtful=False)


def test_a_document_of_several_values_falls_away_for_any_of_them_and_excludes_none() -> None:
    assert choose([A, AB, B], 20) == Chosen(places=[0, 2], doubtful=True)
    assert choose([AB, BC, C], 20) == Chosen(places=[0, 2], doubtful=True)


def test_what_falls_away_after_the_page_is_full_raises_no_doubt() -> None:
    assert choose([A, B, AB], 2) == Chosen(places=[0, 1], doubtful=False)
    assert choose([A, AB], 0) == Chosen(places=[], doubtful=False)


def test_beside_the_hits_count_all_that_share_no_value_with_them() -> None:
    assert others([A, B, AB, NONE, C, C], {0}, Rest.ALL) == [1, 3, 4, 5]


def test_a_page_counts_the_first_of_each_value_of_the_others() -> None:
    assert others([A, B, AB, NONE, BC, C, C], {0}, Rest.FIRST) == [1, 3, 5]
    assert others([A, B], {0}, Rest.NONE) == []


values = st.frozensets(st.sampled_from("abcd"), max_size=2)


@given(st.lists(values, max_size=12), st.integers(0, 12))
def test_hits_and_others_are_what_a_walk_to_the_end_leaves(documents: list[frozenset[str]], most: int) -> None:
    hits = choose(documents, most).places
    whole = choose(documents, len(documents)).places
    assert hits == whole[:most]
    if len(hits) == most:
        assert sorted([*hits, *others(documents, set(hits), Rest.FIRST)]) == whole


def test_all_hits_but_one_without_a_character_are_dropped() -> None:
    assert repeated_blanks([False, True, False, True, True]) == {3, 4}
    assert repeated_blanks([True]) == set()


def test_filters_spell_numbers_and_texts_so_that_each_finds_itself() -> None:
    found: set[Value] = {"red", 3.0, 0.25, 'a"b\\'}
    assert without("my color", found) == (
        'NOT "my color" IN ["0.25000000000000e0", "3.000000000000e0", "a\\"b\\\\", "red"]'
    )
    assert without("color", set()) == ""
    assert float("0.25000000000000e0") == 0.25
    assert has_no_value("c") == '"c" NOT EXISTS OR "c" IS NULL OR "c" IS EMPTY'


def test_texts_that_read_as_numbers_are_known() -> None:
    assert numbers_like("c", {"red", "3", "4"}) == '"c" IN ["3.000000000000e0", "4.000000000000e0"]'
    assert numbers_like("c", {"3", 3.0, "red", 5.0}) is None


@pytest.mark.parametrize(("text", "spelled"), [("a b", '"a b"'), ('"', '"\\""'), ("\\", '"\\\\"')])
def test_texts_are_quoted(text: str, spelled: str) -> None:
    assert spell(text) == spelled
