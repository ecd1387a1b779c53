"""The contract of every command: help, options, errors and exit statuses, whatever the command does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from miroir_cli import __version__, errors
from miroir_cli.cli.app import COMMANDS, app, main
from miroir_cli.cli.console import Console
from miroir_cli.cli.ending import finish
from miroir_cli.cli.global_options import Options
from miroir_cli.cli.tree import GLOBAL_PANEL
from miroir_cli.errors import Interrupted, MiroirError
from tests.conftest import ROOT, Miroir, clean_environment

GLOBAL_NAMES = {"topology", "json", "quiet", "verbose", "no_color", "progress"}


def walk(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command and group below the root, with the words that call it."""
    if not isinstance(command, TyperGroup):
        return
    context: Any = None  # neither of the two methods looks at it
    for name in command.list_commands(context):
        member = command.get_command(context, name)
        yield (*words, name), member
        yield from walk(member, (*words, name))


ALL = dict(walk(get_command(app)))
LEAVES = {words: command for words, command in ALL.items() if not isinstance(command, TyperGroup)}


def all_errors(root: type[MiroirError] = MiroirError) -> list[type[MiroirError]]:
    return [root, *(found for child in root.__subclasses__() for found in all_errors(child))]


def make_error(kind: type[MiroirError]) -> MiroirError:
    more: dict[type[MiroirError], dict[str, Any]] = {
        errors.NodeRefusal: {"status": 400, "node_code": "bad_request", "node": "n1"},
        errors.NodeUnavailable: {"node": "n1", "sent": False},
    }
    if kind is errors.PrimaryKeyFixed:
        error = errors.PrimaryKeyFixed("books", "id")
        error.message, error.hint = "something `is` wrong", "do this"
        return error
    if kind is errors.ApiError:
        return errors.ApiError("bad_request", "something `is` wrong", hint="do this")
    return kind("something `is` wrong", hint="do this", **more.get(kind, {}))


def ids(words: tuple[str, ...]) -> str:
    return " ".join(words)


# help


@pytest.mark.parametrize("words", ALL, ids=ids)
def test_the_help_of_every_command_begins_with_a_sentence(words: tuple[str, ...]) -> None:
    text = ALL[words].help or ""
    first = text.split("\n")[0]
    assert first and first[0].isupper() and first.endswith("."), f"`miroir {ids(words)}`: {first!r}"


@pytest.mark.parametrize("words", LEAVES, ids=ids)
def test_every_option_and_argument_has_help(words: tuple[str, ...]) -> None:
    for parameter in LEAVES[words].params:
        assert parameter.help, f"`miroir {ids(words)}` {parameter.opts}"


@pytest.mark.parametrize("words", ALL, ids=ids)
def test_help_is_printed_for_every_command(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "--help"]) == 0
    out, err = capsys.readouterr()
    assert "Usage: miroir" in out
    assert not err


def test_without_arguments_help_is_shown_and_it_is_a_usage_error(miroir: Miroir) -> None:
    done = miroir()
    assert done.status == 2
    assert "Usage: miroir" in done.out + done.err
    assert "error:" not in done.err


def test_the_version_is_that_of_the_package(miroir: Miroir) -> None:
    assert miroir("--version").out == f"miroir {__version__}\n"


# options


@pytest.mark.parametrize("words", LEAVES, ids=ids)
def test_commands_take_the_global_options_after_their_name_and_have_no_other_of_that_spelling(
    words: tuple[str, ...],
) -> None:
    parameters = LEAVES[words].params
    shared = {p.name for p in parameters if getattr(p, "rich_help_panel", None) == GLOBAL_PANEL}
    assert shared == GLOBAL_NAMES
    spellings = [spelling for p in parameters for spelling in (*p.opts, *p.secondary_opts)]
    assert len(spellings) == len(set(spellings)), spellings


