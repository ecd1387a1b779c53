"""`restore_backup`: indexes of a backup into this cluster, whatever its size, or into one Meilisearch.

All that can be refused is refused before the first write: files that are not what the manifest says, an index that is
there already, settings that lack a secret. Killed or interrupted, the same call goes on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from miroir_cli.backup.catalog import check_files, require_sound
from miroir_cli.backup.manifest import AliasPart, IndexPart, Manifest, missing_secrets
from miroir_cli.backup.parts import lines_of
from miroir_cli.documents.sources import Input
from miroir_cli.errors import AlreadyExists, DifferencesFound, IndexNotFound, Refused, UsageError
from miroir_cli.indexes.settings import merge, validate
from miroir_cli.migration.compare import same

if TYPE_CHECKING:
    from collections.abc import Iterator

    from miroir_cli.backup.target import Target
    from miroir_cli.topology.file import Topology


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreOptions:
    """What to restore and how. `indexes` None: all of the backup. `name`: another uid for the one index. `settings` are
    put over those of the backup. `shards` None: as many as the index had. `retry_for` is in seconds."""

    indexes: tuple[str, ...] | None = None
    name: str | None = None
    shards: int | None = None
    replicas: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    replace: bool = False
    compare: bool = False
    retry_for: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """One index to restore: what the backup has of it, its uid at its place, its settings there."""

    part: IndexPart
    uid: str
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreProgress:
    """How far a restore is, over all indexes; `checked` are bytes of files."""

    documents: int = 0
    expected: int = 0
    checked: int = 0
    to_check: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoredIndex:
    """An index that is restored. `rejected` documents are not there; `differences` are keys, when it was compared."""

    index: str
    documents: int
    rejected: int = 0
    reasons: tuple[str, ...] = ()
    differences: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What a restore did. `into` is the address of a server, None for the cluster. `aliases`: those that were made."""

    backup: str
    into: str | None
    indexes: tuple[RestoredIndex, ...]
    seconds: float
    resumed: bool
    aliases: tuple[str, ...] = ()

    @property
    def documents(self) -> int:
        return sum(index.documents for index in self.indexes)

    @property
    def rejected(self) -> int:
        return sum(index.rejected for index in self.indexes)

    def json(self) -> dict[str, Any]:
        """The contract with scripts."""
        return {
            "backup": self.backup,
            "into": self.into,
            "documents": self.documents,
            "rejected": self.rejected,
            "indexes": [
                {
                    "index": each.index,
                    "documents": each.documents,
                    "rejected": each.rejected,
                    "differences": None if each.differences is None else list(each.differences),
                }
                for each in self.indexes
            ],
            "aliases": list(self.aliases),
            "seconds": round(self.seconds, 3),
            "resumed": self.resumed,
        }


class Destination:
    """Where indexes are restored to. `resumed`: something of an earlier process was found."""

    into: str | None = None
    resumed: bool = False

    async def is_free(self, wish: Wish) -> bool:
        """Whether nothing is in the way: no index of the uid, or the one that an earlier process has begun."""
        raise NotImplementedError

    async def make(self, wish: Wish, *, options: RestoreOptions) -> None:
        """Have the index, with its settings; one that was in the way is deleted."""
        raise NotImplementedError

    async def fill(
        self, wish: Wish, files: Sequence[Input], *, options: RestoreOptions, report: Callable[[int], None]
    ) -> RestoredIndex:
        """Write all documents and see them stored; `report` is told how many are, in all."""
        raise NotImplementedError

    async def count(self, wish: Wish) -> int:
        raise NotImplementedError

    async def documents(self, wish: Wish, keys: Sequence[str]) -> Mapping[str, bytes]:
        """Those of these documents that are there, for comparing."""
        raise NotImplementedError

    async def name(self, aliases: Sequence[AliasPart]) -> tuple[str, ...]:
        """Have aliases of indexes that are there now, where their names stand for nothing; those that were made."""
        return ()

    async def end(self) -> None:
        """All indexes are restored: forget what was remembered."""
        raise NotImplementedError


def wishes_of(manifest: Manifest, options: RestoreOptions) -> tuple[Wish, ...]:
    """The indexes to restore. Raises `IndexNotFound`, `UsageError`, and `Refused` when the settings lack a secret."""
    names = options.indexes if options.indexes is not None else tuple(index.uid for index in manifest.indexes)
    parts = [_part_of(manifest, name) for name in names]
    if options.name is not None and len(parts) != 1:
        raise UsageError("`--as` names one index, the backup has several", hint="say which with `--index UID`")
    if options.settings and len(parts) != 1:
        raise UsageError("`--settings` is for one index, the backup has several", hint="say which with `--index UID`")
    return tuple(_wish(part, options) for part in parts)


def _part_of(manifest: Manifest, uid: str) -> IndexPart:
    part = manifest.index(uid)
    if part is None:
        names = ", ".join(f"`{index.uid}`" for index in manifest.indexes) or "no index"
        raise IndexNotFound(f"index `{uid}` is not in backup `{manifest.id}`", hint=f"it has {names}")
    return part


