"""`miroir import`, `get`, `delete`: documents in, out and away."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from miroir_cli.cli.console import Console, run
from miroir_cli.cli.table import counted
from miroir_cli.errors import PartialError, UsageError

if TYPE_CHECKING:
    from miroir_cli.documents.dry_run import Routing
    from miroir_cli.documents.importing import ImportProgress
    from miroir_cli.documents.load import ImportSummary

app = typer.Typer()

IndexArgument = Annotated[str, typer.Argument(metavar="INDEX", help="The index's uid.", show_default=False)]


@app.command("import")
def import_(
    ctx: typer.Context,
    index: IndexArgument,
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Files, quoted globs, or `-`.", show_default=False)
    ],
    format: Annotated[
        str | None,
        typer.Option(metavar="FORMAT", help="ndjson, json, csv or parquet (otherwise by name, then by content)."),
    ] = None,
    delimiter: Annotated[str | None, typer.Option(metavar="CHARACTER", help="What separates CSV cells.")] = None,
    update: Annotated[
        bool, typer.Option("--update", help="Merge fields into documents that exist instead of replacing them.")
    ] = False,
    primary_key: Annotated[
        str | None, typer.Option(metavar="FIELD", help="Make sure that the index has this primary key.")
    ] = None,
    create: Annotated[
        bool, typer.Option("--create", help="Create the index if it is missing (needs --primary-key).")
    ] = False,
    rejects: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write what cannot be imported there, as NDJSON.")
    ] = None,
    batch_bytes: Annotated[
        int | None, typer.Option(metavar="BYTES", min=1, help="Size of a batch (otherwise found out).")
    ] = None,
    retry_for: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="How long to wait for nodes that are busy or away.")
    ] = 60.0,
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin again instead of resuming an interrupted import.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and route everything, send nothing.")] = False,
) -> None:
    """Import documents. Interrupted, killed or failed, the same command goes on where it stopped."""

    async def command(console: Console) -> None:
        from miroir_cli.documents.dry_run import route_documents
        from miroir_cli.documents.formats import Format
        from miroir_cli.documents.load import ImportOptions, import_documents
        from miroir_cli.migration.heal import healing, out_of_sync

        if format is not None and format not in list(Format):
            raise UsageError(f"unknown format `{format}`", hint=f"one of {', '.join(Format)}")
        if delimiter is not None and (len(delimiter) != 1 or not delimiter.isascii()):
            raise UsageError(f"the delimiter `{delimiter}` is not one ASCII character")
        options = ImportOptions(
            update=update,
            primary_key=primary_key,
            format=Format(format) if format is not None else None,
            delimiter=delimiter,
            rejects=rejects,
            batch_bytes=batch_bytes,
            retry_for=retry_for,
            restart=restart,
        )
        async with console.cluster() as cluster:
            if create:
                await _create_if_missing(cluster, index, primary_key)
            if dry_run:
                _show_routing(console, await route_documents(cluster, index, files, options=options))
                return
            with console.progress() as progress:
                sent, indexed = progress.lane("sent"), progress.lane("indexed")

                def report(state: ImportProgress) -> None:
                    expected = state.sent * state.total // state.read if state.total and state.read else None
                    note = f"without {', '.join(state.stale)}" if state.stale else ""
                    rejected = f"{state.rejected:,} rejected" if state.rejected else ""
                    sent.update(state.sent, total=expected, note=rejected)
                    indexed.update(state.indexed, total=expected, note=note)

                async with healing(cluster, index):
                    summary = await import_documents(cluster, index, files, options=options, report=report)
            left = await out_of_sync(cluster, index) if summary.stale else {}
        for node in [node for node in summary.stale if node not in left]:
            console.say(f"node `{node}` missed writes and has been caught up with")
        _show_summary(console, replace(summary, stale=left), rejects)

    run(ctx, command)


async def _create_if_missing(cluster: Any, index: str, primary_key: str | None) -> None:
    from miroir_cli.errors import IndexNotFound
    from miroir_cli.indexes.catalog import create_index, plan_index

    if primary_key is None:
        raise UsageError("`--create` needs `--primary-key`")
    try:
        await cluster.reload(index)
    except IndexNotFound:
        await create_index(cluster, await plan_index(cluster, index, primary_key=primary_key))


def _show_summary(console: Console, summary: ImportSummary, rejects: Path | None) -> None:
    console.show(
        summary.json(),
        lambda: console.print(
            f"{counted(summary.documents, 'document')} in `{summary.index}`, "
            f"{counted(summary.batches, 'batch', 'batches')}, "
            f"{summary.seconds:.1f} s{', resumed' if summary.resumed else ''}"
        ),
    )
    for node, shards in summary.stale.items():
        console.warn(
            f"node `{node}` missed writes, its replicas of {counted(len(shards), 'shard')} are stale: "
            "`miroir repair` mends them"
        )
    for failure in summary.failures:
        console.warn(failure)
    for reason in summary.reasons:
        console.warn(reason)
    if summary.rejected:
        if rejects is not None:
            hint = f"they are in `{rejects}` with their reasons"
        else:
            hint = "`--rejects FILE` writes them to a file with their reasons"
        were = "was" if summary.rejected == 1 else "were"
        raise PartialError(f"{counted(summary.rejected, 'document')} {were} not imported", hint=hint)


def _show_routing(console: Console, routing: Routing) -> None:
    def render() -> None:
        console.print(f"{routing.documents:,} documents, {routing.rejected:,} rejected; nothing was sent")
        console.table(["node", "documents"], sorted(routing.nodes.items()))

    console.show(routing.json(), render)
    for reason in routing.reasons:
        console.warn(reason)
    if routing.rejected:
        raise PartialError(f"{routing.rejected:,} documents cannot be imported")


@app.command()
def get(
    ctx: typer.Context,
    index: IndexArgument,
    id: Annotated[str, typer.Argument(metavar="ID", help="The document's primary key.", show_default=False)],
    fields: Annotated[str | None, typer.Option(metavar="A,B", help="Only these fields.")] = None,
) -> None:
    """Print a document as JSON."""

    async def command(console: Console) -> None:
        from miroir_cli.documents.read import get_document

        async with console.cluster() as cluster:
            names = fields.split(",") if fields is not None else None
            console.document(await get_document(cluster, index, id, fields=names))

    run(ctx, command)


@app.command()
def delete(
    ctx: typer.Context,
    index: IndexArgument,
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID...]", help="Primary keys of documents.", show_default=False)
    ] = None,
    filter: Annotated[
        str | None, typer.Option(metavar="FILTER", help="Delete what matches, such as `year < 1950`.")
    ] = None,
    all: Annotated[bool, typer.Option("--all", help="Delete every document, keep the index.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count what would be deleted, delete nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete documents by id, by filter, or all of them."""

    async def command(console: Console) -> None:
        from miroir_cli.documents.write import delete_documents
        from miroir_cli.indexes.counts import count_documents
        from miroir_cli.search.filters import rewrite

        if sum((bool(ids), filter is not None, all)) != 1:
            raise UsageError("say what to delete: ids, `--filter` or `--all`", hint="see `miroir delete --help`")
        async with console.cluster() as cluster:
            await cluster.map(index)
            elements = rewrite(filter) if filter is not None else None
            if elements == []:
                raise UsageError("an empty filter matches every document", hint="say `--all` to delete everything")
            if dry_run:
                count = await count_documents(
                    cluster, await cluster.reload(index), ids=ids or None, filter=elements or ()
                )
                found = {"index": index, "documents": count.documents, "missing_shards": list(count.missing)}
                said = f"{counted(count.documents, 'document')} of `{index}` would be deleted"
                console.show(found, lambda: console.print(said))
                return
            if not ids:
                what = "every document" if all else f"the documents with `{filter}`"
                console.confirm(f"Delete {what} of index `{index}`?", yes=yes)
            summary = await delete_documents(cluster, index, ids=ids or None, filter=elements)
        console.show(summary.json(), lambda: console.print(f"deleted in {summary.seconds:.1f} s"))
        for node in summary.stale:
            console.warn(f"node `{node}` missed it, its replicas are stale: see `miroir status`")

    run(ctx, command)
