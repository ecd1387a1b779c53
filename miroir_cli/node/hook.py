"""Telling something to an address that is no node: one POST, no redirects."""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from miroir_cli.errors import NodeUnavailable

TIMEOUT = 10.0


async def post(url: str, content: bytes, *, headers: Mapping[str, str]) -> None:
    """Send it. Raises `NodeUnavailable` unless the answer is a success."""
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=TIMEOUT) as client:
            response = await client.post(url, content=content, headers=dict(headers))
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, ValueError) as error:
        reason = str(error) or type(error).__name__
        raise NodeUnavailable(f"cannot be reached: {reason}", node="", sent=True) from None
    if not response.is_success:
        raise NodeUnavailable(f"answered {response.status_code}", node="", sent=True)
