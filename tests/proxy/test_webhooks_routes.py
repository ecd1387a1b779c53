"""Webhooks: what has ended is told, compressed, with the headers, until it is taken."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from miroir_cli.tasks.finishing import keep_finishing
from miroir_cli.tasks.webhooks import tell
from tests.backends import both_backends
from tests.faults.world import eventually
from tests.proxy.conftest import Served
from tests.proxy.test_documents_routes import FILMS, ended

SECRET = "Bearer a-secret-that-is-long-enough"


class Receiver:
    """A server that refuses the first requests and then takes every one."""

    def __init__(self, *, refusing: int = 0) -> None:
        self.refusing = refusing
        self.headers: list[dict[str, str]] = []
        self.tasks: list[dict[str, Any]] = []
        self.url = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in head.split("\r\n")[1:] if line)
        }
        body = await reader.readexactly(int(headers["content-length"]))
        refused = self.refusing > 0
        self.refusing -= 1
        if not refused:
            self.headers.append(headers)
            self.tasks += [json.loads(line) for line in gzip.decompress(body).splitlines()]
        status = b"503 Busy" if refused else b"200 OK"
        writer.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()


@asynccontextmanager
async def receiving(*, refusing: int = 0) -> AsyncIterator[Receiver]:
    receiver = Receiver(refusing=refusing)
    server = await asyncio.start_server(receiver.answer, "127.0.0.1", 0)
    receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    async with server:
        yield receiver


async def test_what_has_ended_is_told_as_it_is_shown(served: Served) -> None:
    async with receiving(refusing=1) as receiver:
        body = {"url": receiver.url, "headers": {"Authorization": SECRET, "x-mine": "1"}}
        made = (await served.client.post("/webhooks", json=body)).json()
        assert made["headers"] == {"Authorization": "Bearer a-sXXXXX...", "x-mine": "1"}
        finisher = asyncio.create_task(keep_finishing(served.service.cluster))
        good = await ended(served, await served.client.post(FILMS, json={"id": 1}))
        bad = await ended(served, await served.client.post(FILMS, json={"x": 1}))

        async def both_told() -> bool:
            return len(receiver.tasks) == 2

        await eventually(both_told)
        finisher.cancel()
        assert receiver.tasks == [good, bad]
        headers = receiver.headers[0]
        assert headers["authorization"] == SECRET and headers["x-mine"] == "1"
        assert headers["content-encoding"] == "gzip" and headers["content-type"] == "application/x-ndjson"


async def test_each_task_is_told_once(served: Served) -> None:
    async with receiving() as receiver:
        await served.client.post("/webhooks", json={"url": receiver.url})
        await ended(served, await served.client.post(FILMS, json={"id": 1}))
        assert [await tell(served.service.cluster) for _ in range(2)] == [1, 0]
        assert len(receiver.tasks) == 1


async def test_one_that_does_not_listen_holds_up_nobody(served: Served) -> None:
    await served.client.post("/webhooks", json={"url": "http://127.0.0.1:9/nobody"})
    async with receiving() as receiver:
        await served.client.post("/webhooks", json={"url": receiver.url})
        await ended(served, await served.client.post(FILMS, json={"id": 1}))
        assert await tell(served.service.cluster) == 1
        assert len(receiver.tasks) == 1


@both_backends
async def test_webhooks_outlast_the_process_and_are_deleted(served: Served) -> None:
    made = (await served.client.post("/webhooks", json={"url": "http://127.0.0.1:9/x"})).json()
    assert (await served.client.get("/webhooks")).json() == {"results": [made]}
    changed = await served.client.patch(f"/webhooks/{made['uuid']}", json={"headers": {"a": "b"}})
    assert changed.json() == {**made, "headers": {"a": "b"}}
    assert (await served.client.delete(f"/webhooks/{made['uuid']}")).status_code == 204
    assert (await served.client.get(f"/webhooks/{made['uuid']}")).json()["code"] == "webhook_not_found"
