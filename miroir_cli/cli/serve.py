"""`miroir serve`: the cluster as one Meilisearch."""

from __future__ import annotations

import gc
import os
import socket
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from miroir_cli.cli.console import Console, run

if TYPE_CHECKING:
    from miroir_cli.topology.file import Topology

app = typer.Typer()


@app.command()
def serve(
    ctx: typer.Context,
    host: Annotated[
        str | None, typer.Option("--host", metavar="ADDRESS", help="Address to listen on (127.0.0.1).")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option("--port", "-p", min=0, max=65535, metavar="PORT", help="Port, 0 for a free one (7700)."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, max=64, metavar="N", help="Processes side by side (1).")
    ] = None,
    inherited: Annotated[int | None, typer.Option("--socket", hidden=True, help="Descriptor of a socket.")] = None,
) -> None:
    """Answer Meilisearch's API for the whole cluster until stopped.

    Applications change their URL and nothing else. Options go before `[serve]` of the topology file; ctrl-C or SIGTERM
    finishes the requests that have begun. The log is JSON on standard error, metrics are at `/_miroir/metrics`.

    Examples:
      miroir serve
      miroir serve --host 0.0.0.0 --port 7700 --workers 4
    """

    async def command(console: Console) -> None:
        import asyncio
        from contextlib import suppress
        from dataclasses import replace

        topology = console.topology()
        settings = topology.serve
        settings = replace(
            settings,
            host=host if host is not None else settings.host,
            port=port if port is not None else settings.port,
            workers=workers if workers is not None else settings.workers,
        )
        topology = replace(topology, serve=settings)
        with suppress(asyncio.CancelledError):  # told to stop, and has finished what had begun
            if inherited is not None:
                await _work_for_another(console, topology, socket.socket(fileno=inherited))
            else:
                await _start(console, topology)

    run(ctx, command)


async def _start(console: Console, topology: Topology) -> None:
    from miroir_cli.proxy.log import json_log
    from miroir_cli.proxy.server import listen
    from miroir_cli.proxy.workers import supervise

    settings = topology.serve
    with listen(settings.host, settings.port) as listener:
        address = "{}:{}".format(*listener.getsockname()[:2])
        many = f", {settings.workers} workers" if settings.workers > 1 else ""
        what = f"{len(topology.nodes)} nodes{many}"
        line = f"cluster `{topology.cluster.name}` at http://{address} ({what}), ctrl-C stops"
        if settings.workers == 1:
            await _work(console, topology, listener, ready=line)
            return
        console.say(line)
        worker = [sys.executable, "-m", "miroir_cli", "--topology", str(topology.path), "serve"]
        with json_log():
            await supervise(worker, listener, count=settings.workers, stop_timeout=settings.stop_timeout)


async def _work_for_another(console: Console, topology: Topology, listener: socket.socket) -> None:
    """Answer until told to stop, or until the process that started this one is gone."""
    import asyncio

    from miroir_cli.proxy.workers import until_orphaned

    working = asyncio.create_task(_work(console, topology, listener))
    orphaned = asyncio.create_task(until_orphaned())
    try:
        await asyncio.wait((working, orphaned), return_when=asyncio.FIRST_COMPLETED)
    finally:
        orphaned.cancel()
        working.cancel()
        await working


async def _work(console: Console, topology: Topology, listener: socket.socket, *, ready: str | None = None) -> None:
    """Answer until told to stop; `ready` is said once the state and the keys are there."""
    from pathlib import Path

    from miroir_cli import metrics
    from miroir_cli.proxy.background import start
    from miroir_cli.proxy.log import json_log
    from miroir_cli.proxy.server import serve as serve_on
    from miroir_cli.proxy.service import open_service

    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    metrics.enable(Path(folder) if folder else None)
    with json_log():
        async with open_service(topology, command=console.command) as service:
            if ready is not None:
                console.say(ready)
            start(service)
            _collect_garbage_less_often()
            await serve_on(service, listener)


def _collect_garbage_less_often() -> None:
    """A search makes about a thousand objects and no circles of them, and everything loaded so far stays: looking
    through all that takes a few percent of the time of searches."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
