"""The proxy over three embedded nodes, asked without a socket in between."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from miroir_cli.dev.engine.testing import Engine, running_engine
from miroir_cli.model import Node, NodeName
from miroir_cli.proxy.app import Proxy
from miroir_cli.proxy.service import Service, open_service
from miroir_cli.topology.file import load_topology, render_topology
from tests.backends import state_url


@dataclass(kw_only=True)
class Served:
    """A proxy and a client of it."""

    service: Service
    proxy: Proxy
    client: httpx.AsyncClient


@pytest.fixture
def engines(tmp_path: Path) -> Iterator[list[Engine]]:
    """Three nodes that answer, without keys."""
    with ExitStack() as stack:
        yield [stack.enter_context(running_engine(tmp_path / f"disk{number}")) for number in (1, 2, 3)]


def write_topology(folder: Path, engines: list[Engine], *, more: str = "") -> Path:
    """A topology file of these nodes: 6 shards, 2 replicas."""
    nodes = tuple(Node(name=NodeName(f"n{number}"), url=engine.url) for number, engine in enumerate(engines, 1))
    path = folder / "miroir.toml"
    text = render_topology(
        name="test", nodes=nodes, shards=6, replicas=2, state_url=state_url() or "sqlite:.miroir/state.db"
    )
    path.write_text(text.replace("[[nodes]]", f"{more}\n[[nodes]]", 1))
    return path


@asynccontextmanager
async def serving(path: Path) -> AsyncIterator[Served]:
    """The proxy of a topology file."""
    async with open_service(load_topology(path)) as service:
        proxy = Proxy(service)
        transport = httpx.ASGITransport(app=proxy)
        async with httpx.AsyncClient(transport=transport, base_url="http://proxy") as client:
            yield Served(service=service, proxy=proxy, client=client)


@pytest.fixture
async def served(tmp_path: Path, engines: list[Engine]) -> AsyncIterator[Served]:
    """The proxy with its usual settings."""
    async with serving(write_topology(tmp_path, engines)) as found:
        yield found
