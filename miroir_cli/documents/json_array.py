"""Documents in one JSON array, read as a stream; a single object counts as an array of one. Positions are bytes.

The scanner only finds where an element ends. Whether it is valid JSON is for the router to say, so a bad element
costs one reject; an array that goes on in no possible way ends the reading with one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import msgspec

from miroir_cli.documents.chunk import Chunk, Reject
from miroir_cli.documents.ndjson import BYTE_ORDER_MARK, KEPT, LONGEST

if TYPE_CHECKING:
    from miroir_cli.documents.sources import Stream

STRUCTURE: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*("?)|[{}\[\]]', re.DOTALL)
"""A string (with an empty group when it has no end yet) or a bracket outside of strings."""

SCALAR_END: Final = re.compile(rb"[,\]\s]")
SPACE: Final = re.compile(rb"[ \t\r\n]*")
_valid = msgspec.json.Decoder(msgspec.Raw)


class _Broken(Exception):
    """The array cannot be read on; the message says why."""


class _Window:
    """A piece of the stream that grows at its end and is cut at its start.

    `base` is the position of its first byte, `line` the line of the source that the byte at `place` is in.
    """

    def __init__(self, stream: Stream, base: int, line: int, block: int) -> None:
        self.stream = stream
        self.block = block
        self.data = b""
        self.base = base
        self.place = 0
        self.line = line
        self.ended = False

    def grow(self) -> bool:
        """Read on, at least as much as there is; False at the end of the source."""
        self.base += self.place
        self.data = self.data[self.place :]
        self.place = 0
        more = self.stream.read(max(self.block, len(self.data), len(BYTE_ORDER_MARK)))
        self.data += more
        self.ended = not more
        return bool(more)

    def move(self, place: int) -> None:
        self.line += self.data.count(b"\n", self.place, place)
        self.place = place

    def next_byte(self) -> bytes:
        """The next byte that is no space, without taking it; nothing at the end."""
        while True:
            match = SPACE.match(self.data, self.place)
            assert match
            self.move(match.end())
            if self.place < len(self.data):
                return self.data[self.place : self.place + 1]
            if not self.grow():
                return b""


def read_json(
    stream: Stream, *, position: int, stop: int | None, block: int, sequence: bool = False
) -> Iterator[Chunk]:
    """Chunks of elements, of at least `block` bytes. A position other than 0 is the end of an element in an array.

    `sequence`: the elements follow each other without an array around them, wherever lines break.
    """
    window = _Window(stream, position, 1 + _skip(stream, position), block)
    lines: list[bytes] = []
    numbers: list[int] = []
    size = 0
    try:
        elements = _sequence(window) if sequence else _elements(window, within=position > 0)
        for number, element in elements:
            lines.append(element + b"\n")
            numbers.append(number)
            size += len(element)
            end = window.base + window.place
            if size >= block or (stop is not None and end >= stop):
                yield Chunk(data=b"".join(lines), lines=lines, numbers=numbers, end=end)
                lines, numbers, size = [], [], 0
            if stop is not None and end >= stop:
                return
    except _Broken as error:
        shown = window.data[window.place : window.place + KEPT]
        reject = Reject(line=window.line, reason=f"{error}; nothing from here on was read", document=shown)
        end = window.base + len(window.data)
        yield Chunk(data=b"".join(lines), lines=lines, numbers=numbers, end=end, rejects=(reject,))
        return
    if lines:
        yield Chunk(data=b"".join(lines), lines=lines, numbers=numbers, end=window.base + window.place)


def _skip(stream: Stream, count: int) -> int:
    """Pass over the first bytes; how many line breaks they hold."""
    line_breaks = 0
    while count > 0 and (block := stream.read(min(count, 1 << 20))):
        count -= len(block)
        line_breaks += block.count(b"\n")
    return line_breaks


def _elements(window: _Window, *, within: bool) -> Iterator[tuple[int, bytes]]:
    """The line and the bytes of each element; afterwards the window stands behind it."""
    if not within:
        window.grow()
        if window.data.startswith(BYTE_ORDER_MARK):
            window.move(len(BYTE_ORDER_MARK))
        opening = window.next_byte()
        if opening == b"{":
            yield _take_element(window)
            _expect_end(window)
            return
        if opening != b"[":
            raise _Broken("not JSON: expected an array or an object")
        window.move(window.place + 1)
    first = not within
    while (following := window.next_byte()) != b"]":
        if not first and following == b",":
            window.move(window.place + 1)
            following = window.next_byte()
        elif not first:
            raise _Broken("the array is cut off" if not following else "expected `,` or `]` after an element")
        if following in (b"", b",", b"]", b"}"):
            raise _Broken("expected an element" if following else "the array is cut off")
        yield _take_element(window)
        first = False
    window.move(window.place + 1)
    _expect_end(window)


def _sequence(window: _Window) -> Iterator[tuple[int, bytes]]:
    """The same for elements without an array, with only space between them if any."""
    while window.next_byte():
        yield _take_element(window)


def _expect_end(window: _Window) -> None:
    if window.next_byte():
        raise _Broken("something follows after the end of the JSON text")


def _take_element(window: _Window) -> tuple[int, bytes]:
    line = window.line
    end = _find_end(window)
    element = window.data[window.place : end]
    window.move(end)
    if b"\n" in element:
        element = _on_one_line(element)
    return line, element


def _on_one_line(element: bytes) -> bytes:
    """The element without line breaks. In valid JSON they stand between tokens only, where a space does as well."""
    try:
        _valid.decode(element)
    except (msgspec.MsgspecError, RecursionError):
        return element.replace(b"\n", b"\v")  # still malformed, and a line of its own
    return element.replace(b"\r", b" ").replace(b"\n", b" ")


def _find_end(window: _Window) -> int:
    """The index in the window's data just behind the element that begins at its place; reads on as needed."""
    if window.data[window.place : window.place + 1] not in (b"{", b"[", b'"'):
        return _find_scalar_end(window)
    scanned = depth = 0
    while True:
        data, place = window.data, window.place
        for match in STRUCTURE.finditer(data, place + scanned):
            token = data[match.start()]
            if token == 0x22:  # a string
                if not match.group(1):
                    scanned = match.start() - place
                    break
                if depth == 0:
                    return match.end()
            elif token in b"{[":
                depth += 1
            else:
                depth -= 1
                if depth == 0:
                    return match.end()
        else:
            scanned = len(data) - place
        if len(data) - place > LONGEST:
            raise _Broken(f"an element is longer than {LONGEST // 1000000} MB")
        if not window.grow():
            raise _Broken("the array is cut off within this element")


def _find_scalar_end(window: _Window) -> int:
    while True:
        if match := SCALAR_END.search(window.data, window.place):
            return match.start()
        if len(window.data) - window.place > LONGEST:
            raise _Broken(f"an element is longer than {LONGEST // 1000000} MB")
        if not window.grow():
            return len(window.data)
