"""Aliases over HTTP: the admin API that makes them, and clients that know an index by one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from miroir_cli import metrics
from miroir_cli.cluster import open_cluster
from miroir_cli.dev.engine.testing import Engine
from miroir_cli.indexes.aliases import create_alias, flip_alias
from miroir_cli.proxy.access import Caller
from miroir_cli.proxy.gauges import measure
from miroir_cli.store.aliases import AliasKind
from miroir_cli.store.journal import JournalQuery
from tests.backends import both_backends
from tests.faults.world import eventually
from tests.proxy.conftest import Served, serving, write_topology
from tests.proxy.guarded import MASTER, guarded_world, token
from tests.proxy.test_index_routes import done, fail, succeed

ADMIN = {"x-admin-key": "a-key-of-its-own"}
SECTION = '[serve.admin]\nkey_env = "TEST_ADMIN_KEY"\n'
HELD = ("a", "b")


@asynccontextmanager
async def proxy(folder: Path, engines: list[Engine], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    """The proxy with an admin key over `a` and `b`, which have a document of their own and one of the same id."""
    monkeypatch.setenv("TEST_ADMIN_KEY", ADMIN["x-admin-key"])
    async with serving(write_topology(folder, engines, more=SECTION)) as served:
        for uid in HELD:
            documents = [{"id": id, "of": uid, "title": f"of {uid}"} for id in ("same", f"{uid}1")]
            await succeed(served, "POST", f"/indexes/{uid}/documents?primaryKey=id", documents)
            await succeed(served, "PATCH", f"/indexes/{uid}/settings", {"filterableAttributes": ["of"]})
        yield served


@pytest.fixture
async def served(tmp_path: Path, engines: list[Engine], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    """The same; `live` stands for `a`."""
    async with proxy(tmp_path, engines, monkeypatch) as found:
        assert (await admin(found, "POST", "", {"name": "live", "targets": ["a"]})).status_code == 201
        yield found


async def admin(served: Served, method: str, name: str, body: Any = None) -> httpx.Response:
    path = f"/_miroir/aliases/{name}" if name else "/_miroir/aliases"
    return await served.client.request(method, path, json=body, headers=ADMIN)


async def found(served: Served, name: str) -> set[str]:
    """Whose documents a search finds."""
    answer = await served.client.post(f"/indexes/{name}/search", json={"q": ""})
    assert answer.status_code == 200, answer.text
    return {hit["of"] for hit in answer.json()["hits"]}


# -- the admin API


@both_backends
async def test_an_alias_is_made_shown_flipped_and_deleted(served: Served) -> None:
    assert await found(served, "live") == {"a"}
    listed = (await admin(served, "GET", "")).json()["aliases"]
    assert [(alias["name"], alias["kind"], alias["targets"]) for alias in listed] == [("live", "single", ["a"])]
    flipped = await admin(served, "PUT", "live", {"targets": ["b"], "version": listed[0]["version"]})
    assert flipped.status_code == 200 and flipped.json()["targets"] == ["b"]
    assert await found(served, "live") == {"b"}
    shown = (await admin(served, "GET", "live")).json()
    assert [turn["targets"] for turn in shown["history"]] == [["b"], ["a"]]
    late = await admin(served, "PUT", "live", {"targets": ["a"], "version": listed[0]["version"]})
    assert (late.status_code, late.json()["code"]) == (409, "miroir_alias_changed")
    gone = await admin(served, "DELETE", "live")
    assert (gone.status_code, gone.content) == (204, b"")
    assert (await admin(served, "GET", "live")).status_code == 404
    answer = await served.client.post("/indexes/live/search", json={})
    assert (answer.status_code, answer.json()["code"]) == (404, "index_not_found")


@both_backends
async def test_flips_are_counted_whoever_makes_them(served: Served) -> None:
    async def counted() -> float:
        await measure(served.service)
        text = (await served.client.get("/_miroir/metrics", headers=ADMIN)).text
        (line,) = (line for line in text.splitlines() if line.startswith("miroir_alias_flips_total "))
        return float(line.split()[-1])

    metrics.enable()
    before = await counted()
    await admin(served, "PUT", "live", {"targets": ["b"]})
    assert await counted() == before + 1
    async with open_cluster(served.service.cluster.topology) as elsewhere:
        for target in ("a", "b"):
            await flip_alias(elsewhere, "live", [target])
        await create_alias(elsewhere, "new", ["a"])
        await flip_alias(elsewhere, "new", ["a"])
    assert await counted() == before + 3
    assert await counted() == before + 3


async def test_what_changes_an_alias_is_in_the_journal_and_needs_the_key(served: Served) -> None:
    for method, name, body in (("GET", "", None), ("PUT", "live", {"targets": ["b"]}), ("DELETE", "live", None)):
        path = f"/_miroir/aliases/{name}".rstrip("/")
        assert (await served.client.request(method, path, json=body)).status_code == 401
    await admin(served, "PUT", "live", {"targets": ["b"]})
    commands = await served.service.cluster.store.commands(JournalQuery(limit=10))
    assert [(each.words, each.line) for each in commands] == [
        ("serve: alias flip", "PUT /_miroir/aliases/live"),
        ("serve: alias create", "POST /_miroir/aliases"),
    ]


@pytest.mark.parametrize(
    ("method", "name", "body", "status", "said"),
    [
        ("POST", "", [], 400, "the body is not an object"),
        ("POST", "", {"targets": ["a"]}, 400, "`name` is missing"),
        ("POST", "", {"name": 1, "targets": ["a"]}, 400, "`name` is not a text"),
        ("POST", "", {"name": "x", "targets": "a"}, 400, "`targets` is not a list"),
        ("POST", "", {"name": "x", "targets": ["a"], "kind": "many"}, 400, "`kind` is neither"),
        ("POST", "", {"name": "x", "targets": ["a"], "to": 1}, 400, "`to` is not a key"),
        ("POST", "", {"name": "x", "targets": ["a", "b"], "kind": "single"}, 400, "cannot for 2"),
        ("POST", "", {"name": "x", "targets": ["c"]}, 404, "Index `c` not found"),
        ("POST", "", {"name": "x.y", "targets": ["a"]}, 400, "cannot be the name of an alias"),
        ("POST", "", {"name": "live", "targets": ["a"]}, 409, "it is an alias of index `a`"),
        ("POST", "", {"name": "b", "targets": ["a"]}, 409, "it is an index"),
        ("PUT", "live", {}, 400, "`targets` is missing"),
        ("PUT", "live", {"targets": ["b"], "version": "1"}, 400, "`version` is not"),
        ("PUT", "nothing", {"targets": ["b"]}, 404, "alias `nothing` not found"),
        ("DELETE", "nothing", None, 404, "alias `nothing` not found"),
    ],
)
async def test_mistakes_are_named(served: Served, method: str, name: str, body: Any, status: int, said: str) -> None:
    answer = await admin(served, method, name, body)
    assert answer.status_code == status and said in answer.json()["message"], answer.text
    assert [alias.targets for alias in await served.service.cluster.store.aliases()] == [("a",)]


# -- clients


@both_backends
async def test_clients_read_and_write_by_an_alias(served: Served) -> None:
    client = served.client
    task = await succeed(served, "POST", "/indexes/live/documents", [{"id": "new", "of": "a"}])
    assert task["indexUid"] == "a"
    assert (await client.get("/indexes/live/documents/new")).json()["of"] == "a"
    listed = (await client.get("/indexes/live/documents?limit=100")).json()
    fetched = (await client.post("/indexes/live/documents/fetch", json={"limit": 100})).json()
    assert listed["total"] == fetched["total"] == 3
    assert (await client.get("/indexes/live/search?q=new")).json()["hits"][0]["id"] == "new"
    facets = await client.post("/indexes/live/facet-search", json={"facetName": "of"})
    assert facets.json()["facetHits"] == [{"value": "a", "count": 3}]
    assert (await client.get("/indexes/live/stats")).json()["numberOfDocuments"] == 3
    queries = [{"indexUid": "live", "q": "new"}, {"indexUid": "b"}]
    several = (await client.post("/multi-search", json={"queries": queries})).json()["results"]
    assert [(each["indexUid"], each["hits"][0]["of"]) for each in several] == [("live", "a"), ("b", "b")]
    joint = (await client.post("/multi-search", json={"federation": {}, "queries": queries})).json()
    assert {hit["_federation"]["indexUid"] for hit in joint["hits"]} == {"live", "b"}
    await succeed(served, "DELETE", "/indexes/live/documents/new")
    await succeed(served, "POST", "/indexes/live/documents/delete", {"filter": "of = b"})
    await admin(served, "PUT", "live", {"targets": ["b"]})
    await succeed(served, "DELETE", "/indexes/live/documents")
    assert await found(served, "live") == await found(served, "b") == set()
    assert await found(served, "a") == {"a"}


async def test_settings_are_those_of_the_index(served: Served) -> None:
    task = await succeed(served, "PUT", "/indexes/live/settings/stop-words", ["the"])
    assert task["indexUid"] == "a"
    assert (await served.client.get("/indexes/a/settings/stop-words")).json() == ["the"]
    assert (await served.client.get("/indexes/live/settings")).json()["stopWords"] == ["the"]
    assert (await served.client.get("/indexes/b/settings/stop-words")).json() == []
    await succeed(served, "DELETE", "/indexes/live/settings")
    assert (await served.client.get("/indexes/a/settings/stop-words")).json() == []


async def test_an_index_that_is_asked_for_by_an_alias_is_called_so(served: Served) -> None:
    """A client's library goes on with the uid that it is told."""
    shown = (await served.client.get("/indexes/live")).json()
    assert (shown["uid"], shown["primaryKey"]) == ("live", "id")
    listed = (await served.client.get("/indexes")).json()["results"]
    assert [index["uid"] for index in listed] == ["a", "b"]


