"""Which differences a request is warned of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from miroir_cli.model import Index, IndexUid
from miroir_cli.search.caveats import caveats
from miroir_cli.search.request import prepare

PAGE = Path(__file__).parents[2] / "docs" / "concepts" / "exactness.md"


def of(request: dict[str, Any], **settings: Any) -> tuple[str, ...]:
    index = Index(uid=IndexUid("books"), incarnation=1, primary_key="id", shards=4, replicas=1, settings=settings)
    prepared = prepare(request, index)
    assert prepared is not None
    return caveats(prepared, settings)


def test_a_plain_search_has_none() -> None:
    assert of({"q": "sea", "filter": "year > 1950", "sort": ["year:asc"], "limit": 5}) == ()


@pytest.mark.parametrize(
    ("request_", "settings", "name"),
    [
        ({"q": "sea", "showRankingScore": True}, {}, "`_rankingScore`"),
        ({"q": "sea", "rankingScoreThreshold": 0.5}, {}, "`rankingScoreThreshold`"),
        ({"q": "sea", "matchingStrategy": "frequency"}, {}, "`matchingStrategy: frequency`"),
        ({"q": "sea", "attributesToHighlight": ["*"]}, {}, "highlighting"),
        ({"facets": ["color"]}, {}, "spelling of a facet value"),
        ({"facets": ["color"]}, {}, "a number and its text in one facet"),
        (
            {"facets": ["color"]},
            {"faceting": {"sortFacetValuesBy": {"*": "count"}}},
            "facet values of equal counts",
        ),
        (
            {},
            {"distinctAttribute": "color"},
            "`estimatedTotalHits` with a `distinctAttribute` that is not filterable",
        ),
        (
            {"q": "sea", "rankingScoreThreshold": 0.5, "sort": ["year:asc"]},
            {},
            "`estimatedTotalHits` and facets with `rankingScoreThreshold` and a sort before a relevancy rule",
        ),
        (
            {"q": "sea", "rankingScoreThreshold": 0.5},
            {"rankingRules": ["words", "price:desc", "typo"]},
            "`estimatedTotalHits` and facets with `rankingScoreThreshold` and a sort before a relevancy rule",
        ),
        (
            {"vector": [1.0], "hybrid": {"embedder": "own", "semanticRatio": 1.0}},
            {},
            "hits whose vectors are equally near, more of them than fit",
        ),
        (
            {"q": "sea", "hybrid": {"embedder": "own"}, "rankingScoreThreshold": 0.2},
            {},
            "`estimatedTotalHits` of a hybrid search with `rankingScoreThreshold`",
        ),
        (
            {"q": "sea", "hybrid": {"embedder": "own"}, "rankingScoreThreshold": 0.2, "distinct": "color", "page": 1},
            {},
            "`estimatedTotalHits` of a hybrid search with `rankingScoreThreshold`",
        ),
        (
            {"retrieveVectors": True},
            {"displayedAttributes": ["title"]},
            "`retrieveVectors` with listed `displayedAttributes`",
        ),
    ],
)
def test_what_a_request_falls_under_is_named_as_on_the_page(
    request_: dict[str, Any], settings: dict[str, Any], name: str
) -> None:
    assert name in of(request_, **settings)
    assert f"\n| {name} |" in PAGE.read_text()


@pytest.mark.parametrize(
    ("request_", "settings"),
    [
        ({"showRankingScore": True}, {}),
        ({"attributesToHighlight": ["*"]}, {}),
        ({"matchingStrategy": "frequency"}, {}),
        ({}, {"distinctAttribute": "color", "filterableAttributes": ["color"]}),
    ],
)
def test_without_words_or_with_the_right_settings_nothing_is_doubtful(
    request_: dict[str, Any], settings: dict[str, Any]
) -> None:
    assert of(request_, **settings) == ()
