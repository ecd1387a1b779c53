"""The tab key in real shells: bash, zsh and fish with the scripts of `completions/`, and what they ask of miroir."""

from __future__ import annotations

import os
import pty
import select
import shlex
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from typer.main import get_command

from miroir_cli.cli.app import app
from miroir_cli.cli.complete import KINDS, LIMIT_VARIABLE
from miroir_cli.cli.tree import walk
from miroir_cli.dev.engine.testing import running_engine
from tests.backends import both_backends
from tests.conftest import ROOT, Miroir, clean_environment

SCRIPTS = ROOT / "completions"
SETTINGS = ["searchCutoffMs", "searchableAttributes", "separatorTokens"]

PROGRAM = f"""#!/bin/sh
[ "$1" = __complete ] && exec {shlex.quote(sys.executable)} -m miroir_cli "$@"
echo "ran: <$*>"
"""
"""The `miroir` of these shells: it completes, and otherwise says what it was called with."""


def shell(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} here")
    return found


def install(folder: Path) -> None:
    """Put that program into `bin` of a folder."""
    (folder / "bin").mkdir()
    program = folder / "bin" / "miroir"
    program.write_text(PROGRAM)
    program.chmod(0o755)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a topology of three nodes that are gone, the indexes `books` and `films`, and one run."""
    path = tmp_path_factory.mktemp("shell")
    install(path)

    def miroir(*words: str) -> None:
        subprocess.run(
            [sys.executable, "-m", "miroir_cli", "-q", *words],
            cwd=path, env=clean_environment(HOME=str(path)), check=True, capture_output=True,
        )  # fmt: skip

    with ExitStack() as stack:
        engines = [stack.enter_context(running_engine(path / f"disk{number}")) for number in (1, 2, 3)]
        nodes = [f"--node=node{number}={engine.url}" for number, engine in enumerate(engines, 1)]
        miroir("init", *nodes, "--name", "shop", "--shards", "2")
        miroir("index", "create", "books", "-k", "id")
        miroir("index", "create", "films", "-k", "id")
        miroir("verify")
        miroir("backup", "create", "kept")
    (path / "documents.ndjson").touch()
    (path / "data").mkdir()
    shutil.copy(path / "miroir.toml", path / "other.toml")
    (path / "other.toml").write_text((path / "miroir.toml").read_text().replace('"node', '"server'))
    return path


def environment(folder: Path, **more: str) -> dict[str, str]:
    return clean_environment(
        PATH=f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}", HOME=str(folder), TERM="xterm", **more
    )


# what a line is completed to: the words before the cursor, and what is offered

OFFERED: list[tuple[list[str], list[str]]] = [
    (["ind"], ["index"]),
    (["index", "sh"], ["show"]),
    (["index", "settings", "d"], ["diff"]),
    (["index", "show", "b"], ["books"]),
    (["index", "show", ""], ["books", "films"]),
    (["--json", "-t", "other.toml", "index", "show", ""], ["books", "films"]),
    (["index", "show", "books", ""], []),
    (["index", "create", ""], []),
    (["search", "fi"], ["films"]),
    (["node", "drain", ""], ["node1", "node2", "node3"]),
    (["node", "drain", "node1", "node3"], ["node3"]),
    (["-t", "other.toml", "node", "drain", "s"], ["server1", "server2", "server3"]),
    (["node", "drain", "-t", "other.toml", "s"], ["server1", "server2", "server3"]),
    (["node", "replace", "node2", ""], []),
    (["repair", "--prefer", "node2"], ["node2"]),
    (["state", "recover", "--accept-loss", "n"], ["node1", "node2", "node3"]),
    (["journal", "show", ""], ["1", "c1", "c2", "c3"]),
    (["backup", "list", "ke"], ["kept"]),
    (["backup", "show", "kept", ""], ["BACKUP"]),
    (["backup", "restore", "--index", "books", "kept", ""], ["BACKUP"]),
    (["import", "books", "doc"], ["documents.ndjson"]),
    (["import", "books", "documents.ndjson", "doc"], ["documents.ndjson"]),
    (["import", "books", "--format", ""], ["csv", "json", "ndjson", "parquet"]),
    (["import", "--format", "csv", "bo"], ["books"]),
    (["import", "books", "--rejects", "doc"], ["documents.ndjson"]),
    (["dev", "node", "--data", "da"], ["data"]),
    (["search", "books", "--partial", "a"], ["allow"]),
    (["search", "books", "-n", ""], []),
    (["search", "-n", "3", "bo"], ["books"]),
    (["index", "settings", "get", "books", "se"], SETTINGS),
    (["index", "settings", "get", "books", "stopWords", "se"], SETTINGS),
    (["import", "--re"], ["--rejects", "--restart", "--retry-for"]),
    (["index", "list", "--js"], ["--json"]),
    (["repair", "--no"], ["--no-color", "--no-compare"]),
    (["import", "books", "--", "doc"], ["documents.ndjson"]),
    (["nonsense", ""], []),
]


@pytest.fixture
def offered(folder: Path, request: pytest.FixtureRequest) -> list[str]:
    """What must be offered, with the name of the one backup for `BACKUP`."""
    (backup,) = (path.name for path in (folder / "kept").iterdir() if path.is_dir())
    return [backup if each == "BACKUP" else each for each in request.param]


def ids(words: list[str]) -> str:
    return " ".join(words) or "empty"


# bash


def bash_offers(folder: Path, words: list[str], *, before: str = "") -> list[str]:
    script = (
        f"{before}source {shlex.quote(str(SCRIPTS / 'miroir.bash'))}\n"
        f"COMP_WORDS=(miroir {shlex.join(words)}); COMP_CWORD={len(words)}; _miroir\n"
        '[[ ${#COMPREPLY[@]} == 0 ]] || printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        [shell("bash"), "--norc", "-c", script], cwd=folder, env=environment(folder), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    errors = [line for line in done.stderr.splitlines() if "compopt: not currently executing" not in line]
    assert done.returncode == 0 and not errors, done.stderr
    return sorted(done.stdout.split())


@pytest.mark.parametrize(("words", "offered"), OFFERED, indirect=["offered"], ids=ids)
def test_bash(folder: Path, words: list[str], offered: list[str]) -> None:
    assert bash_offers(folder, words) == offered


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["import", "books", "--format", "=", "nd"], ["ndjson"]),  # as bash takes words apart
        (["import", "books", "--format", "="], ["csv", "json", "ndjson", "parquet"]),
        (["import", "--format", "=", "csv", "bo"], ["books"]),
        (["import", "books", "--format=nd"], ["--format=ndjson"]),  # where `=` is no word break
        (["--topology", "=", "other.toml", "node", "drain", "server2"], ["server2"]),
        (["node", "replace", "node1", "n4", "=", "http", ":", "//x"], []),
        (["search", "books", "--sort", "year", ":", "de"], []),
        (["search", "--sort", "year", ":", "desc", "bo"], ["books"]),
    ],
    ids=ids,
)
def test_bash_takes_words_apart_at_signs(folder: Path, words: list[str], offered: list[str]) -> None:
    assert bash_offers(folder, words) == offered


def test_bash_has_every_command_and_option(folder: Path) -> None:
    for page in list(walk(get_command(app)))[::7]:
        for name, _ in page.members or ():
            assert name in bash_offers(folder, [*page.words, ""])
        known = set(bash_offers(folder, [*page.words, "-"]))
        assert {name for option in page.options for name in (*option.spellings, *option.negative)} <= known


# fish


@pytest.mark.parametrize(("words", "offered"), OFFERED, indirect=["offered"], ids=ids)
def test_fish(folder: Path, words: list[str], offered: list[str]) -> None:
    line = f"miroir {' '.join(words)}"
    done = subprocess.run(
        [shell("fish"), "--no-config", "-c", f"source {SCRIPTS / 'miroir.fish'}; complete -C {shlex.quote(line)}"],
        cwd=folder, env=environment(folder), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and not done.stderr, done.stderr
    found = sorted(line.partition("\t")[0].rstrip("/") for line in done.stdout.splitlines())
    assert found == offered


def test_names_that_a_shell_would_run_are_not_offered(tmp_path: Path) -> None:
    evil = ["$(touch${IFS}ran)", "`touch ran`", "a;touch ran", "*", "-rf", "two words", "\\u001b[2J", "a\\nb"]
    nodes = "".join(f'[[nodes]]\nname = "{name}"\nurl = "http://me:hunter@x"\n' for name in [*evil, "node9"])
    (tmp_path / "evil.toml").write_text(nodes)
    (tmp_path / "$(touch ran)").mkdir()
    (tmp_path / "$(touch ran)" / "manifest.json").touch()
    assert asked(tmp_path, "nodes", "-t", "evil.toml") == "node9\tx\n"
    assert asked(tmp_path, "backups", ".") == ""


def test_bash_runs_nothing_of_what_is_offered(folder: Path, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "miroir"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nprintf '%s\\n' '$(touch ran)' '`touch ran`' '*' node9\n")
    program.chmod(0o755)
    before = f"PATH={shlex.quote(str(program.parent))}:$PATH; cd {shlex.quote(str(tmp_path))}\n"
    offered = bash_offers(folder, ["node", "drain", ""], before=before)
    assert offered == sorted("$(touch ran) `touch ran` * node9".split())
    assert not (tmp_path / "ran").exists()


# at a terminal


class Terminal:
    """An interactive shell whose keys we press."""

    def __init__(self, command: list[str], *, folder: Path, environment: dict[str, str]) -> None:
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.execve(command[0], command, environment)
        self.seen = self.passed = ""

    def type(self, keys: str) -> None:
        for key in keys:
            os.write(self.descriptor, key.encode())
            if key == "\t":
                time.sleep(0.4)

    def wait_for(self, text: str, *, seconds: float = 20) -> None:
        """Read until a text has come since the last one that was waited for."""
        deadline = time.monotonic() + seconds
        while text not in self.seen:
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self.descriptor], [], [], max(left, 0))
            assert ready, f"no {text!r} in {self.seen!r}"
            self.seen += os.read(self.descriptor, 65536).decode(errors="replace")
        self.passed, _, self.seen = self.seen.partition(text)

    def close(self) -> None:
        os.close(self.descriptor)
        os.waitpid(self.pid, 0)


@pytest.fixture(params=["bash", "zsh"])
def terminal(request: pytest.FixtureRequest, folder: Path) -> Iterator[Terminal]:
    program = shell(request.param)
    if request.param == "bash":
        command, setup = [program, "--norc", "--noprofile", "-i"], f"source {SCRIPTS / 'miroir.bash'}"
    else:
        command = [program, "-f", "-i"]
        setup = f"fpath=({SCRIPTS} $fpath); autoload -Uz compinit; compinit -u -D"
    found = Terminal(command, folder=folder, environment=environment(folder))
    try:
        found.type(f"unset PROMPT_COMMAND; PS1='% '; {setup}; echo re''ady\n")
        found.wait_for("ready\r\n")
        yield found
    finally:
        found.close()


def test_at_a_terminal(terminal: Terminal) -> None:
    for keys, ran in (
        ("miroir ind\tsh\tbo\t\n", "index show books"),
        ("miroir -t other.toml node dr\tserver2\t\n", "-t other.toml node drain server2"),
        ("miroir imp\tbo\tdoc\t--form\tpar\t\n", "import books documents.ndjson --format parquet"),
        ("miroir journal sh\t1\t\n", "journal show 1"),
        ("miroir index settings get films stopW\t\n", "index settings get films stopWords"),
    ):
        terminal.type(keys)
        terminal.wait_for("ran: <")
        terminal.wait_for(">")
        assert terminal.passed.replace("--format=", "--format ").rstrip() == ran


def test_zsh_loads_what_is_sourced_as_well(folder: Path) -> None:
    script = f"autoload -Uz compinit; compinit -u -D; source {SCRIPTS / '_miroir'}; echo $_comps[miroir]"
    done = subprocess.run(
        [shell("zsh"), "-f", "-c", script], cwd=folder, env=environment(folder), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("_miroir\n", "")


# what miroir says

PATIENT = {LIMIT_VARIABLE: "60"}
"""For a machine that has other things to do as well."""


def asked(folder: Path, *words: str, **more: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "miroir_cli", "__complete", *words],
        cwd=folder, env=environment(folder, **more), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_every_live_kind_is_known(folder: Path) -> None:
    kinds = {each.completes for page in walk(get_command(app)) for each in (*page.arguments, *page.options)}
    assert kinds - {None, "files", "folders", "settings"} == set(KINDS)
    assert asked(folder, "indexes") == "books\t2 shards, 2 replicas\nfilms\t2 shards, 2 replicas\n"
    lines = asked(folder, "entries").splitlines()
    assert lines[0] == "1\tverify, done"
    assert any(line.startswith("c2\tmiroir -q index create films") for line in lines)


def test_values_come_while_others_have_the_state_open_and_no_file_is_made(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder / ".miroir", copy / ".miroir")
    shutil.copy(folder / "miroir.toml", copy)
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*")}
    assert asked(copy, "indexes").startswith("books\t")
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*")} == before
    with closing(sqlite3.connect(copy / ".miroir" / "state.db", isolation_level=None)) as writer:
        writer.execute("begin immediate")
        writer.execute("update indexes set state = 'deleted' where uid = 'books'")
        assert asked(copy, "indexes").startswith("books\t")
        writer.execute("commit")
        assert asked(copy, "indexes").startswith("films\t")
        names = {path.name for path in (copy / ".miroir").iterdir()}
        assert {"state.db-wal", "state.db-shm"} <= names
    (copy / ".miroir" / "state.db").unlink()
    assert asked(copy, "indexes") == ""
    assert not (copy / ".miroir" / "state.db").exists()


@both_backends
def test_what_the_state_knows_is_offered_wherever_it_is(stocked: Miroir, tmp_path: Path) -> None:
    stocked("alias", "create", "live", "books")
    stocked("index", "create", "films", "-k", "id")
    stocked("index", "create", "gone", "-k", "id")
    stocked("alias", "create", "shelf", "books", "films")
    stocked("index", "delete", "gone", "--yes")
    stocked("verify")
    indexes = "books\t6 shards, 2 replicas\nfilms\t6 shards, 2 replicas\n"
    aliases = "live\tan alias of books\nshelf\tan alias of books, films\n"
    assert asked(tmp_path, "indexes", **PATIENT) == indexes + aliases
    assert asked(tmp_path, "aliases", **PATIENT) == aliases
    lines = asked(tmp_path, "entries", **PATIENT).splitlines()
    assert lines[0] == "1\tverify, done"
    assert lines[1] == "c7\tmiroir index delete gone --yes"
    assert lines[-1] == "c1\tmiroir index create books -k id"
    install(tmp_path)
    patient = f"export {LIMIT_VARIABLE}={PATIENT[LIMIT_VARIABLE]}\n"
    assert bash_offers(tmp_path, ["search", ""], before=patient) == ["books", "films", "live", "shelf"]


@pytest.mark.parametrize(
    "words", [[], ["nothing"], ["indexes"], ["indexes", "-t"], ["nodes", "-t", "gone.toml"]], ids=ids
)
def test_whatever_is_wrong_is_silence(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "miroir.toml").write_text("nodes = 3")
    (tmp_path / ".miroir").mkdir()
    (tmp_path / ".miroir" / "state.db").write_bytes(b"no database" * 99)
    assert asked(tmp_path, *words) == ""
    assert {path.name for path in tmp_path.rglob("*")} == {"miroir.toml", ".miroir", "state.db"}


def test_what_is_asked_at_every_key_loads_next_to_nothing(folder: Path) -> None:
    code = (
        "import sys; sys.argv[1:] = ['__complete', 'indexes']; from miroir_cli.__main__ import main; main(); "
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment(folder), capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("books\t")
    loaded = set(done.stderr.split())
    assert not loaded & {"typer", "rich", "msgspec", "tomlkit", "httpx", "asyncio", "sqlite_utils", "socket", "inspect"}


@pytest.mark.parametrize(("name", "file"), [("bash", "miroir.bash"), ("zsh", "_miroir"), ("fish", "miroir.fish")])
def test_the_command_prints_the_script(miroir: Miroir, name: str, file: str) -> None:
    done = miroir("completions", name)
    assert (done.status, done.err) == (0, "")
    assert done.out == (SCRIPTS / file).read_text()
