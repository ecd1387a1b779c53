"""The console by itself: streams, tables, progress, questions, signals and pipes."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest
from rich.cells import cell_len

from miroir_cli.cli.console import Console
from miroir_cli.cli.global_options import Options, ProgressForm
from miroir_cli.cli.progress import Bars, Events, Lines, Silent, amount
from miroir_cli.cli.prose import wrapped
from miroir_cli.cli.table import Column
from miroir_cli.errors import UsageError
from tests.conftest import clean_environment
from tests.schemas import check

PROGRAM = """
import asyncio, sys, typer
from miroir_cli.cli.console import Console, run
from miroir_cli.cli.ending import finish
from miroir_cli.cli.global_options import Options
from miroir_cli.errors import *

console = Console(Options(json="--json" in sys.argv))

class Context:
    obj = console
    command_path = "miroir move"
    params = dict()

async def command(console):
{body}

sys.exit(finish(console, lambda: run(Context, command, when_interrupted="do it again")))
"""

ROWS = [
    ("n1", "http://one.example:7700", 120_000),
    ("n2", "数据库服务器的地址很长" * 4, None),
    ("n3", "a\x1b[2Jb\nc", 0),
]


def program(tmp_path: Path, body: str) -> list[str]:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM.format(body="\n".join(f"    {line}" for line in body.splitlines())))
    return [sys.executable, str(path)]


def start(tmp_path: Path, body: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*program(tmp_path, body), *arguments],
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def wait_for(stream: IO[bytes] | None, line: bytes) -> None:
    assert stream is not None
    assert stream.readline() == line


# signals and pipes

SLEEPER = """
try:
    console.say("ready")
    await asyncio.sleep(40)
finally:
    await asyncio.sleep(0.05)
    console.say("cleaned up")
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_cancels_waits_for_the_clean_up_and_says_how_to_go_on(
    tmp_path: Path, number: signal.Signals, status: int
) -> None:
    with start(tmp_path, SLEEPER) as process:
        wait_for(process.stderr, b"ready\n")
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert process.returncode == status
    assert err.decode() == "cleaned up\nerror: interrupted\n\nhint: do it again\n"
    assert out == b""


def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    body = """
try:
    console.say("ready")
    await asyncio.sleep(40)
finally:
    console.say("cleaning up")
    await asyncio.sleep(40)
"""
    with start(tmp_path, body) as process:
        wait_for(process.stderr, b"ready\n")
        process.send_signal(signal.SIGINT)
        wait_for(process.stderr, b"cleaning up\n")
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)
    assert process.returncode == 130


def test_a_command_may_say_itself_what_an_interruption_means(tmp_path: Path) -> None:
    body = """
try:
    console.say("ready")
    await asyncio.sleep(40)
except asyncio.CancelledError:
    raise Interrupted("interrupted after 5 documents") from None
"""
    with start(tmp_path, body, "--json") as process:
        wait_for(process.stderr, b"ready\n")
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 143
    assert err.decode().startswith("error: interrupted after 5 documents\n")
    assert b'"miroir_interrupted"' in out


def test_nothing_that_is_said_drives_the_terminal(tmp_path: Path) -> None:
    body = """
evil = "a\\x1b]0;title\\x07\\x1b[31mb\\x1b[8m\\u2066c"
for speak in (console.print, console.say, console.detail, console.warn):
    speak(evil)
console.print("two\\nlines")
console.warn("two\\nlines")
"""
    with start(tmp_path, body) as process:
        out, err = process.communicate(timeout=20)
    inert = "a\\x1b]0;title\\x07\\x1b[31mb\\x1b[8m\\u2066c"
    assert out.decode() == f"{inert}\ntwo\nlines\n"
    assert err.decode() == f"{inert}\nwarning: {inert}\nwarning: two lines\n"


def test_an_answer_that_came_before_the_signal_could_stop_it_counts(tmp_path: Path) -> None:
    body = """
try:
    console.say("ready")
    await asyncio.sleep(40)
except asyncio.CancelledError:
    pass
console.document({"done": True})
"""
    with start(tmp_path, body, "--json") as process:
        wait_for(process.stderr, b"ready\n")
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert out == b'{"done":true}\n'


def test_a_reader_that_goes_away_ends_the_command_quietly(tmp_path: Path) -> None:
    with start(tmp_path, "for _ in range(100_000): console.print('x' * 80)") as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
    assert process.returncode == 141
    assert err == b""


