"""Columns written as JSON are, byte for byte, what encoding every row by itself gives."""

from __future__ import annotations

import datetime
import decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from miroir_cli.documents.columns import JsonColumns
from tests.documents.sample import chunks_of, documents_of, rejects_of

arrow: Any = pytest.importorskip("pyarrow")
parquet: Any = pytest.importorskip("pyarrow.parquet")

PLACE = [
    ("city", arrow.string()),
    ('a "name"\n', arrow.int16()),
    ("visits", arrow.list_(arrow.struct([("n", arrow.int64()), ("at", arrow.timestamp("us"))]))),
]
SCHEMA = arrow.schema(
    {
        "id": arrow.int64(),
        'the "big" one': arrow.uint64(),
        "flag": arrow.bool_(),
        "text": arrow.string(),
        "ratio": arrow.float64(),
        "day": arrow.date32(),
        "price": arrow.decimal128(9, 2),
        "tags": arrow.list_(arrow.string()),
        "grid": arrow.list_(arrow.list_(arrow.int8())),
        "place": arrow.struct(PLACE),
        "names": arrow.map_(arrow.string(), arrow.int64()),
        "nothing": arrow.null(),
    }
)

texts = st.text("ab é東", max_size=5) | st.text(max_size=5)
moments = st.datetimes(datetime.datetime(1900, 1, 1), datetime.datetime(2100, 1, 1))
visits = st.fixed_dictionaries({"n": st.none() | st.integers(-(2**63), 2**63 - 1), "at": st.none() | moments})
places = st.fixed_dictionaries(
    {
        "city": st.none() | texts,
        'a "name"\n': st.none() | st.integers(-(2**15), 2**15 - 1),
        "visits": st.none() | st.lists(st.none() | visits, max_size=2),
    }
)
rows = st.fixed_dictionaries(
    {
        "id": st.integers(-(2**63), 2**63 - 1),
        'the "big" one': st.none() | st.integers(0, 2**64 - 1),
        "flag": st.none() | st.booleans(),
        "text": st.none() | texts,
        "ratio": st.none() | st.floats(),
        "day": st.none() | st.dates(),
        "price": st.none() | st.decimals(-9999, 9999, places=2),
        "tags": st.none() | st.lists(st.none() | texts, max_size=3),
        "grid": st.none() | st.lists(st.none() | st.lists(st.none() | st.integers(-128, 127), max_size=2), max_size=2),
        "place": st.none() | places,
        "names": st.none() | st.dictionaries(texts, st.none() | st.integers(0, 9), max_size=2),
        "nothing": st.none(),
    }
)


def one_by_one(batch: Any) -> list[bytes]:
    encode = msgspec.json.Encoder(decimal_format="number").encode
    return [encode(row) + b"\n" for row in batch.to_pylist(maps_as_pydicts="strict")]


@settings(max_examples=100, deadline=None)
@given(st.lists(rows, min_size=1, max_size=5), st.data())
def test_columns_give_what_rows_give(found: list[dict[str, Any]], data: st.DataObject) -> None:
    batch = arrow.RecordBatch.from_pylist(found, schema=SCHEMA)
    assert JsonColumns().lines(batch) == one_by_one(batch)
    first = data.draw(st.integers(0, len(found) - 1))
    some = batch.slice(first, data.draw(st.integers(1, len(found))))
    assert JsonColumns().lines(some) == one_by_one(some)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.none() | texts, min_size=1, max_size=5))
def test_every_kind_of_text_and_list_is_read(tmp_path: Path, found: list[str | None]) -> None:
    kinds = {"plain": arrow.string(), "large": arrow.large_string(), "view": arrow.string_view()}
    columns = {name: arrow.array(found, kind) for name, kind in kinds.items()}
    columns["spelled"] = arrow.array(found, arrow.string()).dictionary_encode()
    columns["many"] = arrow.array([[value] for value in found], arrow.large_list(arrow.large_string()))
    columns["pairs"] = arrow.array([[value, value] for value in found], arrow.list_(arrow.string(), 2))
    path = tmp_path / "a.parquet"
    parquet.write_table(arrow.table({"id": range(len(found)), **columns}), path)
    assert documents_of(chunks_of(path)) == [
        {"id": n, **dict.fromkeys(["plain", "large", "view", "spelled"], text), "many": [text], "pairs": [text, text]}
        for n, text in enumerate(found)
    ]


def test_numbers_keep_their_type() -> None:
    batch = arrow.RecordBatch.from_pydict({"id": [1], "whole": [2.0], "exact": [decimal.Decimal("3.00")]})
    assert JsonColumns().lines(batch) == [b'{"id":1,"whole":2.0,"exact":3.00}\n']


def test_a_name_that_occurs_twice_is_written_once() -> None:
    batch = arrow.RecordBatch.from_arrays([arrow.array([1]), arrow.array(["x"]), arrow.array([2])], ["id", "a", "id"])
    assert JsonColumns().lines(batch) == [b'{"id":2,"a":"x"}\n']


def test_text_that_is_not_utf8_ends_the_source_with_a_reject(tmp_path: Path) -> None:
    broken = arrow.array([b"fine", b"\xff"], arrow.binary()).view(arrow.string())
    path = tmp_path / "a.parquet"
    parquet.write_table(arrow.table({"id": [1, 2], "text": broken}), path)
    ((line, reason),) = rejects_of(chunks_of(path))
    assert line == 1
    assert reason.startswith("the Parquet data is damaged (")
    assert "UTF8" in reason
