"""Every example of every command's help runs, in a folder and a cluster like those that the examples speak of.

Three nodes `n1`, `n2`, `n3`, a spare server for `n4`, the index `books` with some documents, and the files beside it.
Lines that only call miroir run in this process, pipelines in a shell, and what goes on until it is stopped is stopped.
"""

from __future__ import annotations

import json
import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from typer.main import get_command

from miroir_cli.cli.app import app
from miroir_cli.cli.tree import Page, walk
from miroir_cli.dev.engine.testing import Engine, running_engine
from tests.backends import lose_state, state_options, state_url
from tests.cli.conftest import edit
from tests.conftest import Finished, Miroir, clean_environment

PAGES = [page for page in walk(get_command(app)) if page.manual.examples]
BOOKS = [
    (1, "The Left Hand of Darkness", "Le Guin", 1969, "Novel"),
    (2, "Solaris", "Lem", 1961, "Novel"),
    (3, "The Cyberiad", "Lem", 1965, "Stories"),
    (4, "I, Robot", "Asimov", 1950, "Stories"),
    (41, "Roadside Picnic", "Strugatsky", 1972, "Novel"),
    (42, "The Dispossessed", "Le Guin", 1974, "Novel"),
]
SETTINGS = {"filterableAttributes": ["author", "genre", "year", "id"], "sortableAttributes": ["year"]}
FILMS = [
    {"id": number, "title": title, "year": year, "_vectors": {"topics": vector}}
    for number, title, year, vector in (
        (1, "Solaris", 1972, [0.9, 0.1]), (2, "Stalker", 1979, [0.8, 0.3]), (3, "Playtime", 1967, [0.1, 0.9]),
    )
]  # fmt: skip
TOPICS = 'embedders={"topics": {"source": "userProvided", "dimensions": 2}}'

ENDLESS = ("--watch", "miroir serve", "miroir dev node", "miroir demo")
"""What goes on until it is stopped, and the tour, which tests/dev/test_demo.py sees to its end."""

STATUSES = {"--detailed-exitcode": {0, 9}, "miroir doctor": {0, 3}, "miroir tasks cancel": {2, 4}}
"""Where another exit status than 0 is no failure; stopped by ctrl-C, a command may end with 130."""


@dataclass(kw_only=True)
class World:
    """The cluster and the folder of the examples; `bins` has a `miroir` to be found on the PATH."""

    folder: Path
    miroir: Miroir
    engines: list[Engine]
    bins: Path = field(init=False)

    def __post_init__(self) -> None:
        self.bins = self.folder / "bin"
        self.bins.mkdir()
        program = self.bins / "miroir"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tests.held "$@"\n')
        program.chmod(0o755)

    def prepare(self) -> None:
        """Make everything as the examples find it, whatever was done before."""
        for engine in self.engines:
            _empty(engine.url)
        if state_url() is None:
            shutil.rmtree(self.folder / ".miroir", ignore_errors=True)
        else:
            lose_state(self.folder)
        (self.folder / "miroir.toml").unlink(missing_ok=True)
        files: dict[str, list[dict[str, object]]] = {
            "books.ndjson": [dict(zip(("id", "title", "author", "year", "genre"), row, strict=True)) for row in BOOKS],
            "changes.ndjson": [{"id": 1, "year": 1970}],
        }
        for name, documents in files.items():
            (self.folder / name).write_text("".join(f"{json.dumps(document)}\n" for document in documents))
        (self.folder / "more").mkdir(exist_ok=True)
        (self.folder / "more" / "a.csv").write_text("id,title\n5,Ubik\n")
        (self.folder / "films.json").write_text(json.dumps(FILMS))
        (self.folder / "settings.json").write_text(json.dumps(SETTINGS))
        (self.folder / "request.json").write_text(json.dumps({"q": "left"}))
        (self.folder / "queries.json").write_text(json.dumps({"queries": [{"indexUid": "books", "q": "lem"}]}))
        nodes = [f"--node=n{number}={engine.url}" for number, engine in enumerate(self.engines[:3], 1)]
        self.must("init", *nodes, "--name", "shop", "--shards", "6", "--replicas", "2", *state_options())
        self.must("index", "create", "books", "-k", "id", "--settings", "settings.json")
        self.must("import", "books", "books.ndjson")

    def must(self, *words: str) -> None:
        done = self.miroir(*words)
        assert done.status == 0, done.err

    def here(self, line: str) -> str:
        """A line with the addresses of this world."""
        for number, engine in enumerate(self.engines, 1):
            line = line.replace(f"http://127.0.0.1:770{number}", engine.url)
        line = re.sub(r"^miroir (dev up|demo)(?!.*--port)", rf"miroir \1 --port {self.port}", line)
        line = re.sub(r"^miroir serve(?!.*--port)", "miroir serve --port 0", line)
        return line.replace("7801", self.port).replace("--port 7700", "--port 0").replace("0.0.0.0", "127.0.0.1")

    @property
    def port(self) -> str:
        """The first of some ports in a row that nobody listens on."""
        import socket

        for first in range(21_000 + os.getpid() % 5_000, 60_000, 10):
            with ExitStack() as stack:
                try:
                    for port in range(first, first + 5):
                        stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
                except OSError:
                    continue
                return str(first)
        raise AssertionError("no free port")