def _wish(part: IndexPart, options: RestoreOptions) -> Wish:
    missing = missing_secrets(part.secrets, options.settings)
    if missing:
        raise Refused(
            f"the backup has no value for `{missing[0]}` of index `{part.uid}`",
            hint="give it in a file with `--settings FILE`, or null there to do without it",
        )
    patch = validate(dict(options.settings), source="--settings")
    return Wish(part=part, uid=options.name or part.uid, settings=merge(part.settings, patch))


async def restore_backup(
    target: Target,
    manifest: Manifest,
    destination: Destination,
    *,
    options: RestoreOptions,
    report: Callable[[RestoreProgress], None] = lambda progress: None,
) -> Restored:
    """Restore indexes, and make sure that they have as many documents as the backup.

    Raises `BackupDamaged`, `AlreadyExists`, what is wrong with the options, and `DifferencesFound` when an index that
    was compared has other documents.
    """
    began = time.monotonic()
    wishes = wishes_of(manifest, options)
    await _check(target, manifest, wishes, report)
    for wish in wishes:
        if not await destination.is_free(wish) and not options.replace:
            raise AlreadyExists(
                f"index `{wish.uid}` exists already",
                hint=f"give the restored one another name with `--as`, or `--replace` to delete `{wish.uid}` first",
            )
    done: list[RestoredIndex] = []
    expected = sum(wish.part.documents for wish in wishes)
    for wish in wishes:
        before = sum(index.documents for index in done)

        def tell(documents: int, before: int = before) -> None:
            report(RestoreProgress(documents=before + documents, expected=expected))

        await destination.make(wish, options=options)
        files = [input_of(target, manifest.id, file.name, file.bytes, file.sha256) for file in _in_turn(wish.part)]
        restored = await destination.fill(wish, files, options=options, report=tell)
        if options.compare:
            restored = replace(restored, differences=await compare_with(wish, files, destination))
        done.append(restored)
    aliases = await destination.name(_aliases_of(manifest, wishes))
    await destination.end()
    return Restored(
        backup=manifest.id,
        into=destination.into,
        indexes=tuple(done),
        seconds=time.monotonic() - began,
        resumed=destination.resumed,
        aliases=aliases,
    )


def _aliases_of(manifest: Manifest, wishes: Sequence[Wish]) -> list[AliasPart]:
    """Those of the backup all of whose indexes are restored under their own names."""
    restored = {wish.uid for wish in wishes if wish.uid == wish.part.uid}
    return [alias for alias in manifest.aliases if restored.issuperset(alias.targets)]


def _in_turn(part: IndexPart) -> Iterator[Any]:
    """The files of an index, the first of each shard before the second of any: all nodes get something to do."""
    longest = max((len(each.files) for each in part.parts), default=0)
    for number in range(longest):
        yield from (each.files[number] for each in part.parts if number < len(each.files))


def input_of(target: Target, id: str, name: str, size: int, digest: str) -> Input:
    """A file of a backup as imports read it."""
    path = f"{id}/{name}"
    return Input(name=f"{target.url}/{path}", size=size, digest=digest, opened=lambda: target.open(path))


async def _check(
    target: Target, manifest: Manifest, wishes: Sequence[Wish], report: Callable[[RestoreProgress], None]
) -> None:
    to_check = sum(wish.part.bytes for wish in wishes)
    checked = 0

    def tell(size: int) -> None:
        nonlocal checked
        checked += size
        report(RestoreProgress(checked=checked, to_check=to_check))

    uids = [wish.part.uid for wish in wishes]
    require_sound(await asyncio.to_thread(check_files, target, manifest, indexes=uids, report=tell))


# comparing


PAGE: Final = 1000


async def compare_with(wish: Wish, files: Sequence[Input], destination: Destination) -> tuple[str, ...]:
    """Keys of documents that are not there as the files have them; the count tells whether there are others."""
    wrong: list[str] = []
    counted = 0
    for file in files:
        lines = lines_of(file)
        while page := await asyncio.to_thread(page_of, lines, wish.part.primary_key):
            counted += len(page)
            found = await destination.documents(wish, list(page))
            wrong += [key for key, line in page.items() if key not in found or not same(line, found[key])]
    there = await destination.count(wish)
    if there > counted:
        raise DifferencesFound(
            f"index `{wish.uid}` has {there - counted:,} documents more than the backup",
            hint="somebody wrote them meanwhile; documents of the backup were compared and not touched",
        )
    return tuple(wrong)


def page_of(lines: Iterator[bytes], primary_key: str) -> dict[str, bytes]:
    """The next documents by their keys. Blocks."""
    page: dict[str, bytes] = {}
    for line in lines:
        page[str(msgspec.json.decode(line)[primary_key])] = line
        if len(page) >= PAGE:
            break
    return page


def folder_of(topology: Topology) -> Path:
    """Where restores and copies keep their memory: on the host that they run on."""
    return topology.local_folder / "restores"
