"""Vectors: embedders, `_vectors` of documents, semantic and hybrid search, similar documents."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.server import Index, Server, refusal

GIVEN = {"source": "userProvided", "dimensions": 2}
EMBEDDERS = {"embedders": {"given": GIVEN}}
HYBRID = {"embedder": "given"}
DOCUMENTS = [
    {"id": 1, "title": "red sun", "n": 3, "_vectors": {"given": [1, 0]}},
    {"id": 2, "title": "red moon", "n": 1, "_vectors": {"given": [0.9, 0.1]}},
    {"id": 3, "title": "blue sun", "n": 2, "_vectors": {"given": [[0, 1], [0.5, 0.5]]}},
    {"id": 4, "title": "red sun zero", "n": 5, "_vectors": {"given": None}},
    {"id": 5, "title": "x", "n": 4, "_vectors": {"given": [-1, 0]}},
    {"id": 6, "title": "x", "n": 4, "_vectors": {"given": [0, 0]}},
]


@pytest.fixture(scope="module")
def corpus(server: Server) -> Index:
    return server.index(DOCUMENTS, {**EMBEDDERS, "sortableAttributes": ["n"], "filterableAttributes": ["n", "title"]})


@pytest.mark.parametrize(
    ("embedder", "words"),
    [
        ({"source": "userProvided"}, "Missing field `dimensions`"),
        ({"source": "userProvided", "dimensions": 0}, "cannot be zero"),
        ({"source": "userProvided", "dimensions": "x"}, "expected a positive integer"),
        ({"source": "userProvided", "dimensions": -1}, "expected a positive integer"),
        ({"source": "userProvided", "dimensions": 2, "model": "x"}, "Field `model` unavailable"),
        ({"source": "userProvided", "dimensions": 2, "size": 1}, "Unknown field `size`"),
        ({"source": "none", "dimensions": 2}, "Unknown value `none`"),
        (5, "expected an object"),
    ],
)
def test_wrong_embedders_are_refused(server: Server, embedder: Any, words: str) -> None:
    response = server.index().call("PATCH", "/settings", {"embedders": {"given": embedder}})
    assert refusal(response) == (400, "invalid_settings_embedders")
    assert words in response.json()["message"]


def test_embedders_change_one_by_one_and_part_by_part(server: Server) -> None:
    index = server.index(settings=EMBEDDERS)
    index.succeed("PATCH", "/settings", {"embedders": {"given": {"dimensions": 3}, "other": GIVEN}})
    assert index.call("GET", "/settings/embedders").json() == {"given": {**GIVEN, "dimensions": 3}, "other": GIVEN}
    index.succeed("PATCH", "/settings", {"embedders": {"given": None}})
    assert index.call("GET", "/settings").json()["embedders"] == {"other": GIVEN}
    index.succeed("PATCH", "/settings", {"embedders": None})
    assert index.call("GET", "/settings").json()["embedders"] == {}


def stored(index: Index) -> list[Any]:
    return [document["_vectors"] for document in index.documents(retrieveVectors=True)]


@pytest.mark.parametrize(
    ("given", "embeddings", "regenerate"),
    [
        (None, [], False),
        ([], [], False),
        ([1, 0], [[1, 0]], False),
        ([[1, 0], [0, 1]], [[1, 0], [0, 1]], False),
        ({"regenerate": False}, [], False),
        ({"regenerate": False, "embeddings": [1, 0]}, [[1, 0]], False),
        ({"regenerate": True, "embeddings": [[1, 0]]}, [[1, 0]], True),
        ([0.1, 0.2], [[0.10000000149011612, 0.20000000298023224]], False),
    ],
)
def test_vectors_are_kept_in_full(server: Server, given: Any, embeddings: Any, regenerate: bool) -> None:
    index = server.index([{"id": 1, "_vectors": {"given": given, "other": [1]}}], EMBEDDERS)
    assert stored(index) == [{"given": {"embeddings": embeddings, "regenerate": regenerate}, "other": [1]}]
    assert index.documents() == [{"id": 1}]
    assert index.call("GET", "/stats").json()["fieldDistribution"] == {"id": 1}


@pytest.mark.parametrize(
    ("vectors", "code", "words"),
    [
        (
            {"given": [1, 0, 2]},
            "invalid_vector_dimensions",
            "embedding #0 has dimensions 3\n  - note: embedder `given`",
        ),
        ({"given": [[1, 0], [1]]}, "invalid_vector_dimensions", "embedding #1 has dimensions 1"),
        ({"given": 5}, "invalid_vectors_type", "but got the integer `5`"),
        ({"given": "x"}, "invalid_vectors_type", "but got the string `x`"),
        ({"given": [1, 0], "other": True}, "invalid_vectors_type", "but got the boolean `true`"),
        ({"given": {"embeddings": [1, 0]}}, "invalid_vectors_type", "Missing field `._vectors.given.regenerate`"),
        ({"given": {"regenerate": 5}}, "invalid_vectors_type", "Could not parse `._vectors.given.regenerate`"),
        ({"given": [[1, 0], 5]}, "invalid_vectors_type", "Invalid value type at `._vectors.given"),
        ({"given": {"regenerate": False, "embeddings": "x"}}, "invalid_vectors_type", "`._vectors.given.embeddings`"),
        ({"given": {"regenerate": True}}, "vector_embedding_error", "no vectors provided for document `1`"),
        ({}, "vector_embedding_error", "opt-out for a document with `_vectors.given: null`"),
        (None, "internal", "invalid type"),
    ],
)
def test_wrong_vectors_fail_the_whole_task(server: Server, vectors: Any, code: str, words: str) -> None:
    index = server.index(settings=EMBEDDERS)
    task = index.task("POST", "/documents", [{"id": 2, "_vectors": {"given": [1, 0]}}, {"id": 1, "_vectors": vectors}])
    assert (task["status"], task["error"]["code"]) == ("failed", code)
    assert words in task["error"]["message"]
    assert index.documents() == []


def test_vectors_stay_until_others_come(server: Server) -> None:
    index = server.index([{"id": 1, "_vectors": {"given": [1, 0]}}], EMBEDDERS)
    for method, document in (
        ("POST", {"id": 1, "a": 1}),
        ("PUT", {"id": 1, "b": 1}),
        ("POST", {"id": 1, "_vectors": {"given": {"regenerate": False}}}),
    ):
        index.succeed(method, "/documents", [document])
        assert stored(index) == [{"given": {"embeddings": [[1, 0]], "regenerate": False}}]
    index.succeed("PUT", "/documents", [{"id": 1, "_vectors": {"given": None}}])
    assert stored(index) == [{"given": {"embeddings": [], "regenerate": False}}]
    index.succeed("POST", "/documents", [{"id": 1, "_vectors": {"given": {"regenerate": True, "embeddings": [0, 1]}}}])
    task = index.task("POST", "/documents", [{"id": 1, "a": 1}])
    assert task["error"]["code"] == "vector_embedding_error"


def test_a_new_embedder_takes_the_vectors_that_came_before(server: Server) -> None:
    index = server.index([{"id": 1, "_vectors": {"given": [1, 0]}}, {"id": 2, "_vectors": {"given": None}}])
    assert stored(index)[0] == {"given": [1, 0]}
    index.succeed("PATCH", "/settings", EMBEDDERS)
    assert [vectors["given"]["embeddings"] for vectors in stored(index)] == [[[1, 0]], []]
    assert index.ids(vector=[1, 0], hybrid=HYBRID) == [1, 2]
    task = index.task("PATCH", "/settings", {"embedders": {"other": GIVEN}})
    assert task["error"]["code"] == "vector_embedding_error"
    assert index.call("GET", "/settings/embedders").json() == {"given": GIVEN}


SIMILARITIES = [(1, 1.0), (6, 1.0), (2, 0.996941864490509), (3, 0.8535534143447876), (5, 0.0), (4, None)]


def test_semantic_search_orders_by_nearness(corpus: Index) -> None:
    answer = corpus.search(vector=[1, 0], hybrid=HYBRID, showRankingScore=True, showRankingScoreDetails=True)
    found = [(hit["id"], hit["_rankingScoreDetails"]["vectorSort"]["similarity"]) for hit in answer["hits"]]
    assert [key for key, _ in found] == [key for key, _ in SIMILARITIES]
    assert [near for _, near in found] == pytest.approx([near for _, near in SIMILARITIES], abs=1e-6)
    assert answer["hits"][0]["_rankingScoreDetails"] == {"vectorSort": {"order": 0, "similarity": 1.0}}
    assert [hit["_rankingScore"] for hit in answer["hits"][-2:]] == [0, 0]
    assert (answer["estimatedTotalHits"], answer["semanticHitCount"]) == (6, 6)
    assert "queryVector" not in answer


def test_sorting_refines_equal_nearness(corpus: Index) -> None:
    assert corpus.ids(vector=[1, 0], hybrid=HYBRID, sort=["n:desc"]) == [6, 1, 2, 3, 5, 4]


@pytest.mark.parametrize(
    ("body", "ids", "semantic"),
    [
        ({}, [1, 6, 2, 3, 4, 5], 4),
        ({"sort": ["n:asc"]}, [3, 1, 6, 4, 2, 5], 3),
        ({"limit": 2}, [1, 3], 0),
        ({"limit": 2, "offset": 2}, [2, 3], 1),
        ({"hybrid": {**HYBRID, "semanticRatio": 0.9}, "limit": 4}, [1, 6, 2, 3], 4),
        ({"hybrid": {**HYBRID, "semanticRatio": 0.1}}, [1, 3, 4, 6, 2, 5], 3),
        ({"hybrid": {**HYBRID, "semanticRatio": 1}, "limit": 3}, [1, 6, 2], 3),
        ({"hybrid": {**HYBRID, "semanticRatio": 0}}, [1, 3, 4], None),
        ({"vector": None}, [1, 3, 4], 0),
        ({"filter": "n > 2"}, [1, 6, 4, 5], 3),
        ({"distinct": "n"}, [1, 6, 2, 3, 4], 3),
    ],
)
def test_hybrid_search_merges_words_and_vectors(corpus: Index, body: Any, ids: list[int], semantic: int | None) -> None:
    answer = corpus.search(**{"q": "sun", "vector": [1, 0], "hybrid": HYBRID, **body})
    assert [hit["id"] for hit in answer["hits"]] == ids
    assert answer.get("semanticHitCount") == semantic


@pytest.mark.parametrize(
    ("body", "total", "looked"),
    [
        ({"q": "sun"}, 6, True),
        ({"q": "red sun", "limit": 1}, 3, False),
        ({"q": "sun", "limit": 0}, 3, False),
        ({"q": "sun", "vector": None}, 3, False),
        ({}, 6, True),
    ],
)
def test_the_query_vector_is_shown_where_it_was_used(corpus: Index, body: Any, total: int, looked: bool) -> None:
    answer = corpus.search(**{"vector": [1, 0], "hybrid": HYBRID, "retrieveVectors": True, **body})
    assert answer["estimatedTotalHits"] == total
    assert answer.get("queryVector") == ([1, 0] if looked else None)


def test_facets_and_pages_of_a_semantic_search_count_all_documents(corpus: Index) -> None:
    answer = corpus.search(vector=[1, 0], hybrid=HYBRID, page=2, hitsPerPage=4, facets=["n"])
    assert ([hit["id"] for hit in answer["hits"]], answer["totalHits"]) == ([5, 4], 6)
    assert answer["facetDistribution"] == {"n": {"1": 1, "2": 1, "3": 1, "4": 2, "5": 1}}


def test_a_threshold_counts_for_nearness_too(corpus: Index) -> None:
    body = {"vector": [1, 0], "hybrid": HYBRID, "rankingScoreThreshold": 0.6}
    assert corpus.search(**body)["estimatedTotalHits"] == 4
    assert corpus.search(**body, limit=1)["estimatedTotalHits"] == 6


def test_vectors_of_hits_are_shown_on_demand(corpus: Index) -> None:
    hit = corpus.search(q="x", retrieveVectors=True, limit=1)["hits"][0]
    assert hit["_vectors"] == {"given": {"embeddings": [[-1, 0]], "regenerate": False}}


@pytest.mark.parametrize(("displayed", "shown"), [(["id"], True), (["id", "_vectors"], False), (["*"], True)])
def test_displaying_vectors_is_turned_around(server: Server, displayed: list[str], shown: bool) -> None:
    index = server.index(DOCUMENTS, {**EMBEDDERS, "displayedAttributes": displayed})
    hit = index.search(retrieveVectors=True)["hits"][0]
    assert ("_vectors" in hit) is shown


@pytest.mark.parametrize(("displayed", "shown"), [(["id"], False), (["id", "_vectors"], True)])
def test_vectors_that_nobody_has_are_displayed_as_listed(server: Server, displayed: list[str], shown: bool) -> None:
    index = server.index([{"id": 1}], {"displayedAttributes": displayed})
    hit = index.search(retrieveVectors=True)["hits"][0]
    assert ("_vectors" in hit) is shown


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"vector": [1, 0]}, "missing_search_hybrid"),
        ({"vector": [1, 0, 0], "hybrid": HYBRID}, "invalid_vector_dimensions"),
        ({"vector": [], "hybrid": HYBRID}, "invalid_vector_dimensions"),
        ({"vector": "x", "hybrid": HYBRID}, "invalid_search_vector"),
        ({"vector": ["x"], "hybrid": HYBRID}, "invalid_search_vector"),
        ({"vector": [1, 0], "hybrid": {"embedder": "none"}}, "invalid_search_embedder"),
        ({"hybrid": {}}, "invalid_search_hybrid_query"),
        ({"hybrid": 5}, "invalid_search_hybrid_query"),
        ({"hybrid": {**HYBRID, "x": 1}}, "invalid_search_hybrid_query"),
        ({"hybrid": {"embedder": 5}}, "invalid_search_embedder"),
        ({"hybrid": {**HYBRID, "semanticRatio": 1.5}}, "invalid_search_semantic_ratio"),
        ({"hybrid": {**HYBRID, "semanticRatio": "x"}}, "invalid_search_semantic_ratio"),
        ({"q": "sun", "hybrid": {**HYBRID, "semanticRatio": 1}}, "vector_embedding_error"),
    ],
)
def test_wrong_vector_searches_are_refused(corpus: Index, body: Any, code: str) -> None:
    assert refusal(corpus.call("POST", "/search", body)) == (400, code)


@pytest.mark.parametrize(("body", "found"), [({"hybrid": {"embedder": "none"}}, 6), ({"hybrid": HYBRID}, 6)])
def test_without_a_question_there_is_nothing_semantic(corpus: Index, body: Any, found: int) -> None:
    answer = corpus.search(**body)
    assert (len(answer["hits"]), "semanticHitCount" in answer) == (found, False)


def similar(index: Index, **body: Any) -> dict[str, Any]:
    response = index.call("POST", "/similar", {"embedder": "given", **body})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


@pytest.mark.parametrize(
    ("body", "ids", "total"),
    [
        ({"id": 1}, [6, 2, 3, 5], 5),
        ({"id": "1", "limit": 2}, [6, 2], 5),
        ({"id": 1, "offset": 1, "limit": 2}, [2, 3], 5),
        ({"id": 1, "limit": 0}, [], 5),
        ({"id": 4}, [], 5),
        ({"id": 1, "filter": "n > 2"}, [6, 5], 3),
        ({"id": 2, "filter": "n > 2", "limit": 1}, [6], 4),
        ({"id": 1, "rankingScoreThreshold": 0.6}, [6, 2], 2),
        ({"id": 1, "rankingScoreThreshold": 0.6, "limit": 1}, [6], 5),
        ({"id": 1, "rankingScoreThreshold": 0.6, "offset": 3}, [], 3),
    ],
)
def test_similar_documents_are_the_nearest_ones(corpus: Index, body: Any, ids: list[int], total: int) -> None:
    answer = similar(corpus, **body)
    assert [hit["id"] for hit in answer["hits"]] == ids
    assert (answer["id"], answer["estimatedTotalHits"]) == (str(body["id"]), total)
    assert list(answer) == ["hits", "id", "processingTimeMs", "limit", "offset", "estimatedTotalHits"]


def test_a_similar_document_is_shown_as_asked(corpus: Index) -> None:
    shown = {"attributesToRetrieve": ["n"], "showRankingScore": True, "showRankingScoreDetails": True}
    assert similar(corpus, id=1, limit=1, retrieveVectors=True, **shown)["hits"] == [
        {
            "n": 4,
            "_vectors": {"given": {"embeddings": [[0, 0]], "regenerate": False}},
            "_rankingScore": 1.0,
            "_rankingScoreDetails": {"vectorSort": {"order": 0, "similarity": 1.0}},
        }
    ]


def test_similar_documents_answer_a_get(corpus: Index) -> None:
    answer = corpus.call("GET", "/similar?id=1&embedder=given&limit=2&filter=n%20%3E%202").json()
    assert [hit["id"] for hit in answer["hits"]] == [6, 5]
    answer = corpus.call("GET", "/search?vector=1,0&hybridEmbedder=given&limit=1").json()
    assert [hit["id"] for hit in answer["hits"]] == [1]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"id": 99, "embedder": "given"}, "not_found_similar_id"),
        ({"id": "a b", "embedder": "given"}, "invalid_similar_id"),
        ({"id": 1.5, "embedder": "given"}, "invalid_similar_id"),
        ({"embedder": "given"}, "bad_request"),
        ({"id": 1}, "bad_request"),
        ({"id": 1, "embedder": "given", "q": "x"}, "bad_request"),
        ({"id": 99, "embedder": "none"}, "invalid_similar_embedder"),
        ({"id": 1, "embedder": 5}, "invalid_similar_embedder"),
        ({"id": 1, "embedder": "given", "filter": "color = 1"}, "invalid_similar_filter"),
        ({"id": 99, "embedder": "given", "filter": "color = 1"}, "not_found_similar_id"),
        ({"id": 99, "embedder": "given", "filter": "n >"}, "invalid_similar_filter"),
        ({"id": 1, "embedder": "given", "filter": 5}, "invalid_similar_filter"),
        ({"id": 1, "embedder": "given", "offset": -1}, "invalid_similar_offset"),
        ({"id": 1, "embedder": "given", "limit": "x"}, "invalid_similar_limit"),
        ({"id": 1, "embedder": "given", "rankingScoreThreshold": 5}, "invalid_similar_ranking_score_threshold"),
    ],
)
def test_wrong_searches_for_similar_documents_are_refused(corpus: Index, body: Any, code: str) -> None:
    assert refusal(corpus.call("POST", "/similar", body)) == (400, code)


def test_facets_of_a_hybrid_search_are_those_of_the_filter(corpus: Index) -> None:
    body = {"facetName": "title", "q": "sun", "vector": [1, 0], "hybrid": HYBRID, "filter": "n > 3"}
    hits = corpus.call("POST", "/facet-search", body).json()["facetHits"]
    assert hits == [{"value": "red sun zero", "count": 1}, {"value": "x", "count": 2}]


def test_only_given_vectors_are_known_to_the_embedded_node(server: Server) -> None:
    response = server.index().call(
        "PATCH", "/settings", {"embedders": {"a": {"source": "rest", "url": "http://[::1]"}}}
    )
    assert response.status_code == (501 if server.embedded else 400), "difference: unsupported-is-501"
