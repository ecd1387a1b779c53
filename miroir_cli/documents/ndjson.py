"""Documents one a line (NDJSON, JSON Lines). Positions are bytes."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING, Final

from miroir_cli.documents.chunk import Chunk, Reject

if TYPE_CHECKING:
    from miroir_cli.documents.sources import Stream

LONGEST: Final = 90 * 1000 * 1000
"""Bytes of the longest document that fits into a node's default payload limit (100 MiB) with room to spare."""

KEPT: Final = 200
"""Bytes kept of a document that is too long, to recognise it by."""

BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


def read_ndjson(stream: Stream, *, position: int, line: int, stop: int | None, block: int) -> Iterator[Chunk]:
    """Chunks of whole lines from a position, which is the beginning of a line, up to `stop` or the end.

    `block` is how many bytes are read at a time.
    """
    stream.skip(position)
    parts: list[bytes] = []
    kept = 0
    first = position == 0
    size = max(block, len(BYTE_ORDER_MARK))
    while read := stream.read(size if stop is None else min(size, stop - position - kept)):
        if first and read.startswith(BYTE_ORDER_MARK):
            read = read[len(BYTE_ORDER_MARK) :]
            position += len(BYTE_ORDER_MARK)
        first = False
        if kept > LONGEST and (cut := read.find(b"\n")) >= 0:
            position += kept + cut + 1
            yield _too_long(parts[0], line, position)
            read, parts, kept, line = read[cut + 1 :], [], 0, line + 1
        cut = read.rfind(b"\n") + 1
        if cut > 0:
            data = b"".join((*parts, memoryview(read)[:cut]))
            position += len(data)
            chunk = _chunk(data, line, position)
            line += len(chunk.lines)
            yield chunk
            parts, kept = [], 0
        if kept <= LONGEST:
            parts.append(read[cut:])
        kept += len(read) - cut
        if kept > LONGEST:
            del parts[1:]
    if kept > LONGEST:
        yield _too_long(parts[0], line, position + kept)
    elif data := b"".join(parts):
        yield _chunk(data + b"\n", line, position + len(data))


def _chunk(data: bytes, line: int, end: int) -> Chunk:
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n")
    lines = BytesIO(data).readlines()  # twice as fast as `split`
    return Chunk(data=data, lines=lines, numbers=range(line, line + len(lines)), end=end)


def _too_long(start: bytes, line: int, end: int) -> Chunk:
    reason = f"longer than {LONGEST // 1000000} MB, the most that one document may have"
    reject = Reject(line=line, reason=reason, document=start[:KEPT])
    return Chunk(data=b"", lines=(), numbers=(), end=end, rejects=(reject,))
