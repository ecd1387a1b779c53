"""Documents as rows of a CSV file, with column types by Meilisearch's rules. Positions are records after the header.

A header `name:number` or `name:boolean` types its column, `name` and `name:string` are text; an empty cell is null.
Source: `meilisearch-types/document_formats.rs` of Meilisearch 1.50.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from miroir_cli.documents.chunk import Chunk, Reject
from miroir_cli.documents.ndjson import BYTE_ORDER_MARK, LONGEST
from miroir_cli.documents.refusals import RUST_FLOAT
from miroir_cli.errors import PrimaryKeyRequired, ReservedField, SourceInvalid
from miroir_cli.model import RESERVED_PREFIX

if TYPE_CHECKING:
    from miroir_cli.documents.sources import Stream

INTEGER: Final = re.compile(r"[+-]?\d+", re.ASCII)
NOT_FINITE: Final = re.compile(r"[+-]?(inf|infinity|nan)", re.IGNORECASE)

Value = str | int | float | bool | None


class _Mistyped(Exception):
    """A cell that does not have its column's type."""


def _text(cell: str) -> Value:
    return cell or None


def _number(cell: str) -> Value:
    cell = cell.strip()
    if not cell:
        return None
    if INTEGER.fullmatch(cell) and -(2**63) <= (integer := int(cell)) < 2**63:
        return integer
    if RUST_FLOAT.fullmatch(cell):
        return float(cell)
    if NOT_FINITE.fullmatch(cell):
        return None
    raise _Mistyped("a number")


def _boolean(cell: str) -> Value:
    cell = cell.strip()
    if cell in ("true", "false"):
        return cell == "true"
    if not cell:
        return None
    raise _Mistyped("`true` or `false`")


TYPES: Final[dict[str, Callable[[str], Value]]] = {"string": _text, "number": _number, "boolean": _boolean}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    name: str
    read: Callable[[str], Value]


def read_csv(
    stream: Stream,
    *,
    name: str,
    delimiter: str,
    primary_key: str | None,
    position: int,
    stop: int | None,
    block: int,
    any_type: bool = False,
) -> Iterator[Chunk]:
    """Chunks of rows, each a line of JSON, of at least `block` bytes.

    Raises SourceInvalid and the like for a header that cannot be used: it must have the primary key, if that is given,
    and no column of an unknown type, unless `any_type`: then the colon is part of the name, as Meilisearch has it.
    """
    csv.field_size_limit(LONGEST)
    rows = csv.reader(_text_lines(stream, block), delimiter=delimiter)
    try:
        columns = _columns(next(rows, []), name=name, primary_key=primary_key, any_type=any_type)
    except csv.Error as error:
        raise SourceInvalid(f"`{name}`, line 1: {error}") from None
    lines: list[bytes] = []
    numbers: list[int] = []
    rejects: list[Reject] = []
    size = record = 0
    encode = msgspec.json.Encoder().encode
    before = rows.line_num
    try:
        for row in rows:
            number, before = before + 1, rows.line_num
            if not row:
                continue
            record += 1
            if record <= position:
                continue
            try:
                line = encode(_document(row, columns)) + b"\n"
            except (_Mistyped, UnicodeEncodeError) as error:
                rejects.append(_reject(row, number, error))
                line = b""
            lines.append(line)
            numbers.append(number)
            size += len(line)
            if size >= block or record == stop:
                yield _chunk(lines, numbers, record, rejects)
                lines, numbers, rejects, size = [], [], [], 0
            if record == stop:
                return
    except csv.Error as error:
        reason = f"not CSV ({error}); nothing from here on was read"
        rejects.append(Reject(line=rows.line_num, reason=reason))
    if lines or rejects:
        yield _chunk(lines, numbers, record, rejects)


def _chunk(lines: Sequence[bytes], numbers: Sequence[int], end: int, rejects: Sequence[Reject]) -> Chunk:
    sound = [(line, number) for line, number in zip(lines, numbers, strict=True) if line]
    return Chunk(
        data=b"".join(line for line, _ in sound),
        lines=[line for line, _ in sound],
        numbers=[number for _, number in sound],
        end=end,
        rejects=rejects,
        encoded=True,
    )


