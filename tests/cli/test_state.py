"""`miroir state recover` over three embedded nodes: what is asked, printed and kept, and the exit statuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from miroir_cli.dev.engine.testing import Engine
from tests.backends import about_the_file, both_backends, lose_state, state_options, state_url
from tests.conftest import Miroir

KEYS = {
    "recovered", "reason", "cluster", "old_file", "nodes", "indexes", "aliases", "deleted", "unknown",
    "tasks_in_queues", "notes",
}  # fmt: skip


@pytest.fixture
def books(ready: Miroir, tmp_path: Path) -> Miroir:
    """`miroir` with an index of 20 documents."""
    (tmp_path / "books.ndjson").write_text("".join(f'{{"id": {n}, "title": "book {n}"}}\n' for n in range(20)))
    assert ready("index", "create", "books", "--primary-key", "id").status == 0
    assert ready("import", "books", "books.ndjson").status == 0
    return ready


@both_backends
def test_a_lost_state_is_recovered_and_everything_is_found_again(books: Miroir, tmp_path: Path) -> None:
    epoch = books("status", "--json").json["cluster"]["epoch"]
    lose_state(tmp_path)
    done = books("state", "recover", "--yes")
    assert done.status == 0, done.err
    lines = done.out.splitlines()
    why = "the state file is missing" if state_url() is None else "the state in Redis is missing"
    assert lines[0] == f"recovered the state of cluster `test` at epoch {epoch + 1}: {why}"
    assert lines[-1].split() == ["books", "6", "6", "6", "0", "1", "n1,", "n2,", "n3"]
    assert "hint: run `miroir repair`" in done.err
    assert books("search", "books", "book", "--json").json["estimatedTotalHits"] == 20


@about_the_file("what is set aside of it")
def test_the_json_document(books: Miroir, tmp_path: Path) -> None:
    (tmp_path / ".miroir" / "state.db").write_bytes(b"no database" * 1000)
    planned = books("state", "recover", "--dry-run", "--json").json
    done = books("state", "recover", "--yes", "--json").json
    assert set(planned) == set(done) - {"next"} == KEYS, (planned, done)
    assert done["next"] == ["miroir repair"]
    assert (planned["recovered"], done["recovered"]) == (False, True)
    assert planned["old_file"] is None and Path(done["old_file"]).read_bytes() == b"no database" * 1000
    assert [node["state"] for node in done["nodes"]] == ["member"] * 3
    (index,) = done["indexes"]
    assert (index["uid"], index["shards"], index["last_write"], index["uncovered_shards"]) == ("books", 6, 1, [])
    assert [replica["state"] for replica in index["placement"]].count("serving") == 6
    assert index["copy"]["nodes"] == ["n1", "n2", "n3"]


def test_a_dry_run_changes_nothing(books: Miroir, tmp_path: Path) -> None:
    lose_state(tmp_path)
    done = books("state", "recover", "--dry-run")
    assert done.status == 0 and done.out.startswith("would recover the state of cluster `test`")
    assert state_url() is not None or not (tmp_path / ".miroir" / "state.db").exists()
    assert books("state", "recover", "--dry-run").status == 0


def test_without_a_terminal_it_has_to_be_said(books: Miroir, tmp_path: Path) -> None:
    lose_state(tmp_path)
    done = books("state", "recover")
    assert done.status == 2 and "--yes" in done.err
    why = "the state file is missing" if state_url() is None else "the state in Redis is missing"
    assert f"{why}; 1 index can be recovered" in done.err
    assert state_url() is not None or not (tmp_path / ".miroir" / "state.db").exists()
    assert books("state", "recover", "--dry-run").status == 0


def test_a_good_file_is_left_alone(books: Miroir) -> None:
    done = books("state", "recover", "--yes")
    assert done.status == 14 and "nothing to recover" in done.err


def test_a_node_that_does_not_answer_stops_it_unless_its_loss_is_accepted(
    books: Miroir, engines: list[Engine], tmp_path: Path
) -> None:
    lose_state(tmp_path)
    engines[2].stop()
    refused = books("state", "recover", "--yes")
    assert refused.status == 14 and "`n3` cannot be reached" in refused.err and "--accept-loss n3" in refused.err
    done = books("state", "recover", "--yes", "--accept-loss", "n3", "--json")
    assert done.status == 0
    assert {node["name"]: node["state"] for node in done.json["nodes"]} == {
        "n1": "member",
        "n2": "member",
        "n3": "lost",
    }
    assert books("search", "books", "book", "--json").json["estimatedTotalHits"] == 20


def test_shards_that_nobody_has_in_sync_any_more_are_named_and_end_it_with_3(
    miroir: Miroir, nodes: list[str], engines: list[Engine], tmp_path: Path
) -> None:
    assert miroir("init", *nodes, "--name", "test", "--shards", "3", "--replicas", "1", *state_options()).status == 0
    assert miroir("index", "create", "books", "--primary-key", "id").status == 0
    lose_state(tmp_path)
    engines[0].stop()
    done = miroir("state", "recover", "--yes", "--accept-loss", "n1", "--json")
    (index,) = done.json["indexes"]
    assert done.status == 3 and len(index["uncovered_shards"]) == 1
    assert (
        f"error: no node that answers was in sync for index `books`: shard {index['uncovered_shards'][0]}" in done.err
    )


def test_an_index_that_no_copy_knows_is_pointed_out(books: Miroir, engines: list[Engine], tmp_path: Path) -> None:
    import httpx

    httpx.post(f"{engines[1].url}/indexes", json={"uid": "own"})
    lose_state(tmp_path)
    done = books("state", "recover", "--yes", "--json")
    assert done.json["unknown"] == [{"uid": "own", "nodes": ["n2"]}]
    assert any("index `own` on n2 is in no copy" in note for note in done.json["notes"])
