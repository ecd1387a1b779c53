"""Reading a request's body: bounded in size and time, decompressed."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import brotli  # type: ignore[import-untyped]

from miroir_cli.errors import ApiError

Receive = Callable[[], Awaitable[Any]]

ENCODINGS = frozenset({"gzip", "x-gzip", "deflate", "br"})
INCOMPLETE = "The provided payload is incomplete and cannot be parsed"
IN_THREAD_FROM = 64 * 1024
"""Bytes from which a body is decompressed outside of the event loop."""


class Disconnected(Exception):
    """The client went away before its request was complete."""


async def read_body(receive: Receive, headers: Mapping[str, str], *, limit: int, timeout: float) -> bytes:
    """The whole body, decompressed; `limit` bytes at most, no pause longer than `timeout` seconds.

    A Content-Encoding that is none of gzip, deflate and br says nothing, as in Meilisearch. Raises `ApiError`, and
    `Disconnected` when there is nobody left to answer.
    """
    declared = headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    parts: list[bytes] = []
    size = 0
    more = True
    while more:
        try:
            async with asyncio.timeout(timeout):
                message = await receive()
        except TimeoutError:
            raise ApiError("request_timeout", f"The body did not arrive within {timeout:g} s.", status=408) from None
        if message["type"] == "http.disconnect":
            raise Disconnected
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        if part:
            parts.append(part)
        more = message.get("more_body", False)
    content = parts[0] if len(parts) == 1 else b"".join(parts)
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ENCODINGS or not content:
        return content
    if len(content) < IN_THREAD_FROM:
        return _decompress(content, encoding, limit)
    return await asyncio.to_thread(_decompress, content, encoding, limit)


def _decompress(content: bytes, encoding: str, limit: int) -> bytes:
    try:
        if encoding in ("gzip", "x-gzip", "deflate"):
            inflater = zlib.decompressobj(wbits=47)
            whole = inflater.decompress(content, limit + 1)
            finished = inflater.eof
        else:
            reader = brotli.Decompressor()
            whole = reader.process(content, output_buffer_limit=limit + 1)
            finished = reader.is_finished()
    except (zlib.error, brotli.error):
        raise ApiError("bad_request", INCOMPLETE) from None
    if len(whole) > limit:
        raise _too_large(limit)
    if not finished:
        raise ApiError("bad_request", INCOMPLETE)
    return whole


def _too_large(limit: int) -> ApiError:
    return ApiError(
        "payload_too_large",
        f"The provided payload reached the size limit. The maximum accepted payload size is {limit / 2**20:g} MiB.",
    )