def _columns(header: Sequence[str], *, name: str, primary_key: str | None, any_type: bool) -> list[Column]:
    columns = [_column(cell, name=name, any_type=any_type) for cell in header]
    names = [column.name for column in columns]
    reserved = next((column for column in names if column.startswith(RESERVED_PREFIX)), None)
    if reserved is not None:
        raise ReservedField(
            f"`{name}`: the column `{reserved}` is reserved, no name may begin with `{RESERVED_PREFIX}`"
        )
    if primary_key is not None and primary_key not in names:
        shown = ", ".join(f"`{column}`" for column in names[:12])
        raise PrimaryKeyRequired(
            f"`{name}` has no column `{primary_key}`, the index's primary key; its columns are {shown}",
            hint="another delimiter is said with `--delimiter`",
        )
    return columns


def _column(cell: str, *, name: str, any_type: bool) -> Column:
    column, colon, kind = cell.rpartition(":")
    if not colon or (any_type and kind not in TYPES):
        return Column(name=cell, read=_text)
    if kind not in TYPES:
        raise SourceInvalid(
            f"`{name}`: the column `{cell}` has the unknown type `{kind}`, expected `string`, `number` or `boolean`",
            hint=f"if the colon belongs to the name, write `{cell}:string`",
        )
    return Column(name=column, read=TYPES[kind])


def _document(row: Sequence[str], columns: Sequence[Column]) -> dict[str, Value]:
    if len(row) != len(columns):
        raise _Mistyped(f"{len(columns)} cells as in the header, found {len(row)}")
    document: dict[str, Value] = {}
    for column, cell in zip(columns, row, strict=True):
        try:
            document[column.name] = column.read(cell)
        except _Mistyped as error:
            raise _Mistyped(f"{error} in column `{column.name}`, found `{cell[:50]}`") from None
    return document


def _reject(row: Sequence[str], number: int, error: Exception) -> Reject:
    reason = f"expected {error}" if isinstance(error, _Mistyped) else "not valid UTF-8"
    cells = [cell.encode(errors="replace").decode() for cell in row]
    return Reject(line=number, reason=reason, document=msgspec.json.encode(cells))


def _text_lines(stream: Stream, block: int) -> Iterator[str]:
    """The source's lines with their ends; bytes that are no UTF-8 become lone surrogates, to be refused by row."""
    rest = b""
    first = True
    while read := stream.read(max(block, len(rest), len(BYTE_ORDER_MARK))):
        if first:
            read, first = read.removeprefix(BYTE_ORDER_MARK), False
        read = rest + read
        cut = read.rfind(b"\n") + 1
        rest = read[cut:]
        for line in read[:cut].split(b"\n")[:-1]:
            yield line.decode(errors="surrogateescape") + "\n"
        if len(rest) > LONGEST:
            raise csv.Error(f"a line is longer than {LONGEST // 1000000} MB")
    if rest:
        yield rest.decode(errors="surrogateescape")


def explain_csv(body: bytes, delimiter: str) -> str | None:
    """What is wrong with the first bad record of a CSV text, in the words of Meilisearch; None when it has no words."""
    lines = [line.decode(errors="surrogateescape") for line in body.removeprefix(BYTE_ORDER_MARK).splitlines(True)]
    rows = csv.reader(lines, delimiter=delimiter)
    columns = [_column(cell, name="", any_type=True) for cell in next(rows, [])]
    number, before = 0, rows.line_num
    for row in rows:
        if not row:
            continue
        start, before = before, rows.line_num  # empty lines before a record are counted as its own
        number += 1
        if len(row) != len(columns):
            place = sum(len(line.encode(errors="surrogateescape")) for line in lines[:start])
            return (
                f"CSV error: record {number} (line: {start + 1}, byte: {place}): found record with {len(row)} fields, "
                f"but the previous record has {len(columns)} fields"
            )
        for column, cell in zip(columns, row, strict=True):
            try:
                column.read(cell)
            except _Mistyped:
                shown = msgspec.json.encode(cell.encode(errors="replace").decode()).decode()
                if column.read is _number:
                    return f"Error parsing number {shown} at line {number}: invalid float literal"
                reason = "provided string was not `true` or `false`"
                return f"Error parsing boolean {shown} at line {number}: {reason}"
    return None
