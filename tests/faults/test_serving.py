"""`miroir serve` over real servers: what its clients see while nodes die, return and join."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import msgspec
import pytest

from miroir_cli.model import Index, Node, NodeName, StoredUid
from miroir_cli.node.answers import Accepted
from miroir_cli.node.client import NodeClient
from tests.conftest import clean_environment
from tests.faults.moving import FILTERABLE
from tests.faults.servers import LIVE, PATIENCE, Server, servers_of
from tests.faults.traffic import check_moved, keys_of
from tests.faults.world import UID, Ledger, World, create, eventually, put, stale
from tests.schemas import check_output

pytestmark = [*LIVE, pytest.mark.slow]

DOCUMENTS = 500
SHARDS = 8


@contextmanager
def proxy_of(world: World, *options: str) -> Iterator[str]:
    """The url of a `miroir serve` of its own process."""
    line = [sys.executable, "-m", "miroir_cli", "-t", str(world.path), "serve", "--port", "0", *options]
    process = subprocess.Popen(line, env=clean_environment(), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    told: list[str] = []
    found = re.search(r"http://[\d.]+:\d+", process.stderr.readline())
    assert found
    reader = threading.Thread(target=lambda: told.extend(process.stderr or ()), daemon=True)
    reader.start()
    try:
        yield found[0]
    finally:
        process.terminate()
        status = process.wait(timeout=30)
        reader.join(timeout=5)
        process.stderr.close()
        assert status == 0
        assert not [line for line in told if '"level":"error"' in line]


@asynccontextmanager
async def client_of(url: str) -> AsyncIterator[NodeClient]:
    """Somebody who takes the proxy for one Meilisearch."""
    client = NodeClient(Node(name=NodeName("proxy"), url=url), key=None, lean=True)
    try:
        await eventually(lambda: answers(client), timeout=20)
        yield client
    finally:
        await client.close()


async def answers(client: NodeClient) -> bool:
    with contextlib.suppress(Exception):
        await client.health(timeout=5.0)
        return True
    return False


@dataclass(kw_only=True)
class Load:
    """Searches and writes of a client, so many a second, until the block ends. Every search must find all documents;
    `tasks` are those of the writes by their uids, with the documents that each must have stored."""

    client: NodeClient
    ledger: Ledger
    searches_a_second: int = 150
    writes_a_second: int = 10
    found: int = 0
    tasks: dict[int, dict[str, int]] = field(default_factory=dict)
    _ending: bool = False
    _running: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        self._loops = [
            asyncio.create_task(self._again(self._search, 1 / self.searches_a_second)),
            asyncio.create_task(self._write_on()),
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ending = True
        await asyncio.gather(*self._loops, *self._running)

    async def _again(self, act: object, pause: float) -> None:
        assert callable(act)
        while not self._ending:
            task = asyncio.create_task(act())
            self._running.add(task)
            await asyncio.sleep(pause)
            for done in [each for each in self._running if each.done()]:
                self._running.discard(done)
                done.result()

    async def _search(self) -> None:
        body = await self.client.search(StoredUid(UID), {"q": "", "limit": 1}, timeout=20.0)
        assert body["estimatedTotalHits"] == DOCUMENTS, body
        self.found += 1

    async def _write_on(self) -> None:
        number = 0
        while not self._ending:
            number += 1
            documents = {f"k{(number * 7 + each) % DOCUMENTS}": number for each in range(5)}
            self.ledger.begun(documents)
            lines = b"".join(
                msgspec.json.encode({"id": key, "value": value}) + b"\n" for key, value in documents.items()
            )
            answer = await self.client.write(
                "POST", f"indexes/{UID}/documents", content=lines, content_type="application/x-ndjson"
            )
            assert isinstance(answer, Accepted), answer
            self.tasks[answer.task] = documents
            await asyncio.sleep(1 / self.writes_a_second)

    async def all_stored(self) -> None:
        """Every write that was accepted has succeeded, in the order in which it was accepted."""
        assert list(self.tasks) == sorted(self.tasks)
        for uid, documents in self.tasks.items():
            task = await self.client.wait_task(uid, timeout=60.0)
            assert task["status"] == "succeeded", task
            self.ledger.acknowledged(documents)


@asynccontextmanager
async def filled(folder: Path, *, spare: int = 0) -> AsyncIterator[tuple[World, list[Server], Index, Ledger]]:
    with servers_of(folder, nodes=3, spare=spare, shards=SHARDS, replicas=2) as (world, servers):
        ledger = Ledger()
        async with world.cluster(patience=PATIENCE) as cluster:
            index = await create(cluster, settings=FILTERABLE)
            await put(cluster, index, dict.fromkeys(keys_of(DOCUMENTS), 0), ledger)
        yield world, servers, index, ledger


async def test_a_node_that_is_killed_and_returns_is_not_noticed(tmp_path: Path) -> None:
    async with filled(tmp_path) as (world, servers, index, ledger):
        with proxy_of(world) as url:
            async with client_of(url) as client:
                async with Load(client=client, ledger=ledger) as load:
                    await asyncio.sleep(1.0)
                    servers[1].kill()
                    await asyncio.sleep(3.0)
                    servers[1].start()
                    async with world.cluster(patience=PATIENCE) as cluster:

                        async def mended() -> bool:
                            return not stale(await cluster.reload(UID))

                        await eventually(mended, timeout=60)
                    await asyncio.sleep(1.0)
                await load.all_stored()
                assert load.found > 300
        async with world.cluster(patience=PATIENCE) as cluster:
            await check_moved(cluster, index, ledger, replicas=2)


async def test_a_node_joins_while_the_proxy_serves(tmp_path: Path) -> None:
    async with filled(tmp_path, spare=1) as (world, servers, index, ledger):
        with proxy_of(world, "--workers", "2") as url:
            async with client_of(url) as client:
                async with Load(client=client, ledger=ledger, searches_a_second=60) as load:
                    command = ["node", "add", f"n4={servers[-1].url}", "--yes", "--json"]
                    line = [sys.executable, "-m", "miroir_cli", "-t", str(world.path), *command]
                    done = await asyncio.to_thread(
                        subprocess.run, line, env=clean_environment(), capture_output=True, text=True, timeout=120
                    )
                    assert done.returncode == 0, done.stderr
                    check_output(command, done.stdout)
                    assert json.loads(done.stdout)["state"] == "done"
                await load.all_stored()
                assert load.found > 20
        async with world.cluster(patience=PATIENCE) as cluster:
            found = await check_moved(cluster, index, ledger, replicas=2)
            assert NodeName("n4") in found.nodes()
