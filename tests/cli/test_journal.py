"""`miroir journal`: who did what and when."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.cells import cell_len

from miroir_cli.dev.engine.testing import Engine
from tests.backends import both_backends
from tests.cli.conftest import edit
from tests.conftest import Miroir


@pytest.fixture
def changed(stocked: Miroir, tmp_path: Path) -> Miroir:
    """`miroir` after two runs: a third replica of every shard, and its end."""
    for before, after, told in ((2, 3, "6 shards moved, 60 documents copied, "), (3, 2, "6 replicas dropped, ")):
        edit(tmp_path, f"replicas = {before}", f"replicas = {after}")
        done = stocked("rebalance", "run", "--yes")
        assert done.status == 0
        assert done.out.splitlines()[-1].startswith(told)
    return stocked


def test_runs_are_listed_the_newest_first(changed: Miroir) -> None:
    found = changed("journal", "list", "--json").json["runs"]
    assert [run["run"] for run in found] == [2, 1]
    keys = {"run", "kind", "title", "state", "started_at", "finished_at", "moves", "documents_moved", "seconds"}
    assert keys | {"host", "pid", "command", "alive", "wanted", "summary"} == set(found[0])
    assert [run["summary"]["drops"] for run in found] == [6, 0]
    assert [(run["state"], run["moves"], run["documents_moved"]) for run in found] == [("done", 0, 0), ("done", 6, 60)]
    assert found[0]["command"] == "miroir rebalance run --yes"
    assert [run["run"] for run in changed("journal", "list", "--limit", "1", "--json").json["runs"]] == [2]


def test_commands_and_runs_are_listed_together_the_newest_first(changed: Miroir) -> None:
    for width in ("60", "80", "120"):
        lines = changed("journal", "list", env={"COLUMNS": width}).out.splitlines()
        assert max(map(cell_len, lines)) <= int(width)
        heading = lines[0].split()
        assert heading[:4] == ["id", "began", "state", "what"]
        assert [line.split()[0:4:2] for line in lines[2:8]] == [
            ["2", "done"],
            ["c4", "done"],
            ["1", "done"],
            ["c3", "done"],
            ["c2", "done"],
            ["c1", "done"],
        ]
    whole = changed("journal", "list").out.splitlines()
    assert "run: rebalance, 6 shards" in whole[2] and "miroir rebalance run --yes" in whole[3]
    assert "miroir index create books -k id" in whole[7]


@both_backends
def test_a_run_is_shown_with_its_steps_and_events(changed: Miroir) -> None:
    found = changed("journal", "show", "1", "--json").json
    assert {"index", "shard", "from", "to", "state", "documents", "copied", "pause"} <= set(found["steps"][0])
    assert {"at", "step", "state", "detail", "host", "pid", "command"} == set(found["events"][0])
    first = [event["state"] for event in found["events"] if event["step"] == 1]
    assert first == ["joining", "copying", "switching", "done"]
    assert [event["state"] for event in found["events"] if event["step"] is None] == ["begun", "done"]
    done = changed("journal", "show", "1", env={"COLUMNS": "60"})
    assert "run 1: rebalance, done, began" in done.out
    assert "6 moves, 60 documents copied" in done.out
    assert max(cell_len(line) for line in done.out.splitlines()) <= 60
    assert "miroir rebalance run --yes" in done.out
    events = done.out[done.out.index("when") :]
    assert "begun with 6 steps, by process" in events and events.splitlines()[-1].split()[1] == "done"
    assert "copying" not in events
    every = changed("journal", "show", "1", "-v").out
    assert sum(", copying" in line for line in every.splitlines()) == 6


def test_a_run_that_only_drops_says_so_and_shows_no_empty_columns(changed: Miroir) -> None:
    done = changed("journal", "show", "2", env={"COLUMNS": "80"}).out
    assert "6 replicas dropped\n" in done and "moves" not in done and "copied" not in done
    assert "step  state  index  shard  from\n" in done
    assert "step  state  index  shard  from  to  copied  of\n" in changed("journal", "show", "2").out, "stable in pipes"


def test_a_verification_is_shown_with_what_differs(stocked: Miroir, engines: list[Engine]) -> None:
    assert stocked("verify").status == 0
    equal = stocked("journal", "show", "1").out
    assert "6 shards compared, 60 documents\nno replica differs\n" in equal and "moves" not in equal
    index = engines[1].node.indexes["books"]
    for number in list(index.bodies)[:7]:  # on the disk, without any task
        index.bodies[number] = index.bodies[number].replace(b"Book", b"Look")
    assert stocked("verify").status == 13
    shown = stocked("journal", "show", "2").out
    assert "index  shard  node  missing  extra  different  against  keys" in shown
    assert "{" not in shown
    listed = stocked("journal", "list").out.splitlines()[2]
    assert "run: verify" in listed and "differ" in listed
    document = stocked("journal", "show", "2", "--json").json
    assert document["differences"] == stocked("verify", "--json").json["differences"] != []
    assert {step["error"] for step in document["steps"]} == {None}


def test_a_run_that_never_was_is_not_found(ready: Miroir) -> None:
    done = ready("journal", "show", "7")
    assert done.status == 4
    assert "run 7 not found" in done.err and "miroir journal list" in done.err
    assert ready("journal", "list", "--json").json == {"runs": [], "commands": []}
    assert "nothing in the journal" in ready("journal", "list").err
