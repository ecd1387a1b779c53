"""Ports that are free, for local nodes, and their end after a test whatever became of it."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from miroir_cli.dev.nodes import down
from miroir_cli.dev.process import port_in_use


@pytest.fixture
def first_port() -> int:
    """The first of five neighbouring ports that nothing uses, below those that systems give out by themselves."""
    candidates = random.Random(os.getpid()).sample(range(20_000, 32_000, 10), 50)
    return next(port for port in candidates if not any(port_in_use(port + more) for more in range(5)))


@pytest.fixture
def topology(tmp_path: Path) -> Iterator[Path]:
    """Where `miroir.toml` would be; the local nodes beside it are stopped in the end."""
    path = tmp_path / "miroir.toml"
    yield path
    if (tmp_path / ".miroir/dev/nodes.json").exists():
        asyncio.run(down(path))
