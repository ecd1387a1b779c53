"""Whole histories, drawn from a seed: the same seed is the same history."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from random import Random

from tests.migration.clients import reader, writer
from tests.migration.history import History, play
from tests.migration.operators import faults, healer, mover
from tests.migration.rest import come_to_rest
from tests.migration.weather import climate_of

Operator = Callable[[History, asyncio.Event], Coroutine[None, None, None]]


def run_history(seed: int, folder: Path, *, template: Path | None = None) -> History:
    """Run the history of a seed. Raises `Violation` with the end of its course when something did not hold.

    `template`: an empty state file to begin with.
    """
    random = Random(seed)
    return play(live, folder, random=random, climate=climate_of(random), template=template)


async def live(history: History) -> None:
    """Everything at once, then the end."""
    await everything_at_once(history, *([healer] if history.climate.healer else []))
    await come_to_rest(history)


async def everything_at_once(history: History, *others: Operator) -> None:
    """Clients, and `others` beside them, until moves and faults have ended."""
    await history.begin()
    history.weather.worsen(history.climate)
    ends = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for number in range(history.climate.writers):
            group.create_task(writer(history, number, ends))
        group.create_task(reader(history, ends))
        for other in others:
            group.create_task(other(history, ends))
        await asyncio.wait([group.create_task(mover(history)), group.create_task(faults(history))])
        ends.set()
