"""What people see before a command changes something: the cluster as it is, what would change, one question."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from miroir_cli.cli.table import Column, Styled, counted

if TYPE_CHECKING:
    from miroir_cli.cli.console import Console
    from miroir_cli.cluster import Cluster

COLUMNS = (
    Column(name="node", name_like=True),
    Column(name="state", keep=True),
    Column(name="shards", right=True, keep=True),
    Column(name="stale", right=True, keep=True),
    Column(name="documents", right=True, keep=True, optional=True),
    Column(name="group", optional=True, varies=True),
    Column(name="zone", optional=True, varies=True),
)


async def agree(
    console: Console,
    cluster: Cluster,
    question: str,
    *,
    plan: Callable[[], object],
    yes: bool,
    name: str | None = None,
    always: bool = True,
    plan_unasked: bool = False,
) -> None:
    """Show the cluster and the plan and ask, once; return when it was agreed to.

    `plan` prints what would change. With `name`, that has to be typed. Off a terminal `--yes` is needed, unless the
    command does not `always` ask; the plan is printed there, and with `--yes`, only with `plan_unasked`. Raises
    `UsageError` when there is nobody to ask, `Interrupted` when the answer is no.
    """
    asking = console.asks(yes=yes)
    if asking:
        await show_cluster(console, cluster)
    if asking or plan_unasked:
        with console.aside() if asking else nullcontext():
            plan()
    if name is not None:
        console.confirm_name(question, name, yes=yes)
    else:
        console.confirm(question, yes=yes, always=always)


async def preview(console: Console, cluster: Cluster, document: object, plan: Callable[[], object]) -> None:
    """What `--dry-run` shows: the same view, without a question. `document` is its JSON document."""
    await preview_cluster(console, cluster)
    console.show(document, plan)


async def preview_cluster(console: Console, cluster: Cluster) -> None:
    """The part of it that is for people alone: the cluster as it is."""
    if not console.json and not console.options.quiet:
        await show_cluster(console, cluster)


async def show_cluster(console: Console, cluster: Cluster) -> None:
    """The cluster as it is, in a few lines on standard error."""
    from miroir_cli.migration.history import list_nodes

    nodes = await list_nodes(cluster)
    indexes = len(await cluster.store.indexes())
    epoch = await cluster.store.epoch()
    with console.aside():
        console.print(
            f"cluster `{cluster.topology.cluster.name}` as it is: {counted(len(nodes), 'node')}, "
            f"{counted(indexes, 'index', 'indexes')}, epoch {epoch}"
        )
        console.table(COLUMNS, [_row(node) for node in nodes])
        run = await cluster.store.unfinished_run()
        if run is not None:
            console.print(f"run {run.id} ({run.title}) has not ended: `miroir rebalance status` shows it")
        console.print()


def _row(node: Mapping[str, Any]) -> tuple[Any, ...]:
    state = node["state"]
    stale = node["stale"] or 0
    return (
        node["name"],
        Styled(text=state, style={"up": "green", "drained": "dim"}.get(state, "bold red")),
        node["shards"],
        Styled(text=f"{stale:,}", style="bold yellow" if stale else ""),
        node["documents"],
        node["group"],
        node["zone"],
    )
