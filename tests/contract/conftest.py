"""The servers under contract: the embedded node, and a real Meilisearch where there is one."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from miroir_cli.dev.engine.ports import free_port
from miroir_cli.dev.engine.testing import running_engine
from miroir_cli.dev.engines import INDEXING_MEMORY
from tests.contract.server import ANEW, Server


def real_binary() -> str | None:
    """The Meilisearch binary to hold to the contract, if any."""
    return os.environ.get("MIROIR_MEILISEARCH") or shutil.which("meilisearch")


@contextmanager
def running_meilisearch(directory: Path, master_key: str | None = None) -> Iterator[str]:
    """Run a real server for the length of the block; skips the test where there is no binary."""
    binary = real_binary()
    if binary is None:
        pytest.skip("no Meilisearch: put `meilisearch` on PATH or name it by MIROIR_MEILISEARCH")
    port = free_port()
    command = [
        binary,
        "--no-analytics",
        "--max-indexing-memory",
        INDEXING_MEMORY,
        "--env",
        "development",
        "--http-addr",
        f"127.0.0.1:{port}",
    ]
    command += ["--db-path", str(directory / "data"), "--dump-dir", str(directory / "dumps")]
    command += ["--master-key", master_key] if master_key else []
    process = subprocess.Popen(command, cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(400):
            try:
                if httpx.get(f"{url}/health").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait()


@contextmanager
def running_server(kind: str, directory: Path, master_key: str | None = None) -> Iterator[Server]:
    """Run a server of a kind and connect to it."""
    headers = {"Authorization": f"Bearer {master_key}"} if master_key else {}
    if kind == "embedded":
        with (
            running_engine(directory, master_key=master_key) as engine,
            httpx.Client(base_url=engine.url, headers=headers, timeout=30) as client,
        ):
            yield Server(client=client, embedded=True)
    else:
        with (
            running_meilisearch(directory, master_key) as url,
            httpx.Client(base_url=url, headers=headers, timeout=30, limits=ANEW) as client,
        ):
            yield Server(client=client, embedded=False)


KINDS = ["embedded", pytest.param("meilisearch", marks=pytest.mark.live)]


@pytest.fixture(scope="session", params=KINDS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server without keys."""
    with running_server(request.param, tmp_path_factory.mktemp("server")) as found:
        yield found


@pytest.fixture(scope="session", params=KINDS)
def locked_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a master key, and a client that has it."""
    with running_server(request.param, tmp_path_factory.mktemp("locked"), "a-master-key-of-tests") as found:
        yield found
