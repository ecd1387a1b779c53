"""Two proxies, two shells that import, a node that joins, proxies that are killed again and again, a Redis that is
started anew: every acknowledged write is there in the end, and no search through a living proxy was ever short.

`MIROIR_HOSTS_SECONDS` says for how long that goes on with the real servers (20).
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from miroir_cli.dev.engine.testing import running_engine
from miroir_cli.model import Node, NodeName, Secret
from miroir_cli.topology.file import render_topology
from tests.faults.servers import LIVE, servers_of
from tests.proxy.test_server import Process
from tests.store.redis_server import RedisServer, running_redis

LOG = logging.getLogger(__name__)

SEEDS = 600
"""Documents that are there from the beginning to the end."""

FILE = 40
"""Documents of one file that a shell imports."""

MASTER = "the-master-key-of-all-nodes"
"""With it every writer has keys of its own on the nodes."""


@dataclass
class Host:
    """One proxy, which is killed and started again."""

    folder: Path
    process: Process | None = None

    def start(self) -> None:
        """Start it, again and again as systemd would: without its Redis a proxy ends with an error."""
        deadline = time.monotonic() + 60
        while self.process is None:
            try:
                self.process = Process(self.folder)
            except AssertionError:
                if time.monotonic() > deadline:
                    raise

    def kill(self) -> None:
        if self.process is not None:
            process, self.process = self.process, None
            process.kill()


@dataclass
class World:
    """The cluster, and the model of what has been written to it."""

    folder: Path
    redis: RedisServer
    spare: str
    hosts: list[Host]
    acknowledged: set[str] = field(default_factory=set)
    attempted: set[str] = field(default_factory=set)
    newest: dict[str, int] = field(default_factory=dict)
    tried: dict[str, int] = field(default_factory=dict)
    searched: int = 0
    refused: int = 0
    written: int = 0
    killed: int = 0

    @property
    def urls(self) -> list[str]:
        """Where a proxy answers now, or did a moment ago."""
        return [host.process.url for host in self.hosts if host.process is not None]

    async def miroir(self, *words: str) -> tuple[int, str]:
        """Run a command to its end; its exit status and what it printed."""
        line = [sys.executable, "-m", "miroir_cli", "-t", str(self.folder / "miroir.toml"), *words]
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *line, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe
        )
        out, err = await process.communicate()
        return process.returncode or 0, out.decode() if process.returncode == 0 else err.decode()

    async def must(self, *words: str, again: tuple[int, ...] = ()) -> str:
        """The same until it ends well; it may end with one of the statuses that ask to run it again."""
        deadline = time.monotonic() + 100
        while True:
            status, said = await self.miroir(*words)
            if status == 0:
                return said
            assert status in again and time.monotonic() < deadline, (words, status, said)
            await asyncio.sleep(0.2)


def new_client() -> httpx.AsyncClient:
    return httpx.AsyncClient(timeout=30, headers={"Authorization": f"Bearer {MASTER}"})


async def shell(world: World, name: str, is_over: Callable[[], bool]) -> None:
    """A shell that imports one file after the other; one that ends with 5 or 8 is imported again."""
    number = 0
    while not is_over() or not number:
        keys = [f"{name}-{number}-{each}" for each in range(FILE)]
        file = world.folder / f"{name}-{number}.ndjson"
        file.write_text("".join(json.dumps({"id": key, "kind": name, "value": number}) + "\n" for key in keys))
        world.attempted |= set(keys)
        await world.must("import", "books", str(file), "-q", again=(5, 8))
        world.acknowledged |= set(keys)
        number += 1


async def writer(world: World, name: str, is_over: Callable[[], bool]) -> None:
    """A client that changes its own document through whatever proxy answers; each value is higher than the last."""
    async with new_client() as client:
        number = 0
        while not is_over():
            number += 1
            world.tried[name] = number
            with suppress(httpx.HTTPError, IndexError):
                url = random.choice(world.urls)
                document = [{"id": name, "kind": "own", "value": number}]
                answer = await client.post(f"{url}/indexes/books/documents", json=document)
                if answer.status_code == 202 and await _succeeded(world, client, answer.json()["taskUid"]):
                    world.newest[name] = number
                    world.written += 1
            await asyncio.sleep(0.05)


async def _succeeded(world: World, client: httpx.AsyncClient, task: int) -> bool:
    """Whether a task ends well: any proxy answers for it, whichever took the write."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(httpx.HTTPError, IndexError):
            answer = await client.get(f"{random.choice(world.urls)}/tasks/{task}")
            if answer.status_code == 200 and answer.json()["status"] in ("succeeded", "failed", "canceled"):
                return bool(answer.json()["status"] == "succeeded")
            assert answer.status_code in (200, 503), answer.text
        await asyncio.sleep(0.05)
    raise AssertionError(f"task {task} does not end")


async def searcher(world: World, is_over: Callable[[], bool]) -> None:
    """Somebody who searches through a living proxy all the time: complete, or refused, never short."""
    async with new_client() as client:
        while not is_over():
            with suppress(httpx.HTTPError, IndexError):
                body = {"q": "", "filter": "kind = seed", "hitsPerPage": 1}
                answer = await client.post(f"{random.choice(world.urls)}/indexes/books/search", json=body)
                if answer.status_code == 200:
                    assert answer.json()["totalHits"] == SEEDS, answer.text
                    world.searched += 1
                else:
                    assert answer.status_code in (429, 503), answer.text
                    world.refused += 1
            await asyncio.sleep(0.02)


