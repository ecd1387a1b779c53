"""Slots in Redis: numbers that are never given again, and who may still be shut out."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

import pytest

from miroir_cli.errors import LeaseLost
from miroir_cli.model import NodeName
from miroir_cli.store.fence import Lease, holding
from miroir_cli.store.redis.leases import Leases
from miroir_cli.store.redis.slots import Slots
from miroir_cli.store.redis.store import RedisStore
from miroir_cli.store.slots import SlotSpoilt, holder_in
from tests.store.contract.world import BOOKS, with_index
from tests.store.contract.writing import begin

N1, N2 = NodeName("n1"), NodeName("n2")


@pytest.fixture
async def leases(redis_store: RedisStore) -> AsyncIterator[Leases]:
    """With this process among those that take part."""
    found = Leases(redis_store.access, timeout=5.0)
    async with found.shared("state"):
        yield found
    await found.close()


@pytest.fixture
def register(redis_store: RedisStore, leases: Leases) -> Slots:
    return Slots(redis_store.access, command="test")


def beside(store: RedisStore) -> Slots:
    """The register as another process, or another part of this one, has it."""
    return Slots(store.access, command="other")


async def test_each_slot_has_a_number_a_key_and_a_holder(redis_store: RedisStore, register: Slots) -> None:
    await redis_store.found(name="test")
    taken = [await register.take([N1, N2]) for _ in range(2)] + [await beside(redis_store).take([N1])]
    assert [slot.number for slot in taken] == [1, 2, 3]
    assert len({slot.key for slot in taken}) == 3
    assert taken[0].holder == taken[1].holder == holder_in(taken[1].mark) == register.holder
    assert taken[2].holder != taken[0].holder
    assert await register.all() == tuple(taken)
    assert [await register.is_held(slot) for slot in taken] == [True] * 3


async def test_a_number_is_never_given_again(redis_store: RedisStore, register: Slots) -> None:
    first = await register.take([N1])
    await register.spoil([first])
    await register.pass_({N1: [first.number]})
    assert await register.all() == ()
    assert not await register.is_held(first)
    second = await register.take([N1])
    assert second.number == first.number + 1
    assert second.key != first.key


async def test_a_dirty_slot_is_forgotten_once_no_node_has_its_key(register: Slots) -> None:
    slot = await register.take([N1])
    await register.extend(slot, [N2])
    await register.pass_({N1: [slot.number]})
    assert [each.fenced for each in await register.all()] == [frozenset()], "a slot that is held keeps its keys"
    await register.spoil([slot])
    await register.pass_({N1: [slot.number]})
    (left,) = await register.all()
    assert (left.dirty, left.left) == (True, frozenset({N2}))
    await register.pass_({N2: [slot.number, 99]})
    assert await register.all() == ()
    with pytest.raises(SlotSpoilt):
        await register.extend(slot, [N1])


async def test_who_is_overtaken_loses_all_its_slots_and_nobody_else_does(
    redis_store: RedisStore, register: Slots
) -> None:
    other = beside(redis_store)
    mine = [await register.take([N1]) for _ in range(2)]
    theirs = await other.take([N1])
    assert await register.condemn() == ()
    assert await other.condemn(overtaken=mine[0].mark) == tuple(each for each in await register.all() if each.dirty)
    assert [slot.number for slot in await register.all() if slot.dirty] == [slot.number for slot in mine]
    assert await register.is_held(theirs)


async def test_a_slot_of_a_dead_process_is_dirty_for_whoever_asks(redis_store: RedisStore, register: Slots) -> None:
    code = (
        "import asyncio, sys\n"
        "from miroir_cli.store.redis.leases import Leases\n"
        "from miroir_cli.store.redis.slots import Slots\n"
        "from miroir_cli.store.redis.store import RedisStore\n"
        "async def main():\n"
        "    store = await RedisStore.open(sys.argv[1])\n"
        "    async with Leases(store.access, timeout=5.0).shared('state'):\n"
        "        await Slots(store.access, command='other').take(['n1'])\n"
        "        print('taken', flush=True)\n"
        "        await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    port = redis_store.access.shown.rpartition(":")[2].partition("/")[0]
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, f"redis://127.0.0.1:{port}/0", stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    assert await child.stdout.readline() == b"taken\n"
    mine = await register.take([N1])
    assert await register.condemn() == ()
    child.kill()
    await child.wait()
    (dead,) = await register.condemn()
    assert dead.number != mine.number
    assert await register.is_held(mine)


async def test_a_slot_of_a_process_that_renews_nothing_any_more_is_dirty(
    redis_store: RedisStore, register: Slots
) -> None:
    """It may be frozen: its kernel says that it lives, and nobody hears of it."""
    other = beside(redis_store)
    slot = await other.take([N1])
    await redis_store.access.ask("DEL", f"miroir:peers:{slot.process}")
    assert [each.number for each in await register.condemn()] == [slot.number]
    assert not await other.is_held(slot)


async def test_a_write_is_begun_under_a_slot_that_is_held_and_under_no_other(
    redis_store: RedisStore, register: Slots
) -> None:
    index = (await with_index(redis_store)).index
    slot = await register.take([N1])
    opened = await begin(redis_store, index, slot=slot)
    assert opened.slot == slot.mark
    assert await redis_store.newest_intent(BOOKS) == opened
    await register.spoil([slot])
    with pytest.raises(SlotSpoilt):
        await begin(redis_store, index, slot=slot)
    assert await redis_store.newest_intent(BOOKS) == opened


async def test_who_has_lost_a_lease_gets_no_slot_and_can_still_say_that_its_own_is_dirty(
    redis_store: RedisStore, register: Slots
) -> None:
    slot = await register.take([N1])
    lost = Lease(scope="books.order", key="miroir:lease:books.order", value="7:somebody", token=7)
    with holding(lost):
        with pytest.raises(LeaseLost):
            await register.take([N1])
        await register.spoil([slot])
    assert not await register.is_held(slot)