async def test_refusals_are_those_of_the_index(served: Served) -> None:
    for path, body in (
        ("search", {"filter": "year = 1"}),
        ("search", {"limit": "many"}),
        ("facet-search", {"facetName": "year"}),
        ("documents/fetch", {"sort": ["year:asc"]}),
    ):
        by_name = await served.client.post(f"/indexes/a/{path}", json=body)
        by_alias = await served.client.post(f"/indexes/live/{path}", json=body)
        assert by_name.status_code == by_alias.status_code == 400
        assert by_alias.json() == by_name.json()
    for query in ("limit=many", "unknown=1"):
        by_name = await served.client.get(f"/indexes/a/documents?{query}")
        by_alias = await served.client.get(f"/indexes/live/documents?{query}")
        assert by_alias.json() == by_name.json() and by_name.status_code == 400


async def test_what_is_done_with_an_index_itself_is_refused(served: Served) -> None:
    client = served.client
    for answer in (
        await client.delete("/indexes/live"),
        await client.patch("/indexes/live", json={"uid": "other"}),
        await client.post("/swap-indexes", json=[{"indexes": ["live", "b"]}]),
        await client.post("/swap-indexes", json=[{"indexes": ["b", "live"], "rename": True}]),
    ):
        assert (answer.status_code, answer.json()["code"]) == (400, "miroir_is_an_alias"), answer.text
    error = await fail(served, "POST", "/indexes", {"uid": "live"})
    assert error["code"] == "index_already_exists"
    error = await fail(served, "DELETE", "/indexes/a")
    assert error["code"] == "miroir_refused" and "alias `live` stands for index `a`" in error["message"]
    assert await found(served, "live") == {"a"}


