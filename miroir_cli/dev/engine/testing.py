"""An embedded node over real HTTP inside a test's own process."""

from __future__ import annotations

import asyncio
import shutil
import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn

from .app import create_app
from .faults import Faults
from .ports import free_port
from .serving import configured

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .node import Node


class Engine:
    """A node that can be stopped, started again on the same port and data, and wiped."""

    def __init__(self, directory: Path, *, master_key: str | None = None, port: int | None = None) -> None:
        self.directory = directory
        self.master_key = master_key
        self.faults = Faults()
        self.port = port or free_port()
        self._server: uvicorn.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def node(self) -> Node:
        """The running node itself: `wipe`, `cancel` and `keys.delete` are faults too."""
        node: Node = self.app.state.node
        return node

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start answering; returns when the port is open."""
        if self._thread is not None:
            return
        app = self.app = create_app(self.directory, master_key=self.master_key, faults=self.faults)
        server = self._server = uvicorn.Server(configured(app, "127.0.0.1", self.port))
        listener = _listen(self.port)

        async def serve() -> None:
            self._loop = asyncio.get_running_loop()
            await server.serve(sockets=[listener])

        self._thread = threading.Thread(target=lambda: asyncio.run(serve()), name="engine", daemon=True)
        self._thread.start()
        while not server.started:
            if not self._thread.is_alive():
                raise RuntimeError("the embedded node did not start")
            time.sleep(0.002)

    def stop(self) -> None:
        """Stop at once: open connections are cut, what is enqueued stays on disk."""
        server, thread, loop = self._server, self._thread, self._loop
        if thread is None or server is None or loop is None:
            return

        def cut() -> None:
            server.should_exit = True
            for connection in list(server.server_state.connections):
                if (transport := getattr(connection, "transport", None)) is not None:
                    transport.abort()
            for task in list(server.server_state.tasks):
                task.cancel()

        loop.call_soon_threadsafe(cut)
        thread.join()
        self._thread = self._server = self._loop = None

    def wipe(self) -> None:
        """Come back with an empty disk, on the same port."""
        running = self._thread is not None
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)
        if running:
            self.start()


def _listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio: no delay
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(256)
    return listener


@contextmanager
def running_engine(directory: Path, *, master_key: str | None = None, port: int | None = None) -> Iterator[Engine]:
    """Serve a node from a background thread for the length of the block."""
    engine = Engine(directory, master_key=master_key, port=port)
    engine.start()
    try:
        yield engine
    finally:
        engine.stop()
