"""`miroir journal`: who did what and when."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.cells import cell_len

from tests.cli.conftest import edit
from tests.conftest import Miroir


@pytest.fixture
def changed(stocked: Miroir, tmp_path: Path) -> Miroir:
    """`miroir` after two runs: a third replica of every shard, and its end."""
    for before, after in ((2, 3), (3, 2)):
        edit(tmp_path, f"replicas = {before}", f"replicas = {after}")
        assert stocked("rebalance", "run", "--yes").status == 0
    return stocked


def test_runs_are_listed_the_newest_first(changed: Miroir) -> None:
    found = changed("journal", "list", "--json").json["runs"]
    assert [run["run"] for run in found] == [2, 1]
    keys = {"run", "kind", "title", "state", "started_at", "finished_at", "moves", "documents_moved", "seconds"}
    assert keys | {"pid", "command"} == set(found[0])
    assert [(run["state"], run["moves"], run["documents_moved"]) for run in found] == [("done", 0, 0), ("done", 6, 60)]
    assert found[0]["command"] == "miroir rebalance run --yes"
    assert [run["run"] for run in changed("journal", "list", "--limit", "1", "--json").json["runs"]] == [2]
    assert changed("journal", "list").out.splitlines()[2].split()[0] == "2"


def test_a_run_is_shown_with_its_steps_and_events(changed: Miroir) -> None:
    found = changed("journal", "show", "1", "--json").json
    assert {"index", "shard", "from", "to", "state", "documents", "copied", "pause"} <= set(found["steps"][0])
    assert {"at", "step", "state", "detail", "pid", "command"} == set(found["events"][0])
    first = [event["state"] for event in found["events"] if event["step"] == 1]
    assert first == ["joining", "copying", "switching", "done"]
    assert [event["state"] for event in found["events"] if event["step"] is None] == ["begun", "done"]
    done = changed("journal", "show", "1", env={"COLUMNS": "60"})
    assert "run 1: rebalance (rebalance), done" in done.out
    assert max(cell_len(line) for line in done.out.splitlines()) <= 80
    assert "miroir rebalance run --yes" in done.out


def test_a_run_that_never_was_is_not_found(ready: Miroir) -> None:
    done = ready("journal", "show", "7")
    assert done.status == 4
    assert "run 7 not found" in done.err and "miroir journal list" in done.err
    assert ready("journal", "list", "--json").json == {"runs": []}
    assert "no run yet" in ready("journal", "list").err
