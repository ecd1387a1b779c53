"""Aliases: what a name stands for, and letting it stand for something else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from miroir_cli.store import aliases
from miroir_cli.store.aliases import Alias, AliasKind
from miroir_cli.store.encoding import now
from miroir_cli.store.redis.access import Part
from miroir_cli.store.redis.alias_hashes import read_alias, read_aliases, remove, save
from miroir_cli.store.redis.cluster import index_hash, raise_epoch
from miroir_cli.store.redis.keys import CLUSTER, key
from miroir_cli.store.redis.maps import read_map

if TYPE_CHECKING:
    from collections.abc import Iterable

    from miroir_cli.model import IndexMap
    from miroir_cli.store.redis.transaction import Transaction


async def resolve(tx: Transaction, name: str) -> IndexMap | Alias | None:
    """What a name stands for, as of one moment."""
    kinds = ("indexes", "settings", "placements", "aliases")
    await tx.hashes([CLUSTER, *(key(kind, name) for kind in kinds)])
    found = await read_map(tx, name)
    if found is not None:
        return found
    alias = await read_alias(tx, name)
    if alias is None or alias.target is None:
        return alias
    found = await read_map(tx, alias.target)
    return None if found is None else replace(found, alias=name)


# The epoch is raised, so that whoever has read what a name stood for finds out at the end.


async def create(tx: Transaction, name: str, targets: Sequence[str], *, kind: AliasKind) -> Alias:
    await tx.hashes([CLUSTER, key("aliases", name), *(key("indexes", uid) for uid in (name, *targets))])
    found = await read_alias(tx, name)
    if found is not None:
        raise aliases.alias_exists(found)
    if await index_hash(tx, name):
        raise aliases.name_of_an_index(name)
    alias = aliases.new_alias(name, targets, kind=kind, version=await _change_names(tx), now=now())
    aliases.require_indexes(alias.targets, await _active(tx, alias.targets))
    await save(tx, alias)
    return alias


async def flip(tx: Transaction, alias: Alias, targets: Sequence[str]) -> Alias:
    await tx.hashes([CLUSTER, key("aliases", alias.name), *(key("indexes", uid) for uid in targets)])
    aliases.require_same(alias, await read_alias(tx, alias.name))
    changed = aliases.flipped(alias, targets, version=await _change_names(tx), now=now())
    aliases.require_indexes(changed.targets, await _active(tx, changed.targets))
    await save(tx, changed)
    return changed


async def delete(tx: Transaction, alias: Alias) -> None:
    aliases.require_same(alias, await read_alias(tx, alias.name))
    await remove(tx, alias.name)
    await _change_names(tx)


async def _active(tx: Transaction, uids: Iterable[str]) -> list[str]:
    return [uid for uid in uids if (await index_hash(tx, uid)).get("state") == "active"]


async def _change_names(tx: Transaction) -> int:
    epoch = await raise_epoch(tx)
    (await tx.hash(CLUSTER))["renamed"] = str(epoch)
    return epoch


class Aliases(Part):
    """Methods of the protocol `miroir_cli.store.protocol.Store`."""

    async def aliases(self) -> tuple[Alias, ...]:
        return await self.access.read(read_aliases)

    async def alias(self, name: str) -> Alias | None:
        return await self.access.read(lambda tx: read_alias(tx, name))

    async def resolve(self, name: str) -> IndexMap | Alias | None:
        return await self.access.read(lambda tx: resolve(tx, name))

    async def create_alias(self, name: str, targets: Sequence[str], *, kind: AliasKind = AliasKind.SINGLE) -> Alias:
        return await self.access.write(lambda tx: create(tx, name, targets, kind=kind))

    async def flip_alias(self, alias: Alias, targets: Sequence[str]) -> Alias:
        return await self.access.write(lambda tx: flip(tx, alias, targets))

    async def delete_alias(self, alias: Alias) -> None:
        await self.access.write(lambda tx: delete(tx, alias))
