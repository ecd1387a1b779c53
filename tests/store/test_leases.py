"""Leases: they run out when their holder does not renew them, and whoever goes on under one that did is refused.

What they have in common with the locks of one host is in `contract/test_locks.py`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from miroir_cli.errors import LeaseLost, Locked, StateUnavailable
from miroir_cli.store.fence import held_leases
from miroir_cli.store.journal import Process
from miroir_cli.store.locks import STATE
from miroir_cli.store.processes import host_name, this_process
from miroir_cli.store.redis.backend import RedisBackend
from miroir_cli.store.redis.connection import connect
from miroir_cli.store.redis.leases import Leases
from miroir_cli.store.redis.transaction import Transaction
from miroir_cli.topology.state import StateSettings
from tests.conftest import ROOT
from tests.store.redis_server import RedisServer, running_redis

PATIENT = 30.0

AWAY = 3600.0
"""Seconds after which nothing is renewed in the length of a test."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running_redis(tmp_path_factory.mktemp("redis")) as found:
        yield found


class Host:
    """What one process has: a connection and its leases."""

    def __init__(self, url: str, *, timeout: float = PATIENT, term: float = 3.0, every: float = 0.3) -> None:
        self.access = connect(url)
        self.leases = Leases(self.access, timeout=timeout, term=term, every=every)

    async def write(self) -> int:
        """A change of the store."""
        return await self.access.write(_count)

    async def close(self) -> None:
        await self.leases.close()
        await self.access.client.aclose()


async def _count(transaction: Transaction) -> int:
    return await transaction.next("written")


Hosts = Callable[..., Host]


@pytest.fixture
async def hosts(server: RedisServer) -> AsyncIterator[Hosts]:
    """Makes processes of one cluster, which was empty before."""
    made: list[Host] = []

    def make(**options: float) -> Host:
        made.append(Host(server.url, **options))
        return made[-1]

    access = connect(server.url)
    await access.ask("FLUSHALL")
    await access.client.aclose()
    yield make
    for host in made:
        await host.close()


WRITER = """
import asyncio, sys
_, url, term, name = sys.argv
from miroir_cli.store import processes
if name:
    processes.host_name = processes.kernel = lambda: name
from miroir_cli.errors import MiroirError
from tests.store.test_leases import Host

async def main():
    host = Host(url, term=float(term))
    async with host.leases.order("books"), host.leases.shared("state"):
        while True:
            try:
                await host.write()
            except MiroirError as error:
                print(type(error).__name__, flush=True)
                return
            print("wrote", flush=True)
            await asyncio.sleep(0.05)

asyncio.run(main())
"""


def _command(server: RedisServer, host: str = "", *, term: float = 3.0) -> list[str]:
    return [sys.executable, "-c", WRITER, server.url, str(term), host]


