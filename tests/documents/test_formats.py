"""Every format yields the documents that were written, whatever the sizes of the pieces it is read in."""

from __future__ import annotations

import bz2
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from miroir_cli.documents import ndjson
from miroir_cli.documents.formats import Format, Place, tell_format
from miroir_cli.errors import PrimaryKeyRequired, ReservedField, SourceInvalid
from tests.documents.sample import as_csv, as_json, as_ndjson, chunks_of, documents_of, first_reject, rejects_of

quick = settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
documents = st.lists(st.dictionaries(st.text(), values, max_size=4), min_size=1, max_size=8)
blocks = st.integers(1, 60)


@quick
@given(documents, blocks, st.sampled_from([b"\n", b"\r\n"]), st.booleans(), st.booleans())
def test_ndjson_round_trips(
    tmp_path: Path,
    found: list[dict[str, Any]],
    block: int,
    line_end: bytes,
    mark: bool,
    ended: bool,
) -> None:
    data = as_ndjson(found).replace(b"\n", line_end)
    path = tmp_path / "a.ndjson"
    path.write_bytes((b"\xef\xbb\xbf" if mark else b"") + (data if ended else data.removesuffix(line_end)))
    chunks = chunks_of(path, block=block)
    assert documents_of(chunks) == found
    numbers = [n for chunk in chunks for n, line in zip(chunk.numbers, chunk.lines, strict=True) if line]
    assert numbers == list(range(1, len(found) + 1))


@quick
@given(documents, blocks, st.sampled_from([None, 0, 2]), st.booleans())
def test_a_json_array_round_trips(
    tmp_path: Path,
    found: list[dict[str, Any]],
    block: int,
    indent: int | None,
    mark: bool,
) -> None:
    path = tmp_path / "a.json"
    data = as_json(found, indent=indent)
    path.write_bytes((b"\xef\xbb\xbf" if mark else b"") + data)
    chunks = chunks_of(path, format=Format.JSON, block=block)
    assert documents_of(chunks) == found
    assert rejects_of(chunks) == []
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for chunk in chunks for line in chunk.lines)


cells = st.text().filter(lambda text: "\r" not in text and "\0" not in text and text != "")
rows = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True),
            "note": cells,
            "n": st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False),
        }
    ),
    min_size=1,
    max_size=6,
)


@quick
@given(rows, blocks)
def test_csv_round_trips(tmp_path: Path, found: list[dict[str, Any]], block: int) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(as_csv(found, ["id", "note:string", "n:number"]))
    assert documents_of(chunks_of(path, block=block)) == found


@quick
@given(documents, blocks, st.data())
def test_reading_from_the_end_of_any_chunk_gives_the_rest(
    tmp_path: Path, found: list[dict[str, Any]], block: int, data: st.DataObject
) -> None:
    found = [{**document, "id": place} for place, document in enumerate(found)]
    format = data.draw(st.sampled_from([Format.NDJSON, Format.JSON, Format.CSV]))
    written = {
        Format.NDJSON: as_ndjson(found),
        Format.JSON: as_json(found, indent=1),
        Format.CSV: as_csv(found, ["id:number"]),
    }[format]
    path = tmp_path / "a"
    path.write_bytes(written)
    chunks = chunks_of(path, format=format, block=block)
    cut = data.draw(st.integers(0, len(chunks) - 1))
    last = max((chunk.numbers[-1] for chunk in chunks[: cut + 1] if chunk.numbers), default=0)
    rest = chunks_of(path, format=format, start=Place(position=chunks[cut].end, line=last + 1), block=block)
    assert documents_of(rest) == documents_of(chunks[cut + 1 :])
    numbers = [[number for chunk in found for number in chunk.numbers] for found in (rest, chunks[cut + 1 :])]
    assert numbers[0] == numbers[1]
    again = chunks_of(path, format=format, stop=chunks[cut].end)
    assert documents_of(again) == documents_of(chunks[: cut + 1])


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress], ids=["gzip", "bzip2"])
@pytest.mark.parametrize("name", ["a.ndjson.gz", "a"])
def test_compression_is_told_by_content(tmp_path: Path, compress: Callable[[bytes], bytes], name: str) -> None:
    found = [{"id": number} for number in range(1000)]
    path = tmp_path / name
    data = as_ndjson(found)
    path.write_bytes(compress(data[:500]) + compress(data[500:]))
    chunks = chunks_of(path)
    assert documents_of(chunks) == found
    place = Place(position=data.index(b'{"id":500}'), line=501)
    assert documents_of(chunks_of(path, start=place)) == found[500:]


