"""`miroir serve` as a process: what a connection may do, how it stops, workers that die."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from miroir_cli.dev.engine.testing import Engine
from tests.proxy.conftest import write_topology


class Process:
    """A `miroir serve` that answers."""

    def __init__(self, folder: Path, *options: str) -> None:
        line = [sys.executable, "-m", "miroir_cli", "-t", str(folder / "miroir.toml"), "serve", "--port", "0", *options]
        self.process = subprocess.Popen(line, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        self.lines: list[str] = []
        assert self.process.stderr is not None
        first = self.process.stderr.readline()
        found = re.search(r"http://([\d.]+):(\d+)", first)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not found:
            self.kill()
            raise AssertionError([first, *self.lines])
        self.host, self.port = found[1], int(found[2])
        self.url = f"http://{self.host}:{self.port}"
        self.wait_until_ready()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{self.url}/_miroir/ready").status_code == 200:
                    return
            time.sleep(0.05)
        self.kill()
        raise AssertionError(self.lines)

    def connect(self) -> socket.socket:
        """A connection of which nothing was sent yet."""
        return socket.create_connection((self.host, self.port), timeout=10)

    def kill(self) -> None:
        """End it as a crash does."""
        self.process.kill()
        self.process.wait()
        self._reader.join(timeout=5)
        assert self.process.stderr is not None
        self.process.stderr.close()

    def stop(self) -> int:
        """End it as systemd does."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=20)
        self._reader.join(timeout=5)
        return status


@contextlib.contextmanager
def process(folder: Path, engines: list[Engine], *options: str, more: str = "") -> Iterator[Process]:
    write_topology(folder, engines, more=more)
    running = Process(folder, *options)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.stop()
        assert running.process.stderr is not None
        running.process.stderr.close()


def closed_after(connection: socket.socket) -> bytes:
    """What comes until the other side closes."""
    received = b""
    while chunk := connection.recv(65536):
        received += chunk
    return received


def test_it_stops_when_told_and_says_so(tmp_path: Path, engines: list[Engine]) -> None:
    with process(tmp_path, engines) as running:
        assert httpx.get(f"{running.url}/health").json() == {"status": "available"}
        assert running.stop() == 0
        assert any('"event":"stopping"' in line for line in running.lines)
        assert any('"route":"/health"' in line and '"status":200' in line for line in running.lines)


def test_a_head_that_never_ends_is_given_up(tmp_path: Path, engines: list[Engine]) -> None:
    more = "[serve]\nheader_timeout = 0.5\nbody_timeout = 0.5\nidle_timeout = 2\n"
    with process(tmp_path, engines, more=more) as running:
        silent, slow, half = running.connect(), running.connect(), running.connect()
        slow.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        half.sendall(
            b"POST /multi-search HTTP/1.1\r\nHost: x\r\ncontent-length: 100\r\ncontent-type: application/json\r\n\r\n{"
        )
        with silent, slow, half:
            assert closed_after(silent) == b"", "nothing was asked, and nothing is answered"
            assert closed_after(slow).startswith(b"HTTP/1.1 408")
            answered = half.recv(65536)
            assert answered.startswith(b"HTTP/1.1 408")
        assert httpx.get(f"{running.url}/health").status_code == 200


def test_a_huge_head_is_refused_and_a_huge_body_is_not_read(tmp_path: Path, engines: list[Engine]) -> None:
    with process(tmp_path, engines, more="[serve]\nbody_limit_mb = 1\n") as running:
        with running.connect() as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n")
            with contextlib.suppress(OSError):
                for _ in range(200):
                    connection.sendall(b"X-Much: " + b"a" * 1000 + b"\r\n")
            with contextlib.suppress(OSError):
                assert b"200 OK" not in closed_after(connection)
        answer = httpx.post(f"{running.url}/multi-search", content=b" " * 2_000_000)
        assert answer.status_code == 413
        assert httpx.get(f"{running.url}/health").status_code == 200


def test_a_huge_head_is_called_one(tmp_path: Path, engines: list[Engine]) -> None:
    with process(tmp_path, engines) as running, running.connect() as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nX-Much: " + b"a" * 65_000)
        time.sleep(0.2)
        connection.sendall(b"a" * 2_000)
        assert closed_after(connection).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("endless", [b"2;x=", b"0\r\nx: "], ids=["extension", "trailer"])
def test_what_stands_around_a_body_has_an_end_too(tmp_path: Path, engines: list[Engine], endless: bytes) -> None:
    head = b"POST /multi-search HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with process(tmp_path, engines) as running, running.connect() as connection:
        connection.sendall(head + endless)
        with pytest.raises(OSError):
            for _ in range(200):
                connection.sendall(b"a" * 100_000)
        assert httpx.get(f"{running.url}/health").status_code == 200


def test_many_idle_connections_keep_nobody_out(tmp_path: Path, engines: list[Engine]) -> None:
    with process(tmp_path, engines) as running:
        idle = [running.connect() for _ in range(300)]
        try:
            assert httpx.get(f"{running.url}/health").status_code == 200
        finally:
            for connection in idle:
                connection.close()


def test_nonsense_is_refused(tmp_path: Path, engines: list[Engine]) -> None:
    with process(tmp_path, engines) as running, running.connect() as connection:
        connection.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert closed_after(connection).startswith(b"HTTP/1.1 400")


def test_a_port_that_is_taken_is_named(tmp_path: Path, engines: list[Engine]) -> None:
    write_topology(tmp_path, engines)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        line = [sys.executable, "-m", "miroir_cli", "-t", str(tmp_path / "miroir.toml"), "serve", "--port", port]
        done = subprocess.run(line, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=30)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: cannot listen on 127.0.0.1:{port}: address already in use")
    assert "--port" in done.stderr


@pytest.mark.parametrize("table", ["serve", "serve.admin"])
def test_a_key_that_is_not_there_is_told_at_the_start(tmp_path: Path, engines: list[Engine], table: str) -> None:
    write_topology(tmp_path, engines, more=f'[{table}]\nkey_file = "nowhere.key"\n')
    line = [sys.executable, "-m", "miroir_cli", "-t", str(tmp_path / "miroir.toml"), "serve", "--port", "0"]
    done = subprocess.run(line, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=30)
    assert done.returncode == 12
    assert "nowhere.key` cannot be read" in " ".join(done.stderr.split())


def test_a_worker_that_dies_is_replaced(tmp_path: Path, engines: list[Engine]) -> None:
    with process(tmp_path, engines, "--workers", "2") as running:
        children = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children")
        if not children.exists():
            pytest.skip("this system does not show a process's children under /proc")
        before = {int(pid) for pid in children.read_text().split()}
        assert len(before) == 2
        os.kill(min(before), signal.SIGKILL)
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            now = {int(pid) for pid in children.read_text().split()}
            if len(now) == 2 and now != before:
                break
            time.sleep(0.1)
        assert len(now) == 2 and min(before) not in now
        assert httpx.get(f"{running.url}/health").status_code == 200
        assert running.stop() == 0


def test_workers_do_not_outlive_who_started_them(tmp_path: Path, engines: list[Engine]) -> None:
    with process(tmp_path, engines, "--workers", "2") as running:
        running.process.kill()
        running.process.wait()
        deadline = time.monotonic() + 20
        refused = False
        while not refused and time.monotonic() < deadline:
            try:
                running.connect().close()
            except ConnectionRefusedError:
                refused = True
            time.sleep(0.1)
        assert refused, "the address is still taken"
