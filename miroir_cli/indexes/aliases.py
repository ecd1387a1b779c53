"""Aliases: made, looked at, let stand for another index, deleted.

No node is asked for any of it. The state store decides at one moment what a name stands for; whoever reads finds out at
the end of its read, as with new names of indexes (`indexes/names.py`). The nodes get copies, for the day that the store
is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from miroir_cli.errors import AliasNotFound, known_instead
from miroir_cli.indexes.catalog import require_uid
from miroir_cli.replication.members import publish_names, roll_once
from miroir_cli.store import aliases
from miroir_cli.store.aliases import Alias, AliasKind

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster


async def find_alias(cluster: Cluster, name: str) -> Alias:
    """Raises `AliasNotFound`."""
    found = await cluster.store.alias(name)
    if found is None:
        names = [alias.name for alias in await cluster.store.aliases()]
        listing = "miroir alias list" if names else f"miroir alias create {name} INDEX"
        raise AliasNotFound(f"alias `{name}` not found", hint=known_instead(name, names, listing=listing))
    return found


async def check_alias(cluster: Cluster, name: str, targets: Sequence[str], *, kind: AliasKind) -> Alias:
    """The alias that `create_alias` would make. Raises what it raises."""
    require_uid(name, of="the name of an alias")
    found = await cluster.store.alias(name)
    if found is not None:
        raise aliases.alias_exists(found)
    existing = [index.uid for index in await cluster.store.indexes()]
    if name in {*existing, *await cluster.store.interrupted()}:
        raise aliases.name_of_an_index(name)
    planned = aliases.new_alias(name, targets, kind=kind, version=0, now=0)
    await _require_indexes(cluster, planned)
    return planned


async def create_alias(
    cluster: Cluster, name: str, targets: Sequence[str], *, kind: AliasKind = AliasKind.SINGLE
) -> Alias:
    """Let a name that nothing has stand for an index, or (`multi`) for several that are searched as one.

    Raises `AlreadyExists`, `IndexNotFound`, and `UsageError` for what cannot be such a name.
    """
    await check_alias(cluster, name, targets, kind=kind)
    await roll_once(cluster)
    made = await cluster.store.create_alias(name, targets, kind=kind)
    await publish_names(cluster)
    return made


async def check_flip(cluster: Cluster, name: str, targets: Sequence[str], *, version: int | None = None) -> Alias:
    """The alias as `flip_alias` would leave it. Raises what it raises."""
    alias = await _as_looked_at(cluster, name, version)
    changed = aliases.flipped(alias, targets, version=alias.version, now=0)
    await _require_indexes(cluster, changed)
    return changed


async def flip_alias(cluster: Cluster, name: str, targets: Sequence[str], *, version: int | None = None) -> Alias:
    """Let an alias stand for another index, or for others. Once this has returned nothing that is asked for by the name
    is answered from what it stood for before; writes that began before may still end there.

    `version`: the one that the caller has looked at, to change it only as long as nobody else has. Raises
    `AliasNotFound`, `AliasChanged` when somebody else was quicker, `IndexNotFound`, `UsageError`.
    """
    alias = await _as_looked_at(cluster, name, version)
    changed = await check_flip(cluster, name, targets, version=alias.version)
    if changed.targets == alias.targets:
        return alias
    await roll_once(cluster)
    flipped = await cluster.store.flip_alias(alias, targets)
    await publish_names(cluster)
    return flipped


async def delete_alias(cluster: Cluster, name: str, *, version: int | None = None) -> Alias:
    """Let a name stand for nothing any more; its indexes stay. The alias as it was. Raises as `flip_alias`."""
    alias = await _as_looked_at(cluster, name, version)
    await roll_once(cluster)
    await cluster.store.delete_alias(alias)
    await publish_names(cluster)
    return alias


async def _as_looked_at(cluster: Cluster, name: str, version: int | None) -> Alias:
    alias = await find_alias(cluster, name)
    if version is not None and alias.version != version:
        raise aliases.changed(alias)
    return alias


async def _require_indexes(cluster: Cluster, alias: Alias) -> None:
    """Raise for the first target that is no index, with the name that was meant."""
    existing = {index.uid for index in await cluster.store.indexes()}
    for uid in alias.targets:
        if uid not in existing:
            raise await cluster.not_found(uid)
