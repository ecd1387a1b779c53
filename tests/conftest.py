"""What every test may ask for: the `miroir` command, in this process or in one of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import pytest

from miroir_cli.cli.app import main

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
    inside an event loop: `miroir_process` is.
    """

    def call(*arguments: str, stdin: str = "", env: Mapping[str, str] | None = None) -> Finished:
        out, err = TextIOWrapper(BytesIO(), encoding="utf-8"), TextIOWrapper(BytesIO(), encoding="utf-8")
        before = dict(os.environ)
        os.environ.clear()
        os.environ.update(clean_environment(HOME=str(home), **(env or {})))
        streams = sys.stdin
        sys.stdin = TextIOWrapper(BytesIO(stdin.encode()), encoding="utf-8")
        try:
            with chdir(tmp_path), redirect_stdout(out), redirect_stderr(err):
                status = main(arguments)
        finally:
            sys.stdin = streams
            os.environ.clear()
            os.environ.update(before)
        return Finished(status=status, out=_text(out), err=_text(err))

    return call


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
        return Finished(status=done.returncode, out=done.stdout.decode(), err=done.stderr.decode())

    return call


def _text(stream: TextIOWrapper) -> str:
    stream.flush()
    buffer = stream.buffer
    assert isinstance(buffer, BytesIO)
    return buffer.getvalue().decode()
