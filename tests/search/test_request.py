from __future__ import annotations

from typing import Any

import pytest

from miroir_cli.errors import ReservedField, UsageError
from miroir_cli.model import Index, IndexUid, ShardId
from miroir_cli.search.distinct import Distinct
from miroir_cli.search.request import Prepared, prepare


def books(**settings: Any) -> Index:
    return Index(uid=IndexUid("books"), incarnation=1, primary_key="id", shards=4, replicas=1, settings=settings)


def prepared(request: dict[str, Any], index: Index | None = None) -> Prepared:
    found = prepare(request, index or books())
    assert found is not None
    return found


def sent(request: dict[str, Any], index: Index | None = None) -> dict[str, Any]:
    return prepared(request, index).for_shards([ShardId(1)])


def test_a_node_is_asked_from_the_start_with_details_and_its_shards() -> None:
    assert sent({"q": "sea", "offset": 5, "limit": 3, "cropLength": 7, "filter": "a = 1"}) == {
        "q": "sea",
        "cropLength": 7,
        "offset": 0,
        "limit": 8,
        "showRankingScoreDetails": True,
        "filter": ["a = 1", '_miroir_shard IN ["¶"]'],
    }


def test_parameters_that_the_merge_does_not_read_are_passed_on() -> None:
    request = {"attributesToSearchOn": ["title"], "matchingStrategy": "all", "locales": ["fra"], "unknown": {"x": 1}}
    assert {key: sent(request)[key] for key in request} == request


def test_attributes_that_the_merge_needs_are_asked_for() -> None:
    assert sent({"attributesToRetrieve": ["title"]})["attributesToRetrieve"] == ["title", "id"]
    assert sent({"attributesToRetrieve": ["*"]})["attributesToRetrieve"] == ["*"]
    by_distance = {"attributesToRetrieve": ["id"], "sort": ["_geoPoint(1, 2):asc"], "distinct": "isbn"}
    assert sent(by_distance)["attributesToRetrieve"] == ["id", "isbn", "_geo"]


def test_sorting_by_distance_asks_for_some_hits_more() -> None:
    assert sent({"sort": ["_geoPoint(1, 2):asc"]})["limit"] == 40
    assert sent({"sort": ["_geoPoint(1, 2):asc"], "limit": 2000})["limit"] == 1020


@pytest.mark.parametrize(
    "request_",
    [
        {"facets": ["_miroir_shard"]},
        {"sort": ["_miroir_shard:asc"]},
        {"distinct": "_miroir_shard"},
        {"attributesToRetrieve": ["_miroir_shard"]},
        {"attributesToCrop": ["_miroir_shard:5"]},
        {"attributesToSearchOn": ["_miroir_shard"]},
        {"filter": ["_miroir_shard EXISTS"]},
    ],
)
def test_names_of_miroirs_own_are_refused(request_: dict[str, Any]) -> None:
    with pytest.raises(ReservedField, match="_miroir_shard"):
        prepare(request_, books())


@pytest.mark.parametrize("key", ["media", "personalize", "useNetwork"])
def test_what_cannot_be_merged_yet_is_refused_by_name(key: str) -> None:
    with pytest.raises(UsageError, match=key):
        prepare({key: {"embedder": "x"}}, books())
    assert prepare({key: None}, books()) is not None


@pytest.mark.parametrize(
    "request_",
    [
        {"limit": "5"},
        {"sort": "a:asc"},
        {"facets": [1]},
        {"distinct": 4},
        {"showRankingScore": 1},
        {"page": -1},
        {"vector": [1]},
    ],
)
def test_wrong_types_are_left_to_a_node(request_: dict[str, Any]) -> None:
    assert prepare(request_, books()) is None


def test_miroirs_last_rule_is_hidden_unless_the_client_ranks_by_the_key() -> None:
    assert prepared({}).view.hidden_rule == "id:asc"
    assert prepared({"sort": ["price:asc", "id:asc"]}).view.hidden_rule is None
    assert prepared({}, books(rankingRules=["words", "id:desc"])).view.hidden_rule is None


@pytest.mark.parametrize(
    ("settings", "filterable", "visible"),
    [
        ({}, False, True),
        ({"filterableAttributes": ["isbn"]}, True, True),
        ({"filterableAttributes": ["*"], "displayedAttributes": ["*"]}, True, True),
        ({"filterableAttributes": ["maker"], "displayedAttributes": ["title"]}, False, False),
        ({"filterableAttributes": [{"attributePatterns": ["is*"]}], "displayedAttributes": ["isbn"]}, True, True),
        ({"filterableAttributes": [{"attributePatterns": ["*n"], "features": {"filter": {"equality": False}}}]},
         False, True),
        ({"displayedAttributes": ["title"], "sortableAttributes": ["isbn"]}, False, True),
    ],
)  # fmt: skip
def test_what_nodes_can_do_with_the_distinct_attribute_is_known(
    settings: dict[str, Any], filterable: bool, visible: bool
) -> None:
    found = prepared({"distinct": "isbn"}, books(**settings)).distinct
    assert found == Distinct(attribute="isbn", asked=True, by_default=False, filterable=filterable, visible=visible)


