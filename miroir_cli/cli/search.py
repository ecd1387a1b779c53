"""`miroir search`, `miroir explain` and `miroir locate`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from miroir_cli.cli.console import Console, run
from miroir_cli.cli.table import Column, counted
from miroir_cli.errors import PartialError, UsageError

if TYPE_CHECKING:
    from miroir_cli.search.explain import Explanation
    from miroir_cli.search.reading import SearchOptions

app = typer.Typer()


class MatchingStrategy(StrEnum):
    LAST = "last"
    ALL = "all"
    FREQUENCY = "frequency"


class WhenPartial(StrEnum):
    ERROR = "error"
    ALLOW = "allow"


Index = Annotated[str, typer.Argument(metavar="INDEX", help="The index.", show_default=False)]
Query = Annotated[str | None, typer.Argument(metavar="QUERY", help="What to look for.", show_default=False)]
Filter = Annotated[str | None, typer.Option("--filter", "-f", metavar="FILTER", help="A filter expression.")]
Partial = Annotated[
    WhenPartial | None,
    typer.Option("--partial", help="What to do when shards do not answer (otherwise the topology file's)."),
]
Body = Annotated[
    str | None,
    typer.Option("--body", metavar="FILE", help="A search request as JSON (`-`: standard input); options go on top."),
]


@app.command()
def search(
    ctx: typer.Context,
    index: Annotated[
        str | None, typer.Argument(metavar="INDEX", help="The index; none with `--multi`.", show_default=False)
    ] = None,
    query: Query = None,
    filter: Filter = None,
    sort: Annotated[
        list[str] | None,
        typer.Option("--sort", "-s", metavar="FIELD:asc|desc", help="Sort by a field; may be repeated."),
    ] = None,
    facets: Annotated[
        str | None, typer.Option("--facets", metavar="A,B", help="Count the values of these fields; `*`: of all.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=0, metavar="N", help="Hits to show (20).")] = None,
    offset: Annotated[int | None, typer.Option("--offset", min=0, metavar="N", help="Hits to skip.")] = None,
    page: Annotated[int | None, typer.Option("--page", min=0, metavar="N", help="Show this page.")] = None,
    hits_per_page: Annotated[int | None, typer.Option("--hits-per-page", min=0, metavar="N", help="Its size.")] = None,
    attributes: Annotated[
        str | None, typer.Option("--attributes", "-a", metavar="A,B", help="Fields to show, in this order.")
    ] = None,
    highlight: Annotated[
        str | None, typer.Option("--highlight", metavar="A,B", help="Mark matches in these fields (`_formatted`).")
    ] = None,
    matching_strategy: Annotated[
        MatchingStrategy | None,
        typer.Option("--matching-strategy", help="Which words of the query a hit may lack."),
    ] = None,
    distinct: Annotated[
        str | None, typer.Option("--distinct", metavar="FIELD", help="Only the best hit of each value of this field.")
    ] = None,
    ranking_score_threshold: Annotated[
        float | None, typer.Option("--ranking-score-threshold", metavar="X", help="Only hits that score X or more.")
    ] = None,
    embedder: Annotated[
        str | None,
        typer.Option("--embedder", "-e", metavar="NAME", help="Rank by vectors too, those of this embedder."),
    ] = None,
    semantic_ratio: Annotated[
        float | None,
        typer.Option("--semantic-ratio", metavar="X", help="What vectors count beside words: 0 to 1 (0.5)."),
    ] = None,
    vector: Annotated[
        str | None,
        typer.Option("--vector", metavar="X,Y", help="The vector to look for, where the embedder makes none of words."),
    ] = None,
    body: Body = None,
    multi: Annotated[
        str | None,
        typer.Option(
            "--multi",
            metavar="FILE",
            help="Many queries at once: the JSON body of a multi-search (`-`: standard input).",
        ),
    ] = None,
    partial: Partial = None,
) -> None:
    """Search an index. `--json` prints the body that one Meilisearch would answer."""

    async def command(console: Console) -> None:
        from miroir_cli.cli.hits import highlight_for_table, show_hits
        from miroir_cli.search.reading import SearchOptions
        from miroir_cli.search.scatter import search as search_index

        options = SearchOptions(partial=partial.value if partial else None)
        given = request_of(
            {},
            q=query,
            filter=filter,
            sort=sort or None,
            facets=names_of(facets),
            limit=limit,
            offset=offset,
            page=page,
            hitsPerPage=hits_per_page,
            attributesToRetrieve=names_of(attributes),
            attributesToHighlight=names_of(highlight),
            matchingStrategy=matching_strategy.value if matching_strategy else None,
            distinct=distinct,
            rankingScoreThreshold=ranking_score_threshold,
            vector=numbers_of(vector),
        )
        hybrid = request_of({}, embedder=embedder, semanticRatio=semantic_ratio)
        if multi is not None:
            if index is not None or body is not None or given or hybrid:
                raise UsageError(
                    "`--multi` takes neither an index nor parts of a query",
                    hint="write them into the queries of the file",
                )
            await search_many(console, console.read_json(multi), options)
            return
        if index is None:
            raise UsageError("missing argument `INDEX`", hint="name an index, or give a file to `--multi`")
        request = request_of(console.read_json(body) if body else {}, **given)
        if hybrid:
            request = {**request, "hybrid": {**(request.get("hybrid") or {}), **hybrid}}
        if not console.json and sys.stdout.isatty():
            request = highlight_for_table(request)
        async with console.cluster() as cluster:
            cluster.rotation = os.getpid()
            found = await search_index(cluster, index, request, options=options)
            primary_key = (await cluster.map(index)).index.primary_key
        console.show(
            found,
            lambda: show_hits(console, found, primary_key=primary_key, attributes=request.get("attributesToRetrieve")),
        )
        if found.get("partial"):
            raise partial_error(index, found)

    run(ctx, command)


async def search_many(console: Console, request: Mapping[str, Any], options: SearchOptions) -> None:
    """Run a multi-search and show its results."""
    from miroir_cli.cli.hits import show_many
    from miroir_cli.search.multi import multi_search

    async with console.cluster() as cluster:
        cluster.rotation = os.getpid()
        found = await multi_search(cluster, request, options=options)
        uids = {result["indexUid"] for result in found.get("results", ())}
        keys = {uid: (await cluster.map(uid)).index.primary_key for uid in sorted(uids)}
    console.show(found, lambda: show_many(console, found, primary_keys=keys))
    parts = [
        (result["indexUid"], result["missingShards"]) for result in found.get("results", ()) if result.get("partial")
    ]
    for uid, shards in [*parts, *found.get("missingShards", {}).items()]:
        raise PartialError(
            f"index `{uid}`: the answer lacks shards {spans(shards)}",
            hint="run `miroir status` to see which nodes answer",
        )


@app.command()
def explain(ctx: typer.Context, index: Index, query: Query = None, filter: Filter = None, body: Body = None) -> None:
    """Show which nodes a search would ask for which shards, and why. Nothing is asked."""

    async def command(console: Console) -> None:
        from miroir_cli.search.explain import explain as explain_search

        request = request_of(console.read_json(body) if body else {}, q=query, filter=filter)
        async with console.cluster() as cluster:
            cluster.rotation = os.getpid()
            found = await explain_search(cluster, index, request)
        console.show(found, lambda: show_explanation(console, found))

    run(ctx, command)


@app.command()
def locate(
    ctx: typer.Context,
    index: Index,
    key: Annotated[str, typer.Argument(metavar="ID", help="A document's primary key.", show_default=False)],
) -> None:
    """Show where a document lives, whether or not it exists: its shard, and the nodes that hold it."""

    async def command(console: Console) -> None:
        from miroir_cli.documents.route import shard_of

        async with console.cluster() as cluster:
            index_map = await cluster.reload(index)
            nodes = {node.name: node for node in cluster.topology.nodes}
        shard = shard_of(key, index_map.index.shards)
        found: dict[str, Any] = {
            "index": index,
            "id": key,
            "shard": shard,
            "replicas": [
                {
                    "node": replica.node,
                    "group": nodes[replica.node].group if replica.node in nodes else None,
                    "url": nodes[replica.node].url if replica.node in nodes else None,
                    "state": replica.state.value,
                }
                for replica in sorted(index_map.replicas, key=lambda replica: replica.node)
                if replica.shard == shard
            ],
        }
        console.show(found, lambda: show_location(console, found))

    run(ctx, command)


def partial_error(index: str, found: Mapping[str, Any]) -> PartialError:
    """What to raise once a partial answer is shown."""
    return PartialError(
        f"index `{index}`: the answer lacks shards {spans(found['missingShards']) or '(not known which)'}",
        hint="run `miroir status` to see which nodes answer",
    )


def numbers_of(text: str | None) -> list[float] | None:
    """The numbers in `0.1,0.2` or `[0.1, 0.2]`. Raises `UsageError` for what is none."""
    if text is None:
        return None
    try:
        return [float(part) for part in text.strip().removeprefix("[").removesuffix("]").split(",")]
    except ValueError as error:
        raise UsageError(f"`--vector` is not a list of numbers: {error}", hint="write `--vector 0.1,0.2`") from None


def names_of(text: str | None) -> list[str] | None:
    """The names in `A,B`."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def request_of(base: Mapping[str, Any], **given: Any) -> dict[str, Any]:
    """A search request: the parts of `base`, and on top those that are given."""
    return {**base, **{key: value for key, value in given.items() if value is not None}}