@pytest.mark.parametrize(
    "arguments", [("--json", "status"), ("status", "--json"), ("-t", "none.toml", "status", "--json", "-q")]
)
def test_global_options_work_before_and_after_the_command(miroir: Miroir, arguments: tuple[str, ...]) -> None:
    done = miroir(*arguments)
    assert done.status == 6
    assert done.json["error"]["code"] == "miroir_topology_invalid"


def test_the_last_of_two_topologies_wins(miroir: Miroir) -> None:
    assert "`b.toml`" in miroir("-t", "a.toml", "status", "-t", "b.toml").err


def test_options_can_be_given_as_variables(miroir: Miroir) -> None:
    done = miroir("status", env={"MIROIR_JSON": "1", "MIROIR_TOPOLOGY": "elsewhere.toml"})
    assert "elsewhere.toml" in done.json["error"]["message"]


# errors


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["serach", "x"], "no such command `serach`", "did you mean `search`?"),
        (["index", "lst"], "no such command `lst`", "did you mean `list`?"),
        (["frobnicate"], "no such command `frobnicate`", "run `miroir --help` to see how it is used"),
        (["settings"], "no such command `settings`", "did you mean `miroir index settings`?"),
        (["create"], "no such command `create`", "did you mean `miroir index create` or `miroir "),
        (["node", "search"], "no such command `search`", "did you mean `miroir search`?"),
        (["index", "settings", "frob"], "no such command `frob`", "there are `get`, `set`, `reset`, `diff`"),
        (["search", "books", "--partial", "eror"], "`eror` is not one of `error`, `allow`", "did you mean `error`?"),
        (["-q", "verify", "--sample"], "option `--sample` requires an argument", "run `miroir verify --help`"),
        (["-q"], "missing command", "run `miroir --help`"),
        (["status", "--wach"], "no such option `--wach`", "did you mean `--watch`?"),
        (["index", "create", "books"], "missing option `--primary-key` / `-k`", "miroir index create --help"),
        (["index", "show"], "missing argument `INDEX`", "run `miroir index show --help`"),
        (
            ["init", "--shards", "many"],
            "`--shards` is `many`, expected a whole number, 1 or more",
            "`miroir init --help`",
        ),
        (["rebalance", "run", "--rate", "-5"], "`--rate` is `-5`, expected 1 or more", "`miroir rebalance run --help`"),
        (["rebalance", "run", "--parallel", "0"], "`--parallel` is `0`, expected 1 or more", "miroir rebalance run"),
        (["rebalance", "run", "--window", "1-5"], "`--window` is `1-5`, expected HH:MM-HH:MM", "such as `01:00-05:00`"),
        (["rebalance", "rate", "--", "-1"], "`N` is `-1`, expected 0 or more", "`miroir rebalance rate --help`"),
        (["verify", "--sample", "5"], "`--sample` is `5`, expected 0.0001 to 1", "`miroir verify --help`"),
        (["repair", "--interval", "x"], "`--interval` is `x`, expected a number, 0.2 or more", "miroir repair --help"),
        (
            ["node", "add", "n4=http://n4", "--weight", "-5"],
            "`--weight` is `-5`, expected 0.000001 or more",
            "node add",
        ),
        (["dev", "up", "--engine", "rocket"], "`--engine`: `rocket` is not one of `auto`, ", "`miroir dev up --help`"),
        (["status", "extra"], "too many arguments: `extra`", "run `miroir status --help`"),
    ],
)
def test_usage_errors_say_what_is_wrong_and_what_was_meant(
    miroir: Miroir, arguments: list[str], message: str, hint: str
) -> None:
    done = miroir(*arguments)
    assert done.status == 2
    assert done.out == ""
    first, empty, second = done.err.rstrip("\n").split("\n")
    assert first.startswith("error: ") and message in first
    assert empty == ""
    assert second.startswith("hint: ") and hint in second


