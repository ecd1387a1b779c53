"""The documents of one request's body: read by the formats' own readers, with Meilisearch's refusals.

What is wrong with a payload as a whole is refused before a task is made; what is wrong with a document makes the task
fail. Source: `routes/indexes/documents.rs`, `meilisearch-types/document_formats.rs` of Meilisearch 1.50 and what a
server answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from miroir_cli.documents.csv_rows import explain_csv, read_csv
from miroir_cli.documents.formats import BLOCK, Format
from miroir_cli.documents.json_array import read_json
from miroir_cli.documents.ndjson import BYTE_ORDER_MARK, read_ndjson
from miroir_cli.documents.route import is_utf8
from miroir_cli.errors import ApiError, SourceInvalid

if TYPE_CHECKING:
    from miroir_cli.documents.chunk import Chunk, Reject
    from miroir_cli.documents.sources import Stream

CONTENT_TYPES: Final = {
    "application/json": Format.JSON,
    "application/x-ndjson": Format.NDJSON,
    "text/csv": Format.CSV,
}

_any: Final = msgspec.json.Decoder()
_raw: Final = msgspec.json.Decoder(msgspec.Raw)
_raw_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """The documents of a body, as they came. `format` is what the client called it."""

    format: Format
    chunks: Sequence[Chunk]

    @property
    def count(self) -> int:
        """How many documents it has."""
        return sum(1 for chunk in self.chunks for line in chunk.lines if line and not line.isspace())

    def first_fields(self) -> list[str] | None:
        """The names in the first document; None when there is no document."""
        for chunk in self.chunks:
            for line in chunk.lines:
                if line and not line.isspace():
                    return list(_raw_object.decode(line))
        return None


class _Body:
    """A request's body as the readers take it."""

    def __init__(self, body: bytes) -> None:
        self._body = memoryview(body)
        self._place = 0

    def read(self, size: int) -> bytes:
        found = bytes(self._body[self._place : self._place + size])
        self._place += len(found)
        return found

    def skip(self, count: int) -> None:
        self._place += count


def read_payload(body: bytes, format: Format, *, delimiter: str = ",") -> Payload:
    """The documents of a body, each a JSON object. Raises `missing_payload` and `malformed_payload`."""
    if not body:
        raise ApiError("missing_payload", f"A {format} payload is missing.")
    if format is Format.CSV:
        return Payload(format=format, chunks=_csv(body, delimiter))
    if body.startswith(BYTE_ORDER_MARK):
        raise malformed(format, "expected value at line 1 column 1")
    chunks = tuple(_read_json(body, format))
    rejects = [reject for chunk in chunks for reject in chunk.rejects]
    if rejects or not _are_objects(chunks):
        raise malformed(format, _reason(body, rejects))
    return Payload(format=format, chunks=chunks)


def _read_json(body: bytes, format: Format) -> Iterator[Chunk]:
    if format is Format.JSON:
        return read_json(_stream(body), position=0, stop=None, block=BLOCK)
    chunks = tuple(read_ndjson(_stream(body), position=0, line=1, stop=None, block=BLOCK))
    if _are_objects(chunks):
        return iter(chunks)
    # Lines may break within a document, and several may share one.
    return read_json(_stream(body), position=0, stop=None, block=BLOCK, sequence=True)


def _are_objects(chunks: Sequence[Chunk]) -> bool:
    """Whether every line that is not empty is one JSON object."""
    try:
        for chunk in chunks:
            if not (chunk.data.isascii() or is_utf8(chunk.data)):
                return False
            for line in chunk.lines:
                if not line.isspace():
                    if not line.lstrip().startswith(b"{"):
                        return False
                    _raw.decode(line)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return False
    return True


def _stream(body: bytes) -> Stream:
    return cast("Stream", _Body(body))


def _csv(body: bytes, delimiter: str) -> Sequence[Chunk]:
    chunks = read_csv(
        _stream(body),
        name="the payload",
        delimiter=delimiter,
        primary_key=None,
        position=0,
        stop=None,
        block=BLOCK,
        any_type=True,
    )
    try:
        found = tuple(chunks)
    except SourceInvalid as error:
        raise malformed(Format.CSV, error.message) from None
    for reject in (reject for chunk in found for reject in chunk.rejects):
        raise malformed(Format.CSV, explain_csv(body, delimiter) or f"line {reject.line}: {reject.reason}")
    return found


def first_broken(body: bytes) -> int:
    """Where the first line of an NDJSON body begins that is no JSON by itself."""
    place = 0
    for line in body.splitlines(keepends=True):
        if not line.isspace():
            try:
                _raw.decode(line)
            except (msgspec.MsgspecError, UnicodeError, RecursionError):
                return place
        place += len(line)
    return 0


def malformed(format: Format, reason: str) -> ApiError:
    """The refusal of a payload that is not what it says."""
    if format is Format.CSV:
        return ApiError("malformed_payload", f"The `csv` payload provided is malformed: `{reason}`.")
    return ApiError(
        "malformed_payload",
        f"The `{format}` payload provided is malformed. `Couldn't serialize document value: {reason}`.",
    )


def _reason(body: bytes, rejects: Sequence[Reject]) -> str:
    try:
        found: Any = _any.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return rejects[0].reason if rejects else str(error).removeprefix("JSON is malformed: ")
    if isinstance(found, list | dict) and rejects:
        return rejects[0].reason
    return "data are neither an object nor a list of objects"
