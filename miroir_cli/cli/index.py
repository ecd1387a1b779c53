"""`miroir index`: the cluster's indexes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from miroir_cli.cli.consent import agree, preview
from miroir_cli.cli.console import Console, Next, run
from miroir_cli.cli.index_names import rename, swap
from miroir_cli.cli.index_settings import settings
from miroir_cli.cli.meant import index_meant
from miroir_cli.cli.options import DryRun, Index, Yes
from miroir_cli.cli.table import Column, counted
from miroir_cli.errors import PartialError

if TYPE_CHECKING:
    from miroir_cli.indexes.catalog import CreationPlan

GROUP = """
Create, show and delete indexes, and change their settings.

An index is split into shards, a number that stays for good, and each shard has replicas on several nodes. Documents go
in with `miroir import`.

Examples:
  miroir index create films --primary-key id
  miroir index list
  miroir index settings set books sortableAttributes='["year"]'
"""

app = typer.Typer()
index = typer.Typer(no_args_is_help=True, help=GROUP)
app.add_typer(index, name="index")
index.add_typer(settings, name="settings")

NODE = Column(name="node", name_like=True)
INDEX_COLUMNS = (
    Column(name="index", name_like=True),
    Column(name="stale", right=True, keep=True),
    Column(name="shards", right=True, keep=True),
    Column(name="in sync", right=True, keep=True, optional=True),
    Column(name="replicas", right=True, keep=True, optional=True),
    Column(name="primary key", optional=True),
)


FIRST_INDEX = Next(command="miroir index create UID --primary-key FIELD", purpose="to make the first one")


@index.command()
def create(
    ctx: typer.Context,
    uid: Annotated[str, typer.Argument(metavar="UID", help="The new index's uid.", show_default=False)],
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
        typer.Option("--settings", metavar="FILE", help="Settings as JSON (`-`: standard input)."),
    ] = None,
    no_tie_break: Annotated[
        bool, typer.Option("--no-tie-break", help="Do not order equal hits by the primary key.")
    ] = False,
    dry_run: DryRun = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Create an index on all nodes that will hold a part of it, or on none.

    Shards and primary key are fixed for good; copies and settings can be changed later. Without `--shards` and
    `--replicas` the numbers of the topology file are taken. `--no-tie-break` saves a little time while indexing, and
    equal hits may then come in another order from another replica.

    Examples:
      miroir index create films --primary-key id
      miroir index create films -k id --shards 12 --replicas 3
      miroir index create films -k id --settings settings.json
      miroir index create films -k id --dry-run                    # where its shards would be
    """

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

            def show() -> None:
                show_plan(console, plan)

            if dry_run:
                await preview(console, cluster, plan_document(plan), show)
                return
            await agree(console, cluster, f"Create index `{uid}`?", plan=show, yes=yes, always=False)
            created = describe(await create_index(cluster, plan))
        fill = Next(command=f"miroir import {uid} FILE", purpose="to fill it")
        console.show(created, lambda: console.print(created_line(created)), next=[fill])

    run(ctx, command, when_interrupted="run the same command again: it clears up first")


@index.command(name="list")
def list_(ctx: typer.Context) -> None:
    """List all indexes.

    With their primary keys, their shards, and how many of their replicas are in sync.

    Examples:
      miroir index list
      miroir index list --json
    """

    async def command(console: Console) -> None:
        from miroir_cli.indexes.catalog import list_indexes

        async with console.cluster() as cluster:
            found = await list_indexes(cluster)
        console.show({"indexes": found}, lambda: _show_list(console, found), next=() if found else [FIRST_INDEX])

    run(ctx, command)


def _show_list(console: Console, found: Sequence[Mapping[str, Any]]) -> None:
    if found:
        console.table(INDEX_COLUMNS, map(index_row, found))
    else:
        console.print("no index yet")


@index.command()
def show(ctx: typer.Context, uid: Index) -> None:
    """Show an index: what is fixed, its settings, and where its shards are.

    Of the settings those that are not Meilisearch's defaults; `miroir index settings get` prints all of them.

    Examples:
      miroir index show books
      miroir index show books --json
    """

    async def command(console: Console) -> None:
        from miroir_cli.indexes.catalog import show_index

        async with console.cluster() as cluster:
            found = await show_index(cluster, await index_meant(console, cluster, uid))
        console.show(found, lambda: show_details(console, found))

    run(ctx, command)


@index.command()
def stats(ctx: typer.Context, uid: Index) -> None:
    """Count the documents of an index, each once.

    However many replicas there are. Beside the number of documents: what each node stores, and in how many documents
    each field is. Exit status 3 when a shard could not be counted.

    Examples:
      miroir index stats books
    """

    async def command(console: Console) -> None:
        from miroir_cli.indexes.counts import index_stats

        async with console.cluster() as cluster:
            found = await index_stats(cluster, await index_meant(console, cluster, uid))
        console.show(found, lambda: show_stats(console, found))
        if missing := found["missingShards"]:
            raise PartialError(
                f"index `{found['uid']}`: {len(missing)} shards could not be counted, among them shard {missing[0]}",
                hint="run `miroir status` to see which nodes answer",
            )

    run(ctx, command)


