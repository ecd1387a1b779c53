"""What every test may ask for: the `miroir` command, in this process or in one of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import pytest

from miroir_cli.cli.app import main
from tests.backends import state_at
from tests.certificates import make_certificate
from tests.schemas import check_output
from tests.store.redis_server import RedisServer, running_redis

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How a command ended: its exit status and what it wrote."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as the one JSON document that it has to be."""
        return json.loads(self.out)


Miroir = Callable[..., Finished]


def clean_environment(**more: str) -> dict[str, str]:
    """The environment without anything that changes what miroir prints or reads."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("MIROIR_") and name not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "CI")
    }
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", **more}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what is marked with `both_backends` once with a state file and once with Redis."""
    if metafunc.definition.get_closest_marker("both_backends"):
        metafunc.parametrize("backend", ["sqlite", "redis"], indirect=True)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis of this process, for the tests that empty it before they begin."""
    with running_redis(tmp_path_factory.mktemp("redis")) as found:
        yield found


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1; its key is beside it."""
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(autouse=True)
def backend(request: pytest.FixtureRequest) -> Iterator[None]:
    """Where the state of this test's cluster is: of one that is not marked in a file, or where MIROIR_TEST_BACKEND says
    (`redis`, to try all of them there). A test whose state should be in Redis and is in a file nevertheless fails: it
    names its backend nowhere (`state_lines`, `state_options`), or is `about_the_file`."""
    wanted = getattr(request, "param", os.environ.get("MIROIR_TEST_BACKEND", "sqlite"))
    if wanted == "sqlite" or request.node.get_closest_marker("about_the_file"):
        yield
        return
    folder: Path = request.getfixturevalue("tmp_path")
    server: RedisServer = request.getfixturevalue("redis_server")
    server.empty()
    with state_at(server.url):
        yield
    assert not list(folder.rglob(".miroir/state.db")), "the state of this test is in a file"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty home folder, so that nobody's own topology file is found."""
    path = tmp_path / "home"
    path.mkdir()
    return path


@pytest.fixture
def miroir(tmp_path: Path, home: Path) -> Miroir:
    """Runs `miroir ARGUMENTS...` in the test's own folder: `miroir("status", "--json", stdin="", env={})`.

    Inside this process, as the command would run in one of its own: no terminal, a clean environment. Not for use
    inside an event loop: `miroir_process` is. What it prints with `--json` is held to the command's schema.
    """

    def call(*arguments: str, stdin: str = "", env: Mapping[str, str] | None = None) -> Finished:
        environment = clean_environment(HOME=str(home), **(env or {}))
        done = called(arguments, folder=tmp_path, environment=environment, stdin=stdin)
        check_output(arguments, done.out, done.err, environment=env)
        return done

    return call


def called(
    arguments: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    stdin: str,
    stream: type[TextIOWrapper] = TextIOWrapper,
) -> Finished:
    """Run `miroir` inside this process, with standard streams of a kind, and with this environment alone."""
    out, err = stream(BytesIO(), encoding="utf-8"), stream(BytesIO(), encoding="utf-8")
    before, streams = dict(os.environ), sys.stdin
    os.environ.clear()
    os.environ.update(environment)
    sys.stdin = stream(BytesIO(stdin.encode()), encoding="utf-8")
    try:
        with chdir(folder), redirect_stdout(out), redirect_stderr(err):
            status = main(arguments)
    finally:
        sys.stdin = streams
        os.environ.clear()
        os.environ.update(before)
    return Finished(status=status, out=text_of(out), err=text_of(err))


@pytest.fixture
def miroir_process(tmp_path: Path, home: Path) -> Miroir:
    """The same in a process of its own."""

    def call(*arguments: str, stdin: str = "", env: Mapping[str, str] | None = None, timeout: float = 50) -> Finished:
        done = subprocess.run(
            [sys.executable, "-m", "miroir_cli", *arguments],
            cwd=tmp_path,
            env=clean_environment(HOME=str(home), **(env or {})),
            input=stdin.encode(),
            capture_output=True,
            timeout=timeout,
            check=False,
        )
        finished = Finished(status=done.returncode, out=done.stdout.decode(), err=done.stderr.decode())
        check_output(arguments, finished.out, finished.err, environment=env)
        return finished

    return call


def text_of(stream: TextIOWrapper) -> str:
    stream.flush()
    buffer = stream.buffer
    assert isinstance(buffer, BytesIO)
    return buffer.getvalue().decode()
