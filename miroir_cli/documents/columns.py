"""Rows of Arrow columns as JSON. Most of it is done by Arrow, column by column, and no row becomes a Python object.

Integers, booleans, text without escapes, and lists and objects of these are put together as text; what is left (dates,
decimals, floats, maps, text with quotes) goes through Python's values, one column at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

import msgspec

ESCAPED: Final = bytes(range(0x20)) + b'"\\'
"""What cannot stand for itself in JSON's text."""


class JsonColumns:
    """Writes columns as JSON. Needs pyarrow; the types must be such that Python and JSON have values for them."""

    def __init__(self) -> None:
        self._arrow: Any = import_module("pyarrow")
        self._compute: Any = import_module("pyarrow.compute")
        self._types = self._arrow.types
        encoder = msgspec.json.Encoder(decimal_format="number")
        self._encode, self._encode_lines = encoder.encode, encoder.encode_lines

    def lines(self, rows: Any) -> list[bytes]:
        """Each row of a record batch as an object, with a line break. Of columns with one name the last one counts."""
        fields = dict(zip(rows.schema.names, rows.columns, strict=True))
        lines: list[bytes] = self._objects(fields, b"}\n").to_pylist()
        return lines

    def _objects(self, fields: Mapping[str, Any], ending: bytes) -> Any:
        parts: list[Any] = []
        for name, column in fields.items():
            parts += ((b"," if parts else b"{") + self._encode(name) + b":", self._texts(column))
        return self._join(*parts, ending)

    def _join(self, *parts: Any) -> Any:
        """Row by row the parts behind one another; bytes are the same in each row."""
        return self._compute.binary_join_element_wise(*parts, b"")

    def _texts(self, column: Any) -> Any:
        """Every value of an array as JSON, in an array of bytes."""
        kind, types = column.type, self._types
        if types.is_integer(kind) or types.is_boolean(kind):
            texts = column.cast(self._arrow.string()).cast(self._arrow.binary())
        elif types.is_string(kind) and _plain(column):
            texts = self._join(b'"', column.cast(self._arrow.binary()), b'"')
        elif types.is_list(kind):
            items = self._arrow.ListArray.from_arrays(column.offsets, self._texts(column.values))
            texts = self._join(b"[", self._compute.binary_join(items, b","), b"]")
        elif types.is_struct(kind) and 0 < kind.num_fields == len({field.name for field in kind}):
            texts = self._objects({field.name: column.field(place) for place, field in enumerate(kind)}, b"}")
        else:
            values = self._encode_lines(column.to_pylist(maps_as_pydicts="strict"))
            return self._arrow.array(values.split(b"\n")[:-1], self._arrow.binary())
        return self._compute.if_else(column.is_valid(), texts, b"null")


def _plain(column: Any) -> bool:
    """Whether nothing in an array of text needs an escape."""
    data = column.buffers()[2]
    if data is None:
        return True
    text: bytes = data.to_pybytes()
    return len(text.translate(None, ESCAPED)) == len(text)
