"""Who may answer from memory while Redis is silent says what it knows, and is waited for no longer than it may."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from miroir_cli.store.fence import clock
from miroir_cli.store.locks import Locks
from miroir_cli.store.processes import this_process
from miroir_cli.store.protocol import Listener, Locking
from miroir_cli.store.redis.access import Access
from miroir_cli.store.redis.connection import connect
from miroir_cli.store.redis.leases import Leases
from tests.conftest import ROOT
from tests.store.redis_server import RedisServer, running_redis


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running_redis(tmp_path_factory.mktemp("redis")) as found:
        yield found


@pytest.fixture
async def access(server: RedisServer) -> AsyncIterator[Access]:
    server.empty()
    found = connect(server.url)
    yield found
    await found.client.aclose()


@pytest.fixture
def leases(access: Access) -> Leases:
    return Leases(access, term=0.5, every=0.1)


async def test_one_is_waited_for_until_it_knows_an_epoch(leases: Leases) -> None:
    listener: Listener = leases.listener(limit=60.0)
    assert await leases.unaware(1) == ()
    assert not await listener.say(7), "nobody knew of it"
    (found,) = await leases.unaware(1)
    assert (found.process, found.epoch) == (this_process(), 0) and 50 < found.seconds <= 60.5
    assert await listener.say(7)
    assert await leases.unaware(7) == ()
    assert [each.epoch for each in await leases.unaware(8)] == [7]
    assert await listener.say(8)
    assert await leases.unaware(8) == ()


async def test_one_that_says_nothing_is_waited_for_as_long_as_it_may_answer(leases: Leases) -> None:
    listener = leases.listener(limit=1.0)
    before = clock()
    await listener.say(0)
    assert before + 1.5 <= listener.until <= clock() + 1.5
    while await leases.unaware(1):
        assert clock() < before + 60
        await asyncio.sleep(0.05)
    assert clock() >= before + 1.5


async def test_one_that_was_not_waited_for_any_more_begins_with_an_empty_memory(leases: Leases) -> None:
    listener = leases.listener(limit=0.1)
    assert not await listener.say(5)
    assert await listener.say(5)
    await asyncio.sleep(0.8)
    assert clock() > listener.until
    assert not await listener.say(5)
    assert [each.epoch for each in await leases.unaware(5)] == [0]


async def test_a_redis_that_forgot_it_does_not_pass_for_one_that_waits(leases: Leases, server: RedisServer) -> None:
    listener = leases.listener(limit=60.0)
    await listener.say(5)
    server.empty()
    assert not await listener.say(5)
    assert [each.epoch for each in await leases.unaware(5)] == [0]


async def test_one_that_has_left_is_not_waited_for(leases: Leases, access: Access) -> None:
    listener = leases.listener(limit=60.0)
    await listener.say(5)
    await listener.leave()
    assert await leases.unaware(9) == () and listener.until == 0.0
    assert await access.ask("KEYS", "miroir:listeners*") == []


DEAD = """
import asyncio, os, sys
from miroir_cli.store import processes
if sys.argv[2]:
    processes.host_name = processes.kernel = lambda: sys.argv[2]
from miroir_cli.store.redis.connection import connect
from miroir_cli.store.redis.leases import Leases

async def main():
    await Leases(connect(sys.argv[1])).listener(limit=60.0).say(0)
    os._exit(0)

asyncio.run(main())
"""


@pytest.mark.parametrize(("host", "waited_for"), [("", False), ("elsewhere", True)])
async def test_a_dead_one_is_not_waited_for_where_its_host_can_tell(
    leases: Leases, server: RedisServer, host: str, waited_for: bool
) -> None:
    command = [sys.executable, "-c", DEAD, server.url, host]
    await asyncio.to_thread(subprocess.run, command, cwd=ROOT, timeout=60, check=True)
    found = await leases.unaware(1)
    assert [each.process.host for each in found] == ["elsewhere"] * waited_for


async def test_nobody_answers_from_memory_where_the_state_is_a_file(tmp_path: Path) -> None:
    locks: Locking = Locks(tmp_path)
    assert locks.listener(limit=60.0) is None
    assert await locks.unaware(9) == ()