@contextmanager
def writer(server: RedisServer, host: str = "", *, term: float = 3.0) -> Iterator[subprocess.Popen[str]]:
    """Another process that writes under the order lock of `books`, maybe on another host."""
    process = subprocess.Popen(_command(server, host, term=term), stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "wrote\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


async def until(ask: Callable[[], Any], wanted: object) -> None:
    """Wait for an answer."""
    end = time.monotonic() + PATIENT
    while (found := await ask()) != wanted:
        assert time.monotonic() < end, found
        await asyncio.sleep(0.05)


async def test_a_holder_that_was_stopped_for_longer_than_its_lease_is_refused_at_its_next_step(
    server: RedisServer, hosts: Hosts
) -> None:
    with writer(server) as process:
        process.send_signal(signal.SIGSTOP)
        await asyncio.to_thread(os.waitid, os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        host = hosts()
        async with host.leases.order("books"):
            await host.write()
            process.send_signal(signal.SIGCONT)
            said, _ = await asyncio.to_thread(process.communicate)
            assert said.splitlines()[-1] == "LeaseLost"
        async with host.leases.order("books"):  # and it has taken nothing back
            await host.write()


async def test_what_a_process_of_this_host_had_is_free_when_it_is_dead_however_long_its_lease(
    server: RedisServer, hosts: Hosts
) -> None:
    with writer(server, term=AWAY) as process:
        host = hosts(term=AWAY)
        assert await _held_by(host) == ["books.order"]
        process.kill()
        process.wait()
        assert await _held_by(host) == []
        async with host.leases.order("books"):
            pass
        async with host.leases.alone(STATE):
            pass


async def test_a_lease_that_its_holder_does_not_renew_is_waited_for_also_by_who_does_not_wait(hosts: Hosts) -> None:
    slow, quick = hosts(term=3.0, every=AWAY), hosts()
    async with slow.leases.once("run"):
        with pytest.raises(Locked):
            async with quick.leases.once("run"):
                pass
        await asyncio.sleep(1.0)
        async with quick.leases.once("run"):
            with pytest.raises(LeaseLost):
                await slow.write()


async def test_a_holder_that_only_slept_goes_on_if_nobody_wanted_its_lease(hosts: Hosts) -> None:
    host = hosts(term=0.2, every=AWAY)
    async with host.leases.order("books"):
        await until(lambda: _held_by(host), [])
        await host.write()
        await until(lambda: _held_by(host), [])
    async with hosts().leases.order("books"):
        pass


async def _held_by(host: Host) -> list[str]:
    return [each.name for each in await host.leases.held()]


async def test_a_lease_that_ran_out_is_refused_even_when_it_is_free_again(hosts: Hosts) -> None:
    slow, quick = hosts(term=0.2, every=AWAY), hosts()
    async with slow.leases.order("books"):
        async with quick.leases.order("books"):
            with pytest.raises(LeaseLost, match=r"stopped for too long: `books\.order` is held by another one now"):
                await slow.write()
        with pytest.raises(LeaseLost):
            await slow.write()
    assert await slow.write()  # what needs no lease is not refused


async def test_a_task_begun_under_a_lease_depends_on_it_too(hosts: Hosts) -> None:
    slow, quick = hosts(term=0.2, every=AWAY), hosts()
    async with slow.leases.once("run"):
        await until(lambda: slow.leases.held(), ())
        async with quick.leases.once("run"):
            with pytest.raises(LeaseLost):
                await asyncio.create_task(slow.write())


async def test_a_task_that_outlives_the_block_depends_on_it_no_more(hosts: Hosts) -> None:
    host, freed = hosts(), asyncio.Event()

    async def late() -> int:
        await freed.wait()
        assert held_leases() == ()
        return await host.write()

    async with host.leases.order("books"):
        task = asyncio.create_task(late())
        await asyncio.sleep(0)
    freed.set()
    assert await task


async def test_a_loop_that_is_busy_for_longer_than_the_lease_keeps_it(hosts: Hosts) -> None:
    host, other = hosts(), hosts(timeout=0.0)
    async with host.leases.order("books"):
        time.sleep(4.0)  # noqa: ASYNC251
        with pytest.raises(Locked):
            async with other.leases.order("books"):
                pass
        await host.write()


async def test_tokens_only_grow(hosts: Hosts) -> None:
    tokens = []
    for scope in ("books", "books", "films", "books"):
        async with hosts().leases.order(scope):
            tokens += [lease.token for lease in held_leases()]
    assert tokens == sorted(set(tokens))


async def test_waiters_are_served_in_the_order_of_their_coming(hosts: Hosts) -> None:
    greedy, waiters, order = hosts(), [hosts() for _ in range(4)], list[int]()
    enough = asyncio.Event()

    async def take_twice() -> None:
        async with greedy.leases.order("books"):
            await enough.wait()
        async with greedy.leases.order("books"):
            order.append(4)

    async def wait(number: int) -> None:
        async with waiters[number].leases.order("books"):
            order.append(number)

    async with asyncio.TaskGroup() as group:
        group.create_task(take_twice())
        await until(lambda: _held_by(greedy), ["books.order"])
        for number in range(4):
            group.create_task(wait(number))
            await until(lambda: greedy.access.ask("ZCARD", "miroir:lease_queue:books.order"), number + 1)
        enough.set()
    assert order == [0, 1, 2, 3, 4]


async def test_a_waiter_that_died_keeps_nobody_waiting(server: RedisServer, hosts: Hosts) -> None:
    host, third = hosts(), hosts()
    async with host.leases.order("books"):
        waiter = await asyncio.to_thread(subprocess.Popen, _command(server), cwd=ROOT)
        await until(lambda: host.access.ask("ZCARD", "miroir:lease_queue:books.order"), 1)
        waiter.kill()
        waiter.wait()
    async with third.leases.order("books"):
        pass


async def test_a_waiter_that_is_cancelled_leaves_the_queue(hosts: Hosts) -> None:
    host, waiter = hosts(), hosts()

    async def queued() -> int:
        return int(await host.access.ask("ZCARD", "miroir:lease_queue:books.order"))

    async with host.leases.order("books"):
        task = asyncio.create_task(_take(waiter))
        await until(queued, 1)
        task.cancel()
        await until(queued, 0)


async def _take(host: Host) -> None:
    async with host.leases.order("books"):
        pass


async def test_whoever_was_away_while_another_had_the_state_alone_is_refused(hosts: Hosts) -> None:
    slow, quick = hosts(term=0.2, every=AWAY), hosts()
    async with slow.leases.shared(STATE):
        await slow.write()
        async with quick.leases.alone(STATE):
            await quick.write()
        with pytest.raises(LeaseLost):
            await slow.write()
    async with slow.leases.shared(STATE):
        await slow.write()


async def test_whoever_shares_the_state_keeps_it_as_long_as_it_lives(hosts: Hosts) -> None:
    sharing, other = hosts(), hosts(timeout=0.0)
    async with sharing.leases.shared(STATE):
        await asyncio.sleep(4.0)
        with pytest.raises(Locked):
            async with other.leases.alone(STATE):
                pass
        await sharing.write()


async def test_a_restart_of_redis_costs_nobody_a_lease(tmp_path: Path) -> None:
    with running_redis(tmp_path / "redis") as server:
        holder, other = Host(server.url), Host(server.url, timeout=0.0)
        async with holder.leases.order("books"), holder.leases.shared(STATE):
            server.kill()
            with pytest.raises(StateUnavailable):
                await holder.write()
            await asyncio.sleep(4.0)  # it would have run out
            server.start()
            await until(lambda: _held_by(other), ["books.order"])
            await holder.write()
            with pytest.raises(Locked):
                async with other.leases.order("books"):
                    pass
        async with other.leases.order("books"):
            pass
        for host in (holder, other):
            await host.close()


async def test_while_redis_is_away_no_lock_is_to_be_had(tmp_path: Path) -> None:
    with running_redis(tmp_path / "redis") as server:
        host = Host(server.url)
        async with host.leases.order("books"):
            server.kill()
        for attempt in (host.leases.order("books"), host.leases.shared(STATE), host.leases.once("run")):
            with pytest.raises(StateUnavailable):
                async with attempt:
                    pass
        await host.close()


# -- who is alive


async def test_a_process_of_another_host_lives_until_nothing_is_heard_of_it(server: RedisServer, hosts: Hosts) -> None:
    host = hosts()
    with writer(server, "elsewhere") as process:
        (name,) = await host.access.ask("ZRANGE", "miroir:peers:_index", 0, -1)
        other = Process.of(name)
        assert (other.host, other.pid) == ("elsewhere", process.pid)
        assert await host.leases.lives(other)
        await asyncio.sleep(4.0)
        assert await host.leases.lives(other)
        held = await host.leases.held()
        assert [(each.owner.host, each.owner.pid) for each in held if each.owner] == [("elsewhere", process.pid)]
        with pytest.raises(Locked, match=rf"by process {process.pid} on host `elsewhere`"):
            async with hosts(timeout=0.0).leases.order("books"):
                pass
        process.kill()
        await until(lambda: host.leases.lives(other), False)


async def test_a_process_of_this_host_is_asked_for_of_the_kernel(server: RedisServer, hosts: Hosts) -> None:
    host = hosts()
    with writer(server) as process:
        (name,) = await host.access.ask("ZRANGE", "miroir:peers:_index", 0, -1)
        process.kill()
        process.wait()
        assert not await host.leases.lives(Process.of(name))
    assert await host.leases.lives(this_process())


async def test_a_process_of_a_container_with_the_same_name_is_not_taken_for_one_of_here(hosts: Hosts) -> None:
    host = hosts()
    stranger = Process(host=host_name(), pid=2**22 + 1, born="1")
    await host.access.ask("SET", f"miroir:peers:{stranger}", "another kernel", "PX", 60_000)
    assert await host.leases.lives(stranger)


async def test_who_leaves_is_gone_and_who_is_here_twice_is_gone_when_both_have_left(hosts: Hosts) -> None:
    first, second, looking = hosts(), hosts(), hosts()

    async def peers() -> int:
        return int(await looking.access.ask("ZCARD", "miroir:peers:_index"))

    await _take(first)
    await _take(second)
    await first.leases.close()
    assert await peers() == 1
    await second.leases.close()
    assert await peers() == 0


async def test_soon_after_redis_was_started_nobody_is_called_dead(tmp_path: Path) -> None:
    with running_redis(tmp_path / "redis") as server:
        host = Host(server.url, term=AWAY)
        assert await host.leases.lives(Process(host="elsewhere", pid=12, born="4711"))
        await host.close()
        host = Host(server.url, term=0.01)
        await until(lambda: host.leases.lives(Process(host="elsewhere", pid=12, born="4711")), False)
        await host.close()


async def test_how_long_a_lease_lasts_is_told_by_the_topology_file(server: RedisServer, hosts: Hosts) -> None:
    access = hosts().access
    lasting = {}
    for state in (
        StateSettings(url=server.url),
        StateSettings(url=server.url, lease_renewal=300.0, lease_expiry=600.0),
    ):
        backend = RedisBackend(state, password=None, lock_timeout=PATIENT, command="miroir import books")
        async with backend.locks.order("books"):
            (lease,) = held_leases()
            lasting[state.lease_expiry] = await access.ask("PTTL", lease.key)
        await backend.close()
    assert 0 < lasting[10.0] <= 10_000 < lasting[600.0] <= 600_000
