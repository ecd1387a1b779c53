"""`create_backup`: every shard of the indexes as files, then the manifest.

Killed or interrupted, the same call goes on: shards whose journal is there are not read again, and each shard has a
moment of its own anyway."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from miroir_cli import __version__
from miroir_cli.backup.beginning import begin, clear_up
from miroir_cli.backup.manifest import (
    FORMAT,
    MANIFEST,
    AliasPart,
    Begun,
    IndexPart,
    KeyPart,
    Manifest,
    ShardPart,
    decode,
    encode,
    without_secrets,
)
from miroir_cli.backup.moment import Moment, ShardReading
from miroir_cli.backup.pace import Pace
from miroir_cli.backup.parts import FILE_BYTES, Parts
from miroir_cli.errors import BackupDamaged, IndexNotFound, IndexRenamed, Interrupted, MiroirError, TemporaryError
from miroir_cli.indexes.counts import count_documents
from miroir_cli.migration.side import together
from miroir_cli.model import ShardId
from miroir_cli.replication.members import call_roll
from miroir_cli.replication.recover import recover
from miroir_cli.store.locks import file_name

if TYPE_CHECKING:
    from miroir_cli.backup.target import Target
    from miroir_cli.cluster import Cluster
    from miroir_cli.model import Index

PARALLEL: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateOptions:
    """How to back up. `indexes` None: all. `rate` is in documents a second, `retry_for` in seconds; `compression` None:
    the best there is."""

    indexes: tuple[str, ...] | None = None
    parallel: int = PARALLEL
    rate: int | None = None
    retry_for: float = 60.0
    file_bytes: int = FILE_BYTES
    compression: str | None = None
    restart: bool = False
    with_keys: bool = False
    with_secrets: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateProgress:
    """How far a backup is; `expected` documents as they were counted at its beginning."""

    documents: int = 0
    expected: int | None = None
    shards: int = 0
    of_shards: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """A backup that is complete. `skipped`: indexes that were deleted meanwhile."""

    manifest: Manifest
    seconds: float
    resumed: bool
    skipped: tuple[str, ...] = ()

    def json(self) -> dict[str, Any]:
        """The contract with scripts."""
        manifest = self.manifest
        return {
            "backup": manifest.id,
            "documents": manifest.documents,
            "bytes": manifest.bytes,
            "indexes": [
                {"index": each.uid, "documents": each.documents, "bytes": each.bytes, "shards": each.shards}
                for each in manifest.indexes
            ],
            "skipped": list(self.skipped),
            "seconds": round(self.seconds, 3),
            "resumed": self.resumed,
        }


async def create_backup(
    cluster: Cluster,
    target: Target,
    *,
    options: CreateOptions | None = None,
    report: Callable[[CreateProgress], None] = lambda progress: None,
) -> Created:
    """Back up indexes, or go on with the unfinished backup of the same ones.

    Raises `Locked` while another process works on the same place, `IndexNotFound`, `BackupUnavailable`, and what
    `ShardReading` raises; what is done by then is kept for the next call.
    """
    options = options or CreateOptions()
    began = time.monotonic()
    for uid in options.indexes or ():
        await cluster.reload(uid)
    async with alone(cluster, target):
        await call_roll(cluster)
        begun, resumed = await begin(cluster, target, options)
        work = _Work(cluster, target, begun, options, report)
        try:
            manifest = await work.run()
        except asyncio.CancelledError:
            raise Interrupted(
                f"interrupted: {work.shards} of {work.of_shards} shards are in backup `{begun.id}`",
                hint="run the same command again: it goes on from there",
            ) from None
        await asyncio.to_thread(clear_up, target, manifest)
    return Created(
        manifest=manifest, seconds=time.monotonic() - began, resumed=resumed, skipped=tuple(sorted(work.skipped))
    )


@asynccontextmanager
async def alone(cluster: Cluster | None, target: Target) -> AsyncIterator[None]:
    """Nobody else writes to the same place: another process of this cluster, or of any where the place can tell."""
    lock = target.locked(cluster.command if cluster is not None else "miroir backup")
    if cluster is None:
        await asyncio.to_thread(lock.__enter__)
        try:
            yield
        finally:
            await asyncio.to_thread(lock.__exit__, None, None, None)
        return
    name = f"backup-{hashlib.sha256(target.url.encode()).hexdigest()[:12]}"
    async with cluster.locks.once(name), alone(None, target):
        yield


class _Work:
    """One backup on its way."""

    def __init__(
        self,
        cluster: Cluster,
        target: Target,
        begun: Begun,
        options: CreateOptions,
        report: Callable[[CreateProgress], None],
    ) -> None:
        self.cluster = cluster
        self.target = target
        self.begun = begun
        self.options = options
        self.report = report
        self.pace = Pace(options.rate)
        self.parts: dict[str, dict[int, ShardPart]] = {}
        self.skipped: set[str] = set()
        self.documents = self.shards = self.of_shards = 0
        self.expected: int | None = None

    async def run(self) -> Manifest:
        """Read what is missing until every index is whole, and write the manifest."""
        indexes = await self._indexes()
        await self._count(indexes)
        stored = {index.stored_as: index.uid for index in indexes}
        while missing := [each for index in indexes for each in await self._missing(index)]:
            self.of_shards = sum(index.shards for index in indexes if index.uid not in self.skipped)
            self._report()
            await self._read(missing)
            indexes = await self._indexes()
        here = {index.stored_as for index in indexes}
        self.skipped |= {uid for name, uid in stored.items() if name not in here}
        if self.skipped and not indexes:
            raise IndexNotFound(f"index `{min(self.skipped)}` was deleted meanwhile", hint="run `miroir index list`")
        return await self._finish(indexes)

    async def _indexes(self) -> list[Index]:
        """The indexes to back up, under the names that they have now; none that was deleted on the way."""
        wanted = self.begun.indexes
        return [
            index
            for index in await self.cluster.store.indexes()
            if index.uid not in self.skipped and (wanted is None or index.uid in wanted)
        ]

    async def _count(self, indexes: Sequence[Index]) -> None:
        """How many documents there are about, for those who wait."""
        with suppress(MiroirError):
            counts = [await count_documents(self.cluster, await self.cluster.reload(index.uid)) for index in indexes]
            self.expected = sum(count.documents for count in counts)

    async def _missing(self, index: Index) -> list[tuple[Index, ShardId]]:
        """The shards of an index that are not in the backup; what is there of an index deleted since does not count."""
        found = self.parts.setdefault(index.uid, {})
        for shard in range(index.shards):
            if shard not in found:
                part = await asyncio.to_thread(self._journal, index, shard)
                if part is not None:
                    self._took(index, part)
        for shard in [shard for shard, part in found.items() if part.incarnation != index.incarnation]:
            self.documents -= found.pop(shard).documents
            self.shards -= 1
        return [(index, ShardId(shard)) for shard in range(index.shards) if shard not in found]

    def _journal(self, index: Index, shard: int) -> ShardPart | None:
        """A shard that an earlier process has finished, if all its files are there."""
        name = f"{self.begun.id}/{stem_of(index.uid, shard)}.json"
        content = self.target.read(name)
        if content is None:
            return None
        with suppress(BackupDamaged):
            part = decode(content, ShardPart, name=name)
            sizes = {file.name: self.target.size(f"{self.begun.id}/{file.name}") for file in part.files}
            if part.incarnation == index.incarnation and all(sizes[file.name] == file.bytes for file in part.files):
                return part
        return None

    def _took(self, index: Index, part: ShardPart) -> None:
        self.parts[index.uid][part.shard] = part
        self.documents += part.documents
        self.shards += 1

    async def _read(self, missing: list[tuple[Index, ShardId]]) -> None:
        async def worker() -> None:
            while missing:
                index, shard = missing.pop(0)
                if index.uid not in self.skipped:
                    await self._shard(index, shard)

        await together(worker() for _ in range(self.options.parallel))

    async def _shard(self, index: Index, shard: ShardId) -> None:
        """Read one shard, and say so in its journal once all its files are there."""
        stem = stem_of(index.uid, shard)
        parts = Parts(
            self.target,
            self.begun.id,
            stem,
            compression=self.begun.compression,
            file_bytes=self.options.file_bytes,
        )
        counted = 0

        def report(documents: int) -> None:
            nonlocal counted
            counted += documents
            self.documents += documents
            self._report()

        try:
            moment = await self._moment(index, shard, parts, report)
            files = await parts.finish()
        except IndexRenamed:
            self.documents -= counted
            if self.begun.indexes is not None and await self.cluster.store.map(index.uid) is None:
                raise
            return  # what the name stands for now is read, or the index under its new name
        except IndexNotFound:
            self.documents -= counted
            self.skipped.add(index.uid)
            self.parts.pop(index.uid, None)
            return
        finally:
            await parts.abandon()
        part = ShardPart(
            shard=shard,
            incarnation=index.incarnation,
            at=moment.at,
            intent=moment.intent,
            epoch=moment.epoch,
            node=moment.node,
            documents=sum(file.documents for file in files),
            files=files,
        )
        await asyncio.to_thread(self.target.write, f"{self.begun.id}/{stem}.json", encode(part))
        self.documents -= counted
        if index.uid not in self.skipped:  # another shard of it may have found it deleted meanwhile
            self._took(index, part)
        self._report()

    async def _moment(self, index: Index, shard: ShardId, parts: Parts, report: Callable[[int], None]) -> Moment:
        if not index.primary_key:
            return await self._empty(index)
        reading = ShardReading(
            self.cluster, index, shard, parts, pace=self.pace, retry_for=self.options.retry_for, report=report
        )
        return await reading.run()

    async def _empty(self, index: Index) -> Moment:
        """The moment of an index that has no primary key yet, and so no document."""
        async with self.cluster.locks.order(index.uid):
            await recover(self.cluster, index)
            map = await self.cluster.current(index)
            if map.index.primary_key:
                raise TemporaryError(f"index `{index.uid}` has got its primary key meanwhile", hint="run it again")
            newest = (await self.cluster.store.pending(index)).newest
            name = next(iter(map.nodes()))
            return Moment(at=time.time_ns() // 1_000_000, intent=newest, epoch=map.epoch, node=name)

    async def _finish(self, indexes: Sequence[Index]) -> Manifest:
        """The manifest, once everything else is on the disk. Settings are those of this moment."""
        keys = await self.cluster.store.api_keys() if self.options.with_keys else None
        here = {index.uid for index in indexes}
        manifest = Manifest(
            format=FORMAT,
            id=self.begun.id,
            miroir=__version__,
            cluster=self.begun.cluster,
            cluster_id=self.begun.cluster_id,
            epoch=await self.cluster.store.epoch(),
            started_at=self.begun.started_at,
            finished_at=time.time_ns() // 1_000_000,
            compression=self.begun.compression,
            indexes=tuple(self._index(index) for index in sorted(indexes, key=lambda index: index.uid)),
            keys=None if keys is None else tuple(_key(key) for key in keys if not key.deleted),
            aliases=tuple(
                AliasPart(name=alias.name, kind=alias.kind.value, targets=alias.targets)
                for alias in await self.cluster.store.aliases()
                if here.issuperset(alias.targets)
            ),
            only=self.begun.indexes,
        )
        await asyncio.to_thread(self.target.write, f"{self.begun.id}/{MANIFEST}", encode(manifest))
        return manifest

    def _index(self, index: Index) -> IndexPart:
        settings: tuple[dict[str, Any], tuple[str, ...]] = (dict(index.settings), ())
        if not self.options.with_secrets:
            settings = without_secrets(index.settings)
        parts: Mapping[int, ShardPart] = self.parts[index.uid]
        return IndexPart(
            uid=index.uid,
            primary_key=index.primary_key,
            shards=index.shards,
            replicas=index.replicas if index.own_replicas else None,
            tie_break=index.tie_break,
            settings=settings[0],
            secrets=settings[1],
            created_at=index.created_at,
            parts=tuple(parts[shard] for shard in sorted(parts)),
        )

    def _report(self) -> None:
        self.report(
            CreateProgress(
                documents=self.documents, expected=self.expected, shards=self.shards, of_shards=self.of_shards
            )
        )


def _key(key: Any) -> KeyPart:
    return KeyPart(
        uid=key.uid,
        name=key.name,
        description=key.description,
        actions=key.actions,
        indexes=key.indexes,
        expires_at=key.expires_at,
    )


def stem_of(uid: str, shard: int) -> str:
    """Where the files of a shard are, below the backup's folder."""
    return f"{file_name(uid)}/{shard:05}"
