"""Aliases: names that stand for an index, or for several that are searched as one. What both backends decide. Pure.

Names of aliases and uids of indexes are one space: a name stands for one thing. An alias names indexes that exist, and
goes along when one of them gets another name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from miroir_cli.errors import AliasChanged, AliasNotFound, AlreadyExists, IndexNotFound, Refused, UsageError
from miroir_cli.model import IndexUid

if TYPE_CHECKING:
    from miroir_cli.model import Json

KEPT_TARGETS: Final = 10
"""Of each alias: the targets that it has, and those before them."""


class AliasKind(StrEnum):
    """`single`: one index, to read and to write. `multi`: several, only to be searched."""

    SINGLE = "single"
    MULTI = "multi"


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What an alias stood for since a moment (milliseconds since 1970)."""

    targets: tuple[IndexUid, ...]
    since: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """A name and the indexes that it stands for, in the order of their uids.

    `version` is the epoch of its last change: no other alias of this name, and no other state of this one, has had it.
    `history`: what it stands for and stood for, the newest first.
    """

    name: str
    kind: AliasKind
    targets: tuple[IndexUid, ...]
    version: int
    created_at: int
    history: tuple[Turn, ...] = ()

    @property
    def target(self) -> IndexUid | None:
        """The one index that it stands for; None when it is for several."""
        return self.targets[0] if self.kind is AliasKind.SINGLE else None

    @property
    def described(self) -> str:
        """What it stands for, in words."""
        named = ", ".join(f"`{uid}`" for uid in self.targets)
        return f"index {named}" if len(self.targets) == 1 else f"indexes {named}"

    def json(self) -> dict[str, Any]:
        """The contract with scripts and the admin API, and what nodes and backups keep."""
        return {
            "name": self.name,
            "kind": self.kind.value,
            "targets": list(self.targets),
            "version": self.version,
            "created_at": self.created_at,
            "history": history_json(self.history),
        }


def history_json(history: Iterable[Turn]) -> list[dict[str, Any]]:
    return [{"targets": list(turn.targets), "since": turn.since} for turn in history]


def read_history(found: Iterable[Mapping[str, Any]]) -> tuple[Turn, ...]:
    return tuple(Turn(targets=tuple(map(IndexUid, each["targets"])), since=int(each["since"])) for each in found)


def alias_of(found: Json) -> Alias:
    """What `Alias.json` has written."""
    return Alias(
        name=str(found["name"]),
        kind=AliasKind(found["kind"]),
        targets=tuple(map(IndexUid, found["targets"])),
        version=int(found["version"]),
        created_at=int(found["created_at"]),
        history=read_history(found["history"]),
    )


def new_alias(name: str, targets: Sequence[str], *, kind: AliasKind, version: int, now: int) -> Alias:
    """Raises `UsageError` when a single one would have not one target, a multi one none."""
    chosen = _targets(name, targets, kind)
    return Alias(
        name=name,
        kind=kind,
        targets=chosen,
        version=version,
        created_at=now,
        history=(Turn(targets=chosen, since=now),),
    )


def flipped(alias: Alias, targets: Sequence[str], *, version: int, now: int) -> Alias:
    """The same alias with other targets, and with its earlier ones in the history."""
    chosen = _targets(alias.name, targets, alias.kind)
    turns = (Turn(targets=chosen, since=now), *alias.history)
    return replace(alias, targets=chosen, version=version, history=turns[:KEPT_TARGETS])


def flips_since(before: Mapping[str, Alias], now: Iterable[Alias]) -> int:
    """How often aliases came to stand for others between two looks at all of them. One that was made meanwhile counts
    what it has turned to since; of more than a history holds some are missed."""
    found = 0
    for alias in now:
        known = before.get(alias.name)
        if known is None or known.created_at != alias.created_at:
            found += len(alias.history) - 1
        elif known.version < alias.version:
            later = sum(turn.since > known.history[0].since for turn in alias.history)
            found += later if len(known.history) == KEPT_TARGETS else len(alias.history) - len(known.history)
    return found


