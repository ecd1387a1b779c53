"""What can go wrong with a backup: kills, damage, a full disk, two at once, nodes that die."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import random
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from miroir_cli.backup.catalog import check_files, find_backup, list_backups
from miroir_cli.backup.create import CreateOptions, create_backup
from miroir_cli.backup.into_cluster import IntoCluster
from miroir_cli.backup.parts import Parts, lines_of
from miroir_cli.backup.restore import RestoreOptions, input_of, restore_backup, wishes_of
from miroir_cli.backup.target import LocalTarget, Upload, open_target, translated
from miroir_cli.dev.engine.testing import Engine
from miroir_cli.errors import BackupDamaged, BackupUnavailable, Locked
from miroir_cli.search.export import all_keys
from tests.backup.stock import HASTY, documents_of, stock
from tests.conftest import Miroir, clean_environment
from tests.faults.world import UID, World, world_of


async def killed(world: World, place: Path, call: int) -> bool:
    """Run a backup that is killed at a call; whether it was."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.backup.process", str(world.path), str(place), str(call), env=clean_environment()
    )
    assert await process.wait() in (0, -signal.SIGKILL)
    return process.returncode != 0


@pytest.mark.timeout(180)
async def test_a_backup_killed_at_any_step_is_gone_on_with_and_whole(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=2, shards=2, replicas=2) as world:
        async with world.cluster() as cluster:
            documents = await stock(cluster)
            call, deaths = 0, 0
            while True:
                place = tmp_path / f"place{call}"
                target = LocalTarget(place)
                if not await killed(world, place, call):
                    break
                deaths += 1
                before = list_backups(target)
                assert [entry.state for entry in before] in ([], ["unfinished"], ["complete"])
                if [entry.state for entry in before] != ["complete"]:
                    resumed = bool(before) and (place / before[0].id / "begun.json").exists()
                    created = await create_backup(cluster, target, options=HASTY)
                    assert created.resumed == resumed
                manifest = find_backup(target, "latest")
                assert check_files(target, manifest) == []
                assert documents_of(target, manifest) == documents
                call += 1
    assert deaths > 12


async def test_shards_that_are_done_are_not_read_again(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=2, shards=4, replicas=1) as world:
        async with world.cluster() as cluster:
            await stock(cluster)
            target = FullAfter(tmp_path / "place", most=5)
            options = CreateOptions(retry_for=0.0, file_bytes=1 << 20, parallel=1)
            with pytest.raises(BackupUnavailable, match="no space left"):
                await create_backup(cluster, target, options=options)
            (entry,) = list_backups(target)
            journals = [json.loads(path.read_text()) for path in (tmp_path / "place" / entry.id).rglob("0*.json")]
            assert journals
            target.most = 1000
            created = await create_backup(cluster, target, options=options)
            assert created.resumed and created.manifest.id == entry.id
            parts = created.manifest.indexes[0].parts
            assert all(part["at"] == parts[part["shard"]].at for part in journals)
            assert not list((tmp_path / "place").rglob(".0*")), "nothing half written is left"


class FullAfter(LocalTarget):
    """A disk that is full after so many files."""

    def __init__(self, folder: Path, *, most: int) -> None:
        super().__init__(folder)
        self.most = most

    def create(self, name: str) -> Upload:
        with translated(self.url, f"`{name}` cannot be written"):
            if len([path for path in self.folder.rglob("*") if path.is_file()]) >= self.most:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().create(name)


def test_an_index_created_anew_meanwhile_is_read_anew(tmp_path: Path, stocked: Miroir) -> None:
    """An unfinished backup has shards of an index that is deleted and created again before it is gone on with."""
    assert stocked("backup", "create", "place").status == 0
    (folder,) = [path for path in (tmp_path / "place").iterdir() if path.is_dir()]
    manifest = json.loads((folder / "manifest.json").read_text())
    begun = {key: manifest[key] for key in ("format", "id", "cluster", "cluster_id", "started_at", "compression")}
    (folder / "begun.json").write_text(json.dumps({**begun, "indexes": None}))
    for part in manifest["indexes"][0]["parts"]:
        (folder / "books" / f"{part['shard']:05}.json").write_text(json.dumps(part))
    (folder / "manifest.json").unlink()
    assert stocked("index", "delete", "books", "--yes").status == 0
    assert stocked("index", "create", "books", "-k", "id").status == 0
    (tmp_path / "one.ndjson").write_text('{"id": 1}\n')
    assert stocked("import", "books", "one.ndjson").status == 0
    done = stocked("backup", "create", "place", "--json")
    assert (done.status, done.json["documents"], done.json["resumed"]) == (0, 1, True)


