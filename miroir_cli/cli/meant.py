"""What a name on the command line stands for: an index by its uid, or by an alias."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from miroir_cli.cli.console import Console
    from miroir_cli.cluster import Cluster


async def index_meant(console: Console, cluster: Cluster, name: str, *, written: bool = False) -> str:
    """The uid of the index that a name stands for now; what goes on with it is about that index, whatever the alias
    stands for later. Raises `IndexNotFound`, and `MultiAlias` (`written`: `MultiAliasNotWritable`)."""
    uid = await cluster.target_of(name, written=written)
    await cluster.reload(uid)
    if uid != name:
        console.say(f"`{name}` is an alias of index `{uid}`")
    return uid
