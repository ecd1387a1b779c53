"""The two ends of a backup's folder: begun anew or found unfinished, and tidied once its manifest is there."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from miroir_cli.backup.catalog import begun_of, folders_of, is_complete
from miroir_cli.backup.manifest import BEGUN, FORMAT, MANIFEST, Begun, encode
from miroir_cli.backup.packing import best_compression, usable
from miroir_cli.errors import BackupDamaged, MiroirError, TemporaryError

if TYPE_CHECKING:
    from miroir_cli.backup.create import CreateOptions
    from miroir_cli.backup.manifest import Manifest
    from miroir_cli.backup.target import Target
    from miroir_cli.cluster import Cluster

OLDEST: Final = 24 * 3_600_000
"""Milliseconds after which an unfinished backup is not gone on with: its first shards are too old for its last ones."""


async def begin(cluster: Cluster, target: Target, options: CreateOptions) -> tuple[Begun, bool]:
    """The backup to write, and whether it was begun before. Raises `TemporaryError` while there is no index."""
    record = await cluster.store.cluster()
    if record is None:
        raise TemporaryError("the cluster has no index yet", hint="run `miroir index create UID --primary-key FIELD`")
    found = await asyncio.to_thread(_unfinished, target, record.id, options)
    if found is not None:
        return found, True
    now = time.time_ns() // 1_000_000
    begun = Begun(
        format=FORMAT,
        id=await asyncio.to_thread(_new_id, target, now),
        cluster=record.name,
        cluster_id=record.id,
        started_at=now,
        indexes=options.indexes,
        compression=usable(options.compression) if options.compression else best_compression(),
    )
    await asyncio.to_thread(target.write, f"{begun.id}/{BEGUN}", encode(begun))
    return begun, False


def _unfinished(target: Target, cluster_id: str, options: CreateOptions) -> Begun | None:
    """The newest unfinished backup of the same indexes; with `restart` all such are deleted."""
    now = time.time_ns() // 1_000_000
    for folder in reversed(folders_of(target)):
        if is_complete(target, folder):
            continue
        with suppress(BackupDamaged):
            begun = begun_of(target, folder)
            if begun is None or begun.cluster_id != cluster_id or begun.indexes != options.indexes:
                continue
            if options.restart:
                target.delete_folder(folder)
            elif abs(now - begun.started_at) < OLDEST:
                return begun
    return None


def _new_id(target: Target, now: int) -> str:
    """The time in UTC; a number behind it when there is one of that second already."""
    plain = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now / 1000))
    taken, id, number = set(target.folders()), plain, 1
    while id in taken:
        number += 1
        id = f"{plain}-{number}"
    return id


def clear_up(target: Target, manifest: Manifest) -> None:
    """Take away what no manifest names: journals, and what killed processes have left. It is not needed, whatever
    becomes of it."""
    named = {f"{manifest.id}/{file.name}" for index in manifest.indexes for file in index.files}
    named.add(f"{manifest.id}/{MANIFEST}")
    with suppress(MiroirError, OSError):
        for name in target.files(manifest.id):
            if name not in named:
                target.delete(name)
