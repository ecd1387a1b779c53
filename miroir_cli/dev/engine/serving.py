"""uvicorn, told to let a fault close a connection without an answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    from starlette.applications import Starlette

TRANSPORT = "miroir.transport"


class DroppableProtocol(HttpToolsProtocol):
    """Shows the connection to the application."""

    def on_message_begin(self) -> None:
        """Start a request."""
        super().on_message_begin()
        self.scope[TRANSPORT] = self.transport  # type: ignore[literal-required]


async def drop_connection(scope: Any) -> None:
    """Close the client's connection without an answer."""
    transport = scope.get(TRANSPORT)
    if transport is None:
        raise ConnectionResetError("the fault switch dropped this connection")
    transport.abort()
    await asyncio.sleep(0.005)


def configured(app: Starlette, host: str, port: int) -> uvicorn.Config:
    """Return the server's configuration: quiet, and quick to stop."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=DroppableProtocol,
        log_level="critical",
        access_log=False,
        lifespan="on",
        timeout_graceful_shutdown=1,
        timeout_keep_alive=75,
        server_header=False,
    )
