"""Backups of clusters whose indexes change names: before, and in the middle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from miroir_cli.backup.create import create_backup
from miroir_cli.backup.into_cluster import IntoCluster
from miroir_cli.backup.restore import RestoreOptions, restore_backup
from miroir_cli.backup.target import LocalTarget
from miroir_cli.errors import IndexRenamed
from miroir_cli.indexes.names import Swap, swap_indexes
from miroir_cli.search.export import all_keys
from tests.backup.stock import HASTY, documents_of, stock
from tests.faults.moving import hook, once
from tests.faults.world import UID, create, world_of


async def test_a_swapped_index_is_backed_up_and_restored_under_its_name(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=2) as world:
        async with world.cluster() as cluster:
            documents = await stock(cluster)
            await create(cluster, "films")
            await swap_indexes(cluster, [Swap(first=UID, second="films")])
            target = LocalTarget(tmp_path / "place")
            manifest = (await create_backup(cluster, target, options=HASTY)).manifest
            assert documents_of(target, manifest, "films") == documents and documents_of(target, manifest) == {}
            options = RestoreOptions(indexes=("films",), name="again")
            await restore_backup(target, manifest, IntoCluster(cluster, manifest, target.url, options), options=options)
            assert set(await all_keys(cluster, "again")) == set(documents)


@pytest.mark.parametrize("rename", [False, True])
async def test_names_that_change_in_the_middle_are_those_of_the_end(tmp_path: Path, rename: bool) -> None:
    with world_of(tmp_path, nodes=2) as world:
        async with world.cluster() as cluster, world.cluster() as other:
            documents = await stock(cluster)
            await create(cluster, "films")
            new = "shelf" if rename else "films"
            hook(cluster, after_changes=once(lambda: swap_indexes(other, [Swap(first=UID, second=new, rename=rename)])))
            target = LocalTarget(tmp_path / "place")
            created = await create_backup(cluster, target, options=HASTY)
            assert created.skipped == ()
            assert {index.uid for index in created.manifest.indexes} == {"films", "shelf" if rename else UID}
            assert documents_of(target, created.manifest, new) == documents


async def test_an_index_that_was_asked_for_and_has_another_name_now_is_told(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=2) as world:
        async with world.cluster() as cluster, world.cluster() as other:
            await stock(cluster)
            hook(cluster, after_changes=once(lambda: swap_indexes(other, [Swap(first=UID, second="new", rename=True)])))
            with pytest.raises(IndexRenamed, match="index `books` was renamed to `new` meanwhile"):
                await create_backup(cluster, LocalTarget(tmp_path / "place"), options=replace(HASTY, indexes=(UID,)))
