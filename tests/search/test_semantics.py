from __future__ import annotations

from typing import Any

import pytest

from miroir_cli.search.semantics import (
    Semantics,
    checking_request,
    embedding_request,
    keyword_request,
    semantics_of,
    settle_vectors,
    vector_request,
)

HYBRID = {"embedder": "e"}


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        ({}, "keyword"),
        ({"q": "sea"}, "keyword"),
        ({"q": "sea", "hybrid": {**HYBRID, "semanticRatio": 0}}, "keyword"),
        ({"hybrid": HYBRID}, "keyword"),
        ({"q": " ", "hybrid": {**HYBRID, "semanticRatio": 1}}, "keyword"),
        ({"q": "sea", "hybrid": {**HYBRID, "semanticRatio": 1}}, "semantic"),
        ({"vector": [1], "hybrid": HYBRID}, "semantic"),
        ({"q": "", "vector": [1], "hybrid": HYBRID}, "semantic"),
        ({"q": "sea", "hybrid": HYBRID}, "hybrid"),
        ({"q": "sea", "vector": [1], "hybrid": {**HYBRID, "semanticRatio": 0.99999999}}, "semantic"),
        ({"q": "sea", "vector": [1], "hybrid": {**HYBRID, "semanticRatio": 0.9999999}}, "hybrid"),
    ],
)
def test_a_request_ranks_by_words_by_vectors_or_by_both(request_: dict[str, Any], kind: str) -> None:
    asked = semantics_of(request_)
    assert asked is not None
    assert asked.kind == kind


@pytest.mark.parametrize(
    "request_",
    [
        {"q": 1},
        {"vector": [1]},
        {"vector": "x", "hybrid": HYBRID},
        {"vector": [True], "hybrid": HYBRID},
        {"hybrid": "e"},
        {"hybrid": {}},
        {"hybrid": {"embedder": 1}},
        {"hybrid": {**HYBRID, "semanticRatio": 1.5}},
        {"hybrid": {**HYBRID, "semanticRatio": True}},
        {"hybrid": {**HYBRID, "more": 1}},
    ],
)
def test_what_is_wrong_is_left_to_a_node(request_: dict[str, Any]) -> None:
    assert semantics_of(request_) is None


def test_shares_are_in_single_precision() -> None:
    asked = semantics_of({"q": "sea", "hybrid": {**HYBRID, "semanticRatio": 0.1}})
    assert asked is not None
    assert asked.ratio == 0.10000000149011612


def test_the_two_parts_of_a_hybrid_search() -> None:
    request = {"q": "sea", "filter": "n = 1", "vector": [1, 0], "hybrid": {**HYBRID, "semanticRatio": 0.3}, "limit": 5}
    asked = semantics_of(request)
    assert asked is not None
    assert keyword_request(request) == {"q": "sea", "filter": "n = 1", "limit": 5}
    near = vector_request(request, asked, [1, 0])
    assert near == {**request, "hybrid": {"embedder": "e", "semanticRatio": 0.99999994}}
    assert checking_request(request) == {"q": "sea", "vector": [1, 0], "hybrid": request["hybrid"], "limit": 0}


def test_a_node_is_asked_for_the_vector_of_a_text() -> None:
    asked = Semantics(kind="hybrid", embedder="e", ratio=0.5)
    assert embedding_request({"q": "sea", "limit": 9}, asked) == {
        "q": "sea", "hybrid": {"embedder": "e", "semanticRatio": 1}, "retrieveVectors": True, "limit": 0,
        "filter": "_miroir_shard IN []",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("displayed", "hits", "expected"),
    [
        ({"id"}, [{"_vectors": 1}, {}], [{"_vectors": 1}, {"_vectors": {}}]),
        ({"id"}, [{}, {}], [{}, {}]),
        ({"_vectors"}, [{"_vectors": 1}, {}], [{}, {}]),
        ({"_vectors"}, [{"_vectors": 1}, {"_vectors": 2}], [{"_vectors": 1}, {"_vectors": 2}]),
    ],
)
def test_vectors_show_in_all_hits_or_in_none(displayed: set[str], hits: list[Any], expected: list[Any]) -> None:
    settle_vectors(hits, frozenset(displayed))
    assert hits == expected


@pytest.mark.parametrize(
    ("more", "distinct", "sees"),
    [
        ({}, True, False),
        ({}, False, True),
        ({"attributesToHighlight": ["*"]}, True, True),
        ({"showMatchesPosition": True}, True, True),
        ({"q": "sea -land"}, True, True),
    ],
)
def test_with_distinct_nodes_see_words_only_to_mark_them_or_to_leave_them_out(
    more: dict[str, Any], distinct: bool, sees: bool
) -> None:
    request = {"q": "sea", "hybrid": {"embedder": "e"}, **more}
    asked = semantics_of(request)
    assert asked is not None
    body = vector_request(request, asked, [1, 0], distinct=distinct)
    assert (body["hybrid"]["semanticRatio"] < 1) is sees