def show_explanation(console: Console, found: Explanation) -> None:
    console.table(
        [
            "node",
            Column(name="group", optional=True),
            Column(name="shards", right=True, keep=True),
            Column(name="which", wrap=True),
            Column(name="only it has", right=True, optional=True),
        ],
        [(ask.node, ask.group, len(ask.shards), spans(ask.shards), len(ask.alone)) for ask in found.asks],
    )
    for idle in found.idle:
        console.print(f"not asked: {idle.node}: {idle.reason}")
    if found.missing:
        console.print(f"nobody can answer for: {spans(found.missing)}")
    if found.narrowed is not None:
        console.print(f"the filter names primary keys: only shard {spans(found.narrowed)} can have them")
    for caveat in found.caveats:
        console.print(f"may differ from one node: {caveat} (docs/concepts/exactness.md)")
    hits = "" if found.hits_per_node is None else f", {found.hits_per_node:,} hits from each"
    console.print(f"{counted(len(found.asks), 'node')} for {found.shards} shards{hits}")


def spans(shards: Sequence[int]) -> str:
    """`0-3, 7` for 0, 1, 2, 3, 7."""
    parts: list[list[int]] = []
    for shard in shards:
        if parts and parts[-1][-1] == shard - 1:
            parts[-1] = [parts[-1][0], shard]
        else:
            parts.append([shard])
    return ", ".join("-".join(map(str, part)) for part in parts)


def show_location(console: Console, found: Mapping[str, Any]) -> None:
    console.print(f"document `{found['id']}` of index `{found['index']}` belongs to shard {found['shard']}")
    console.table(
        [
            "node",
            Column(name="group", optional=True),
            Column(name="state", keep=True),
            Column(name="url", optional=True),
        ],
        [(each["node"], each["group"], each["state"], each["url"]) for each in found["replicas"]],
    )
