"""The natural next step: a hint for people, `next` in the JSON document, nothing where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from miroir_cli.cli.console import Console, Next, with_next
from miroir_cli.cli.global_options import Options
from miroir_cli.dev.engine.testing import Engine
from tests.backends import state_options
from tests.cli.conftest import edit
from tests.conftest import Miroir

MISSED = "".join(f'{{"id": {number}, "title": "Other"}}\n' for number in range(60))


def test_a_new_cluster_leads_to_an_index_documents_and_a_search(
    miroir: Miroir, nodes: list[str], tmp_path: Path
) -> None:
    create = "miroir index create UID --primary-key FIELD"
    done = miroir("init", *nodes, "--json", *state_options())
    assert done.json["next"] == [create] and "hint:" not in done.err
    for words in (["status"], ["index", "list"]):
        assert f"hint: run `{create}` to make the first" in miroir(*words).err
        assert miroir(*words, "--json").json["next"] == [create]
        assert "hint:" not in miroir(*words, "-q").err
    assert miroir("index", "create", "books", "-k", "id", "--json").json["next"] == ["miroir import books FILE"]
    (tmp_path / "books.ndjson").write_text('{"id": 1}\n')
    done = miroir("import", "books", "books.ndjson")
    assert done.err.endswith("hint: run `miroir search books QUERY` to look into it\n")
    for words in (["status"], ["index", "list"], ["search", "books"], ["doctor"]):
        done = miroir(*words)
        assert done.err == "", words
    assert "next" not in miroir("status", "--json").json


def test_a_replica_that_missed_writes_leads_to_a_repair(stocked: Miroir, engines: list[Engine], tmp_path: Path) -> None:
    engines[1].stop()
    assert stocked("delete", "books", *map(str, range(6)), "--json").json["next"] == ["miroir repair books"]
    (tmp_path / "more.ndjson").write_text(MISSED)
    words = ["import", "books", "more.ndjson", "--retry-for", "0"]
    done = stocked(*words)
    assert done.err.endswith("not read from\nhint: run `miroir repair books` when the node answers again\n")
    assert stocked("status", "--json").json["next"] == ["miroir doctor", "miroir repair"]
    engines[1].start()
    done = stocked("status")
    assert done.err.endswith("hint: run `miroir repair` to bring the stale replicas up to date\n")
    assert "next" not in stocked("repair", "--json").json
    assert "hint:" not in stocked("status").err


def forget(engine: Engine) -> None:
    """Take a document from a node's disk without any task."""
    index = engine.node.indexes["books"]
    with engine.node.lock:
        index.apply(index.prepare([index.deletion(next(iter(index.numbers.values())))]))


def test_differences_lead_to_a_repair_and_are_told_once(stocked: Miroir, engines: list[Engine]) -> None:
    forget(engines[0])
    done = stocked("verify", "books")
    assert done.status == 13
    assert done.err.count("hint:") == 1
    assert "hint: run `miroir repair books` to make them equal" in done.err
    done = stocked("verify", "--json")
    assert done.json["next"] == ["miroir repair"]


def test_a_plan_leads_to_a_run_and_a_drained_node_to_its_removal(stocked: Miroir, tmp_path: Path) -> None:
    edit(tmp_path, "replicas = 2", "replicas = 1")
    done = stocked("rebalance", "plan")
    assert done.err.endswith("hint: run `miroir rebalance run` to do it\n")
    assert stocked("rebalance", "run", "--yes").status == 0
    assert "next" not in stocked("rebalance", "plan", "--json").json
    done = stocked("node", "drain", "n3", "--yes", "--json")
    assert done.json["next"] == ["miroir node remove n3"]


@pytest.mark.parametrize("quiet", [True, False])
def test_steps_are_told_after_the_result(quiet: bool, capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(Options(quiet=quiet))
    step = Next(command="miroir x", purpose="to see")
    console.show({"a": 1}, lambda: console.print("result"), next=[step])
    console.tell_next()
    told = capsys.readouterr()
    assert told.out == "result\n"
    assert told.err == ("" if quiet else "hint: run `miroir x` to see\n")


def test_a_document_has_the_commands_alone() -> None:
    document = {"a": 1}
    assert with_next(document, ()) is document
    assert with_next(document, [Next(command="miroir x", purpose="to see")]) == {"a": 1, "next": ["miroir x"]}
