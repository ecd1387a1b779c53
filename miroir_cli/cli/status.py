"""`miroir status`: the whole cluster at a glance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer

from miroir_cli.cli.alias import ALIAS_COLUMNS, alias_row
from miroir_cli.cli.console import Console, Next, run, with_next
from miroir_cli.cli.options import Interval, Watch
from miroir_cli.cli.runs import run_state
from miroir_cli.cli.table import Cell, Column, Styled, clock_time, print_lines
from miroir_cli.errors import MiroirError

if TYPE_CHECKING:
    from rich.text import Text

    from miroir_cli.cluster import Cluster

app = typer.Typer()

FIRST_ANSWERS: Final = 0.4
"""Seconds that nodes are given before the first picture is drawn."""

NODE_COLUMNS = (
    Column(name="node", name_like=True),
    Column(name="state", keep=True),
    Column(name="stale", right=True, keep=True),
    Column(name="documents", right=True, keep=True),
    Column(name="shards", right=True, keep=True, optional=True),
    Column(name="version", optional=True),
    Column(name="group", optional=True, varies=True),
    Column(name="zone", optional=True, varies=True),
    Column(name="url", optional=True),
)
INDEX_COLUMNS = (
    Column(name="index", name_like=True),
    Column(name="documents", right=True, keep=True),
    Column(name="stale", right=True, keep=True),
    Column(name="shards", right=True, keep=True),
    Column(name="in sync", right=True, keep=True, optional=True),
    Column(name="replicas", right=True, keep=True, optional=True),
    Column(name="primary key", optional=True),
)
RUN_COLUMNS = (
    Column(name="run", right=True, keep=True),
    Column(name="what"),
    Column(name="state", keep=True),
    Column(name="moves", right=True, keep=True),
    Column(name="documents", right=True, keep=True),
    Column(name="since", keep=True, optional=True),
    Column(name="command", optional=True),
)


@app.command()
def status(
    ctx: typer.Context,
    map: Annotated[
        bool, typer.Option("--map", "-m", help="With a grid of nodes and shards for each index: which has what.")
    ] = False,
    watch: Watch = False,
    interval: Interval = 2.0,
) -> None:
    """Show the nodes, the indexes and what is in sync.

    The whole cluster at a glance, with the runs that have not ended. Nodes that do not answer are shown as down, which
    is no error. `miroir doctor` looks closer, and says what to type. On a terminal `--watch` draws a live picture with
    the grids; elsewhere, and with `--json`, it prints one status after the other.

    Examples:
      miroir status
      miroir status --map                   # where each shard is
      miroir status --watch
      miroir status --json
    """

    async def command(console: Console) -> None:
        import asyncio

        from miroir_cli.cli.screen import can_draw

        if watch and not console.json and can_draw():
            await _draw(console, interval)
        async with console.cluster() as cluster:
            while watch:
                await _print_one(console, cluster, map)
                await asyncio.sleep(interval)
            found = await _look(cluster)
            grids = await _grids(cluster, found) if map and not console.json else []
        console.show(found, lambda: show_status(console, found, grids), next=next_of(found))

    run(ctx, command)


async def _draw(console: Console, interval: float) -> NoReturn:
    """Draw the live picture until somebody stops it; a changed topology file is read again."""
    from datetime import datetime

    from miroir_cli.cli.live import picture
    from miroir_cli.cli.screen import screen
    from miroir_cli.migration.watching import watching

    async with screen() as drawn:
        while True:
            async with console.cluster() as cluster, watching(cluster, interval=interval) as found:
                file = _moment(cluster)
                await drawn.wait(min(interval, FIRST_ANSWERS))
                while _moment(cluster) == file or not _readable(console):
                    (width, height), clock = drawn.size, f"{datetime.now():%H:%M:%S}"
                    view = await found.view()
                    drawn.draw(picture(view, width=width, height=height, clock=clock, interval=interval))
                    await drawn.wait(interval)


def _moment(cluster: Cluster) -> int:
    """When the topology file was last written; 0 while it is not there."""
    try:
        return cluster.topology.path.stat().st_mtime_ns
    except OSError:
        return 0


def _readable(console: Console) -> bool:
    """Whether the topology file is right: while somebody edits it, the old one is good."""
    try:
        console.topology()
    except MiroirError:
        return False
    return True


async def _print_one(console: Console, cluster: Cluster, map: bool) -> None:
    """One of many: a line of JSON, or the tables, with the next one below."""
    found = await _look(cluster)
    if console.json:
        console.event(with_next(found, next_of(found)))
    else:
        show_status(console, found, await _grids(cluster, found) if map else ())
        console.print()


async def _grids(cluster: Cluster, found: Mapping[str, Any]) -> list[Text]:
    """The grids of all indexes, with what `status` has found of the nodes."""
    from miroir_cli.cli.live import maps
    from miroir_cli.cli.prose import terminal_width
    from miroir_cli.migration.watching import view_of

    return maps(await view_of(cluster, found), width=terminal_width())


async def _look(cluster: Cluster) -> dict[str, Any]:
    """The document of `status`: the cluster as it is, and the runs that have not ended."""
    from miroir_cli.indexes.status import status
    from miroir_cli.migration.history import open_runs

    return {**await status(cluster), "runs": await open_runs(cluster)}


def show_status(console: Console, found: Mapping[str, Any], grids: Sequence[Text] = ()) -> None:
    """Tables and grids on standard output, what to worry about on standard error."""
    cluster = found["cluster"]
    console.print(f"cluster `{cluster['name']}`, epoch {cluster['epoch']}")
    console.print()
    console.table(NODE_COLUMNS, [_node_row(node) for node in found["nodes"]])
    console.print()
    if found["indexes"]:
        console.table(INDEX_COLUMNS, [_index_row(index) for index in found["indexes"]])
    else:
        console.print("no index yet")
    if found["aliases"]:
        console.print()
        console.table(ALIAS_COLUMNS, [alias_row(alias) for alias in found["aliases"]])
    if found["indexes"] and grids:
        console.print()
        print_lines(grids)
    if found["runs"]:
        console.print()
        console.table(RUN_COLUMNS, [_run_row(run) for run in found["runs"]])
    for warning in _warnings(found):
        console.warn(warning)


def next_of(found: Mapping[str, Any]) -> list[Next]:
    """What is natural to do about it."""
    steps = []
    if any(node["state"] == "down" for node in found["nodes"]) or (found["warnings"] and not found["indexes"]):
        steps.append(Next(command="miroir doctor", purpose="to see what is wrong and what mends it"))
    if any(not run["alive"] and run["kind"] == "rebalance" for run in found["runs"]):
        steps.append(Next(command="miroir rebalance run", purpose="to go on with the run"))
    if any(index["stale"] for index in found["indexes"]):
        steps.append(Next(command="miroir repair", purpose="to bring the stale replicas up to date"))
    if not found["indexes"] and not found["warnings"]:
        steps.append(Next(command="miroir index create UID --primary-key FIELD", purpose="to make the first index"))
    return steps


def _node_row(node: Mapping[str, Any]) -> tuple[Cell, ...]:
    up = node["state"] == "up"
    version = node["version"]
    if version is not None and node.get("engine") not in (None, "meilisearch"):
        version = f"{version} ({node['engine'].removeprefix('miroir-')})"
    return (
        node["name"],
        Styled(text=node["state"], style="green" if up else "bold red"),
        _alarming(node.get("stale", 0)),
        node["documents"],
        node["shards"],
        version,
        node["group"],
        node.get("zone"),
        node["url"],
    )


def _index_row(index: Mapping[str, Any]) -> tuple[Cell, ...]:
    return (
        index["uid"],
        index["documents"],
        _alarming(index["stale"]),
        index["shards"],
        index["in_sync"],
        index["replicas"],
        index["primary_key"],
    )


def _run_row(run: Mapping[str, Any]) -> tuple[Cell, ...]:
    return (
        str(run["run"]),
        run["title"],
        run_state(run),
        f"{run['switched']:,}/{run['moves']:,}",
        run["documents_moved"],
        clock_time(run["started_at"]),
        run["command"],
    )


def _alarming(count: int) -> Styled:
    return Styled(text=f"{count:,}", style="bold yellow" if count else "")


def _warnings(found: Mapping[str, Any]) -> list[str]:
    """What `status` reports plus what follows from its numbers, one line each."""
    lines = [node["error"] for node in found["nodes"] if node.get("error")]
    for index in found["indexes"]:
        uid = index["uid"]
        if index["stale"]:
            lines.append(f"index `{uid}`: {index['stale']} replicas missed a write and are not read from")
        if index.get("writes_in_doubt"):
            lines.append(f"index `{uid}`: {index['writes_in_doubt']} writes whose outcome is not known yet")
    for unfinished in found.get("imports", ()):
        uid = unfinished["index"]
        lines.append(f"index `{uid}`: an import has not finished; give the same command again to go on with it")
    lines += [
        f"run {run['run']} ({run['title']}) has not ended and nobody goes on with it"
        for run in found["runs"]
        if not run["alive"] and run["kind"] == "rebalance"
    ]
    return [*lines, *found.get("warnings", ())]
