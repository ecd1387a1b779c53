from __future__ import annotations

from typing import Any

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


def test_a_page_that_ends_all_results_is_counted_apart_when_it_is_full() -> None:
    index = books(pagination={"maxTotalHits": 3})
    request: dict[str, Any] = {"rankingScoreThreshold": 0.5, "page": 2, "hitsPerPage": 2}
    full = [answer(0, hit(1), hit(2)), answer(1, hit(3))]
    assert needs_count(prepared(request, index), full)
    assert needs_count(prepared(request, index), [answer(0, hit(1), hit(2), hit(3))])
    assert not needs_count(prepared(request, index), full[:1])
    assert not needs_count(prepared({**request, "page": 1}, index), full)
    assert not needs_count(prepared({"page": 2, "hitsPerPage": 2}, index), full)


def test_facets_are_those_of_the_answers_that_count() -> None:
    index = books()
    request = prepared({"rankingScoreThreshold": 0.5, "limit": 1, "facets": ["color"]}, index)
    few: dict[str, Any] = {"facetDistribution": {"color": {"red": 1}}, "facetStats": {}}
    many: dict[str, Any] = {"facetDistribution": {"color": {"red": 7, "blue": 2}}, "facetStats": {}}
    counted = [answer(0, total=9, **many), answer(1, total=0, **{**few, "facetDistribution": {"color": {}}})]
    found = merge(request, [answer(0, hit(1), **few), answer(1, **few)], index, counted=counted)
    assert found["facetDistribution"] == {"color": {"blue": 2, "red": 7}}
