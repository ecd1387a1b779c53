"""`miroir dev`: local nodes for development; and `miroir demo`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from miroir_cli.cli.console import Console, run
from miroir_cli.cli.table import Cell, Column
from miroir_cli.dev.engines import EngineChoice

if TYPE_CHECKING:
    from miroir_cli.dev.nodes import NodeReport

app = typer.Typer()
dev = typer.Typer(no_args_is_help=True, help="Start and stop local nodes, without installing anything.")
app.add_typer(dev, name="dev")

EngineOption = Annotated[
    EngineChoice,
    typer.Option(help="What the nodes run; `auto` takes Meilisearch when it is installed."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
COLUMNS = (
    Column(name="node", keep=True),
    Column(name="state", keep=True),
    Column(name="url", keep=True),
    Column(name="engine", keep=True, optional=True),
    Column(name="pid", right=True, keep=True, optional=True),
    Column(name="log", keep=True, optional=True),
)
STYLES = {"started": "green", "running": "green", "stopped": "dim"}


@dev.command()
def up(
    ctx: typer.Context,
    nodes: Annotated[int, typer.Option(min=1, max=100, metavar="N", help="How many nodes shall run.")] = 3,
    port: Annotated[
        int | None, typer.Option(metavar="P", help="Port of `n1`; the others follow (otherwise 7701).")
    ] = None,
    engine: EngineOption = EngineChoice.AUTO,
    within: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="Time for the nodes to answer.")] = 60.0,
    dry_run: DryRun = False,
) -> None:
    """Start local nodes, and write a topology file when there is none. Those that run are left alone."""

    async def command(console: Console) -> None:
        from miroir_cli.dev.nodes import plan_up, up
        from miroir_cli.dev.topology import write_topology

        topology = topology_path(console)
        if dry_run:
            plan = plan_up(topology, count=nodes, choice=engine, first_port=port, environ=os.environ)
            lines = [f"would start `{node.name}` at {node.url}" for node in plan.missing]
            console.show(
                {"engine": plan.engine.kind, "start": [node.name for node in plan.missing]},
                lambda: console.print("\n".join(lines) or "all of them run"),
            )
            return
        found = await up(
            topology,
            count=nodes,
            choice=engine,
            first_port=port,
            within=within,
            environ=os.environ,
            say=console.say,
        )
        written = write_topology(topology, found)
        console.show(
            {"nodes": found, "topology": str(topology), "topology_written": written.written},
            lambda: show_nodes(console, found),
        )
        console.say(f"\n{written.said}\nnext: miroir status, and miroir dev down at the end")

    run(ctx, command)


@dev.command()
def down(ctx: typer.Context, dry_run: DryRun = False) -> None:
    """Stop the local nodes that `miroir dev up` started. Their data stays for the next time."""

    async def command(console: Console) -> None:
        from miroir_cli.dev.nodes import down, status

        topology = topology_path(console)
        if dry_run:
            found = tuple(node for node in await status(topology) if node.pid is not None)
            lines = [f"would stop `{node.name}` (pid {node.pid})" for node in found]
        else:
            found = await down(topology)
            lines = [f"{node.state} `{node.name}`" for node in found]
        console.show({"nodes": found}, lambda: console.print("\n".join(lines) or "no local node runs"))

    run(ctx, command)


@dev.command()
def status(ctx: typer.Context) -> None:
    """Show the local nodes: which run, where, and with what."""

    async def command(console: Console) -> None:
        from miroir_cli.dev.nodes import status

        found = await status(topology_path(console))
        console.show({"nodes": found}, lambda: show_nodes(console, found))
        if not found:
            console.say("no local node yet: run `miroir dev up`")

    run(ctx, command)


@dev.command()
def node(
    ctx: typer.Context,
    port: Annotated[int, typer.Option(min=1, max=65535, metavar="P", help="The port on 127.0.0.1.")],
    data: Annotated[Path, typer.Option(metavar="DIR", help="Where it keeps its data.")],
) -> None:
    """Run one embedded node in the foreground until ctrl-C."""
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
        int | None, typer.Option(metavar="P", help="Port of the first node (otherwise free ones are looked for).")
    ] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Plain lines: no colours, no bars, no typing.")] = False,
) -> None:
    """Watch miroir work: three local nodes, real data, searches, and a node that dies."""

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


def topology_path(console: Console) -> Path:
    """The topology file beside which the local nodes live; it need not be there yet."""
    return console.options.topology or Path("miroir.toml")


def show_nodes(console: Console, nodes: Iterable[NodeReport]) -> None:
    """A table of local nodes on standard output; nothing when there are none."""
    rows: list[tuple[Cell, ...]] = [
        (
            node.name,
            Text(node.state, style=STYLES.get(node.state, "bold red")),
            node.url,
            f"{node.engine} {node.version or ''}".strip(),
            str(node.pid) if node.pid else None,
            node.log,
        )
        for node in nodes
    ]
    if rows:
        console.table(COLUMNS, rows)
