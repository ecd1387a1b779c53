"""Three embedded nodes and a topology file in the folder where the test's `miroir` runs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from miroir_cli.dev.engine.testing import Engine, running_engine
from tests.conftest import Miroir


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
    assert miroir("init", *nodes, "--name", "test", "--shards", "6", "--replicas", "2").status == 0
    return miroir
