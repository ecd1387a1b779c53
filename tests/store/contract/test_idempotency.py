"""Idempotency keys: a request counts once, on every backend."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from miroir_cli.store.encoding import now
from miroir_cli.store.tasks import Reservation
from tests.store.conftest import Open
from tests.store.contract.clients import end, work

MINE = Reservation(key="k", digest="d", task=None, owner="1.me")
OTHERS = Reservation(key="k", digest="e", task=None, owner="2.other")


def later() -> int:
    return now() + 60_000


async def test_a_key_is_reserved_once(store: Any) -> None:
    before = now()
    assert await store.reserve(MINE, expires_at=later()) is None
    found = await store.reserve(OTHERS, expires_at=later())
    assert found == replace(MINE, reserved_at=found.reserved_at) and before <= found.reserved_at <= now()
    assert await store.reserve(replace(OTHERS, key="other"), expires_at=later()) is None


async def test_of_two_that_reserve_a_key_at_once_one_does(another: Open) -> None:
    stores = [await another(), await another()]
    wanted = [replace(MINE, owner=f"{number}.x") for number in range(10)]
    for round in range(5):
        found = await asyncio.gather(
            *(
                stores[number % 2].reserve(replace(each, key=f"key {round}"), expires_at=later())
                for number, each in enumerate(wanted)
            )
        )
        owners = {reservation.owner for reservation in found if reservation is not None}
        assert found.count(None) == 1 and owners == {wanted[found.index(None)].owner}


async def test_a_key_stands_for_the_task_that_was_recorded_with_it(store: Any) -> None:
    assert await store.reserve(MINE, expires_at=later()) is None
    uid = await work(store, key="k")
    await store.release(MINE)
    found = await store.reserve(OTHERS, expires_at=later())
    assert (found.task, found.digest, found.owner) == (uid, "d", "1.me")
    await end(store, uid)
    await store.delete_tasks([uid])
    assert (await store.reserve(OTHERS, expires_at=later())).task == uid, "deleted from the history, but done"


async def test_a_key_that_nobody_reserved_stands_for_nothing(store: Any) -> None:
    await work(store, key="k")
    assert await store.reserve(MINE, expires_at=later()) is None


async def test_only_its_owner_gives_a_key_back(store: Any) -> None:
    await store.reserve(MINE, expires_at=later())
    await store.release(OTHERS)
    assert await store.reserve(OTHERS, expires_at=later()) is not None
    await store.release(MINE)
    await store.release(MINE)
    assert await store.reserve(OTHERS, expires_at=later()) is None


async def test_a_refused_request_may_use_its_key_again(store: Any) -> None:
    await store.reserve(MINE, expires_at=later())
    uid = await work(store, key="k")
    await store.drop_task(uid)
    assert await store.reserve(OTHERS, expires_at=later()) is None
    await store.drop_task(await work(store))
    assert await store.reserve(MINE, expires_at=later()) is not None


async def test_a_key_that_stands_for_another_task_by_now_stays_reserved(store: Any) -> None:
    await store.reserve(MINE, expires_at=later())
    first = await work(store, key="k")
    second = await work(store, key="k")
    await store.drop_task(first)
    assert (await store.reserve(OTHERS, expires_at=later())).task == second


async def test_a_key_is_free_again_after_its_time(store: Any) -> None:
    assert await store.reserve(MINE, expires_at=now() - 1) is None
    assert await store.reserve(MINE, expires_at=now() + 150) is None
    await work(store, key="k")
    end = asyncio.get_running_loop().time() + 30
    while await store.reserve(OTHERS, expires_at=later()) is not None:
        assert asyncio.get_running_loop().time() < end
        await asyncio.sleep(0.02)
