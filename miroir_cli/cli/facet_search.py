"""`miroir facet-search`."""

from __future__ import annotations

from typing import Annotated

import typer

from miroir_cli.cli.console import Console, run
from miroir_cli.cli.options import RETURNED, WANTED, Filter, Index
from miroir_cli.cli.search import Body, MatchingStrategy, Partial, answer, request_of, require_whole
from miroir_cli.cli.table import Column

app = typer.Typer()


@app.command("facet-search")
def facet_search(
    ctx: typer.Context,
    index: Index,
    facet: Annotated[
        str, typer.Argument(metavar="FACET", help="The field whose values are meant.", show_default=False)
    ],
    query: Annotated[
        str | None, typer.Argument(metavar="[QUERY]", help="How the values begin, typos allowed.", show_default=False)
    ] = None,
    words: Annotated[
        str | None,
        typer.Option(
            "--words", metavar="WORDS", help="Only of documents that match these words.", rich_help_panel=WANTED
        ),
    ] = None,
    filter: Filter = None,
    matching_strategy: Annotated[
        MatchingStrategy | None,
        typer.Option(
            "--matching-strategy", help="Which of the words a document may lack (last).", rich_help_panel=WANTED
        ),
    ] = None,
    exhaustive: Annotated[
        bool,
        typer.Option(
            "--exhaustive",
            help="Count every matching document, however many there are.",
            rich_help_panel=RETURNED,
        ),
    ] = False,
    body: Body = None,
    partial: Partial = None,
) -> None:
    """Find values of a facet by their beginning, with their counts.

    For the box in which somebody types to narrow a search. The field must be in `filterableAttributes`. `--json` prints
    the body that one Meilisearch would answer.

    Examples:
      miroir facet-search books author le
      miroir facet-search books genre --filter 'year < 1970'
    """

    async def command(console: Console) -> None:
        from miroir_cli.search.facet_search import facet_search as search_facet

        request = request_of(
            console.read_json(body) if body else {},
            facetName=facet,
            facetQuery=query,
            q=words,
            filter=filter,
            matchingStrategy=matching_strategy.value if matching_strategy else None,
            exhaustiveFacetCount=exhaustive or None,
        )
        found, _ = await answer(console, search_facet, index, request, partial)
        rows = [(hit["value"], f"{hit['count']:,}") for hit in found["facetHits"]]
        console.show(found, lambda: console.table([facet, Column(name="documents", right=True, keep=True)], rows))
        require_whole(index, found)

    run(ctx, command)
