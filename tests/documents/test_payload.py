"""The documents of a request's body, and Meilisearch's refusals of bodies that hold none."""

from __future__ import annotations

import pytest

from miroir_cli.documents.formats import Format
from miroir_cli.documents.payload import read_payload
from miroir_cli.errors import ApiError


def lines(body: bytes, format: Format, delimiter: str = ",") -> list[bytes]:
    chunks = read_payload(body, format, delimiter=delimiter).chunks
    return [line.strip() for chunk in chunks for line in chunk.lines if line.strip()]


@pytest.mark.parametrize(
    ("body", "format", "expected"),
    [
        (b"[]", Format.JSON, []),
        (b' [{"id": 1},\n {"id":\n 2}] ', Format.JSON, [b'{"id": 1}', b'{"id":  2}']),
        (b'{"id": 1}', Format.JSON, [b'{"id": 1}']),
        (b" \n ", Format.NDJSON, []),
        (b'{"id":1}\r\n\r\n{"id":2}', Format.NDJSON, [b'{"id":1}', b'{"id":2}']),
        (b'{"id":1}{"id":2} {"id":\n3}', Format.NDJSON, [b'{"id":1}', b'{"id":2}', b'{"id": 3}']),
        (
            b"id,a:number,b:boolean\n1,2,true\n2,,",
            Format.CSV,
            [b'{"id":"1","a":2,"b":true}', b'{"id":"2","a":null,"b":null}'],
        ),
        (b"id,a:date\n1,x", Format.CSV, [b'{"id":"1","a:date":"x"}']),
        (b"id,n\n", Format.CSV, []),
    ],
)
def test_documents_are_read_whatever_the_format(body: bytes, format: Format, expected: list[bytes]) -> None:
    assert lines(body, format) == expected
    assert read_payload(body, format).count == len(expected)


def test_another_delimiter_is_used_where_it_is_said() -> None:
    assert lines(b"id;a\n1;x,y", Format.CSV, ";") == [b'{"id":"1","a":"x,y"}']


@pytest.mark.parametrize(
    ("body", "format"),
    [
        (b'{"id":1,', Format.JSON),
        (b"12", Format.JSON),
        (b"[1, 2]", Format.JSON),
        (b'[{"id": 1}, 2]', Format.JSON),
        (b'{"id":1}{"id":2}', Format.JSON),
        (b'[{"x": "\xff"}]', Format.JSON),
        (b'\xef\xbb\xbf[{"id": 1}]', Format.JSON),
        (b'{"id":1}\n3', Format.NDJSON),
        (b'[{"id":1}]', Format.NDJSON),
        (b'{"id":1}\n{"id":', Format.NDJSON),
        (b"id,n:number\n1,x", Format.CSV),
        (b"id,n\n1,2,3", Format.CSV),
    ],
)
def test_what_holds_no_documents_is_malformed(body: bytes, format: Format) -> None:
    with pytest.raises(ApiError, match=f"^The `{format}` payload provided is malformed") as refused:
        read_payload(body, format)
    assert refused.value.api_code == "malformed_payload"


@pytest.mark.parametrize("format", [Format.JSON, Format.NDJSON, Format.CSV])
def test_an_empty_body_is_missing(format: Format) -> None:
    with pytest.raises(ApiError, match=f"^A {format} payload is missing.$"):
        read_payload(b"", format)


def test_the_first_documents_fields_are_known() -> None:
    assert read_payload(b'\n{"b":1,"a":{"c":2}}\n{"d":1}', Format.NDJSON).first_fields() == ["b", "a"]
    assert read_payload(b"[]", Format.JSON).first_fields() is None
