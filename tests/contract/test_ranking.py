"""Ranking: the order of the hits and what the rules say about them, written down from Meilisearch 1.50."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.corpus import BASE, DOCUMENTS, SETTINGS
from tests.contract.server import Index, Server

ORDERS: list[tuple[str, str, list[int]]] = [
    ("default", "sun", [2, 1]),
    ("default", "sunflower", [1, 2]),
    ("default", "sun flower", [2, 1]),
    ("default", "sunflowers", [2, 1]),
    ("default", "flower sun", [2, 1]),
    ("default", "quick brown fox", [3, 4]),
    ("default", "qick brown fox", []),
    ("default", "quick fox brown", [3, 4]),
    ("default", "hello world", [5, 3, 20, 4, 6, 11, 7]),
    ("default", "world hello", [4, 20, 5, 3, 11, 6, 7]),
    ("default", "hello wor", [5, 3, 20, 4, 6, 11, 7]),
    ("default", "helo world", [7]),
    ("default", '"hello world"', [5, 3]),
    ("default", '"hello world" fox', [3, 5]),
    ("default", "hello -world", [7]),
    ("default", "-hello", [1, 2, 7, 8, 9, 10, 12, 13, 14, 15, 16, 17, 18, 19]),
    ("default", '-"hello world" hello', [4, 6, 11, 20, 7]),
    ("default", "élève", [8]),
    ("default", "oeuvre", [8]),
    ("default", "newyork", [9, 10]),
    ("default", "new york city", [9, 10, 14]),
    ("default", "york new city", [9, 10]),
    ("default", "intresting", [12]),
    ("default", "enteresting", [12]),
    ("default", "a b c d e f g h i j k l m", [13, 19, 5, 1, 8, 14]),
    ("default", "galaxy far away", [14, 15]),
    ("default", "far far", [14]),
    ("default", "leia father", [14]),
    ("default", "batman", [16, 18, 17]),
    ("default", "bat man", [17, 16, 18]),
    ("default", "2001", [3, 4, 7]),
    ("default", "1,000", [19, 1]),
    ("default", "john doe", [19]),
    ("default", "§", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]),
    ("default", "§¶", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]),
    ("default", "", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]),
    ("default", "zzz hello", []),
    ("default", "the", [1, 3, 4, 9, 15, 16, 6, 5, 13]),
    ("default", "HELLO WORLD!", [5, 3, 20, 4, 6, 11, 7]),
    ("default", "hello, world", [20, 5, 6, 11, 4, 3, 7]),
    ("default", "h", [5, 6, 7, 11, 20, 4, 14, 13, 1, 19, 3]),
    ("default", "hell", [5, 6, 11, 20, 4, 3]),
    ("default", "over the lazy dog", [3]),
    ("default", '"quick brown" "lazy dog"', [3]),
    ("default", '"quick fox"', []),
    ("default", 'hello"world"', [5, 3, 6, 20, 11, 4]),
    ("default", "theta iota kappa", [13]),
    ("default", "empires strikes", [15]),
    ("listed", "sun", [2, 1]),
    ("listed", "hello world", [5, 3, 20, 4, 6, 11, 7]),
    ("listed", "quick fox", [3, 4]),
    ("listed", "world hello", [20, 4, 5, 3, 6, 11, 7]),
    ("listed", "plant", [2, 1]),
    ("stop", "the sun", [1, 2]),
    ("stop", '"the sun"', [2, 1]),
    ("stop", "over the lazy dog", [3]),
    ("syn", "nyc", [10, 9]),
    ("syn", "new york", [9, 10, 14]),
    ("syn", "fox", [3, 4]),
    ("syn", "wide world", [5]),
    ("syn", "hi", [5, 6, 11, 20, 4, 3, 13]),
    ("attr", "hello world", [5, 3, 20, 4, 6, 11, 7]),
    ("attr", "sun flower", [2, 1]),
    ("attr", "world", [11, 5, 6, 4, 20, 3, 7]),
    ("rules", "hello world", [5, 20, 6, 3, 4, 11, 7]),
    ("rules", "world", [11, 4, 20, 6, 3, 5, 7]),
    ("rules", "sunflower", [1, 2]),
    ("rules2", "hello world", [5, 7, 6, 20, 11, 3, 4]),
    ("rules2", "sun flower", [2, 1]),
    ("pk", "", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]),
    ("pk", "hello", [11, 20, 5, 6, 4, 3, 7]),
    ("pk", "world", [11, 4, 20, 5, 6, 3, 7]),
    ("typo", "helo", [7, 6, 11, 20, 4, 3]),
    ("typo", "wrold", [6, 4, 20, 5, 3]),
    ("typo", "200", [2, 3, 4, 7]),
    ("typo", "star wars", [14, 15]),
    ("notypo", "helo world", [7]),
    ("notypo", "hell", []),
    ("notypo", "sun", [2, 1]),
    ("byattr", "hello world", [5, 20, 4, 6, 3, 11, 7]),
    ("byattr", "dog quick", [3]),
    ("seps", "e-mail", [19]),
    ("seps", "bat man", [17, 16, 18]),
    ("seps", "john.doe@example.com", [19]),
]


@pytest.fixture(scope="module")
def corpora(server: Server) -> dict[str, Index]:
    """The corpus under each set of settings, made on first use."""
    return {}


def corpus(server: Server, corpora: dict[str, Index], name: str) -> Index:
    if name not in corpora:
        corpora[name] = server.index(DOCUMENTS, {**BASE, **SETTINGS[name]})
    return corpora[name]


@pytest.mark.parametrize(("settings", "query", "expected"), ORDERS)
def test_hits_stand_in_this_order(
    server: Server, corpora: dict[str, Index], settings: str, query: str, expected: list[int]
) -> None:
    assert corpus(server, corpora, settings).ids(q=query) == expected


def details(index: Index, number: int, **body: Any) -> dict[str, Any]:
    """The score details of one hit."""
    hits = index.search(showRankingScoreDetails=True, showRankingScore=True, **body)["hits"]
    found: dict[str, Any] = next(hit for hit in hits if hit["id"] == number)
    said: dict[str, Any] = found["_rankingScoreDetails"]
    return {**said, "_score": round(found["_rankingScore"], 9)}


def test_details_name_every_rule_in_order(server: Server, corpora: dict[str, Index]) -> None:
    found = details(corpus(server, corpora, "default"), 3, q="quick fox", sort=["year:asc"])
    assert list(found)[:-1] == [
        "words", "typo", "proximity", "attributeRank", "year:asc", "wordPosition", "exactness",
    ]  # fmt: skip
    assert [entry["order"] for entry in list(found.values())[:-1]] == list(range(7))


DETAILS: list[tuple[str, str, int, dict[str, Any]]] = [
    (
        "default",
        "sun flower",
        2,
        {
            "words": {"order": 0, "matchingWords": 2, "maxMatchingWords": 2, "score": 1.0},
            "typo": {"order": 1, "typoCount": 0, "maxTypoCount": 2, "score": 1.0},
            "proximity": {"order": 2, "score": 1.0},
            "attributeRank": {"order": 3, "score": 1.0},
            "wordPosition": {"order": 4, "score": 1.0},
            "exactness": {"order": 5, "matchType": "matchesStart", "score": 0.666666667},
            "_score": 0.999338624,
        },
    ),
    (
        "default",
        "sun flower",
        1,
        {
            "words": {"order": 0, "matchingWords": 2, "maxMatchingWords": 2, "score": 1.0},
            "typo": {"order": 1, "typoCount": 0, "maxTypoCount": 2, "score": 1.0},
            "proximity": {"order": 2, "score": 0.25},
            "attributeRank": {"order": 3, "score": 1.0},
            "wordPosition": {"order": 4, "score": 0.571428571},
            "exactness": {
                "order": 5,
                "matchType": "noExactMatch",
                "matchingWords": 1,
                "maxMatchingWords": 2,
                "score": 0.222222222,
            },
            "_score": 0.855599647,
        },
    ),
    (
        "default",
        "quick brown fox",
        4,
        {
            "words": {"order": 0, "matchingWords": 3, "maxMatchingWords": 3, "score": 1.0},
            "typo": {"order": 1, "typoCount": 2, "maxTypoCount": 3, "score": 0.5},
            "proximity": {"order": 2, "score": 1.0},
            "attributeRank": {"order": 3, "score": 1.0},
            "wordPosition": {"order": 4, "score": 0.903225806},
            "exactness": {
                "order": 5,
                "matchType": "noExactMatch",
                "matchingWords": 1,
                "maxMatchingWords": 3,
                "score": 0.166666667,
            },
            "_score": 0.831861239,
        },
    ),
    (
        "default",
        "hello world",
        5,
        {
            "words": {"order": 0, "matchingWords": 2, "maxMatchingWords": 2, "score": 1.0},
            "typo": {"order": 1, "typoCount": 0, "maxTypoCount": 2, "score": 1.0},
            "proximity": {"order": 2, "score": 1.0},
            "attributeRank": {"order": 3, "score": 1.0},
            "wordPosition": {"order": 4, "score": 1.0},
            "exactness": {"order": 5, "matchType": "exactMatch", "score": 1.0},
            "_score": 1.0,
        },
    ),
    (
        "default",
        "world hello",
        5,
        {
            "words": {"order": 0, "matchingWords": 2, "maxMatchingWords": 2, "score": 1.0},
            "typo": {"order": 1, "typoCount": 0, "maxTypoCount": 2, "score": 1.0},
            "proximity": {"order": 2, "score": 0.75},
            "attributeRank": {"order": 3, "score": 1.0},
            "wordPosition": {"order": 4, "score": 0.904761905},
            "exactness": {
                "order": 5,
                "matchType": "noExactMatch",
                "matchingWords": 2,
                "maxMatchingWords": 2,
                "score": 0.333333333,
            },
            "_score": 0.953042328,
        },
    ),
    (
        "default",
        "galaxy far away",
        14,
        {
            "words": {"order": 0, "matchingWords": 3, "maxMatchingWords": 3, "score": 1.0},
            "typo": {"order": 1, "typoCount": 0, "maxTypoCount": 3, "score": 1.0},
            "proximity": {"order": 2, "score": 1.0},
            "attributeRank": {"order": 3, "score": 1.0},
            "wordPosition": {"order": 4, "score": 0.741935484},
            "exactness": {
                "order": 5,
                "matchType": "noExactMatch",
                "matchingWords": 3,
                "maxMatchingWords": 3,
                "score": 0.333333333,
            },
            "_score": 0.996671787,
        },
    ),
    (
        "listed",
        "hello world",
        11,
        {
            "words": {"order": 0, "matchingWords": 2, "maxMatchingWords": 2, "score": 1.0},
            "typo": {"order": 1, "typoCount": 0, "maxTypoCount": 2, "score": 1.0},
            "proximity": {"order": 2, "score": 0.25},
            "attributeRank": {"order": 3, "score": 0.8},
            "wordPosition": {"order": 4, "score": 0.952380952},
            "exactness": {
                "order": 5,
                "matchType": "noExactMatch",
                "matchingWords": 2,
                "maxMatchingWords": 2,
                "score": 0.333333333,
            },
            "_score": 0.866005291,
        },
    ),
    (
        "listed",
        "plant",
        1,
        {
            "words": {"order": 0, "matchingWords": 1, "maxMatchingWords": 1, "score": 1.0},
            "typo": {"order": 1, "typoCount": 0, "maxTypoCount": 1, "score": 1.0},
            "proximity": {"order": 2, "score": 1.0},
            "attributeRank": {"order": 3, "score": 0.333333333},
            "wordPosition": {"order": 4, "score": 1.0},
            "exactness": {"order": 5, "matchType": "matchesStart", "score": 0.666666667},
            "_score": 0.661616162,
        },
    ),
    (
        "attr",
        "hello world",
        6,
        {
            "words": {"order": 0, "matchingWords": 2, "maxMatchingWords": 2, "score": 1.0},
            "typo": {"order": 1, "typoCount": 0, "maxTypoCount": 2, "score": 1.0},
            "proximity": {"order": 2, "score": 0.5},
            "attribute": {
                "order": 3,
                "attributeRankingOrderScore": 1.0,
                "queryWordDistanceScore": 0.904761905,
                "score": 0.980952381,
            },
            "exactness": {
                "order": 4,
                "matchType": "noExactMatch",
                "matchingWords": 2,
                "maxMatchingWords": 2,
                "score": 0.333333333,
            },
            "_score": 0.915608466,
        },
    ),
    (
        "rules",
        "hello world",
        3,
        {
            "words": {"order": 0, "matchingWords": 2, "maxMatchingWords": 2, "score": 1.0},
            "exactness": {
                "order": 1,
                "matchType": "noExactMatch",
                "matchingWords": 2,
                "maxMatchingWords": 2,
                "score": 0.333333333,
            },
            "typo": {"order": 2, "typoCount": 0, "maxTypoCount": 0, "score": 1.0},
            "year:desc": {"order": 3, "value": 2001.0},
            "proximity": {"order": 4, "score": 1.0},
            "_score": 0.666666667,
        },
    ),
    (
        "pk",
        "hello",
        20,
        {
            "words": {"order": 0, "matchingWords": 1, "maxMatchingWords": 1, "score": 1.0},
            "typo": {"order": 1, "typoCount": 0, "maxTypoCount": 1, "score": 1.0},
            "proximity": {"order": 2, "score": 1.0},
            "attributeRank": {"order": 3, "score": 1.0},
            "wordPosition": {"order": 4, "score": 1.0},
            "exactness": {"order": 5, "matchType": "exactMatch", "score": 1.0},
            "id:asc": {"order": 6, "value": 20.0},
            "_score": 1.0,
        },
    ),
    (
        "typo",
        "wrold",
        6,
        {
            "words": {"order": 0, "matchingWords": 1, "maxMatchingWords": 1, "score": 1.0},
            "typo": {"order": 1, "typoCount": 0, "maxTypoCount": 1, "score": 1.0},
            "proximity": {"order": 2, "score": 1.0},
            "attributeRank": {"order": 3, "score": 1.0},
            "wordPosition": {"order": 4, "score": 0.818181818},
            "exactness": {
                "order": 5,
                "matchType": "noExactMatch",
                "matchingWords": 1,
                "maxMatchingWords": 1,
                "score": 0.333333333,
            },
            "_score": 0.878787879,
        },
    ),
    (
        "syn",
        "nyc",
        9,
        {
            "words": {"order": 0, "matchingWords": 1, "maxMatchingWords": 1, "score": 1.0},
            "typo": {"order": 1, "typoCount": 0, "maxTypoCount": 1, "score": 1.0},
            "proximity": {"order": 2, "score": 1.0},
            "attributeRank": {"order": 3, "score": 1.0},
            "wordPosition": {"order": 4, "score": 1.0},
            "exactness": {
                "order": 5,
                "matchType": "noExactMatch",
                "matchingWords": 1,
                "maxMatchingWords": 1,
                "score": 0.333333333,
            },
            "_score": 0.96969697,
        },
    ),
    (
        "default",
        '"hello world" fox',
        3,
        {
            "words": {"order": 0, "matchingWords": 3, "maxMatchingWords": 3, "score": 1.0},
            "typo": {"order": 1, "typoCount": 0, "maxTypoCount": 1, "score": 1.0},
            "proximity": {"order": 2, "score": 0.25},
            "attributeRank": {"order": 3, "score": 1.0},
            "wordPosition": {"order": 4, "score": 0.714285714},
            "exactness": {
                "order": 5,
                "matchType": "noExactMatch",
                "matchingWords": 2,
                "maxMatchingWords": 2,
                "score": 0.333333333,
            },
            "_score": 0.861772487,
        },
    ),
]


@pytest.mark.parametrize(("settings", "query", "number", "expected"), DETAILS)
def test_rules_say_this_about_a_hit(
    server: Server, corpora: dict[str, Index], settings: str, query: str, number: int, expected: dict[str, Any]
) -> None:
    found = details(corpus(server, corpora, settings), number, q=query)
    assert rounded(found) == expected


def rounded(value: Any) -> Any:
    """Floats to nine places, the rest as it is."""
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    return round(value, 9) if isinstance(value, float) else value


def test_hidden_fields_hide_their_rule(server: Server, corpora: dict[str, Index]) -> None:
    index = server.index(DOCUMENTS, {**BASE, "displayedAttributes": ["id"]})
    found = details(index, 1, q="", sort=["year:asc"])
    assert found == {"<hidden-rule-0>": {"order": 0, "value": "<hidden>"}, "_score": 1.0}


def test_a_threshold_drops_low_scores(server: Server, corpora: dict[str, Index]) -> None:
    index = corpus(server, corpora, "default")
    answer = index.search(q="hello world", rankingScoreThreshold=0.9)
    scores = [hit["_rankingScore"] for hit in index.search(q="hello world", showRankingScore=True)["hits"]]
    assert len(answer["hits"]) == sum(score >= 0.9 for score in scores) == answer["estimatedTotalHits"]


def test_the_last_word_counts_as_exact_where_a_document_has_it(server: Server) -> None:
    index = server.index([{"id": 1, "t": "hello worlds"}, {"id": 2, "t": "a world"}])
    found = details(index, 1, q="hello world")["exactness"]["matchType"]
    expected = "matchesStart" if server.embedded else "noExactMatch"
    assert found == expected, "difference: known-prefix-is-not-exact"


def test_a_document_is_ranked_by_its_own_matches(server: Server) -> None:
    index = server.index([{"id": 1, "t": "hello world"}, {"id": 2, "t": "hallo wolrd"}])
    found = details(index, 1, q="hello wolrd")["exactness"]["matchType"]
    expected = "matchesStart" if server.embedded else "noExactMatch"
    assert found == expected, "difference: paths-are-not-shared"


def test_a_word_may_be_split_in_every_way(server: Server) -> None:
    documents = [{"id": 1, "t": "ab cd"}, {"id": 2, "t": "ab cd"}, {"id": 3, "t": "abc d"}]
    expected = [1, 2, 3] if server.embedded else [1, 2]
    assert sorted(server.index(documents).ids(q="abcd")) == expected, "difference: every-split-counts"