def test_a_full_disk_under_standard_output_is_an_error(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            program(tmp_path, "console.print('x')"),
            env=clean_environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith(b"error: no space left on device\n\nhint: free some space")


def test_letters_that_the_terminal_cannot_show_are_escaped(tmp_path: Path) -> None:
    done = subprocess.run(
        program(tmp_path, "console.print('caf\\u00e9 \\u6570')"),
        env=clean_environment(PYTHONIOENCODING="ascii"),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0
    assert done.stdout == b"caf\\xe9 \\u6570\n"


# tables


def table(capsys: pytest.CaptureFixture[str]) -> list[str]:
    columns = [
        Column(name="node", keep=True),
        Column(name="url"),
        Column(name="documents", right=True, keep=True),
    ]
    Console(Options()).table(columns, ROWS)
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("width", [40, 60, 80])
def test_tables_fit_a_narrow_terminal(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    lines = table(capsys)
    assert max(cell_len(line) for line in lines) <= width
    assert len(lines) == 2 + len(ROWS)
    assert any("120,000" in line for line in lines)
    assert any("…" in line for line in lines)


def test_a_table_that_fits_to_the_column_is_not_cut(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [("a" * 10, "b" * 20, 1234567), ("a" * 9, "b", 2)]
    for width, whole in ((10 + 20 + 9 + 2 * 2, True), (10 + 20 + 9 + 2 * 2 - 1, False)):
        monkeypatch.setenv("COLUMNS", str(width))
        Console(Options()).table([Column(name="n", keep=True), "text", Column(name="count", right=True)], rows)
        lines = capsys.readouterr().out.splitlines()
        assert max(map(cell_len, lines)) == width
        assert ("…" not in "".join(lines)) == whole
        assert "a" * 10 in lines[2]


def test_tables_are_whole_in_a_pipe(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    lines = table(capsys)
    assert any(str(ROWS[1][1]) in line for line in lines)
    assert not any("…" in line for line in lines)
    assert not any(line.endswith(" ") for line in lines)


def test_table_cells_cannot_drive_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert any("a\\x1b[2Jb c" in line for line in table(capsys))


def test_optional_columns_go_first_when_it_is_narrow(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    columns = [Column(name="name", keep=True), Column(name="first", optional=True), Column(name="last", optional=True)]
    Console(Options()).table(columns, [("a" * 12, "b" * 30, "c" * 30)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["name", "first"]
    assert lines[3:] == ["not shown: last (a wider terminal or", "`--json` has them)"]


def test_where_little_would_be_left_of_a_text_each_value_has_a_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "24")
    columns = [Column(name="name"), Column(name="count", keep=True, right=True), Column(name="documents", keep=True)]
    Console(Options()).table(columns, [("a" * 20, 1, 2), ("b", 3, None)])
    assert capsys.readouterr().out.splitlines() == [
        "name       aaaaaaaaaaaaa",
        "           aaaaaaa",
        "count      1",
        "documents  2",
        "",
        "name       b",
        "count      3",
        "documents  -",
    ]


def test_a_name_is_cut_in_its_middle_and_wide_characters_are_counted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "14")
    Console(Options()).table([Column(name="n", name_like=True)], [("node-in-frankfurt-04",), ("数据库服务器的地址",)])
    assert capsys.readouterr().out.splitlines()[2:] == ["node-in…urt-04", "数据库…的地址"]


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("run `miroir index create books` to begin", 30, ["run", "`miroir index create books` to", "begin"]),
        ("run `miroir index create books` now", 20, ["run `miroir index", "create books` now"]),
        ("  a word and another", 12, ["  a word and", "  another"]),
        ("see https://example.org/a/long/path there", 20, ["see", "https://example.org/a/long/path", "there"]),
        ("数据库 服务器 的", 12, ["数据库", "服务器 的"]),
        ("\x1b[1;31merror:\x1b[0m it is so", 15, ["\x1b[1;31merror:\x1b[0m it is so"]),
        ("one\n\ntwo words", 5, ["one", "", "two", "words"]),
    ],
)
def test_sentences_are_broken_between_words_and_commands_stay_whole(text: str, width: int, lines: list[str]) -> None:
    assert wrapped(text, width).split("\n") == lines
    assert wrapped(text, None) == text


def test_a_table_prints_nothing_beside_a_json_document(capsys: pytest.CaptureFixture[str]) -> None:
    Console(Options(json=True)).table(["a"], [("b",)])
    assert capsys.readouterr().out == ""


# talk and progress


def test_quiet_keeps_warnings_only(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(Options(quiet=True))
    console.say("hello")
    console.detail("more")
    console.warn("careful")
    out, err = capsys.readouterr()
    assert (out, err) == ("", "warning: careful\n")


def test_progress_off_a_terminal_is_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    now = 100.0
    with Lines(clock=lambda: now) as progress:
        sent = progress.lane("sent", total=1000)
        indexed = progress.lane("indexed", unit="bytes")
        for done in range(0, 1001, 100):
            now += 1
            sent.update(done)
            indexed.update(done * 5000, note="n1 busy")
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert len(lines) == 3
    assert lines[0].startswith("sent: 400 of 1,000 documents, 80/s, 8 s left; indexed: ")
    assert lines[-1].endswith("indexed: 5.0 MB, 454.5 kB/s, n1 busy")


def test_progress_as_json_is_a_line_a_second_and_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    now = 100.0
    with Events("rebalance run", clock=lambda: now, now=lambda: now + 1_000_000) as progress:
        copied = progress.lane("documents copied", total=1000)
        steps = progress.lane("steps done", unit="steps")
        copied.update(400)  # by an earlier process
        for _ in range(9):
            now += 0.1
            copied.update(410)
        now += 1.1
        copied.update(600, note="on n4")
        steps.update(1)
        copied.update(601, note="on n4")
    told = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    for event in told:
        check("progress", event)
    assert [(event["phase"], event["done"]) for event in told] == [
        *(("documents copied", 400), ("documents copied", 600), ("steps done", 1), ("documents copied", 601)),
    ]
    assert told[0]["rate"] is None and told[0]["eta_seconds"] is None and "note" not in told[0]
    assert told[1] == {
        "event": "progress",
        "command": "rebalance run",
        "phase": "documents copied",
        "done": 600,
        "total": 1000,
        "unit": "documents",
        "rate": 100.0,
        "eta_seconds": 4.0,
        "at": 1_000_102_000,
        "note": "on n4",
    }
    assert told[2]["total"] is None and told[2]["unit"] == "steps"


@pytest.mark.parametrize(
    ("form", "quiet", "kind"),
    [
        (ProgressForm.AUTO, False, Lines),
        (ProgressForm.AUTO, True, Silent),
        (ProgressForm.NONE, False, Silent),
        (ProgressForm.PLAIN, True, Lines),
        (ProgressForm.JSON, True, Events),
        (ProgressForm.BAR, False, Bars),
    ],
)
def test_the_form_of_progress_is_what_was_asked_for(form: ProgressForm, quiet: bool, kind: type) -> None:
    assert type(Console(Options(progress=form, quiet=quiet)).progress()) is kind


def test_progress_says_nothing_when_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with Console(Options(quiet=True)).progress() as progress:
        progress.lane("sent").update(5)
    assert capsys.readouterr().err == ""


def test_amounts_are_told_in_the_unit_that_suits() -> None:
    assert [amount(count, "bytes") for count in (0, 999, 1500, 2_500_000, 3 * 10**9, 5 * 10**12)] == [
        "0 B",
        "999 B",
        "1.5 kB",
        "2.5 MB",
        "3.0 GB",
        "5.0 TB",
    ]


# questions


def on_a_terminal(tmp_path: Path, body: str, answer: str) -> tuple[int, str]:
    """Run a program on a pseudo terminal that is typed `answer`; its exit status and all that it wrote."""
    main, other = pty.openpty()
    process = subprocess.Popen(
        program(tmp_path, body), env=clean_environment(TERM="dumb"), stdin=other, stdout=other, stderr=other
    )
    os.close(other)
    os.write(main, answer.encode())
    written = b""
    while True:
        try:
            chunk = os.read(main, 4096)
        except OSError:
            break
        if not chunk:
            break
        written += chunk
    os.close(main)
    return process.wait(timeout=20), written.decode().replace("\r\n", "\n")


@pytest.mark.parametrize(
    ("answer", "status", "told"),
    [("y\n", 0, "deleted"), ("YES\n", 0, "deleted"), ("n\n", 130, "nothing was changed"), ("\x04", 130, "nothing")],
)
def test_a_question_is_answered_by_yes_only(tmp_path: Path, answer: str, status: int, told: str) -> None:
    body = 'console.confirm("Delete it?", yes=False)\nconsole.print("deleted")'
    assert on_a_terminal(tmp_path, body, answer)[0] == status
    assert told in on_a_terminal(tmp_path, body, answer)[1]


@pytest.mark.parametrize(
    ("answer", "status", "told"),
    [("books\n", 0, "deleted"), ("y\n", 130, "that is not its name"), ("\n", 130, "nothing was changed")],
)
def test_what_is_lost_for_good_is_typed_by_its_name(tmp_path: Path, answer: str, status: int, told: str) -> None:
    body = 'console.confirm_name("Delete it?", "books", yes=False)\nconsole.print("deleted")'
    ended, written = on_a_terminal(tmp_path, body, answer)
    assert ended == status
    assert "Delete it? Type `books` to go on: " in written and told in written


def test_a_default_is_taken_for_an_empty_answer(tmp_path: Path) -> None:
    body = 'console.print("<" + console.ask("Name", default="books", option="--name") + ">")'
    assert "<books>" in on_a_terminal(tmp_path, body, "\n")[1]
    assert "<films>" in on_a_terminal(tmp_path, body, "films\n")[1]


def test_nobody_is_asked_without_a_terminal() -> None:
    with pytest.raises(UsageError) as caught:
        Console(Options()).confirm("Delete it?", yes=False)
    assert caught.value.hint == "say so with `--yes`"
    Console(Options()).confirm("Delete it?", yes=True)
    Console(Options()).confirm("Make it?", yes=False, always=False)
    with pytest.raises(UsageError):
        Console(Options()).confirm_name("Delete it?", "books", yes=False)
    Console(Options()).confirm_name("Delete it?", "books", yes=True)
