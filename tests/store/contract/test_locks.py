"""Locks of one host and leases of several: one behaviour between processes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from miroir_cli.errors import Locked
from miroir_cli.store.journal import Process
from miroir_cli.store.locks import Locks, import_file
from miroir_cli.store.processes import born, host_name, this_process
from miroir_cli.store.protocol import Locking
from miroir_cli.store.redis.connection import connect
from miroir_cli.store.redis.leases import Leases
from tests.store.redis_server import RedisServer

PATIENT = 30.0
"""Seconds that are enough on any machine for what ought to happen soon."""

HOLDER = """
import asyncio, sys, time
from pathlib import Path
from miroir_cli.store.locks import Locks
from miroir_cli.store.redis.connection import connect
from miroir_cli.store.redis.leases import Leases

async def main(place, seconds, rounds):
    if "://" in place:
        locks = Leases(connect(place), command="miroir import books", timeout=30, term=3.0, every=0.3)
    else:
        locks = Locks(Path(place), command="miroir import books", timeout=30)
    for _ in range(rounds):
        async with locks.order("books"):
            print("held", flush=True)
            time.sleep(seconds)
    await locks.close()

asyncio.run(main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3])))
"""


@dataclass
class Place:
    """Where the locks of a test are: a folder, or the url of Redis."""

    name: str
    opened: list[Any] = field(default_factory=list)

    @property
    def shared(self) -> bool:
        return "://" in self.name

    def locks(self, *, timeout: float = PATIENT, command: str = "miroir") -> Locking:
        """The locks as another process has them."""
        if not self.shared:
            return Locks(Path(self.name), timeout=timeout, command=command)
        access = connect(self.name)
        leases = Leases(access, timeout=timeout, command=command, term=3.0, every=0.3)
        self.opened += [leases.close, access.client.aclose]
        return leases

    @contextmanager
    def holder(self, *, seconds: float = 60.0, rounds: int = 1) -> Iterator[subprocess.Popen[str]]:
        """Another process that holds the order lock of `books` when the block begins."""
        command = [sys.executable, "-c", HOLDER, self.name, str(seconds), str(rounds)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


@pytest.fixture(params=["kernel", "redis"])
async def place(request: pytest.FixtureRequest, tmp_path: Path, redis_server: RedisServer) -> AsyncIterator[Place]:
    found = Place(redis_server.url if request.param == "redis" else str(tmp_path / "locks"))
    if found.shared:
        access = connect(found.name)
        await access.ask("FLUSHALL")
        await access.client.aclose()
    yield found
    for close in found.opened:
        await close()


async def stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGSTOP)
    await asyncio.to_thread(os.waitid, os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)


async def test_a_lock_held_too_long_names_its_owner(place: Place) -> None:
    with place.holder() as process:
        with pytest.raises(Locked) as caught:
            async with place.locks(timeout=0.1).order("books"):
                pass
        where = f" on host `{host_name()}`" if place.shared else ""
        assert f"`books` is locked by process {process.pid}{where} (`miroir import books`)" in caught.value.message
        assert "stopped" not in caught.value.message
        assert caught.value.exit_status == 8


async def test_a_stopped_holder_is_said_to_be_stopped(place: Place) -> None:
    with place.holder() as process:
        await stop(process)
        with pytest.raises(Locked, match="it is stopped: continue it with SIGCONT"):
            async with place.locks(timeout=0.05).order("books"):
                pass


async def test_what_a_killed_holder_had_is_free_soon(place: Place) -> None:
    with place.holder() as process:
        process.kill()
        process.wait()
        async with place.locks().order("books"):
            pass


async def test_a_process_that_takes_the_lock_again_and_again_lets_others_in(place: Place) -> None:
    with place.holder(seconds=0.02, rounds=100_000):
        locks = place.locks()
        longest = 0.0
        for _ in range(5):
            began = time.monotonic()
            async with locks.order("books"):
                longest = max(longest, time.monotonic() - began)
        assert longest < PATIENT / 2


async def test_within_a_process_it_is_handed_on_in_the_order_of_asking(place: Place) -> None:
    locks = place.locks()
    order: list[int] = []

    async def take(number: int) -> None:
        async with locks.order("books"):
            order.append(number)
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for number in range(5):
            group.create_task(take(number))
    assert order == list(range(5))


async def test_never_two_have_it_at_once(place: Place) -> None:
    inside, most, count = 0, 0, 0

    async def take(locks: Locking) -> None:
        nonlocal inside, most, count
        for _ in range(10):
            async with locks.order("books"):
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(0.001)
                count += 1
                inside -= 1

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            locks = place.locks()
            group.create_task(take(locks))
            group.create_task(take(locks))
    assert (most, count) == (1, 80)


async def test_waiting_in_one_process_ends_after_the_timeout_too(place: Place) -> None:
    locks = place.locks(timeout=0.1)
    async with locks.order("books"):
        with pytest.raises(Locked, match=rf"by process {os.getpid()} (on host `.+` )?\(`miroir`\)"):
            async with asyncio.timeout(PATIENT), locks.order("books"):
                pass


async def test_whoever_gives_up_waiting_is_in_nobodys_way(place: Place) -> None:
    first, second = place.locks(), place.locks(timeout=0.1)
    async with first.order("books"):
        with pytest.raises(Locked):
            async with second.order("books"):
                pass
        waiting = asyncio.create_task(_have(place.locks(), "books"))
        await asyncio.sleep(0.1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    async with place.locks().order("books"):
        pass


async def _have(locks: Locking, uid: str) -> None:
    async with locks.order(uid):
        pass


async def test_locks_of_two_indexes_do_not_meet(place: Place) -> None:
    locks = place.locks(timeout=5.0)
    async with locks.order("books"), locks.order("films"), locks.moves("books"), locks.once(import_file("books", 3)):
        names = [each.name for each in await locks.held()]
        assert names == ["books.import.3", "books.moves", "books.order", "films.order"]
    assert await locks.held() == ()


async def test_a_lock_that_is_not_waited_for(place: Place) -> None:
    async with place.locks().once("run"):
        with pytest.raises(Locked, match="`run` is locked by process"):
            async with place.locks().once("run"):
                pass
    async with place.locks().once("run"):
        pass


async def test_the_longest_uid_has_a_lock(place: Place) -> None:
    locks = place.locks()
    async with locks.order("x" * 400), locks.order("x" * 399 + "y"), locks.once(import_file("x" * 400, 12)):
        pass


async def test_an_error_inside_frees_the_lock(place: Place) -> None:
    locks = place.locks()
    with pytest.raises(ValueError, match="inside"):
        async with locks.order("books"):
            raise ValueError("inside")
    async with place.locks().order("books"):
        pass


async def test_a_task_that_is_cancelled_frees_the_lock(place: Place) -> None:
    taken = asyncio.Event()

    async def hold() -> None:
        async with place.locks().order("books"):
            taken.set()
            await asyncio.sleep(PATIENT)

    task = asyncio.create_task(hold())
    await taken.wait()
    task.cancel()
    await asyncio.wait([task])
    async with place.locks().order("books"):
        pass


async def test_what_is_held_is_told_with_its_owner_and_nothing_is_taken(place: Place) -> None:
    locks = place.locks(command="miroir node add")
    assert await locks.held() == ()
    with place.holder() as process:
        async with locks.once("run"):
            assert [(each.name, each.owner.pid, each.owner.command) for each in await locks.held() if each.owner] == [
                ("books.order", process.pid, "miroir import books"),
                ("run", os.getpid(), "miroir node add"),
            ]
        await stop(process)
        assert [(each.name, each.stopped) for each in await locks.held()] == [("books.order", True)]
        process.kill()
        process.wait()
        await until(lambda: locks.held(), ())


async def until(ask: Callable[[], Any], wanted: object) -> None:
    """Wait for an answer."""
    end = time.monotonic() + PATIENT
    while (found := await ask()) != wanted:
        assert time.monotonic() < end, found
        await asyncio.sleep(0.05)


async def test_a_shared_lock_is_had_by_many_or_by_one_alone(place: Place) -> None:
    first, second = place.locks(timeout=0.05, command="miroir search"), place.locks(timeout=0.05, command="x")
    async with first.shared("state"), second.shared("state"):
        with pytest.raises(Locked, match="the state is in use by"):
            async with first.alone("state"):
                pass
    async with second.alone("state"):
        with pytest.raises(Locked, match=rf"in use by process {os.getpid()} (on host `.+` )?\(`x`\)"):
            async with first.shared("state"):
                pass
        assert await first.held() == ()
    async with first.shared("state"):
        pass


async def test_whoever_wants_it_alone_gets_it_once_all_others_are_through(place: Place) -> None:
    order: list[str] = []
    sharing = place.locks()

    async def alone() -> None:
        async with place.locks().alone("state"):
            order.append("alone")

    async with sharing.shared("state"):
        task = asyncio.create_task(alone())
        await asyncio.sleep(0.3)
        order.append("shared")
    await asyncio.wait_for(task, PATIENT)
    assert order == ["shared", "alone"]


async def test_a_process_lives_until_it_has_ended_whoever_gets_its_number(place: Place) -> None:
    locks = place.locks()
    assert await locks.lives(this_process())
    assert not await locks.lives(replace(this_process(), born="1"))
    with place.holder() as process:
        other = Process(host=host_name(), pid=process.pid, born=born(process.pid) or "")
        assert await locks.lives(other)
    assert not await locks.lives(other)
