"""The pool for reads against servers that do as they like."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest

from miroir_cli.errors import MiroirError, NodeRefusal, NodeUnavailable
from miroir_cli.model import Node, NodeName
from miroir_cli.node.client import NodeClient
from miroir_cli.node.pool import ReadPool
from tests.certificates import served_with

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
Behaviour = Callable[[int, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def take(reader: asyncio.StreamReader) -> bytes:
    """One request, its body included."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
    return head + await reader.readexactly(length)


@asynccontextmanager
async def server(behave: Behaviour, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """The url of a server that gives each connection, with its number, to `behave` and closes it afterwards."""
    numbers = iter(range(1000))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await behave(next(numbers), reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
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


BROKEN = {
    "nothing": b"",
    "half a header": b"HTTP/1.1 200 OK\r\nContent-Le",
    "half a body": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{",
    "half a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{}",
    "no last chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
    "no HTTP": b"\x00garbage\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "another protocol": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n{}",
    "only an interim answer": b"HTTP/1.1 100 Continue\r\n\r\n",
    "no JSON": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{",
    "not a success": b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 2\r\n\r\n{}",
    "no key": b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
async def test_what_is_no_answer_is_the_same_error_as_over_httpx_and_not_asked_for_again(answer: bytes) -> None:
    asked: list[int] = []

    async def behave(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await take(reader)
        asked.append(number)
        writer.write(answer)
        await writer.drain()

    async with server(behave) as url:
        node = Node(name=NodeName("n1"), url=url)
        async with NodeClient(node, lean=True) as lean, NodeClient(node) as plain:
            errors: list[MiroirError] = []
            for client in (lean, plain):
                with pytest.raises(MiroirError) as caught:
                    await client.get("x")
                errors.append(caught.value)
                assert lean is not client or asked == [0]
    ours, theirs = errors
    assert (type(ours), ours.message, ours.hint) == (type(theirs), theirs.message, theirs.hint)
    assert getattr(ours, "sent", None) == getattr(theirs, "sent", None)


@pytest.mark.parametrize("answer", [BROKEN["half a header"], BROKEN["half a body"], BROKEN["no HTTP"]])
async def test_a_kept_connection_that_breaks_in_the_middle_of_an_answer_is_not_replaced(answer: bytes) -> None:
    asked: list[int] = []

    async def behave(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for each in (OK, answer):
            await take(reader)
            asked.append(number)
            writer.write(each)
            await writer.drain()

    async with client_of(behave) as client:
        await client.get("x")
        with pytest.raises(NodeUnavailable, match="closed the connection without an answer"):
            await client.get("x")
        assert asked == [0, 0]
        assert await client.get("x") == {}, "on a new connection"
    assert asked == [0, 0, 1]


async def test_a_kept_connection_closed_instead_of_an_answer_is_replaced_once() -> None:
    asked: list[int] = []

    async def behave(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await take(reader)
        asked.append(number)
        if number == 0:
            writer.write(OK)
            await take(reader)
            asked.append(number)

    async with client_of(behave) as client:
        await client.get("x")
        with pytest.raises(NodeUnavailable, match="closed the connection without an answer"):
            await client.get("x")
    assert asked == [0, 0, 1]


async def test_an_answer_may_end_with_the_connection() -> None:
    async with client_of(answering(b'HTTP/1.0 200 OK\r\n\r\n{"a":1}')) as client:
        assert [await client.get("x"), await client.get("x")] == [{"a": 1}] * 2


async def test_an_interim_answer_is_passed_over() -> None:
    async with client_of(answering(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK)) as client:
        assert await client.get("x") == {}


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


@pytest.mark.parametrize("more", [OK.replace(b"{}", b"[]"), OK[:-20], OK[:-1], b"x"])
@pytest.mark.parametrize("pause", [0.0, 0.02])
async def test_what_the_server_says_unasked_is_no_answer(more: bytes, pause: float) -> None:
    async def behave(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await take(reader)
        if number == 0:
            if pause:
                writer.write(OK)
                await asyncio.sleep(pause)
                writer.write(more)
            else:
                writer.write(OK + more)
        else:
            writer.write(OK)
        await take(reader)

    async with client_of(behave) as client:
        assert await client.get("x") == {}
        await asyncio.sleep(2 * pause)
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


async def test_a_request_that_got_no_connection_in_time_was_not_sent() -> None:
    asked: list[int] = []

    async def behave(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await take(reader)
        asked.append(number)
        await asyncio.sleep(0.2)
        writer.write(OK)

    async with server(behave) as url:
        pool = ReadPool(url, headers={}, connections=1)
        first = asyncio.create_task(pool.request("GET", "x", timeout=5))
        await asyncio.sleep(0.05)
        with pytest.raises(httpx.PoolTimeout):
            await pool.request("GET", "x", timeout=0.02)
        assert (await first).content == b"{}"
        await pool.aclose()
    assert asked == [0]


async def test_headers_that_trickle_do_not_hold_an_answer_up_for_ever() -> None:
    async def behave(_: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await take(reader)
        for number in range(1000):
            writer.write(b"HTTP/1.1 200 OK\r\n" if number == 0 else b"X-%d: 1\r\n" % number)
            await writer.drain()
            await asyncio.sleep(0.005)

    async with client_of(behave) as client:
        with pytest.raises(NodeUnavailable, match="did not answer in time"):
            await client.get("x", timeout=0.1)


async def test_unused_connections_are_closed_after_a_while() -> None:
    ended: list[int] = []

    async def behave(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (await reader.read(1000)) != b"":
            await asyncio.sleep(0.01)
            writer.write(OK)
        ended.append(number)

    async with server(behave) as url:
        pool = ReadPool(url, headers={}, idle_expiry=0.1)
        await asyncio.gather(*(pool.request("GET", "x", timeout=5) for _ in range(3)))
        await asyncio.sleep(0.05)
        await pool.request("GET", "x", timeout=5)
        assert ended == []
        await asyncio.sleep(0.08)
        assert len(ended) == 2, "those used longest ago"
        await asyncio.sleep(0.1)
        assert sorted(ended) == [0, 1, 2]
        await pool.aclose()


async def test_a_question_given_up_closes_its_connection_at_once() -> None:
    ended = asyncio.Event()

    async def behave(_: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await take(reader)
        await reader.read()
        ended.set()

    async with client_of(behave) as client:
        task = asyncio.create_task(client.get("x"))
        await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.wait_for(ended.wait(), 1)


def open_sockets() -> int:
    found = 0
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            found += entry.readlink().name.startswith("socket:")
    return found


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts sockets where Linux lists them")
async def test_no_socket_is_left_whatever_happened() -> None:
    answers = [OK, *BROKEN.values(), OK.replace(b"Content-Type", b"Connection: close\r\nContent-Type"), None]

    async def behave(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await take(reader)
            answer = answers[number % len(answers)]
            if answer is None:
                await reader.read()
            else:
                writer.write(answer)
                if answer is not OK:
                    break

    async with server(behave) as url:
        before = open_sockets()
        async with NodeClient(Node(name=NodeName("n1"), url=url), lean=True) as client:
            await asyncio.gather(*(client.get("x", timeout=0.05) for _ in range(50)), return_exceptions=True)
            waiting = [asyncio.create_task(client.get("x")) for _ in range(40)]
            await asyncio.sleep(0.05)
            for task in waiting[::2]:
                task.cancel()
        done = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(each) for each in done} >= {asyncio.CancelledError, NodeUnavailable}
        await asyncio.sleep(0.05)  # the server's ends
        assert open_sockets() == before
        with pytest.raises(NodeUnavailable):
            await client.get("x")
        assert open_sockets() == before


async def test_a_host_that_does_not_take_connections_was_sent_nothing() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        async with AsyncExitStack() as stack:
            for _ in range(3):
                crowd = stack.enter_context(socket.socket())
                crowd.setblocking(False)
                with suppress(BlockingIOError):
                    crowd.connect(address)
            client = await stack.enter_async_context(
                NodeClient(Node(name=NodeName("n1"), url=f"http://127.0.0.1:{address[1]}"), lean=True)
            )
            before = open_sockets()
            with pytest.raises(NodeUnavailable, match="cannot be reached") as caught:
                await client.get("x")
            assert not caught.value.sent
            await asyncio.sleep(0.01)
            assert open_sockets() == before


@pytest.mark.parametrize("trusted", [True, False])
async def test_https_trusts_whom_the_system_trusts(
    certificate: Path, trusted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with server(answering(OK, OK), tls=served_with(certificate)) as url:
        before = open_sockets()
        async with NodeClient(Node(name=NodeName("n1"), url=url), lean=True) as client:
            if trusted:
                assert [await client.get("x"), await client.read("x", {})] == [{}, {}]
            else:
                with pytest.raises(NodeUnavailable, match="cannot be reached") as caught:
                    await client.get("x")
                assert not caught.value.sent
        await asyncio.sleep(0.05)
        assert open_sockets() == before


@pytest.mark.filterwarnings("error::ResourceWarning")
async def test_a_question_given_up_while_it_connects_leaves_no_socket() -> None:
    """Whatever the connection has come to when that happens, at any turn of the loop."""
    async with server(answering(OK)) as url:
        for turns in range(30):
            pool = ReadPool(url, headers={})
            asking = asyncio.create_task(pool.request("GET", "x", timeout=5.0))
            for _ in range(turns):
                await asyncio.sleep(0)
            asking.cancel()
            with suppress(asyncio.CancelledError):
                await asking
            await pool.aclose()
            del pool, asking
            gc.collect()