async def killer(world: World, is_over: Callable[[], bool], *, every: float) -> None:
    """Kill one proxy after the other with -9; each is started again before the next one dies."""
    turn = 0
    while not is_over():
        await asyncio.sleep(every)
        host = world.hosts[turn % len(world.hosts)]
        await asyncio.to_thread(host.kill)
        world.killed += 1
        await asyncio.to_thread(host.start)
        turn += 1


@asynccontextmanager
async def world_on(folder: Path, urls: list[str], redis: RedisServer) -> AsyncIterator[World]:
    """A cluster on all of these servers but the last one, with an index, its first documents, and two proxies."""
    (folder / "key").write_text(MASTER)
    (folder / "key").chmod(0o600)
    key = Secret(file="key")
    nodes = tuple(Node(name=NodeName(f"n{number}"), url=url, key=key) for number, url in enumerate(urls[:-1], 1))
    path = folder / "miroir.toml"
    path.write_text(render_topology(name="hosts", nodes=nodes, shards=6, replicas=2, state_url=redis.url))
    world = World(folder=folder, redis=redis, spare=urls[-1], hosts=[Host(folder), Host(folder)])
    await world.must("index", "create", "books", "-k", "id")
    await world.must("index", "settings", "set", "books", 'filterableAttributes=["kind"]', "--yes")
    seeds = folder / "seeds.ndjson"
    seeds.write_text("".join(json.dumps({"id": f"seed-{n}", "kind": "seed"}) + "\n" for n in range(SEEDS)))
    await world.must("import", "books", str(seeds))
    try:
        for host in world.hosts:
            await asyncio.to_thread(host.start)
        yield world
    finally:
        for host in world.hosts:
            host.kill()


async def trouble(world: World, *, seconds: float, every: float) -> None:
    """Everything at once for some seconds; Redis is killed and started again once, a node joins."""
    end = time.monotonic() + seconds

    def is_over() -> bool:
        return time.monotonic() >= end

    async def restart_redis() -> None:
        await asyncio.sleep(seconds / 2)
        world.redis.kill()
        await asyncio.sleep(1)
        await asyncio.to_thread(world.redis.start)

    async def add_node() -> None:
        await asyncio.sleep(seconds / 5)
        await world.must("node", "add", f"n9={world.spare}", "--key-file", "key", "--yes", "-q", again=(5, 8))
        await world.must("rebalance", "run", "--yes", "-q", again=(5, 8))

    async with asyncio.TaskGroup() as group:
        for name in ("a", "b"):
            group.create_task(shell(world, name, is_over))
            group.create_task(writer(world, f"own-{name}", is_over))
            group.create_task(searcher(world, is_over))
        group.create_task(killer(world, is_over, every=every))
        group.create_task(restart_redis())
        group.create_task(add_node())


async def check(world: World) -> None:
    """The cluster is whole again by itself or by one command, and holds what the model says."""
    await world.must("repair", "--yes", "-q", again=(5, 8))
    await world.must("rebalance", "run", "--yes", "-q", again=(5, 8))
    status, said = await world.miroir("verify", "--json")
    assert status == 0, said
    export = world.folder / "all.ndjson"
    await world.must("export", "books", "-o", str(export))
    documents: list[dict[str, Any]] = [json.loads(line) for line in export.read_text().splitlines()]
    found = {document["id"]: document for document in documents}
    assert len(found) == len(documents)
    seeds = {f"seed-{number}" for number in range(SEEDS)}
    assert not (seeds | world.acknowledged | world.newest.keys()) - found.keys()
    assert not found.keys() - seeds - world.attempted - world.tried.keys()
    for name, value in world.newest.items():
        assert value <= found[name]["value"] <= world.tried[name]
    status, said = await world.miroir("status", "--json")
    told = json.loads(said)
    assert status == 0 and len(told["nodes"]) == 4 and told["unfenced"] == {}
    assert world.searched and world.written and world.killed, world
    tally = (world.searched, world.refused, world.written, world.killed)
    LOG.warning("%d searches, %d refused, %d writes of clients, %d proxies killed", *tally)


@pytest.mark.timeout(300)
async def test_nothing_is_lost_and_no_search_is_short_in_trouble(tmp_path: Path) -> None:
    with ExitStack() as stack:
        redis = stack.enter_context(running_redis(tmp_path / "redis"))
        urls = [
            stack.enter_context(running_engine(tmp_path / f"disk{number}", master_key=MASTER)).url
            for number in range(4)
        ]
        async with world_on(tmp_path, urls, redis) as world:
            await trouble(world, seconds=10, every=3)
            await check(world)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seconds", [pytest.param(float(os.environ.get("MIROIR_HOSTS_SECONDS", "20")), marks=LIVE)])
async def test_the_same_on_real_servers(tmp_path: Path, seconds: float) -> None:
    (tmp_path / "nodes").mkdir()
    with (
        running_redis(tmp_path / "redis") as redis,
        servers_of(tmp_path / "nodes", nodes=4, master_key=MASTER) as (_, servers),
    ):
        async with world_on(tmp_path, [server.url for server in servers], redis) as world:
            await trouble(world, seconds=seconds, every=5)
            await check(world)
