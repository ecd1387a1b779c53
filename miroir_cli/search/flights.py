"""Equal questions that are asked at the same time, answered once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

from miroir_cli import metrics

Answer = TypeVar("Answer")


@dataclass(slots=True, eq=False)
class _Flight:
    """Work under way, and how many wait for it."""

    task: asyncio.Task[Any]
    waiting: int = 0


class Flights:
    """Work that is under way, by what is to come of it.

    Who joins is given what began before: a key must hold all that the answer depends on, and for what can change how
    far it was when the question came (`Progress`).
    """

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight] = {}

    async def share(self, key: Hashable, work: Callable[[], Coroutine[Any, Any, Answer]]) -> Answer:
        """What `work` gives, or what equal work gives that somebody else began: the same object, which nobody may
        change. Errors are shared as well. The work is cancelled with the last one who waits for it, not before."""
        flight = self._flights.get(key)
        if flight is None or flight.task.done():
            flight = self._flights[key] = _Flight(asyncio.create_task(work()))
        else:
            metrics.COALESCED.inc()
        flight.waiting += 1
        try:
            found: Answer = await asyncio.shield(flight.task)
            return found
        finally:
            flight.waiting -= 1
            if not flight.waiting:
                if self._flights.get(key) is flight:
                    del self._flights[key]
                if not flight.task.done():
                    flight.task.cancel()
                    await asyncio.wait([flight.task])
