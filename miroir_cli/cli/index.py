"""`miroir index`: the cluster's indexes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from miroir_cli.cli.console import Console, run
from miroir_cli.cli.index_settings import settings
from miroir_cli.cli.table import Column, counted
from miroir_cli.errors import PartialError

if TYPE_CHECKING:
    from miroir_cli.indexes.catalog import CreationPlan

app = typer.Typer()
index = typer.Typer(no_args_is_help=True, help="Create, show and delete indexes, and change their settings.")
app.add_typer(index, name="index")
index.add_typer(settings, name="settings")

Uid = Annotated[str, typer.Argument(metavar="UID", help="The index.", show_default=False)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
INDEX_COLUMNS = (
    Column(name="index"),
    Column(name="primary key", optional=True),
    Column(name="shards", right=True, keep=True),
    Column(name="replicas", right=True, keep=True),
    Column(name="in sync", right=True, keep=True),
    Column(name="stale", right=True, keep=True),
)


@index.command()
def create(
    ctx: typer.Context,
    uid: Uid,
    primary_key: Annotated[
        str,
        typer.Option("--primary-key", "-k", metavar="FIELD", help="The field that identifies a document."),
    ],
    shards: Annotated[
        int | None,
        typer.Option(min=1, metavar="S", help="Shards, fixed for good (otherwise the topology file's)."),
    ] = None,
    replicas: Annotated[
        int | None,
        typer.Option(min=1, metavar="R", help="Copies of each shard in each group (otherwise the file's)."),
    ] = None,
    settings_file: Annotated[
        str | None,
        typer.Option("--settings", metavar="FILE", help="Settings as Meilisearch's JSON; `-` reads standard input."),
    ] = None,
    no_tie_break: Annotated[
        bool, typer.Option("--no-tie-break", help="Do not order equal hits by the primary key.")
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """Create an index on all nodes that will hold a part of it, or on none."""

    async def command(console: Console) -> None:
        from miroir_cli.indexes.catalog import create_index, describe, plan_index

        wanted = console.read_json(settings_file) if settings_file else None
        async with console.cluster() as cluster:
            plan = await plan_index(
                cluster,
                uid,
                primary_key=primary_key,
                shards=shards,
                replicas=replicas,
                settings=wanted,
                tie_break=not no_tie_break,
                source=str(settings_file or "settings"),
            )
            if dry_run:
                console.show(plan_document(plan), lambda: show_plan(console, plan))
                return
            created = describe(await create_index(cluster, plan))
        console.show(created, lambda: console.print(created_line(created)))
        console.say(f"next: miroir import {uid} FILE")

    run(ctx, command, when_interrupted="run the same command again: it clears up first")


@index.command(name="list")
def list_(ctx: typer.Context) -> None:
    """List all indexes."""

    async def command(console: Console) -> None:
        from miroir_cli.indexes.catalog import list_indexes

        async with console.cluster() as cluster:
            found = await list_indexes(cluster)
        console.show({"indexes": found}, lambda: console.table(INDEX_COLUMNS, map(index_row, found)))
        if not found:
            console.say("no index yet: run `miroir index create UID --primary-key FIELD`")

    run(ctx, command)


@index.command()
def show(ctx: typer.Context, uid: Uid) -> None:
    """Show an index: what is fixed, the settings changed from the defaults, and where its shards are."""

    async def command(console: Console) -> None:
        from miroir_cli.indexes.catalog import show_index

        async with console.cluster() as cluster:
            found = await show_index(cluster, uid)
        console.show(found, lambda: show_details(console, found))

    run(ctx, command)


@index.command()
def stats(ctx: typer.Context, uid: Uid) -> None:
    """Count the documents of an index, each once however many replicas there are."""

    async def command(console: Console) -> None:
        from miroir_cli.indexes.counts import index_stats

        async with console.cluster() as cluster:
            found = await index_stats(cluster, uid)
        console.show(found, lambda: show_stats(console, found))
        if missing := found["missingShards"]:
            raise PartialError(
                f"index `{uid}`: {len(missing)} shards could not be counted, among them shard {missing[0]}",
                hint="run `miroir status` to see which nodes answer",
            )

    run(ctx, command)


@index.command()
def delete(
    ctx: typer.Context,
    uid: Uid,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Delete an index with all its documents from every node."""

    async def command(console: Console) -> None:
        from miroir_cli.indexes.catalog import delete_index

        async with console.cluster() as cluster:
            nodes = list((await cluster.reload(uid)).nodes())
            if not dry_run:
                console.confirm(f"Delete index `{uid}` with all its documents from {', '.join(nodes)}?", yes=yes)
                nodes = list(await delete_index(cluster, uid))
        done = "would delete" if dry_run else "deleted"
        console.show(
            {"uid": uid, "deleted": not dry_run, "nodes": nodes},
            lambda: console.print(f"{done} index `{uid}` from {', '.join(nodes) or 'no node'}"),
        )

    run(ctx, command, when_interrupted="run the same command again: it deletes what is left")


def plan_document(plan: CreationPlan) -> dict[str, Any]:
    """The JSON document of `index create --dry-run`."""
    index = plan.index
    return {
        "uid": index.uid,
        "primary_key": index.primary_key,
        "shards": index.shards,
        "replicas": index.replicas,
        "nodes": [{"name": name, "shards": count} for name, count in planned_shards(plan).items()],
        "dry_run": True,
    }


def planned_shards(plan: CreationPlan) -> dict[str, int]:
    return dict(sorted(Counter(name for nodes in plan.placement.values() for name in nodes).items()))


def show_plan(console: Console, plan: CreationPlan) -> None:
    index = plan.index
    console.print(
        f"would create index `{index.uid}`: primary key `{index.primary_key}`, "
        f"{counted(index.shards, 'shard')}, {counted(index.replicas, 'replica')} of each"
    )
    console.table(["node", Column(name="shards", right=True)], list(planned_shards(plan).items()))


def created_line(found: Mapping[str, Any]) -> str:
    return (
        f"created index `{found['uid']}`: primary key `{found['primary_key']}`, "
        f"{counted(found['shards'], 'shard')}, {counted(found['replicas'], 'replica')} of each"
    )


def index_row(found: Mapping[str, Any]) -> tuple[str, str, int, int, int, int]:
    """An index as one row under `INDEX_COLUMNS`."""
    return (
        found["uid"],
        found["primary_key"],
        found["shards"],
        found["replicas"],
        found["in_sync"],
        found["stale"],
    )


def show_details(console: Console, found: Mapping[str, Any]) -> None:
    console.table(INDEX_COLUMNS, [index_row(found)])
    states: dict[str, Counter[str]] = {}
    for replica in found["placement"]:
        states.setdefault(replica["node"], Counter())[replica["state"]] += 1
    console.print()
    console.table(
        ["node", Column(name="shards", right=True), "states"],
        [
            (node, counts.total(), ", ".join(f"{count} {state}" for state, count in sorted(counts.items())))
            for node, counts in sorted(states.items())
        ],
    )
    if found["settings"]:
        console.print("\nsettings")
        console.print_json(found["settings"])


def show_stats(console: Console, found: Mapping[str, Any]) -> None:
    console.print(f"{found['numberOfDocuments']:,} documents{', indexing' if found['isIndexing'] else ''}")
    console.table(
        ["node", Column(name="documents stored", right=True)],
        [(node["name"], node["documents"]) for node in found["nodes"]],
    )
    if found["fieldDistribution"]:
        console.print()
        console.table(["field", Column(name="in documents", right=True)], list(found["fieldDistribution"].items()))