def _targets(name: str, targets: Sequence[str], kind: AliasKind) -> tuple[IndexUid, ...]:
    chosen = tuple(sorted({IndexUid(uid) for uid in targets}))
    if not chosen:
        raise UsageError(f"alias `{name}` needs an index to stand for")
    if kind is AliasKind.SINGLE and len(chosen) > 1:
        raise UsageError(
            f"alias `{name}` stands for one index, and cannot for {len(chosen)}",
            hint="an alias of several indexes is made as one: `miroir alias create NAME INDEX INDEX`",
        )
    return chosen


def renamed(alias: Alias, follows: Mapping[IndexUid, IndexUid], *, version: int) -> Alias | None:
    """An alias once its indexes have got other names; None when it names none of them."""

    def now_called(uids: Iterable[IndexUid]) -> tuple[IndexUid, ...]:
        return tuple(sorted(follows.get(uid, uid) for uid in uids))

    if not follows.keys() & set(alias.targets):
        return None
    return replace(
        alias,
        targets=now_called(alias.targets),
        version=version,
        history=tuple(replace(turn, targets=now_called(turn.targets)) for turn in alias.history),
    )


# -- what must hold


def require_same(alias: Alias, found: Alias | None) -> None:
    """Raise unless an alias is still as it was looked at."""
    if found is None:
        raise AliasNotFound(f"alias `{alias.name}` was deleted meanwhile", hint="run `miroir alias list`")
    if found.version != alias.version:
        raise changed(found)


def changed(found: Alias) -> AliasChanged:
    """Why an alias is left as it is found."""
    return AliasChanged(
        f"alias `{found.name}` was changed meanwhile: it stands for {found.described} now",
        hint=f"run `miroir alias show {found.name}` to see what happened, then decide anew",
    )


def require_indexes(targets: Iterable[IndexUid], existing: Iterable[str]) -> None:
    """Raise `IndexNotFound` unless all targets are among the indexes that exist."""
    missing = sorted(set(targets) - set(existing))
    if missing:
        raise IndexNotFound(f"index `{missing[0]}` not found", hint="run `miroir index list`")


def name_taken(alias: Alias) -> AlreadyExists:
    """Why an index cannot be called as an alias is."""
    return AlreadyExists(
        f"`{alias.name}` exists already: it is an alias of {alias.described}",
        hint=f"choose another name; `miroir alias delete {alias.name}` would free this one",
    )


def alias_exists(alias: Alias) -> AlreadyExists:
    """Why an alias cannot be made again."""
    others = "OTHER" if alias.kind is AliasKind.SINGLE else "OTHERS"
    return AlreadyExists(
        f"`{alias.name}` exists already: it is an alias of {alias.described}",
        hint=f"let it stand for another index with `miroir alias flip {alias.name} {others}`, or choose another name",
    )


def name_of_an_index(name: str) -> AlreadyExists:
    """Why an alias cannot be called as an index is."""
    return AlreadyExists(
        f"`{name}` exists already: it is an index",
        hint=f"choose another name, or rename the index first: `miroir index rename {name} OTHER`",
    )


def require_unused(uid: str, aliases: Iterable[Alias]) -> None:
    """Raise `Refused` when an alias stands for an index that is to be deleted: its name would stand for nothing."""
    for alias in aliases:
        if uid in alias.targets:
            others = "OTHER" if alias.kind is AliasKind.SINGLE else "OTHERS"
            raise Refused(
                f"alias `{alias.name}` stands for index `{uid}`",
                hint=f"let it stand for another one first (`miroir alias flip {alias.name} {others}`), "
                f"or delete it: `miroir alias delete {alias.name}`",
            )


def usable(aliases: Iterable[Alias], existing: Iterable[str]) -> tuple[tuple[Alias, ...], tuple[str, ...]]:
    """Of aliases that were kept elsewhere those that can stand for something where these indexes exist, and the names
    of the others: of an index's name, or without any of their indexes. One for several keeps those that there are."""
    here = frozenset(existing)
    kept, left = [], []
    for alias in aliases:
        targets = tuple(uid for uid in alias.targets if uid in here)
        if alias.name in here or not targets:
            left.append(alias.name)
        else:
            kept.append(replace(alias, targets=targets))
    return tuple(kept), tuple(left)