# damage


@pytest.fixture
def backed(stocked: Miroir, tmp_path: Path) -> Path:
    """The folder of a backup of 60 books."""
    assert stocked("backup", "create", "place").status == 0
    (folder,) = [path for path in (tmp_path / "place").iterdir() if path.is_dir()]
    return folder


def a_file(folder: Path) -> Path:
    return sorted(folder.rglob("*.ndjson.zst"))[0]


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: a_file(folder).unlink(), "is missing"),
        (lambda folder: a_file(folder).write_bytes(a_file(folder).read_bytes()[:-3]), "bytes, expected"),
        (lambda folder: flipped(a_file(folder)), "has other content than was written"),
    ],
)
def test_a_damaged_file_is_found_and_nothing_is_restored(backed: Path, stocked: Miroir, damage: Any, said: str) -> None:
    damage(backed)
    checked = stocked("backup", "verify", "place")
    assert checked.status == 13 and said in checked.err
    assert len(stocked("backup", "verify", "place", "--json").json["flaws"]) == 1
    restored = stocked("backup", "restore", "place", "--as", "new")
    assert restored.status == 13 and said in restored.err
    assert [each["uid"] for each in stocked("index", "list", "--json").json["indexes"]] == ["books"]


def test_a_damaged_manifest_and_one_of_a_newer_miroir(backed: Path, stocked: Miroir) -> None:
    manifest = backed / "manifest.json"
    whole = manifest.read_text()
    manifest.write_text(whole[:-40])
    for words in (["show", "place"], ["verify", "place"], ["restore", "place", "--as", "new"]):
        done = stocked("backup", *words)
        assert done.status == 13 and "is damaged" in done.err
    assert stocked("backup", "list", "place", "--json").json["backups"][0]["state"] == "damaged"
    manifest.write_text(whole.replace('"format": 1', '"format": 2'))
    done = stocked("backup", "restore", "place", "--as", "new")
    assert done.status == 6 and "has format 2, this miroir reads up to 1" in done.err
    assert "install a newer miroir" in done.err


def test_a_folder_that_was_copied_is_a_backup_of_its_own(backed: Path, stocked: Miroir) -> None:
    copy = backed.with_name("20991231T000000Z")
    shutil.copytree(backed, copy)
    assert stocked("backup", "verify", "place", copy.name, "--json").json["backup"] == copy.name
    a_file(copy).unlink()
    assert stocked("backup", "verify", "place", copy.name).status == 13
    assert stocked("backup", "verify", "place", backed.name).status == 0
    # and one from the future is not the latest
    assert stocked("backup", "show", "place", "--json").json["backup"] == backed.name


