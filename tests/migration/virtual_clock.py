"""An event loop whose clock stands still while anything can run and jumps to the next timer when nothing can.

Hours of waiting pass in no time, and with one seed everything happens in the same order again. Blocking calls that
the code hands to threads run at once, in the loop's own thread.
"""

from __future__ import annotations

import asyncio
import time
from asyncio.base_events import BaseEventLoop
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch


class Deadlock(AssertionError):
    """Everything waits for something, and no timer runs."""


class _Timers:
    """Stands in for the selector: there is nothing to wait for but the clock."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Deadlock("nothing runs and no timer is set")
        self._loop.now += timeout
        return []

    def close(self) -> None:
        pass


class VirtualLoop(BaseEventLoop):
    """`now` is the time in seconds, from 0 on."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self._selector = _Timers(self)

    def time(self) -> float:
        return self.now

    def _process_events(self, event_list: list[Any]) -> None:
        """No events but timers."""

    def _write_to_self(self) -> None:
        """Nobody else has a thread."""

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        done: asyncio.Future[Any] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:
            done.set_exception(error)
        return done


@contextmanager
def virtual_time() -> Iterator[VirtualLoop]:
    """A loop to run things in; `time.monotonic` shows its clock meanwhile."""
    loop = VirtualLoop()
    with patch.object(time, "monotonic", loop.time):
        try:
            yield loop
        finally:
            _cancel_all(loop)
            loop.close()


def _cancel_all(loop: VirtualLoop) -> None:
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.wait(left, timeout=60.0))
