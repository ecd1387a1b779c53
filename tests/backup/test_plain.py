"""A server that a copy or a restore speaks to, and that answers what no Meilisearch does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from pytest_httpx import HTTPXMock

from miroir_cli.backup.plain import PlainServer
from miroir_cli.errors import NodeUnavailable

URL = "http://server.example:7700"

Question = Callable[[PlainServer], Awaitable[object]]


@pytest.mark.parametrize(
    ("ask", "answer"),
    [
        (lambda server: server.keys("books", "id"), '{"results": [{"id": 1}, {"i'),
        (lambda server: server.keys("books", "id"), '{"results": [{"id": 1}, {"other": 2}]}'),
        (lambda server: server.keys("books", "\x1b[31mid"), '{"results": [{"id": 1}]}'),
        (lambda server: server.documents("books", "id", ["1"]), '{"results": [1, "x"]}'),
        (lambda server: server.documents("books", "id", ["1"]), '{"results": {"a": 1}}'),
        (lambda server: server.count("books"), '{"numberOfDocuments": "many"}'),
        (lambda server: server.count("books"), "{}"),
        (lambda server: server.indexes(), '{"results": [{"uid": 5, "primaryKey": null}], "total": 1}'),
        (lambda server: server.indexes(), '{"results": [{"uid": "books"}], "total": 1}'),
        (lambda server: server.indexes(), '{"results": [], "total": "x"}'),
        (lambda server: server.index("books"), '{"uid": "books", "primaryKey": 7}'),
    ],
)
async def test_an_answer_that_is_none_is_an_error_of_the_server(
    httpx_mock: HTTPXMock, ask: Question, answer: str
) -> None:
    httpx_mock.add_response(text=answer, headers={"content-type": "application/json"}, is_reusable=True)
    server = PlainServer(URL, key=None, retry_for=0)
    try:
        with pytest.raises(NodeUnavailable, match=f"server `{URL}` answered a body of an unknown shape"):
            await ask(server)
    finally:
        await server.close()
