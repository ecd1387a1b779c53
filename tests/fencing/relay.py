"""A wire to a node on which a request can be held back, as on a slow network, or behind a host that is frozen."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Relay:
    """Passes on what comes. The next request that has `wanted` in its head waits until `let_go` is set."""

    target: str
    wanted: bytes | None = None
    held: asyncio.Event = field(default_factory=asyncio.Event)
    let_go: asyncio.Event = field(default_factory=asyncio.Event)
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    status: int | None = None
    """What the node answered to the request that was held back."""
    url: str = ""

    def hold(self, wanted: str) -> None:
        """Hold the next request back whose first line begins with these words."""
        self.wanted = wanted.encode()
        self.status = None
        for event in (self.held, self.let_go, self.answered):
            event.clear()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address = urlsplit(self.target)
        behind, before = await asyncio.open_connection(address.hostname, address.port)
        answers = asyncio.create_task(_copy(behind, writer))
        try:
            while data := await reader.read(1 << 20):
                if self.wanted is not None and data.startswith(self.wanted):
                    self.wanted = None
                    data = await _whole(data, reader)
                    self.held.set()
                    await self.let_go.wait()
                    await _ended(answers)
                    before.write(data)
                    head = await behind.readline()
                    self.status = int(head.split()[1])
                    self.answered.set()
                    writer.write(head)
                    answers = asyncio.create_task(_copy(behind, writer))
                    continue
                before.write(data)
        except (OSError, asyncio.CancelledError):
            pass  # one of the sides is gone, or the test is over
        finally:
            await _ended(answers)
            for each in (before, writer):
                each.close()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(1 << 20):
            target.write(data)
        target.close()


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def _whole(data: bytes, reader: asyncio.StreamReader) -> bytes:
    """The request to its end: a node executes nothing of which a part is missing."""
    while (end := data.find(b"\r\n\r\n")) < 0:
        data += await reader.read(1 << 20)
    found = re.search(rb"content-length: (\d+)", data[:end], re.IGNORECASE)
    length = end + 4 + (int(found[1]) if found else 0)
    while len(data) < length:
        data += await reader.read(1 << 20)
    return data


@asynccontextmanager
async def relay_to(url: str) -> AsyncIterator[Relay]:
    """A wire to what is at this url."""
    relay = Relay(target=url)
    wires: set[asyncio.Task[None]] = set()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wires.add(asyncio.create_task(relay.connected(reader, writer)))

    server = await asyncio.start_server(begin, "127.0.0.1", 0)
    relay.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield relay
    finally:
        server.close()
        for wire in wires:
            await _ended(wire)
