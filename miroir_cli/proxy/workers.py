"""Several processes on one socket: started, replaced when they die, stopped together."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from miroir_cli import metrics
from miroir_cli.errors import TemporaryError

if TYPE_CHECKING:
    import socket

PAUSE = 1.0
"""Seconds before a worker that died is replaced."""

SHORTEST = 5.0
MOST_EARLY_DEATHS = 5
"""So many workers in a row that lived for less than `SHORTEST` seconds: the server cannot start."""

SUPERVISOR = "MIROIR_SUPERVISOR"
"""The variable with the id of the process that started a worker."""

ORPHANED_AFTER = 0.25
"""Seconds between two looks at whether the process that started this one is still there."""

LOG = logging.getLogger("miroir.serve")


async def supervise(command: Sequence[str], listener: socket.socket, *, count: int, stop_timeout: float) -> None:
    """Keep `count` processes of `command` running, each given the listening socket as `--socket FD`, until cancelled.

    They share a folder for their metrics. Raises `TemporaryError` when workers die again and again at their start.
    """
    listener.set_inheritable(True)
    with tempfile.TemporaryDirectory(prefix="miroir-metrics-") as folder:
        environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": folder, SUPERVISOR: str(os.getpid())}
        metrics.enable(Path(folder))
        line = [*command, "--socket", str(listener.fileno())]
        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(_keep_one(line, listener.fileno(), environment, stop_timeout))


async def until_orphaned() -> None:
    """Return when the process that started this worker is gone: nobody would end it, and its address stayed taken."""
    parent = int(os.environ[SUPERVISOR])
    while True:
        if os.getppid() != parent:
            return
        await asyncio.sleep(ORPHANED_AFTER)


async def _keep_one(line: Sequence[str], socket: int, environment: dict[str, str], stop_timeout: float) -> None:
    loop = asyncio.get_running_loop()
    early = 0
    while True:
        started = loop.time()
        process = await asyncio.create_subprocess_exec(*line, pass_fds=(socket,), env=environment)
        try:
            status = await process.wait()
        except asyncio.CancelledError:
            await _end(process, stop_timeout)
            raise
        metrics.forget_process(process.pid)
        LOG.error("a worker ended", extra={"pid": process.pid, "status": status})
        early = early + 1 if loop.time() - started < SHORTEST else 0
        if early >= MOST_EARLY_DEATHS:
            raise TemporaryError(f"workers end with status {status} right after their start", hint="see the log above")
        await asyncio.sleep(PAUSE)


async def _end(process: asyncio.subprocess.Process, timeout: float) -> None:
    """Ask a worker to finish; end it when it does not."""
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(timeout + 5.0):
            await process.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
