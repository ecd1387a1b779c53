"""`miroir similar`."""

from __future__ import annotations

from typing import Annotated

import typer

from miroir_cli.cli.console import Console, run
from miroir_cli.cli.options import WANTED, Fields, Filter, Index, Limit, Offset
from miroir_cli.cli.search import (
    Body,
    Partial,
    RankingScoreThreshold,
    answer,
    names_of,
    request_of,
    require_whole,
)

app = typer.Typer()


@app.command()
def similar(
    ctx: typer.Context,
    index: Index,
    key: Annotated[
        str | None, typer.Argument(metavar="ID", help="A document's primary key.", show_default=False)
    ] = None,
    embedder: Annotated[
        str | None,
        typer.Option(
            "--embedder",
            "-e",
            metavar="NAME",
            help="The embedder whose vectors are compared.",
            rich_help_panel=WANTED,
        ),
    ] = None,
    filter: Filter = None,
    ranking_score_threshold: RankingScoreThreshold = None,
    fields: Fields = None,
    limit: Limit = None,
    offset: Offset = None,
    body: Body = None,
    partial: Partial = None,
) -> None:
    """Find documents near another one by their vectors.

    How near they are is shown as the score: 1 is the same. The index needs an embedder, and the document a vector.

    Examples:
      miroir similar films 3 --embedder topics
      miroir similar films 3 -e topics --filter 'year > 1970' --limit 2
    """

    async def command(console: Console) -> None:
        from miroir_cli.cli.hits import show_hits
        from miroir_cli.search.similar import similar as find_similar

        request = request_of(
            console.read_json(body) if body else {},
            id=key,
            embedder=embedder,
            filter=filter,
            limit=limit,
            offset=offset,
            attributesToRetrieve=names_of(fields),
            rankingScoreThreshold=ranking_score_threshold,
        )
        if not console.json:
            request = {**request, "showRankingScore": True}
        found, primary_key = await answer(console, find_similar, index, request, partial)
        console.show(
            found,
            lambda: show_hits(console, found, primary_key=primary_key, attributes=request.get("attributesToRetrieve")),
        )
        require_whole(index, found)

    run(ctx, command)
