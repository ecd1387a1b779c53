"""A lean pool of connections for the reads of a long-lived process: asyncio and httptools, and nothing in between.

A general HTTP library takes several times the processor time of the search itself (`docs/benchmarks.md`). Only for
reads: a request that meets a kept connection just being closed may be asked again. Failures are those of httpx, so that
whoever calls tells them apart in one way.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import httptools
import httpx

CONNECTIONS: Final = 64
"""Connections to one node at once; further requests wait for one."""

IDLE_EXPIRY: Final = 3.0
"""Seconds after which an unused connection is not used again: below the 5 s after which Meilisearch closes it."""

CONNECT_TIMEOUT: Final = 2.0


@dataclass(slots=True, kw_only=True)
class Response:
    """A whole answer. Names of headers are in lower case."""

    status_code: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes = b""

    @property
    def is_success(self) -> bool:
        return 200 <= self.status_code < 300


class _Connection(asyncio.Protocol):
    """One connection, with at most one request on its way."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.closed = False
        self.idle_since = 0.0
        self._answer: asyncio.Future[Response] | None = None
        self._response = Response()
        self._parts: list[bytes] = []
        self._parser = httptools.HttpResponseParser(self)

    # what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self._answer is None:
            self.close()  # nobody has asked for anything
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, ValueError) as error:
            self._fail(httpx.RemoteProtocolError(f"not an HTTP answer: {error}"))
            self.close()

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        self._fail(httpx.RemoteProtocolError("the connection was closed before the answer was complete"))

    # what httptools calls

    def on_message_begin(self) -> None:
        self._response, self._parts = Response(), []

    def on_header(self, name: bytes, value: bytes) -> None:
        self._response.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            return  # the answer proper follows
        response, answer = self._response, self._answer
        response.status_code = status
        response.content = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        if not self._parser.should_keep_alive():
            self.close()
        self._answer = None
        if answer is not None and not answer.done():
            answer.set_result(response)

    # what the pool calls

    async def ask(self, request: bytes) -> Response:
        """Send a request and wait for its answer. A connection whose question is given up is closed."""
        assert self.transport is not None
        answer = self._answer = asyncio.get_running_loop().create_future()
        try:
            self.transport.write(request)
            response: Response = await answer
        except BaseException:
            self.close()
            raise
        return response

    def close(self) -> None:
        self.closed = True
        if self.transport is not None:
            self.transport.abort()

    def _fail(self, error: Exception) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_exception(error)


class ReadPool:
    """The connections to one node, for requests that change nothing. `headers` go with every request."""

    def __init__(
        self, url: str, *, headers: Mapping[str, str], connections: int = CONNECTIONS, idle_expiry: float = IDLE_EXPIRY
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise httpx.UnsupportedProtocol(f"not an http url: {url}")
        self._host = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._ssl = ssl.create_default_context() if parts.scheme == "https" else None
        self._prefix = parts.path.rstrip("/")
        host = parts.netloc.rpartition("@")[2]
        lines = [f"Host: {host}", *(f"{name}: {value}" for name, value in headers.items())]
        self._headers = "".join(f"{line}\r\n" for line in lines).encode("latin-1")
        self._idle_expiry = idle_expiry
        self._idle: list[_Connection] = []
        self._room = asyncio.Semaphore(connections)

    async def request(self, method: str, path: str, *, content: bytes | None = None, timeout: float) -> Response:
        """One answer within `timeout` seconds. Raises httpx's errors: `ConnectError` and `ConnectTimeout` when the
        request was not sent, `ReadTimeout`, and `RemoteProtocolError` for a connection that ended in the middle."""
        if any(letter <= " " or letter > "~" for letter in path):
            raise httpx.InvalidURL(f"not a path: {path!r}")
        head = f"{method} {self._prefix}/{path} HTTP/1.1\r\n".encode("ascii") + self._headers
        if content is not None:
            head += b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(content)
        try:
            async with asyncio.timeout(timeout), self._room:
                connection = self._kept() or await self._connect()
                response = await connection.ask(head + b"\r\n" + (content or b""))
        except TimeoutError:
            raise httpx.ReadTimeout("no answer in time") from None
        if not connection.closed:
            connection.idle_since = time.monotonic()
            self._idle.append(connection)
        return response

    async def aclose(self) -> None:
        """Close the connections. The event loop frees their sockets in its next round, which is waited for."""
        for connection in self._idle:
            connection.close()
        self._idle.clear()
        await asyncio.sleep(0)

    def _kept(self) -> _Connection | None:
        """The connection that was used last, if it is fresh enough; those that are not are closed."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed and time.monotonic() - connection.idle_since < self._idle_expiry:
                return connection
            connection.close()
        return None

    async def _connect(self) -> _Connection:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                _, connection = await asyncio.get_running_loop().create_connection(
                    _Connection, self._host, self._port, ssl=self._ssl
                )
        except TimeoutError:
            raise httpx.ConnectTimeout("no connection in time") from None
        except OSError as error:
            raise httpx.ConnectError(str(error)) from error
        return connection
