"""What the steps of one run share: its record, the fences, how fast it may go, and what others want of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from miroir_cli.errors import TemporaryError
from miroir_cli.replication.members import publish
from miroir_cli.replication.settle import Settled, settle
from miroir_cli.store.journal import RunRecord, StepRecord, Wanted

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.migration.fences import Fences
    from miroir_cli.model import Index

MAX_PAUSE: Final = 1.8
"""Seconds for which a switch may hold up writers: what is in hand then still has to end within 2 s."""

MOST_BYTES: Final = 48 << 20
"""Bytes that a run has in the nodes' queues and in memory."""

PUBLISH_EVERY: Final = 5.0
"""Seconds after which a run copies the maps that it has changed to the nodes, if no writer had to do it before: each
copy costs every node a batch, and on the way nothing but the newest is of use."""

STOP_LIMIT: Final = 3.0
"""Seconds for which a wait goes on although the run is to stop: nodes that work are through with it by then."""

Result = TypeVar("Result")


class Stopped(Exception):
    """The run is to stop at a clean place: its time is over, it was interrupted, or somebody cancelled it."""


@dataclass(kw_only=True)
class Work:
    """One run at work. `stop` is set when nothing new may begin."""

    cluster: Cluster
    run: RunRecord
    fences: Fences
    report: Callable[[StepRecord], None] = lambda step: None
    max_pause: float = MAX_PAUSE
    retry_for: float = 60.0
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    unpaused: asyncio.Event = field(default_factory=asyncio.Event)
    pauses: list[float] = field(default_factory=list)
    _unpublished: set[str] = field(default_factory=set)
    _turns: dict[tuple[str, str], asyncio.Lock] = field(default_factory=dict)
    _looks: dict[str, asyncio.Future[Settled]] = field(default_factory=dict)
    _bytes: int = 0
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _owed: float = 0.0
    """Documents that were sent ahead of the rate, as of `_paid`."""
    _paid: float = 0.0

    async def note(self, step: StepRecord, *, detail: str = "", **changes: object) -> StepRecord:
        """Record how far a step is, and show it."""
        changed = replace(step, **changes)  # type: ignore[arg-type]
        await self.cluster.store.save_step(self.run.id, changed, detail=detail)
        self.report(changed)
        return changed

    def turn(self, index: str, node: str) -> asyncio.Lock:
        """Held by the one step that brings an index to a node while others wait for the same."""
        return self._turns.setdefault((index, node), asyncio.Lock())

    def switching(self, index: str) -> asyncio.Lock:
        """Held by the one step of an index that is about to hold up its writers."""
        return self._turns.setdefault((index, ""), asyncio.Lock())

    async def settle(self, index: Index) -> None:
        """Learn what the nodes made of the writes: one look for all steps that want one at the same time."""
        look = self._looks.get(index.uid)
        if look is None or look.done():
            look = self._looks[index.uid] = asyncio.ensure_future(settle(self.cluster, index))
        await asyncio.shield(look)

    async def end(self) -> None:
        """Wait for what is still on its way although nobody waits for it any more."""
        await asyncio.gather(*self._looks.values(), return_exceptions=True)

    def moved(self, uid: str) -> None:
        """The map of an index has changed: it is copied to the nodes in a moment, once for several changes."""
        self._unpublished.add(uid)

    async def publish(self) -> None:
        """Copy the maps that have changed to the nodes now."""
        for uid in sorted(self._unpublished):
            self._unpublished.discard(uid)
            try:
                await publish(self.cluster, uid)
            except BaseException:
                self._unpublished.add(uid)
                raise

    async def breathe(self) -> None:
        """A clean place between two pieces of work: wait while the run is paused. Raises `Stopped`."""
        if not self.unpaused.is_set():
            waits = [asyncio.ensure_future(event.wait()) for event in (self.unpaused, self.stop)]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
        if self.stop.is_set():
            raise Stopped

    async def unless_stopped(self, waiting: Coroutine[Any, Any, Result]) -> Result:
        """Wait for what a node does, but not long after the run is to stop: it may hang, or its queue stand still, for
        hours. Raises `Stopped`."""
        task = asyncio.ensure_future(waiting)
        stopping = asyncio.ensure_future(self.stop.wait())
        try:
            await asyncio.wait([task, stopping], return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                await asyncio.wait([task], timeout=STOP_LIMIT)
            if not task.done():
                raise Stopped
            return task.result()
        finally:
            stopping.cancel()
            if not task.done():
                task.cancel()
                await asyncio.wait([task])

    async def throttle(self, documents: int) -> None:
        """Keep to the run's rate, over all its steps together. Raises `Stopped`."""
        await self.breathe()
        while self.run.rate:
            now = time.monotonic()
            self._owed = max(0.0, self._owed - (now - self._paid) * self.run.rate)
            self._paid = now
            if not self._owed:
                self._owed = float(documents)
                return
            await asyncio.sleep(min(self._owed / self.run.rate, 0.5))
            await self.breathe()

    def try_take(self, size: int) -> bool:
        """Take so many bytes more if they may be under way now."""
        room = self._bytes == 0 or self._bytes + size <= MOST_BYTES
        self._bytes += size if room else 0
        return room

    async def take(self, size: int) -> None:
        """Wait until they may be. Call it with nothing taken: others wait as well."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.try_take(size))

    async def give_back(self, size: int) -> None:
        async with self._changed:
            self._bytes -= size
            self._changed.notify_all()

    async def listen(self, *, every: float = 0.5) -> None:
        """Follow what another shell wants, and have changed maps copied to the nodes, until cancelled."""
        published = time.monotonic()
        while True:
            with suppress(TemporaryError):  # the state file may be busy: then the next time
                if time.monotonic() - published >= PUBLISH_EVERY:
                    await self.publish()
                    published = time.monotonic()
                run = await self.cluster.store.run(self.run.id)
                if run is not None:
                    self._follow(run)
            await asyncio.sleep(every)

    def _follow(self, run: RunRecord) -> None:
        self.run = run
        if run.wanted is Wanted.PAUSE:
            self.unpaused.clear()
        else:
            self.unpaused.set()
        if run.wanted is Wanted.CANCEL:
            self.stop.set()
