"""`miroir browse` and `miroir export`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from errno import EISDIR
from pathlib import Path
from typing import IO, Annotated

import typer

from miroir_cli.cli.console import Console, run
from miroir_cli.cli.meant import index_meant
from miroir_cli.cli.options import RETURNED, WANTED, DryRun, Fields, Filter, Index, Limit, Offset, Rate, Sort, Yes
from miroir_cli.cli.search import Body, Partial, answer, names_of, request_of, require_whole
from miroir_cli.cli.table import counted
from miroir_cli.errors import FILE_HINT, UsageError
from miroir_cli.topology.save import replaced

app = typer.Typer()
SERVER = "Into a server instead of a file"


class Form(StrEnum):
    NDJSON = "ndjson"
    JSON = "json"


Vectors = Annotated[
    bool, typer.Option("--vectors", help="With the vectors of each document.", rich_help_panel=RETURNED)
]


@app.command()
def browse(
    ctx: typer.Context,
    index: Index,
    filter: Filter = None,
    ids: Annotated[
        str | None,
        typer.Option("--ids", metavar="A,B", help="Only documents with these primary keys.", rich_help_panel=WANTED),
    ] = None,
    sort: Sort = None,
    fields: Fields = None,
    vectors: Vectors = False,
    limit: Limit = None,
    offset: Offset = None,
    body: Body = None,
    partial: Partial = None,
) -> None:
    """List documents in the order of their primary keys, or sorted.

    Unlike a search it shows fields that are not displayed, has no end at 1,000 hits and ranks nothing. A field to sort
    by must be in `sortableAttributes`, one to filter by in `filterableAttributes`. `--json` prints the body that one
    Meilisearch would answer.

    Examples:
      miroir browse books
      miroir browse books --sort year:desc --fields id,title,year
      miroir browse books --filter 'genre = Novel' --limit 5 --offset 5
      miroir browse books --ids 1,2,3 --json
    """

    async def command(console: Console) -> None:
        from miroir_cli.cli.hits import show_documents
        from miroir_cli.search.browse import browse as browse_index

        request = request_of(
            console.read_json(body) if body else {},
            filter=filter,
            ids=names_of(ids),
            sort=sort or None,
            fields=names_of(fields),
            retrieveVectors=vectors or None,
            limit=limit,
            offset=offset,
        )
        found, primary_key = await answer(console, browse_index, index, request, partial)

        def render() -> None:
            shown = found["results"]
            show_documents(console, shown, primary_key=primary_key, attributes=request.get("fields"))
            console.print(f"{len(shown):,} of {counted(found['total'], 'document')}")

        console.show(found, render)
        require_whole(index, found)

    run(ctx, command)


@app.command()
def export(
    ctx: typer.Context,
    index: Index,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write here, whole or not at all; otherwise print."),
    ] = None,
    form: Annotated[
        Form | None, typer.Option("--format", help="`ndjson`, one document a line (otherwise), or a `json` array.")
    ] = None,
    filter: Filter = None,
    fields: Fields = None,
    vectors: Vectors = False,
    server: Annotated[
        str | None, typer.Option("--to", metavar="URL", help="Copy into this Meilisearch.", rich_help_panel=SERVER)
    ] = None,
    server_index: Annotated[
        str | None, typer.Option("--to-index", metavar="UID", help="Its uid there (the same).", rich_help_panel=SERVER)
    ] = None,
    key_env: Annotated[
        str | None,
        typer.Option(metavar="VAR", help="Which variable holds the server's key.", rich_help_panel=SERVER),
    ] = None,
    rate: Rate = None,
    delete: Annotated[
        bool,
        typer.Option("--delete", help="Delete documents that the cluster does not have.", rich_help_panel=SERVER),
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Write all documents of an index to a file, print or copy them.

    In the order of their primary keys. Documents may be written and shards may move meanwhile: what is there all the
    time is exported exactly once. The settings are not part of it: `miroir index settings get` prints them. `miroir
    import` reads what this writes.

    With `--to` one Meilisearch gets the index, with its settings if it has none of that uid, and only documents that
    differ: run again, it copies what has changed in the cluster meanwhile.

    Examples:
      miroir export books -o books.ndjson
      miroir export books --format json --fields id,title > titles.json
      miroir export books --filter 'year >= 1970' | gzip > recent.ndjson.gz
      miroir export books | miroir import copy - --create -k id      # into another index
      miroir export books --to http://127.0.0.1:7704                 # into one Meilisearch
    """

    async def copying(console: Console, url: str) -> None:
        from miroir_cli.backup.from_server import CopyOptions
        from miroir_cli.cli.copying import Server, export_to

        if any((output, form, filter, fields, vectors)):
            raise UsageError("`--to` copies whole documents: leave out the options for files")
        options = CopyOptions(rate=rate, delete=delete)
        destination = Server(url=url, index=server_index, key_env=key_env)
        await export_to(console, index, destination, options=options, dry_run=dry_run, yes=yes)

    async def command(console: Console) -> None:
        if server is not None:
            return await copying(console, server)
        if any((server_index, key_env, rate, delete)):
            raise UsageError("these options are for a copy into a server", hint="say which with `--to URL`")
        return await (counting(console) if dry_run else writing(console))

    async def counting(console: Console) -> None:
        from miroir_cli.indexes.counts import count_documents
        from miroir_cli.search.filters import rewrite

        async with console.cluster() as cluster:
            uid = await index_meant(console, cluster, index)
            count = await count_documents(cluster, await cluster.reload(uid), filter=rewrite(filter))
        found = {"index": uid, "documents": count.documents, "dry_run": True}
        console.show(found, lambda: console.print(f"would export {counted(count.documents, 'document')} of `{uid}`"))

    async def writing(console: Console) -> None:
        import asyncio

        from miroir_cli.search.export import export_documents

        if console.json and output is None:
            raise UsageError("`--json` describes an export into a file", hint="add `--output FILE`, or leave it out")
        done = 0
        async with console.cluster() as cluster:
            uid = await index_meant(console, cluster, index)
            pages = export_documents(cluster, uid, filter=filter, fields=names_of(fields), vectors=vectors)
            with _destination(output) as file, console.progress() as progress:
                lane = progress.lane("exported")
                begin, between, end = (b"[\n", b",\n", b"\n]\n") if form is Form.JSON else (b"", b"\n", b"\n")
                await asyncio.to_thread(file.write, begin)
                async for page in pages:
                    if page:
                        await asyncio.to_thread(file.write, (between if done else b"") + between.join(page))
                    done += len(page)
                    lane.update(done)
                if done or form is Form.JSON:
                    await asyncio.to_thread(file.write, end)
        if output is not None:
            document = {"index": uid, "documents": done, "file": str(output)}
            console.show(document, lambda: console.print(f"{counted(done, 'document')} of `{uid}` in `{output}`"))

    run(ctx, command, when_interrupted="nothing was written to the file; run it again")


@contextmanager
def _destination(path: Path | None) -> Iterator[IO[bytes]]:
    """Standard output, or a file that takes the path's place once it is complete and on disk."""
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with ExitStack() as stack:
        try:
            if path.is_dir():
                raise IsADirectoryError(EISDIR, os.strerror(EISDIR))
            file = stack.enter_context(replaced(path))
        except OSError as error:
            raise UsageError(
                f"`{path}` cannot be written: {(error.strerror or str(error)).lower()}", hint=FILE_HINT
            ) from error
        yield file
