"""`miroir rebalance`: plans, runs, and runs that are steered, stopped, interrupted and picked up again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from miroir_cli.dev.engine.testing import Engine
from tests.backends import both_backends
from tests.cli.conftest import edit, somebody_runs, take_out
from tests.conftest import Miroir, clean_environment

STATUS_KEYS = {
    "run", "kind", "title", "state", "wanted", "host", "pid", "alive", "command", "started_at", "finished_at",
    "parallel", "rate", "moves", "switched", "documents", "documents_moved", "steps",
}  # fmt: skip


@pytest.fixture
def pending(stocked: Miroir, tmp_path: Path) -> Miroir:
    """`miroir` with 6 shards to copy: the file asks for 3 replicas of each instead of 2."""
    edit(tmp_path, "replicas = 2", "replicas = 3")
    return stocked


@contextmanager
def running(folder: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """`miroir rebalance run` with these options in a process of its own, so slow that it waits after its first page."""
    process = subprocess.Popen(
        [sys.executable, "-m", "miroir_cli", "rebalance", "run", "--yes", "--rate", "1", *words],
        cwd=folder,
        env=clean_environment(HOME=os.fspath(folder)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def wait_for(condition: Callable[[], object], *, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.1)


def status(miroir: Miroir) -> Any:
    return miroir("rebalance", "status", "--json").json


def copying(miroir: Miroir) -> bool:
    """Whether a run is under way and has begun to copy."""
    found = status(miroir)
    return found["run"] is not None and any(step["state"] in ("copying", "switching") for step in found["steps"])


def in_sync(miroir: Miroir) -> int:
    index = miroir("status", "--json").json["indexes"][0]
    assert index["stale"] == 0 and index["documents"] == 60
    return int(index["in_sync"])


# plan


def test_nothing_pending_is_no_change(stocked: Miroir) -> None:
    done = stocked("rebalance", "plan", "--detailed-exitcode")
    assert done.status == 0
    assert "nothing to move" in done.out


def test_what_is_pending_is_told_by_the_exit_status_only_when_asked(pending: Miroir) -> None:
    done = pending("rebalance", "plan", "--json")
    assert done.status == 0
    assert (len(done.json["moves"]), done.json["minimum"]) == (6, 6)
    assert done.json["expected_seconds"] is None
    done = pending("rebalance", "plan", "--detailed-exitcode", "--json")
    assert done.status == 9
    assert len(done.json["moves"]) == 6
    assert "6 changes pending" in done.err


def test_a_plan_that_would_lose_an_only_copy_is_refused_and_named(stocked: Miroir, tmp_path: Path) -> None:
    edit(tmp_path, "replicas = 2", "replicas = 1")
    assert stocked("rebalance", "run", "--yes").status == 0
    take_out(tmp_path, "n2")
    for words in (["plan", "--json"], ["run", "--dry-run", "--json"]):
        done = stocked("rebalance", *words)
        assert done.status == 14
        assert "of index `books`: last copy: the only in-sync replica is on `n2`" in done.err
        assert "miroir node remove NAME --no-drain --force" in done.err
        assert done.json["refused"]
    done = stocked("rebalance", "run", "--yes")
    assert done.status == 14
    assert stocked("journal", "list", "--json").json["runs"][0]["title"] == "rebalance"
    assert len(stocked("journal", "list", "--json").json["runs"]) == 1


# run


@both_backends
def test_a_run_follows_the_file_and_says_what_it_did(pending: Miroir) -> None:
    tried = pending("rebalance", "run", "--dry-run", "--json")
    assert (tried.status, tried.json["dry_run"], len(tried.json["moves"])) == (0, True, 6)
    assert in_sync(pending) == 12
    done = pending("rebalance", "run", "--yes", "--json")
    assert done.status == 0, done.err
    assert {"run", "state", "moves", "documents_moved", "seconds", "pause_median", "pause_max"} <= set(done.json)
    assert (done.json["state"], done.json["moves"], done.json["documents_moved"]) == ("done", 6, 60)
    assert in_sync(pending) == 18
    assert "documents copied: 60 of 60 documents" in done.err and "steps done: 6 of 6" in done.err
    again = pending("rebalance", "run", "--json")
    assert again.status == 0
    assert again.json == {"run": None, "state": "done", "moves": 0, "drops": 0, "documents_moved": 0, "seconds": 0.0}
    known = pending("rebalance", "plan", "--json").json
    assert known["moves"] == []


def test_it_asks_before_it_moves(pending: Miroir) -> None:
    done = pending("rebalance", "run")
    assert done.status == 2
    assert "6 shards to copy" in done.out
    assert "Move all this?" in done.err and "--yes" in done.err
    assert status(pending) == {"run": None}


def test_outside_its_window_it_does_nothing(pending: Miroir) -> None:
    opens = datetime.now() + timedelta(hours=2)
    closed = f"{opens:%H:%M}-{opens + timedelta(hours=1):%H:%M}"
    done = pending("rebalance", "run", "--yes", "--window", closed)
    assert done.status == 5
    assert f"the window {closed} is closed" in done.err
    assert f"it opens at {opens:%H:%M}, in " in done.err
    assert in_sync(pending) == 12
    opened = f"{datetime.now() - timedelta(hours=1):%H:%M}-{opens:%H:%M}"
    assert pending("rebalance", "run", "--yes", "--window", opened).status == 0
    assert pending("rebalance", "run", "--yes", "--window", "1-2").status == 2
    assert pending("rebalance", "run", "--yes", "--max-duration", "soon").status == 2


def test_out_of_time_it_stops_clean_and_goes_on_later(pending: Miroir) -> None:
    done = pending("rebalance", "run", "--yes", "--rate", "1", "--max-duration", "5s", "--json")
    assert done.status == 5
    assert done.json["state"] == "stopped"
    assert "its time is over" in done.err and "miroir rebalance run" in done.err
    found = pending("status", "--json").json["runs"]
    assert [run["state"] for run in found] == ["stopped"]
    assert set(found[0]) == STATUS_KEYS - {"steps"} | {"summary"}
    assert found[0]["alive"] is False
    shown = pending("status")
    assert "stopped" in shown.out and "rebalance" in shown.out
    done = pending("rebalance", "resume", "--rate", "0", "--json")
    assert done.status == 0, done.err
    assert done.json["run"] == found[0]["run"] and done.json["state"] == "done"
    assert in_sync(pending) == 18


def test_a_run_of_somebody_else_is_named(pending: Miroir, tmp_path: Path) -> None:
    assert pending("journal", "list").status == 0
    with somebody_runs(tmp_path):
        done = pending("rebalance", "run", "--yes")
    assert done.status == 8
    assert "`run` is locked by process" in done.err and "(`miroir node add n9`)" in done.err


def test_what_a_dead_node_keeps_from_being_done_is_named(pending: Miroir, engines: list[Engine]) -> None:
    engines[2].stop()
    done = pending("rebalance", "run", "--yes", "--retry-for", "1", "--json")
    assert done.status == 3
    assert done.json["state"] == "done" and 0 < done.json["moves"] < 6
    assert {"index", "shard", "reason"} == set(done.json["refused"][0])
    assert "left as it was: shard" in done.err and "node `n3` does not answer" in done.err


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_it_stops_clean_and_the_next_one_goes_on(
    pending: Miroir, tmp_path: Path, number: int, expected: int
) -> None:
    with running(tmp_path) as process:
        wait_for(lambda: copying(pending))
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert process.returncode == expected
    assert "stopped at a clean place" in err and "miroir rebalance run" in err
    assert status(pending)["state"] == "stopped"
    assert pending("rebalance", "rate", "0").status == 0
    assert pending("rebalance", "run", "--yes").status == 0
    assert in_sync(pending) == 18


def test_killed_it_is_shown_as_interrupted_and_the_same_command_goes_on(pending: Miroir, tmp_path: Path) -> None:
    with running(tmp_path) as process:
        wait_for(lambda: copying(pending))
        process.kill()
        process.communicate(timeout=30)
    done = pending("rebalance", "status")
    assert done.status == 0
    assert "interrupted" in done.out and "miroir rebalance run" in done.err
    warned = pending("status")
    assert "has not ended and nobody goes on with it" in warned.err
    assert pending("rebalance", "resume", "--rate", "0").status == 0
    assert in_sync(pending) == 18


def test_a_reason_is_said_once_however_many_shards_it_concerns(
    ready: Miroir, engines: list[Engine], tmp_path: Path
) -> None:
    assert ready("index", "create", "films", "-k", "id", "--shards", "60").status == 0
    edit(tmp_path, "replicas = 2", "replicas = 3")
    engines[2].stop()
    done = ready("rebalance", "plan")
    warnings = [line for line in done.err.splitlines() if line.startswith("warning:")]
    assert len(warnings) == 1
    assert "and 12 more of index `films`: node `n3` does not answer" in warnings[0]
    narrow = ready("rebalance", "plan", "-v", env={"COLUMNS": "60"})
    table = narrow.out[narrow.out.index("index") :].splitlines()
    assert table[0].split() == ["index", "from", "to", "shards", "numbers"]
    assert max(map(len, table[:-1])) <= 60
    assert "HTTP Request" not in narrow.err


# steering


def test_a_run_is_held_hurried_and_let_go_from_another_shell(pending: Miroir, tmp_path: Path) -> None:
    with running(tmp_path, "--json") as process:
        wait_for(lambda: copying(pending))
        found = status(pending)
        assert set(found) == STATUS_KEYS
        assert (found["alive"], found["pid"], found["rate"]) == (True, process.pid, 1)
        assert "rebalance run --yes --rate 1" in found["command"]
        assert pending("rebalance", "pause").out == f"run {found['run']} holds within a second\n"
        assert "paused since" in pending("rebalance", "status").out
        assert pending("rebalance", "rate", "0", "--json").json["rate"] is None
        time.sleep(1)
        held = status(pending)["switched"]
        time.sleep(1)
        assert status(pending)["switched"] == held < 6
        done = pending("rebalance", "resume")
        assert done.status == 0
        assert done.out == f"process {process.pid} goes on with run {found['run']}\n"
        out, err = process.communicate(timeout=40)
    assert process.returncode == 0, err
    assert json.loads(out)["state"] == "done"
    assert in_sync(pending) == 18


def test_a_run_is_cancelled_from_another_shell_and_leaves_nothing_half_done(pending: Miroir, tmp_path: Path) -> None:
    with running(tmp_path) as process:
        wait_for(lambda: copying(pending))
        assert pending("rebalance", "cancel").status == 2
        tried = pending("rebalance", "cancel", "--dry-run")
        assert tried.status == 0 and tried.out.startswith("would ask run ")
        done = pending("rebalance", "cancel", "--yes", "--json")
        assert (done.status, done.json["state"]) == (0, "cancelled")
        _, err = process.communicate(timeout=30)
    assert process.returncode == 3
    assert "was cancelled after" in err
    assert status(pending) == {"run": None}
    placement = pending("index", "show", "books", "--json").json["placement"]
    assert {replica["state"] for replica in placement} == {"serving"}
    assert pending("rebalance", "plan", "--detailed-exitcode").status == 9


def test_a_run_whose_process_is_gone_is_cancelled_here(pending: Miroir, tmp_path: Path) -> None:
    with running(tmp_path) as process:
        wait_for(lambda: copying(pending))
        process.kill()
        process.communicate(timeout=30)
    done = pending("rebalance", "cancel", "--yes")
    assert done.status == 0
    assert "is cancelled" in done.out
    placement = pending("index", "show", "books", "--json").json["placement"]
    assert {replica["state"] for replica in placement} == {"serving"}


@pytest.mark.parametrize("words", [["pause"], ["resume"], ["rate", "5"], ["cancel", "--yes"]])
def test_without_a_run_there_is_nothing_to_steer(ready: Miroir, words: list[str]) -> None:
    done = ready("rebalance", *words)
    assert done.status == 4
    assert "no run is under way" in done.err


def test_steering_can_be_tried(pending: Miroir) -> None:
    assert pending("rebalance", "run", "--yes", "--rate", "1", "--max-duration", "4s").status == 5
    before = status(pending)
    for words in (["pause"], ["resume", "--rate", "9"], ["rate", "9"], ["cancel"]):
        done = pending("rebalance", *words, "--dry-run", "--json")
        assert (done.status, done.json["dry_run"], done.json["run"]) == (0, True, before["run"])
    assert status(pending) == before


def test_watching_ends_with_the_run(pending: Miroir, tmp_path: Path) -> None:
    with running(tmp_path) as process:
        wait_for(lambda: copying(pending))
        assert pending("rebalance", "rate", "0").status == 0
        done = pending("rebalance", "status", "--watch", "--interval", "0.2", "--json")
        process.communicate(timeout=30)
    assert done.status == 0
    states = [json.loads(line)["state"] for line in done.out.splitlines()]
    assert states[0] == "running" and states[-1] == "done"
