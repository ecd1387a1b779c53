from __future__ import annotations

from typing import Any

import pytest

from miroir_cli.errors import ReservedField, UsageError
from miroir_cli.model import Index, IndexUid, ShardId
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
    assert sent({"sort": ["_geoPoint(1, 2):asc"], "limit": 999})["limit"] == 1000


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


def test_distinct_values_are_counted_through_facets_where_counts_are_exact() -> None:
    by_page = prepared({"distinct": "isbn", "page": 1})
    assert (by_page.body["facets"], by_page.counts_values, by_page.facets) == (["isbn"], True, None)
    assert "facets" not in prepared({"distinct": "isbn"}).body


@pytest.mark.parametrize(
    ("request_", "settings", "reason"),
    [
        ({"distinct": "isbn", "facets": ["a"]}, {}, "facets"),
        ({"distinct": "isbn", "rankingScoreThreshold": 0.5}, {}, "rankingScoreThreshold"),
        ({"page": 1}, {"distinctAttribute": "isbn"}, "filterableAttributes"),
        ({"distinct": "isbn"}, {"displayedAttributes": ["id"]}, "displayedAttributes"),
    ],
)
def test_what_one_node_alone_could_answer_is_known(
    request_: dict[str, Any], settings: dict[str, Any], reason: str
) -> None:
    assert reason in (prepared(request_, books(**settings)).unmergeable or "")


def test_plain_requests_can_be_merged() -> None:
    for request in ({}, {"distinct": "isbn"}, {"facets": ["a"], "rankingScoreThreshold": 0.2}):
        assert prepared(request).unmergeable is None


def test_counting_asks_for_no_hits_and_no_score() -> None:
    request = {"q": "sea", "rankingScoreThreshold": 0.9, "matchingStrategy": "all", "sort": ["a:asc"], "limit": 5}
    assert prepared(request).for_count([ShardId(0)]) == {
        "q": "sea",
        "matchingStrategy": "all",
        "limit": 0,
        "filter": ['_miroir_shard IN ["§"]'],
    }
