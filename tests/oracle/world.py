"""One node and a cluster with the same documents: servers, embedded or real, filled past the import."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from miroir_cli.cluster import Cluster, TransportFactory, open_cluster
from miroir_cli.dev.engine.ports import free_port
from miroir_cli.dev.engine.testing import running_engine
from miroir_cli.dev.engines import EXACT_NEIGHBOURS, INDEXING_MEMORY
from miroir_cli.documents.route import shard_of
from miroir_cli.indexes.catalog import create_index, plan_index
from miroir_cli.model import SHARD_FIELD, Json, Node, NodeName, StoredUid, spell_shard
from miroir_cli.node.answers import Accepted
from miroir_cli.node.client import NodeClient
from miroir_cli.node.features import Features
from miroir_cli.topology.file import Topology, load_topology

UID = "corpus"


def real_server() -> str | None:
    """The Meilisearch binary, from MIROIR_MEILISEARCH or PATH."""
    return os.environ.get("MIROIR_MEILISEARCH") or shutil.which("meilisearch")


@contextmanager
def embedded_nodes(folder: Path, count: int) -> Iterator[list[str]]:
    """The urls of `count` embedded nodes."""
    with ExitStack() as stack:
        yield [stack.enter_context(running_engine(folder / f"node{number}")).url for number in range(count)]


@contextmanager
def real_nodes(binary: str, count: int, **environ: str) -> Iterator[list[str]]:
    """The urls of `count` Meilisearch servers in folders of their own, ended afterwards; `environ`: more variables."""
    with tempfile.TemporaryDirectory(prefix="miroir-oracle-") as folder, ExitStack() as stack:
        urls = []
        for number in range(count):
            port = free_port()
            process = subprocess.Popen(
                [binary, "--http-addr", f"127.0.0.1:{port}", "--no-analytics",
                 "--max-indexing-memory", INDEXING_MEMORY, "--db-path", f"{folder}/{number}/data",
                 "--dump-dir", f"{folder}/{number}/dumps", "--snapshot-dir", f"{folder}/{number}/snapshots"],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=folder,
                env={**os.environ, **EXACT_NEIGHBOURS, **environ},
            )  # fmt: skip
            stack.callback(_end, process)
            urls.append(f"http://127.0.0.1:{port}")
        for url in urls:
            _wait_until_it_answers(url)
        yield urls


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_until_it_answers(url: str, *, within: float = 30.0) -> None:
    end = time.monotonic() + within
    while time.monotonic() < end:
        with suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=1):
            return
        time.sleep(0.05)
    raise TimeoutError(f"{url} does not answer")


@dataclass(frozen=True, kw_only=True)
class World:
    """The cluster, and the one node that has everything."""

    cluster: Cluster
    single: NodeClient


NEVER_CUT_OFF = 600_000
"""A busy machine must not make Meilisearch answer with what it has found within its usual 1.5 s. Milliseconds."""


@asynccontextmanager
async def world(
    folder: Path,
    urls: Sequence[str],
    *,
    documents: Sequence[Json],
    settings: Json,
    shards: int = 8,
    replicas: int = 1,
    tie_break: bool = True,
    transport: TransportFactory | None = None,
    lean_reads: bool = False,
) -> AsyncIterator[World]:
    """The first url is the single node, the others are the cluster. Both get an index `corpus`."""
    async with two_sides(
        folder, urls, shards=shards, replicas=replicas, transport=transport, lean_reads=lean_reads
    ) as both:
        await fill(both, UID, documents=documents, settings=settings, shards=shards, tie_break=tie_break)
        yield both


@asynccontextmanager
async def two_sides(
    folder: Path,
    urls: Sequence[str],
    *,
    shards: int = 8,
    replicas: int = 1,
    groups: int = 1,
    transport: TransportFactory | None = None,
    lean_reads: bool = False,
) -> AsyncIterator[World]:
    """The same without any index. The nodes are dealt out to the groups."""
    async with open_cluster(
        _topology(folder, urls[1:], shards, replicas, groups), transport=transport, lean_reads=lean_reads
    ) as cluster:
        cluster.features = Features()
        await cluster.fleet.each(cluster.features.learn)
        alone = Node(name=NodeName("single"), url=urls[0])
        single = NodeClient(alone, transport=transport(alone) if transport else None, lean=lean_reads)
        try:
            yield World(cluster=cluster, single=single)
        finally:
            await single.close()


async def fill(
    world: World,
    uid: str,
    *,
    documents: Sequence[Json],
    settings: Json,
    shards: int = 8,
    tie_break: bool = True,
    plain: bool = False,
    shuffled: bool = False,
) -> None:
    """Create an index on both and add the documents.

    The single node gets the ranking rules that the cluster's nodes have; `plain`: the user's, and the documents in the
    order of their keys. `shuffled`: every node of the cluster gets its documents in an order of its own.
    """
    cluster, single = world.cluster, world.single
    settings = {"searchCutoffMs": NEVER_CUT_OFF, **settings}
    index = await create_index(
        cluster, await plan_index(cluster, uid, primary_key="id", settings=settings, tie_break=tie_break)
    )
    rules = None if plain else (await cluster.fleet[index.nodes()[0]].settings(StoredUid(uid)))["rankingRules"]
    await _create_single(single, uid, settings, rules)
    ordered = sorted(documents, key=lambda document: document["id"]) if plain else documents
    async with asyncio.TaskGroup() as group:
        group.create_task(_add(single, uid, ordered))
        for name, held in _by_node(documents, index.in_sync(), shards).items():
            if shuffled:
                random.Random(name).shuffle(held)
            group.create_task(_add(cluster.fleet[name], uid, held))


async def refill(url: str, uid: str, *, documents: Sequence[Json], settings: Json, at_once: int) -> NodeClient:
    """Fill one more node with the documents, so many at a time. The caller closes it."""
    client = NodeClient(Node(name=NodeName("another"), url=url))
    await _create_single(client, uid, settings, None)
    for first in range(0, len(documents), at_once):
        await _add(client, uid, documents[first : first + at_once])
    return client


def _topology(folder: Path, urls: Sequence[str], shards: int, replicas: int, groups: int) -> Topology:
    lines = ["[cluster]", 'name = "oracle"', f"shards = {shards}", f"replicas = {replicas}"]
    lines += ["[state]", 'url = "sqlite:state.db"']
    for number, url in enumerate(urls, 1):
        lines += [
            "[[nodes]]",
            f'name = "n{number}"',
            f'url = "{url}"',
            f'group = "{"main" if groups == 1 else number % groups}"',
        ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "miroir.toml").write_text("\n".join(lines) + "\n")
    return load_topology(folder / "miroir.toml")


def _by_node(documents: Sequence[Json], holders: Any, shards: int) -> dict[NodeName, list[Json]]:
    found: dict[NodeName, list[Json]] = {}
    for document in documents:
        shard = shard_of(str(document["id"]), shards)
        for name in holders[shard]:
            found.setdefault(name, []).append({SHARD_FIELD: spell_shard(shard), **document})
    return found


async def _create_single(single: NodeClient, uid: str, settings: Json, rules: Sequence[str] | None) -> None:
    await _done(single, await single.write("POST", "indexes", content=_json({"uid": uid, "primaryKey": "id"})))
    wanted = settings if rules is None else {**settings, "rankingRules": rules}
    await _done(single, await single.write("PATCH", f"indexes/{uid}/settings", content=_json(wanted)))


async def _add(client: NodeClient, uid: str, documents: Sequence[Json]) -> None:
    await _done(client, await client.write("POST", f"indexes/{uid}/documents", content=_json(documents)))


async def _done(client: NodeClient, answer: object) -> None:
    assert isinstance(answer, Accepted), answer
    task = await client.wait_task(answer.task)
    assert task["status"] == "succeeded", task


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value)
