"""`miroir similar`, and the options of `miroir search` about vectors."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Miroir


@pytest.fixture
def films(ready: Miroir, tmp_path: Path) -> Miroir:
    """`miroir` with an index of 12 documents on a quarter of a circle."""
    lines = (f'{{"id": {n}, "title": "film {n}", "_vectors": {{"e": [{11 - n}, {n}]}}}}\n' for n in range(12))
    (tmp_path / "films.ndjson").write_text("".join(lines))
    assert ready("index", "create", "films", "--primary-key", "id").status == 0
    embedders = 'embedders={"e": {"source": "userProvided", "dimensions": 2}}'
    assert ready("index", "settings", "set", "films", embedders).status == 0
    assert ready("import", "films", "films.ndjson").status == 0
    return ready


def test_similar_documents_are_shown_with_their_scores(films: Miroir) -> None:
    done = films("similar", "films", "5", "--embedder", "e", "--limit", "2")
    assert done.status == 0, done.err
    lines = [line.split() for line in done.out.splitlines()]
    assert lines[0] == ["id", "title", "score"]
    assert [line[:3] for line in lines[2:4]] == [["4", "film", "4"], ["6", "film", "6"]]
    assert done.out.splitlines()[-1].startswith("2 of 11 hits")


def test_the_json_document_is_meilisearchs_body(films: Miroir) -> None:
    body = films("similar", "films", "0", "-e", "e", "-n", "1", "-a", "title", "--json").json
    assert body | {"processingTimeMs": 0} == {
        "hits": [{"title": "film 1"}], "id": "0", "processingTimeMs": 0, "limit": 1, "offset": 0,
        "estimatedTotalHits": 11,
    }  # fmt: skip


def test_a_whole_request_may_come_from_a_file(films: Miroir, tmp_path: Path) -> None:
    (tmp_path / "request.json").write_text('{"id": 0, "embedder": "e", "rankingScoreThreshold": 0.98}')
    body = films("similar", "films", "--body", "request.json", "--json").json
    assert [hit["id"] for hit in body["hits"]] == [1, 2]


def test_a_document_that_is_not_there(films: Miroir) -> None:
    done = films("similar", "films", "99", "--embedder", "e")
    assert (done.status, done.out) == (2, "")
    assert "Document `99` not found" in done.err


def test_searching_by_vector(films: Miroir) -> None:
    body = films("search", "films", "--embedder", "e", "--vector", "0, 1", "--limit", "2", "--json").json
    assert [hit["id"] for hit in body["hits"]] == [11, 10]
    options = ("--embedder", "e", "--semantic-ratio", "0.1", "--vector", "[0,1]")
    body = films("search", "films", "film 3", *options, "--limit", "1", "--json").json
    assert ([hit["id"] for hit in body["hits"]], body["semanticHitCount"]) == ([3], 0)
    done = films("search", "films", "--embedder", "e", "--vector", "0,x")
    assert (done.status, "`--vector` is not a list of numbers" in done.err) == (2, True)
