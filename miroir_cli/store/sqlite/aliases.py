"""Aliases as rows, and the part of the store that is about them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from miroir_cli.model import IndexMap, IndexUid
from miroir_cli.store import aliases
from miroir_cli.store.aliases import Alias, AliasKind
from miroir_cli.store.sqlite.access import Access
from miroir_cli.store.sqlite.cluster import from_json, now, raise_epoch, read_map, to_json

if TYPE_CHECKING:
    from sqlite_utils import Database

COLUMNS = "name, kind, current_uid, target_uids, version, created_at, history"


class AliasRows(Access):
    """Methods of the protocol `miroir_cli.store.protocol.Store`."""

    async def aliases(self) -> tuple[Alias, ...]:
        return self._read(read_aliases)

    async def alias(self, name: str) -> Alias | None:
        return self._read(lambda db: read_alias(db, name))

    async def resolve(self, name: str) -> IndexMap | Alias | None:
        return self._read(lambda db: resolve(db, name))

    async def create_alias(self, name: str, targets: Sequence[str], *, kind: AliasKind = AliasKind.SINGLE) -> Alias:
        return await self._write(lambda db: create(db, name, targets, kind=kind))

    async def flip_alias(self, alias: Alias, targets: Sequence[str]) -> Alias:
        return await self._write(lambda db: flip(db, alias, targets))

    async def delete_alias(self, alias: Alias) -> None:
        await self._write(lambda db: delete(db, alias))


# -- reading


def read_aliases(db: Database) -> tuple[Alias, ...]:
    """All of them, in the order of their names."""
    return tuple(_alias(row) for row in db.conn.execute(f"select {COLUMNS} from aliases order by name"))


def read_alias(db: Database, name: str) -> Alias | None:
    row = db.conn.execute(f"select {COLUMNS} from aliases where name = ?", [name]).fetchone()
    return None if row is None else _alias(row)


def resolve(db: Database, name: str) -> IndexMap | Alias | None:
    """What a name stands for, as of one moment: call it inside a transaction."""
    found = read_map(db, name)
    if found is not None:
        return found
    alias = read_alias(db, name)
    if alias is None or alias.target is None:
        return alias
    found = read_map(db, alias.target)
    return None if found is None else replace(found, alias=name)


def _alias(row: tuple[Any, ...]) -> Alias:
    targets = from_json(row[3]) if row[2] is None else [row[2]]
    return Alias(
        name=row[0],
        kind=AliasKind(row[1]),
        targets=tuple(map(IndexUid, targets)),
        version=row[4],
        created_at=row[5],
        history=aliases.read_history(from_json(row[6])),
    )


# -- changing: the epoch is raised, so that whoever has read what a name stood for finds out at the end


def create(db: Database, name: str, targets: Sequence[str], *, kind: AliasKind) -> Alias:
    found = read_alias(db, name)
    if found is not None:
        raise aliases.alias_exists(found)
    if db.conn.execute("select 1 from indexes where uid = ? and state != 'deleted'", [name]).fetchone():
        raise aliases.name_of_an_index(name)
    alias = aliases.new_alias(name, targets, kind=kind, version=_change_names(db), now=now())
    aliases.require_indexes(alias.targets, _active(db))
    save(db, alias)
    return alias


def flip(db: Database, alias: Alias, targets: Sequence[str]) -> Alias:
    found = read_alias(db, alias.name)
    aliases.require_same(alias, found)
    changed = aliases.flipped(alias, targets, version=_change_names(db), now=now())
    aliases.require_indexes(changed.targets, _active(db))
    save(db, changed)
    return changed


def delete(db: Database, alias: Alias) -> None:
    aliases.require_same(alias, read_alias(db, alias.name))
    db.execute("delete from aliases where name = ?", [alias.name])
    _change_names(db)


def save(db: Database, alias: Alias) -> None:
    several = [] if alias.target is not None else list(alias.targets)
    db.execute(
        f"insert or replace into aliases ({COLUMNS}) values (?, ?, ?, ?, ?, ?, ?)",
        [
            alias.name,
            alias.kind.value,
            alias.target,
            to_json(several),
            alias.version,
            alias.created_at,
            to_json(aliases.history_json(alias.history)),
        ],
    )


def follow(db: Database, pairs: Iterable[tuple[IndexUid, IndexUid]], *, version: int) -> None:
    """Let aliases go along with indexes that have got another name."""
    follows: Mapping[IndexUid, IndexUid] = dict(pairs)
    for alias in read_aliases(db):
        changed = aliases.renamed(alias, follows, version=version)
        if changed is not None:
            save(db, changed)


def require_no_alias(db: Database, uid: str) -> None:
    """Raise `AlreadyExists` when an index cannot be called so because an alias is."""
    found = read_alias(db, uid)
    if found is not None:
        raise aliases.name_taken(found)


def require_unused(db: Database, uid: str) -> None:
    """Raise `Refused` when an alias stands for an index."""
    aliases.require_unused(uid, read_aliases(db))


def _active(db: Database) -> list[str]:
    return [row[0] for row in db.conn.execute("select uid from indexes where state = 'active'")]


def _change_names(db: Database) -> int:
    epoch = raise_epoch(db)
    db.execute("update cluster set renamed = ?", [epoch])
    return epoch
