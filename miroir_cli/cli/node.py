"""`miroir node`: which nodes the cluster has. Each change is an edit of the topology file and the run it asks for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from miroir_cli.cli.consent import agree, preview
from miroir_cli.cli.console import Console, Next, run
from miroir_cli.cli.moving import (
    RETRY_FOR,
    Pace,
    drive,
    finish,
    pace,
    plan_document,
    show_plan,
)
from miroir_cli.cli.options import SAFETY, DryRun, Parallel, Rate, RetryFor, Yes
from miroir_cli.cli.table import Column, Styled
from miroir_cli.errors import UsageError

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.migration.nodes import NodeChange

GROUP = """
List, add, drain, remove and replace nodes.

Each change is an edit of the topology file (comments are kept) and the run that it asks for: shards are copied,
compared and switched one by one, while searches and writes go on. The plan is shown first. Interrupted or killed, the
same command goes on.

Examples:
  miroir node list
  miroir node add n4=http://127.0.0.1:7704 --dry-run      # what would move
  miroir node drain n3                                    # before maintenance
"""
NEW = "The new node"

app = typer.Typer()
node = typer.Typer(no_args_is_help=True, help=GROUP)
app.add_typer(node, name="node")

AGAIN = "run the same command again: it goes on with what was begun"
Names = Annotated[list[str], typer.Argument(metavar="NODE...", help="Names of nodes.", show_default=False)]
Force = Annotated[
    bool,
    typer.Option(
        "--force",
        help="Give up the shards of which no other copy is left, with their documents.",
        rich_help_panel=SAFETY,
    ),
]
COLUMNS = (
    Column(name="node", name_like=True),
    Column(name="state", keep=True),
    Column(name="shards", right=True, keep=True),
    Column(name="documents", right=True, keep=True),
    Column(name="weight", right=True, keep=True, optional=True),
    Column(name="group", optional=True, varies=True),
    Column(name="zone", optional=True, varies=True),
    Column(name="version", optional=True),
    Column(name="url", optional=True),
)


@node.command(name="list")
def list_(ctx: typer.Context) -> None:
    """List the nodes, with what each of them has.

    Those of the topology file, and those that it no longer names but that still have shards.

    Examples:
      miroir node list
      miroir node list --json
    """

    async def command(console: Console) -> None:
        from miroir_cli.migration.history import list_nodes

        async with console.cluster() as cluster:
            found = await list_nodes(cluster)
        console.show({"nodes": found}, lambda: console.table(COLUMNS, map(_row, found)))

    run(ctx, command)


@node.command()
def add(
    ctx: typer.Context,
    new: Annotated[str, typer.Argument(metavar="NAME=URL", help="The node's name and address.", show_default=False)],
    group: Annotated[str, typer.Option(metavar="GROUP", help="Its replica group.", rich_help_panel=NEW)] = "main",
    zone: Annotated[
        str | None,
        typer.Option(metavar="ZONE", help="Copies of a shard go to different zones.", rich_help_panel=NEW),
    ] = None,
    weight: Annotated[
        float,
        typer.Option(
            min=0.000001, metavar="W", help="Its share of the shards, beside the others'.", rich_help_panel=NEW
        ),
    ] = 1.0,
    key_env: Annotated[
        str | None, typer.Option(metavar="VAR", help="The variable that holds its key.", rich_help_panel=NEW)
    ] = None,
    key_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="The file that holds its key.", rich_help_panel=NEW)
    ] = None,
    key_command: Annotated[
        str | None, typer.Option(metavar="COMMAND", help="What prints its key.", rich_help_panel=NEW)
    ] = None,
    parallel: Parallel = None,
    rate: Rate = None,
    retry_for: RetryFor = RETRY_FOR,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Add a node and move its share of the shards to it.

    The node is asked first: it must be Meilisearch, new enough, and not another cluster's. It is written into the
    topology file, then shards are copied to it, the fewest that make the nodes even again.

    Examples:
      miroir node add n4=http://127.0.0.1:7704 --dry-run          # the plan, and nothing else
      miroir node add n4=http://127.0.0.1:7704
      miroir node add n4=http://127.0.0.1:7704 --zone eu-1 --weight 2 --yes
      miroir node add n4=http://127.0.0.1:7704 --rate 5000        # gently
    """

    async def plan(cluster: Cluster) -> NodeChange:
        from miroir_cli.migration.nodes import plan_addition
        from miroir_cli.model import Node, NodeName, Secret

        keys = {"env": key_env, "file": key_file, "command": key_command}
        named = {kind: value for kind, value in keys.items() if value is not None}
        if len(named) > 1:
            raise UsageError("only one of `--key-env`, `--key-file` and `--key-command` can be given")
        name, url = parse_name_and_url(new)
        key = Secret(**named) if named else None
        node = Node(name=NodeName(name), url=url, group=group, zone=zone, weight=weight, key=key)
        return await plan_addition(cluster, node)

    paced = pace(parallel=parallel, rate=rate, retry_for=retry_for)
    name = new.partition("=")[0]
    _change(ctx, plan, [name], f"Add node `{name}`?", paced, dry_run=dry_run, yes=yes)


