"""Three embedded nodes and a topology file in the folder where the test's `miroir` runs."""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from io import TextIOWrapper
from pathlib import Path

import pytest
from redis import Redis

from miroir_cli.dev.engine.testing import Engine, running_engine
from miroir_cli.store.redis.signature import sign
from miroir_cli.topology.document import TopologyDocument
from tests.backends import state_options, state_url
from tests.conftest import Finished, Miroir, called, clean_environment


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """`-v` turns logging on for the process; here many commands share one."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    root.handlers[:] = handlers


@pytest.fixture
def engines(tmp_path: Path) -> Iterator[list[Engine]]:
    """Three nodes that answer, without keys."""
    with ExitStack() as stack:
        yield [stack.enter_context(running_engine(tmp_path / f"disk{number}")) for number in (1, 2, 3)]


@pytest.fixture
def nodes(engines: list[Engine]) -> list[str]:
    """The nodes as `miroir init` takes them."""
    return [word for number, engine in enumerate(engines, 1) for word in ("--node", f"n{number}={engine.url}")]


@pytest.fixture
def ready(miroir: Miroir, nodes: list[str]) -> Miroir:
    """`miroir` in a folder with the topology file of the three nodes; 6 shards, 2 replicas."""
    words = ("--name", "test", "--shards", "6", "--replicas", "2", *state_options())
    assert miroir("init", *nodes, *words).status == 0
    return miroir


@pytest.fixture
def spare(tmp_path: Path) -> Iterator[Engine]:
    """A fourth node, which no file names."""
    with running_engine(tmp_path / "disk4") as engine:
        yield engine


@pytest.fixture
def stocked(ready: Miroir, tmp_path: Path) -> Miroir:
    """`miroir` with an index `books` of 60 documents."""
    assert ready("index", "create", "books", "-k", "id").status == 0
    lines = "".join(f'{{"id": {number}, "title": "Book {number}"}}\n' for number in range(60))
    (tmp_path / "books.ndjson").write_text(lines)
    assert ready("import", "books", "books.ndjson").status == 0
    return ready


def edit(folder: Path, old: str, new: str) -> None:
    """Change the topology file by hand."""
    path = folder / "miroir.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def take_out(folder: Path, name: str) -> None:
    """Take a node out of the topology file by hand."""
    document = TopologyDocument.load(folder / "miroir.toml")
    document.remove_node(name)
    document.save()


@contextmanager
def somebody_runs(folder: Path) -> Iterator[None]:
    """Hold the lock of runs as another process would."""
    url = state_url()
    if url is not None:
        with Redis.from_url(url, socket_timeout=30) as client:
            client.set("miroir:lease:run", f"1:{sign('miroir node add n9')}", px=600_000)
            yield
            client.delete("miroir:lease:run")
        return
    path = folder / ".miroir" / "locks" / "run"
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(json.dumps({"pid": os.getppid(), "command": "miroir node add n9", "since": 0.0}))
        file.flush()
        yield


class Keyboard(TextIOWrapper):
    """A stream that passes for a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(tmp_path: Path, home: Path) -> Miroir:
    """`miroir` as at a terminal of 80 columns, where `stdin` is what somebody types."""

    def call(*arguments: str, stdin: str = "", env: Mapping[str, str] | None = None) -> Finished:
        environment = clean_environment(HOME=str(home), TERM="dumb", COLUMNS="80", **(env or {}))
        return called(arguments, folder=tmp_path, environment=environment, stdin=stdin, stream=Keyboard)

    return call
