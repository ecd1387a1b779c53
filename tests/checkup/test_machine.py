"""What the doctor says of this machine's files, disks and limits: planted, mended as it says, and gone."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from miroir_cli.checkup.facts import Facts, Machine, ServeFacts, StateFiles
from miroir_cli.checkup.finding import Severity, size
from miroir_cli.checkup.machine import read_state_files
from miroir_cli.checkup.machine_rules import few_descriptors, platform_untested, state_doubtful, state_full
from miroir_cli.topology.serve import ServeSettings
from tests.backends import about_the_file
from tests.checkup.staged import findings, type_in
from tests.checkup.test_rules import facts, node
from tests.conftest import Miroir
from tests.faults.world import create, world_of

GIB = 1024**3


@about_the_file("its permissions, its log and what was set aside")
async def test_a_state_file_that_others_can_read(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            await create(cluster)
        path = world.topology.state_path
        assert await findings(world) == {}
        kept = path.with_name("state.db.20260101T000000Z.old")
        kept.write_bytes(b"")
        for file in (path, kept):
            file.chmod(0o644)
        found = await findings(world)
        assert set(found) == {"state.open"}
        assert found["state.open"].next == (f"chmod go-rwx {path}*",)
        await type_in(world, found["state.open"])
        assert await findings(world) == {}


async def test_a_topology_file_that_others_can_change(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            await create(cluster)
        world.path.chmod(0o666)
        found = await findings(world)
        assert set(found) == {"topology.writable"}
        await type_in(world, found["topology.writable"])
        assert await findings(world) == {}


@about_the_file("its permissions, its log and what was set aside")
async def test_a_log_that_a_reader_keeps_from_being_emptied(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            await create(cluster)
        path = world.topology.state_path
        with closing(sqlite3.connect(path)) as reader:
            reader.execute("begin")
            reader.execute("select count(*) from indexes").fetchone()
            with closing(sqlite3.connect(path)) as writer, writer:
                writer.execute("pragma synchronous = off")
                writer.execute("create table bulk (content blob)")
                writer.execute("insert into bulk values (zeroblob(70 * 1024 * 1024))")
            found = await findings(world)
            assert set(found) == {"state.log"}
            assert "has grown to 70" in found["state.log"].message
        with closing(sqlite3.connect(path)) as writer, writer:
            writer.execute("drop table bulk")
        assert await findings(world) == {}


@about_the_file("its permissions, its log and what was set aside")
async def test_old_state_files_are_told_after_a_week(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            await create(cluster)
        kept = world.topology.state_path.with_name("state.db.20260101T000000Z.old")
        kept.write_bytes(b"x" * 2048)
        kept.chmod(0o600)
        assert await findings(world) == {}
        os.utime(kept, (time.time() - 8 * 86_400,) * 2)
        found = await findings(world)
        assert set(found) == {"state.aside"}
        assert found["state.aside"].severity is Severity.INFO
        assert "1 old state file of `miroir state recover` is still here (2.0 KiB, the newest 8 days old)" in (
            found["state.aside"].message
        )
        assert found["state.aside"].hint.endswith(f"rm {kept}")
        assert found["state.aside"].next == ()
        kept.unlink()
        assert await findings(world) == {}


def with_files(**files: object) -> Facts:
    known = facts(node())
    return replace(known, state=replace(known.state, files=StateFiles(**files)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("free", "disk", "severity"),
    [
        (10 * GIB, 1000 * GIB, None),
        (GIB - 1, 10 * GIB, None),
        (GIB - 1, 100 * GIB, Severity.WARNING),
        (90 * 1024**2, 100 * 1024**2, Severity.ERROR),
        (None, None, None),
    ],
)
def test_room_is_little_by_size_and_by_share(free: int | None, disk: int | None, severity: Severity | None) -> None:
    found = list(state_full(with_files(free_bytes=free, disk_bytes=disk)))
    assert [finding.severity for finding in found] == ([severity] if severity else [])


def test_the_room_is_that_of_the_disk_also_before_there_is_a_folder(tmp_path: Path) -> None:
    here, to_be = read_state_files(tmp_path / "state.db"), read_state_files(tmp_path / "a" / "b" / "state.db")
    assert here.disk_bytes == to_be.disk_bytes and (here.free_bytes or 0) > 0
    assert here.file_system


@pytest.mark.parametrize(
    ("kind", "blamed"),
    [("ext4", False), ("overlay", False), ("fuse.fuse-overlayfs", False), ("fuse.s3fs", True), ("virtiofs", True)],
)
def test_file_systems_that_may_not_keep_locks(kind: str, blamed: bool) -> None:
    assert bool(list(state_doubtful(with_files(file_system=kind)))) is blamed


def test_a_file_system_that_is_refused_is_told_once() -> None:
    known = with_files(file_system="fuse.sshfs")
    refused = replace(known, state=replace(known.state, network="folder `x` is on a network file system"))
    assert list(state_doubtful(refused)) == []


@about_the_file("of Redis there is always something else to say")
def test_a_limit_on_open_files(ready: Miroir, tmp_path: Path, miroir_limited: Miroir) -> None:
    assert ready("index", "create", "books", "-k", "id").status == 0
    found = miroir_limited("doctor", "--json")
    assert found.status == 3
    assert [finding["check"] for finding in found.json["findings"]] == ["host.descriptors"]
    assert "may open 200 files at once" in found.json["findings"][0]["message"]


def test_connections_count_where_the_proxy_is_configured() -> None:
    known = facts(node())
    machine = Machine(topology="t", topology_writable=False, descriptors=4096, python=(3, 11), system="Linux")
    usual = replace(known, machine=machine, serve=ServeFacts(settings=ServeSettings()))
    assert list(few_descriptors(usual)) == []
    many = replace(usual, serve=ServeFacts(settings=ServeSettings(port=7000)))
    (found,) = few_descriptors(many)
    assert "16,640 are needed for 16,384 connections" in found.message
    enough = replace(usual, serve=ServeFacts(settings=ServeSettings(connections=1000)))
    assert list(few_descriptors(enough)) == []
    assert list(few_descriptors(replace(many, machine=replace(machine, descriptors=None)))) == []


def test_systems_and_pythons_that_are_not_tested() -> None:
    machine = Machine(topology="t", topology_writable=False, descriptors=None, python=(3, 11), system="Linux")
    known = replace(facts(node()), machine=machine)
    assert list(platform_untested(known)) == []
    other = replace(known, machine=replace(machine, python=(3, 15), system="Darwin"))
    assert [(finding.check, finding.severity) for finding in platform_untested(other)] == [
        ("host.python", Severity.WARNING),
        ("host.system", Severity.INFO),
    ]


@pytest.mark.parametrize(
    ("bytes", "written"), [(0, "0 bytes"), (999, "999 bytes"), (2048, "2.0 KiB"), (150 * 1024**2, "150 MiB")]
)
def test_how_sizes_are_written(bytes: int, written: str) -> None:
    assert size(bytes) == written