async def test_one_of_several_indexes_is_searched_and_not_written_to(served: Served) -> None:
    made = await admin(served, "POST", "", {"name": "all", "targets": ["b", "a"]})
    assert (made.json()["kind"], made.json()["targets"]) == ("multi", ["a", "b"])
    assert await found(served, "all") == {"a", "b"}
    answer = (await served.client.get("/indexes/all/search?q=of&limit=1&facets=of")).json()
    assert (answer["query"], answer["limit"], answer["estimatedTotalHits"]) == ("of", 1, 4)
    assert answer["facetDistribution"] == {"of": {"a": 2, "b": 2}}
    for method, path, body in (
        ("POST", "documents", [{"id": "x"}]),
        ("DELETE", "documents", None),
        ("PATCH", "settings", {"stopWords": []}),
        ("PATCH", "", {"primaryKey": "x"}),
    ):
        refused = await served.client.request(method, f"/indexes/all/{path}".rstrip("/"), json=body)
        assert (refused.status_code, refused.json()["code"]) == (409, "miroir_multi_alias_not_writable"), refused.text
    for path in ("documents", "documents/same", "settings", "stats", ""):
        refused = await served.client.get(f"/indexes/all/{path}".rstrip("/"))
        assert (refused.status_code, refused.json()["code"]) == (400, "miroir_multi_alias"), path
    wrong = await served.client.post("/indexes/all/search", json={"filter": "year = 1"})
    alone = await served.client.post("/indexes/a/search", json={"filter": "year = 1"})
    assert (wrong.status_code, wrong.json()["message"]) == (400, alone.json()["message"])


