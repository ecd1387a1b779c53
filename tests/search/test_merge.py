from __future__ import annotations

from typing import Any

import pytest

from miroir_cli.errors import UsageError
from miroir_cli.model import Index, IndexUid, NodeName, ShardId
from miroir_cli.search.merge import NodeAnswer, merge, needs_count
from miroir_cli.search.request import Prepared, prepare


def books(*, tie_break: bool = True, **settings: Any) -> Index:
    return Index(
        uid=IndexUid("books"),
        incarnation=1,
        primary_key="id",
        shards=4,
        replicas=1,
        settings=settings,
        tie_break=tie_break,
    )


def prepared(request: dict[str, Any], index: Index) -> Prepared:
    found = prepare(request, index)
    assert found is not None
    return found


def hit(key: int, words: int = 1, **fields: Any) -> dict[str, Any]:
    details = {"words": {"order": 0, "matchingWords": words, "maxMatchingWords": 3, "score": words / 3}}
    return {"id": key, "_miroir_shard": "§", **fields, "_rankingScoreDetails": details}


def answer(shard: int, *hits: dict[str, Any], total: int | None = None, **more: Any) -> NodeAnswer:
    body = {
        "hits": list(hits),
        "query": "sea",
        "processingTimeMs": 1 + shard,
        "limit": 20,
        "offset": 0,
        "estimatedTotalHits": len(hits) if total is None else total,
        **more,
        "requestUid": f"uid-{shard}",
    }
    return NodeAnswer(node=NodeName(f"n{shard}"), shards=(ShardId(shard),), body=body)


def merged(request: dict[str, Any], *answers: NodeAnswer, index: Index | None = None) -> dict[str, Any]:
    index = index or books()
    return merge(prepared(request, index), answers, index)


def ids(body: dict[str, Any]) -> list[int]:
    return [hit["id"] for hit in body["hits"]]


def test_the_body_is_that_of_one_node() -> None:
    found = merged({"q": "sea", "limit": 3}, answer(1, hit(4, 3), hit(2, 1)), answer(0, hit(3, 2), hit(1, 1)))
    assert list(found.items()) == [
        ("hits", [{"id": 4}, {"id": 3}, {"id": 1}]),
        ("query", "sea"),
        ("processingTimeMs", 2),
        ("limit", 3),
        ("offset", 0),
        ("estimatedTotalHits", 4),
        ("requestUid", "uid-0"),
    ]


def test_pages_are_cut_from_the_whole() -> None:
    parts = [{"hitsPerPage": 4, "page": 1, "totalPages": 2, "totalHits": 5}, {"totalHits": 3}]
    answers = [
        NodeAnswer(
            node=NodeName(f"n{place}"),
            shards=(ShardId(place),),
            body={"hits": [hit(place + 2 * step) for step in range(4)], "processingTimeMs": 0, **part},
        )
        for place, part in enumerate(parts)
    ]
    found = merged({"page": 2, "hitsPerPage": 2}, *answers)
    assert ids(found) == [2, 3]
    assert {key: found[key] for key in ("page", "hitsPerPage", "totalPages", "totalHits")} == {
        "hitsPerPage": 2,
        "page": 2,
        "totalPages": 4,
        "totalHits": 8,
    }
    assert "limit" not in found


def test_no_hit_beyond_the_most_that_the_index_gives() -> None:
    index = books(pagination={"maxTotalHits": 3})
    found = merged({"offset": 2, "limit": 5}, answer(0, hit(1), hit(3)), answer(1, hit(2), hit(4)), index=index)
    assert ids(found) == [3]
    assert found["estimatedTotalHits"] == 4


def test_without_a_tie_break_the_nodes_order_stays() -> None:
    found = merged({}, answer(1, hit(1), hit(9)), answer(0, hit(8), hit(2), hit(5)), index=books(tie_break=False))
    assert ids(found) == [8, 2, 5, 1, 9]


