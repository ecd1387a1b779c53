"""JSON that is nested far deeper than anybody means it."""

from __future__ import annotations

import pytest

from miroir_cli.indexes.catalog import create_index, plan_index
from miroir_cli.proxy.nesting import DEEPEST, read_json
from tests.proxy.conftest import Served

DEEP = b"[" * 100_000


@pytest.mark.parametrize(
    "text", [b"[" * 127 + b"]" * 127, b'{"a":' * 127 + b"1" + b"}" * 127, b"[%b]" % (b"[]," * 500 + b"1")]
)
def test_what_meilisearch_follows_is_read(text: bytes) -> None:
    assert read_json(text)


@pytest.mark.parametrize("depth", [DEEPEST + 1, 500, 100_000])
@pytest.mark.parametrize(("open", "close"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_what_is_nested_deeper_is_malformed(depth: int, open: bytes, close: bytes) -> None:
    with pytest.raises(ValueError, match="recursion limit exceeded"):
        read_json(open * depth + b"1" + close * depth)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/indexes/books/documents/delete"),
        ("PATCH", "/indexes/books/settings"),
        ("PUT", "/indexes/books/settings/stop-words"),
        ("POST", "/indexes"),
        ("POST", "/swap-indexes"),
        ("PATCH", "/experimental-features"),
    ],
)
async def test_a_deeply_nested_body_is_the_clients_fault(served: Served, method: str, path: str) -> None:
    for body in (DEEP, b'{"filter":' + b"[" * 500 + b"]" * 500 + b"}"):
        answer = await served.client.request(method, path, content=body, headers={"content-type": "application/json"})
        assert (answer.status_code, answer.json()["code"]) == (400, "malformed_payload")


@pytest.mark.parametrize("path", ["/indexes/books/search", "/indexes/books/documents/fetch", "/multi-search"])
async def test_a_deeply_nested_question_is_refused(served: Served, path: str) -> None:
    """By a node, where one has words for it."""
    for body in (DEEP, b'{"filter":' + b"[" * 500 + b"]" * 500 + b"}"):
        answer = await served.client.post(path, content=body, headers={"content-type": "application/json"})
        assert 400 <= answer.status_code < 500, answer.text


async def test_a_deeply_nested_filter_is_the_clients_fault(served: Served) -> None:
    cluster = served.service.cluster
    await create_index(cluster, await plan_index(cluster, "books", primary_key="id"))
    for filter in ("[" * 3000, "(" * 5000 + "id = 1" + ")" * 5000):
        answer = await served.client.get("/indexes/books/search", params={"filter": filter})
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_search_filter")