def places(hits: list[dict[str, Any]], of: list[int]) -> list[dict[str, Any]]:
    """Hits whose `queriesPosition` is the number of the query of another request, by its position in this one."""
    moved = []
    for hit in hits:
        origin = hit["_federation"]
        moved.append({**hit, "_federation": {**origin, "queriesPosition": of[origin["queriesPosition"]]}})
    return moved


@both_backends
async def test_a_query_of_a_federation_by_one_of_several_is_one_of_each_index(served: Served) -> None:
    """The same answer as to a request that names the indexes, but that the client's own queries are numbered."""
    await admin(served, "POST", "", {"name": "all", "targets": ["a", "b"]})
    shared = {"q": "of", "showRankingScore": True, "federationOptions": {"weight": 0.7}}
    extra = [{"indexUid": "a", "q": "a1"}, {"indexUid": "b", "q": "b", "filter": "of = b"}]
    for federation, facets in (
        ({"limit": 3, "offset": 1}, {"all": ["of"]}),
        ({"limit": 9, "mergeFacets": {}}, {"all": ["of"]}),
        ({"page": 1, "hitsPerPage": 2, "distinct": "of"}, {}),
        ({}, {"all": ["of"], "b": []}),
    ):
        named = {uid: facets.get(uid, facets["all"]) for uid in HELD} if facets else {}
        bodies = []
        for queries, by_index in (
            ([extra[0], {"indexUid": "all", **shared}, extra[1]], facets),
            ([extra[0], *({"indexUid": uid, **shared} for uid in HELD), extra[1]], named),
        ):
            request = {"federation": {**federation, "facetsByIndex": by_index}, "queries": queries}
            answer = await served.client.post("/multi-search", json=request)
            assert answer.status_code == 200, answer.text
            bodies.append({**answer.json(), "processingTimeMs": 0, "requestUid": ""})
        by_alias, by_name = bodies
        assert by_alias == {**by_name, "hits": places(by_name["hits"], [0, 1, 1, 2])}
        assert by_alias["hits"]


