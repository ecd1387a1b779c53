"""The leases that the running task holds: every change of a shared store is made under them.

A holder that was stopped for longer than its lease lasts is refused at its next step, whatever that is: the store
compares these values with those it has, in the transaction of the step. Kernel locks need none of this: nobody takes
them from a live process.

The nodes know of no leases. What is sent to them must be through before the lease is (rule L2): `in_time` sees to it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from math import inf
from typing import Any, Final, TypeVar

from miroir_cli.errors import LeaseLost

Result = TypeVar("Result")

_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def clock() -> float:
    """Seconds of a clock that nobody sets, and that goes on while the host sleeps, where there is one."""
    return time.clock_gettime(_CLOCK)


@dataclass(slots=True)
class Term:
    """For how long a lease is certain, by `clock`; whoever renews it moves `until`. `over`: it was given back."""

    until: float = inf
    over: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A lease as it was taken. `value` is what the store keeps under `key` as long as it is this holder's: it has the
    fencing token in it, a number that grows with every holder of the scope."""

    scope: str
    key: str
    value: str
    token: int
    term: Term = field(default_factory=Term, compare=False)

    def remaining(self) -> float:
        """Seconds for which it is certainly this holder's."""
        return self.term.until - clock()


_HELD: ContextVar[tuple[Lease, ...]] = ContextVar("leases", default=())


def held_leases() -> tuple[Lease, ...]:
    """The leases of the running task, oldest first."""
    return tuple(lease for lease in _HELD.get() if not lease.term.over)


@contextmanager
def holding(lease: Lease) -> Iterator[None]:
    """Make what is done in the block depend on a lease."""
    _HELD.set((*_HELD.get(), lease))
    try:
        yield
    finally:
        _HELD.set(tuple(each for each in _HELD.get() if each is not lease))


def lost(lease: Lease) -> LeaseLost:
    """The error for who goes on under a lease that is not its any more."""
    return LeaseLost(
        f"this process was stopped for too long: `{lease.scope}` is held by another one now",
        hint="run the same command again: it goes on where this one was",
    )


def require_time() -> None:
    """Raise `LeaseLost` when a lease of the running task is not certain any more."""
    for lease in held_leases():
        if lease.remaining() <= 0:
            raise lost(lease)


async def in_time(request: Coroutine[Any, Any, Result]) -> Result:
    """Let a request to a node go on for as long as the running task's leases are renewed.

    Raises `LeaseLost` before it is begun, and `TimeoutError` once it was given up: then nobody knows what became of it.
    """
    leases = held_leases()
    if not leases:
        return await request
    try:
        require_time()
    except LeaseLost:
        request.close()
        raise
    task = asyncio.create_task(request)
    try:
        while not task.done():
            left = min(lease.remaining() for lease in leases)
            if left <= 0:
                raise TimeoutError
            await asyncio.wait([task], timeout=left if left < inf else None)
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