def test_zstandard_frames_are_read_one_after_the_other(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    found = [{"id": number} for number in range(1000)]
    data = as_ndjson(found)
    compress = zstandard.ZstdCompressor().compress
    path = tmp_path / "a.ndjson.zst"
    path.write_bytes(compress(data[:500]) + compress(data[500:]))
    assert documents_of(chunks_of(path)) == found


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "zstd"])
def test_compressed_data_that_is_cut_off_is_named(tmp_path: Path, kind: str) -> None:
    data = as_ndjson([{"id": number, "text": f"{number * 7919:x}"} for number in range(100_000)])
    if kind == "zstd":
        packed = pytest.importorskip("zstandard").ZstdCompressor().compress(data)
    else:
        packed = gzip.compress(data) if kind == "gzip" else bz2.compress(data)
    path = tmp_path / "a.ndjson"
    path.write_bytes(packed[: len(packed) // 2])
    chunks = chunks_of(path)
    ((line, reason),) = rejects_of(chunks)
    assert reason == f"the {kind} data is cut off; nothing from here on was read"
    assert line == chunks[-2].numbers[-1] + 1


def test_damaged_gzip_data_is_named(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(as_ndjson([{"id": number} for number in range(200_000)])))
    packed[len(packed) // 2 : len(packed) // 2 + 50] = bytes(50)
    path = tmp_path / "a.ndjson.gz"
    path.write_bytes(packed)
    assert "the gzip data is damaged" in rejects_of(chunks_of(path))[-1][1]


@pytest.mark.parametrize(
    ("text", "documents", "line", "reason"),
    [
        (b'[{"id":1},\n{"id":2}\n{"id":3}]', 2, 3, "expected `,` or `]` after an element"),
        (b'[{"id":1},\n{"id":2}', 2, 2, "the array is cut off"),
        (b'[{"id":1},\n\n{"id":2', 1, 3, "the array is cut off within this element"),
        (b'[{"id":1},\n{"a":"', 1, 2, "the array is cut off within this element"),
        (b'[{"id":1},]', 1, 1, "expected an element"),
        (b'[{"id":1}]\n{"id":2}', 1, 2, "something follows after the end of the JSON text"),
        (b"[", 0, 1, "the array is cut off"),
        (b"12", 0, 1, "not JSON: expected an array or an object"),
    ],
)
def test_an_array_that_cannot_go_on_ends_with_a_reject(
    tmp_path: Path, text: bytes, documents: int, line: int, reason: str
) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(text)
    chunks = chunks_of(path, format=Format.JSON)
    assert len(documents_of(chunks)) == documents
    assert rejects_of(chunks) == [(line, f"{reason}; nothing from here on was read")]


def test_a_single_object_is_one_document(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"id": 1, "text": "a\nb"}, indent=4))
    assert documents_of(chunks_of(path)) == [{"id": 1, "text": "a\nb"}]


def test_a_malformed_element_stays_malformed_on_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'[{"id": 1, "text": "a\nb"},\n{"id": 2}]')
    (chunk,) = chunks_of(path)
    assert len(chunk.lines) == 2
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(chunk.lines[0])
    assert list(chunk.numbers) == [1, 3]