def test_the_requests_distinct_attribute_goes_before_that_of_the_settings() -> None:
    settings = books(distinctAttribute="isbn", filterableAttributes=["isbn", "maker"], displayedAttributes=["title"])
    by_default = prepared({}, settings)
    assert by_default.distinct == Distinct(
        attribute="isbn", asked=False, by_default=True, filterable=True, visible=True
    )
    asked = prepared({"distinct": "maker.name"}, settings)
    assert asked.distinct == Distinct(
        attribute="maker.name", asked=True, by_default=True, filterable=True, visible=False
    )
    assert prepared({}).distinct is None


def test_every_document_is_asked_for_without_regard_to_the_distinct_attribute() -> None:
    request = {"q": "sea", "distinct": "maker", "facets": ["a"], "page": 2, "hitsPerPage": 3, "sort": ["a:asc"]}
    request |= {"attributesToHighlight": ["title"], "rankingScoreThreshold": 0.4, "filter": "a = 1"}
    asked = prepared(request, books(distinctAttribute="isbn"))
    assert asked.for_every([ShardId(1)], most=40) == {
        "q": "sea",
        "distinct": "_miroir_none",
        "sort": ["a:asc"],
        "attributesToHighlight": ["title"],
        "rankingScoreThreshold": 0.4,
        "showRankingScoreDetails": True,
        "offset": 0,
        "limit": 40,
        "filter": ["a = 1", '_miroir_shard IN ["¶"]'],
    }
    keys = asked.for_every([ShardId(1)], most=40, keys_only=True, threshold=False)
    assert set(keys) == {
        "q", "distinct", "sort", "showRankingScoreDetails", "offset", "limit", "filter", "attributesToRetrieve"
    }  # fmt: skip
    assert keys["attributesToRetrieve"] == ["id", "_geo"]
    assert "distinct" not in prepared(request).for_every([ShardId(1)], most=40)


def test_counting_asks_for_no_hits_and_no_score() -> None:
    request = {"q": "sea", "rankingScoreThreshold": 0.9, "matchingStrategy": "all", "sort": ["a:asc"], "limit": 5}
    assert prepared(request).for_count([ShardId(0)]) == {
        "q": "sea",
        "matchingStrategy": "all",
        "limit": 0,
        "filter": ['_miroir_shard IN ["§"]'],
    }


def test_counting_takes_facets_and_a_filter_more() -> None:
    asked = prepared({"facets": ["a"], "filter": ["b = 1"]}, books(distinctAttribute="isbn"))
    assert asked.for_count([ShardId(0)], only="NOT c = 2") == {
        "distinct": "_miroir_none",
        "facets": ["a"],
        "limit": 0,
        "filter": ["b = 1", "NOT c = 2", '_miroir_shard IN ["§"]'],
    }
    assert asked.for_count([ShardId(0)], facets=["isbn"])["facets"] == ["isbn"]
    assert "facets" not in asked.for_count([ShardId(0)], facets=[])


def test_a_page_counts_what_reaches_the_threshold() -> None:
    asked = prepared({"rankingScoreThreshold": 0.5, "hitsPerPage": 7})
    assert asked.for_count([ShardId(0)]) == {
        "rankingScoreThreshold": 0.5,
        "page": 1,
        "hitsPerPage": 0,
        "filter": ['_miroir_shard IN ["§"]'],
    }


@pytest.mark.parametrize(
    ("q", "ratio", "counted"),
    [("sea", 0.5, False), ("sea -land", 0.5, True), ("sea -land", 1, False)],
)
def test_beside_vectors_only_words_that_must_be_missing_count(q: str, ratio: float, counted: bool) -> None:
    """A node does not look at vectors for the hits by words that it was asked for, if these are none."""
    near = {"vector": [1, 0], "hybrid": {"embedder": "e", "semanticRatio": ratio}}
    body = prepared({"q": q, **near, "facets": ["a"]}).for_count([ShardId(0)])
    assert {key: body[key] for key in body if key not in ("facets", "filter")} == (
        {"q": q, **near, "limit": 1} if counted else {"limit": 0}
    )
    above = prepared({"q": q, **near, "rankingScoreThreshold": 0.5, "page": 1}).for_count([ShardId(0)])
    assert (above["vector"], above["hitsPerPage"], "q" in above) == ([1, 0], 1000, counted)
    assert above["attributesToRetrieve"] == []
    none = prepared({"q": q, **near, "rankingScoreThreshold": 0.5, "hitsPerPage": 0}).for_count([ShardId(0)])
    assert none["hitsPerPage"] == 0
