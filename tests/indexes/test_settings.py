"""Settings as values: what is refused before it is sent, what the nodes get, and what a user sees of it."""

from __future__ import annotations

from typing import Any

import pytest

from miroir_cli.errors import ReservedField, SettingsInvalid
from miroir_cli.indexes.settings import (
    NODE_MAX_TOTAL_HITS,
    NODE_MAX_VALUES_PER_FACET,
    SHARD_FILTER,
    from_node,
    merge,
    to_node,
    validate,
    widened,
    with_removals,
)

DEFAULT_RULES = ["words", "typo", "sort", "exactness"]


def node_settings(user: dict[str, Any], *, tie_break: bool = True) -> dict[str, Any]:
    return to_node(user, primary_key="id", tie_break=tie_break, default_rules=DEFAULT_RULES)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"filterableAttribute": []}, "unknown setting `filterableAttribute`, did you mean `filterableAttributes`?"),
        ({"typoTolerance": {"enable": True}}, "unknown setting `typoTolerance.enable`, did you mean `enabled`?"),
        ({"stopWords": "the"}, "`stopWords`: Expected `array | null`, got `str`"),
        ({"pagination": {"maxTotalHits": "many"}}, "`pagination.maxTotalHits`: Expected `int | null`, got `str`"),
        ({"rankingRules": ["words", "tipo"]}, "`rankingRules`: `tipo` is neither a built-in rule"),
        ({"dictionary": ["a§b"]}, "`dictionary`: 'a§b' uses one of"),
        ({"nonSeparatorTokens": ["¶"]}, "`nonSeparatorTokens`: '¶' uses one of"),
        ([], "Expected `object`, got `array`"),
    ],
)
def test_what_is_wrong_is_named(settings: Any, message: str) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        validate(settings, source="s.json")
    assert caught.value.message.startswith("s.json: ")
    assert message in caught.value.message


@pytest.mark.parametrize(
    "settings",
    [
        {"filterableAttributes": ["_miroir_shard"]},
        {"filterableAttributes": [{"attributePatterns": ["_miroir_*"]}]},
        {"rankingRules": ["_miroir_shard:asc"]},
        {"embedders": {"e": {"documentTemplate": "{{doc._miroir_shard}}"}}},
    ],
)
def test_reserved_names_are_refused_at_any_depth(settings: dict[str, Any]) -> None:
    with pytest.raises(ReservedField):
        validate(settings, source="s.json")


def test_nodes_get_the_marker_the_last_rule_and_every_facet_value() -> None:
    node = node_settings({"filterableAttributes": ["genre"], "faceting": {"sortFacetValuesBy": {"*": "count"}}})
    assert node["filterableAttributes"] == [SHARD_FILTER, "genre"]
    assert node["rankingRules"] == [*DEFAULT_RULES, "id:asc"]
    assert node["faceting"] == {"sortFacetValuesBy": {"*": "count"}, "maxValuesPerFacet": NODE_MAX_VALUES_PER_FACET}
    assert node["pagination"] == {"maxTotalHits": NODE_MAX_TOTAL_HITS}
    assert node["displayedAttributes"] is None


@pytest.mark.parametrize(
    ("user", "values"),
    [
        ({}, 1000),
        ({"faceting": {"maxValuesPerFacet": 5000, "sortFacetValuesBy": {"*": "alpha"}}}, 5000),
        ({"faceting": {"maxValuesPerFacet": 7, "sortFacetValuesBy": {"genre": "count"}}}, NODE_MAX_VALUES_PER_FACET),
        ({"distinctAttribute": "isbn"}, NODE_MAX_VALUES_PER_FACET),
    ],
)
def test_nodes_list_as_many_facet_values_as_the_merge_needs(user: dict[str, Any], values: int) -> None:
    assert node_settings(user)["faceting"]["maxValuesPerFacet"] == values


@pytest.mark.parametrize("rules", [["words", "id:desc"], ["id:asc", "words"]])
def test_an_order_by_the_primary_key_is_not_added_twice(rules: list[str]) -> None:
    assert node_settings({"rankingRules": rules})["rankingRules"] == rules


def test_without_tie_break_the_rules_are_the_users() -> None:
    assert node_settings({}, tie_break=False)["rankingRules"] == DEFAULT_RULES


