"""The two sides: one real Meilisearch, and `miroir serve` over three of them, all with one master key."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx

from miroir_cli.model import Node, NodeName
from miroir_cli.topology.file import render_topology
from tests.compat.request import MASTER
from tests.conftest import clean_environment
from tests.contract.conftest import running_meilisearch

SHARDS, REPLICAS, NODES = 8, 2, 3


@contextmanager
def plain_server(folder: Path) -> Iterator[str]:
    """One Meilisearch as its makers ship it; skips the test where there is no binary."""
    folder.mkdir(parents=True, exist_ok=True)
    with running_meilisearch(folder, MASTER) as url:
        yield url


@contextmanager
def proxy_server(folder: Path) -> Iterator[str]:
    """`miroir serve` over real servers."""
    with ExitStack() as stack:
        urls = [stack.enter_context(plain_server(folder / f"node{number}")) for number in range(NODES)]
        yield stack.enter_context(serving(folder, urls))


@contextmanager
def serving(folder: Path, urls: Sequence[str]) -> Iterator[str]:
    """`miroir serve` over the nodes at these urls, as a process of its own."""
    nodes = tuple(Node(name=NodeName(f"n{number}"), url=url) for number, url in enumerate(urls, 1))
    path = folder / "miroir.toml"
    path.write_text(
        render_topology(name="compat", nodes=nodes, shards=SHARDS, replicas=REPLICAS, key_env="MIROIR_NODE_KEY")
    )
    line = [sys.executable, "-m", "miroir_cli", "-t", str(path), "serve", "--port", "0"]
    with (folder / "serve.log").open("w") as log:
        environment = clean_environment(MIROIR_NODE_KEY=MASTER)
        process = subprocess.Popen(line, stderr=log, stdin=subprocess.DEVNULL, env=environment)
    try:
        yield _ready(process, folder / "serve.log")
    finally:
        process.terminate()
        process.wait(20)


def _ready(process: subprocess.Popen[bytes], log: Path) -> str:
    end = time.monotonic() + 20
    while time.monotonic() < end and process.poll() is None:
        if found := re.search(r"http://[\d.]+:\d+", log.read_text()):
            with suppress(httpx.TransportError):
                if httpx.get(f"{found[0]}/_miroir/ready").status_code == 200:
                    return found[0]
        time.sleep(0.05)
    raise AssertionError(log.read_text())
