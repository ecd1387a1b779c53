"""`miroir alias`: names that stand for an index, or for several that are searched as one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from miroir_cli.cli.console import Console, Next, run
from miroir_cli.cli.options import DryRun
from miroir_cli.cli.table import Cell, Column, clock_time
from miroir_cli.errors import UsageError

if TYPE_CHECKING:
    from miroir_cli.store.aliases import Alias

GROUP = """
Let a name stand for an index, and later for another one.

Applications search and write by the alias, and do not notice when it stands for another index: at one moment for all
of them, without a gap. An alias can be named wherever documents are read or written. One of several indexes can only
be searched: its answer is one list of all of them.

Examples:
  miroir alias create live books       # then: miroir search live darkness
  miroir alias flip live books_new
  miroir alias show live
"""

app = typer.Typer()
alias = typer.Typer(no_args_is_help=True, help=GROUP)
app.add_typer(alias, name="alias")

Name = Annotated[str, typer.Argument(metavar="ALIAS", help="The alias's name.", show_default=False)]
Targets = Annotated[list[str], typer.Argument(metavar="INDEX...", help="What it is to stand for.", show_default=False)]

ALIAS_COLUMNS = (
    Column(name="alias", name_like=True),
    Column(name="stands for", wrap=True),
    Column(name="since", keep=True, optional=True),
)
FIRST = Next(command="miroir alias create NAME INDEX", purpose="to make the first one")


def alias_row(found: Mapping[str, Any]) -> tuple[Cell, ...]:
    """An alias under `ALIAS_COLUMNS`."""
    return (found["name"], ", ".join(found["targets"]), clock_time(found["history"][0]["since"]))


@alias.command(name="list")
def list_(ctx: typer.Context) -> None:
    """List all aliases, and what they stand for.

    Examples:
      miroir alias list
      miroir alias list --json
    """

    async def command(console: Console) -> None:
        async with console.cluster() as cluster:
            found = [alias.json() for alias in await cluster.store.aliases()]

        def render() -> None:
            if found:
                console.table(ALIAS_COLUMNS, map(alias_row, found))
            else:
                console.print("no alias yet")

        console.show({"aliases": found}, render, next=() if found else [FIRST])

    run(ctx, command)


@alias.command()
def show(ctx: typer.Context, name: Name) -> None:
    """Show an alias: what it stands for, and what it stood for.

    The last ten targets are kept, with the moments from which on they were that.

    Examples:
      miroir alias show live
    """

    async def command(console: Console) -> None:
        from miroir_cli.indexes.aliases import find_alias

        async with console.cluster() as cluster:
            found = (await find_alias(cluster, name)).json()
        console.show(found, lambda: _show_details(console, found))

    run(ctx, command)


def _show_details(console: Console, found: Mapping[str, Any]) -> None:
    several = found["kind"] == "multi"
    console.print(f"alias `{found['name']}` of {'several indexes, only to be searched' if several else 'an index'}")
    console.table(
        [Column(name="since", keep=True), Column(name="stands for", wrap=True)],
        [(clock_time(turn["since"], seconds=True), ", ".join(turn["targets"])) for turn in found["history"]],
    )


@alias.command()
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new alias's name.", show_default=False)],
    targets: Targets,
    several: Annotated[
        bool, typer.Option("--several", help="Of several indexes, though it begins with one: only to be searched.")
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """Let a name that nothing has stand for an index, or for several.

    With one index everything that is done by the name is done with that index. With several it can only be searched:
    hits of all of them come in one list, as Meilisearch's federated search makes it.

    Examples:
      miroir alias create live books
      miroir alias create shelf books films      # both, searched as one
    """

    async def command(console: Console) -> None:
        from miroir_cli.indexes.aliases import check_alias, create_alias
        from miroir_cli.store.aliases import AliasKind

        kind = AliasKind.MULTI if several or len(set(targets)) > 1 else AliasKind.SINGLE
        async with console.cluster() as cluster:
            act = check_alias if dry_run else create_alias
            made = await act(cluster, name, targets, kind=kind)
        done = "would stand" if dry_run else "stands"
        console.show(
            {**_document(made), "created": not dry_run},
            lambda: console.print(f"alias `{name}` {done} for {made.described}"),
            next=() if dry_run else [Next(command=f"miroir search {name} QUERY", purpose="to search by it")],
        )

    run(ctx, command, when_interrupted=_again(name))


@alias.command()
def flip(
    ctx: typer.Context,
    name: Name,
    targets: Targets,
    was: Annotated[
        str | None,
        typer.Option("--from", metavar="INDEX", help="Only while it stands for this index.", show_default=False),
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Let an alias stand for another index, at one moment for everybody.

    An answer comes from one of the two, and none from the old one once this command has returned. Writes that began
    before may still end in the old one. The indexes themselves are not touched: the same with the old index undoes it.
    When somebody else changes the alias at the same time, one of the two is told (exit status 14).

    Examples:
      miroir alias flip live books_new --dry-run
      miroir alias flip live books_new
      miroir alias flip live books_new --from books      # only while it stands for `books`
    """

    async def command(console: Console) -> None:
        from miroir_cli.indexes.aliases import check_flip, find_alias, flip_alias

        async with console.cluster() as cluster:
            before = await find_alias(cluster, name)
            if was is not None:
                _require(before, was)
            act = check_flip if dry_run else flip_alias
            after = await act(cluster, name, targets, version=before.version)
        flipped = after.targets != before.targets
        console.show(
            {**_document(after), "was": list(before.targets), "flipped": flipped and not dry_run},
            lambda: console.print(_flip_line(before, after, dry_run=dry_run)),
        )

    run(ctx, command, when_interrupted=_again(name))


def _require(alias: Alias, uid: str) -> None:
    from miroir_cli.store.aliases import changed

    if alias.target is None:
        raise UsageError(f"`--from` is for an alias of one index, and `{alias.name}` is of several")
    if alias.target != uid:
        raise changed(alias)


def _flip_line(before: Alias, after: Alias, *, dry_run: bool) -> str:
    if before.targets == after.targets:
        return f"alias `{after.name}` stands for {after.described} already"
    done = "would stand" if dry_run else "stands"
    return f"alias `{after.name}` {done} for {after.described} now, it stood for {before.described}"


@alias.command()
def delete(ctx: typer.Context, name: Name, dry_run: DryRun = False) -> None:
    """Let a name stand for nothing any more.

    Its indexes stay as they are. Whoever searches or writes by the name is told that there is no such index.

    Examples:
      miroir alias delete live --dry-run
      miroir alias delete live
    """

    async def command(console: Console) -> None:
        from miroir_cli.indexes.aliases import delete_alias, find_alias

        async with console.cluster() as cluster:
            act = find_alias if dry_run else delete_alias
            found = await act(cluster, name)
        done = "would delete" if dry_run else "deleted"
        console.show(
            {**_document(found), "deleted": not dry_run},
            lambda: console.print(f"{done} alias `{name}` of {found.described}"),
        )

    run(ctx, command, when_interrupted=_again(name))


def _document(found: Alias) -> dict[str, Any]:
    return {"name": found.name, "kind": found.kind.value, "targets": list(found.targets)}


def _again(name: str) -> str:
    return f"run `miroir alias list` to see what `{name}` stands for now"
