"""Aliases as hashes `miroir:aliases:<name>` with the columns of SQLite's table, as other parts look at them too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from miroir_cli.model import IndexUid
from miroir_cli.store import aliases
from miroir_cli.store.aliases import Alias, AliasKind
from miroir_cli.store.encoding import from_json, to_json
from miroir_cli.store.redis.keys import key, listing
from miroir_cli.store.redis.values import texts

if TYPE_CHECKING:
    from miroir_cli.store.redis.transaction import Transaction

ALIASES: Final = listing("aliases")


async def read_aliases(tx: Transaction) -> tuple[Alias, ...]:
    """All of them, in the order of their names."""
    names = sorted(await tx.names(ALIASES))
    found = await tx.hashes(key("aliases", name) for name in names)
    return tuple(_alias_of(name, fields) for name, fields in zip(names, found, strict=True) if fields)


async def read_alias(tx: Transaction, name: str) -> Alias | None:
    fields = await tx.hash(key("aliases", name))
    return _alias_of(name, fields) if fields else None


def _alias_of(name: str, fields: Mapping[str, str]) -> Alias:
    one = fields.get("current_uid")
    targets = from_json(fields["target_uids"]) if one is None else [one]
    return Alias(
        name=name,
        kind=AliasKind(fields["kind"]),
        targets=tuple(map(IndexUid, targets)),
        version=int(fields["version"]),
        created_at=int(fields["created_at"]),
        history=aliases.read_history(from_json(fields["history"])),
    )


async def save(tx: Transaction, alias: Alias) -> None:
    several = [] if alias.target is not None else list(alias.targets)
    (await tx.hash(key("aliases", alias.name))).replace(
        texts(
            {
                "kind": alias.kind.value,
                "current_uid": alias.target,
                "target_uids": to_json(several),
                "version": alias.version,
                "created_at": alias.created_at,
                "history": to_json(aliases.history_json(alias.history)),
            }
        )
    )
    tx.add(ALIASES, alias.name, 0)


async def remove(tx: Transaction, name: str) -> None:
    (await tx.hash(key("aliases", name))).clear()
    tx.discard(ALIASES, name)


async def follow(tx: Transaction, pairs: Iterable[tuple[IndexUid, IndexUid]], *, version: int) -> None:
    """Let aliases go along with indexes that have got another name."""
    follows: Mapping[IndexUid, IndexUid] = dict(pairs)
    for alias in await read_aliases(tx) if follows else ():
        changed = aliases.renamed(alias, follows, version=version)
        if changed is not None:
            await save(tx, changed)


async def require_no_alias(tx: Transaction, uid: str) -> None:
    """Raise `AlreadyExists` when an index cannot be called so because an alias is."""
    found = await read_alias(tx, uid)
    if found is not None:
        raise aliases.name_taken(found)


async def require_unused(tx: Transaction, uid: str) -> None:
    """Raise `Refused` when an alias stands for an index."""
    aliases.require_unused(uid, await read_aliases(tx))