def test_usage_errors_are_json_documents_when_asked(miroir: Miroir) -> None:
    done = miroir("stauts", "--json")
    assert done.status == 2
    assert done.json == {
        "error": {"code": "miroir_usage", "message": "no such command `stauts`", "hint": "did you mean `status`?"}
    }
    assert done.err.startswith("error: no such command `stauts`\n")


@pytest.mark.parametrize("kind", all_errors(), ids=lambda kind: kind.__name__)
def test_every_error_ends_with_its_own_exit_status(kind: type[MiroirError], capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> None:
        raise make_error(kind)

    status = finish(Console(Options(json=True)), command)
    out, err = capsys.readouterr()
    assert status == kind.exit_status
    assert err == "error: something `is` wrong\n\nhint: do this\n"
    assert json.loads(out) == {"error": {"code": kind.code, "message": "something `is` wrong", "hint": "do this"}}


def test_exit_statuses_are_those_of_the_contract() -> None:
    assert {kind.exit_status for kind in all_errors()} == {1, 2, 3, 4, 5, 6, 8, 9, 12, 13, 14, 130}
    assert all(kind.code for kind in all_errors())


def test_the_tree_in_the_docstring_is_the_tree_of_the_code() -> None:
    drawn = {}
    for line in (errors.__doc__ or "").splitlines():
        words = line.strip("│├└─ ").split()
        if len(words) > 1 and words[1][0].isdigit():
            drawn[words[0]] = words[1]
    assert drawn == {
        kind.__name__: "130/143" if kind is Interrupted else str(kind.exit_status) for kind in all_errors()
    }


def test_several_errors_at_once_are_told_as_the_first(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> None:
        raise ExceptionGroup("all", [errors.IndexNotFound("gone"), errors.NotFound("also gone")])

    assert finish(Console(Options()), command) == 4
    assert capsys.readouterr().err == "error: gone\n"


def test_the_unexpected_is_one_line_and_its_origin_is_told_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> None:
        raise KeyError("surprise")

    assert finish(Console(Options()), command) == 1
    told = capsys.readouterr().err
    assert told == "error: unexpected KeyError: 'surprise'\n\nhint: run it again with `-vv` to see where it came from\n"
    assert finish(Console(Options(verbose=2)), command) == 1
    assert "Traceback" in capsys.readouterr().err


def test_an_error_after_the_result_leaves_one_json_document(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(Options(json=True))

    def command() -> None:
        console.document({"documents": 5})
        raise errors.PartialError("2 of 7 were rejected")

    assert finish(console, command) == 3
    out, err = capsys.readouterr()
    assert json.loads(out) == {"documents": 5}
    assert err.startswith("error: 2 of 7")


def test_text_from_elsewhere_cannot_drive_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> None:
        raise MiroirError("a\x1b[31mb\x07c\nd\u202ee")

    finish(Console(Options()), command)
    assert capsys.readouterr().err == "error: a\\x1b[31mb\\x07c d\\u202ee\n"


# where commands live


def test_every_command_is_in_the_table_of_contents_and_every_module_exists() -> None:
    modules = {path.stem for path in (ROOT / "miroir_cli" / "cli").glob("*.py")}
    assert set(COMMANDS.values()) <= modules


def test_the_package_runs_as_a_module(miroir_process: Miroir, tmp_path: Path) -> None:
    assert miroir_process("--help").status == 0
    assert miroir_process("nonsense").status == 2
    assert list(tmp_path.iterdir()) == [tmp_path / "home"]


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="no setpriv, with which the root user is refused a file")
def test_a_topology_file_that_may_not_be_read_says_so(tmp_path: Path) -> None:
    file = tmp_path / "miroir.toml"
    file.write_text('[cluster]\nname = "x"\n')
    file.chmod(0)
    words = [sys.executable, "-m", "miroir_cli", "-t", str(file), "status"]
    if os.geteuid() == 0:
        words = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *words]
    environment = {**clean_environment(HOME=str(tmp_path)), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 6, done.stderr
    assert "cannot be read: Permission denied" in done.stderr and "check its owner and mode" in done.stderr
