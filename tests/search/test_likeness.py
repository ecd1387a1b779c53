from __future__ import annotations

from typing import Any

import pytest

from miroir_cli.errors import UsageError
from miroir_cli.model import ABSENT_FIELD, Index, IndexUid, NodeName, ShardId
from miroir_cli.search.likeness import (
    Likeness,
    assemble_similar,
    check_settings,
    likeness_of,
    nearest,
    search_by,
    vector_of,
)
from miroir_cli.search.merge import NodeAnswer

EMBEDDERS = {"embedders": {"e": {"source": "userProvided", "dimensions": 2}}}


def films(**settings: Any) -> Index:
    return Index(
        uid=IndexUid("films"), incarnation=1, primary_key="id", shards=4, replicas=1, tie_break=True,
        settings={**EMBEDDERS, **settings},
    )  # fmt: skip


def asked(**request: Any) -> Likeness:
    found = likeness_of({"id": 1, "embedder": "e", **request}, EMBEDDERS)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"id": 1},
        {"embedder": "e"},
        {"id": 1.5, "embedder": "e"},
        {"id": True, "embedder": "e"},
        {"id": "a b", "embedder": "e"},
        {"id": 1, "embedder": "none"},
        {"id": 1, "embedder": "e", "limit": -1},
        {"id": 1, "embedder": "e", "offset": "1"},
        {"id": 1, "embedder": "e", "rankingScoreThreshold": 2},
        {"id": 1, "embedder": "e", "q": "x"},
    ],
)
def test_what_is_wrong_is_left_to_a_node(request_: dict[str, Any]) -> None:
    assert likeness_of(request_, EMBEDDERS) is None


def test_nodes_are_asked_for_the_nearest_and_one_more() -> None:
    request = {"filter": "n = 1", "limit": 5, "offset": 2, "rankingScoreThreshold": 0.5}
    prepared = search_by([1, 0], asked(**request), films(pagination={"maxTotalHits": 3}))
    assert prepared is not None
    body = nearest(prepared, asked(**request), [ShardId(0)])
    assert {key: body[key] for key in ("vector", "hybrid", "limit", "offset")} == {
        "vector": [1, 0], "hybrid": {"embedder": "e", "semanticRatio": 1}, "limit": 8, "offset": 0,
    }  # fmt: skip
    assert body["filter"][0] == "n = 1"
    assert not {"rankingScoreThreshold", "distinct"} & body.keys()


def test_a_distinct_attribute_leaves_none_of_them_out() -> None:
    prepared = search_by([1, 0], asked(), films(distinctAttribute="n"))
    assert prepared is not None
    assert nearest(prepared, asked(), [ShardId(0)])["distinct"] == ABSENT_FIELD


def test_without_a_vector_they_are_only_counted() -> None:
    prepared = search_by(None, asked(), films())
    assert prepared is not None
    body = nearest(prepared, asked(), [ShardId(0)])
    assert (body["limit"], "vector" in body) == (0, False)


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"rankingRules": ["n:asc", "words"]}, "n:asc"),
        ({"rankingRules": ["sort"]}, "no rule"),
    ],
)
def test_settings_that_change_what_a_search_finds_are_refused(settings: dict[str, Any], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        check_settings(settings)


@pytest.mark.parametrize("settings", [{}, {"rankingRules": ["sort", "typo", "n:asc"]}, {"distinctAttribute": "n"}])
def test_other_settings_do_not_matter(settings: dict[str, Any]) -> None:
    check_settings(settings)


def test_a_document_has_one_vector_or_none() -> None:
    assert vector_of({"_vectors": {"e": {"embeddings": [[1, 0]]}}}, asked()) == [1, 0]
    assert vector_of({"_vectors": {"e": {"embeddings": []}}}, asked()) is vector_of({}, asked()) is None
    with pytest.raises(UsageError, match="several vectors"):
        vector_of({"_vectors": {"e": {"embeddings": [[1, 0], [0, 1]]}}}, asked())


def hit(key: int, near: float | None) -> dict[str, Any]:
    details = {"vectorSort": {"order": 0, "similarity": near}, "id:asc": {"order": 1, "value": float(key)}}
    return {"id": key, "_miroir_shard": "§", "_rankingScore": near or 0.0, "_rankingScoreDetails": details}


def answered(*hits: dict[str, Any], shard: int = 0, total: int = 10) -> NodeAnswer:
    body = {"hits": list(hits), "processingTimeMs": shard, "limit": 9, "offset": 0, "estimatedTotalHits": total}
    return NodeAnswer(node=NodeName(f"n{shard}"), shards=(ShardId(shard),), body=body)


def assembled(
    *answers: NodeAnswer, index: Index | None = None, among_them: bool = True, **request: Any
) -> dict[str, Any]:
    index = index or films()
    prepared = search_by([1, 0], asked(**request), index)
    assert prepared is not None
    return assemble_similar(asked(**request), prepared, answers, index, among_them=among_them)


def test_the_nearest_of_all_nodes_without_the_document_itself() -> None:
    found = assembled(
        answered(hit(1, 1.0), hit(4, 0.7), hit(6, None)), answered(hit(3, 0.9), hit(2, 0.7), shard=1, total=5)
    )
    assert found == {
        "hits": [{"id": 3}, {"id": 2}, {"id": 4}],
        "id": "1",
        "processingTimeMs": 1,
        "limit": 20,
        "offset": 0,
        "estimatedTotalHits": 14,
    }


def test_details_name_nearness_alone() -> None:
    found = assembled(answered(hit(2, 0.5)), showRankingScoreDetails=True, showRankingScore=True)
    details = {"vectorSort": {"order": 0, "similarity": 0.5}}
    assert found["hits"] == [{"id": 2, "_rankingScore": 0.5, "_rankingScoreDetails": details}]


@pytest.mark.parametrize(
    ("request_", "among_them", "ids", "total"),
    [
        ({}, False, [2, 3, 4, 5], 10),
        ({"limit": 2, "offset": 1}, True, [3, 4], 9),
        ({"rankingScoreThreshold": 0.75}, True, [2, 3], 2),
        ({"rankingScoreThreshold": 0.75, "limit": 2}, True, [2, 3], 9),
        ({"rankingScoreThreshold": 0.75, "offset": 3}, True, [], 3),
    ],
)
def test_pages_and_totals(request_: dict[str, Any], among_them: bool, ids: list[int], total: int) -> None:
    """One Meilisearch does not look whether what it skips is near enough."""
    hits = [hit(1, 1.0), hit(2, 0.9), hit(3, 0.8), hit(4, 0.7), hit(5, 0.6)]
    found = assembled(answered(*hits), among_them=among_them, **request_)
    assert [each["id"] for each in found["hits"]] == ids
    assert found["estimatedTotalHits"] == total


def test_the_total_is_cut_where_hits_of_a_search_are() -> None:
    index = films(pagination={"maxTotalHits": 4})
    assert assembled(answered(hit(2, 0.9)), index=index, limit=2)["estimatedTotalHits"] == 4
    full = answered(*[hit(key, 0.5) for key in range(2, 9)])
    assert len(assembled(full, index=index, limit=6)["hits"]) == 6
