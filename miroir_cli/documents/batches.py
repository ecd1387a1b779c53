"""Cutting sources into batches: how large, from where to where, and routed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from miroir_cli.documents.formats import BEGINNING, BLOCK, Format, Place, Reader
from miroir_cli.documents.route import Batch, Router

if TYPE_CHECKING:
    from miroir_cli.documents.chunk import Chunk
    from miroir_cli.documents.sources import Input

FIRST_SIZE: Final = 4 << 20
SMALLEST: Final = 256 << 10
LARGEST: Final = 8 << 20
"""Bytes of a batch. With one in hand and one being cut, both as lines and as payloads, more would cost memory; nodes
batch the tasks in their queue themselves, so larger ones gain nothing."""

MOST_DOCUMENTS: Final = 50_000


class Sizing:
    """How large the next batch should be: what the nodes take in about a second. Pure.

    A size given by the user stays, unless a node finds it too large.
    """

    def __init__(self, fixed: int | None = None) -> None:
        self.size = fixed or FIRST_SIZE
        self._largest = fixed or LARGEST
        self._smallest = min(self._largest, SMALLEST)

    @property
    def smallest(self) -> int:
        """What to send while others wait for the queues to run empty."""
        return min(self.size, self._smallest)

    def took(self, seconds: float) -> None:
        """A batch of this size was sent, and taken by all its nodes, in so many seconds."""
        if seconds < 1.0:
            self.size = min(self.size * 2, self._largest)
        elif seconds > 4.0:
            self.size = max(self.size // 2, self._smallest)

    def too_large(self) -> None:
        """A node found a batch of this size too large: no later one is larger than half of it."""
        self._largest = max(self.size // 2, 1)
        self._smallest = min(self._smallest, self._largest)
        self.size = self._largest


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A piece of one source: positions as its format counts them, and the lines they stand for."""

    source: int
    start: int
    end: int
    first_line: int
    last_line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A batch and where it came from."""

    span: Span
    batch: Batch


class Cutter:
    """Reads sources one after the other and cuts them into batches; a batch never spans two sources. Blocks."""

    def __init__(
        self,
        inputs: Sequence[Input],
        router: Router,
        *,
        format: Format | None = None,
        delimiter: str | None = None,
        block: int = BLOCK,
    ) -> None:
        self.inputs = inputs
        self.router = router
        self._format = format
        self._delimiter = delimiter
        self._block = block
        self._source = 0
        self._place = BEGINNING
        self._reader: Reader | None = None
        self._begun: dict[int, Reader] = {}
        self._chunks: Iterator[Chunk] | None = None
        self._finished = 0

    def check(self) -> None:
        """Look at the beginning of every source. Raises SourceInvalid and the like before anything is sent."""
        for position, source in enumerate(self.inputs):
            reader = self._open(position)
            if not source.rereadable:
                self._begun[position] = reader
                continue
            with reader:
                next(reader.chunks(primary_key=self.router.primary_key), None)

    def _open(self, position: int) -> Reader:
        """A source from its beginning; what can be read once only goes on from the look at it."""
        begun = self._begun.pop(position, None)
        return begun or Reader(self.inputs[position], format=self._format, delimiter=self._delimiter)

    def go_to(self, source: int, place: Place) -> None:
        """Continue at a place of a source instead of the beginning of the first one."""
        self._finished = sum(earlier.size or 0 for earlier in self.inputs[:source])
        self._source, self._place = source, place

    @property
    def consumed(self) -> int:
        """Stored bytes read so far, of all sources together."""
        return self._finished + (self._reader.consumed if self._reader is not None else 0)

    def next(self, size: int) -> Cut | None:
        """The next batch of about `size` bytes; None at the end of the last source."""
        while self._source < len(self.inputs):
            cut = self._cut(size)
            if cut is not None:
                return cut
            self._finished += self.inputs[self._source].size or 0
            self._source, self._place = self._source + 1, BEGINNING
            self._close_reader()
        return None

    def _cut(self, size: int) -> Cut | None:
        if self._chunks is None:
            self._reader = self._open(self._source)
            self._chunks = self._reader.chunks(
                primary_key=self.router.primary_key, start=self._place, block=self._block
            )
        batch = Batch(self.router.shards)
        end, last = self._place.position, self._place.line - 1
        for chunk in self._chunks:
            self.router.route(chunk, batch)
            end, last = chunk.end, _last_line(chunk, last)
            if batch.size >= size or batch.documents >= MOST_DOCUMENTS or len(batch.rejects) >= MOST_DOCUMENTS:
                break
        if end == self._place.position and not batch.rejects:
            return None
        span = Span(
            source=self._source,
            start=self._place.position,
            end=end,
            first_line=self._place.line,
            last_line=last,
        )
        self._place = Place(position=end, line=last + 1)
        return Cut(span=span, batch=batch)

    def again(self, span: Span) -> Iterator[Chunk]:
        """The chunks of a piece that was cut before. Only for sources that can be read again."""
        with Reader(self.inputs[span.source], format=self._format, delimiter=self._delimiter) as reader:
            start = Place(position=span.start, line=span.first_line)
            yield from reader.chunks(primary_key=self.router.primary_key, start=start, stop=span.end)

    def cut_again(self, span: Span) -> Batch:
        """The batch of such a piece, without its rejects: they were dealt with."""
        batch = Batch(self.router.shards)
        for chunk in self.again(span):
            self.router.route(chunk, batch)
        batch.rejects.clear()
        return batch

    def abandon(self) -> None:
        """Let whatever waits for standard input or a pipe return."""
        for source in self.inputs:
            if source.streamed is not None:
                source.streamed.abandoned = True

    def close(self) -> None:
        """Close what is open."""
        self._close_reader()
        for reader in self._begun.values():
            reader.close()
        self._begun.clear()

    def _close_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()
        self._reader = self._chunks = None


def _last_line(chunk: Chunk, before: int) -> int:
    lines = [before, *(reject.line for reject in chunk.rejects)]
    if chunk.numbers:
        lines.append(chunk.numbers[-1])
    return max(lines)
