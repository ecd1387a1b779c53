"""`miroir search --multi`: the body of a multi-search from a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from miroir_cli.dev.engine.testing import Engine
from tests.conftest import Finished, Miroir


def search_many(miroir: Miroir, tmp_path: Path, body: Any, *options: str) -> Finished:
    (tmp_path / "body.json").write_text(json.dumps(body))
    return miroir("search", "--multi", "body.json", *options)


def test_queries_are_answered_in_their_order(stocked: Miroir, tmp_path: Path) -> None:
    body = {"queries": [{"indexUid": "books", "q": "7"}, {"indexUid": "books", "limit": 2}]}
    found = search_many(stocked, tmp_path, body, "--json").json
    assert [[hit["id"] for hit in result["hits"]] for result in found["results"]] == [[7], [0, 1]]
    shown = search_many(stocked, tmp_path, body).out
    assert "books: 7\n" in shown
    assert "books: all documents\n" in shown


def test_a_federation_is_one_table_with_the_index_of_each_hit(stocked: Miroir, tmp_path: Path) -> None:
    body = {"queries": [{"indexUid": "books", "q": "7"}, {"indexUid": "books", "q": "8"}], "federation": {}}
    assert [hit["id"] for hit in search_many(stocked, tmp_path, body, "--json").json["hits"]] == [7, 8]
    lines = search_many(stocked, tmp_path, body).out.splitlines()
    assert lines[0].split() == ["index", "query", "id", "title"]
    assert lines[-1].startswith("2 of 2 hits")


def test_an_error_names_the_query(stocked: Miroir, tmp_path: Path) -> None:
    body = {"queries": [{"indexUid": "books"}, {"indexUid": "boks"}]}
    done = search_many(stocked, tmp_path, body)
    assert done.status == 2
    assert "Inside `.queries[1]`: Index `boks` not found." in done.err
    assert "did you mean `books`?" in done.err


def test_an_index_or_a_query_belongs_into_the_file(stocked: Miroir, tmp_path: Path) -> None:
    assert "takes neither an index nor parts of a query" in stocked("search", "books", "--multi", "body.json").err
    assert "missing argument `INDEX`" in stocked("search").err


def test_what_is_missing_is_said_after_the_results(stocked: Miroir, engines: list[Engine], tmp_path: Path) -> None:
    for engine in engines[:2]:
        engine.stop()
    for body in ({"queries": [{"indexUid": "books"}]}, {"queries": [{"indexUid": "books"}], "federation": {}}):
        done = search_many(stocked, tmp_path, body, "--json", "--partial", "allow")
        assert done.status == 3
        assert '"partial":true' in done.out.replace(" ", "")
        assert "index `books`: the answer lacks shards" in done.err