@node.command()
def drain(
    ctx: typer.Context,
    names: Names,
    parallel: Parallel = None,
    rate: Rate = None,
    retry_for: RetryFor = RETRY_FOR,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Move everything away from nodes, which stay in the topology file.

    A drained node gets no shards: maintain it, then take `drained = true` out of the file and run `miroir rebalance
    run`; or take it out of the cluster with `miroir node remove`.

    Examples:
      miroir node drain n3 --dry-run
      miroir node drain n3
    """

    async def plan(cluster: Cluster) -> NodeChange:
        from miroir_cli.migration.nodes import plan_drain

        return await plan_drain(cluster, names)

    paced = pace(parallel=parallel, rate=rate, retry_for=retry_for)
    leave = Next(command=f"miroir node remove {' '.join(names)}", purpose="to take what is empty out of the cluster")
    _change(ctx, plan, names, f"Drain {_listed(names)}?", paced, dry_run=dry_run, yes=yes, next=[leave])


@node.command()
def remove(
    ctx: typer.Context,
    names: Names,
    no_drain: Annotated[
        bool,
        typer.Option(
            "--no-drain",
            help="Copy nothing from them: the other replicas are the source. For dead nodes.",
            rich_help_panel=SAFETY,
        ),
    ] = False,
    force: Force = False,
    parallel: Parallel = None,
    rate: Rate = None,
    retry_for: RetryFor = RETRY_FOR,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Take nodes out of the cluster, after moving all to others.

    What they had is deleted there once it is elsewhere, and they leave the topology file. A dead node is removed with
    `--no-drain`: its shards are copied from their other replicas. An only copy is never given up unless `--force` says
    so.

    Examples:
      miroir node remove n3 --dry-run
      miroir node remove n3
      miroir node remove n3 --no-drain      # it will not come back
    """

    async def plan(cluster: Cluster) -> NodeChange:
        from miroir_cli.migration.nodes import plan_removal

        if force and not no_drain:
            raise UsageError(
                "`--force` goes with `--no-drain`", hint="a node that answers is drained first, and nothing is lost"
            )
        return await plan_removal(cluster, names, drain=not no_drain, give_up=force)

    paced = pace(parallel=parallel, rate=rate, retry_for=retry_for)
    _change(ctx, plan, names, f"Remove {_listed(names)}?", paced, dry_run=dry_run, yes=yes)


@node.command()
def replace(
    ctx: typer.Context,
    old: Annotated[str, typer.Argument(metavar="NODE", help="The node that goes.", show_default=False)],
    new: Annotated[
        str, typer.Argument(metavar="NAME=URL", help="The name and address of its successor.", show_default=False)
    ],
    force: Force = False,
    parallel: Parallel = None,
    rate: Rate = None,
    retry_for: RetryFor = RETRY_FOR,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Put another node in the place of one, dead or alive.

    The successor gets its group, zone, weight, key and shards, copied from whichever replicas are in sync. The old one
    leaves the topology file.

    Examples:
      miroir node replace n2 n4=http://127.0.0.1:7704 --dry-run
      miroir node replace n2 n4=http://127.0.0.1:7704
    """
    name = new.partition("=")[0]

    async def plan(cluster: Cluster) -> NodeChange:
        from miroir_cli.migration.nodes import plan_replacement

        successor, url = parse_name_and_url(new)
        return await plan_replacement(cluster, old, name=successor, url=url, give_up=force)

    paced = pace(parallel=parallel, rate=rate, retry_for=retry_for)
    question = f"Replace node `{old}` by `{name}`?"
    _change(ctx, plan, [old, name], question, paced, dry_run=dry_run, yes=yes)


def _change(
    ctx: typer.Context,
    plan: Callable[[Cluster], Awaitable[NodeChange]],
    names: Sequence[str],
    question: str,
    wanted: Pace,
    *,
    dry_run: bool,
    yes: bool,
    next: Sequence[Next] = (),
) -> None:
    """Show the plan, ask, edit the file and run."""

    async def command(console: Console) -> None:
        from miroir_cli.migration.history import expected_seconds
        from miroir_cli.migration.nodes import carry_out

        async with console.cluster() as cluster:
            change = await plan(cluster)
            seconds = await expected_seconds(cluster, change.plan.documents, rate=wanted.options.rate)

            def show() -> None:
                show_plan(console, change.plan, seconds)

            if dry_run:
                document = {**plan_document(change.plan, seconds), "dry_run": True}
                await preview(console, cluster, document, show)
                return
            if change.pending:
                given_up = " ".join(sorted(change.change.lost)) if change.plan.lost else None
                await agree(console, cluster, question, plan=show, yes=yes, name=given_up, plan_unasked=True)
            outcome = await drive(
                console, lambda report: carry_out(cluster, change, options=wanted.options, report=report)
            )
        finish(console, outcome, wanted, more={"nodes": list(names)}, next=next)

    run(ctx, command, when_interrupted=AGAIN)


def parse_name_and_url(text: str) -> tuple[str, str]:
    """`NAME=URL` as its two parts. Raises `UsageError`."""
    name, _, url = text.partition("=")
    if not name.strip() or not url.strip():
        raise UsageError(f"`{text}` is not NAME=URL", hint="such as `n4=http://10.0.0.4:7700`")
    return name.strip(), url.strip()


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _row(found: Mapping[str, Any]) -> tuple[Any, ...]:
    return (
        found["name"],
        Styled(text=found["state"], style={"up": "green", "drained": "dim"}.get(found["state"], "bold red")),
        found["shards"],
        found["documents"],
        None if found["weight"] is None else f"{found['weight']:g}",
        found["group"],
        found["zone"],
        found["version"],
        found["url"],
    )
