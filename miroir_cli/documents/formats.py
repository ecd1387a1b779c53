"""Which format an input has, and its documents as chunks whatever the format."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePath
from typing import Final

from miroir_cli.documents.chunk import Chunk, Reject
from miroir_cli.documents.csv_rows import read_csv
from miroir_cli.documents.json_array import read_json
from miroir_cli.documents.ndjson import BYTE_ORDER_MARK, read_ndjson
from miroir_cli.documents.parquet import read_parquet
from miroir_cli.documents.sources import COMPRESSED_SUFFIXES, SAMPLE, Input, SourceBroken, Stream
from miroir_cli.errors import SourceInvalid


class Format(StrEnum):
    NDJSON = "ndjson"
    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"


BLOCK: Final = 128 << 10
"""Bytes read and handed on at a time: few enough to stay in a processor's cache on their way into a payload."""

SUFFIXES: Final = {
    ".ndjson": Format.NDJSON,
    ".jsonl": Format.NDJSON,
    ".jsonlines": Format.NDJSON,
    ".csv": Format.CSV,
    ".tsv": Format.CSV,
    ".parquet": Format.PARQUET,
    ".pq": Format.PARQUET,
}
"""File name endings that say enough. `.json` does not: many such files hold a document a line."""

FOREIGN_MARKS: Final = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"PK\x03\x04": "a ZIP archive", b"%PDF": "a PDF"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """An input with its format. `delimiter` is only looked at for CSV."""

    input: Input
    format: Format
    delimiter: str = ","

    @property
    def name(self) -> str:
        return self.input.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where to begin in a source: a position as its format counts, and the number of the line there."""

    position: int = 0
    line: int = 1


BEGINNING: Final = Place()


class Reader:
    """An input's opened bytes, kept from telling its format to reading it: a stream can be opened only once."""

    def __init__(self, source: Input, *, format: Format | None = None, delimiter: str | None = None) -> None:
        self._stream = Rewound(source)
        try:
            self.source = self._tell(source, format, delimiter)
        except BaseException:
            self.close()
            raise

    def _tell(self, source: Input, format: Format | None, delimiter: str | None) -> Source:
        sample = self._sample(source)
        suffix = _suffix(source.name)
        found = format or SUFFIXES.get(suffix) or tell_format(sample, source.name)
        if found is not Format.PARQUET:
            _refuse_binary(sample, source.name)
        elif source.path is None or self._stream.compression:
            where = "from standard input or a pipe" if source.path is None else "from a compressed file"
            raise SourceInvalid(f"Parquet cannot be read {where}: `{source.name}`", hint="name the plain file")
        return Source(input=source, format=found, delimiter=delimiter or ("\t" if suffix == ".tsv" else ","))

    def _sample(self, source: Input) -> bytes:
        try:
            sample = self._stream.sample(SAMPLE)
        except SourceBroken as error:
            raise SourceInvalid(f"cannot read `{source.name}`: {error}") from None
        if not sample.removeprefix(BYTE_ORDER_MARK).strip():
            raise SourceInvalid(f"`{source.name}` is empty")
        return sample

    @property
    def consumed(self) -> int:
        """Stored bytes read so far."""
        return self._stream.consumed

    def chunks(
        self, *, primary_key: str, start: Place = BEGINNING, stop: int | None = None, block: int = BLOCK
    ) -> Iterator[Chunk]:
        """The documents from a place on, up to the position `stop` or the end, in chunks of about `block` bytes.

        A source that breaks off in the middle ends with a reject that says so. Raises SourceInvalid and the like
        for what is wrong with the whole of it.
        """
        last, end = start.line - 1, start.position
        try:
            for chunk in self._read(primary_key, start, stop, block):
                last, end = (chunk.numbers[-1] if chunk.numbers else last), chunk.end
                yield chunk
        except SourceBroken as error:
            reason = f"{error}; nothing from here on was read"
            yield Chunk(data=b"", lines=(), numbers=(), end=end, rejects=(Reject(line=last + 1, reason=reason),))

    def _read(self, primary_key: str, start: Place, stop: int | None, block: int) -> Iterator[Chunk]:
        source, stream = self.source, self._stream
        if source.format is Format.NDJSON:
            return read_ndjson(stream, position=start.position, line=start.line, stop=stop, block=block)
        if source.format is Format.JSON:
            return read_json(stream, position=start.position, stop=stop, block=block)
        if source.format is Format.PARQUET:
            return read_parquet(stream, name=source.name, primary_key=primary_key, position=start.position, stop=stop)
        return read_csv(
            stream,
            name=source.name,
            delimiter=source.delimiter,
            primary_key=primary_key,
            position=start.position,
            stop=stop,
            block=block,
        )

    def close(self) -> None:
        self._stream.close()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Rewound(Stream):
    """A stream whose first bytes can be looked at before they are read, without waiting for more than there is."""

    _ahead = b""

    def sample(self, size: int) -> bytes:
        if self.compression is None:
            return self.peek()
        self._ahead = super().read(size)
        return self._ahead

    def read(self, size: int) -> bytes:
        if not self._ahead:
            return super().read(size)
        block, self._ahead = self._ahead[:size], self._ahead[size:]
        return block if len(block) == size else block + super().read(size - len(block))

    def skip(self, count: int) -> None:
        if self.seekable:
            self._ahead = b""
        super().skip(count)


def tell_format(sample: bytes, name: str) -> Format:
    """The format that content looks like. Raises SourceInvalid when it looks like none."""
    text = sample.removeprefix(BYTE_ORDER_MARK).lstrip()
    if text.startswith(b"PAR1"):
        return Format.PARQUET
    if text.startswith(b"["):
        return Format.JSON
    if text.startswith(b"{"):
        first, line_break, _ = text.partition(b"\n")
        return Format.JSON if line_break and not first.rstrip().endswith(b"}") else Format.NDJSON
    _refuse_binary(sample, name)
    if b"," in text.partition(b"\n")[0]:
        return Format.CSV
    raise SourceInvalid(
        f"cannot tell the format of `{name}`", hint="say it: `--format ndjson`, `json`, `csv` or `parquet`"
    )


def _refuse_binary(sample: bytes, name: str) -> None:
    for mark, what in FOREIGN_MARKS.items():
        if sample.startswith(mark):
            hint = "convert it to UTF-8" if what == "UTF-16" else None
            raise SourceInvalid(f"`{name}` is {what}, not text with documents", hint=hint)
    if b"\0" in sample:
        raise SourceInvalid(f"`{name}` is a binary file, not text with documents")


def _suffix(name: str) -> str:
    path = PurePath(name.lower())
    return path.with_suffix("").suffix if path.suffix in COMPRESSED_SUFFIXES else path.suffix
