"""Every command that changes something is in the journal: by whom, when, how it ended, without secrets."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from miroir_cli.cli.record import user_name
from miroir_cli.cli.since import parse_since
from miroir_cli.dev.engine.testing import Engine
from miroir_cli.errors import UsageError
from tests.backends import about_the_file, both_backends, lose_state, state_url
from tests.conftest import Miroir, clean_environment

KEY = "a-key-of-more-than-sixteen-bytes"


def commands(miroir: Miroir, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = miroir("journal", "list", *words, "--json").json["commands"]
    return found


def told(miroir: Miroir, *words: str) -> list[tuple[str, str, int | None]]:
    return [(each["words"], each["state"], each["exit_status"]) for each in commands(miroir, *words)]


def test_a_command_is_kept_with_who_where_and_how_it_ended(stocked: Miroir, tmp_path: Path) -> None:
    first, second = reversed(commands(stocked))
    assert first["line"] == "miroir index create books -k id"
    assert (first["user"], first["host"], first["behind"]) == (user_name(), socket.gethostname(), None)
    assert (first["cluster"], first["folder"]) == ("test", str(tmp_path))
    assert first["topology"] == str(tmp_path / "miroir.toml")
    assert first["pid"] == os.getpid()
    assert first["started_at"] <= first["finished_at"] <= second["started_at"]
    assert first["seconds"] == (first["finished_at"] - first["started_at"]) / 1000
    assert first["result"] == "created index `books`: primary key `id`, 6 shards, 2 replicas of each"
    assert (second["words"], second["exit_status"], second["code"]) == ("import", 0, None)
    assert second["result"].startswith("60 documents in `books`, 1 batch, ")


def test_each_kind_of_end_is_told(stocked: Miroir, terminal: Miroir, tmp_path: Path) -> None:
    (tmp_path / "bad.ndjson").write_text('{"id": 1}\n{"no": 2}\n')
    assert stocked("import", "books", "bad.ndjson", "--json").status == 3
    assert stocked("index", "delete", "films", "--yes").status == 4
    assert terminal("index", "delete", "books", stdin="no\n").status == 130
    assert terminal("delete", "books", "1", stdin="y\n").status == 0
    assert told(stocked)[:4] == [
        ("delete", "done", 0),
        ("index delete", "stopped", 130),
        ("index delete", "failed", 4),
        ("import", "failed", 3),
    ]
    refused = commands(stocked)[2]
    assert (refused["code"], refused["result"]) == ("index_not_found", "index `films` not found")


def test_with_json_the_same_result_is_kept_and_nothing_more_is_printed(stocked: Miroir) -> None:
    done = stocked("index", "create", "films", "-k", "id", "--json")
    assert done.status == 0 and done.err == "" and len(done.out.splitlines()) == 1
    assert commands(stocked)[0]["result"].startswith("created index `films`: ")


@pytest.mark.parametrize(
    "words",
    [
        ["status"],
        ["search", "books", "book"],
        ["verify"],
        ["journal", "list"],
        ["rebalance", "plan"],
        ["index", "show", "books"],
        ["import", "books", "books.ndjson", "--dry-run"],
        ["delete", "books", "--all", "--dry-run"],
        ["rebalance", "run", "--dry-run"],
        ["index", "delete", "books", "--dry-run"],
        ["repair", "--dry-run"],
        ["export", "books", "-o", "out.ndjson"],
        ["export", "books"],
        ["tasks", "list"],
        ["doctor"],
    ],
    ids=" ".join,
)
def test_what_only_reads_leaves_nothing(stocked: Miroir, words: list[str]) -> None:
    assert stocked(*words).status in (0, 3)
    assert len(commands(stocked)) == 2


def test_a_backup_and_a_copy_into_a_server_are_kept(stocked: Miroir, spare: Engine) -> None:
    assert stocked("export", "books", "--to", spare.url).status == 0
    assert stocked("backup", "create", "backups").status == 0
    assert [words for words, _, _ in told(stocked)][:2] == ["backup create", "export"]


def test_runs_are_named_by_the_commands_that_drove_them(stocked: Miroir, spare: Engine) -> None:
    assert stocked("node", "add", f"n4={spare.url}", "--yes").status == 0
    found = commands(stocked)[0]
    assert found["runs"] == [1]
    assert [each["runs"] for each in commands(stocked)[1:]] == [[], []]
    shown = stocked("journal", "show", found["id"])
    assert f"command c3: node add, done, began {time.strftime('%H:')}" in shown.out
    assert f"\nmiroir node add n4={spare.url} --yes\nby {user_name()}@{socket.gethostname()}, process " in shown.out
    assert "\nexit status 0: " in shown.out and shown.out.endswith("\nrun 1: `miroir journal show 1`\n")
    assert stocked("journal", "show", "c3", "--json").json == found
    assert "run 1: add node n4 (rebalance), done" in stocked("journal", "show", "1").out


def test_filters_choose(stocked: Miroir, spare: Engine) -> None:
    assert stocked("node", "add", f"n4={spare.url}", "--yes", env={"SUDO_USER": "someone"}).status == 0
    assert stocked("index", "delete", "films", "--yes").status == 4
    assert [words for words, _, _ in told(stocked, "--failed")] == ["index delete"]
    assert [words for words, _, _ in told(stocked, "--command", "IMPORT")] == ["import"]
    assert [words for words, _, _ in told(stocked, "--limit", "2")] == ["index delete"]
    assert stocked("journal", "list", "--limit", "2", "--json").json["runs"][0]["run"] == 1
    mine = stocked("journal", "list", "--who", "someone", "--json").json
    assert [each["words"] for each in mine["commands"]] == ["node add"] and len(mine["runs"]) == 1
    assert mine["commands"][0]["behind"] == "someone"
    assert "(someone with sudo)" in stocked("journal", "show", mine["commands"][0]["id"]).out
    assert stocked("journal", "list", "--who", "nobody", "--json").json == {"runs": [], "commands": []}
    assert "nothing that matches" in stocked("journal", "list", "--who", "nobody").err
    assert len(told(stocked, "--since", "1h")) == 4
    assert told(stocked, "--since", "2999-01-01") == []
    wrong = stocked("journal", "list", "--since", "soon")
    assert wrong.status == 2 and "`--since` is `soon`, expected a length of time or a moment" in wrong.err


def test_ids_are_told_apart(stocked: Miroir) -> None:
    done = stocked("journal", "show", "1")
    assert done.status == 4 and done.err == "error: run 1 not found\n\nhint: the command of that number is `c1`\n"
    assert stocked("journal", "show", "c9").status == 4
    assert "`x1` is neither a run, such as `12`, nor a command, such as `c12`" in stocked("journal", "show", "x1").err


def kept_of_commands(folder: Path) -> str:
    """What is kept of commands, of runs and of who has locks and writes; what they write is kept until it is done."""
    url = state_url()
    if url is not None:
        with Redis.from_url(url, decode_responses=True, socket_timeout=30) as client:
            hashes = [
                client.hgetall(name) for kind in ("commands", "runs") for name in client.keys(f"miroir:{kind}:*[0-9]")
            ]
            events = [client.lrange(name, 0, -1) for name in client.keys("miroir:events:*")]
            leases = client.mget("nothing", *client.keys("miroir:lease:*[a-z]"))
            writers = [client.hget(name, "owner") for name in client.keys("miroir:intents:*")]
            return repr([hashes, events, leases, writers])
    locks = [path.read_text() for path in (folder / ".miroir" / "locks").iterdir()]
    tables = ("* from commands", "* from runs", "* from step_events", "owner from intents")
    with closing(sqlite3.connect(folder / ".miroir" / "state.db")) as db:
        return repr([locks, [db.execute(f"select {table}").fetchall() for table in tables]])


@both_backends
def test_no_secret_of_a_command_line_is_written_anywhere(stocked: Miroir, spare: Engine, tmp_path: Path) -> None:
    address = spare.url.replace("http://", "http://someone:s3cr3t-word@")
    environment = {"MIROIR_SPARE_KEY": KEY}
    stocked("node", "add", f"n4={address}", "--yes", env=environment)
    stocked("delete", "books", "--filter", f'title = "{KEY}"', "--yes", env=environment)
    stocked("index", "settings", "set", "books", 'embedders={"a": {"source": "nowhere", "apiKey": "s3cr3t-word"}}')
    assert len(commands(stocked)) == 5
    kept = kept_of_commands(tmp_path)
    assert "someone" in kept and "s3cr3t" not in kept and KEY not in kept
    assert "REDACTED" in commands(stocked)[0]["line"]


def test_a_killed_command_stays_unfinished(stocked: Miroir, tmp_path: Path, home: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "miroir_cli", "import", "books", "-"],
        cwd=tmp_path,
        env=clean_environment(HOME=str(home)),
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 30
    while len(commands(stocked)) < 3 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert commands(stocked)[0]["state"] == "running"
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert told(stocked, "--failed") == [("import", "unfinished", None)]
    shown = stocked("journal", "show", commands(stocked)[0]["id"]).out
    assert ", unfinished, began " in shown and "it was killed, or the power failed" in shown


def test_an_interrupted_command_is_one_that_was_stopped(stocked: Miroir, tmp_path: Path, home: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "miroir_cli", "import", "books", "-"],
        cwd=tmp_path,
        env=clean_environment(HOME=str(home)),
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        deadline = time.monotonic() + 30
        while len(commands(stocked)) < 3 and time.monotonic() < deadline:
            time.sleep(0.1)
        process.terminate()
        assert process.wait(timeout=30) == 143
    assert told(stocked)[0] == ("import", "stopped", 143)


@about_the_file("made to refuse the journal alone")
def test_a_journal_that_cannot_be_written_does_not_hide_what_the_command_says(stocked: Miroir, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / ".miroir" / "state.db")) as db:
        db.execute("create trigger no before insert on commands begin select raise(abort, 'no room'); end")
    failed = stocked("index", "delete", "films", "--yes")
    assert failed.status == 4 and failed.err.startswith("error: index `films` not found")
    done = stocked("delete", "books", "1")
    assert done.status == 0 and "warning: this command is not in the journal: " in done.err
    assert len(commands(stocked)) == 2


@both_backends
def test_a_recovery_is_in_the_journal_of_the_new_state(stocked: Miroir, tmp_path: Path) -> None:
    lose_state(tmp_path)
    assert stocked("state", "recover", "--dry-run").status == 0
    assert stocked("state", "recover", "--yes").status == 0
    assert told(stocked) == [("state recover", "done", 0)]
    assert stocked("state", "recover", "--yes").status == 14
    assert told(stocked)[0] == ("state recover", "failed", 14)


def test_moments_are_read_as_people_write_them() -> None:
    from datetime import datetime

    now = datetime(2026, 11, 27, 12, 0, 0)
    texts = {"90m": (27, 10, 30), "1h30m": (27, 10, 30), "2d": (25, 12, 0), "1w": (20, 12, 0), "2026-11-27": (27, 0, 0)}
    for text, (day, hour, minute) in texts.items():
        expected = datetime(2026, 11, day, hour, minute).timestamp() * 1000
        assert parse_since(text, now=now) == expected, text
    assert parse_since("2026-11-27T08:00:00+00:00", now=now) == 1795766400000
    for text in ("", "soon", "5", "-3h", "2026-13-01", "99999w99999999m"):
        with pytest.raises(UsageError):
            parse_since(text, now=now)
