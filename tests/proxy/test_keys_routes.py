"""Keys over HTTP, and what they open: the answers are those of one Meilisearch."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from miroir_cli.proxy.app import Proxy
from miroir_cli.proxy.service import open_service
from miroir_cli.store.journal import JournalQuery
from miroir_cli.store.sqlite.store import SqliteStore
from tests.backends import both_backends
from tests.faults.world import Ledger, create, keys_of_every_shard, put
from tests.proxy.guarded import MASTER, guarded_world, token

SCOPED = {"actions": ["search"], "indexes": ["books"], "expiresAt": None, "name": "books only"}


@asynccontextmanager
async def guarded_proxy(folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    """The proxy of two nodes with a master key, and a client that has it."""
    with guarded_world(folder) as world:
        async with world.cluster() as cluster:
            for uid in ("books", "cars"):
                index = await create(cluster, uid, settings={"filterableAttributes": ["value"]})
                keys = keys_of_every_shard(index)
                owners = {key: "ab"[place % 2] for place, key in enumerate(keys)}
                await put(cluster, index, owners, Ledger())
        async with open_service(world.topology) as service:
            transport = httpx.ASGITransport(app=Proxy(service))
            headers = {"authorization": f"Bearer {MASTER}"}
            async with httpx.AsyncClient(transport=transport, base_url="http://proxy", headers=headers) as client:
                yield client


@both_backends
async def test_a_key_from_its_creation_to_its_end(tmp_path: Path) -> None:
    async with guarded_proxy(tmp_path) as client:
        before = (await client.get("/keys")).json()["total"]
        made = await client.post("/keys", json=SCOPED)
        key = made.json()
        assert made.status_code == 201 and {name: key[name] for name in SCOPED} == SCOPED
        for name in (key["uid"], key["key"], key["uid"].upper()):
            assert (await client.get(f"/keys/{name}")).json() == key
        page = (await client.get("/keys", params={"limit": 1})).json()
        assert page["results"] == [key] and (page["offset"], page["limit"], page["total"]) == (0, 1, before + 1)
        renamed = (await client.patch(f"/keys/{key['uid']}", json={"name": None, "description": "d"})).json()
        assert (renamed["name"], renamed["description"], renamed["key"]) == (None, "d", key["key"])
        assert renamed["updatedAt"] > key["updatedAt"] and renamed["createdAt"] == key["createdAt"]
        gone = await client.delete(f"/keys/{key['key']}")
        assert gone.status_code == 204 and gone.content == b""
        for response in (await client.get(f"/keys/{key['uid']}"), await client.delete(f"/keys/{key['uid']}")):
            assert response.status_code == 404 and response.json()["code"] == "api_key_not_found"
        assert (await client.post("/keys", json={**SCOPED, "uid": key["uid"]})).json()["key"] == key["key"]
        again = await client.post("/keys", json={**SCOPED, "uid": key["uid"]})
        assert again.status_code == 409 and again.json()["code"] == "api_key_already_exists"


def state_file(folder: Path) -> Path:
    [path] = folder.rglob("state.db")
    return path


async def test_who_makes_and_deletes_keys_is_in_the_journal_without_the_keys(tmp_path: Path) -> None:
    async with guarded_proxy(tmp_path) as client:
        key = (await client.post("/keys", json=SCOPED)).json()
        assert (await client.delete(f"/keys/{key['key']}")).status_code == 204
    store = SqliteStore.open(state_file(tmp_path))
    deleted, created = await store.commands(JournalQuery())
    await store.close()
    assert (created.words, created.line, created.user) == ("serve: create key", "POST /keys", "master key")
    assert (deleted.words, deleted.line, deleted.status) == ("serve: delete key", "DELETE /keys/{key}", 0)
    assert key["key"] not in repr((deleted, created))


async def test_only_name_and_description_change(tmp_path: Path) -> None:
    bodies: list[tuple[Any, str]] = [
        ({"uid": "x"}, "immutable_api_key_uid"),
        ({"expiresAt": None}, "immutable_api_key_expires_at"),
        ({"name": 5}, "invalid_api_key_name"),
        ({"foo": 1}, "bad_request"),
        ([], "bad_request"),
    ]
    async with guarded_proxy(tmp_path) as client:
        key = (await client.post("/keys", json=SCOPED)).json()
        for body, code in bodies:
            refused = await client.patch(f"/keys/{key['uid']}", json=body)
            assert refused.status_code == 400 and refused.json()["code"] == code
        assert (await client.get(f"/keys/{key['uid']}")).json() == key
        for query in ("limit=x", "offset=-1", "foo=1"):
            assert (await client.get(f"/keys?{query}")).status_code == 400


@both_backends
async def test_a_tenant_finds_its_own_documents_and_no_others(tmp_path: Path) -> None:
    async with guarded_proxy(tmp_path) as client:
        key = (await client.post("/keys", json=SCOPED)).json()
        rules = {"books": {"filter": "value = b"}, "cars": None}
        given = token({"apiKeyUid": key["uid"], "searchRules": rules}, key["key"])
        headers = {"authorization": f"Bearer {given}"}

        async def found(filter: Any = None, **query: Any) -> set[str]:
            body = {"filter": filter, **query}
            response = await client.post("/indexes/books/search", json=body, headers=headers)
            assert response.status_code == 200, response.text
            return {hit["value"] for hit in response.json()["hits"]}

        everything = (await client.post("/indexes/books/search", json={})).json()["hits"]
        assert {hit["value"] for hit in everything} == {"a", "b"}
        assert await found() == {"b"}
        assert await found("value = a") == set()
        assert await found("value = a OR value = b") == {"b"}
        assert await found([["value = a", "value = b"]]) == {"b"}
        by_parameter = await client.get("/indexes/books/search", params={"filter": "value = a"}, headers=headers)
        assert by_parameter.json()["hits"] == []
        escaping = await client.post(
            "/indexes/books/search", json={"filter": "value = a) OR (value = a"}, headers=headers
        )
        assert escaping.status_code == 400
        queries = [{"indexUid": "books"}, {"indexUid": "books", "filter": "value = a"}]
        many = (await client.post("/multi-search", json={"queries": queries}, headers=headers)).json()["results"]
        assert {hit["value"] for hit in many[0]["hits"]} == {"b"} and many[1]["hits"] == []
        joined = await client.post("/multi-search", json={"queries": queries, "federation": {}}, headers=headers)
        assert {hit["value"] for hit in joined.json()["hits"]} == {"b"}
        refused = await client.post(
            "/multi-search", json={"queries": [*queries, {"indexUid": "cars"}]}, headers=headers
        )
        assert refused.status_code == 403
        assert refused.json()["message"] == "Inside `.queries[2]`: The provided API key is invalid."


async def test_a_key_for_one_index_is_shown_that_and_its_tasks(tmp_path: Path) -> None:
    async with guarded_proxy(tmp_path) as client:
        actions = ["indexes.get", "indexes.create", "stats.get", "tasks.get", "documents.add", "settings.update"]
        key = (await client.post("/keys", json={**SCOPED, "actions": actions})).json()
        headers = {"authorization": f"Bearer {key['key']}"}

        async def ask(method: str, path: str, body: Any = None) -> Any:
            return (await client.request(method, path, json=body, headers=headers)).json()

        page = await ask("GET", "/indexes")
        assert [index["uid"] for index in page["results"]] == ["books"] and page["total"] == 1
        assert list((await ask("GET", "/stats"))["indexes"]) == ["books"]
        for method, path in (("GET", "/indexes/cars"), ("GET", "/indexes/cars/stats")):
            assert (await ask(method, path))["message"].startswith("The API key cannot acces the index `cars`")
        assert (await ask("POST", "/indexes", {"uid": "bikes"}))["code"] == "invalid_api_key"
        assert (await ask("POST", "/indexes/cars/documents", [{"id": 1}]))["code"] == "invalid_api_key"
        made = await ask("PUT", "/indexes/books/settings/stop-words", ["the"])
        other = (await client.put("/indexes/cars/settings/stop-words", json=["the"])).json()
        seen = {task["uid"] for task in (await ask("GET", "/tasks"))["results"]}
        assert made["taskUid"] in seen and other["taskUid"] not in seen
        assert (await ask("GET", f"/tasks/{other['taskUid']}"))["code"] == "task_not_found"


async def test_facets_are_the_tenants_own(tmp_path: Path) -> None:
    async with guarded_proxy(tmp_path) as client:
        key = (await client.post("/keys", json=SCOPED)).json()
        given = token({"apiKeyUid": key["uid"], "searchRules": {"*": {"filter": "value = b"}}}, key["key"])
        headers = {"authorization": f"Bearer {given}"}
        body = {"facetName": "value", "facetQuery": ""}
        hits = (await client.post("/indexes/books/facet-search", json=body, headers=headers)).json()["facetHits"]
        assert [hit["value"] for hit in hits] == ["b"]
