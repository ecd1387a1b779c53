"""Equal questions at the same time: one answer for all who ask, and none that is older than a question may get."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable

import pytest

from miroir_cli.errors import TemporaryError
from miroir_cli.search.flights import Flights


class Source:
    """Something that changes: each reading tells what it was when the reading began, once the gate is open."""

    def __init__(self) -> None:
        self.value = 1
        self.readings = 0
        self.cancelled = 0
        self.gate = asyncio.Event()

    async def read(self) -> int:
        self.readings += 1
        seen = self.value
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return seen


async def ask(flights: Flights, source: Source, key: Hashable = "question") -> asyncio.Task[int]:
    """A question that has begun."""
    task = asyncio.create_task(flights.share(key, source.read))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return task


async def test_equal_questions_are_answered_once_and_later_ones_anew() -> None:
    flights, source = Flights(), Source()
    tasks = [await ask(flights, source) for _ in range(5)]
    source.gate.set()
    assert [await task for task in tasks] == [1] * 5
    assert source.readings == 1
    source.value = 2
    assert await (await ask(flights, source)) == 2


async def test_other_questions_are_others() -> None:
    flights, source = Flights(), Source()
    tasks = [await ask(flights, source, key) for key in ("one", "other")]
    source.gate.set()
    assert [await task for task in tasks] == [1, 1]
    assert source.readings == 2


async def test_who_comes_after_a_write_does_not_join_what_began_before_it() -> None:
    flights, source = Flights(), Source()
    before = await ask(flights, source, ("question", 7))
    source.value = 2  # a write, settled with number 8
    after = await ask(flights, source, ("question", 8))
    source.gate.set()
    assert (await before, await after) == (1, 2)


async def test_one_who_gives_up_does_not_end_it_for_the_others() -> None:
    flights, source = Flights(), Source()
    first, second = [await ask(flights, source) for _ in range(2)]
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    third = await ask(flights, source)
    source.gate.set()
    assert (await second, await third) == (1, 1)
    assert (source.readings, source.cancelled) == (1, 0)


async def test_the_last_one_who_gives_up_ends_it() -> None:
    flights, source = Flights(), Source()
    tasks = [await ask(flights, source) for _ in range(2)]
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert source.cancelled == 1
    source.gate.set()
    assert await (await ask(flights, source)) == 1
    assert source.readings == 2


async def test_errors_are_shared_and_not_kept() -> None:
    flights, gate, tries = Flights(), asyncio.Event(), 0

    async def work() -> int:
        nonlocal tries
        tries += 1
        await gate.wait()
        if tries == 1:
            raise TemporaryError("not now")
        return tries

    tasks = [asyncio.create_task(flights.share("question", work)) for _ in range(3)]
    await asyncio.sleep(0.01)
    gate.set()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [str(error) for error in found] == ["not now"] * 3
    assert await flights.share("question", work) == 2


async def test_nothing_is_left_behind() -> None:
    flights, source = Flights(), Source()
    tasks = [await ask(flights, source, key) for key in range(9)]
    source.gate.set()
    await asyncio.gather(*tasks)
    assert not flights._flights