def test_one_nodes_answer_is_only_cut_and_cleaned() -> None:
    found = merged({"offset": 1, "limit": 1}, answer(0, hit(5, 1), hit(4, 3), hit(3, 2), total=70))
    assert found["hits"] == [{"id": 4}]
    assert (found["estimatedTotalHits"], found["limit"], found["offset"]) == (70, 1, 1)


def test_facets_are_shown_to_who_asked() -> None:
    facets: dict[str, Any] = {"facetDistribution": {"color": {"red": 1}}, "facetStats": {}}
    asked = merged({"facets": ["color"]}, answer(0, hit(1), **facets), answer(1, hit(2), **facets))
    assert asked["facetDistribution"] == {"color": {"red": 2}}
    assert list(asked)[-3:] == ["facetDistribution", "facetStats", "requestUid"]
    assert "facetDistribution" not in merged({}, answer(0, hit(1), **facets), answer(1, hit(2), **facets))


def test_of_equal_distinct_values_the_best_hit_stays() -> None:
    found = merged(
        {"distinct": "isbn"},
        answer(0, hit(1, 3, isbn="A"), hit(2, 1, isbn="b")),
        answer(1, hit(3, 2, isbn=" a"), hit(4, 1), hit(5, 1, isbn=None), hit(6, 1, isbn=7), hit(7, 1, isbn=7.0)),
    )
    assert ids(found) == [1, 2, 4, 5, 6]
    assert found["estimatedTotalHits"] == 5


def test_distinct_values_are_counted_once_over_all_nodes() -> None:
    def page(shard: int, total: int, values: dict[str, int]) -> NodeAnswer:
        body = {"hits": [], "hitsPerPage": 0, "page": 1, "totalPages": 0, "totalHits": total}
        return NodeAnswer(
            node=NodeName(f"n{shard}"),
            shards=(ShardId(shard),),
            body={**body, "facetDistribution": {"isbn": values}, "facetStats": {}},
        )

    found = merged(
        {"distinct": "isbn", "hitsPerPage": 0}, page(0, 4, {"a": 1, "b": 1}), page(1, 3, {"B": 1, "c": 1, "d": 1})
    )
    assert found["totalHits"] == 4 + 2
    assert "facetDistribution" not in found


def test_several_values_in_a_distinct_attribute_are_refused_where_they_matter() -> None:
    several = hit(3, 2, isbn=["a", "b"])
    with pytest.raises(UsageError, match="several values"):
        merged({"distinct": "isbn"}, answer(0, hit(1, 3, isbn="a")), answer(1, several))
    assert ids(merged({"distinct": "isbn"}, answer(0, hit(1, 3, isbn="c")), answer(1, hit(3, 2, isbn=["a", "b"])))) == [
        1,
        3,
    ]


def test_documents_below_the_threshold_are_counted_apart_when_one_node_would_count_them() -> None:
    index = books()
    request = prepared({"rankingScoreThreshold": 0.5, "limit": 2}, index)
    enough = [answer(0, hit(1), hit(2)), answer(1, hit(3))]
    assert needs_count(request, enough)
    assert not needs_count(request, [answer(0, hit(1)), answer(1)])
    assert not needs_count(request, enough[:1])
    assert not needs_count(prepared({"limit": 2}, index), enough)
    counted = [answer(0, total=90), answer(1, total=9)]
    assert merge(request, enough, index, counted=counted)["estimatedTotalHits"] == 99


def test_documents_that_share_a_value_with_a_hit_are_not_counted_and_others_are() -> None:
    index = books()
    request = prepared({"distinct": "isbn", "limit": 2}, index)
    found = [answer(0, hit(1, 3, isbn="A"), hit(2, 1, isbn="x")), answer(1, hit(3, 2, isbn=7))]
    assert needs_count(request, found)
    counted = [
        answer(0, total=10, facetDistribution={"isbn": {"A": 3, "x": 4}}),
        answer(1, total=5, facetDistribution={"isbn": {"a": 1, "7": 2, "y": 2}}),
    ]
    assert merge(request, found, index, counted=counted)["estimatedTotalHits"] == 15 - (4 - 1) - (2 - 1)
