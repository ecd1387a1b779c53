"""One HTTP/1.1 connection on plain asyncio, parsed by httptools: one request, then one answer, again and again.

Failures are those of httpx, so that whoever calls tells them apart in one way.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import httptools
import httpx


@dataclass(slots=True, kw_only=True)
class Response:
    """A whole answer. `raw_headers` as they came."""

    status_code: int = 0
    raw_headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    content: bytes = b""

    @property
    def headers(self) -> dict[str, str]:
        """The headers by their names in lower case."""
        return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in self.raw_headers}

    @property
    def is_success(self) -> bool:
        return 200 <= self.status_code < 300


FRAMING = frozenset((b"content-length", b"transfer-encoding"))
"""Headers, one of which says where the body ends if the end of the connection does not."""


class Unanswered(httpx.RemoteProtocolError):
    """The connection ended before any byte of an answer."""


class Connection(asyncio.Protocol):
    """One connection, with at most one request on its way."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.idle_since = 0.0
        self.usable = True
        self.gone: asyncio.Future[None] = loop.create_future()
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._answer: asyncio.Future[Response] | None = None
        self._response = Response()
        self._parts: list[bytes] = []
        self._heard = False
        self._until_closed = False

    # what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._parser is None:
            self.close()  # nobody has asked for anything
            return
        self._heard = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(httpx.RemoteProtocolError(f"not an HTTP answer: {error}"))

    def connection_lost(self, error: Exception | None) -> None:
        if error is None and self._until_closed:
            self._finish()
        kind = httpx.RemoteProtocolError if self._heard else Unanswered
        self._fail(kind("the connection was closed before the answer was complete"))
        self._parser = None  # the two refer to each other
        self.gone.set_result(None)

    # what httptools calls

    def on_message_begin(self) -> None:
        if self._answer is None:
            self.close()  # a second answer behind the first
        self._response, self._parts = Response(), []

    def on_header(self, name: bytes, value: bytes) -> None:
        self._response.raw_headers.append((name, value))

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        self._response.status_code = self._parser.get_status_code()
        framed = any(name.lower() in FRAMING for name, _ in self._response.raw_headers)
        self._until_closed = self._response.status_code >= 200 and not framed

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)

    def on_message_complete(self) -> None:
        assert self._parser is not None
        if self._response.status_code >= 200:  # else the answer proper follows
            self.usable = self.usable and self._parser.should_keep_alive()
            self._finish()

    # what the pool calls

    async def ask(self, request: bytes, *, timeout: float) -> Response:
        """Send a request and wait for its answer. The connection is closed if it does not end well."""
        assert self._transport is not None
        self._heard = self._until_closed = False
        answer = self._answer = self._loop.create_future()
        late = self._loop.call_later(timeout, self._expire)
        try:
            self._transport.write(request)
            response: Response = await answer
        except BaseException:
            self.usable = False
            raise
        finally:
            late.cancel()
            self._answer = None
            if not self.usable:
                self.close()
        return response

    def close(self) -> None:
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    def is_open(self) -> bool:
        return self.usable and self._transport is not None and not self._transport.is_closing()

    def _finish(self) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            self._response.content = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
            answer.set_result(self._response)

    def _expire(self) -> None:
        self._fail(httpx.ReadTimeout("no answer in time"))

    def _fail(self, error: Exception) -> None:
        self.usable = False
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_exception(error)
