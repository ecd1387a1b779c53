"""`miroir status`: the whole cluster at a glance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from miroir_cli.cli.console import Console, run
from miroir_cli.cli.runs import run_state
from miroir_cli.cli.table import Cell, Column, Styled, clock_time

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster

app = typer.Typer()

NODE_COLUMNS = (
    Column(name="node"),
    Column(name="state", keep=True),
    Column(name="version", optional=True),
    Column(name="shards", right=True, keep=True),
    Column(name="stale", right=True, keep=True),
    Column(name="documents", right=True, keep=True),
    Column(name="group", optional=True),
    Column(name="zone", optional=True),
    Column(name="url", optional=True),
)
INDEX_COLUMNS = (
    Column(name="index"),
    Column(name="documents", right=True, keep=True),
    Column(name="shards", right=True, keep=True),
    Column(name="replicas", right=True, keep=True),
    Column(name="in sync", right=True, keep=True),
    Column(name="stale", right=True, keep=True),
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
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it again and again until ctrl-C.")] = False,
    interval: Annotated[float, typer.Option(min=0.2, metavar="SECONDS", help="Pause between two looks.")] = 2.0,
) -> None:
    """Show the nodes, the indexes and how many of their replicas are in sync."""

    async def command(console: Console) -> None:
        import asyncio

        async with console.cluster() as cluster:
            while watch:
                found = await _look(cluster)
                if console.json:
                    console.event(found)
                else:
                    console.clear()
                    show_status(console, found)
                await asyncio.sleep(interval)
            found = await _look(cluster)
        console.show(found, lambda: show_status(console, found))

    run(ctx, command)


async def _look(cluster: Cluster) -> dict[str, Any]:
    """The document of `status`: the cluster as it is, and the runs that have not ended."""
    from miroir_cli.indexes.status import status
    from miroir_cli.migration.history import open_runs

    return {**await status(cluster), "runs": await open_runs(cluster)}


def show_status(console: Console, found: Mapping[str, Any]) -> None:
    """Tables on standard output, what to worry about on standard error."""
    cluster = found["cluster"]
    console.print(f"cluster `{cluster['name']}`, epoch {cluster['epoch']}")
    console.print()
    console.table(NODE_COLUMNS, [_node_row(node) for node in found["nodes"]])
    console.print()
    if found["indexes"]:
        console.table(INDEX_COLUMNS, [_index_row(index) for index in found["indexes"]])
    else:
        console.print("no index yet: run `miroir index create UID --primary-key FIELD`")
    if found["runs"]:
        console.print()
        console.table(RUN_COLUMNS, [_run_row(run) for run in found["runs"]])
    for warning in _warnings(found):
        console.warn(warning)


def _node_row(node: Mapping[str, Any]) -> tuple[Cell, ...]:
    up = node["state"] == "up"
    version = node["version"]
    if version is not None and node.get("engine") not in (None, "meilisearch"):
        version = f"{version} ({node['engine'].removeprefix('miroir-')})"
    return (
        node["name"],
        Styled(text=node["state"], style="green" if up else "bold red"),
        version,
        node["shards"],
        _alarming(node.get("stale", 0)),
        node["documents"],
        node["group"],
        node.get("zone"),
        node["url"],
    )


def _index_row(index: Mapping[str, Any]) -> tuple[Cell, ...]:
    return (
        index["uid"],
        index["documents"],
        index["shards"],
        index["replicas"],
        index["in_sync"],
        _alarming(index["stale"]),
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
        f"run {run['run']} ({run['title']}) has not ended and nobody goes on with it: run `miroir rebalance run`"
        for run in found["runs"]
        if not run["alive"] and run["kind"] == "rebalance"
    ]
    return [*lines, *found.get("warnings", ())]
