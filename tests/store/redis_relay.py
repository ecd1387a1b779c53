"""A relay before a Redis: it counts round trips, and can break the line at a chosen command."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from tests.store.redis_server import RedisServer


@dataclass
class Relay:
    """`requests`: what was sent, one for each round trip. With `breaks_after` set, the line is cut once the server has
    answered a request with this command in it, before the answer arrives."""

    port: int = 0
    requests: list[bytes] = field(default_factory=list)
    breaks_after: bytes | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def handle(self, server: RedisServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, downstream = await asyncio.open_connection("127.0.0.1", server.port)
        answers = asyncio.create_task(self._answer(upstream, writer))
        try:
            while data := await reader.read(1 << 20):
                self.requests.append(data)
                breaks = self.breaks_after is not None and self.breaks_after in data
                if breaks:
                    self.breaks_after = None
                    answers.cancel()
                downstream.write(data)
                if breaks:
                    with suppress(asyncio.CancelledError):
                        await answers
                    await upstream.read(1 << 20)
                    return
        finally:
            answers.cancel()
            for each in (writer, downstream):
                each.close()

    async def _answer(self, upstream: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await upstream.read(1 << 20):
            writer.write(data)


@asynccontextmanager
async def relayed(server: RedisServer, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Relay]:
    """A relay for the length of the block; with `tls` it takes connections with TLS."""
    relay = Relay()
    listening = await asyncio.start_server(
        lambda reader, writer: relay.handle(server, reader, writer), "127.0.0.1", 0, limit=1 << 20, ssl=tls
    )
    relay.port = listening.sockets[0].getsockname()[1]
    try:
        yield relay
    finally:
        listening.close()
