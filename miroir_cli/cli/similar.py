"""`miroir similar`."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from miroir_cli.cli.console import Console, run
from miroir_cli.cli.search import Body, Filter, Index, Partial, names_of, partial_error, request_of

app = typer.Typer()


@app.command()
def similar(
    ctx: typer.Context,
    index: Index,
    key: Annotated[
        str | None, typer.Argument(metavar="ID", help="A document's primary key.", show_default=False)
    ] = None,
    embedder: Annotated[
        str | None, typer.Option("--embedder", "-e", metavar="NAME", help="The embedder whose vectors are compared.")
    ] = None,
    filter: Filter = None,
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=0, metavar="N", help="Hits to show (20).")] = None,
    offset: Annotated[int | None, typer.Option("--offset", min=0, metavar="N", help="Hits to skip.")] = None,
    attributes: Annotated[
        str | None, typer.Option("--attributes", "-a", metavar="A,B", help="Fields to show, in this order.")
    ] = None,
    ranking_score_threshold: Annotated[
        float | None,
        typer.Option("--ranking-score-threshold", metavar="X", help="Only hits that are near by X or more."),
    ] = None,
    body: Body = None,
    partial: Partial = None,
) -> None:
    """Find documents that are near another one by their vectors, how near shown as the score."""

    async def command(console: Console) -> None:
        from miroir_cli.cli.hits import show_hits
        from miroir_cli.search.reading import SearchOptions
        from miroir_cli.search.similar import similar as find_similar

        request = request_of(
            console.read_json(body) if body else {},
            id=key,
            embedder=embedder,
            filter=filter,
            limit=limit,
            offset=offset,
            attributesToRetrieve=names_of(attributes),
            rankingScoreThreshold=ranking_score_threshold,
        )
        if not console.json:
            request = {**request, "showRankingScore": True}
        async with console.cluster() as cluster:
            cluster.rotation = os.getpid()
            options = SearchOptions(partial=partial.value if partial else None)
            found = await find_similar(cluster, index, request, options=options)
            primary_key = (await cluster.map(index)).index.primary_key
        console.show(
            found,
            lambda: show_hits(console, found, primary_key=primary_key, attributes=request.get("attributesToRetrieve")),
        )
        if found.get("partial"):
            raise partial_error(index, found)

    run(ctx, command)
