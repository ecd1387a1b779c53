"""The door to HTTP: what every failure means for a read and for a write."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
import pytest
from pytest_httpx import HTTPXMock

from miroir_cli.errors import (
    AuthenticationFailed,
    LeaseLost,
    MiroirError,
    NodeRefusal,
    NodeUnavailable,
    NodeUnsupported,
)
from miroir_cli.model import Node, NodeName, StoredUid
from miroir_cli.node.answers import Accepted, Answer, Refused, Unknown
from miroir_cli.node.client import NodeClient

NODE = Node(name=NodeName("n1"), url="http://node.test:7700")
KEY = "secret-key-0123456789"


@asynccontextmanager
async def client_of(node: Node = NODE, *, key: str | None = KEY) -> AsyncIterator[NodeClient]:
    async with NodeClient(node, key=key) as client:
        yield client


async def send(client: NodeClient) -> Answer:
    return await client.write("POST", "indexes/books/documents", content=b"{}", params={"customMetadata": "m:1:1:x"})


def exceptions_of_httpx() -> list[type[Exception]]:
    """Every exception class that httpx can raise."""
    found = {
        value
        for value in vars(httpx).values()
        if inspect.isclass(value) and issubclass(value, Exception) and not issubclass(value, httpx.HTTPStatusError)
    }
    return sorted(found, key=lambda kind: kind.__name__)


def instance(kind: Callable[..., Exception]) -> Exception:
    """One of its kind; some take no message."""
    try:
        return kind(f"what httpx says, with {KEY}")
    except TypeError:
        return kind()


NEVER_SENT = {"ConnectError", "ConnectTimeout", "InvalidURL", "PoolTimeout", "ProxyError", "UnsupportedProtocol"}
"""After these a node has certainly not seen the request; after any other it may have."""

NOT_OF_A_REQUEST = {"CookieConflict"}
"""Raised by reading a jar of cookies, which miroir never does."""


def test_the_list_of_exceptions_is_whole() -> None:
    names = {kind.__name__ for kind in exceptions_of_httpx()}
    assert names >= NEVER_SENT | NOT_OF_A_REQUEST
    assert len(names) >= 25


@pytest.mark.parametrize("kind", exceptions_of_httpx(), ids=lambda kind: kind.__name__)
async def test_every_exception_of_the_library_is_translated(kind: type[Exception], httpx_mock: HTTPXMock) -> None:
    if kind.__name__ in NOT_OF_A_REQUEST:
        return
    httpx_mock.add_exception(instance(kind), is_reusable=True)
    async with client_of() as client:
        answer = await send(client)
        assert len(httpx_mock.get_requests()) == 1, "a write is sent once"
        with pytest.raises(NodeUnavailable) as caught:
            await client.get("tasks")
    if kind.__name__ in NEVER_SENT:
        assert isinstance(answer, Refused) and answer.temporary and answer.status is None
        assert not caught.value.sent
    else:
        assert isinstance(answer, Unknown)
        assert caught.value.sent
    for error in (answer.error, caught.value):
        assert "`n1`" in error.message and KEY not in error.message and KEY not in str(error.hint)


@pytest.mark.parametrize("kind", [OSError, ConnectionResetError, RuntimeError])
async def test_errors_below_the_library_are_translated_too(kind: type[Exception], httpx_mock: HTTPXMock) -> None:
    httpx_mock.add_exception(kind("below"), is_reusable=True)
    async with client_of() as client:
        assert isinstance(await send(client), Unknown)
        with pytest.raises(NodeUnavailable):
            await client.get("tasks")


def meilisearch_error(status: int) -> dict[str, Any]:
    return {"message": f"why {status}", "code": "some_code", "type": "invalid_request", "link": "x"}


@pytest.mark.parametrize("status", range(400, 505))
async def test_a_status_with_the_nodes_own_words(status: int, httpx_mock: HTTPXMock) -> None:
    httpx_mock.add_response(status_code=status, json=meilisearch_error(status), is_reusable=True)
    async with client_of() as client:
        answer = await send(client)
        with pytest.raises(MiroirError) as caught:
            await client.get("tasks")
    if status < 500 or status == 503:
        assert isinstance(answer, Refused) and answer.status == status
        assert answer.temporary == (status in (408, 429, 503))
        assert f"why {status}" in answer.error.message
    else:
        assert isinstance(answer, Unknown)
    if status in (401, 403):
        assert isinstance(caught.value, AuthenticationFailed)
    elif status >= 500 or status in (408, 429):
        assert isinstance(caught.value, NodeUnavailable)
    else:
        assert isinstance(caught.value, NodeRefusal)
        assert (caught.value.status, caught.value.node_code, caught.value.node) == (status, "some_code", "n1")


@pytest.mark.parametrize("body", ["<html><body>Bad Gateway</body></html>", "", '{"error": "x"}', '{"message": 1}'])
@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 403, 404, 408, 409, 413, 429, 500, 502, 503, 504])
async def test_a_status_of_somebody_in_between_proves_nothing(status: int, body: str, httpx_mock: HTTPXMock) -> None:
    httpx_mock.add_response(status_code=status, text=body, headers={"Location": "http://else.test/"}, is_reusable=True)
    async with client_of() as client:
        answer = await send(client)
        with pytest.raises(MiroirError) as caught:
            await client.get("tasks")
    assert isinstance(answer, Refused if status == 413 else Unknown)
    expected = AuthenticationFailed if status in (401, 403) else NodeUnavailable
    assert isinstance(caught.value, expected)
    assert len(httpx_mock.get_requests()) == 2, "no redirect is followed"


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"taskUid": "7"}', b'{"uid": 7}', b"[7]", b"null", b"\xff\xfe", b'{"taskUid": null}']
)
async def test_an_acceptance_without_a_task_is_unknown(body: bytes, httpx_mock: HTTPXMock) -> None:
    httpx_mock.add_response(status_code=202, content=body)
    async with client_of() as client:
        assert isinstance(await send(client), Unknown)


@pytest.mark.parametrize("status", [200, 201, 204])
async def test_another_success_than_an_acceptance_is_unknown(status: int, httpx_mock: HTTPXMock) -> None:
    httpx_mock.add_response(status_code=status, json={"taskUid": 1})
    async with client_of() as client:
        assert isinstance(await send(client), Unknown)


async def test_an_acceptance_names_its_task(httpx_mock: HTTPXMock) -> None:
    httpx_mock.add_response(status_code=202, json={"taskUid": 7, "status": "enqueued"})
    async with client_of() as client:
        assert await send(client) == Accepted(task=7)
    request = httpx_mock.get_requests()[0]
    assert request.url.params["customMetadata"] == "m:1:1:x"
    assert request.headers["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("value", "seconds"), [("3", 3.0), ("0.5", 0.5), ("-1", 0.0), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("x", None)]
)
async def test_when_to_come_again(value: str, seconds: float | None, httpx_mock: HTTPXMock) -> None:
    httpx_mock.add_response(
        status_code=503, json=meilisearch_error(503), headers={"Retry-After": value}, is_reusable=True
    )
    async with client_of() as client:
        answer = await send(client)
        with pytest.raises(NodeUnavailable) as caught:
            await client.get("tasks")
    assert isinstance(answer, Refused)
    assert answer.retry_after == caught.value.retry_after == seconds


@pytest.mark.parametrize("body", [b"", b"{", b"<html>", b"\xff", b'{"a": 1} trailing', b"NaN"])
async def test_a_read_that_is_not_json(body: bytes, httpx_mock: HTTPXMock) -> None:
    httpx_mock.add_response(content=body)
    async with client_of() as client:
        with pytest.raises(NodeUnavailable, match="not JSON"):
            await client.get("tasks")


@pytest.mark.parametrize("body", ["[]", "1", "{}", '{"results": {}}', '{"results": [{"uid": "x"}]}', "null"])
async def test_tasks_of_an_unknown_shape(body: str, httpx_mock: HTTPXMock) -> None:
    httpx_mock.add_response(text=body)
    async with client_of() as client:
        with pytest.raises(NodeUnavailable, match="unknown shape"):
            await client.tasks()


async def test_reads_ask_for_plain_answers(httpx_mock: HTTPXMock) -> None:
    httpx_mock.add_response(json={"hits": []})
    async with client_of() as client:
        await client.search(StoredUid("books"), {"q": ""})
    request = httpx_mock.get_requests()[0]
    assert request.headers["Accept-Encoding"] == "identity"
    assert request.url.path == "/indexes/books/search"


async def test_a_name_stays_one_segment_of_the_path(httpx_mock: HTTPXMock) -> None:
    httpx_mock.add_response(json={})
    async with client_of() as client:
        await client.get_document(StoredUid("books"), "a/../b?c#d")
    assert httpx_mock.get_requests()[0].url.raw_path == b"/indexes/books/documents/a%2F..%2Fb%3Fc%23d"


@pytest.mark.parametrize("found", [{"pkgVersion": "1.25.9"}, {"pkgVersion": "0.30.1"}, {"pkgVersion": "new"}])
async def test_a_server_that_is_too_old(found: dict[str, str], httpx_mock: HTTPXMock) -> None:
    httpx_mock.add_response(json=found)
    async with client_of() as client:
        with pytest.raises(NodeUnsupported, match="runs Meilisearch"):
            await client.version()


@pytest.mark.parametrize("found", [{"version": "8.0"}, [], "x", {"pkgVersion": 1}])
async def test_a_server_that_is_something_else(found: object, httpx_mock: HTTPXMock) -> None:
    httpx_mock.add_response(content=msgspec.json.encode(found))
    async with client_of() as client:
        with pytest.raises(NodeUnsupported, match="is not Meilisearch"):
            await client.version()


async def test_the_version_is_asked_once(httpx_mock: HTTPXMock) -> None:
    httpx_mock.add_response(json={"pkgVersion": "1.26.0", "engine": "miroir-embedded"})
    async with client_of() as client:
        first, second = await client.version(), await client.version()
    assert first == second and first.engine == "miroir-embedded" and first.at_least(1, 26) and not first.at_least(1, 27)


@pytest.mark.parametrize("key", ["schlüssel-geheim", "secret\nkey", "secret\x00"])
def test_a_key_that_no_header_can_carry_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(AuthenticationFailed) as caught:
        NodeClient(NODE, key=key)
    assert key not in caught.value.message and "`n1`" in caught.value.message


async def test_a_task_that_does_not_end_in_time(httpx_mock: HTTPXMock) -> None:
    httpx_mock.add_response(json={"uid": 3, "status": "processing", "type": "settingsUpdate"}, is_reusable=True)
    async with client_of() as client:
        with pytest.raises(NodeUnavailable, match="did not finish task 3"):
            await client.wait_task(3, timeout=0.05)


class Listener:
    """A server that answers the first `answers` requests of each connection and closes it instead of the next."""

    def __init__(self, *, answers: int, close_after: bool) -> None:
        self.answers = answers
        self.close_after = close_after
        self.requests = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for number in range(self.answers + 1):
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-l")),
                    0,
                )
                await reader.readexactly(length)
                self.requests += 1
                if number == self.answers:
                    break
                body = b'{"taskUid": 1, "results": []}'
                writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
                await writer.drain()
                if self.close_after:
                    break
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def listening(listener: Listener) -> AsyncIterator[Node]:
    server = await asyncio.start_server(listener.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield Node(name=NodeName("n1"), url=f"http://127.0.0.1:{port}")
    finally:
        server.close()


async def test_a_connection_closed_between_two_writes_is_not_used_again() -> None:
    listener = Listener(answers=1, close_after=True)
    async with listening(listener) as node, client_of(node) as client:
        for _ in range(3):
            assert await send(client) == Accepted(task=1)
            await asyncio.sleep(0.02)
    assert listener.requests == 3


async def test_a_write_whose_connection_is_closed_instead_of_an_answer_is_not_sent_again() -> None:
    listener = Listener(answers=1, close_after=False)
    async with listening(listener) as node, client_of(node) as client:
        assert await send(client) == Accepted(task=1)
        assert isinstance(await send(client), Unknown)
    assert listener.requests == 2


async def test_a_read_whose_connection_is_closed_instead_of_an_answer_is_asked_once_more() -> None:
    listener = Listener(answers=1, close_after=False)
    async with listening(listener) as node, client_of(node) as client:
        await client.tasks()
        await client.tasks()
    assert listener.requests == 3
    never = Listener(answers=0, close_after=False)
    async with listening(never) as node, client_of(node) as client:
        with pytest.raises(NodeUnavailable, match="closed the connection"):
            await client.tasks()
    assert never.requests == 2


async def test_a_node_that_is_not_there_has_certainly_not_taken_a_write() -> None:
    async with listening(Listener(answers=1, close_after=True)) as node:
        pass
    async with client_of(node) as client:
        answer = await send(client)
        assert isinstance(answer, Refused) and answer.temporary
        with pytest.raises(NodeUnavailable) as caught:
            await client.health()
    assert not caught.value.sent and node.url in caught.value.message


async def test_a_greeting_tells_the_nodes_clock(httpx_mock: HTTPXMock) -> None:
    date = {"Date": "Thu, 01 Jan 1970 00:01:40 GMT"}
    httpx_mock.add_response(json={"status": "available"}, headers=date)
    httpx_mock.add_response(json={"status": "available"}, headers={"Date": "noon"})
    httpx_mock.add_response(json={"status": "available"})
    async with client_of() as client:
        assert [(await client.greet()).clock for _ in range(3)] == [100.0, None, None]


@pytest.mark.parametrize(
    ("status", "content", "error"),
    [
        (200, b"<html>hello</html>", NodeUnsupported),
        (404, b"not found", NodeUnsupported),
        (200, b'{"status": "green"}', NodeUnsupported),
        (200, b"[]", NodeUnsupported),
        (502, b"bad gateway", NodeUnavailable),
    ],
)
async def test_a_greeting_of_something_else_is_not_taken_for_meilisearch(
    status: int, content: bytes, error: type[MiroirError], httpx_mock: HTTPXMock
) -> None:
    httpx_mock.add_response(status_code=status, content=content)
    async with client_of() as client:
        with pytest.raises(error):
            await client.greet()


async def test_what_may_not_be_sent_any_more_is_refused_and_what_lasts_too_long_is_unknown(
    httpx_mock: HTTPXMock,
) -> None:
    async def lost(request: Coroutine[Any, Any, httpx.Response]) -> httpx.Response:
        request.close()
        raise LeaseLost("stopped for too long")

    async def late(request: Coroutine[Any, Any, httpx.Response]) -> httpx.Response:
        await request
        raise TimeoutError

    async with NodeClient(NODE, key=KEY, in_time=lost) as client:
        answer = await send(client)
        assert isinstance(answer, Refused) and isinstance(answer.error, LeaseLost)
        with pytest.raises(LeaseLost):
            await client.manage("DELETE", "keys/k")
    assert httpx_mock.get_requests() == []
    httpx_mock.add_response(json={"taskUid": 3}, status_code=202, is_reusable=True)
    async with NodeClient(NODE, key=KEY, in_time=late) as client:
        answer = await send(client)
        assert isinstance(answer, Unknown) and "before this process's lease ran out" in answer.error.message
        with pytest.raises(NodeUnavailable, match="before this process's lease ran out"):
            await client.manage("DELETE", "keys/k")