async def test_what_is_wrong_with_a_query_by_one_of_several_names_the_query(served: Served) -> None:
    await admin(served, "POST", "", {"name": "all", "targets": ["a", "b"]})
    for wrong, code in (
        ({"indexUid": "all", "q": "x", "filter": "year = 1"}, "invalid_search_filter"),
        ({"indexUid": "all", "q": "x", "limit": 3}, "invalid_multi_search_query_pagination"),
        ({"indexUid": "none", "q": "x"}, "index_not_found"),
    ):
        queries = [{"indexUid": "all", "q": "of"}, wrong]
        answer = await served.client.post("/multi-search", json={"federation": {}, "queries": queries})
        assert answer.json()["code"] == code, answer.text
        assert answer.json()["message"].startswith("Inside `.queries[1]`: ")


@both_backends
async def test_a_session_sees_by_an_alias_what_it_wrote_by_it(served: Served) -> None:
    session = {"x-miroir-session": "s"}
    for number in range(10):
        documents = [{"id": f"n{number}", "of": "a"}]
        accepted = await served.client.post("/indexes/live/documents", json=documents, headers=session)
        assert accepted.status_code == 202
        answer = await served.client.get(f"/indexes/live/documents/n{number}", headers=session)
        assert answer.status_code == 200, answer.text
        assert (await served.client.get(f"/indexes/a/documents/n{number}", headers=session)).status_code == 200


@both_backends
async def test_equal_searches_before_and_after_a_flip_do_not_share_an_answer(served: Served) -> None:
    for number in range(20):
        before = [asyncio.create_task(found(served, "live")) for _ in range(5)]
        await asyncio.sleep(0)
        await admin(served, "PUT", "live", {"targets": [HELD[(number + 1) % 2]]})
        after = await asyncio.gather(*(found(served, "live") for _ in range(5)))
        assert after == [{HELD[(number + 1) % 2]}] * 5
        assert all(len(of) == 1 for of in await asyncio.gather(*before))


@both_backends
async def test_a_write_to_an_index_that_was_flipped_away_and_deleted_meanwhile_goes_to_the_new_one(
    served: Served,
) -> None:
    await admin(served, "PUT", "live", {"targets": ["b"]})
    accepted, _ = await asyncio.gather(
        served.client.post("/indexes/live/documents", json=[{"id": "new", "of": "b"}]),
        succeed(served, "DELETE", "/indexes/a"),
    )
    task = await done(served, accepted)
    assert (task["indexUid"], task["status"]) == ("b", "succeeded")


# -- keys and tokens


@asynccontextmanager
async def guarded(folder: Path) -> AsyncIterator[tuple[Served, dict[str, str]]]:
    """A proxy of nodes with a master key over `a` and `b`; `live` stands for `a`. And the master's header."""
    master = {"authorization": f"Bearer {MASTER}"}
    with guarded_world(folder) as world:
        async with serving(world.path) as served:
            served.client.headers.update(master)
            for uid in HELD:
                documents = [{"id": id, "of": uid, "who": who} for id, who in (("1", "me"), ("2", "you"))]
                await succeed(served, "POST", f"/indexes/{uid}/documents?primaryKey=id", documents)
                await succeed(served, "PATCH", f"/indexes/{uid}/settings", {"filterableAttributes": ["of", "who"]})
            await served.service.cluster.store.create_alias("live", ["a"])
            await served.service.cluster.store.create_alias("all", ["a", "b"], kind=AliasKind.MULTI)
            yield served, master


async def key_for(served: Served, *indexes: str) -> dict[str, Any]:
    body = {"actions": ["search", "documents.*", "tasks.get"], "indexes": list(indexes), "expiresAt": None}
    made = await served.client.post("/keys", json=body)
    assert made.status_code == 201, made.text
    found: dict[str, Any] = made.json()
    return found


def bearer(value: str) -> dict[str, str]:
    return {"authorization": f"Bearer {value}"}


