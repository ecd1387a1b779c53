"""Connections of writes: reused after an answer, never after a refusal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec
import pytest

from miroir_cli.errors import NodeRefusal
from miroir_cli.model import Node, NodeName
from miroir_cli.node.answers import Accepted, Refused
from miroir_cli.node.client import NodeClient

TASK = {"taskUid": 1}
TOO_LARGE = {"message": "too large", "code": "payload_too_large"}


@dataclass
class Rude:
    """A server that answers its first requests with the given statuses before it reads their bodies.

    It closes the connection of a refusal at the next request instead of answering: what a client meets that wrote a
    moment before the end of the connection arrived.
    """

    statuses: list[int]
    url: str = ""
    connections: int = 0
    dropped: int = 0
    answered: list[int] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        refused = False
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                if refused:
                    self.dropped += 1
                    return
                status = self.statuses.pop(0) if self.statuses else 202
                refused = status >= 400
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                await reader.readexactly(int(length or 0))
                body = msgspec.json.encode(TOO_LARGE if refused else TASK)
                writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%s" % (status, len(body), body))
                self.answered.append(status)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def rude(*statuses: int) -> AsyncIterator[tuple[Rude, NodeClient]]:
    found = Rude(list(statuses))
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, NodeClient(Node(name=NodeName("n1"), url=found.url)) as client:
        yield found, client


async def test_a_write_after_a_refused_one_has_a_known_outcome() -> None:
    async with rude(413) as (server, client):
        assert isinstance(await client.write("POST", "indexes/a/documents", content=b"[" + b" " * 100_000), Refused)
        assert isinstance(await client.write("POST", "indexes/a/documents", content=b"[]"), Accepted)
        assert (server.answered, server.dropped) == ([413, 202], 0)


async def test_a_refused_change_of_keys_does_not_spoil_the_next_one() -> None:
    async with rude(404) as (server, client):
        with pytest.raises(NodeRefusal, match="too large"):
            await client.manage("PATCH", "keys/x", {"name": "y"})
        assert await client.manage("PATCH", "keys/x", {"name": "y"}) == TASK
        assert server.dropped == 0


async def test_writes_at_once_are_not_disturbed_by_a_refused_one() -> None:
    async with rude(202, 413, 202, 413, 202, 413) as (server, client):
        for _ in range(3):
            await asyncio.gather(*(client.write("POST", "indexes/a/documents", content=b"[]") for _ in range(8)))
        assert sorted(server.answered) == [202] * 21 + [413] * 3
        assert server.dropped == 0


async def test_a_connection_is_used_again_after_an_answer() -> None:
    async with rude() as (server, client):
        for _ in range(5):
            assert isinstance(await client.write("POST", "indexes/a/documents", content=b"[]"), Accepted)
        assert server.connections == 1
