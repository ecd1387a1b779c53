"""What every request meets before its handler, and every answer after it."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from pathlib import Path

import brotli  # type: ignore[import-untyped]
import pytest

from miroir_cli.dev.engine.testing import Engine
from miroir_cli.indexes.catalog import create_index, plan_index
from tests.proxy.conftest import Served, serving, write_topology


async def with_books(served: Served) -> None:
    cluster = served.service.cluster
    await create_index(cluster, await plan_index(cluster, "books", primary_key="id"))


async def test_a_search_is_answered_as_one_node_would(served: Served) -> None:
    await with_books(served)
    answer = await served.client.post("/indexes/books/search", json={"q": "x"})
    assert answer.status_code == 200
    assert answer.json()["hits"] == []
    assert set(answer.json()) >= {"query", "limit", "offset", "estimatedTotalHits", "processingTimeMs"}


async def test_parameters_of_a_url_say_the_same(served: Served) -> None:
    await with_books(served)
    answer = await served.client.get("/indexes/books/search", params={"q": "x", "limit": "3"})
    assert (answer.status_code, answer.json()["limit"]) == (200, 3)


async def test_an_unknown_parameter_is_refused_in_a_nodes_words(served: Served) -> None:
    await with_books(served)
    answer = await served.client.get("/indexes/books/search", params={"limitt": "3"})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    assert "limitt" in answer.json()["message"]


async def test_what_is_no_path_is_not_found_and_what_is_no_method_not_allowed(served: Served) -> None:
    assert (await served.client.get("/nope")).status_code == 404
    answer = await served.client.delete("/health")
    assert (answer.status_code, answer.headers["allow"], answer.content) == (405, "GET", b"")


async def test_slashes_do_not_count(served: Served) -> None:
    await with_books(served)
    assert (await served.client.post("http://proxy//indexes/books//search/", json={})).status_code == 200


@pytest.mark.parametrize("uid", ["a%2Fb", "..", "%2e%2e", "a b", "b%00", "books%0A", "é"])
async def test_a_path_cannot_name_what_is_no_index(served: Served, uid: str) -> None:
    answer = await served.client.post(f"/indexes/{uid}/search", json={})
    assert answer.status_code in (400, 404)
    if answer.content:
        assert answer.json()["code"] == "invalid_index_uid"


async def test_the_index_of_the_cluster_itself_is_nobodys(served: Served) -> None:
    await with_books(served)
    answer = await served.client.post("/indexes/_miroir/search", json={})
    assert (answer.status_code, answer.json()["code"]) == (404, "index_not_found")
    assert answer.json()["message"] == "Index `_miroir` not found."


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("br", brotli.compress)],
)
async def test_bodies_may_be_compressed(served: Served, encoding: str, compress: object) -> None:
    await with_books(served)
    assert callable(compress)
    headers = {"content-encoding": encoding, "content-type": "application/json"}
    answer = await served.client.post("/indexes/books/search", content=compress(b'{"q": "y"}'), headers=headers)
    assert (answer.status_code, answer.json()["query"]) == (200, "y")
    broken = await served.client.post("/indexes/books/search", content=b"\x1f\x8bnonsense", headers=headers)
    assert (broken.status_code, broken.json()["code"]) == (400, "bad_request")


async def test_a_small_body_cannot_become_a_huge_one(tmp_path: Path, engines: list[Engine]) -> None:
    async with serving(write_topology(tmp_path, engines, more="[serve]\nbody_limit_mb = 1\n")) as served:
        bomb = gzip.compress(b" " * (8 * 1024 * 1024))
        headers = {"content-encoding": "gzip", "content-type": "application/json"}
        answer = await served.client.post("/indexes/books/search", content=bomb, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")
        answer = await served.client.post("/indexes/books/search", content=b" " * (2 * 1024 * 1024), headers=headers)
        assert answer.status_code == 413


async def test_a_body_of_another_type_is_refused_as_meilisearch_does(served: Served) -> None:
    answer = await served.client.post("/indexes/books/search", content=b"{}", headers={"content-type": "text/plain"})
    assert (answer.status_code, answer.json()["code"]) == (415, "invalid_content_type")
    answer = await served.client.post("/indexes/books/search", content=b"{}")
    assert (answer.status_code, answer.json()["code"]) == (415, "missing_content_type")


async def test_pages_of_other_sites_may_ask(served: Served) -> None:
    asked = {
        "origin": "http://x.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "x-foo",
    }
    answer = await served.client.options("/indexes", headers=asked)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-allow-headers"] == "x-foo"
    assert answer.headers["access-control-max-age"] == "86400"
    assert "access-control-allow-origin" not in (await served.client.get("/health")).headers


async def test_a_request_id_is_given_back_unless_it_is_none(served: Served) -> None:
    assert (await served.client.get("/health", headers={"x-request-id": "abc-1"})).headers["x-request-id"] == "abc-1"
    assert (await served.client.get("/health", headers={"x-request-id": "a b"})).headers["x-request-id"] != "a b"


async def test_too_many_requests_are_told_to_come_back(tmp_path: Path, engines: list[Engine]) -> None:
    limits = "[serve]\nin_flight = 1\nqueue = 1\n"
    async with serving(write_topology(tmp_path, engines, more=limits)) as served:
        await with_books(served)
        answers = await asyncio.gather(*(served.client.post("/indexes/books/search", json={}) for _ in range(8)))
        statuses = sorted(answer.status_code for answer in answers)
        assert statuses == [200, 200] + [503] * 6
        refused = next(answer for answer in answers if answer.status_code == 503)
        assert refused.headers["retry-after"] == "1"
        assert refused.json()["code"] == "miroir_overloaded"
        assert (await served.client.post("/indexes/books/search", json={})).status_code == 200


async def test_health_asks_whether_every_shard_is_there(served: Served, engines: list[Engine]) -> None:
    await with_books(served)
    assert (await served.client.get("/health")).json() == {"status": "available"}
    engines[0].stop()
    assert (await served.client.get("/health")).json() == {"status": "available"}
    engines[1].stop()
    answer = await served.client.get("/health")
    assert (answer.status_code, answer.json()["code"]) == (503, "miroir_shard_unavailable")


async def test_names_in_a_path_may_be_escaped(served: Served) -> None:
    await with_books(served)
    assert (await served.client.post("http://proxy/%69ndexes/books/%73earch", json={})).status_code == 200


async def test_what_cannot_be_an_id_names_no_document(served: Served) -> None:
    await with_books(served)
    answer = await served.client.get("/indexes/books/documents/bad%20id")
    assert (answer.status_code, answer.json()["code"]) == (404, "document_not_found")
    assert answer.json()["message"] == "Document `bad id` not found."
    answer = await served.client.get("/indexes/nowhere/documents/bad%20id")
    assert answer.json()["code"] == "index_not_found"


async def test_an_encoding_that_is_none_says_nothing(served: Served) -> None:
    await with_books(served)
    headers = {"content-encoding": "doggo", "content-type": "application/json"}
    answer = await served.client.post("/indexes/books/search", content=b'{"q": "y"}', headers=headers)
    assert (answer.status_code, answer.json()["query"]) == (200, "y")


async def test_documents_may_have_fields_of_any_name(served: Served) -> None:
    await with_books(served)
    document = {"id": 1, "missingShards": [1], "partial": True, "results": [1]}
    receipt = await served.client.post("/indexes/books/documents", json=[document])
    assert receipt.status_code == 202
    for _ in range(200):
        if (await served.client.get(f"/tasks/{receipt.json()['taskUid']}")).json()["status"] == "succeeded":
            break
        await asyncio.sleep(0.02)
    listed = await served.client.get("/indexes/books/documents")
    assert (listed.status_code, listed.json()["results"]) == (200, [document])
    assert "x-miroir-degraded" not in listed.headers