async def test_a_key_is_for_the_names_of_requests(tmp_path: Path) -> None:
    async with guarded(tmp_path) as (served, _):
        alias, target = await key_for(served, "live"), await key_for(served, "a")
        for key, name, status in ((alias, "live", 200), (alias, "a", 403), (target, "a", 200), (target, "live", 403)):
            answer = await served.client.post(f"/indexes/{name}/search", json={}, headers=bearer(key["key"]))
            assert answer.status_code == status, (key["indexes"], name, answer.text)
        await served.service.cluster.store.flip_alias((await served.service.cluster.store.aliases())[1], ["b"])
        answer = await served.client.post("/indexes/live/search", json={}, headers=bearer(alias["key"]))
        assert {hit["of"] for hit in answer.json()["hits"]} == {"b"}


@both_backends
async def test_a_key_for_an_alias_sees_the_tasks_of_what_was_written_by_it(tmp_path: Path) -> None:
    async with guarded(tmp_path) as (served, _):
        headers = bearer((await key_for(served, "live"))["key"])
        accepted = await served.client.post("/indexes/live/documents", json=[{"id": "3"}], headers=headers)
        uid = accepted.json()["taskUid"]

        async def succeeded() -> bool:
            task = await served.client.get(f"/tasks/{uid}", headers=headers)
            assert task.status_code == 200, task.text
            return bool(task.json()["status"] == "succeeded")

        await eventually(succeeded, timeout=30)
        listed = (await served.client.get("/tasks?indexUids=live", headers=headers)).json()["results"]
        assert [(task["uid"], task["indexUid"]) for task in listed] == [(uid, "a")]
        everything = (await served.client.get("/tasks", headers=headers)).json()["results"]
        assert [task["uid"] for task in everything] == [uid], "not those of others for the same index"


async def test_no_other_name_leads_around_a_tenants_filter(tmp_path: Path) -> None:
    async with guarded(tmp_path) as (served, _):
        key = await key_for(served, "*")

        async def seen(rules: Any, name: str) -> list[str] | int:
            claims = {"apiKeyUid": key["uid"], "searchRules": rules}
            answer = await served.client.post(
                f"/indexes/{name}/search", json={}, headers=bearer(token(claims, key["key"]))
            )
            return sorted(hit["who"] for hit in answer.json()["hits"]) if answer.is_success else answer.status_code

        mine = {"filter": "who = me"}
        assert await seen({"*": None}, "live") == ["me", "you"]
        assert await seen({"*": mine}, "live") == ["me"]
        assert await seen({"*": None, "a": mine}, "live") == ["me"]
        assert await seen({"live": mine}, "live") == ["me"]
        assert await seen({"live": None, "*": mine}, "live") == ["me", "you"]
        assert await seen({"live": {"filter": "who = you"}, "a": mine}, "live") == []
        assert await seen({"a": None}, "live") == 403
        assert await seen({"*": mine}, "all") == ["me", "me"]
        assert await seen({"*": None, "a": mine}, "all") == 403
        queries = {"queries": [{"indexUid": "live"}]}
        claims = {"apiKeyUid": key["uid"], "searchRules": {"*": None, "a": mine}}
        answer = await served.client.post("/multi-search", json=queries, headers=bearer(token(claims, key["key"])))
        assert [hit["who"] for hit in answer.json()["results"][0]["hits"]] == ["me"]


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({"*": "x"}, ["x"]),
        ({"*": ["x", "z"], "a": "y"}, ["y"]),
        ({"*": "x", "live": "y"}, ["y"]),
        ({"a": "x", "live": ["y", "z"]}, ["x", "y", "z"]),
        ({"a": "x", "live": None}, ["x"]),
        ({"a": None, "live": None, "*": "x"}, None),
        ({"a*": "x", "live": "y"}, ["y"]),
        ({"a*": "x", "li*": "y"}, ["x", "y"]),
        ({"b": "x"}, None),
    ],
)
def test_of_rules_for_both_names_the_more_exact_one_counts(rules: dict[str, Any], expected: list[str] | None) -> None:
    assert Caller(rules=rules).filter_for("a", alias="live") == expected
