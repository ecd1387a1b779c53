"""One decision over all hits, and two rankings merged as Meilisearch merges them."""

from __future__ import annotations

from typing import Any

import pytest

from miroir_cli.model import Index, IndexUid
from miroir_cli.search.hybrid import first_of_both, good_enough, groups, merge_rankings, unmergeable
from miroir_cli.search.merge import Ranking
from miroir_cli.search.request import Prepared, prepare
from miroir_cli.search.rules import searchable


def books(**settings: Any) -> Index:
    return Index(
        uid=IndexUid("books"), incarnation=1, primary_key="id", shards=4, replicas=1, settings=settings, tie_break=True
    )


def prepared(**request: Any) -> Prepared:
    found = prepare(request, books())
    assert found is not None
    return found


def by_words(key: int, score: float, **sorts: Any) -> dict[str, Any]:
    details: dict[str, Any] = {"words": {"order": 0, "matchingWords": 1, "maxMatchingWords": 1, "score": 1.0}}
    return {"id": key, "_rankingScore": score, "_rankingScoreDetails": _sorted(details, sorts)}


def by_vector(key: int, near: float | None, **sorts: Any) -> dict[str, Any]:
    details: dict[str, Any] = {"vectorSort": {"order": 0, "similarity": near}}
    return {"id": key, "_rankingScore": near or 0.0, "_rankingScoreDetails": _sorted(details, sorts)}


def _sorted(details: dict[str, Any], sorts: dict[str, Any]) -> dict[str, Any]:
    """Sorts whose names begin with `first_` come before the rule."""
    for place, (name, value) in enumerate(sorts.items(), 1):
        order = -place if name.startswith("first_") else place
        details[f"{name.removeprefix('first_')}:asc"] = {"order": order, "value": value}
    return details


@pytest.mark.parametrize(
    ("scores", "wanted", "ratio", "enough"),
    [
        ([0.95, 0.9], 2, 0.5, True),
        ([0.95, 0.899], 2, 0.5, False),
        ([0.95, 0.9], 3, 0.5, False),
        ([0.95, 0.9], 2, 0.6, False),
        ([0.501, 0.501], 2, 0.1, True),
        ([0.5, 0.5], 2, 0.1, False),
        ([], 0, 0.9, True),
    ],
)
def test_words_alone_are_good_enough_over_all_hits(
    scores: list[float], wanted: int, ratio: float, enough: bool
) -> None:
    """In single precision 0.9 is a little less."""
    hits = [by_words(key, score) for key, score in enumerate(scores)]
    assert good_enough(hits, wanted=wanted, ratio=ratio) is enough


def merged(vectors: list[Any], words: list[Any], *, ratio: float = 0.5, limit: int = 20) -> list[tuple[int, str]]:
    ranking = merge_rankings(
        Ranking(hits=vectors, total=9),
        Ranking(hits=words, total=1),
        prepared(limit=limit),
        ratio=ratio,
        searchable=None,
    )
    assert ranking.total == 9
    return [(hit["id"], "v" if "vectorSort" in hit["_rankingScoreDetails"] else "w") for hit in ranking.hits]


def pinned(key: int, position: int) -> dict[str, Any]:
    return {"id": key, "_rankingScore": 1.0, "_rankingScoreDetails": {"pin": {"order": 0, "position": position}}}


def test_pins_stand_at_their_places_among_the_hits_of_both_rankings() -> None:
    words = [pinned(8, 0), by_words(1, 0.9), pinned(9, 2)]
    vectors = [pinned(8, 0), by_vector(2, 0.8), by_vector(1, 0.7), by_vector(3, 0.6)]
    assert merged(vectors, words) == [(8, "w"), (1, "w"), (9, "w"), (2, "v"), (3, "v")]
    assert merged(vectors, words, limit=4) == [(8, "w"), (1, "w"), (9, "w"), (2, "v")]


