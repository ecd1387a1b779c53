"""`miroir search`, `miroir explain` and `miroir locate`."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from miroir_cli.cli.console import Console, run
from miroir_cli.cli.options import RETURNED, WANTED, Fields, Filter, Index, Limit, Offset, Sort
from miroir_cli.cli.table import Column, counted
from miroir_cli.errors import MultiAlias, PartialError, UsageError

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
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


MEANING = "By meaning"
REQUEST = "The request"

Query = Annotated[str | None, typer.Argument(metavar="QUERY", help="What to look for.", show_default=False)]
Partial = Annotated[
    WhenPartial | None,
    typer.Option(
        "--partial",
        help="What to do when shards do not answer (otherwise the topology file's).",
        rich_help_panel=REQUEST,
    ),
]
Body = Annotated[
    str | None,
    typer.Option(
        "--body",
        metavar="FILE",
        help="A request as JSON (`-`: standard input); options go on top.",
        rich_help_panel=REQUEST,
    ),
]
RankingScoreThreshold = Annotated[
    float | None,
    typer.Option(
        "--ranking-score-threshold", metavar="X", help="Only hits that score X or more.", rich_help_panel=WANTED
    ),
]


@app.command()
def search(
    ctx: typer.Context,
    index: Annotated[
        str | None,
        typer.Argument(metavar="INDEX", help="The index's uid; none with `--multi`.", show_default=False),
    ] = None,
    query: Query = None,
    filter: Filter = None,
    sort: Sort = None,
    distinct: Annotated[
        str | None,
        typer.Option(
            "--distinct",
            metavar="FIELD",
            help="Only the best hit of each value of this field.",
            rich_help_panel=WANTED,
        ),
    ] = None,
    matching_strategy: Annotated[
        MatchingStrategy | None,
        typer.Option(
            "--matching-strategy", help="Which words of the query a hit may lack (last).", rich_help_panel=WANTED
        ),
    ] = None,
    ranking_score_threshold: RankingScoreThreshold = None,
    fields: Fields = None,
    limit: Limit = None,
    offset: Offset = None,
    page: Annotated[
        int | None, typer.Option("--page", min=0, metavar="N", help="Show this page.", rich_help_panel=RETURNED)
    ] = None,
    hits_per_page: Annotated[
        int | None, typer.Option("--hits-per-page", min=0, metavar="N", help="Its size.", rich_help_panel=RETURNED)
    ] = None,
    facets: Annotated[
        str | None,
        typer.Option(
            "--facets",
            metavar="A,B",
            help="Count the values of these fields; `*`: of all.",
            rich_help_panel=RETURNED,
        ),
    ] = None,
    highlight: Annotated[
        str | None,
        typer.Option(
            "--highlight",
            metavar="A,B",
            help="Mark matches in these fields (`_formatted`).",
            rich_help_panel=RETURNED,
        ),
    ] = None,
    embedder: Annotated[
        str | None,
        typer.Option(
            "--embedder",
            "-e",
            metavar="NAME",
            help="Rank by vectors too, those of this embedder.",
            rich_help_panel=MEANING,
        ),
    ] = None,
    semantic_ratio: Annotated[
        float | None,
        typer.Option(
            "--semantic-ratio",
            metavar="X",
            help="What vectors count beside words: 0 to 1 (0.5).",
            rich_help_panel=MEANING,
        ),
    ] = None,
    vector: Annotated[
        str | None,
        typer.Option(
            "--vector",
            metavar="X,Y",
            help="The vector to look for, where the embedder makes none of words.",
            rich_help_panel=MEANING,
        ),
    ] = None,
    body: Body = None,
    multi: Annotated[
        str | None,
        typer.Option(
            "--multi",
            metavar="FILE",
            help="Many queries at once: the JSON body of a multi-search (`-`: standard input).",
            rich_help_panel=REQUEST,
        ),
    ] = None,
    partial: Partial = None,
) -> None:
    """Search an index over all its shards.

    Hits, their order, totals and facets are those of one Meilisearch with all documents; `--json` prints the body that
    it would answer. Each shard is asked of one in-sync replica. When no replica of a shard answers, that is an error,
    or with `--partial allow` an answer that says what is missing and exit status 3.

    Examples:
      miroir search books "left hand"
      miroir search books robots --filter 'year < 1970' --sort year:asc
      miroir search books --facets genre,author --limit 0              # what there is
      miroir search books darkness --fields title,author --json        # as Meilisearch answers it
      miroir search books --body request.json                          # all that Meilisearch's API can
      miroir search --multi queries.json
    """

    async def command(console: Console) -> None:
        from miroir_cli.cli.hits import highlight_for_table, show_hits
        from miroir_cli.search.multi import search_named

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
            attributesToRetrieve=names_of(fields),
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
            await search_many(console, console.read_json(multi), partial)
            return
        if index is None:
            raise UsageError("missing argument `INDEX`", hint="name an index, or give a file to `--multi`")
        request = request_of(console.read_json(body) if body else {}, **given)
        if hybrid:
            request = {**request, "hybrid": {**(request.get("hybrid") or {}), **hybrid}}
        if not console.json and sys.stdout.isatty():
            request = highlight_for_table(request)
        found, primary_key = await answer(console, search_named, index, request, partial)
        console.show(
            found,
            lambda: show_hits(console, found, primary_key=primary_key, attributes=request.get("attributesToRetrieve")),
        )
        require_whole(index, found)

    run(ctx, command)


Ask = Callable[..., Awaitable[dict[str, Any]]]
"""What answers a request for an index: `ask(cluster, index, request, options=...)`."""


async def answer(
    console: Console, ask: Ask, index: str, request: Mapping[str, Any], partial: WhenPartial | None
) -> tuple[dict[str, Any], str]:
    """The answer to a request, and the primary key of its index; none where that is an alias of several."""
    async with console.cluster() as cluster:
        found = await ask(cluster, index, request, options=options_of(partial))
        return found, await _primary_key(cluster, index)


async def _primary_key(cluster: Cluster, name: str) -> str:
    try:
        return (await cluster.named(name)).index.primary_key
    except MultiAlias:
        return ""


def options_of(partial: WhenPartial | None) -> SearchOptions:
    from miroir_cli.search.reading import SearchOptions

    return SearchOptions(partial=partial.value if partial else None)


def require_whole(index: str, found: Mapping[str, Any]) -> None:
    """Raise `PartialError` once a partial answer is shown."""
    if not found.get("partial"):
        return
    missing = found["missingShards"]
    if isinstance(missing, dict):  # of an alias of several indexes
        index, missing = next(iter(missing.items()))
    raise partial_error(index, missing)


async def search_many(console: Console, request: Mapping[str, Any], partial: WhenPartial | None) -> None:
    """Run a multi-search and show its results."""
    from miroir_cli.cli.hits import show_many
    from miroir_cli.search.multi import multi_search

    async with console.cluster() as cluster:
        found = await multi_search(cluster, request, options=options_of(partial))
        uids = {result["indexUid"] for result in found.get("results", ())}
        keys = {uid: await _primary_key(cluster, uid) for uid in sorted(uids)}
    console.show(found, lambda: show_many(console, found, primary_keys=keys))
    parts = [
        (result["indexUid"], result["missingShards"]) for result in found.get("results", ()) if result.get("partial")
    ]
    for uid, shards in [*parts, *found.get("missingShards", {}).items()]:
        raise partial_error(uid, shards)


@app.command()
def explain(ctx: typer.Context, index: Index, query: Query = None, filter: Filter = None, body: Body = None) -> None:
    """Show which nodes a search would ask for which shards, and why.

    The search is planned and not made: no node is asked. It warns of what in the answer may not be as on one node.

    Examples:
      miroir explain books
      miroir explain books robots --filter 'id IN [7, 8]'      # asks only nodes that can have them
    """

    async def command(console: Console) -> None:
        from miroir_cli.search.explain import explain as explain_search

        request = request_of(console.read_json(body) if body else {}, q=query, filter=filter)
        async with console.cluster() as cluster:
            found = await explain_search(cluster, index, request)
        console.show(found, lambda: show_explanation(console, found))

    run(ctx, command)


@app.command()
def locate(
    ctx: typer.Context,
    index: Index,
    key: Annotated[str, typer.Argument(metavar="ID", help="A document's primary key.", show_default=False)],
) -> None:
    """Show where a document lives: its shard and its nodes.

    The shard follows from the primary key alone, so this tells it for documents that do not exist, too.

    Examples:
      miroir locate books 42
    """

    async def command(console: Console) -> None:
        from miroir_cli.documents.route import shard_of

        async with console.cluster() as cluster:
            index_map = await cluster.reload_named(index)
            nodes = {node.name: node for node in cluster.topology.nodes}
        shard = shard_of(key, index_map.index.shards)
        found: dict[str, Any] = {
            "index": index_map.index.uid,
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


def partial_error(index: str, missing: Sequence[int]) -> PartialError:
    return PartialError(
        f"index `{index}`: the answer lacks shards {spans(missing) or '(not known which)'}",
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
            Column(name="node", name_like=True),
            Column(name="shards", right=True, keep=True),
            Column(name="which", wrap=True, least=12),
            Column(name="group", optional=True, varies=True),
            Column(name="only it has", right=True, optional=True),
        ],
        [(ask.node, len(ask.shards), spans(ask.shards), ask.group, len(ask.alone)) for ask in found.asks],
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
            Column(name="node", name_like=True),
            Column(name="state", keep=True),
            Column(name="group", optional=True, varies=True),
            Column(name="url", optional=True),
        ],
        [(each["node"], each["state"], each["group"], each["url"]) for each in found["replicas"]],
    )
