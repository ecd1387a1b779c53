"""Documents written to files in every format, and read back through the readers."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from miroir_cli.documents.chunk import Chunk, Reject
from miroir_cli.documents.formats import BEGINNING, BLOCK, Format, Place, Reader
from miroir_cli.documents.sources import find_inputs

Documents = Sequence[dict[str, Any]]


def as_ndjson(documents: Documents) -> bytes:
    return b"".join(msgspec.json.encode(document) + b"\n" for document in documents)


def as_json(documents: Documents, *, indent: int | None = None) -> bytes:
    return json.dumps(list(documents), indent=indent, ensure_ascii=bool(indent)).encode()


def as_csv(documents: Documents, columns: Sequence[str]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    for document in documents:
        writer.writerow([document[column.partition(":")[0]] for column in columns])
    return text.getvalue().encode()


def chunks_of(
    path: Path,
    *,
    format: Format | None = None,
    delimiter: str | None = None,
    start: Place = BEGINNING,
    stop: int | None = None,
    block: int = BLOCK,
) -> list[Chunk]:
    (source,) = find_inputs([str(path)])
    with Reader(source, format=format, delimiter=delimiter) as reader:
        return list(reader.chunks(primary_key="id", start=start, stop=stop, block=block))


def documents_of(chunks: Iterable[Chunk]) -> list[Any]:
    return [msgspec.json.decode(line) for chunk in chunks for line in chunk.lines if line.strip()]


def rejects_of(chunks: Iterable[Chunk]) -> list[tuple[int, str]]:
    return [(reject.line, reject.reason) for chunk in chunks for reject in chunk.rejects]


def first_reject(chunks: Iterable[Chunk]) -> Reject:
    return next(reject for chunk in chunks for reject in chunk.rejects)