@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_line_that_is_too_long_is_rejected_by_its_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, position: int
) -> None:
    monkeypatch.setattr(ndjson, "LONGEST", 1000)
    found = [{"id": number} for number in range(3)]
    lines = as_ndjson(found).splitlines()
    lines.insert(position, b'{"id":9,"x":"' + b"x" * 5000 + b'"}')
    path = tmp_path / "a.ndjson"
    path.write_bytes(b"\n".join(lines))
    chunks = chunks_of(path, block=64)
    assert documents_of(chunks) == found
    reject = first_reject(chunks)
    assert reject.line == position + 1
    assert reject.reason.startswith("longer than")
    assert reject.document is not None and len(reject.document) <= 200
    place = Place(position=chunks[-1].end, line=0)
    assert documents_of(chunks_of(path, start=place)) == []


def test_csv_columns_have_the_types_of_their_header(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        "id,name,n:number,on:boolean,colon:string\n"
        '1, a b ,12,true,"x, ""y"""\n'
        '2,"two\nlines", 1.5 ,false,\n'
        "3,,,,x\n"
        "4,x,nan,true,x\n"
        "5,x,99999999999999999999,true,x\n"
    )
    assert documents_of(chunks_of(path)) == [
        {"id": "1", "name": " a b ", "n": 12, "on": True, "colon": 'x, "y"'},
        {"id": "2", "name": "two\nlines", "n": 1.5, "on": False, "colon": None},
        {"id": "3", "name": None, "n": None, "on": None, "colon": "x"},
        {"id": "4", "name": "x", "n": None, "on": True, "colon": "x"},
        {"id": "5", "name": "x", "n": 1e20, "on": True, "colon": "x"},
    ]


def test_csv_rows_that_do_not_fit_are_rejected_by_line(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'id,n:number,on:boolean\n1,x,\n2,1\n3,1,yes\n"4\n",1,true\n\n5,1,\xff\n6,1,true\n')
    chunks = chunks_of(path)
    assert [document["id"] for document in documents_of(chunks)] == ["4\n", "6"]
    assert rejects_of(chunks) == [
        (2, "expected a number in column `n`, found `x`"),
        (3, "expected 3 cells as in the header, found 2"),
        (4, "expected `true` or `false` in column `on`, found `yes`"),
        (8, "expected `true` or `false` in column `on`, found `\udcff`"),
    ]


@pytest.mark.parametrize(
    ("header", "error", "message"),
    [
        ("id,n:int", SourceInvalid, "the column `n:int` has the unknown type `int`"),
        ("name,n", PrimaryKeyRequired, "has no column `id`"),
        ("id,_miroir_x", ReservedField, "the column `_miroir_x` is reserved"),
    ],
)
def test_a_csv_header_that_cannot_be_used_is_one_error(
    tmp_path: Path, header: str, error: type[Exception], message: str
) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"{header}\n1,2\n")
    with pytest.raises(error, match=message):
        chunks_of(path)


