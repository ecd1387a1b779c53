"""`miroir index swap` and `miroir index rename`: names of indexes."""

from __future__ import annotations

from typing import Annotated

import typer

from miroir_cli.cli.console import Console, run
from miroir_cli.cli.options import DryRun, Index

Other = Annotated[str, typer.Argument(metavar="OTHER", help="The uid of the other index.", show_default=False)]
New = Annotated[str, typer.Argument(metavar="NEW", help="The uid that it gets.", show_default=False)]
AGAIN = "run `miroir index list` to see what the indexes are called now"


def swap(ctx: typer.Context, uid: Index, other: Other, dry_run: DryRun = False) -> None:
    """Let two indexes change places: each gets the other's name.

    At one moment for all who search and write: nobody sees one index under both names, or one answer of both. Documents
    stay where they are on the nodes, and everything else goes along: settings, writes, the history. Waits for writes
    that are on their way, for moves of their shards and for imports into them, a minute at most (exit status 8 then).
    The same command again undoes it.

    Examples:
      miroir index swap books films --dry-run
      miroir index swap books films
    """

    async def command(console: Console) -> None:
        from miroir_cli.indexes.names import Swap, check_swaps, swap_indexes

        wanted = Swap(first=uid, second=other)
        async with console.cluster() as cluster:
            if dry_run:
                await check_swaps(cluster, [wanted])
                console.show(
                    {"indexes": [uid, other], "swapped": False},
                    lambda: console.print(f"would let indexes `{uid}` and `{other}` change places"),
                )
                return
            await swap_indexes(cluster, [wanted])
        console.show(
            {"indexes": [uid, other], "swapped": True},
            lambda: console.print(f"indexes `{uid}` and `{other}` have changed places"),
        )

    run(ctx, command, when_interrupted=AGAIN)


def rename(ctx: typer.Context, uid: Index, new: New, dry_run: DryRun = False) -> None:
    """Give an index another name, which no index has.

    At one moment for all who search and write, as `miroir index swap`. Who asks for the old name is told that there is
    no such index.

    Examples:
      miroir index rename books novels --dry-run
      miroir index rename books novels
    """

    async def command(console: Console) -> None:
        from miroir_cli.indexes.names import Swap, check_swaps, swap_indexes

        wanted = Swap(first=uid, second=new, rename=True)
        async with console.cluster() as cluster:
            if dry_run:
                await check_swaps(cluster, [wanted])
                console.show(
                    {"uid": new, "was": uid, "renamed": False},
                    lambda: console.print(f"would rename index `{uid}` to `{new}`"),
                )
                return
            await swap_indexes(cluster, [wanted])
        console.show(
            {"uid": new, "was": uid, "renamed": True},
            lambda: console.print(f"index `{uid}` is called `{new}` now"),
        )

    run(ctx, command, when_interrupted=AGAIN)
