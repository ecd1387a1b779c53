"""Documents as rows of a Parquet file, through pyarrow. Positions are rows; whole row groups are skipped unread.

Dates and times become ISO 8601 text, decimals numbers, NaN and infinities null, maps objects. Binary columns are
refused by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from miroir_cli.documents.chunk import Chunk
from miroir_cli.documents.columns import JsonColumns
from miroir_cli.documents.sources import SourceBroken
from miroir_cli.errors import PrimaryKeyRequired, ReservedField, SourceInvalid
from miroir_cli.model import RESERVED_PREFIX

if TYPE_CHECKING:
    from miroir_cli.documents.sources import Stream

ROWS: Final = 512
"""Rows decoded and handed on at a time."""


def read_parquet(stream: Stream, *, name: str, primary_key: str, position: int, stop: int | None) -> Iterator[Chunk]:
    """Chunks of rows, each a line of JSON. Raises SourceInvalid and the like for columns that cannot be used."""
    try:
        arrow: Any = import_module("pyarrow")
        parquet: Any = import_module("pyarrow.parquet")
    except ImportError:
        raise SourceInvalid(
            f"reading `{name}` needs pyarrow", hint="install it: `pip install 'miroir[parquet]'`"
        ) from None
    try:
        file = parquet.ParquetFile(stream.file)
        schema = file.schema_arrow
    except (arrow.ArrowException, OSError) as error:
        raise SourceInvalid(f"`{name}` is no Parquet file: {str(error).splitlines()[0]}") from None
    _check_columns(arrow, schema, name=name, primary_key=primary_key)
    group, row = 0, 0
    while group < file.num_row_groups and row + file.metadata.row_group(group).num_rows <= position:
        row += file.metadata.row_group(group).num_rows
        group += 1
    columns = JsonColumns()
    target = arrow.schema([field.with_type(_exact(arrow, field.type)) for field in schema])
    try:
        for rows in file.iter_batches(ROWS, row_groups=range(group, file.num_row_groups)):
            start = max(position - row, 0)
            end = rows.num_rows if stop is None else min(rows.num_rows, stop - row)
            row += rows.num_rows
            if start >= end:
                continue
            rows.validate(full=True)  # text that is not UTF-8
            lines = columns.lines(rows.slice(start, end - start).cast(target, safe=False))
            first = row - rows.num_rows + start
            yield Chunk(
                data=b"".join(lines),
                lines=lines,
                numbers=range(first + 1, first + 1 + len(lines)),
                end=first + len(lines),
                encoded=True,
            )
            if stop is not None and row >= stop:
                return
    except (arrow.ArrowException, OSError) as error:
        raise SourceBroken(f"the Parquet data is damaged ({str(error).splitlines()[0]})") from None


def _check_columns(arrow: Any, schema: Any, *, name: str, primary_key: str) -> None:
    for field in schema:
        if field.name.startswith(RESERVED_PREFIX):
            raise ReservedField(
                f"`{name}`: the column `{field.name}` is reserved, no name may begin with `{RESERVED_PREFIX}`"
            )
        if _holds_binary(arrow, field.type):
            raise SourceInvalid(f"`{name}`: the column `{field.name}` is binary ({field.type}), which JSON cannot hold")
    if "." not in primary_key and primary_key not in schema.names:
        shown = ", ".join(f"`{column}`" for column in schema.names[:12])
        raise PrimaryKeyRequired(
            f"`{name}` has no column `{primary_key}`, the index's primary key; its columns are {shown}"
        )


def _holds_binary(arrow: Any, kind: Any) -> bool:
    types = arrow.types
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return True
    if types.is_dictionary(kind):
        return _holds_binary(arrow, kind.value_type)
    return any(_holds_binary(arrow, kind.field(place).type) for place in range(kind.num_fields))


def _exact(arrow: Any, kind: Any) -> Any:
    """The type to read a column as: Python's times end at microseconds, text and lists are of one kind."""
    types = arrow.types
    if types.is_timestamp(kind):
        return arrow.timestamp("us", tz=kind.tz)
    if types.is_time(kind):
        return arrow.time64("us")
    if types.is_duration(kind):
        return arrow.duration("us")
    if types.is_large_string(kind) or types.is_string_view(kind):
        return arrow.string()
    if types.is_dictionary(kind):
        return _exact(arrow, kind.value_type)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return arrow.list_(_exact(arrow, kind.value_type))
    if types.is_struct(kind):
        return arrow.struct([field.with_type(_exact(arrow, field.type)) for field in kind])
    if types.is_map(kind):
        return arrow.map_(_exact(arrow, kind.key_type), _exact(arrow, kind.item_type))
    return kind