def test_tab_separated_files_and_other_delimiters(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("id\tname\n1\ta,b\n")
    assert documents_of(chunks_of(path)) == [{"id": "1", "name": "a,b"}]
    assert documents_of(chunks_of(path, delimiter="\t")) == [{"id": "1", "name": "a,b"}]


@pytest.mark.parametrize(
    ("text", "format"),
    [
        (b'{"id":1}\n{"id":2}\n', Format.NDJSON),
        (b'\xef\xbb\xbf{"id":1}', Format.NDJSON),
        (b'{"id":1}', Format.NDJSON),
        (b'{"id":1,}\n{"id":2}\n', Format.NDJSON),
        (b'{\n "id": 1\n}', Format.JSON),
        (b'{"id":1,"text":"not al', Format.NDJSON),
        (b' [{"id":1}]', Format.JSON),
        (b"id,name\n1,a\n", Format.CSV),
        (b"PAR1....", Format.PARQUET),
    ],
)
def test_content_tells_its_format(text: bytes, format: Format) -> None:
    assert tell_format(text, "standard input") is format


def test_content_that_looks_like_nothing_asks_for_its_format() -> None:
    with pytest.raises(SourceInvalid, match="cannot tell the format of `standard input`"):
        tell_format(b"hello\nworld\n", "standard input")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x7fELF\0\0\0\0", "`.*` is a binary file"),
        (b"PK\x03\x04zip", "is a ZIP archive"),
        ("﻿{}".encode("utf-16-le"), "is UTF-16"),
        (b"", "is empty"),
        (b"  \n\n", "is empty"),
        (gzip.compress(b"", mtime=0), "is empty"),
    ],
)
@pytest.mark.parametrize("name", ["a.ndjson", "a.json", "a.csv", "a"])
def test_what_holds_no_documents_is_one_error(tmp_path: Path, content: bytes, message: str, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(SourceInvalid, match=message):
        chunks_of(path)


@pytest.fixture
def arrow() -> Any:
    return pytest.importorskip("pyarrow")


@pytest.fixture
def parquet(arrow: Any) -> Any:
    return pytest.importorskip("pyarrow.parquet")


def test_parquet_rows_become_documents(tmp_path: Path, arrow: Any, parquet: Any) -> None:
    import datetime
    import decimal

    moment = datetime.datetime(2024, 5, 6, 7, 8, 9, 123456)
    table = arrow.table(
        {
            "id": [1, 2, 3],
            "day": [datetime.date(2024, 5, 6), None, datetime.date(1999, 1, 1)],
            "at": arrow.array([moment] * 3, arrow.timestamp("ns")),
            "price": [decimal.Decimal("1.50"), None, decimal.Decimal("-2.25")],
            "tags": [["a", "b"], [], None],
            "place": [{"city": "Paris", "floor": 1}, None, {"city": None, "floor": 2}],
            "kind": arrow.array(["x", "y", "x"]).dictionary_encode(),
            "ratio": [0.5, float("nan"), float("inf")],
        }
    )
    path = tmp_path / "a.parquet"
    parquet.write_table(table, path, row_group_size=2)
    found = documents_of(chunks_of(path))
    assert found == [
        {
            "id": 1, "day": "2024-05-06", "at": "2024-05-06T07:08:09.123456", "price": 1.5, "tags": ["a", "b"],
            "place": {"city": "Paris", "floor": 1}, "kind": "x", "ratio": 0.5,
        },
        {
            "id": 2, "day": None, "at": "2024-05-06T07:08:09.123456", "price": None, "tags": [],
            "place": None, "kind": "y", "ratio": None,
        },
        {
            "id": 3, "day": "1999-01-01", "at": "2024-05-06T07:08:09.123456", "price": -2.25, "tags": None,
            "place": {"city": None, "floor": 2}, "kind": "x", "ratio": None,
        },
    ]  # fmt: skip
    assert documents_of(chunks_of(path, start=Place(position=1, line=2), stop=2)) == found[1:2]
    assert documents_of(chunks_of(path, start=Place(position=2, line=3))) == found[2:]


def test_parquet_columns_that_json_cannot_hold_are_refused_by_name(tmp_path: Path, arrow: Any, parquet: Any) -> None:
    path = tmp_path / "a.parquet"
    parquet.write_table(arrow.table({"id": [1], "raw": [[b"x"]]}), path)
    with pytest.raises(SourceInvalid, match="the column `raw` is binary"):
        chunks_of(path)
    parquet.write_table(arrow.table({"name": ["x"]}), path)
    with pytest.raises(PrimaryKeyRequired, match="has no column `id`"):
        chunks_of(path)
    path.write_bytes(b"PAR1 and then nothing")
    with pytest.raises(SourceInvalid, match="is no Parquet file"):
        chunks_of(path)
