"""Indexes and their settings over HTTP, as one Meilisearch has them."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from tests.backends import both_backends
from tests.proxy.conftest import Served


async def done(served: Served, response: httpx.Response) -> dict[str, Any]:
    """The task of a request once it has ended."""
    assert response.status_code == 202, response.text
    uid = response.json()["taskUid"]
    for _ in range(2000):
        task: dict[str, Any] = (await served.client.get(f"/tasks/{uid}")).json()
        if task["status"] not in ("enqueued", "processing"):
            return task
        await asyncio.sleep(0.01)
    raise AssertionError(f"task {uid} did not end")


async def succeed(served: Served, method: str, path: str, body: Any = None) -> dict[str, Any]:
    task = await done(served, await served.client.request(method, path, json=body))
    assert task["status"] == "succeeded", task
    return task


async def fail(served: Served, method: str, path: str, body: Any = None) -> dict[str, Any]:
    task = await done(served, await served.client.request(method, path, json=body))
    assert task["status"] == "failed", task
    error: dict[str, Any] = task["error"]
    return error


@both_backends
async def test_an_index_from_its_creation_to_its_end(served: Served) -> None:
    task = await succeed(served, "POST", "/indexes", {"uid": "books", "primaryKey": "id"})
    assert (task["type"], task["indexUid"], task["details"]) == ("indexCreation", "books", {"primaryKey": "id"})
    error = await fail(served, "POST", "/indexes", {"uid": "books"})
    assert (error["code"], error["message"]) == ("index_already_exists", "Index `books` already exists.")
    shown = (await served.client.get("/indexes/books")).json()
    assert set(shown) == {"uid", "createdAt", "updatedAt", "primaryKey"} and shown["primaryKey"] == "id"
    await succeed(served, "POST", "/indexes/books/documents", [{"id": n, "title": "x"} for n in range(20)])
    page = (await served.client.get("/indexes")).json()
    assert (page["offset"], page["limit"], page["total"]) == (0, 20, 1) and page["results"][0]["uid"] == "books"
    error = await fail(served, "PATCH", "/indexes/books", {"primaryKey": "sku"})
    assert error["code"] == "index_primary_key_already_exists"
    assert error["message"] == "Index `books`: Index already has a primary key: `id`."
    stats = (await served.client.get("/indexes/books/stats")).json()
    assert stats["numberOfDocuments"] == 20 and stats["fieldDistribution"] == {"id": 20, "title": 20}
    assert (await served.client.get("/stats")).json()["indexes"] == {"books": stats}
    task = await succeed(served, "DELETE", "/indexes/books")
    assert task["details"] == {"deletedDocuments": 20}
    error = await fail(served, "DELETE", "/indexes/books")
    assert (error["code"], error["message"]) == ("index_not_found", "Index `books` not found.")
    assert (await served.client.get("/indexes/books")).json()["code"] == "index_not_found"


async def test_an_index_without_a_key_gets_that_of_its_first_documents(served: Served) -> None:
    await succeed(served, "POST", "/indexes", {"uid": "books"})
    assert (await served.client.get("/indexes/books")).json()["primaryKey"] is None
    await succeed(served, "PATCH", "/indexes/books/settings", {"filterableAttributes": ["genre"]})
    assert (await served.client.post("/indexes/books/search", json={"filter": "genre = x"})).json()["hits"] == []
    assert (await served.client.get("/indexes/books/documents")).json()["results"] == []
    assert (await served.client.get("/indexes/books/stats")).json()["numberOfDocuments"] == 0
    error = await fail(served, "POST", "/indexes/books/documents", [{"name": "no key here"}])
    assert error["code"] == "index_primary_key_no_candidate_found"
    assert (await served.client.get("/indexes/books")).json()["primaryKey"] is None
    await succeed(served, "POST", "/indexes/books/documents", [{"book_id": 1, "genre": "x"}, {"book_id": 2}])
    assert (await served.client.get("/indexes/books")).json()["primaryKey"] == "book_id"
    found = (await served.client.post("/indexes/books/search", json={"filter": "genre = x"})).json()
    assert [hit["book_id"] for hit in found["hits"]] == [1]
    await succeed(served, "DELETE", "/indexes/books/documents")
    await succeed(served, "PATCH", "/indexes/books", {"primaryKey": "sku"})
    await succeed(served, "POST", "/indexes/books/documents", [{"sku": 1}])
    await succeed(served, "POST", "/indexes", {"uid": "films"})
    await succeed(served, "POST", "/indexes/films/documents?primaryKey=code", [{"code": "a"}])
    assert (await served.client.get("/indexes/films")).json()["primaryKey"] == "code"


async def test_settings_before_there_is_an_index_make_one(served: Served) -> None:
    task = await succeed(served, "PUT", "/indexes/books/settings/stop-words", ["the", "a"])
    assert (task["type"], task["details"]) == ("settingsUpdate", {"stopWords": ["a", "the"]})
    assert (await served.client.get("/indexes/books")).json()["primaryKey"] is None
    assert (await served.client.get("/indexes/books/settings/stop-words")).json() == ["a", "the"]
    assert (await fail(served, "DELETE", "/indexes/films/settings"))["code"] == "index_not_found"


@both_backends
async def test_settings_are_the_clients_own(served: Served) -> None:
    await succeed(served, "POST", "/indexes", {"uid": "books", "primaryKey": "id"})
    before = (await served.client.get("/indexes/books/settings")).json()
    assert "_miroir" not in str(before) and before["rankingRules"][-1] == "exactness"
    patch = {
        "displayedAttributes": None,
        "filterableAttributes": ["x", {"attributePatterns": ["y"]}],
        "faceting": {"maxValuesPerFacet": 7},
        "pagination": {"maxTotalHits": 50},
        "embedders": {"e": {"source": "userProvided", "dimensions": 2}},
    }
    task = await succeed(served, "PATCH", "/indexes/books/settings", patch)
    features = {"facetSearch": False, "filter": {"equality": True, "comparison": False}}
    assert task["details"] == {
        **patch,
        "displayedAttributes": ["*"],
        "filterableAttributes": ["x", {"attributePatterns": ["y"], "features": features}],
    }
    shown = (await served.client.get("/indexes/books/settings")).json()
    assert shown["faceting"]["maxValuesPerFacet"] == 7 and shown["pagination"] == {"maxTotalHits": 50}
    assert (await served.client.get("/indexes/books/settings/pagination")).json() == {"maxTotalHits": 50}
    await succeed(served, "PATCH", "/indexes/books/settings/typo-tolerance", {"enabled": False})
    await succeed(served, "DELETE", "/indexes/books/settings/faceting")
    await succeed(served, "DELETE", "/indexes/books/settings")
    assert (await served.client.get("/indexes/books/settings")).json() == before
    null = await served.client.get("/indexes/books/settings/distinct-attribute")
    assert (null.status_code, null.content) == (200, b"null")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "/indexes", {}, 400, "missing_index_uid"),
        ("POST", "/indexes", {"uid": "a b"}, 400, "invalid_index_uid"),
        ("POST", "/indexes", {"uid": "a", "primaryKey": 5}, 400, "invalid_index_primary_key"),
        ("POST", "/indexes", {"uid": "_miroir"}, 400, "miroir_reserved_field"),
        ("POST", "/indexes", {"uid": "a", "foo": 5}, 400, "bad_request"),
        ("PATCH", "/indexes/a", {"createdAt": "x"}, 400, "immutable_index_created_at"),
        ("PATCH", "/indexes/a", {"uid": "b c"}, 400, "invalid_index_uid"),
        ("PATCH", "/indexes/a", {"uid": "_miroir"}, 400, "miroir_reserved_field"),
        ("GET", "/indexes?limit=x", None, 400, "invalid_index_limit"),
        ("GET", "/indexes/a/stats", None, 404, "index_not_found"),
        ("GET", "/indexes/a/settings", None, 404, "index_not_found"),
        ("PATCH", "/indexes/a/settings", {"foo": 1}, 400, "bad_request"),
        ("PUT", "/indexes/a/settings/stop-words", {}, 400, "invalid_settings_stop_words"),
        ("PUT", "/indexes/a/settings/filterable-attributes", ["_miroir_shard"], 400, "miroir_reserved_field"),
        ("PUT", "/indexes/a/settings/foreign-keys", [{"foreignIndexUid": "b", "fieldName": "c"}], 501, None),
        ("POST", "/swap-indexes", [{"indexes": ["a", "a"]}], 400, "invalid_swap_duplicate_index_found"),
        ("POST", "/swap-indexes", [{"indexes": ["a", "b"], "rename": 1}], 400, "invalid_swap_rename"),
        ("POST", "/swap-indexes", [{"indexes": ["a", "_miroir"], "rename": True}], 400, "miroir_reserved_field"),
    ],
)
async def test_what_is_refused_makes_no_task(
    served: Served, method: str, path: str, body: Any, status: int, code: str | None
) -> None:
    response = await served.client.request(method, path, json=body)
    assert response.status_code == status and response.json()["code"] == (code or "miroir_not_supported")
    assert (await served.client.get("/tasks")).json()["total"] == 0
