"""Writes, tasks and webhooks, good and bad: the proxy over real nodes answers as one real server does."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from miroir_cli.cluster import Cluster
from miroir_cli.indexes.configure import change_settings
from miroir_cli.tasks.registry import enqueue, perform
from tests.contract.server import ANEW
from tests.faults.servers import LIVE, Server, servers_of
from tests.proxy.conftest import serving

pytestmark = LIVE

JSON, NDJSON, CSV = "application/json", "application/x-ndjson", "text/csv"
D, P = "/indexes/films/documents", "/indexes/plain/documents"
NEW = "/indexes/{}/documents"
SETTINGS = {"filterableAttributes": ["_geo", "n"], "embedders": {"e": {"source": "userProvided", "dimensions": 2}}}
OUT = {"e": None}

Request = tuple[str, str, Any, str | None]


def post(path: str, body: Any, kind: str | None = JSON) -> Request:
    return "POST", path, body, kind


def _any(*values: Any) -> tuple[Any, ...]:
    return values


def documents(*values: Any) -> Request:
    return post(D, list(values))


PAYLOADS: list[Request] = [
    post(P, b"[]", None),
    post(P, b"[]", "text/plain"),
    *(post(P, b"", kind) for kind in (JSON, NDJSON, CSV)),
    post(P, b"  "),
    post(P, b" \n ", NDJSON),
    post(P, b'{"id":1,'),
    post(P, b'[{"id":1},{"id"]'),
    post(P, b"12"),
    post(P, b'"x"'),
    post(P, b"null"),
    post(P, b'{"id":1}{"id":2}'),
    post(P, b'{"id":21}{"id":22}\n {"id":\n23}', NDJSON),
    post(P, b'{"id":1}\r\n\r\n{"id":2}', NDJSON),
    post(P, b"id,n:number\n31,2\n32,", CSV),
    post(f"{P}?csvDelimiter=;", b"id;c:d;b:boolean\n33;x;true", CSV),
    post(P, b"id,n\n", CSV),
    post(P, b'{"id":1}\n{"id":', NDJSON),
    post(P, b'{"id":1}\n\n{"id" 3}\n{"id":1}', NDJSON),
    post(P, b'{"id":1} x\n{"id":1}', NDJSON),
    post(P, b"id,n:number\n1,2\n2,x", CSV),
    post(P, b"id,n:boolean\n1,yes", CSV),
    post(P, b"id,n\n1,2\n\n1,2,3", CSV),
    post(P, b"id,n\n1", CSV),
    post(f"{P}?csvDelimiter=;", b"[]"),
    post(f"{P}?csvDelimiter=;;", b"id\n1", CSV),
    post(f"{P}?csvDelimiter=%C3%A9", b"id\n1", CSV),
    post(f"{P}?csvDelimiter=", b"id\n1", CSV),
    post(f"{P}?skipCreation=yes", b"[]"),
    post(f"{P}?primaryKy=x", b"[]"),
    post(f"{P}?foo=x", b"[]"),
    post("/indexes/a%20b/documents", b"[]"),
    post(P, b"\xef\xbb\xbf[]"),
    post(P, []),
    post(P, {"id": 40, "n": 1}),
    post(P, [{"id": 5}, {"id": 5}, {"id": "5"}]),
    ("PUT", f"{P}?skipCreation=true", [{"id": 5, "q": 1}, {"id": 77}], JSON),
    ("PUT", f"{P}?customMetadata=mine", [{"id": 5, "q": 2}], JSON),
]

DOCUMENTS: list[Request] = [
    post(NEW.format("e2"), [{"name": "x"}]),
    post(NEW.format("e3"), [{"name": "x", "book_id": 1, "fooId": 2, "aid": 3}]),
    post(NEW.format("e4"), [{"name": "x", "book_id": 1}]),
    post(NEW.format("e5") + "?primaryKey=key", [{"name": "x", "book_id": 1}]),
    post(NEW.format("e6"), [{"id": None, "x": 1}, {"id": 2}]),
    post(NEW.format("e7"), []),
    *(("GET", f"/indexes/e{number}", None, None) for number in range(1, 8)),
    post(NEW.format("e2"), [{"name": "x", "anId": 1}]),
    post(NEW.format("e7"), [{"name": "x", "anId": 1, "id": 2}]),
    post(NEW.format("e7") + "?primaryKey=name", [{"name": "x", "anId": 1, "id": 2}]),
    *(("GET", f"/indexes/e{number}", None, None) for number in (2, 7)),
    documents({"id": 1, "_vectors": OUT}, {"x": 2, "b": {"z": 1.5, "a": "é"}}),
    *(documents({"id": key}) for key in ("a b", 1.5, {"a": 1}, None, "a" * 512, "", True, [1])),
    post(f"{D}?primaryKey=x", [{"id": 1}]),
    post(f"{D}?primaryKey=id", [{"id": 1, "_vectors": OUT}]),
    *(
        documents({"id": 1, "_geo": geo, "_vectors": OUT})
        for geo in (
            *(3, "s", {}, {"lat": 1}, {"lng": 1}, {"lat": "x", "lng": 1}, {"lat": 1, "lng": "x"}),
            *({"lat": "x", "lng": "y"}, {"lat": 1, "lng": 1, "z": 2, "a": []}, {"lat": None, "lng": 1}, {"z": 2}),
            {"lat": "1.5", "lng": 2},
        )
    ),
    *(
        documents({"id": 1, "_vectors": {"e": vectors}})
        for vectors in (
            *([1], [1, 2, 3], [[1, 2], [1]], "x", True, 3, 1.5, ["a"], [[1, 2], 3], [[1, "x"]], {}, [1, 2]),
            *({"embeddings": [1, 2]}, {"regenerate": False, "embeddings": "x"}),
            *({"regenerate": False, "embeddings": [1]}, {"regenerate": False, "embeddings": [1, "a"]}),
        )
    ),
    documents({"id": 1, "_vectors": {"e": None, "other": ["x"]}}),
]

DELETIONS: list[Request] = [
    ("DELETE", f"{D}/5", None, None),
    ("DELETE", f"{D}/a%20b", None, None),
    ("DELETE", "/indexes/nope/documents/1", None, None),
    ("DELETE", f"{D}?foo=1", None, None),
    ("DELETE", "/indexes/nope/documents", None, None),
    *(
        post(f"{D}/delete-batch", ids)
        for ids in _any([1, "2", "zzz", 2], [1.5, None, {"a": 1}, [2]], [], {"a": 1}, b"[1", b"", "x", 3)
    ),
    *(
        post(f"{D}/delete", body)
        for body in _any(
            *({}, {"filter": "n = 1", "b": 1}, {"filter": ""}, {"filter": []}, {"filter": [[]]}),
            *({"filter": "n == "}, {"filter": 3}, {"filter": "y = 1"}, {"filter": ["n = 1", ["n = 2", "n = 3"]]}),
            *({"filter": "n = 2"}, {"filter": "_geoRadius(1,2)"}, {"filter": "n = 1 AND"}, {"filter": "n != 7"}),
        )
    ),
    post("/indexes/nope/documents/delete", {"filter": "x = 1"}),
    ("DELETE", f"{D}?customMetadata=mine", None, None),
]

TASKS: list[Request] = [
    *(
        ("GET", f"/tasks?{query}", None, None)
        for query in (
            *("limit=x", "from=-1", "reverse=2", "uids=a,1", "statuses=foo", "types=foo", "indexUids=a%20b"),
            *("canceledBy=x", "beforeEnqueuedAt=foo", "afterEnqueuedAt=2020", "foo=1", "limt=1", "limit=0"),
            *("limit=", "from=99999999999", "batchUids=x", "limit=-1", "reverse=True", "statuse=1", "index_uids=1"),
            *(
                "uids=",
                "uids=1,2&limit=1",
                "statuses=succeeded,failed&limit=200",
                "uids=1,*&limit=2&reverse=true",
                "statuses=Failed&limit=3",
            ),
            *("statuses=succeeded,failed&limit=200",),
            *("types=documentDeletion&limit=2", "indexUids=e4", "afterEnqueuedAt=2020-01-01&limit=1"),
            *("beforeFinishedAt=2020-01-01", "canceledBy=1", "reverse=true&from=3&limit=2"),
        )
    ),
    *(("GET", path, None, None) for path in ("/tasks/x", "/tasks/99999", "/tasks/99999999999", "/tasks/1")),
    *(("GET", path, None, None) for path in ("/batches/x", "/batches/99999", "/batches?foo=1")),
    ("POST", "/tasks/cancel", None, None),
    ("DELETE", "/tasks", None, None),
    ("POST", "/tasks/cancel?foo=1", None, None),
    ("DELETE", "/tasks?limit=1", None, None),
    ("POST", "/tasks/cancel?uids=1,2", None, None),
    ("DELETE", "/tasks?uids=1,99999", None, None),
    ("GET", "/tasks/1", None, None),
    ("POST", "/tasks/cancel?indexUids=films&statuses=*", None, None),
]

HOOK = "http://127.0.0.1:9/x"
WEBHOOKS: list[Request] = [
    *(
        post("/webhooks", body)
        for body in _any(
            *({}, {"url": "foo"}, {"url": 3}, {"url": None}, {"url": ""}, {"url": "http://"}, b"[1", []),
            *({"url": HOOK, "headers": 3}, {"url": HOOK, "headers": {"x": 3}}, {"url": HOOK, "foo": 1}),
            *({"url": HOOK, "headers": {"bad header": "b"}}, {"url": HOOK, "headers": {"x": "b\n"}}),
            *({"uuid": "x", "url": HOOK}, {"isEditable": True, "url": HOOK}, {"url": HOOK, "urls": 1}),
            {"url": HOOK, "headers": {"authorization": "Bearer verysecrettoken", "x": "y", "Authorization": "short"}},
        )
    ),
    ("GET", "/webhooks", None, None),
    *(("GET", f"/webhooks/{id}", None, None) for id in ("x", "627ea538", "627ea538-733d-4545-8d2d-03526eb381ce")),
    ("PATCH", "/webhooks/00000000-0000-0000-0000-000000000000", {"url": HOOK}, JSON),
    ("DELETE", "/webhooks/627ea538-733d-4545-8d2d-03526eb381ce", None, None),
]

WHEN = re.compile(r'"(enqueuedAt|startedAt|finishedAt|duration|createdAt|updatedAt)":("[^"]*")')
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
NUMBERS = re.compile(r'"(batchUid|taskUid|uid|total|from|next)":\d+')


def plain(text: str) -> str:
    """An answer without times and numbers of tasks."""
    return NUMBERS.sub(r'"\1":0', UUID.sub("UUID", WHEN.sub(r'"\1":""', text)))


async def told(client: httpx.AsyncClient, request: Request) -> list[Any]:
    """What a server says to a request: the answer, and what became of its task."""
    method, path, body, kind = request
    content: dict[str, Any] = {"content": body} if isinstance(body, bytes | None) else {"json": body}
    headers = {"content-type": kind} if kind is not None else {}
    answer = await client.request(method, path, headers=headers, **content)
    said: list[Any] = [answer.status_code, plain(answer.text)]
    if answer.is_success and "taskUid" in answer.text:
        async with asyncio.timeout(20):
            while True:
                task = await client.get(f"/tasks/{answer.json()['taskUid']}")
                if task.json()["status"] not in ("enqueued", "processing"):
                    break
                await asyncio.sleep(0.03)
        said.append(plain(task.text))
    return said


@asynccontextmanager
async def both(folder: Path) -> AsyncIterator[tuple[httpx.AsyncClient, httpx.AsyncClient]]:
    """A server alone and the proxy, each with an index of the same settings."""
    with servers_of(folder, nodes=3, shards=4) as (world, servers):
        alone = servers.pop()
        topology = world.path
        _leave_out(topology, alone)
        async with serving(topology) as served, httpx.AsyncClient(base_url=alone.url, limits=ANEW) as one:
            for client in (one, served.client):
                await told(client, documents({"id": 1, "_vectors": OUT}))
                await told(client, post(P, [{"id": 1}]))
            await told(one, ("PATCH", "/indexes/films/settings", SETTINGS, JSON))
            await _settings_by_a_task(served.service.cluster)
            yield one, served.client


async def _settings_by_a_task(cluster: Cluster) -> None:
    async def work() -> None:
        await change_settings(cluster, "films", SETTINGS)

    task = await enqueue(cluster, type="settingsUpdate", uid="films", details=SETTINGS)
    assert (await perform(cluster, task, work, wait=30)).status == "succeeded"


def _leave_out(topology: Path, server: Server) -> None:
    parts = topology.read_text().split("[[nodes]]")
    topology.write_text("[[nodes]]".join(part for part in parts if server.url not in part))


async def test_both_say_the_same(tmp_path: Path) -> None:
    different = []
    async with both(tmp_path) as (one, many):
        for request in (*PAYLOADS, *DOCUMENTS, *DELETIONS, *TASKS, *WEBHOOKS):
            expected, found = await told(one, request), await told(many, request)
            if expected != found:
                different.append((request, expected, found))
    for request, expected, found in different:
        print(request, *expected, *found, sep="\n    ")  # noqa: T201
    assert not different
