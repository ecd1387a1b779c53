"""Document payloads: if TYPE_CHECKING:
    from collections.abc import Iterator

JSON, NDJSON and CSV to JSON objects."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import TYPE_CHECKING, Any

import msgspec

from .errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator

JSON, NDJSON, CSV = "application/json", "application/x-ndjson", "text/csv"
_DECODER = msgspec.json.Decoder()
_RAW_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_HEADER = re.compile(r"^(.*):(string|number|boolean)$", re.DOTALL)


def packed(body: bytes, content_type: str, delimiter: str) -> tuple[bytes, int]:
    """Turn a request body into one JSON array of objects and its length.

    Raises `EngineError` with `malformed_payload` when it is not documents of that type.
    """
    try:
        if content_type == CSV:
            documents = [msgspec.json.encode(row) for row in _csv_rows(body, delimiter)]
        elif content_type == NDJSON:
            documents = [bytes(part) for part in _ndjson_parts(body)]
        else:
            stripped = body.lstrip()
            if stripped.startswith(b"["):
                documents = [bytes(part) for part in _RAW_LIST.decode(stripped)]
            else:
                _DECODER.decode(stripped)
                documents = [stripped]
    except (msgspec.DecodeError, UnicodeDecodeError, csv.Error, ValueError) as error:
        kind = {CSV: "csv", NDJSON: "ndjson"}.get(content_type, "json")
        message = f"The `{kind}` payload provided is malformed: `{error}`."
        raise EngineError("malformed_payload", message) from None
    if any(not document.lstrip().startswith(b"{") for document in documents):
        raise EngineError("malformed_payload", "The payload provided is malformed: expected a sequence of objects.")
    return b"[" + b",".join(documents) + b"]", len(documents)


def _ndjson_parts(body: bytes) -> list[bytes]:
    parts = [line for line in body.split(b"\n") if line.strip()]
    try:
        for part in parts:
            _DECODER.decode(part)
    except msgspec.DecodeError:
        return list(_streamed(body.decode()))
    return parts


def _streamed(text: str) -> Iterator[bytes]:
    """Yield values that follow each other on one line, or span several."""
    decoder = json.JSONDecoder()
    position = 0
    while position < len(text):
        if text[position].isspace():
            position += 1
            continue
        _, end = decoder.raw_decode(text, position)
        yield text[position:end].encode()
        position = end


def _csv_rows(body: bytes, delimiter: str) -> list[dict[str, Any]]:
    rows = csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), delimiter=delimiter, strict=True)
    header = next(rows, None)
    if header is None:
        return []
    columns = [(m[1], m[2]) if (m := _HEADER.match(name)) else (name, "string") for name in header]
    found = []
    for number, row in enumerate(rows, 1):
        if not row:
            continue
        if len(row) != len(columns):
            raise ValueError(f"record {number} has {len(row)} fields, the header has {len(columns)}")
        found.append({name: _typed(text, kind, number) for (name, kind), text in zip(columns, row, strict=True)})
    return found


def _typed(text: str, kind: str, number: int) -> Any:
    trimmed = text.strip()
    if kind == "string":
        return text if text else None
    if not trimmed:
        return None
    if kind == "boolean":
        if trimmed not in ("true", "false"):
            raise ValueError(f"error parsing boolean `{trimmed}` at line {number}")
        return trimmed == "true"
    try:
        return int(trimmed)
    except ValueError:
        return float(trimmed)


def unpacked(payload: bytes) -> list[dict[str, Any]]:
    """Decode what `packed` made."""
    documents: list[dict[str, Any]] = _DECODER.decode(payload)
    return documents