def test_of_a_link_to_a_backup_elsewhere_the_link_is_deleted(backed: Path, stocked: Miroir, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(backed, elsewhere)
    link = backed.with_name("20200101T000000Z")
    link.symlink_to(elsewhere)
    pruned = stocked("backup", "prune", "place", "--keep-last", "1", "--yes", "--json").json
    assert len(pruned["deleted"]) == 1
    assert len(list(backed.parent.glob("2*"))) == 1
    assert (elsewhere / "manifest.json").exists()


def test_one_that_cannot_be_read_does_not_hide_the_others(backed: Path, stocked: Miroir) -> None:
    (backed.with_name("20200101T000000Z") / "manifest.json").mkdir(parents=True)
    found = stocked("backup", "list", "place", "--json").json["backups"]
    assert [each["state"] for each in found] == ["damaged", "complete"]
    pruned = stocked("backup", "prune", "place", "--keep-last", "1", "--yes", "--json").json
    assert (pruned["deleted"], [each["backup"] for each in pruned["kept"]]) == ([], [backed.name])


def test_names_in_a_manifest_do_not_drive_the_terminal(backed: Path, stocked: Miroir) -> None:
    manifest = backed / "manifest.json"
    name = a_file(backed).relative_to(backed).as_posix()
    manifest.write_text(manifest.read_text().replace(name, "a\\u001b[2Jb\\u009b31m"))
    done = stocked("backup", "verify", "place")
    assert done.status == 13 and "a\\x1b[2Jb\\x9b31m` is missing" in done.out
    assert not {"\x1b", "\x9b"}.intersection(done.out + done.err)


def test_places_that_are_none(stocked: Miroir, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = stocked("backup", "create", "file")
    assert done.status == 5 and done.err.startswith("error: `file`: cannot be written: ")
    for words in (["show", "nowhere"], ["verify", "nowhere"], ["restore", "nowhere"]):
        done = stocked("backup", *words)
        assert done.status == 4 and "there is no complete backup in `nowhere`" in done.err
    assert stocked("backup", "list", "nowhere", "--json").json == {"backups": []}
    assert stocked("backup", "prune", "nowhere", "--keep-last", "1", "--json").json["deleted"] == []
    assert not (tmp_path / "nowhere").exists()
    done = stocked("backup", "list", "nosuch://place")
    assert done.status == 2 and "`nosuch://place`" in done.err


async def test_two_at_once_in_one_place(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=2, shards=1, replicas=1) as world:
        target = LocalTarget(tmp_path / "place")
        async with world.cluster() as cluster:
            await stock(cluster)
            with target.locked("miroir backup create place"):  # of another cluster
                with pytest.raises(Locked, match="is in use by process .*miroir backup create place"):
                    await create_backup(cluster, LocalTarget(tmp_path / "place"), options=HASTY)
            first = asyncio.create_task(create_backup(cluster, target, options=HASTY))
            await asyncio.sleep(0)
            with pytest.raises(Locked):
                await create_backup(cluster, target, options=HASTY)
            assert (await first).manifest.documents


# nodes


async def test_another_replica_takes_over_from_a_node_that_dies(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=3, shards=3, replicas=2) as world:
        async with world.cluster() as cluster:
            documents = await stock(cluster, each=300)
            target = Slow(tmp_path / "place", world.engine(1))
            created = await create_backup(cluster, target, options=CreateOptions(retry_for=20.0))
            assert documents_of(target, created.manifest) == documents
            assert "n1" not in {part.node for part in created.manifest.indexes[0].parts}


class Slow(LocalTarget):
    """When the first file is begun, a node dies."""

    def __init__(self, folder: Path, engine: Engine) -> None:
        super().__init__(folder)
        self._engine = engine

    def create(self, name: str) -> Upload:
        if name.endswith(".zst"):
            self._engine.stop()
        return super().create(name)


# restores


async def restoring(world: World, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "miroir_cli", "backup", "restore", "place", *arguments, "--json"),
        cwd=world.path.parent,
        env=clean_environment(MIROIR_TOPOLOGY=str(world.path), HOME=str(world.path.parent)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@pytest.mark.timeout(180)
async def test_a_restore_killed_at_any_moment_is_gone_on_with(tmp_path: Path) -> None:
    chance = random.Random(7)
    with world_of(tmp_path, nodes=3, shards=4, replicas=2) as world:
        async with world.cluster() as cluster:
            documents = await stock(cluster, each=400)
            await create_backup(cluster, LocalTarget(tmp_path / "place"), options=CreateOptions())
            for _ in range(5):
                process = await restoring(world, "--as", "again")
                await asyncio.sleep(0.4 + chance.random() * 1.2)
                if process.returncode is None:
                    process.kill()
                await process.communicate()
                if process.returncode == 0:
                    break
            process = await restoring(world, "--as", "again", "--compare")
            out, err = await process.communicate()
            found = json.loads(out)
            if process.returncode == 2:  # the last one had come to its end
                assert "exists already" in err.decode()
            else:
                assert process.returncode == 0, err.decode()
                assert found["indexes"][0]["differences"] == []
            assert sorted(await all_keys(cluster, "again")) == sorted(documents)
    assert not list((tmp_path / ".miroir" / "restores").glob("*.json"))


async def test_a_restore_that_replaces_deletes_once(tmp_path: Path) -> None:
    """Interrupted after it has deleted what was in its way, it does not delete what it has begun itself."""
    with world_of(tmp_path, nodes=2, shards=2, replicas=1) as world:
        async with world.cluster() as cluster:
            documents = await stock(cluster)
            target = LocalTarget(tmp_path / "place")
            manifest = (await create_backup(cluster, target, options=HASTY)).manifest
            options = RestoreOptions(replace=True, retry_for=5.0)
            begun = IntoCluster(cluster, manifest, target.url, options)
            (wish,) = wishes_of(manifest, options)
            assert not await begun.is_free(wish)
            await begun.make(wish, options=options)
            after = (await cluster.reload(UID)).index.incarnation
            again = IntoCluster(cluster, manifest, target.url, options)
            assert await again.is_free(wish)
            restored = await restore_backup(target, manifest, again, options=options)
            assert restored.resumed and restored.documents == len(documents)
            assert (await cluster.reload(UID)).index.incarnation == after


# files


@pytest.mark.parametrize("compression", ["zstd", "gzip"])
@pytest.mark.parametrize("place", ["folder", "memory://backups-{}", "local://{}/remote"])
async def test_files_in_any_place_with_any_compression(tmp_path: Path, place: str, compression: str) -> None:
    name = tmp_path if "local" in place else compression
    url = str(tmp_path / place) if "://" not in place else place.format(name)
    with world_of(tmp_path, nodes=2, shards=2, replicas=1) as world:
        async with world.cluster() as cluster:
            documents = await stock(cluster, each=400)
            target = open_target(url)
            options = CreateOptions(compression=compression, file_bytes=800)
            manifest = (await create_backup(cluster, target, options=options)).manifest
            assert manifest.compression == compression
            assert len(manifest.indexes[0].files) > 2
            assert documents_of(open_target(url), find_backup(target, "latest")) == documents
            into = IntoCluster(cluster, manifest, url, RestoreOptions(name="again"))
            restored = await restore_backup(target, manifest, into, options=RestoreOptions(name="again", compare=True))
            assert restored.indexes[0].differences == ()
            assert {entry.state for entry in list_backups(target)} == {"complete"}


async def test_documents_that_changed_meanwhile_are_in_one_file_only(tmp_path: Path) -> None:
    target = LocalTarget(tmp_path)
    parts = Parts(target, "b", "books/00000", compression="zstd", file_bytes=300)
    expected: dict[str, bytes] = {}
    chance = random.Random(1)
    for round in range(6):
        gone = set(chance.sample(sorted(expected), len(expected) // 3))
        await parts.drop(gone)
        for key in gone:
            del expected[key]
        fresh = {f"{round}-{number}": msgspec.json.encode({"id": f"{round}-{number}"}) for number in range(40)}
        again = {key: msgspec.json.encode({"id": key, "round": round}) for key in sorted(gone)[:5]}
        await parts.add(fresh | again)
        expected |= fresh | again
    files = await parts.finish()
    found = [line.rstrip() for file in files for line in lines_of(input_of(target, "b", file.name, 0, ""))]
    assert sorted(found) == sorted(expected.values())
    assert sorted(path.name for path in (tmp_path / "b" / "books").iterdir()) == sorted(
        file.name.rpartition("/")[2] for file in files
    )


def test_a_file_that_breaks_off_is_named(tmp_path: Path) -> None:
    target = LocalTarget(tmp_path)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x.ndjson").write_bytes(b'{"id":1}\n{"id":')
    with pytest.raises(BackupDamaged, match=r"`.*b/x.ndjson` is damaged: the last line is cut off"):
        list(lines_of(input_of(target, "b", "x.ndjson", 16, "")))
