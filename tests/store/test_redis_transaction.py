"""Transactions over Redis: all or nothing, each on what was so at one moment, under the leases of who makes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Never

import pytest

from miroir_cli.errors import LeaseLost, NotFound, StateTooNew, StateUnavailable
from miroir_cli.store.fence import Lease, holding
from miroir_cli.store.redis.access import Access
from miroir_cli.store.redis.connection import SCHEMA, connect, prepare, shown
from miroir_cli.store.redis.fields import Member
from miroir_cli.store.redis.transaction import Transaction
from tests.store.redis_relay import relayed
from tests.store.redis_server import RedisServer, running_redis


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running_redis(tmp_path_factory.mktemp("redis")) as found:
        yield found


@pytest.fixture
async def access(server: RedisServer) -> AsyncIterator[Access]:
    found = connect(server.url)
    await found.ask("FLUSHALL")
    yield found
    await found.client.aclose()


async def test_counting_at_once_loses_no_count(access: Access) -> None:
    async def count(transaction: Transaction) -> int:
        return await transaction.next("x")

    numbers = await asyncio.gather(*(access.write(count) for _ in range(30)))
    assert sorted(numbers) == list(range(1, 31))


async def test_many_that_want_the_same_at_once_all_get_it(server: RedisServer, access: Access) -> None:
    """Each attempt disturbs the others: a process does not make all of them at once, again and again."""
    other = connect(server.url)

    async def count(transaction: Transaction) -> int:
        await transaction.ask([("EXISTS", "something else")], watch=False)
        return await transaction.next("x")

    try:
        numbers = await asyncio.gather(*(each.write(count) for _ in range(200) for each in (access, other)))
        assert sorted(numbers) == list(range(1, 401))
    finally:
        await other.client.aclose()


async def test_more_may_read_at_once_than_there_are_connections(access: Access) -> None:
    found = await asyncio.gather(*(access.read(lambda transaction: transaction.hash("h")) for _ in range(400)))
    assert found == [{}] * 400


async def test_changes_are_seen_by_their_own_transaction_and_made_together(access: Access) -> None:
    async def change(transaction: Transaction) -> None:
        found = await transaction.hash("h")
        found["a"] = "1"
        assert (await transaction.hash("h"))["a"] == "1"
        transaction.add("z", "one", 1)
        transaction.add("z", "two", 2)
        transaction.discard("z", "one")
        assert await transaction.ranged("z") == [Member("two", 2)]

    await access.write(change)
    assert await access.ask("HGETALL", "h") == {"a": "1"}
    assert await access.read(lambda transaction: transaction.names("z")) == ["two"]

    async def undo(transaction: Transaction) -> None:
        (await transaction.hash("h")).clear()
        transaction.empty("z")
        transaction.add("z", "three", 3)
        assert await transaction.names("z") == ["three"]

    await access.write(undo)
    assert await access.ask("EXISTS", "h") == 0
    assert await access.read(lambda transaction: transaction.names("z")) == ["three"]


async def test_ranges_of_sorted_sets(access: Access) -> None:
    await access.ask("ZADD", "z", *(part for n in range(10) for part in (n, f"m{n}")))

    async def look(transaction: Transaction) -> list[list[str]]:
        transaction.discard("z", "m9")
        transaction.add("z", "new", 8.5)
        found = [
            await transaction.ranged("z", low=7),
            await transaction.ranged("z", high=1),
            await transaction.ranged("z", limit=2, reverse=True),
            await transaction.ranged("z", low=3, high=5, limit=2),
        ]
        return [[member.name for member in members] for members in found]

    assert await access.write(look) == [["m7", "m8", "new"], ["m0", "m1"], ["new", "m8"], ["m3", "m4"]]


async def test_a_decision_is_made_again_when_what_it_read_has_changed(access: Access) -> None:
    attempts = 0

    async def change(transaction: Transaction) -> str:
        nonlocal attempts
        attempts += 1
        found = (await transaction.hash("h")).get("a", "")
        if attempts == 1:
            await access.ask("HSET", "h", "a", "meanwhile")
        (await transaction.hash("h"))["b"] = f"after {found}"
        return found

    assert await access.write(change) == "meanwhile"
    assert await access.ask("HGETALL", "h") == {"a": "meanwhile", "b": "after meanwhile"}


async def test_a_refusal_rests_on_one_moment_too(access: Access) -> None:
    attempts = 0

    async def change(transaction: Transaction) -> str:
        nonlocal attempts
        attempts += 1
        found = await transaction.hash("h")
        if attempts == 1:
            await access.ask("HSET", "h", "a", "1")
        if not found:
            raise NotFound("nothing there")
        return found["a"]

    assert await access.write(change) == "1"
    await access.ask("DEL", "h")
    with pytest.raises(NotFound):
        await access.write(change)


async def test_what_does_not_fit_together_is_no_failure_but_a_reason_to_begin_again(access: Access) -> None:
    """What a decision reads one after the other may be of several moments."""
    attempts = 0
    await access.ask("HSET", "a", "v", "1")
    await access.ask("HSET", "b", "v", "1")

    async def change(transaction: Transaction) -> str:
        nonlocal attempts
        attempts += 1
        first = (await transaction.hash("a"))["v"]
        if attempts == 1:
            await access.ask("HSET", "a", "v", "2")
            await access.ask("HSET", "b", "v", "2")
        assert first == (await transaction.hash("b"))["v"]
        return first

    assert await access.write(change) == "2"

    async def fail(transaction: Transaction) -> Never:
        await transaction.hash("a")
        raise AssertionError("of one moment")

    with pytest.raises(AssertionError, match="of one moment"):
        await access.write(fail)


async def test_what_may_change_meanwhile_begins_nothing_again(access: Access) -> None:
    await access.ask("HSET", "a", "v", "1")
    await access.ask("HSET", "b", "v", "1")

    async def change(transaction: Transaction) -> list[object]:
        first = await transaction.ask([("HGET", "a", "v")], beside=[("HGET", "b", "v")])
        await access.ask("HSET", "b", "v", "2")
        second = await transaction.ask([("HGET", "b", "v")], watch=False)
        (await transaction.hash("a"))["v"] = "2"
        return [*first, *second]

    assert await access.write(change) == ["1", "1", "2"]
    assert await access.read(lambda transaction: transaction.ask([("HGET", "a", "v")], beside=[])) == ["2"]


async def test_a_reading_is_of_one_moment(access: Access) -> None:
    attempts = 0
    await access.ask("HSET", "a", "v", "old")
    await access.ask("HSET", "b", "v", "old")

    async def look(transaction: Transaction) -> tuple[str, str]:
        nonlocal attempts
        attempts += 1
        first = (await transaction.hash("a"))["v"]
        if attempts == 1:
            async with access.client.pipeline(transaction=True) as pipe:
                pipe.hset("a", "v", "new")
                pipe.hset("b", "v", "new")
                await pipe.execute()
        return first, (await transaction.hash("b"))["v"]

    assert await access.read(look) == ("new", "new")


async def test_who_has_lost_a_lease_changes_nothing(access: Access) -> None:
    lease = Lease(scope="run", key="miroir:lease:run", value="mine", token=1)

    async def change(transaction: Transaction) -> None:
        (await transaction.hash("h"))["a"] = "1"

    await access.ask("SET", lease.key, "mine")
    with holding(lease):
        await access.write(change)
        await access.ask("SET", lease.key, "another's")
        with pytest.raises(LeaseLost):
            await access.write(change)
    await access.write(change)


async def test_who_has_lost_a_lease_changes_nothing_without_reading_either(access: Access) -> None:
    lease = Lease(scope="run", key="miroir:lease:run", value="mine", token=1)
    await access.ask("SET", lease.key, "another's")

    async def change(transaction: Transaction) -> None:
        transaction.also("SET", "k", "1")

    with holding(lease), pytest.raises(LeaseLost):
        await access.write(change)
    assert await access.ask("EXISTS", "k") == 0


async def test_a_lease_that_runs_out_in_the_middle_is_noticed(access: Access) -> None:
    lease = Lease(scope="run", key="miroir:lease:run", value="mine", token=1)
    await access.ask("SET", lease.key, "mine", "PX", 100)

    async def change(transaction: Transaction) -> None:
        (await transaction.hash("h"))["a"] = "1"
        await asyncio.sleep(0.3)

    with holding(lease), pytest.raises(LeaseLost):
        await access.write(change)
    assert await access.ask("EXISTS", "h") == 0


async def test_a_transaction_takes_one_round_trip_to_read_and_one_to_write(server: RedisServer) -> None:
    async def change(transaction: Transaction) -> None:
        first, _ = await transaction.hashes(["h", "i"])
        first["n"] = str(int(first.get("n", "0")) + 1)

    async with relayed(server) as relay:
        access = connect(relay.url)
        await access.write(change)
        relay.requests.clear()
        await access.write(change)
        assert len(relay.requests) == 2
        await access.client.aclose()


async def test_a_transaction_of_which_the_answer_was_lost_is_not_made_again(server: RedisServer) -> None:
    """It may have been made."""

    async def count(transaction: Transaction) -> int:
        return await transaction.next("x")

    async with relayed(server) as relay:
        access = connect(relay.url)
        await access.ask("FLUSHALL")
        relay.breaks_after = b"EXEC"
        with pytest.raises(StateUnavailable, match="cannot be reached"):
            await access.write(count)
        assert await access.write(count) == 2
        relay.breaks_after = b"WATCH"
        with pytest.raises(StateUnavailable, match="cannot be reached"):
            await access.write(count)
        assert await access.write(count) == 3
        await access.client.aclose()


async def test_who_is_cancelled_leaves_no_answer_to_others(access: Access) -> None:
    async def count(transaction: Transaction) -> int:
        return await transaction.next("x")

    for delay in range(20):
        task = asyncio.create_task(access.write(count))
        for _ in range(delay):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        before = int((await access.ask("HGET", "miroir:counters", "x")) or 0)
        assert await access.write(count) == before + 1


async def test_the_version_is_written_once_and_a_newer_one_refused(access: Access) -> None:
    await asyncio.gather(*(prepare(access) for _ in range(5)))
    version = await access.ask("GET", SCHEMA)
    await access.ask("SET", SCHEMA, int(version) + 1)
    with pytest.raises(StateTooNew, match="schema version"):
        await prepare(access)


async def test_a_server_that_is_not_there_is_named_without_the_password(tmp_path: Path) -> None:
    access = connect("redis://user:hidden@127.0.0.1:1/0")
    assert shown("rediss://user:hidden@host:1/2") == "rediss://host:1/2"
    with pytest.raises(StateUnavailable) as refused:
        await prepare(access)
    assert "127.0.0.1:1" in refused.value.message and "hidden" not in str(refused.value)
    await access.client.aclose()


async def test_connections_of_before_a_restart_are_not_used(tmp_path: Path) -> None:
    with running_redis(tmp_path / "redis") as server:
        access = connect(server.url)
        await asyncio.gather(*(access.ask("PING") for _ in range(5)))
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        for _ in range(10):
            await access.ask("PING")
        await access.client.aclose()
