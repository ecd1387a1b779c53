"""`miroir dev`: local nodes for development; and `miroir demo`."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from miroir_cli.cli.console import Console, Next, run
from miroir_cli.cli.options import DryRun
from miroir_cli.cli.table import Cell, Column
from miroir_cli.dev.engines import EngineChoice, StateChoice

if TYPE_CHECKING:
    from miroir_cli.dev.nodes import NodeReport
    from miroir_cli.dev.services import ServiceReport

GROUP = """
Start and stop local nodes, without installing anything.

For trying things out: real Meilisearch servers when `meilisearch` is installed, a small embedded node otherwise; and
beside them proxies, and a Redis for the state. They live in `.miroir` beside the topology file and listen on 127.0.0.1
only.

Examples:
  miroir dev up
  miroir dev status
  miroir dev down
"""

app = typer.Typer()
dev = typer.Typer(no_args_is_help=True, help=GROUP)
app.add_typer(dev, name="dev")

EngineOption = Annotated[
    EngineChoice,
    typer.Option(help="What the nodes run; `auto` takes Meilisearch when it is installed."),
]
COLUMNS = (
    Column(name="node", keep=True),
    Column(name="state", keep=True),
    Column(name="url", keep=True),
    Column(name="engine", keep=True, optional=True),
    Column(name="pid", right=True, keep=True, optional=True),
    Column(name="log", optional=True),
)
STYLES = {"started": "green", "running": "green", "stopped": "dim"}


@dev.command()
def up(
    ctx: typer.Context,
    nodes: Annotated[int, typer.Option(min=1, max=100, metavar="N", help="How many nodes shall run.")] = 3,
    port: Annotated[
        int | None,
        typer.Option("--port", "-p", metavar="PORT", help="Port of the first node; the others follow (7701)."),
    ] = None,
    engine: EngineOption = EngineChoice.AUTO,
    proxies: Annotated[
        int | None,
        typer.Option(min=0, max=16, metavar="N", help="How many `miroir serve` shall run beside (as the last time)."),
    ] = None,
    state: Annotated[
        StateChoice | None,
        typer.Option(help="Where the state is: a file, or a local Redis that is started first (as the last time)."),
    ] = None,
    proxy_port: Annotated[
        int | None,
        typer.Option(
            min=2, max=65000, metavar="PORT", help="Port of the first proxy; Redis has the one before (7601)."
        ),
    ] = None,
    within: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="Time for each to answer.")] = 60.0,
    dry_run: DryRun = False,
) -> None:
    """Start local nodes, and write a topology file if there is none.

    What runs is left alone; what was stopped starts with the data that it had. `miroir dev down` stops all of it.
    `--proxies 2 --state redis` is what several hosts do, on this one: it needs `redis-server` or `valkey-server` on the
    PATH, and a folder without a topology file that keeps its state elsewhere.

    Examples:
      miroir dev up
      miroir dev up --nodes 5 --port 7801 --engine embedded
      miroir dev up --dry-run
    """

    async def command(console: Console) -> None:
        from miroir_cli.dev.nodes import plan_up, up
        from miroir_cli.dev.services import ServiceKind, plan_services, services, state_url, up_services
        from miroir_cli.dev.topology import write_topology

        topology = topology_path(console)
        beside = plan_services(topology, state=state, proxies=proxies, first_port=proxy_port)
        if dry_run:
            plan = plan_up(topology, count=nodes, choice=engine, first_port=port, environ=os.environ)
            missing = {**{each.name: each.url for each in plan.missing}, **{each.name: each.url for each in beside}}
            lines = [f"would start `{name}` at {url}" for name, url in missing.items()]
            console.show(
                {"engine": plan.engine.kind, "start": list(missing)},
                lambda: console.print("\n".join(lines) or "all of them run"),
            )
            return

        async def start(kind: ServiceKind) -> list[ServiceReport]:
            wanted = [each for each in beside if each.kind is kind]
            return [*await up_services(topology, wanted, within=within, environ=os.environ)] if wanted else []

        fresh = await start(ServiceKind.REDIS)
        found = await up(
            topology,
            count=nodes,
            choice=engine,
            first_port=port,
            within=within,
            environ=os.environ,
            say=console.say,
        )
        written = write_topology(topology, found, state_url=state_url(topology))
        fresh += await start(ServiceKind.PROXY)
        told = {each.name: each for each in (*services(topology), *fresh)}
        console.show(
            {
                "nodes": found,
                "services": list(told.values()),
                "topology": str(topology),
                "topology_written": written.written,
            },
            lambda: show_nodes(console, found, told.values()),
            next=[
                Next(command=_beside(console, "status"), purpose="to see the cluster"),
                Next(command=_beside(console, "dev down"), purpose="to stop the nodes in the end"),
            ],
        )
        console.say(f"\n{written.said}")

    run(ctx, command)


@dev.command()
def down(ctx: typer.Context, dry_run: DryRun = False) -> None:
    """Stop the local nodes that `miroir dev up` started.

    And what it started beside them: proxies first, Redis last. Their data stays for the next time.

    Examples:
      miroir dev down --dry-run
      miroir dev down
    """

    async def command(console: Console) -> None:
        from miroir_cli.dev.nodes import down, status
        from miroir_cli.dev.services import ServiceKind, down_services, services

        topology = topology_path(console)
        if dry_run:
            found = tuple(node for node in await status(topology) if node.pid is not None)
            beside = tuple(each for each in services(topology) if each.pid is not None)
            running = [*((each.name, each.pid) for each in found), *((each.name, each.pid) for each in beside)]
            lines = [f"would stop `{name}` (pid {pid})" for name, pid in running]
        else:
            proxies = await down_services(topology, ServiceKind.PROXY)
            found = await down(topology)
            beside = (*proxies, *await down_services(topology, ServiceKind.REDIS))
            stopped = [*((each.name, each.state) for each in found), *((each.name, each.state) for each in beside)]
            lines = [f"{how} `{name}`" for name, how in stopped]
        document = {"nodes": found, "services": beside}
        console.show(document, lambda: console.print("\n".join(lines) or "no local node runs"))

    run(ctx, command)


@dev.command()
def status(ctx: typer.Context) -> None:
    """Show the local nodes: which run, where, and with what.

    With the process and the log file of each; the cluster itself is what `miroir status` shows.

    Examples:
      miroir dev status
    """

    async def command(console: Console) -> None:
        from miroir_cli.dev.nodes import status
        from miroir_cli.dev.services import services

        topology = topology_path(console)
        found, beside = await status(topology), services(topology)
        start = Next(command="miroir dev up", purpose="to start some")
        document = {"nodes": found, "services": beside}
        console.show(document, lambda: show_nodes(console, found, beside), next=() if found else [start])

    run(ctx, command)


@dev.command()
def node(
    ctx: typer.Context,
    port: Annotated[int, typer.Option("--port", "-p", min=1, max=65535, metavar="PORT", help="The port on 127.0.0.1.")],
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Where it keeps its data.")],
) -> None:
    """Run one embedded node in the foreground until ctrl-C.

    It speaks Meilisearch's API and keeps its data on disk; for development only.

    Examples:
      miroir dev node --port 7801 --data node1
    """
    from miroir_cli.dev.engine.__main__ import serve
    from miroir_cli.dev.nodes import check_ports
    from miroir_cli.dev.process import LOOPBACK

    check_ports([port])
    console: Console = ctx.obj
    console.say(f"embedded node at http://{LOOPBACK}:{port}, for development only; ctrl-C ends it")
    with suppress(KeyboardInterrupt):
        serve(LOOPBACK, port, data)


@app.command()
def demo(
    ctx: typer.Context,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the nodes running and their directory there.")] = False,
    engine: EngineOption = EngineChoice.AUTO,
    port: Annotated[
        int | None,
        typer.Option("--port", "-p", metavar="PORT", help="Port of the first node; the others follow (free ones)."),
    ] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Plain lines: no colours, no bars, no typing.")] = False,
) -> None:
    """Watch miroir work: real data on three nodes, and one that dies.

    A tour of under a minute in a folder of its own, which is gone at the end: an index, an import, searches, a node
    that is killed and comes back, a fourth one, and one that leaves. Every line that it types can be typed by you.

    Examples:
      miroir demo
      miroir demo --plain --engine embedded      # as in a log
    """

    async def command(console: Console) -> None:
        from miroir_cli.dev.demo import demo

        console.show(
            await demo(
                choice=engine,
                first_port=port,
                keep=keep,
                plain=plain,
                quiet=console.json,
                environ=os.environ,
            ),
            lambda: None,
        )

    run(ctx, command)


def _beside(console: Console, command: str) -> str:
    """A command on the same nodes: without their topology file it would be about those of this folder."""
    named = console.options.topology
    return f"miroir {command}" if named is None else f"miroir -t {shlex.quote(str(named))} {command}"


def topology_path(console: Console) -> Path:
    """The topology file beside which the local nodes live; it need not be there yet."""
    return console.options.topology or Path("miroir.toml")


def show_nodes(console: Console, nodes: Iterable[NodeReport], services: Iterable[ServiceReport] = ()) -> None:
    """A table of local nodes, and what runs beside them, on standard output; a line when there are none."""
    rows: list[tuple[Cell, ...]] = [
        (
            node.name,
            _state(node.state),
            node.url,
            f"{node.engine} {node.version or ''}".strip(),
            str(node.pid) if node.pid else None,
            node.log,
        )
        for node in nodes
    ]
    rows += [
        (each.name, _state(each.state), each.url, each.kind, str(each.pid) if each.pid else None, each.log)
        for each in services
    ]
    if rows:
        console.table(COLUMNS, rows)
    else:
        console.print("no local node yet")


def _state(state: str) -> Text:
    return Text(state, style=STYLES.get(state, "bold red"))
