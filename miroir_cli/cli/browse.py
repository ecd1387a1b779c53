"""`miroir browse` and `miroir export`."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import IO, Annotated

import typer

from miroir_cli.cli.console import Console, run
from miroir_cli.cli.search import Filter, Index, WhenPartial, names_of, request_of, spans
from miroir_cli.cli.table import counted
from miroir_cli.errors import PartialError, UsageError

app = typer.Typer()


class Form(StrEnum):
    NDJSON = "ndjson"
    JSON = "json"


Fields = Annotated[str | None, typer.Option("--fields", metavar="A,B", help="Only these fields.")]
Vectors = Annotated[bool, typer.Option("--vectors", help="With the vectors of each document.")]


@app.command()
def browse(
    ctx: typer.Context,
    index: Index,
    filter: Filter = None,
    ids: Annotated[str | None, typer.Option("--ids", metavar="A,B", help="Only documents with these keys.")] = None,
    sort: Annotated[
        list[str] | None,
        typer.Option("--sort", "-s", metavar="FIELD:asc|desc", help="Sort by a field; may be repeated."),
    ] = None,
    fields: Fields = None,
    vectors: Vectors = False,
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=0, metavar="N", help="How many (20).")] = None,
    offset: Annotated[int | None, typer.Option("--offset", min=0, metavar="N", help="How many to skip.")] = None,
    body: Annotated[
        str | None,
        typer.Option("--body", metavar="FILE", help="A request as JSON (`-`: standard input); options go on top."),
    ] = None,
    partial: Annotated[
        WhenPartial | None,
        typer.Option("--partial", help="What to do when shards do not answer (otherwise the topology file's)."),
    ] = None,
) -> None:
    """List documents in the order of their primary keys, or sorted.

    Unlike a search it shows fields that are not displayed. `--json` prints the body that Meilisearch would answer.
    """

    async def command(console: Console) -> None:
        from miroir_cli.cli.hits import show_documents
        from miroir_cli.search.browse import browse as browse_index
        from miroir_cli.search.reading import SearchOptions

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
        async with console.cluster() as cluster:
            cluster.rotation = os.getpid()
            options = SearchOptions(partial=partial.value if partial else None)
            found = await browse_index(cluster, index, request, options=options)
            primary_key = (await cluster.map(index)).index.primary_key

        def render() -> None:
            shown = found["results"]
            show_documents(console, shown, primary_key=primary_key, attributes=request.get("fields"))
            console.print(f"{len(shown):,} of {counted(found['total'], 'document')}")

        console.show(found, render)
        if found.get("partial"):
            raise PartialError(
                f"index `{index}`: the answer lacks shards {spans(found['missingShards'])}",
                hint="run `miroir status` to see which nodes answer",
            )

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
) -> None:
    """Write every document of an index, in the order of their primary keys.

    Documents may be written and shards may move meanwhile: what is there all the time is exported exactly once.
    """

    async def command(console: Console) -> None:
        import asyncio

        from miroir_cli.search.export import export_documents

        if console.json and output is None:
            raise UsageError("`--json` describes an export into a file", hint="add `--output FILE`, or leave it out")
        done = 0
        async with console.cluster() as cluster:
            pages = export_documents(cluster, index, filter=filter, fields=names_of(fields), vectors=vectors)
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
            document = {"index": index, "documents": done, "file": str(output)}
            console.show(document, lambda: console.print(f"{counted(done, 'document')} of `{index}` in `{output}`"))

    run(ctx, command, when_interrupted="nothing was written to the file; run it again")


@contextmanager
def _destination(path: Path | None) -> Iterator[IO[bytes]]:
    """Standard output, or a file that takes the path's place once it is complete and on disk."""
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.resolve().parent, prefix=f".{path.name}.")
    except OSError as error:
        raise UsageError(f"`{path}` cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path.resolve())
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
