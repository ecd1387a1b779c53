"""`miroir facet-search`."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from miroir_cli.cli.console import Console, run
from miroir_cli.cli.search import Filter, Index, MatchingStrategy, WhenPartial, request_of, spans
from miroir_cli.cli.table import Column
from miroir_cli.errors import PartialError

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
        str | None, typer.Option("--words", metavar="WORDS", help="Only of documents that match these words.")
    ] = None,
    filter: Filter = None,
    matching_strategy: Annotated[
        MatchingStrategy | None,
        typer.Option("--matching-strategy", help="Which of the words a document may lack."),
    ] = None,
    exhaustive: Annotated[
        bool, typer.Option("--exhaustive", help="Count every matching document, however many there are.")
    ] = False,
    body: Annotated[
        str | None,
        typer.Option("--body", metavar="FILE", help="A request as JSON (`-`: standard input); options go on top."),
    ] = None,
    partial: Annotated[
        WhenPartial | None,
        typer.Option("--partial", help="What to do when shards do not answer (otherwise the topology file's)."),
    ] = None,
) -> None:
    """Find values of a facet by their beginning, and count their documents.

    `--json` prints the body that one Meilisearch would answer.
    """

    async def command(console: Console) -> None:
        from miroir_cli.search.facet_search import facet_search as search_facet
        from miroir_cli.search.reading import SearchOptions

        request = request_of(
            console.read_json(body) if body else {},
            facetName=facet,
            facetQuery=query,
            q=words,
            filter=filter,
            matchingStrategy=matching_strategy.value if matching_strategy else None,
            exhaustiveFacetCount=exhaustive or None,
        )
        async with console.cluster() as cluster:
            cluster.rotation = os.getpid()
            options = SearchOptions(partial=partial.value if partial else None)
            found = await search_facet(cluster, index, request, options=options)
        rows = [(hit["value"], f"{hit['count']:,}") for hit in found["facetHits"]]
        console.show(found, lambda: console.table([facet, Column(name="documents", right=True)], rows))
        if found.get("partial"):
            raise PartialError(
                f"index `{index}`: the answer lacks shards {spans(found['missingShards'])}",
                hint="run `miroir status` to see which nodes answer",
            )

    run(ctx, command)
