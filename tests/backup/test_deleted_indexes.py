"""Indexes that somebody deletes while they are backed up, or while a restore of them is interrupted."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event

import pytest

from miroir_cli.backup.catalog import list_backups
from miroir_cli.backup.create import CreateOptions, create_backup
from miroir_cli.backup.into_cluster import IntoCluster
from miroir_cli.backup.manifest import Manifest
from miroir_cli.backup.restore import Restored, RestoreOptions, input_of, restore_backup, wishes_of
from miroir_cli.backup.target import LocalTarget, LocalUpload, Target, Upload
from miroir_cli.cluster import Cluster
from miroir_cli.documents.write import delete_documents
from miroir_cli.errors import AlreadyExists, IndexNotFound, TemporaryError
from miroir_cli.indexes.catalog import delete_index
from tests.backup.stock import HASTY, stock
from tests.faults.world import UID, create, world_of


class Deleting(LocalTarget):
    """An index is deleted when one of its two shards has been read and the other one is on its way."""

    def __init__(self, folder: Path, cluster: Cluster) -> None:
        super().__init__(folder)
        self._delete = partial(delete_index, cluster, UID)
        self._loop = asyncio.get_running_loop()
        self._deleted, self._given_up = Event(), Event()

    def write(self, name: str, content: bytes) -> None:
        if name.endswith(f"{UID}/00000.json"):
            asyncio.run_coroutine_threadsafe(self._delete(), self._loop).result(30)
            self._deleted.set()
            assert self._given_up.wait(30)
        super().write(name, content)

    def create(self, name: str) -> Upload:
        if f"{UID}/00001-" in name:
            assert self._deleted.wait(30)
            return GivenUp(self.url, name, self.folder / name, self._given_up)
        return super().create(name)


class GivenUp(LocalUpload):
    """A file that says when it is given up."""

    def __init__(self, url: str, name: str, path: Path, told: Event) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        super().__init__(url, name, path)
        self._told = told

    def abort(self) -> None:
        super().abort()
        self._told.set()


async def test_an_index_deleted_while_its_last_shard_is_read_is_left_out(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=2, shards=2, replicas=1) as world:
        async with world.cluster() as cluster:
            await stock(cluster)
            await create(cluster, "other")
            created = await create_backup(cluster, Deleting(tmp_path / "place", cluster), options=CreateOptions())
            assert created.skipped == (UID,)
            assert [index.uid for index in created.manifest.indexes] == ["other"]


async def test_a_backup_of_one_index_that_is_deleted_meanwhile_is_none(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=2, shards=2, replicas=1) as world:
        async with world.cluster() as cluster:
            await stock(cluster)
            target = Deleting(tmp_path / "place", cluster)
            with pytest.raises(IndexNotFound, match=f"index `{UID}` was deleted meanwhile"):
                await create_backup(cluster, target, options=CreateOptions(indexes=(UID,)))
            assert [entry.state for entry in list_backups(target)] == ["unfinished"]


async def restored(cluster: Cluster, target: Target, manifest: Manifest, options: RestoreOptions) -> Restored:
    return await restore_backup(target, manifest, IntoCluster(cluster, manifest, target.url, options), options=options)


async def all_but_ended(cluster: Cluster, target: Target, manifest: Manifest, options: RestoreOptions) -> None:
    """A restore is interrupted when all its documents are there."""
    begun = IntoCluster(cluster, manifest, target.url, options)
    (wish,) = wishes_of(manifest, options)
    await begun.make(wish, options=options)
    files = [
        input_of(target, manifest.id, file.name, file.bytes, file.sha256)
        for part in wish.part.parts
        for file in part.files
    ]
    await begun.fill(wish, files, options=options, report=lambda documents: None)


async def begun_and_lost(cluster: Cluster, target: Target, options: RestoreOptions) -> Manifest:
    """The same, and then somebody deletes what it has made."""
    await stock(cluster)
    manifest = (await create_backup(cluster, target, options=HASTY)).manifest
    await all_but_ended(cluster, target, manifest, options)
    await delete_index(cluster, "again")
    return manifest


async def test_an_interrupted_restore_does_not_take_another_index_for_its_own(tmp_path: Path) -> None:
    """Somebody has deleted what it had made, and made an index of the same uid."""
    options = RestoreOptions(name="again", retry_for=20.0)
    with world_of(tmp_path, nodes=2, shards=2, replicas=1) as world:
        async with world.cluster() as cluster:
            target = LocalTarget(tmp_path / "place")
            manifest = await begun_and_lost(cluster, target, options)
            foreign = await create(cluster, "again")
            with pytest.raises(AlreadyExists, match="index `again` exists already"):
                await restored(cluster, target, manifest, options)
            assert (await cluster.reload("again")).index == foreign
            told = replace(options, replace=True)
            assert (await restored(cluster, target, manifest, told)).documents == manifest.documents


async def test_a_restore_whose_index_was_deleted_begins_again(tmp_path: Path) -> None:
    options = RestoreOptions(name="again", retry_for=20.0)
    with world_of(tmp_path, nodes=2, shards=2, replicas=1) as world:
        async with world.cluster() as cluster:
            target = LocalTarget(tmp_path / "place")
            manifest = await begun_and_lost(cluster, target, options)
            found = await restored(cluster, target, manifest, options)
            assert not found.resumed and found.documents == manifest.documents


async def test_a_restore_that_ends_with_too_few_documents_can_be_replaced(tmp_path: Path) -> None:
    """Somebody deletes documents while a restore is interrupted: its hint leads to the end."""
    options = RestoreOptions(name="again", retry_for=20.0)
    with world_of(tmp_path, nodes=2, shards=2, replicas=1) as world:
        async with world.cluster() as cluster:
            documents = await stock(cluster)
            target = LocalTarget(tmp_path / "place")
            manifest = (await create_backup(cluster, target, options=HASTY)).manifest
            await all_but_ended(cluster, target, manifest, options)
            await delete_documents(cluster, "again", ids=sorted(documents)[:3])
            with pytest.raises(TemporaryError, match="has 77 documents, the backup 80") as caught:
                await restored(cluster, target, manifest, options)
            assert "--replace" in str(caught.value.hint)
            told = replace(options, replace=True)
            assert (await restored(cluster, target, manifest, told)).documents == len(documents)
