"""Searches through `miroir serve` and of one node asked directly, in turns: `python -m benchmarks.serving`.

    python -m benchmarks.serving [--documents N] [--queries N] [--replicas R] [--workers N]

Real servers from MIROIR_MEILISEARCH or `meilisearch` on PATH, else embedded nodes (whose times mean little). The client
is a plain socket, so that it costs little itself. Prints medians with one client, searches a second with eight, both as
ratios to the one node, and the proxy's own processor time a search.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

import msgspec

from benchmarks.search import plain_query, say
from tests.oracle.corpus import SETTINGS, make_documents
from tests.oracle.world import UID, embedded_nodes, real_nodes, real_server, world

TICKS = os.sysconf("SC_CLK_TCK")
Address = tuple[str, int]


def main() -> None:
    parser = argparse.ArgumentParser(description="Search through the proxy and past it.")
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--queries", type=int, default=1200)
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    binary = real_server()
    rng = random.Random(7)
    documents = make_documents(rng, options.documents)
    bodies = [msgspec.json.encode(plain_query(rng)) for _ in range(options.queries)]
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        with real_nodes(binary, 4) if binary else embedded_nodes(Path(folder), 4) as urls:
            say(
                f"engine: {'meilisearch' if binary else 'embedded'}, RF {options.replicas}, {options.workers} worker(s)"
            )
            asyncio.run(fill(home, urls, documents, options.replicas))
            one = address_of(urls[0])
            with serving(home, options.workers) as (proxy, pids):
                for clients in (1, 8):
                    measure({"one node": one, "miroir": proxy}, bodies, clients, pids)


async def fill(home: Path, urls: Sequence[str], documents: Sequence[dict[str, object]], replicas: int) -> None:
    async with world(home, urls, documents=documents, settings=SETTINGS["default"], shards=24, replicas=replicas):
        pass


@contextmanager
def serving(home: Path, workers: int) -> Iterator[tuple[Address, list[int]]]:
    """A proxy, its address, and the processes that answer."""
    topology = next(home.glob("*.toml"))
    line = [sys.executable, "-m", "miroir_cli", "-t", str(topology), "serve", "--port", "0", "-w", str(workers)]
    process = subprocess.Popen(line, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        found = re.search(r"http://([\d.]+):(\d+)", process.stderr.readline())
        assert found
        threading.Thread(target=drain, args=(process.stderr,), daemon=True).start()
        wait_until_ready(f"http://{found[1]}:{found[2]}/_miroir/ready")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        pids = [int(pid) for pid in children.read_text().split()] if workers > 1 else [process.pid]
        yield (found[1], int(found[2])), pids
    finally:
        process.terminate()
        process.wait(30)


def wait_until_ready(url: str) -> None:
    for _ in range(200):
        with suppress(OSError), urllib.request.urlopen(url, timeout=1):
            return
        time.sleep(0.1)
    raise TimeoutError(f"{url} does not answer")


def drain(stream: Iterator[str]) -> None:
    for _ in stream:
        pass


def address_of(url: str) -> Address:
    parts = urlsplit(url)
    assert parts.hostname and parts.port
    return parts.hostname, parts.port


class Connection:
    """A client that does no more than it must."""

    def __init__(self, address: Address) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def search(self, body: bytes) -> None:
        head = f"POST /indexes/{UID}/search HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: "
        self.socket.sendall(head.encode() + str(len(body)).encode() + b"\r\n\r\n" + body)
        received = b""
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += self.socket.recv(262_144)
        assert received.startswith(b"HTTP/1.1 200"), received[:300]
        found = re.search(rb"content-length: (\d+)", received[:end].lower())
        assert found
        missing = int(found[1]) - (len(received) - end - 4)
        while missing > 0:
            missing -= len(self.socket.recv(262_144))


def measure(places: dict[str, Address], bodies: Sequence[bytes], clients: int, pids: Sequence[int]) -> None:
    connections = {name: [Connection(address) for _ in range(clients)] for name, address in places.items()}
    for each in connections.values():
        together(each, bodies[: 20 * clients], [])
    took: dict[str, list[float]] = {name: [] for name in places}
    wall = dict.fromkeys(places, 0.0)
    used = 0.0
    size = 25 * clients
    for begin in range(0, len(bodies), size):
        for name, each in connections.items():
            before, started = processor(pids), time.perf_counter()
            together(each, bodies[begin : begin + size], took[name])
            wall[name] += time.perf_counter() - started
            if name == "miroir":
                used += processor(pids) - before
    rates = {name: len(bodies) / wall[name] for name in places}
    medians = {name: median(took[name]) for name in places}
    for name in places:
        say(f"{clients} client(s), {name}: p50 {medians[name] * 1000:.2f} ms, {rates[name]:.0f} searches/s")
    say(
        f"{clients} client(s): p50 ratio {medians['miroir'] / medians['one node']:.2f}, throughput ratio "
        f"{rates['miroir'] / rates['one node']:.2f}, own CPU {used / len(bodies) * 1000:.2f} ms a search"
    )
    for each in connections.values():
        for connection in each:
            connection.socket.close()


def together(connections: Sequence[Connection], bodies: Sequence[bytes], took: list[float]) -> None:
    waiting = iter(bodies)
    lock = threading.Lock()

    def client(connection: Connection) -> None:
        while True:
            with lock:
                body = next(waiting, None)
            if body is None:
                return
            begin = time.perf_counter()
            connection.search(body)
            took.append(time.perf_counter() - begin)

    threads = [threading.Thread(target=client, args=(connection,)) for connection in connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def processor(pids: Sequence[int]) -> float:
    """Seconds of processor time that these processes have used."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


if __name__ == "__main__":
    main()
