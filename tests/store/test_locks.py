"""The locks between the processes of one host: the kernel frees them at death and only then.

What they have in common with leases is in `contract/test_locks.py`.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from miroir_cli.errors import Locked, StateUnavailable
from miroir_cli.store.locks import Locks, file_system_of
from miroir_cli.store.processes import is_stopped

HOLDER = """
import asyncio, sys, time
from pathlib import Path
from miroir_cli.store.locks import Locks

async def main(folder):
    async with Locks(Path(folder), command="miroir import books").order("books"):
        print("held", flush=True)
        time.sleep(60)

asyncio.run(main(sys.argv[1]))
"""


@contextmanager
def holder(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the order lock of `books` when the block begins."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


async def test_a_killed_holder_frees_its_lock_at_once(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        process.kill()
        process.wait()
        async with Locks(tmp_path, timeout=1.0).order("books"):
            pass


async def test_a_folder_that_cannot_be_made_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateUnavailable, match="file/locks"):
        async with Locks(tmp_path / "file" / "locks").order("books"):
            pass


def test_a_process_that_does_not_exist_is_not_stopped() -> None:
    assert not is_stopped(2**22 + 1)


async def test_to_tell_what_is_held_no_file_is_made_and_a_signature_proves_nothing(tmp_path: Path) -> None:
    locks = Locks(tmp_path)
    assert await Locks(tmp_path / "none").held() == ()
    assert not (tmp_path / "none").exists()
    with holder(tmp_path) as process:
        assert [each.name for each in await locks.held()] == ["books.order"]
        process.kill()
        process.wait()
    assert locks.owner("books.order") is not None  # the signature of the dead stays
    assert await locks.held() == ()


@pytest.mark.parametrize(
    ("folder", "kind"),
    [("/srv/data/state", "nfs4"), ("/srv", "ext4"), ("/srv/my disk/x", "cifs"), ("/srv/database", "ext4")],
)
def test_the_file_system_of_a_folder_is_that_of_the_nearest_mount(folder: str, kind: str) -> None:
    mounts = "/dev/a / ext4 rw 0 0\nhost:/x /srv/data nfs4 rw 0 0\n//host/y /srv/my\\040disk cifs rw 0 0\n"
    assert file_system_of(Path(folder), mounts=mounts) == kind


async def test_a_signature_left_by_a_killed_process_does_not_outlast_it(tmp_path: Path) -> None:
    (tmp_path / "state").write_text('{"pid": 1, "command": "long gone", "since": 0}')
    async with Locks(tmp_path).shared("state"):
        with pytest.raises(Locked, match="in use by another process"):
            async with Locks(tmp_path, timeout=0.05).alone("state"):
                pass


async def test_where_no_lock_file_can_be_made_nothing_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    async with Locks(tmp_path / "file" / "locks").shared("state"):
        pass
