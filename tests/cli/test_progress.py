"""`--progress`: what a pipeline can read while a command works."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Miroir


@pytest.fixture
def books(ready: Miroir, tmp_path: Path) -> Miroir:
    """`miroir` with an empty index and a file for it."""
    assert ready("index", "create", "books", "-k", "id").status == 0
    (tmp_path / "books.ndjson").write_text("".join(f'{{"id": {number}}}\n' for number in range(300)))
    return ready


def events(err: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in err.splitlines() if line.startswith("{")]


@pytest.mark.parametrize("before", [True, False])
def test_progress_is_json_lines_wherever_the_option_stands(books: Miroir, before: bool) -> None:
    option = ("--progress", "json")
    words = ("import", "books", "books.ndjson", "--json")
    done = books(*option, *words) if before else books(*words, *option)
    assert done.json["documents"] == 300
    told = events(done.err)
    assert {event["command"] for event in told} == {"import"}
    last = {event["phase"]: event["done"] for event in told}
    assert last == {"sent": 300, "indexed": 300}


def test_a_variable_asks_for_it_and_quiet_leaves_it(books: Miroir) -> None:
    done = books("import", "books", "books.ndjson", "-q", env={"MIROIR_PROGRESS": "json"})
    assert [event["phase"] for event in events(done.err)]
    assert books("verify", "--progress", "none").err == ""
    assert books("verify", "-q").err == ""
    assert "compared: 300 documents" in books("verify").err
    assert "compared: 300 documents" in books("verify", "-q", "--progress", "plain").err


def test_bars_are_drawn_where_they_are_asked_for(books: Miroir) -> None:
    done = books("import", "books", "books.ndjson", "--progress", "bar")
    assert done.status == 0
    assert "\x1b[" in done.err and "sent" in done.err


def test_an_unknown_form_is_told_with_what_there_is(books: Miroir) -> None:
    done = books("verify", "--progress", "dots")
    assert done.status == 2
    assert "`--progress`" in done.err and "json" in done.err


def test_every_command_that_shows_progress_can_tell_it_as_json(books: Miroir, tmp_path: Path) -> None:
    books("import", "books", "books.ndjson")
    for words in (["export", "books", "-o", "out.ndjson"], ["verify"]):
        told = events(books(*words, "--progress", "json").err)
        assert {event["command"] for event in told} == {words[0]}, words
        assert told[-1]["done"] == 300
