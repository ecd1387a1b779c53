"""The locks between processes: freed by death and only then, handed on in turn, and their owner named."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from miroir_cli.errors import Locked, StateUnavailable
from miroir_cli.store.locks import Locks, file_system_of, import_file, is_stopped

HOLDER = """
import asyncio, sys, time
from pathlib import Path
from miroir_cli.store.locks import Locks

async def main(folder, seconds, rounds):
    locks = Locks(Path(folder), command="miroir import books", timeout=30)
    for _ in range(rounds):
        async with locks.order("books"):
            print("held", flush=True)
            time.sleep(seconds)

asyncio.run(main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3])))
"""


@contextmanager
def holder(folder: Path, *, seconds: float = 60.0, rounds: int = 1) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the order lock of `books` when the block begins."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder), str(seconds), str(rounds)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


async def test_a_lock_held_too_long_names_its_owner(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        locks = Locks(tmp_path, timeout=0.1)
        with pytest.raises(Locked) as caught:
            async with locks.order("books"):
                pass
        assert f"process {process.pid} (`miroir import books`)" in caught.value.message
        assert "stopped" not in caught.value.message
        assert caught.value.exit_status == 8


async def test_a_stopped_holder_is_said_to_be_stopped(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        process.send_signal(signal.SIGSTOP)
        await asyncio.to_thread(os.waitid, os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        assert is_stopped(process.pid)
        with pytest.raises(Locked, match="it is stopped: continue it with SIGCONT"):
            async with Locks(tmp_path, timeout=0.05).order("books"):
                pass


async def test_a_killed_holder_frees_its_lock_at_once(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        process.kill()
        process.wait()
        async with Locks(tmp_path, timeout=1.0).order("books"):
            pass


async def test_a_process_that_takes_the_lock_again_and_again_lets_others_in(tmp_path: Path) -> None:
    with holder(tmp_path, seconds=0.02, rounds=100_000):
        locks = Locks(tmp_path, timeout=20.0)
        longest = 0.0
        for _ in range(5):
            began = time.monotonic()
            async with locks.order("books"):
                longest = max(longest, time.monotonic() - began)
        assert longest < 5.0


async def test_within_a_process_it_is_handed_on_in_the_order_of_asking(tmp_path: Path) -> None:
    locks = Locks(tmp_path)
    order: list[int] = []

    async def take(number: int) -> None:
        async with locks.order("books"):
            order.append(number)
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for number in range(5):
            group.create_task(take(number))
    assert order == list(range(5))


async def test_waiting_in_one_process_ends_after_the_timeout_too(tmp_path: Path) -> None:
    locks = Locks(tmp_path, timeout=0.1)
    async with locks.order("books"):
        with pytest.raises(Locked):
            async with asyncio.timeout(5), locks.order("books"):
                pass


async def test_locks_of_two_indexes_do_not_meet(tmp_path: Path) -> None:
    locks = Locks(tmp_path, timeout=0.0)
    async with locks.order("books"), locks.order("films"):
        assert locks.owner("books.order") is not None
    assert locks.owner("books.order") is None


async def test_a_lock_that_is_not_waited_for(tmp_path: Path) -> None:
    async with Locks(tmp_path).once("run"):
        with pytest.raises(Locked):
            async with Locks(tmp_path).once("run"):
                pass


async def test_the_longest_uid_has_a_lock(tmp_path: Path) -> None:
    locks = Locks(tmp_path, timeout=0.0)
    async with locks.order("x" * 400), locks.order("x" * 399 + "y"), locks.once(import_file("x" * 400, 12)):
        pass


async def test_a_folder_that_cannot_be_made_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateUnavailable, match="file/locks"):
        async with Locks(tmp_path / "file" / "locks").order("books"):
            pass


async def test_an_error_inside_frees_the_lock(tmp_path: Path) -> None:
    locks = Locks(tmp_path, timeout=0.0)
    with pytest.raises(ValueError, match="inside"):
        async with locks.order("books"):
            raise ValueError("inside")
    async with locks.order("books"):
        pass


def test_a_process_that_does_not_exist_is_not_stopped() -> None:
    assert not is_stopped(2**22 + 1)


async def test_what_is_held_is_told_with_its_owner_and_nothing_is_taken(tmp_path: Path) -> None:
    locks = Locks(tmp_path)
    assert Locks(tmp_path / "none").held() == ()
    assert not (tmp_path / "none").exists()
    with holder(tmp_path) as process:
        async with locks.once("run"):
            assert [(each.name, each.owner.pid) for each in locks.held() if each.owner] == [
                ("books.order", process.pid),
                ("run", os.getpid()),
            ]
        process.send_signal(signal.SIGSTOP)
        await asyncio.to_thread(os.waitid, os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        assert [(each.name, each.stopped) for each in locks.held()] == [("books.order", True)]
        process.kill()
        process.wait()
        assert locks.owner("books.order") is not None  # the signature of the dead stays
        assert locks.held() == ()


@pytest.mark.parametrize(
    ("folder", "kind"),
    [("/srv/data/state", "nfs4"), ("/srv", "ext4"), ("/srv/my disk/x", "cifs"), ("/srv/database", "ext4")],
)
def test_the_file_system_of_a_folder_is_that_of_the_nearest_mount(folder: str, kind: str) -> None:
    mounts = "/dev/a / ext4 rw 0 0\nhost:/x /srv/data nfs4 rw 0 0\n//host/y /srv/my\\040disk cifs rw 0 0\n"
    assert file_system_of(Path(folder), mounts=mounts) == kind


async def test_a_shared_lock_is_had_by_many_or_by_one_alone(tmp_path: Path) -> None:
    first, second = Locks(tmp_path, timeout=0.05, command="miroir search"), Locks(tmp_path, timeout=0.05, command="x")
    async with first.shared("state"), second.shared("state"):
        with pytest.raises(Locked, match="in use by another process"):
            async with first.alone("state"):
                pass
    async with second.alone("state"):
        with pytest.raises(Locked, match=rf"in use by process {os.getpid()} \(`x`\)"):
            async with first.shared("state"):
                pass
    async with first.shared("state"):
        pass


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
