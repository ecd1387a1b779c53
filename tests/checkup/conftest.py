"""The command in a folder with three nodes, and the same under a limit of the system."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import engines, nodes, ready
from tests.conftest import Finished, Miroir, clean_environment

__all__ = ["engines", "nodes", "ready"]


@pytest.fixture
def miroir_limited(tmp_path: Path, home: Path) -> Miroir:
    """`miroir` in a process that may open 200 files."""

    def call(*arguments: str) -> Finished:
        done = subprocess.run(
            ["bash", "-c", 'ulimit -n 200; exec "$@"', "bash", sys.executable, "-m", "miroir_cli", *arguments],
            cwd=tmp_path,
            env=clean_environment(HOME=str(home)),
            capture_output=True,
            text=True,
            check=False,
        )
        return Finished(status=done.returncode, out=done.stdout, err=done.stderr)

    return call
