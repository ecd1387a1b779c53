"""Writes in Redis: how many round trips they take, and what becomes of one when the line breaks."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from miroir_cli.errors import LeaseLost, StateUnavailable
from miroir_cli.model import Index
from miroir_cli.store.fence import Lease, holding
from miroir_cli.store.redis.slots import Slots
from miroir_cli.store.redis.store import RedisStore
from tests.store.contract.world import BOOKS, with_index
from tests.store.contract.writing import all_of_it, begin, end, settle, write
from tests.store.redis_relay import Relay, relayed
from tests.store.redis_server import RedisServer


@pytest.fixture
async def relay(redis_server: RedisServer) -> AsyncIterator[Relay]:
    async with relayed(redis_server) as found:
        yield found


@pytest.fixture
async def store(relay: Relay) -> AsyncIterator[RedisStore]:
    """Empty, behind the relay."""
    found = await RedisStore.open(relay.url)
    await found.access.ask("FLUSHALL")
    yield found
    await found.close()


@pytest.fixture
async def index(store: RedisStore) -> Index:
    """With a settled write; all connections are there."""
    index = (await with_index(store)).index
    await write(store, index)
    await settle(store, index)
    return index


async def test_a_write_takes_two_round_trips_to_begin_and_two_to_end(
    relay: Relay, store: RedisStore, index: Index
) -> None:
    async def trips() -> int:
        found = len(relay.requests)
        relay.requests.clear()
        return found

    await trips()
    assert await store.newest_intent(BOOKS) is not None and await trips() == 1
    slot = await Slots(store.access, command="test").take([])
    await trips()
    opened = await begin(store, index, keys=lambda _: ["k"], slot=slot)
    assert await trips() == 2
    closed, _ = await end(store, opened, task=11)
    assert await trips() == 2
    assert await store.pending(index) == await store.pending(BOOKS) and await trips() == 4
    assert (await store.settle_intents(index, all_of_it))[0][0].n == closed.n and await trips() == 3


async def test_a_write_of_which_the_answer_was_lost_is_not_made_again(
    relay: Relay, store: RedisStore, index: Index
) -> None:
    """It may have been made, and here it was: a second one would stand behind it for ever."""
    relay.breaks_after = b"EXEC"
    with pytest.raises(StateUnavailable, match="cannot be reached"):
        await begin(store, index)
    newest = await store.newest_intent(BOOKS)
    assert newest is not None and newest.n == 2
    assert [intent.n for intent in (await store.pending(index)).intents] == [2]


async def test_a_line_that_breaks_before_the_write_leaves_no_trace(
    relay: Relay, store: RedisStore, index: Index
) -> None:
    relay.breaks_after = b"WATCH"
    with pytest.raises(StateUnavailable, match="cannot be reached"):
        await begin(store, index)
    assert (await store.pending(index)).newest == 1
    assert (await begin(store, index)).n == 2


async def test_who_has_lost_the_lease_writes_nothing(store: RedisStore, index: Index) -> None:
    lease = Lease(scope="order books", key="miroir:lease:x", value="mine", token=1)
    await store.access.ask("SET", lease.key, "mine")
    with holding(lease):
        opened = await begin(store, index)
        await store.access.ask("SET", lease.key, "another's")
        with pytest.raises(LeaseLost):
            await end(store, opened, task=11)
        with pytest.raises(LeaseLost):
            await begin(store, index)
    assert await store.newest_intent(BOOKS) == opened