def _empty(url: str) -> None:
    """Delete all indexes of a server."""
    with httpx.Client(base_url=url) as client:
        found = client.get("/indexes", params={"limit": 100}).json()["results"]
        tasks = [client.delete(f"/indexes/{index['uid']}").json()["taskUid"] for index in found]
        for uid in tasks:
            while client.get(f"/tasks/{uid}").json()["status"] in ("enqueued", "processing"):
                time.sleep(0.005)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Engine]]:
    disks = tmp_path_factory.mktemp("disks")
    with ExitStack() as stack:
        yield [stack.enter_context(running_engine(disks / f"disk{number}")) for number in (1, 2, 3, 4)]


@pytest.fixture
def world(tmp_path: Path, miroir: Miroir, servers: list[Engine]) -> Iterator[World]:
    found = World(folder=tmp_path, miroir=miroir, engines=servers)
    yield found
    if (tmp_path / ".miroir" / "dev").exists():
        miroir("dev", "down")


# what some examples need beside the cluster


def _without_file(world: World) -> None:
    (world.folder / "miroir.toml").unlink()


def _with_films(world: World) -> None:
    world.must("index", "create", "films", "-k", "id")
    world.must("index", "settings", "set", "films", TOPICS, 'filterableAttributes=["year"]')
    world.must("import", "films", "films.json")


def _with_a_new_index(world: World) -> None:
    world.must("index", "create", "books_new", "-k", "id")


def _with_an_alias(world: World) -> None:
    _with_a_new_index(world)
    world.must("alias", "create", "live", "books")


def _with_unfinished_run(world: World) -> None:
    """A run that was killed after it had begun."""
    edit(world.folder, "replicas = 2", "replicas = 3")
    process = _start(world, ["miroir", "rebalance", "run", "--yes", "--rate", "1"])
    deadline = time.monotonic() + 30
    while world.miroir("rebalance", "status", "--json").json["run"] is None:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.communicate()
    world.must("rebalance", "rate", "0")


def _with_a_run(world: World) -> None:
    world.must("verify")


def _with_an_old_server(world: World) -> None:
    """The spare server has documents of its own."""
    with httpx.Client(base_url=world.engines[3].url) as client:
        task = client.post("/indexes/books/documents", json=[{"id": 7, "title": "Ubik"}]).json()["taskUid"]
        while client.get(f"/tasks/{task}").json()["status"] in ("enqueued", "processing"):
            time.sleep(0.005)


def _with_a_backup(world: World) -> None:
    world.must("backup", "create", "backups")


def _without_state(world: World) -> None:
    lose_state(world.folder)


