"""Scripts in tests run a command whose JSON documents are held to their schemas."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import clean_environment
from tests.schemas import check_output


def test_what_is_printed_goes_through_and_so_does_the_status(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.held", "status", "--json"],
        cwd=tmp_path,
        env=clean_environment(HOME=str(tmp_path)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 6
    assert done.stdout.startswith('{"error":') and "miroir init" in done.stderr


@pytest.mark.parametrize(
    ("words", "out"),
    [
        (["status", "--json"], '{"cluster": {}}'),
        (["-t", "a.toml", "index", "delete", "books", "--json"], '{"uid": "a", "deleted": true, "nodes": [], "x": 1}'),
        (["status", "--watch", "--json"], '{"error": {"code": "a", "message": "b", "hint": null}}\n{"cluster": 1}\n'),
        (["get", "books", "1", "--json"], "[1]"),
        (["status", "--json"], "no JSON"),
    ],
)
def test_a_document_that_breaks_its_promise_fails(words: list[str], out: str) -> None:
    with pytest.raises((AssertionError, ValueError)):
        check_output(words, out)


def test_progress_is_held_to_its_schema() -> None:
    with pytest.raises(AssertionError, match="progress"):
        check_output(["import", "books", "a"], "", '{"event":"progress","done":1}\n')
