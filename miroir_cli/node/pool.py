"""A lean pool of connections for the reads of a long-lived process: asyncio and httptools, and nothing in between.

A general HTTP library takes several times the processor time of the search itself (`docs/benchmarks.md`). Only for
reads: one that meets a kept connection which the server closes instead of answering is asked again on a new one.
Nothing else is ever sent twice. Failures are those of httpx, so that whoever calls tells them apart in one way.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from functools import cached_property
from typing import Final

import httpx

from miroir_cli.node.connection import Connection, Response, Unanswered

CONNECTIONS: Final = 64
"""Connections to one node at once; further requests wait for one."""

IDLE_EXPIRY: Final = 3.0
"""Seconds after which an unused connection is closed: below the 5 s after which Meilisearch closes it."""

CONNECT_TIMEOUT: Final = 2.0
STAGGER: Final = 0.25
"""Seconds after which the next address of a name is tried as well (RFC 8305)."""


class ReadPool:
    """The connections to one node, for requests that change nothing. `headers` go with every request."""

    def __init__(
        self, url: str, *, headers: Mapping[str, str], connections: int = CONNECTIONS, idle_expiry: float = IDLE_EXPIRY
    ) -> None:
        self._url = httpx.URL(url)
        if self._url.scheme not in ("http", "https") or not self._url.host:
            raise httpx.UnsupportedProtocol(f"not an http url: {url}")
        lines = [f"Host: {self._url.netloc.decode('ascii')}", *(f"{name}: {value}" for name, value in headers.items())]
        self._prefix = self._url.raw_path.decode("ascii").rstrip("/")
        self._headers = "".join(f"{line}\r\n" for line in lines).encode("ascii")
        self._idle_expiry = idle_expiry
        self._room = asyncio.Semaphore(connections)
        self._all: set[Connection] = set()
        self._idle: list[Connection] = []
        """Those without a request, the one used last at the end."""
        self._opening: set[asyncio.Task[Connection]] = set()
        self._expiry: asyncio.TimerHandle | None = None
        self._closed = False

    async def request(self, method: str, path: str, *, content: bytes | None = None, timeout: float) -> Response:
        """The answer, within `timeout` seconds from when the request is sent.

        Raises httpx's errors: `PoolTimeout`, `ConnectTimeout`, `ConnectError` and `InvalidURL` when nothing was sent,
        `ReadTimeout`, and `RemoteProtocolError` for what ended in the middle or is no HTTP.
        """
        if " " in path or not (path.isascii() and path.isprintable()):
            raise httpx.InvalidURL(f"not a path: {path!r}")
        request = f"{method} {self._prefix}/{path} HTTP/1.1\r\n".encode("ascii") + self._headers
        if content is not None:
            request += b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content)
        else:
            request += b"\r\n"
        await self._enter(timeout)
        try:
            if (kept := self._kept()) is not None:
                try:
                    return await self._ask(kept, request, timeout)
                except Unanswered:
                    pass
            return await self._ask(await self._connect(), request, timeout)
        finally:
            self._room.release()

    async def aclose(self) -> None:
        """Close all connections, and wait until their sockets are free. What is under way fails."""
        self._closed = True
        if self._expiry is not None:
            self._expiry.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)
        closing = list(self._all)
        for connection in closing:
            connection.close()
        for connection in closing:
            await connection.gone

    async def _enter(self, timeout: float) -> None:
        if not self._room.locked():
            await self._room.acquire()  # at once
            return
        try:
            async with asyncio.timeout(timeout):
                await self._room.acquire()
        except TimeoutError:
            raise httpx.PoolTimeout("no connection became free in time") from None

    async def _ask(self, connection: Connection, request: bytes, timeout: float) -> Response:
        response = await connection.ask(request, timeout=timeout)
        if connection.usable:
            connection.idle_since = asyncio.get_running_loop().time()
            self._idle.append(connection)
            if self._expiry is None:
                self._expire()
        return response

    def _kept(self) -> Connection | None:
        """The connection that was used last, if it is open and fresh enough."""
        fresh = asyncio.get_running_loop().time() - self._idle_expiry
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open() and connection.idle_since > fresh:
                return connection
            connection.close()
        return None

    def _expire(self) -> None:
        """Close what was unused for too long, and come again when the next will have been."""
        loop = asyncio.get_running_loop()
        fresh = loop.time() - self._idle_expiry
        while self._idle and self._idle[0].idle_since <= fresh:
            self._idle.pop(0).close()
        due = self._idle[0].idle_since + self._idle_expiry if self._idle else None
        self._expiry = None if due is None or self._closed else loop.call_at(due, self._expire)

    async def _connect(self) -> Connection:
        """A new connection. It is opened to its end even if nobody waits for it any more: a socket that wins the race
        between addresses at the moment in which it is cancelled would stay open (CPython's gh-124309)."""
        if self._closed:
            raise RuntimeError("the pool is closed")
        opening = asyncio.create_task(self._open())
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close)
            raise

    async def _open(self) -> Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                _, connection = await loop.create_connection(
                    lambda: Connection(loop),
                    self._url.raw_host.decode("ascii"),
                    self._url.port or (443 if self._url.scheme == "https" else 80),
                    ssl=self._tls,
                    happy_eyeballs_delay=STAGGER,
                )
        except TimeoutError:
            raise httpx.ConnectTimeout("no connection in time") from None
        except (OSError, UnicodeError) as error:
            raise httpx.ConnectError(str(error)) from error
        self._all.add(connection)
        connection.gone.add_done_callback(lambda _: self._all.discard(connection))
        if self._closed:
            connection.close()
        return connection

    @cached_property
    def _tls(self) -> ssl.SSLContext | None:
        return ssl.create_default_context() if self._url.scheme == "https" else None


def _close(opening: asyncio.Task[Connection]) -> None:
    """Close a connection for which nobody waits any more."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
