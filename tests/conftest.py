"""What every test may ask for: the `miroir` command in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

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
def miroir(tmp_path: Path) -> Miroir:
    """Runs `miroir ARGUMENTS...` in the test's own folder: `miroir("status", "--json", stdin="", env={})`."""
    home = tmp_path / "home"
    home.mkdir()

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
