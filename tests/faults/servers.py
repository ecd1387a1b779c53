"""Real Meilisearch servers for a test, each with a disk of its own, and the world that names them."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import pytest

from miroir_cli.cluster import Patience
from miroir_cli.dev.engine.ports import free_port
from miroir_cli.dev.engines import INDEXING_MEMORY
from miroir_cli.model import NodeName
from tests.faults.world import World, write_topology

BINARY = os.environ.get("MIROIR_MEILISEARCH") or shutil.which("meilisearch")

LIVE = [
    pytest.mark.live,
    pytest.mark.timeout(240),
    pytest.mark.skipif(BINARY is None, reason="no `meilisearch` on PATH and MIROIR_MEILISEARCH is not set"),
]

PATIENCE = Patience(grace=0.5, write=1.5, lookup=0.5, busy=1.0, answer=2.0, silence=2.0, lag=10.0)


@dataclass(kw_only=True)
class Server:
    """One Meilisearch process and its disk."""

    folder: Path
    port: int
    master_key: str | None = None
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.launch()
        self.wait_until_healthy()

    def launch(self) -> None:
        self.folder.mkdir(exist_ok=True)
        arguments = ["--db-path", str(self.folder / "db"), "--http-addr", f"127.0.0.1:{self.port}", "--no-analytics"]
        arguments += ["--max-indexing-memory", INDEXING_MEMORY]
        arguments += [] if self.master_key is None else ["--master-key", self.master_key]
        self.process = subprocess.Popen(
            [str(BINARY), *arguments, "--max-indexing-threads", "1"],
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def wait_until_healthy(self) -> None:
        for _ in range(400):
            try:
                with urlopen(f"{self.url}/health", timeout=1):
                    return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError(f"the server on port {self.port} did not start")

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@contextmanager
def servers_of(
    folder: Path,
    *,
    nodes: int = 2,
    spare: int = 0,
    shards: int = 2,
    replicas: int = 2,
    master_key: str | None = None,
) -> Iterator[tuple[World, list[Server]]]:
    """Real servers, and the world that names them but for the `spare` ones that come last."""
    with ExitStack() as stack:
        servers = [
            Server(folder=folder / f"server{number}", port=free_port(), master_key=master_key)
            for number in range(nodes + spare)
        ]
        for server in servers:
            stack.callback(server.kill)
            server.launch()
        for server in servers:
            server.wait_until_healthy()
        urls = {NodeName(f"n{number}"): server.url for number, server in enumerate(servers[:nodes], start=1)}
        path = write_topology(folder, urls, key=master_key, shards=shards, replicas=replicas)
        yield World(path=path, engines={}), servers
