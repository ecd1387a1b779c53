"""The HTTP server under the proxy: uvicorn, with bounds on what a connection may take before its request is there."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from miroir_cli.errors import UsageError
from miroir_cli.proxy.app import Proxy

if TYPE_CHECKING:
    from miroir_cli.proxy.service import Service
    from miroir_cli.topology.serve import ServeSettings

LARGEST_HEAD = 64 * 1024
"""Bytes of a request's line and headers together, and of what may stand between two parts of a body or behind it."""

TOO_LATE = b"408 Request Timeout"
TOO_LARGE = b"431 Request Header Fields Too Large"

DRAINING = 0.3
"""Seconds in which a server that is told to stop still takes requests, each the last one of its connection."""

LOG = logging.getLogger("miroir.serve")


def bounded_protocol(settings: ServeSettings) -> type[HttpToolsProtocol]:
    """uvicorn's protocol for connections that must send their head in time and in size, and of which there are so many
    at most."""

    class Bounded(HttpToolsProtocol):
        _alarm: asyncio.TimerHandle | None = None
        _head = 0

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) > settings.connections:
                transport.abort()
                return
            # Whoever opened it ahead of time would take an answer for that to its first request.
            self._alarm = self.loop.call_later(settings.idle_timeout, transport.close)

        def connection_lost(self, exc: Exception | None) -> None:
            self._quiet()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            self._head += len(data)
            super().data_received(data)
            if self._head > LARGEST_HEAD:
                self._give_up(TOO_LARGE)

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._quiet()
            self._alarm = self.loop.call_later(settings.header_timeout, self._give_up, TOO_LATE)

        def on_headers_complete(self) -> None:
            self._quiet()
            self._head = 0
            super().on_headers_complete()

        def on_body(self, body: bytes) -> None:
            self._head = 0  # a body is bounded elsewhere; extensions of chunks and trailers are not
            super().on_body(body)

        def on_message_complete(self) -> None:
            self._head = 0
            super().on_message_complete()

        def _quiet(self) -> None:
            if self._alarm is not None:
                self._alarm.cancel()
                self._alarm = None

        def _give_up(self, status: bytes) -> None:
            self._quiet()
            if not self.transport.is_closing():
                self.transport.write(b"HTTP/1.1 %b\r\nconnection: close\r\ncontent-length: 0\r\n\r\n" % status)
                self.transport.close()

    return Bounded


class _Server(uvicorn.Server):
    """Leaves signals to who runs the event loop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections. Raises `UsageError` naming the address when it cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UsageError(
            f"`{host}` is not an address to listen on: {(error.strerror or str(error)).lower()}",
            hint="choose another `--host`",
        ) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise UsageError(
            f"cannot listen on {host}:{port}: {(error.strerror or str(error)).lower()}", hint="choose another `--port`"
        ) from error
    listener.setblocking(False)
    return listener


def allow_many_connections() -> None:
    """Raise the limit on open files as far as the system allows it without asking anybody."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def serve(service: Service, listener: socket.socket) -> None:
    """Answer requests until cancelled; then finish those that have begun.

    Cancelled a second time, or after `stop_timeout` seconds, what is left is given up.
    """
    settings = service.settings
    allow_many_connections()
    proxy = Proxy(service)
    config = uvicorn.Config(
        proxy,
        http=bounded_protocol(settings),
        ws="none",
        proxy_headers=False,
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        timeout_keep_alive=int(settings.idle_timeout),
        timeout_graceful_shutdown=int(settings.stop_timeout),
    )
    server = _Server(config)
    running = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        LOG.info("stopping", extra={"in_flight": proxy.in_flight})
        proxy.stopping = True
        await asyncio.sleep(DRAINING)
        server.should_exit = True
        await running
        raise
