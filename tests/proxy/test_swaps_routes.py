"""Swaps and renames over HTTP: what clients see of them, in their order among everything else that clients ask for."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from miroir_cli.dev.engine.testing import Engine
from tests.backends import both_backends
from tests.proxy.conftest import Served, serving, write_topology
from tests.proxy.test_index_routes import done, fail, succeed


async def filled(served: Served, uid: str, **documents: Any) -> None:
    """An index with these documents."""
    await succeed(
        served,
        "POST",
        f"/indexes/{uid}/documents?primaryKey=id",
        [{"id": id, "of": of} for id, of in documents.items()],
    )


async def shown(served: Served, uid: str) -> list[str]:
    """The ids that a search of an index finds."""
    answer = (await served.client.post(f"/indexes/{uid}/search", json={"q": "", "limit": 100})).json()
    return [hit["id"] for hit in answer["hits"]]


async def two(served: Served) -> None:
    await filled(served, "a", a1="a", a2="a")
    await filled(served, "b", b1="b")
    await succeed(served, "PATCH", "/indexes/b/settings", {"filterableAttributes": ["of"], "stopWords": ["the"]})


async def test_after_a_swap_each_name_stands_for_the_other_index_in_every_way(served: Served) -> None:
    await two(served)
    task = await succeed(served, "POST", "/swap-indexes", [{"indexes": ["a", "b"]}])
    assert (task["type"], task["indexUid"]) == ("indexSwap", None)
    assert task["details"] == {"swaps": [{"indexes": ["a", "b"], "rename": False}]}
    assert (await shown(served, "a"), await shown(served, "b")) == (["b1"], ["a1", "a2"])
    client = served.client
    assert (await client.get("/indexes/a/documents/b1")).json() == {"id": "b1", "of": "b"}
    assert (await client.get("/indexes/a/documents/a1")).json()["message"] == "Document `a1` not found."
    assert (await client.get("/indexes/a/settings/stop-words")).json() == ["the"]
    assert (await client.get("/indexes/a/stats")).json()["numberOfDocuments"] == 1
    stats = (await client.get("/stats")).json()["indexes"]
    assert {uid: each["numberOfDocuments"] for uid, each in stats.items()} == {"a": 1, "b": 2}
    fetched = (await client.post("/indexes/b/documents/fetch", json={})).json()
    assert [each["id"] for each in fetched["results"]] == ["a1", "a2"]
    facets = (await client.post("/indexes/a/facet-search", json={"facetName": "of"})).json()["facetHits"]
    assert facets == [{"value": "b", "count": 1}]
    assert [each["uid"] for each in (await client.get("/indexes")).json()["results"]] == ["a", "b"]


async def test_refusals_name_an_index_as_the_client_does(served: Served) -> None:
    await two(served)
    before = {}
    asked: list[tuple[str, str, Any]] = [
        ("POST", "/indexes/b/search", {"filter": "x = 1"}),
        ("POST", "/indexes/b/search", {"limit": "many"}),
        ("GET", "/indexes/b/search?limit=many", None),
        ("GET", "/indexes/b/search?filter=x%20%3D%201", None),
        ("POST", "/indexes/b/search", {"sort": ["x:asc"]}),
        ("POST", "/indexes/b/documents/fetch", {"filter": "x = 1"}),
        ("POST", "/indexes/b/facet-search", {"facetName": "x"}),
        ("POST", "/multi-search", {"queries": [{"indexUid": "b", "filter": "x = 1"}]}),
        ("POST", "/multi-search", {"federation": {}, "queries": [{"indexUid": "b", "sort": ["x:asc"]}]}),
    ]
    for method, path, body in asked:
        before[path, str(body)] = (await served.client.request(method, path, json=body)).json()
    failed = await fail(served, "POST", "/indexes/b/documents/delete", {"filter": "x = 1"})
    await succeed(served, "POST", "/swap-indexes", [{"indexes": ["a", "b"]}])
    for method, path, body in asked:
        swapped = httpx.URL(path.replace("/b/", "/a/"))
        named = None if body is None else _renamed(body)
        answer = (await served.client.request(method, swapped, json=named)).json()
        expected = before[path, str(body)]
        assert "code" in answer and answer == {**expected, "message": expected["message"].replace("`b`", "`a`")}, path
    again = await fail(served, "POST", "/indexes/a/documents/delete", {"filter": "x = 1"})
    assert again == {**failed, "message": failed["message"].replace("`b`", "`a`")}


def _renamed(body: Any) -> Any:
    if "queries" not in body:
        return body
    return {**body, "queries": [{**query, "indexUid": "a"} for query in body["queries"]]}


async def test_a_rename_frees_the_old_name(served: Served) -> None:
    await two(served)
    task = await succeed(served, "PATCH", "/indexes/a", {"uid": "c"})
    assert (task["indexUid"], task["type"]) == ("a", "indexUpdate")
    assert task["details"] == {"primaryKey": None, "oldIndexUid": "a", "newIndexUid": "c"}
    assert await shown(served, "c") == ["a1", "a2"]
    for method, path in (("POST", "/indexes/a/search"), ("GET", "/indexes/a"), ("GET", "/indexes/a/documents/a1")):
        gone = await served.client.request(method, path, json={} if method == "POST" else None)
        assert (gone.status_code, gone.json()["message"]) == (404, "Index `a` not found.")
    await filled(served, "a", n1="new")
    assert (await shown(served, "a"), await shown(served, "c")) == (["n1"], ["a1", "a2"])
    await succeed(served, "DELETE", "/indexes/c")
    assert await shown(served, "a") == ["n1"]
    assert (await fail(served, "DELETE", "/indexes/c"))["code"] == "index_not_found"


async def test_a_name_and_a_primary_key_change_together_or_not_at_all(served: Served) -> None:
    await two(served)
    error = await fail(served, "PATCH", "/indexes/a", {"uid": "c", "primaryKey": "of"})
    assert error["code"] == "index_primary_key_already_exists"
    assert (await served.client.get("/indexes/c")).status_code == 404
    await succeed(served, "POST", "/indexes", {"uid": "empty"})
    await succeed(served, "PATCH", "/indexes/empty", {"uid": "c", "primaryKey": "of"})
    assert (await served.client.get("/indexes/c")).json()["primaryKey"] == "of"
    assert (await fail(served, "PATCH", "/indexes/c", {"uid": "a"}))["message"] == "Index `a` already exists."
    await succeed(served, "PATCH", "/indexes/c", {"uid": "c"})


@both_backends
async def test_several_swaps_are_one(served: Served) -> None:
    await two(served)
    await filled(served, "c", c1="c")
    error = await fail(
        served, "POST", "/swap-indexes", [{"indexes": ["a", "b"]}, {"indexes": ["c", "x"]}, {"indexes": ["y", "z"]}]
    )
    assert (error["code"], error["message"]) == ("index_not_found", "Indexes `x`, `y`, `z` not found.")
    assert await shown(served, "a") == ["a1", "a2"]
    await succeed(served, "POST", "/swap-indexes", [{"indexes": ["a", "b"]}, {"indexes": ["c", "d"], "rename": True}])
    assert [await shown(served, uid) for uid in "abd"] == [["b1"], ["a1", "a2"], ["c1"]]


async def test_what_is_asked_for_before_a_swap_is_done_before_and_what_comes_after_after(served: Served) -> None:
    """All of it is sent without waiting for anything."""
    await two(served)
    client = served.client

    async def look() -> None:
        """As a process that runs: it ends tasks while requests wait for them."""
        while True:
            await client.get("/tasks?limit=1")
            await asyncio.sleep(0.02)

    looking = asyncio.create_task(look())
    sent = [
        await client.post("/indexes/a/documents", json=[{"id": "before", "of": "x"}]),
        await client.patch("/indexes/a/settings", json={"stopWords": ["before"]}),
        await client.post("/swap-indexes", json=[{"indexes": ["a", "b"]}]),
        await client.patch("/indexes/a/settings", json={"synonyms": {"after": ["x"]}}),
        await client.post("/indexes/a/documents", json=[{"id": "after", "of": "x"}]),
        await client.patch("/indexes/b", json={"uid": "c"}),
        await client.post("/indexes/c/documents", json=[{"id": "later", "of": "x"}]),
    ]
    for response in sent:
        assert (await done(served, response))["status"] == "succeeded"
    looking.cancel()
    assert await shown(served, "a") == ["after", "b1"]
    assert await shown(served, "c") == ["a1", "a2", "before", "later"]
    assert (await client.get("/indexes/c/settings/stop-words")).json() == ["before"]
    assert (await client.get("/indexes/a/settings/synonyms")).json() == {"after": ["x"]}


async def test_tasks_from_before_are_told_under_the_new_names(served: Served) -> None:
    await two(served)
    await succeed(served, "POST", "/swap-indexes", [{"indexes": ["a", "b"]}])
    await succeed(served, "POST", "/swap-indexes", [{"indexes": ["b", "c"], "rename": True}])

    async def listed(query: str) -> list[tuple[str | None, str]]:
        tasks = (await served.client.get(f"/tasks?{query}")).json()["results"]
        return [(task["indexUid"], task["type"]) for task in reversed(tasks)]

    assert await listed("indexUids=c") == [("c", "documentAdditionOrUpdate")]
    assert await listed("indexUids=a") == [("a", "documentAdditionOrUpdate"), ("a", "settingsUpdate")]
    assert await listed("indexUids=b") == []
    swaps = (await served.client.get("/tasks?types=indexSwap")).json()["results"]
    assert [swap["details"]["swaps"][0]["indexes"] for swap in swaps] == [["b", "c"], ["a", "c"]]


async def test_another_worker_answers_from_what_a_name_stands_for_now(tmp_path: Path, engines: list[Engine]) -> None:
    path = write_topology(tmp_path, engines)
    async with serving(path) as one, serving(path) as other:
        await two(one)
        assert await shown(other, "a") == ["a1", "a2"]
        for number in range(6):
            await succeed(one, "POST", "/swap-indexes", [{"indexes": ["a", "b"]}])
            swapped = number % 2 == 0
            assert await shown(other, "a") == (["b1"] if swapped else ["a1", "a2"])
            found = await other.client.post(
                "/multi-search", json={"federation": {}, "queries": [{"indexUid": uid, "q": ""} for uid in ("a", "b")]}
            )
            of = {(hit["of"], hit["_federation"]["indexUid"]) for hit in found.json()["hits"]}
            assert of == ({("a", "b"), ("b", "a")} if swapped else {("a", "a"), ("b", "b")})
        await succeed(one, "PATCH", "/indexes/a", {"uid": "c"})
        assert (await other.client.post("/indexes/a/search", json={})).status_code == 404
        assert (await other.client.get("/indexes/a/documents/!")).json()["code"] == "index_not_found"


async def test_a_session_waits_for_what_it_wrote_to_what_a_name_stands_for_now(
    tmp_path: Path, engines: list[Engine]
) -> None:
    path = write_topology(tmp_path, engines)
    headers = {"X-Miroir-Session": "s"}
    async with serving(path) as one, serving(path) as other:
        await two(one)
        assert await shown(other, "a") == ["a1", "a2"]
        await one.client.post("/indexes/a/documents", json=[{"id": "first"}], headers=headers)
        await succeed(one, "POST", "/swap-indexes", [{"indexes": ["a", "b"]}])
        for engine in engines:
            engine.faults.pause()
        sent = await one.client.post("/indexes/a/documents", json=[{"id": "second"}], headers=headers)
        assert sent.status_code == 202
        reading = asyncio.create_task(other.client.post("/indexes/a/search", json={"limit": 50}, headers=headers))
        await asyncio.sleep(0.3)
        assert not reading.done()
        for engine in engines:
            engine.faults.resume()
        assert [hit["id"] for hit in (await reading).json()["hits"]] == ["b1", "second"]
        found = (await other.client.post("/indexes/b/search", json={"limit": 50}, headers=headers)).json()
        assert "first" in [hit["id"] for hit in found["hits"]]


@both_backends
async def test_a_swap_counts_once_with_a_key(served: Served) -> None:
    await two(served)
    headers = {"Idempotency-Key": "k"}
    bodies = [{"indexes": ["a", "b"]}]
    answers = await asyncio.gather(
        *(served.client.post("/swap-indexes", json=bodies, headers=headers) for _ in range(3))
    )
    assert len({answer.json()["taskUid"] for answer in answers}) == 1
    await done(served, answers[0])
    assert await shown(served, "a") == ["b1"]


@pytest.mark.parametrize("uid", ["a", "b"])
async def test_an_index_of_a_swap_can_be_deleted_and_made_again(served: Served, uid: str) -> None:
    await two(served)
    await succeed(served, "POST", "/swap-indexes", [{"indexes": ["a", "b"]}])
    await succeed(served, "DELETE", f"/indexes/{uid}")
    await filled(served, uid, again="x")
    assert await shown(served, uid) == ["again"]
    other = "b" if uid == "a" else "a"
    assert await shown(served, other) == {"a": ["b1"], "b": ["a1", "a2"]}[other]
