"""What is sent to nodes under a lease: not after it, and for no longer than it is renewed."""

from __future__ import annotations

import asyncio

import pytest

from miroir_cli.errors import LeaseLost
from miroir_cli.store.fence import Lease, Term, clock, held_leases, holding, in_time, require_time


def lease(seconds: float) -> Lease:
    """One that is certain for so long."""
    return Lease(scope="run", key="miroir:lease:run", value="1:me", token=1, term=Term(until=clock() + seconds))


async def answer(after: float, log: list[str]) -> str:
    log.append("sent")
    try:
        await asyncio.sleep(after)
    except asyncio.CancelledError:
        log.append("given up")
        raise
    return "answer"


async def test_without_a_lease_there_is_no_hurry() -> None:
    assert await in_time(answer(0.01, [])) == "answer"


async def test_what_is_answered_in_time_is_answered() -> None:
    with holding(lease(30.0)):
        assert await in_time(answer(0.01, [])) == "answer"


async def test_nothing_is_sent_once_a_lease_has_run_out() -> None:
    log: list[str] = []
    with holding(lease(30.0)), holding(lease(-0.1)):
        with pytest.raises(LeaseLost, match="`run` is held by another one now"):
            await in_time(answer(0.0, log))
        with pytest.raises(LeaseLost):
            require_time()
    assert log == []
    require_time()


async def test_what_lasts_longer_than_the_lease_is_given_up() -> None:
    log: list[str] = []
    with holding(lease(0.05)):
        with pytest.raises(TimeoutError):
            await in_time(answer(30.0, log))
        assert log == ["sent", "given up"]


async def test_it_may_last_as_long_as_the_lease_is_renewed() -> None:
    held = lease(0.3)

    async def renew() -> None:
        for _ in range(10):
            held.term.until = clock() + 30.0
            await asyncio.sleep(0.05)

    with holding(held):
        renewing = asyncio.create_task(renew())
        assert await in_time(answer(1.0, [])) == "answer"
        await renewing


async def test_who_is_cancelled_gives_up_what_was_sent() -> None:
    log: list[str] = []

    async def send() -> None:
        with holding(lease(30.0)):
            await in_time(answer(30.0, log))

    task = asyncio.create_task(send())
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert log == ["sent", "given up"]


def test_a_lease_that_was_given_back_is_held_by_nobody() -> None:
    given = lease(30.0)
    with holding(given):
        assert held_leases() == (given,)
        given.term.over = True
        assert held_leases() == ()
