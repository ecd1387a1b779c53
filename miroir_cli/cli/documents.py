"""`miroir import`, `get`, `delete`: documents in, out and away."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from miroir_cli.cli.consent import agree, preview
from miroir_cli.cli.console import Console, Next, run
from miroir_cli.cli.meant import index_meant
from miroir_cli.cli.options import SPEED, WANTED, DryRun, Fields, Filter, Index, Rate, RetryFor, Yes
from miroir_cli.cli.table import Column, counted
from miroir_cli.cli.textfile import MetricsFile
from miroir_cli.errors import PartialError, UsageError

if TYPE_CHECKING:
    from miroir_cli.documents.dry_run import Routing
    from miroir_cli.documents.importing import ImportProgress
    from miroir_cli.documents.load import ImportSummary
    from miroir_cli.indexes.catalog import CreationPlan

app = typer.Typer()

READING = "What to read"
WRITING = "How to write it"


class FileFormat(StrEnum):
    """The values of `documents.formats.Format`, which is not loaded for help."""

    NDJSON = "ndjson"
    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"


SERVER = "From a server instead of files"


@app.command("import")
def import_(
    ctx: typer.Context,
    index: Annotated[
        str | None, typer.Argument(metavar="[INDEX]", help="The index's uid (not with `--all`).", show_default=False)
    ] = None,
    files: Annotated[
        list[str] | None, typer.Argument(metavar="[FILE...]", help="Files, quoted globs, or `-`.", show_default=False)
    ] = None,
    format: Annotated[
        FileFormat | None,
        typer.Option(help="What the files are (otherwise by name, then by content).", rich_help_panel=READING),
    ] = None,
    delimiter: Annotated[
        str | None, typer.Option(metavar="CHARACTER", help="What separates CSV cells (,).", rich_help_panel=READING)
    ] = None,
    rejects: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write what cannot be imported there, as NDJSON.", rich_help_panel=READING),
    ] = None,
    update: Annotated[
        bool,
        typer.Option(
            "--update",
            help="Merge fields into documents that exist instead of replacing them.",
            rich_help_panel=WRITING,
        ),
    ] = False,
    create: Annotated[
        bool,
        typer.Option(
            "--create", help="Create the index if it is missing (needs --primary-key).", rich_help_panel=WRITING
        ),
    ] = False,
    primary_key: Annotated[
        str | None,
        typer.Option(
            "--primary-key",
            "-k",
            metavar="FIELD",
            help="The field that identifies a document; the index must have this one.",
            rich_help_panel=WRITING,
        ),
    ] = None,
    restart: Annotated[
        bool,
        typer.Option("--restart", help="Begin again instead of going on where one stopped.", rich_help_panel=WRITING),
    ] = False,
    batch_bytes: Annotated[
        int | None,
        typer.Option(metavar="BYTES", min=1, help="Size of a batch (otherwise found out).", rich_help_panel=SPEED),
    ] = None,
    retry_for: RetryFor = 60.0,
    metrics_file: MetricsFile = None,
    server: Annotated[
        str | None,
        typer.Option("--from", metavar="URL", help="Copy from this Meilisearch.", rich_help_panel=SERVER),
    ] = None,
    server_index: Annotated[
        str | None,
        typer.Option("--from-index", metavar="UID", help="Its uid there (the same).", rich_help_panel=SERVER),
    ] = None,
    all: Annotated[
        bool, typer.Option("--all", help="All indexes of the server, under their uids.", rich_help_panel=SERVER)
    ] = False,
    key_env: Annotated[
        str | None,
        typer.Option(metavar="VAR", help="Which variable holds the server's key.", rich_help_panel=SERVER),
    ] = None,
    shards: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="S", help="Shards of an index that is created (the file's).", rich_help_panel=SERVER
        ),
    ] = None,
    settings_file: Annotated[
        str | None,
        typer.Option(
            "--settings",
            metavar="FILE",
            help="Settings over those of the server, such as the keys of embedders.",
            rich_help_panel=SERVER,
        ),
    ] = None,
    rate: Rate = None,
    delete_extra: Annotated[
        bool,
        typer.Option("--delete", help="Delete documents that the server does not have.", rich_help_panel=SERVER),
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Import documents from files, or copy them from one Meilisearch.

    Files are NDJSON, JSON, CSV or Parquet, also compressed, of any size; each document goes to the nodes that hold its
    shard, and replaces the one with the same primary key. Interrupted, killed or failed, the same command goes on where
    it stopped. What cannot be imported is counted with its reasons, and the exit status is 3; the rest is imported. A
    node that is away meanwhile does not stop the import: what it missed is made good by itself when it answers again,
    or by `miroir repair`.

    With `--from` the index is created with the server's primary key and settings if it is missing, and only documents
    that differ are written: run again, it copies what has changed there meanwhile.

    Examples:
      miroir import books books.ndjson
      miroir import books 'more/*.csv' --rejects rejected.ndjson
      miroir import books changes.ndjson --update            # change some fields, keep the others
      miroir import films films.json --create -k id          # a new index
      tail -n 20 books.ndjson | miroir import books -        # from another command
      miroir import books books.ndjson --dry-run             # read everything, send nothing
      miroir import copy --from http://127.0.0.1:7704 --from-index books     # from one Meilisearch
    """

    async def copying(console: Console, url: str) -> None:
        from miroir_cli.backup.from_server import CopyOptions
        from miroir_cli.cli.copying import Server, import_from

        if files or any((format, delimiter, update, create, rejects, batch_bytes)):
            raise UsageError("`--from` copies a server's documents: no files, and none of the options for them")
        options = CopyOptions(
            shards=shards,
            primary_key=primary_key,
            settings=console.read_json(settings_file) if settings_file else {},
            rate=rate,
            delete=delete_extra,
            restart=restart,
            retry_for=retry_for,
        )
        origin = Server(url=url, index=server_index, key_env=key_env)
        await import_from(console, index, origin, all=all, options=options, dry_run=dry_run, yes=yes)

    async def command(console: Console) -> None:
        if server is not None:
            return await copying(console, server)
        if any((all, server_index, key_env, shards, settings_file, rate, delete_extra)):
            raise UsageError("these options are for a copy from a server", hint="say which with `--from URL`")
        if index is None or not files:
            missing = "INDEX" if index is None else "FILE..."
            raise UsageError(f"missing argument `{missing}`", hint="run `miroir import --help` to see how it is used")
        return await importing(console, index, files)

    async def importing(console: Console, index: str, files: list[str]) -> None:
        from miroir_cli.documents.dry_run import route_documents
        from miroir_cli.documents.formats import Format
        from miroir_cli.documents.load import ImportOptions, import_documents
        from miroir_cli.indexes.catalog import create_index
        from miroir_cli.migration.heal import healing, out_of_sync

        if delimiter is not None and (len(delimiter) != 1 or not delimiter.isascii()):
            raise UsageError(f"the delimiter `{delimiter}` is not one ASCII character")
        options = ImportOptions(
            update=update,
            primary_key=primary_key,
            format=Format(format.value) if format is not None else None,
            delimiter=delimiter,
            rejects=rejects,
            batch_bytes=batch_bytes,
            retry_for=retry_for,
            restart=restart,
        )
        async with console.cluster() as cluster:
            missing = await _plan_if_missing(cluster, index, primary_key) if create else None
            if missing is None:
                index = await index_meant(console, cluster, index, written=True)
            if dry_run:
                _show_routing(console, await route_documents(cluster, index, files, options=options, planned=missing))
                return
            if missing is not None:
                await create_index(cluster, missing)
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


