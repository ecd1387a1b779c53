"""What one small read costs over httpx and over the pool for reads: `python -m benchmarks.transports`.

A trivial server in a process of its own answers a JSON body; the transports take turns, so that a noisy machine
slows them alike. Prints, for 1 and 16 requests in flight, milliseconds and processor time of the client per request.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
import statistics
import time

from miroir_cli.model import Node, NodeName, StoredUid
from miroir_cli.node.client import NodeClient

BODY = b'{"hits":[' + b",".join(b'{"id":%d,"title":"a title of some length"}' % n for n in range(20)) + b"]}"
REQUESTS = 400
ROUNDS = 5


async def _serve(listener: socket.socket) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (int(line[15:]) for line in request.lower().split(b"\r\n") if line.startswith(b"content-length:")),
                    0,
                )
                await reader.readexactly(length)
                writer.write(head + BODY)
        except asyncio.IncompleteReadError:
            writer.close()

    async with await asyncio.start_server(answer, sock=listener) as server:
        await server.serve_forever()


def _server(listener: socket.socket) -> None:
    asyncio.run(_serve(listener))


async def _measure(client: NodeClient, in_flight: int) -> tuple[float, float]:
    """Milliseconds of wall and of processor time per request."""
    left = iter(range(REQUESTS))

    async def worker() -> None:
        for _ in left:
            await client.search(StoredUid("x"), {"q": "some words", "limit": 20})

    await client.search(StoredUid("x"), {"q": "warm"})
    wall, cpu = time.perf_counter(), time.process_time()
    async with asyncio.TaskGroup() as group:
        for _ in range(in_flight):
            group.create_task(worker())
    return (time.perf_counter() - wall) * 1000 / REQUESTS, (time.process_time() - cpu) * 1000 / REQUESTS


async def _run(port: int) -> None:
    node = Node(name=NodeName("n"), url=f"http://127.0.0.1:{port}")
    transports = {"httpx": False, "a pool of our own": True}
    found: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for _ in range(ROUNDS):
        for name, lean in transports.items():
            for in_flight in (1, 16):
                async with NodeClient(node, lean=lean) as client:
                    found.setdefault((name, in_flight), []).append(await _measure(client, in_flight))
    for (name, in_flight), samples in found.items():
        wall = statistics.median(sample[0] for sample in samples)
        cpu = statistics.median(sample[1] for sample in samples)
        print(f"{name:20} {in_flight:2} in flight: {wall:.2f} ms, {cpu:.2f} ms processor time per request")


def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    server = multiprocessing.get_context("fork").Process(target=_server, args=(listener,), daemon=True)
    server.start()
    try:
        asyncio.run(_run(listener.getsockname()[1]))
    finally:
        server.terminate()


if __name__ == "__main__":
    main()
