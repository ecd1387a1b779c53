"""miroir's own processor time a search, with nodes that cost nothing: `python -m benchmarks.replay`.

The answers of real nodes (embedded ones without Meilisearch) are recorded once. Then trivial servers, one process each,
give them again, so that nobody computes between two steps of miroir. Searches sorted by distance are left out: they may
ask again. Prints the best of several rounds, and what the requests alone take.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import random
import shutil
import socket
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.search import plain_query, say, unmerged
from miroir_cli.cluster import open_cluster
from miroir_cli.model import NodeName
from miroir_cli.node.features import Features
from miroir_cli.search.reading import planner_of
from miroir_cli.search.request import prepare
from miroir_cli.search.scatter import search
from miroir_cli.topology.file import load_topology
from tests.oracle.corpus import SETTINGS, make_documents
from tests.oracle.world import UID, World, embedded_nodes, real_nodes, real_server, world

ROUNDS = 7

Answers = Mapping[bytes, bytes]


def main() -> None:
    parser = argparse.ArgumentParser(description="miroir's own processor time a search.")
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--queries", type=int, default=300)
    options = parser.parse_args()
    rng = random.Random(7)
    documents = make_documents(rng, options.documents)
    queries = [query for query in (plain_query(rng) for _ in range(options.queries)) if "_geo" not in str(query)]
    binary = real_server()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        home = Path(folder) / "home"
        with real_nodes(binary, 4) if binary else embedded_nodes(Path(folder), 4) as urls:
            recorded = asyncio.run(record(home, urls, documents, queries))
        places = {name: stack.enter_context(socket.create_server(("127.0.0.1", 0))) for name in recorded}
        for name, listener in places.items():
            server = multiprocessing.get_context("fork").Process(target=serve, args=(listener, recorded[name]))
            server.start()
            stack.callback(server.join)
            stack.callback(server.terminate)
        asyncio.run(replay(home, {name: listener.getsockname()[1] for name, listener in places.items()}, queries))


async def record(home: Path, urls: list[str], documents: Any, queries: list[Any]) -> dict[NodeName, Answers]:
    """The nodes' answers to what miroir sends them, by the bytes of the request. The state of the cluster stays."""
    found: dict[NodeName, dict[bytes, bytes]] = {}
    async with world(home, urls, documents=documents, settings=SETTINGS["default"], shards=24) as both:
        index_map = await both.cluster.map(UID)
        for node, shards in planner_of(both.cluster, index_map).plan(rotation=0).asks.items():
            for query in queries:
                prepared = prepare(query, index_map.index)
                assert prepared is not None
                for share in (1.0, len(shards) / index_map.index.shards):
                    body = prepared.for_shards(shards, share=share)
                    answer = await both.cluster.fleet[node].read_raw(f"indexes/{UID}/search", body)
                    found.setdefault(node, {})[msgspec.json.encode(body)] = answer
    return dict(found)


def serve(listener: socket.socket, answers: Answers) -> None:
    """Give the recorded answers to the end of the process."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
                body = answers[await reader.readexactly(length)]
                head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
                writer.write(head + body)
        except asyncio.IncompleteReadError:
            writer.close()

    async def forever() -> None:
        async with await asyncio.start_server(answer, sock=listener) as server:
            await server.serve_forever()

    asyncio.run(forever())


async def replay(home: Path, ports: Mapping[NodeName, int], queries: list[Any]) -> None:
    again = home.parent / "again"
    shutil.copytree(home, again)
    lines = (again / "miroir.toml").read_text().splitlines()
    nodes = [line for name, port in ports.items() for line in node_lines(name, port)]
    (again / "miroir.toml").write_text("\n".join([*lines[: lines.index("[[nodes]]")], *nodes]) + "\n")
    async with open_cluster(load_topology(again / "miroir.toml"), lean_reads=True) as cluster:
        alone = await unmerged(World(cluster=cluster, single=cluster.fleet[next(iter(ports))]))
        features = SparedHits()
        asks = {
            "requests alone": (None, alone),
            "search": (features, lambda query: search(cluster, UID, query)),
            "search, all hits of every node": (None, lambda query: search(cluster, UID, query)),
        }
        for clients in (1, 8):
            best: dict[str, float] = {}
            for _ in range(ROUNDS):
                for name, (known, ask) in asks.items():
                    cluster.features = known
                    spent = await processor_time(ask, queries, clients)
                    best[name] = min(spent, best.get(name, spent))
            for name, seconds in best.items():
                say(f"{name}, {clients} at once: {seconds * 1000:.2f} ms of own processor time")


class SparedHits(Features):
    """Takes it for granted that nodes pin nothing."""

    def pins_nothing(self, name: NodeName) -> bool:
        return True


def node_lines(name: NodeName, port: int) -> list[str]:
    return ["[[nodes]]", f'name = "{name}"', f'url = "http://127.0.0.1:{port}"']


async def processor_time(ask: Callable[[Any], Awaitable[Any]], queries: list[Any], clients: int) -> float:
    """Seconds a query."""
    waiting, used = iter(queries), time.process_time()

    async def client() -> None:
        for query in waiting:
            await ask(query)

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(client())
    return (time.process_time() - used) / len(queries)


if __name__ == "__main__":
    main()
