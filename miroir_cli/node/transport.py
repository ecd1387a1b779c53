"""A faster transport for the reads of a long-lived process: httpx over aiohttp's connection pool.

Measured in `docs/benchmarks.md`. Only for reads: aiohttp sends an idempotent request again by itself when its
connection drops, and a PUT that writes documents must never be sent twice. Needs the extra `fast`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

if TYPE_CHECKING:
    from miroir_cli.model import Node


class FastReads(AiohttpTransport):
    """httpx-aiohttp, with a dropped connection told apart from one that was never made."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return await super().handle_async_request(request)
        except httpx.ConnectTimeout as error:
            cause = error.__cause__
            if isinstance(cause, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
                raise
            raise httpx.ReadError(str(error), request=request) from cause


def fast_reads(node: Node, *, idle_expiry: float = 3.0) -> httpx.AsyncBaseTransport:
    """A transport for one node's reads. `idle_expiry`: seconds after which an unused connection is not used again."""
    return FastReads(
        verify=node.url.startswith("https://"), limits=httpx.Limits(max_connections=64, keepalive_expiry=idle_expiry)
    )
