"""How fast something may go: at most so many documents a second, all who share a pace together."""

from __future__ import annotations

import asyncio
import time


class Pace:
    """`rate` None: as fast as it goes."""

    def __init__(self, rate: int | None = None) -> None:
        self._rate = rate
        self._next = 0.0

    async def keep(self, documents: int) -> None:
        """Wait until so many documents more may be read."""
        if not self._rate:
            return
        now = time.monotonic()
        begin = max(now, self._next)
        self._next = begin + documents / self._rate
        if begin > now:
            await asyncio.sleep(begin - now)
