"""Waiting until nobody answers by an older state than that of now (protocol rule E3).

Whoever asks the store never does: its end check (E1) finds out. A process that is cut off from a shared store answers
by what it remembers for a while, and says so. What it remembers must not be taken from the nodes meanwhile: its answers
would be short, and not only old.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from miroir_cli.errors import TemporaryError
from miroir_cli.migration.work import Stopped
from miroir_cli.store.processes import called

if TYPE_CHECKING:
    from miroir_cli.migration.work import Work
    from miroir_cli.store.locks import Unaware

POLL: Final = 0.1
"""Seconds between two looks at who knows."""

USUAL: Final = 3.0
"""Seconds that it takes where nobody is cut off, and more: what lasts longer is told."""

Told = Callable[[str], Awaitable[object]]


async def unheard(_: str) -> None:
    """Tell nobody."""


async def until_aware(work: Work, *, waits: Told = unheard) -> None:
    """Return once every process that may answer from memory remembers nothing older than the state of now.

    One that is heard of says so within a second or two. One that is not answers nobody any more after `stale_reads`
    seconds and the term in which it had to say something. Raises `TemporaryError` when somebody still does not know
    then, or the run is to stop.
    """
    try:
        await work.unless_stopped(_until_aware(work, waits))
    except Stopped:
        raise TemporaryError("the run was to stop while others had not heard of the change yet") from None


async def _until_aware(work: Work, waits: Told) -> None:
    locks, epoch = work.cluster.locks, await work.cluster.store.epoch()
    unaware = await locks.unaware(epoch)
    began = time.monotonic()
    limit = USUAL + max((each.seconds for each in unaware), default=0.0)
    told = False
    while unaware:
        passed = time.monotonic() - began
        if passed > limit:
            raise TemporaryError(f"{_who(unaware)} may still answer by an older state: it does not read the new one")
        if passed > USUAL and not told:
            told = True
            seconds = max(each.seconds for each in unaware)
            await waits(f"waits until {_who(unaware)} knows the new state, or for {seconds:.0f} s at most")
        await asyncio.sleep(POLL)
        unaware = await locks.unaware(epoch)


def _who(unaware: tuple[Unaware, ...]) -> str:
    names = sorted({called(each.process) for each in unaware})
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
