"""`miroir repair` and `miroir verify` after a node was away: what people read, what scripts rely on, exit statuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from miroir_cli.dev.engine.testing import Engine
from tests.backends import about_the_file
from tests.conftest import Miroir


@pytest.fixture
def behind(ready: Miroir, engines: list[Engine], tmp_path: Path) -> Miroir:
    """`miroir` where `n2` is down and has missed an import."""
    documents = "".join(json.dumps({"id": number, "title": f"book {number}"}) + "\n" for number in range(60))
    (tmp_path / "books.ndjson").write_text(documents)
    assert ready("index", "create", "books", "-k", "id").status == 0
    engines[1].stop()
    assert ready("import", "books", "books.ndjson").status == 0
    return ready


def test_what_cannot_be_mended_now_is_a_partial_success(behind: Miroir) -> None:
    done = behind("repair")
    assert done.status == 3
    assert "replicas could not be mended: node `n2` does not answer" in done.err
    assert "no replica was mended\n" in done.out
    found = behind("repair", "--json")
    assert found.status == 3
    assert found.json["run"] is None
    assert {refusal["reason"] for refusal in found.json["refused"]} == {"node `n2` does not answer"}
    assert set(found.json["refused"][0]) == {"index", "shard", "reason"}


def test_what_could_not_be_compared_is_never_called_equal(stocked: Miroir, engines: list[Engine]) -> None:
    engines[1].stop()
    done = stocked("repair")
    assert done.status == 3
    assert "4 shards could not be compared: node `n2` cannot be reached" in done.err
    assert done.out.splitlines()[0] == "no replica had to be mended"
    assert done.out.endswith("s: equal, 4 shards not compared\n")
    engines[0].stop()
    engines[2].stop()
    for command in ("repair", "verify"):
        done = stocked(command)
        assert (done.status, "equal" in done.out) == (3, False)
        assert done.out.endswith("s: 6 shards not compared\n")


def test_an_index_that_is_not_there_names_the_likely_one(ready: Miroir) -> None:
    assert ready("index", "create", "books", "-k", "id").status == 0
    for words in (["verify", "bokks"], ["repair", "bokks"], ["repair", "bokks", "--dry-run"]):
        done = ready(*words)
        assert done.status == 4
        assert done.err.endswith("error: index `bokks` not found\n\nhint: did you mean `books`?\n")


def test_a_node_that_is_back_is_caught_up(behind: Miroir, engines: list[Engine]) -> None:
    engines[1].start()
    planned = behind("repair", "--dry-run", "--json").json
    assert {(move["to"], move["repair"]) for move in planned["moves"]} == {("n2", True)}
    found = behind("repair", "--json")
    assert found.status == 0
    assert (found.json["state"], found.json["moves"]) == ("done", len(planned["moves"]))
    assert found.json["documents_moved"] > 0
    assert (found.json["refused"], found.json["differences"], found.json["settings"]) == ([], [], [])
    verified = behind("verify", "--json")
    assert verified.status == 0
    assert verified.json["documents"] == 60
    keys = {"shards", "documents", "seconds", "differences", "settings", "skipped", "resumed"}
    assert set(verified.json) == keys


@about_the_file("an older copy of it is put back; of Redis tells test_lost_redis.py")
def test_an_older_copy_of_the_state_file_mends_nothing(ready: Miroir, engines: list[Engine], tmp_path: Path) -> None:
    (tmp_path / "books.ndjson").write_text('{"id": 1}\n')
    assert ready("index", "create", "books", "-k", "id").status == 0
    state = tmp_path / ".miroir" / "state.db"
    older = state.read_bytes()
    shards = ready("locate", "books", "1", "--json").json["replicas"]
    engines[int(shards[0]["node"][1:]) - 1].stop()
    assert ready("import", "books", "books.ndjson").status == 0
    state.write_bytes(older)
    done = ready("repair")
    assert done.status == 14
    assert "knows state" in done.err