def test_what_the_merge_reads_is_displayed_on_the_nodes() -> None:
    user = {
        "displayedAttributes": ["title", "meta"],
        "sortableAttributes": ["meta.price", "year"],
        "rankingRules": ["words", "stars:desc"],
        "distinctAttribute": "isbn",
    }
    assert widened(user, primary_key="id") == ["id", "meta.price", "year", "stars", "isbn", "_geo"]
    assert node_settings(user)["displayedAttributes"] == ["title", "meta", *widened(user, primary_key="id")]
    assert widened({"displayedAttributes": ["*"], "sortableAttributes": ["year"]}, primary_key="id") == []


@pytest.mark.parametrize(
    "user",
    [
        {},
        {"filterableAttributes": ["genre"], "displayedAttributes": ["title"], "rankingRules": ["words", "typo"]},
        {"faceting": {"maxValuesPerFacet": 7}, "rankingRules": ["words", "id:asc"]},
        {"pagination": {"maxTotalHits": 7}},
    ],
)
def test_a_user_sees_nothing_of_it(user: dict[str, Any]) -> None:
    shown = from_node(node_settings(user), user, primary_key="id", tie_break=True)
    assert shown["filterableAttributes"] == user.get("filterableAttributes", [])
    assert shown["rankingRules"] == user.get("rankingRules", DEFAULT_RULES)
    assert shown["displayedAttributes"] == user.get("displayedAttributes", ["*"])
    assert shown["faceting"]["maxValuesPerFacet"] == user.get("faceting", {}).get("maxValuesPerFacet", 100)
    assert shown["pagination"] == user.get("pagination", {"maxTotalHits": 1000})
    assert "_miroir" not in str(shown)


def test_a_patch_resets_with_null_and_merges_the_composite_ones() -> None:
    before = {"stopWords": ["a"], "typoTolerance": {"enabled": False, "disableOnNumbers": True}}
    patch = {"stopWords": None, "typoTolerance": {"enabled": None}, "synonyms": {"a": ["b"]}}
    assert merge(before, patch) == {"typoTolerance": {"disableOnNumbers": True}, "synonyms": {"a": ["b"]}}


@pytest.mark.parametrize(
    ("patch", "after"),
    [
        ({"f": {"source": "rest"}}, {"e": {"source": "ollama", "apiKey": "k", "model": "m"}, "f": {"source": "rest"}}),
        ({"e": {"model": "n"}}, {"e": {"source": "ollama", "apiKey": "k", "model": "n"}}),
        ({"e": {"source": "ollama", "model": None}}, {"e": {"source": "ollama", "apiKey": "k"}}),
        ({"e": {"source": "rest", "url": "u"}}, {"e": {"source": "rest", "apiKey": "k", "url": "u"}}),
        ({"e": {"source": None}}, {"e": {"apiKey": "k"}}),
        ({"e": None}, {}),
    ],
)
def test_embedders_change_one_by_one_and_part_by_part(patch: dict[str, Any], after: dict[str, Any]) -> None:
    """As on one server (update/settings.rs and vector/settings.rs of Meilisearch's milli)."""
    before = {"embedders": {"e": {"source": "ollama", "apiKey": "k", "model": "m"}}}
    assert merge(before, {"embedders": patch}) == {"embedders": after}


def test_embedders_and_parts_that_are_gone_are_sent_as_null() -> None:
    before = {"embedders": {"e": {"source": "rest", "url": "u", "request": 1}, "f": {"source": "userProvided"}}}
    user = {"embedders": {"e": {"source": "rest", "url": "u"}}}
    sent = with_removals(node_settings(user), before=before, present=["e", "by hand"])
    assert sent["embedders"] == {"e": {"source": "rest", "url": "u", "request": None}, "f": None, "by hand": None}
    moved = with_removals(node_settings({"embedders": {"e": {"source": "ollama"}}}), before=before, present=[])
    assert moved["embedders"] == {"e": {"source": "ollama"}, "f": None}
    left: list[dict[str, Any]] = [{}, {"embedders": {}}]
    for none_left in left:
        assert with_removals(node_settings(none_left), before=before, present=["e"])["embedders"] is None


def test_rules_of_filterable_attributes_are_sent_with_all_their_features() -> None:
    given = ["a", {"attributePatterns": ["b*"]}, {"attributePatterns": ["c"], "features": {"facetSearch": True}}]
    equality = {"equality": True, "comparison": False}
    assert node_settings({"filterableAttributes": given})["filterableAttributes"] == [
        SHARD_FILTER,
        "a",
        {"attributePatterns": ["b*"], "features": {"facetSearch": False, "filter": equality}},
        {"attributePatterns": ["c"], "features": {"facetSearch": True, "filter": equality}},
    ]