async def _plan_if_missing(cluster: Any, index: str, primary_key: str | None) -> CreationPlan | None:
    from miroir_cli.errors import IndexNotFound
    from miroir_cli.indexes.catalog import plan_index

    if primary_key is None:
        raise UsageError("`--create` needs `--primary-key`")
    try:
        await cluster.reload(await cluster.target_of(index, written=True))
    except IndexNotFound:
        return await plan_index(cluster, index, primary_key=primary_key)
    return None


def _catch_up(index: str) -> Next:
    return Next(command=f"miroir repair {index}", purpose="when the node answers again")


def _show_summary(console: Console, summary: ImportSummary, rejects: Path | None) -> None:
    look = Next(command=f"miroir search {summary.index} QUERY", purpose="to look into it")
    console.show(
        summary.json(),
        lambda: console.print(
            f"{counted(summary.documents, 'document')} in `{summary.index}`, "
            f"{counted(summary.batches, 'batch', 'batches')}, "
            f"{summary.seconds:.1f} s{', resumed' if summary.resumed else ''}"
        ),
        next=[_catch_up(summary.index)] if summary.stale else [look],
    )
    for node, shards in summary.stale.items():
        console.warn(
            f"node `{node}` missed writes: its replicas of {counted(len(shards), 'shard')} are stale, not read from"
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
        console.table(
            [Column(name="node", name_like=True), Column(name="documents", right=True, keep=True)],
            sorted(routing.nodes.items()),
        )

    console.show(routing.json(), render)
    for reason in routing.reasons:
        console.warn(reason)
    if routing.rejected:
        raise PartialError(f"{routing.rejected:,} documents cannot be imported")


@app.command()
def get(
    ctx: typer.Context,
    index: Index,
    id: Annotated[str, typer.Argument(metavar="ID", help="The document's primary key.", show_default=False)],
    fields: Fields = None,
) -> None:
    """Print a document as JSON.

    Any in-sync replica of its shard may answer; fields that are not displayed in searches are printed as well. A
    document that is not there is an error with exit status 4.

    Examples:
      miroir get books 42
      miroir get books 42 --fields title,year
    """

    async def command(console: Console) -> None:
        from miroir_cli.documents.read import get_document

        async with console.cluster() as cluster:
            names = fields.split(",") if fields is not None else None
            console.document(await get_document(cluster, index, id, fields=names))

    run(ctx, command)


@app.command()
def delete(
    ctx: typer.Context,
    index: Index,
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID...]", help="Primary keys of documents.", show_default=False)
    ] = None,
    filter: Filter = None,
    all: Annotated[
        bool, typer.Option("--all", help="Every document; the index stays.", rich_help_panel=WANTED)
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Delete documents by id, by filter, or all of them.

    Exactly one of ids, `--filter` and `--all` says which. With a filter or `--all` it asks first. An id that no
    document has is no error. The index and its settings stay: `miroir index delete` takes them away too.

    Examples:
      miroir delete books 41 42
      miroir delete books --filter 'year < 1950' --dry-run      # count them first
      miroir delete books --filter 'year < 1950'
      miroir delete books --all --yes
    """

    async def command(console: Console) -> None:
        from miroir_cli.documents.write import delete_documents
        from miroir_cli.indexes.counts import count_documents
        from miroir_cli.search.filters import rewrite

        if sum((bool(ids), filter is not None, all)) != 1:
            raise UsageError("say what to delete: ids, `--filter` or `--all`", hint="see `miroir delete --help`")
        async with console.cluster() as cluster:
            uid = await index_meant(console, cluster, index, written=True)
            elements = rewrite(filter) if filter is not None else None
            if elements == []:
                raise UsageError("an empty filter matches every document", hint="say `--all` to delete everything")
            said = ""
            if dry_run or console.asks(yes=yes):
                map = await cluster.reload(uid)
                count = await count_documents(cluster, map, ids=ids or None, filter=elements or ())
                said = f"{counted(count.documents, 'document')} of `{uid}` would be deleted"
                if dry_run:
                    found = {"index": uid, "documents": count.documents, "missing_shards": list(count.missing)}
                    await preview(console, cluster, found, lambda: console.print(said))
                    return
            what = (
                counted(len(ids), "document") if ids else "every document" if all else f"the documents with `{filter}`"
            )
            await agree(
                console,
                cluster,
                f"Delete {what} of index `{uid}`?",
                plan=lambda: console.print(said),
                yes=yes,
                name=uid if all else None,
                always=not ids,
            )
            summary = await delete_documents(cluster, uid, ids=ids or None, filter=elements)
        console.show(
            summary.json(),
            lambda: console.print(f"deleted in {summary.seconds:.1f} s"),
            next=[_catch_up(uid)] if summary.stale else (),
        )
        for node in summary.stale:
            console.warn(f"node `{node}` missed it: its replicas are stale, not read from")

    run(ctx, command)