def test_the_better_of_the_next_hits_comes_first_each_document_once() -> None:
    vectors = [by_vector(1, 0.9), by_vector(2, 0.6), by_vector(3, 0.2)]
    words = [by_words(3, 0.95), by_words(4, 0.5), by_words(1, 0.4)]
    assert merged(vectors, words) == [(3, "w"), (1, "v"), (2, "v"), (4, "w")]
    assert merged(vectors, words, limit=2) == [(3, "w"), (1, "v")]
    assert merged(vectors, words, ratio=0.9) == [(1, "v"), (2, "v"), (3, "v"), (4, "w")]


def test_a_document_that_shares_a_value_with_a_better_one_falls_away() -> None:
    vectors = [by_vector(1, 0.9), by_vector(2, 0.6), by_vector(3, 0.2)]
    words = [by_words(4, 0.8), by_words(2, 0.5)]
    values = {(0, 1): {"a"}, (0, 4): {"a", "b"}, (0, 2): {"b"}, (0, 3): {"b", "c"}}
    found = first_of_both(vectors, words, prepared(limit=9), ratio=0.5, searchable=None, values=values)
    assert [hit["id"] for hit in found] == [1, 2]
    assert [hit["id"] for hit in first_of_both(vectors, words, prepared(limit=3), ratio=0.5, searchable=None)] == [
        1,
        4,
        2,
    ]


def test_equal_hits_come_by_their_vectors() -> None:
    assert merged([by_vector(1, 0.5)], [by_words(2, 0.5), by_words(1, 0.5)]) == [(1, "v"), (2, "w")]


def test_a_hit_that_has_no_vector_is_the_last() -> None:
    assert merged([by_vector(1, 0.5), by_vector(2, None)], [by_words(2, 0.1)]) == [(1, "v"), (2, "w")]


def test_sorts_behind_the_score_decide_between_equal_ones() -> None:
    vectors, words = [by_vector(1, 0.5, n=2.0)], [by_words(2, 0.5, n=1.0)]
    assert merged(vectors, words) == [(2, "w"), (1, "v")]


def test_a_sort_before_the_score_decides_first() -> None:
    vectors, words = [by_vector(1, 0.9, first_n=2.0)], [by_words(2, 0.1, first_n=1.0)]
    assert merged(vectors, words) == [(2, "w"), (1, "v")]


def test_a_score_beats_a_sort_at_its_place_unless_it_is_nothing() -> None:
    """Where a sort stands between the rules about words, they have two scores; nearness is always one."""
    vector, words = by_vector(1, 0.75, n=1.0, m=0.0), by_words(2, 0.75, n=1.0)
    details = words["_rankingScoreDetails"]
    details["words"] |= {"matchingWords": 3, "maxMatchingWords": 4, "score": 0.75}
    details["exactness"] = {"order": 2, "matchType": "exactMatch", "score": 1.0}
    assert [is_score for is_score, _ in groups(words, None)] == [True, False, True]
    assert merged([vector], [words]) == [(2, "w"), (1, "v")]


def test_distances_are_compared_the_near_ones_first() -> None:
    name = "_geoPoint(48, 2):asc"
    near, far = by_vector(1, 0.5), by_words(2, 0.5)
    near["_rankingScoreDetails"][name] = {"order": 1, "value": {"lat": 48, "lng": 2}, "distance": 0.0}
    far["_rankingScoreDetails"][name] = {"order": 1, "value": {"lat": 49, "lng": 2}, "distance": 111_000.0}
    assert merged([near], [far]) == [(1, "v"), (2, "w")]
    far["_rankingScoreDetails"][name], near["_rankingScoreDetails"][name] = (
        near["_rankingScoreDetails"][name],
        {"order": 1, "value": None, "distance": None},
    )
    assert merged([near], [far]) == [(2, "w"), (1, "v")]


def test_searchable_attributes_are_counted_unless_all_are() -> None:
    assert searchable({"searchableAttributes": ["a", "b"]}) == 2
    assert searchable({"searchableAttributes": ["*"]}) is searchable({}) is None


def test_what_cannot_be_merged_has_a_reason() -> None:
    assert unmergeable({}) is None
    assert "relevancy" in str(unmergeable({"rankingRules": ["sort", "n:asc"]}))
