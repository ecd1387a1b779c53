"""`miroir browse` and `miroir export`."""

from __future__ import annotations

import json
from pathlib import Path

from miroir_cli.dev.engine.testing import Engine
from tests.conftest import Miroir


def test_documents_are_listed(stocked: Miroir) -> None:
    done = stocked("browse", "books", "--limit", "2", "--offset", "9")
    assert done.status == 0
    assert [line.split()[:3] for line in done.out.splitlines()[-4:-1] if "Book" in line] == [
        ["9", "Book", "9"],
        ["10", "Book", "10"],
    ]
    assert done.out.splitlines()[-1] == "2 of 60 documents"
    found = stocked("browse", "books", "--ids", "12,7", "--fields", "title", "--json").json
    assert found == {"results": [{"title": "Book 7"}, {"title": "Book 12"}], "offset": 0, "limit": 20, "total": 2}


def test_an_export_is_printed_or_written_whole(stocked: Miroir, tmp_path: Path) -> None:
    expected = [{"id": number, "title": f"Book {number}"} for number in range(60)]
    done = stocked("export", "books")
    assert [json.loads(line) for line in done.out.splitlines()] == expected
    done = stocked("export", "books", "--output", "all.json", "--format", "json", "--json")
    assert done.json == {"index": "books", "documents": 60, "file": "all.json"}
    assert json.loads((tmp_path / "all.json").read_text()) == expected
    assert (tmp_path / "all.json").stat().st_mode & 0o777 == 0o644
    (tmp_path / "all.json").chmod(0o600)
    stocked("export", "books", "--output", "all.json")
    assert (tmp_path / "all.json").stat().st_mode & 0o777 == 0o600, "who may read it stays"
    none = stocked("export", "books", "-o", "none.json", "--format", "json", "--filter", "x = 1")
    assert none.status == 2
    assert not (tmp_path / "none.json").exists()
    refused = stocked("export", "books", "--json")
    assert (refused.status, refused.out) == (2, refused.out)
    assert "--output" in refused.err + refused.out


def test_an_export_into_a_folder_is_refused_before_anything_is_read(stocked: Miroir, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    done = stocked("export", "books", "--output", "there")
    assert done.status == 2
    assert (
        done.err == "error: `there` cannot be written: is a directory\n\nhint: check its path, its owner and its mode\n"
    )
    assert [path.name for path in tmp_path.iterdir() if "there" in path.name] == ["there"]


def test_an_export_that_fails_leaves_the_file_as_it_was(stocked: Miroir, engines: list[Engine], tmp_path: Path) -> None:
    (tmp_path / "books.out").write_text("before")
    for engine in engines[1:]:
        engine.stop()
    done = stocked("export", "books", "--output", "books.out")
    assert done.status == 5
    assert (tmp_path / "books.out").read_text() == "before"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".books.out")]