@index.command()
def delete(
    ctx: typer.Context,
    uid: Index,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Delete an index with all its documents from every node.

    There is no way back but a copy: `miroir export` writes the documents, `miroir index settings get` the settings. To
    delete the documents and keep the index there is `miroir delete --all`.

    Examples:
      miroir index delete books --dry-run
      miroir index delete books
    """

    async def command(console: Console) -> None:
        from miroir_cli.indexes.catalog import delete_index, nodes_to_delete_from
        from miroir_cli.indexes.counts import count_documents

        async with console.cluster() as cluster:
            nodes = await nodes_to_delete_from(cluster, uid)
            map = await cluster.store.map(uid)
            shown = dry_run or console.asks(yes=yes)
            counts = map is not None and shown and not (dry_run and console.json)
            count = await count_documents(cluster, map) if map is not None and counts else None

            def show() -> None:
                documents = "its documents" if count is None or count.missing else counted(count.documents, "document")
                console.print(f"would delete index `{uid}` from {', '.join(nodes) or 'no node'}: {documents}")

            if dry_run:
                await preview(console, cluster, {"uid": uid, "deleted": False, "nodes": nodes}, show)
                return
            question = f"Delete index `{uid}` with all its documents?"
            await agree(console, cluster, question, plan=show, yes=yes, name=uid)
            nodes = list(await delete_index(cluster, uid))
        console.show(
            {"uid": uid, "deleted": True, "nodes": nodes},
            lambda: console.print(f"deleted index `{uid}` from {', '.join(nodes) or 'no node'}"),
        )

    run(ctx, command, when_interrupted="run the same command again: it deletes what is left")


index.command()(swap)
index.command()(rename)


@index.command()
def unfreeze(ctx: typer.Context, uid: Index, dry_run: DryRun = False) -> None:
    """Let an index take documents again that was frozen.

    An index is frozen when a node takes its settings otherwise than they were sent, so that answers would differ. The
    settings are sent to all nodes once more and compared; while one node has others, the index stays frozen.

    Examples:
      miroir index unfreeze books --dry-run      # what is wrong where
      miroir index unfreeze books
    """

    async def command(console: Console) -> None:
        from miroir_cli.indexes.drift import unfreeze, wrong_nodes

        async with console.cluster() as cluster:
            map = await cluster.reload(uid)
            reason = (await cluster.store.frozen()).get(uid)
            if dry_run:
                wrong = await wrong_nodes(cluster, map)
                console.show(
                    {"uid": uid, "frozen": reason, "nodes": {name: wrong[name] for name in sorted(wrong)}},
                    lambda: console.print(_frozen_line(uid, reason, sorted(wrong))),
                )
                return
            nodes = await unfreeze(cluster, uid)
        console.show(
            {"uid": uid, "was_frozen": reason is not None, "nodes": list(nodes)},
            lambda: console.print(
                f"index `{uid}` takes documents again" if reason else f"index `{uid}` was not frozen"
            ),
        )

    run(ctx, command, when_interrupted="run the same command again")


def _frozen_line(uid: str, reason: str | None, wrong: Sequence[str]) -> str:
    if reason is None:
        return f"index `{uid}` is not frozen"
    nodes = f"; settings would be put right on {', '.join(wrong)}" if wrong else ""
    return f"index `{uid}` is frozen: {reason}{nodes}"


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
    console.table([NODE, Column(name="shards", right=True, keep=True)], list(planned_shards(plan).items()))


def created_line(found: Mapping[str, Any]) -> str:
    return (
        f"created index `{found['uid']}`: primary key `{found['primary_key']}`, "
        f"{counted(found['shards'], 'shard')}, {counted(found['replicas'], 'replica')} of each"
    )


def index_row(found: Mapping[str, Any]) -> tuple[Any, ...]:
    """An index as one row under `INDEX_COLUMNS`."""
    return (
        found["uid"],
        found["stale"],
        found["shards"],
        found["in_sync"],
        found["replicas"],
        found["primary_key"],
    )


def show_details(console: Console, found: Mapping[str, Any]) -> None:
    console.table(INDEX_COLUMNS, [index_row(found)])
    states: dict[str, Counter[str]] = {}
    for replica in found["placement"]:
        states.setdefault(replica["node"], Counter())[replica["state"]] += 1
    console.print()
    console.table(
        [NODE, Column(name="shards", right=True, keep=True), "states"],
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
        [NODE, Column(name="documents stored", right=True, keep=True)],
        [(node["name"], node["documents"]) for node in found["nodes"]],
    )
    if found["fieldDistribution"]:
        console.print()
        console.table(
            ["field", Column(name="in documents", right=True, keep=True)], list(found["fieldDistribution"].items())
        )
