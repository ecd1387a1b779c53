"""Comparing settings: what is a difference, what a node only spells otherwise, and what has drifted."""

from __future__ import annotations

from typing import Any

import pytest

from miroir_cli.indexes.differences import diff, differences, drift
from miroir_cli.indexes.settings import NODE_FIRST_VALUES

DEFAULT_RULES = ["words", "typo", "sort", "exactness"]
DEFAULTS: dict[str, Any] = {
    "rankingRules": DEFAULT_RULES,
    "searchableAttributes": ["*"],
    "stopWords": [],
    "synonyms": {},
    "searchCutoffMs": None,
    "typoTolerance": {"enabled": True, "minWordSizeForTypos": {"oneTypo": 5, "twoTypos": 9}},
    "faceting": {"maxValuesPerFacet": 100, "sortFacetValuesBy": {"*": "alpha"}},
}
"""As a node has them for an index that nobody has changed."""


def drift_of(user: dict[str, Any], **found: Any) -> list[str]:
    """What is wrong with a node on which the user's settings were set and then `found` changed by hand."""
    node = {**DEFAULTS, "rankingRules": [*DEFAULT_RULES, "id:asc"]}
    node["faceting"] = {**DEFAULTS["faceting"], "maxValuesPerFacet": NODE_FIRST_VALUES}
    simple = {key: value for key, value in user.items() if isinstance(value, list | int)}
    settings = {**node, **simple, **found}
    return drift(user, settings, defaults=DEFAULTS, primary_key="id", tie_break=True, default_rules=DEFAULT_RULES)


def test_an_embedder_too_many_or_too_few_is_a_difference() -> None:
    sent = {"embedders": {"e": {"source": "rest"}, "f": None}}
    assert differences(sent, {"embedders": {"e": {"source": "rest", "apiKey": "XXX..."}}}) == []
    assert differences(sent, {"embedders": {"e": {}, "f": {}}}) == ["embedders"]
    assert differences(sent, {"embedders": {}}) == ["embedders"]


def test_reading_back_tells_what_a_node_did_not_take() -> None:
    sent = {"sortableAttributes": ["b", "a"], "typoTolerance": {"enabled": False}, "stopWords": None, "embedders": {}}
    assert differences(sent, {"sortableAttributes": ["a", "b"], "typoTolerance": {"enabled": False, "x": 1}}) == []
    assert differences(sent, {"sortableAttributes": ["a"], "typoTolerance": {"enabled": True}}) == [
        "sortableAttributes",
        "typoTolerance.enabled",
    ]


@pytest.mark.parametrize(
    ("key", "sent", "found"),
    [
        ("typoTolerance", {"disableOnWords": ["Dune", "ÉTÉ"]}, {"disableOnWords": ["dune", "ete"]}),
        ("stopWords", ["Dune", "ÉTÉ"], ["dune", "ete"]),
        (
            "localizedAttributes",
            [{"attributePatterns": ["a"], "locales": ["fr"]}],
            [{"attributePatterns": ["a"], "locales": ["fra"]}],
        ),
    ],
)
def test_what_a_node_spells_in_its_own_way_is_no_difference(key: str, sent: Any, found: Any) -> None:
    assert differences({key: sent}, {key: found}) == []
    assert differences({key: sent}, {key: [] if isinstance(found, list) else {"disableOnWords": []}}) != []


def test_a_difference_shows_both_values() -> None:
    assert diff({"a": 1, "b": 2}, {"b": 3, "c": 4}) == {"a": (1, None), "b": (2, 3), "c": (None, 4)}


@pytest.mark.parametrize(
    ("user", "found"),
    [
        ({}, {}),
        ({"stopWords": ["b", "a"], "searchCutoffMs": 50, "typoTolerance": None}, {}),
        (
            {"typoTolerance": {"minWordSizeForTypos": {"oneTypo": 4}}},
            {"typoTolerance": {"enabled": True, "minWordSizeForTypos": {"oneTypo": 4, "twoTypos": 9}}},
        ),
        (
            {"faceting": {"sortFacetValuesBy": {"genre": "count"}}},
            {"faceting": {"maxValuesPerFacet": 1_000_000, "sortFacetValuesBy": {"*": "alpha", "genre": "count"}}},
        ),
        ({"synonyms": {"film": ["movie", "cinema"]}}, {"synonyms": {"film": ["cinema", "movie"]}}),
    ],
)
def test_a_node_that_has_what_it_was_sent_has_not_drifted(user: dict[str, Any], found: dict[str, Any]) -> None:
    assert drift_of(user, **found) == []


def test_drift_is_found_also_in_settings_that_the_user_left_alone() -> None:
    assert drift_of({}, stopWords=["the"], synonyms={"a": ["b"]}) == ["stopWords", "synonyms"]
    assert drift_of({}, typoTolerance={**DEFAULTS["typoTolerance"], "enabled": False}) == ["typoTolerance"]
    assert drift_of({"searchCutoffMs": 50}, searchCutoffMs=None) == ["searchCutoffMs"]


def test_the_order_of_rules_and_searchable_attributes_counts_and_of_others_not() -> None:
    user = {"searchableAttributes": ["title", "text"], "stopWords": ["a", "b"]}
    assert drift_of(user, stopWords=["b", "a"]) == []
    assert drift_of(user, searchableAttributes=["text", "title"]) == ["searchableAttributes"]
    assert drift_of({}, rankingRules=["id:asc", *DEFAULT_RULES]) == ["rankingRules"]
    assert drift_of({}, rankingRules=list(DEFAULT_RULES)) == ["rankingRules"]


def test_masked_embedders_and_settings_that_a_node_does_not_know_are_no_drift() -> None:
    assert drift_of({"embedders": {"e": {"apiKey": "secret"}}}, embedders={"e": {"apiKey": "se..."}}) == []
    assert drift_of({"prefixSearch": "disabled"}) == []


def test_an_embedder_that_only_a_node_knows_has_drifted() -> None:
    assert drift_of({}, embedders={"e": {"source": "rest"}}) == ["embedders"]
    assert drift_of({"embedders": {"e": {"source": "rest"}}}, embedders={}) == ["embedders"]
    assert drift_of({}, embedders={}) == []