OCCASIONS: dict[tuple[str, ...], Callable[[World], None]] = {
    ("init",): _without_file,
    ("dev", "up"): _without_file,
    ("similar",): _with_films,
    ("index", "swap"): _with_films,
    ("alias",): _with_a_new_index,
    ("alias", "list"): _with_an_alias,
    ("alias", "show"): _with_an_alias,
    ("alias", "create"): _with_films,
    ("alias", "flip"): _with_an_alias,
    ("alias", "delete"): _with_an_alias,
    ("rebalance", "status"): _with_unfinished_run,
    ("rebalance", "pause"): _with_unfinished_run,
    ("rebalance", "resume"): _with_unfinished_run,
    ("rebalance", "rate"): _with_unfinished_run,
    ("rebalance", "cancel"): _with_unfinished_run,
    ("journal",): _with_a_run,
    ("journal", "show"): _with_a_run,
    ("import",): _with_an_old_server,
    ("backup", "list"): _with_a_backup,
    ("backup", "show"): _with_a_backup,
    ("backup", "verify"): _with_a_backup,
    ("backup", "prune"): _with_a_backup,
    ("backup", "restore"): _with_a_backup,
    ("state", "recover"): _without_state,
}


# running them


def run_example(world: World, line: str) -> Finished:
    """Run a line as somebody would type it; the answer to every question is yes."""
    answers = {f"{page.prefix}YES": "1" for page in PAGES if any(option.name == "yes" for option in page.options)}
    answers |= {"MIROIR_NODE_KEY": "no node here asks for it", "MIROIR_DEV_UP_ENGINE": "embedded"}
    if any(mark in line for mark in ENDLESS):
        return _stopped(_start(world, shlex.split(line)))
    if re.search(r"[|<>$&;]", re.sub(r"'[^']*'", "", line)) or not line.startswith("miroir "):
        done = subprocess.run(
            _shell_for(line),
            cwd=world.folder,
            env=_environment(world, **answers),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        return Finished(status=done.returncode, out=done.stdout, err=done.stderr)
    return world.miroir(*shlex.split(line)[1:], env=answers)


def _shell_for(line: str) -> list[str]:
    """bash, but for what is to be typed in another shell; where that is missing, bash reads what it would."""
    if "completions zsh" in line and shutil.which("zsh"):
        return ["zsh", "-f", "-e", "-c", f"autoload -Uz compinit; compinit -u -D; {line}"]
    if "completions fish" in line and shutil.which("fish"):
        return ["fish", "--no-config", "-c", line]
    if "completions bash" not in line:
        line = line.replace("source <(", "cat <(").replace("| source", "")
    return ["bash", "-eu", "-o", "pipefail", "-c", line]


def _environment(world: World, **more: str) -> dict[str, str]:
    path = f"{world.bins}{os.pathsep}{os.environ['PATH']}"
    return clean_environment(HOME=str(world.folder / "home"), PATH=path, **more)


def _start(world: World, words: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(world.bins / words[0]), *words[1:]],
        cwd=world.folder,
        env=_environment(world),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _stopped(process: subprocess.Popen[str]) -> Finished:
    """Let it go on until it has said something, then press ctrl-C."""
    assert process.stdout is not None and process.stderr is not None
    select.select([process.stdout, process.stderr], [], [], 2)
    time.sleep(0.3)
    assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    return Finished(status=0 if process.returncode == 130 else process.returncode, out=out, err=err)


def _expected(line: str) -> set[int]:
    return next((statuses for mark, statuses in STATUSES.items() if mark in line), {0})


def _changes(page: Page, line: str) -> bool:
    """Whether a line may leave another world than it found."""
    return "--dry-run" not in line and any(option.name == "dry_run" for option in page.options)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: " ".join(page.words))
def test_the_examples_of_every_command_run(page: Page, world: World) -> None:
    """In their order; the world is made anew after each that changed it. Groups repeat examples of their commands."""
    members = [each for each in PAGES if each.words[: len(page.words)] == page.words and each != page]
    known = {example.command for each in members for example in each.manual.examples}
    changed = True
    for example in page.manual.examples:
        if example.command in known:
            continue
        if changed:
            world.prepare()
            if page.words in OCCASIONS:
                OCCASIONS[page.words](world)
        line = world.here(example.command)
        done = run_example(world, line)
        assert done.status in _expected(line), f"$ {line}\n{done.out}{done.err}"
        changed = page.words[0] != "dev" and (page.is_group or _changes(page, line))
