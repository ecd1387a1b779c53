"""httpx's own transport, but a connection on which a request was refused is not used again.

Meilisearch closes a connection, without a word in the answer, whose request it refused before it read all of the
body (a key it does not know, a body that is too large). A write sent on it in that moment would have an unknown
outcome, and its replica would be stale for nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx


class OnceRefused(httpx.AsyncHTTPTransport):
    """Closes the connection of every answer of 400 and above when its body has been read."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        network = response.extensions.get("network_stream")
        if response.status_code >= 400 and network is not None and isinstance(response.stream, httpx.AsyncByteStream):
            response.stream = _Last(response.stream, network)
        return response


class _Last(httpx.AsyncByteStream):
    """The body of the last answer of a connection."""

    def __init__(self, body: httpx.AsyncByteStream, network: Any) -> None:
        self._body = body
        self._network = network

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._body:
            yield part

    async def aclose(self) -> None:
        # first the network, while the connection is still ours: its pool never hands out one that is closed
        await self._network.aclose()
        await self._body.aclose()
