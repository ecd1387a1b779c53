"""The pool for reads against servers that do as they like."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import pytest

from miroir_cli.errors import NodeRefusal, NodeUnavailable
from miroir_cli.model import Node, NodeName
from miroir_cli.node.client import NodeClient
from miroir_cli.node.pool import ReadPool

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
Behaviour = Callable[[int, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def take(reader: asyncio.StreamReader) -> bytes:
    """One request, its body included."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
    return head + await reader.readexactly(length)


@asynccontextmanager
async def server(behave: Behaviour) -> AsyncIterator[str]:
    """The url of a server that gives each connection, with its number, to `behave` and closes it afterwards."""
    numbers = iter(range(1000))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await behave(next(numbers), reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:
        listening.close()


@asynccontextmanager
async def client_of(behave: Behaviour, *, key: str | None = None) -> AsyncIterator[NodeClient]:
    async with server(behave) as url, NodeClient(Node(name=NodeName("n1"), url=url), key=key, lean=True) as client:
        yield client


def answering(*answers: bytes) -> Behaviour:
    """Gives one answer after the other on a connection, then closes it."""

    async def behave(_: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await take(reader)
            writer.write(answer)
            await writer.drain()

    return behave


async def test_a_connection_is_kept_and_carries_path_key_and_body() -> None:
    seen: list[tuple[int, bytes]] = []

    async def behave(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            seen.append((number, await take(reader)))
            writer.write(OK)

    async with client_of(behave, key="secret") as client:
        assert await client.read("indexes/a%2Fb/search", {"q": "x"}) == {}
        assert await client.get("tasks", params={"limit": 1, "indexUids": "a b"}) == {}
    assert [number for number, _ in seen] == [0, 0]
    first, second = (request.decode() for _, request in seen)
    assert first.startswith("POST /indexes/a%2Fb/search HTTP/1.1\r\nHost: 127.0.0.1:")
    assert "\r\nAuthorization: Bearer secret\r\n" in first
    assert first.endswith('\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"q":"x"}')
    assert second.startswith("GET /tasks?limit=1&indexUids=a+b HTTP/1.1\r\n")


async def test_answers_come_in_chunks_in_pieces_and_large() -> None:
    large = b'{"text":"' + b"x" * 1_000_000 + b'"}'

    async def behave(_: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await take(reader)
        writer.write(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{"a"\r\n')
        await writer.drain()
        await asyncio.sleep(0.02)
        writer.write(b"3\r\n:1}\r\n0\r\n\r\n")
        await take(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(large) + large)
        await writer.drain()

    async with client_of(behave) as client:
        assert await client.get("first") == {"a": 1}
        assert await client.get("second") == {"text": "x" * 1_000_000}


async def test_many_questions_at_once_get_their_own_answers() -> None:
    async def behave(_: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            body = (await take(reader)).partition(b"\r\n\r\n")[2]
            await asyncio.sleep(0.001)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    async with client_of(behave) as client:
        found = await asyncio.gather(*(client.read("x", {"n": n}) for n in range(200)))
    assert found == [{"n": n} for n in range(200)]


async def test_a_kept_connection_that_the_server_closes_is_replaced_unseen() -> None:
    async with client_of(answering(OK)) as client:
        for _ in range(3):
            assert await client.get("x") == {}
            await asyncio.sleep(0.01)


async def test_a_server_that_wants_the_connection_closed_gets_a_new_one() -> None:
    numbers: list[int] = []

    async def behave(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await take(reader)
            numbers.append(number)
            writer.write(OK.replace(b"Content-Type", b"Connection: close\r\nContent-Type"))

    async with client_of(behave) as client:
        assert await client.get("x") == await client.get("x") == {}
    assert numbers == [0, 1]


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", b"\x00garbage\r\n\r\n"],
    ids=["nothing", "half a header", "half a body", "no HTTP"],
)
async def test_an_answer_that_breaks_off_is_asked_for_once_more_and_then_an_error(answer: bytes) -> None:
    asked: list[int] = []

    async def behave(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await take(reader)
        asked.append(number)
        writer.write(answer)
        await writer.drain()

    async with client_of(behave) as client:
        with pytest.raises(NodeUnavailable, match="closed the connection without an answer") as caught:
            await client.get("x")
    assert caught.value.sent and asked == [0, 1]


async def test_a_slow_answer_is_given_up_and_its_connection_with_it() -> None:
    async def behave(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await take(reader)
        if number == 0:
            await asyncio.sleep(0.2)
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{"n":%d}' % number)
        await take(reader)

    async with client_of(behave) as client:
        with pytest.raises(NodeUnavailable, match="did not answer in time") as caught:
            await client.get("x", timeout=0.05)
        assert caught.value.sent
        await asyncio.sleep(0.2)
        assert await client.get("x") == {"n": 1}, "not the late answer to the first question"


async def test_a_question_that_is_cancelled_takes_its_connection_along() -> None:
    async def behave(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await take(reader)
        await asyncio.sleep(0.1 if number == 0 else 0)
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{"n":%d}' % number)
        await take(reader)

    async with client_of(behave) as client:
        task = asyncio.create_task(client.get("x"))
        await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.wait([task])
        await asyncio.sleep(0.15)
        assert await client.get("x") == {"n": 1}


async def test_what_the_server_says_unasked_is_no_answer() -> None:
    async def behave(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await take(reader)
        writer.write(OK + (OK.replace(b"{}", b"[]") if number == 0 else b""))
        await take(reader)

    async with client_of(behave) as client:
        assert await client.get("x") == {}
        assert await client.get("x") == {}


async def test_refusals_and_failures_are_told_apart_as_over_httpx() -> None:
    body = b'{"message":"bad filter","code":"invalid_search_filter","type":"invalid_request","link":""}'

    def of(status: bytes) -> bytes:
        return b"HTTP/1.1 %s\r\nRetry-After: 7\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body

    async with client_of(answering(of(b"400 Bad Request"), of(b"503 Busy"))) as client:
        with pytest.raises(NodeRefusal, match="bad filter") as refused:
            await client.get("x")
        assert refused.value.status == 400
        with pytest.raises(NodeUnavailable, match="503") as busy:
            await client.get("x")
        assert busy.value.retry_after == 7


async def test_a_port_that_nobody_listens_at_was_sent_nothing() -> None:
    async with server(answering()) as url:
        pass
    async with NodeClient(Node(name=NodeName("n1"), url=url), lean=True) as client:
        with pytest.raises(NodeUnavailable, match="cannot be reached") as caught:
            await client.get("x")
    assert not caught.value.sent


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "http://", "nowhere"])
async def test_a_url_that_is_none_is_said_to_be_unusable(url: str) -> None:
    async with NodeClient(Node(name=NodeName("n1"), url=url), lean=True) as client:
        with pytest.raises(NodeUnavailable, match="cannot be used") as caught:
            await client.get("x")
    assert not caught.value.sent


async def test_no_path_can_carry_a_header() -> None:
    with pytest.raises(httpx.InvalidURL):
        await ReadPool("http://127.0.0.1:1", headers={}).request("GET", "x\r\nEvil: 1", timeout=1)


async def test_no_more_connections_than_allowed_are_open_at_once() -> None:
    open_now, most = 0, 0

    async def behave(_: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        try:
            while True:
                await take(reader)
                await asyncio.sleep(0.005)
                writer.write(OK)
        finally:
            open_now -= 1

    async with server(behave) as url:
        pool = ReadPool(url, headers={}, connections=3)
        await asyncio.gather(*(pool.request("GET", "x", timeout=5) for _ in range(30)))
        await pool.aclose()
    assert most == 3
