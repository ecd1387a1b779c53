"""Processes that can be killed: a task, and whatever it begins, that speaks to nodes and to the store through doors.

A process dies at one of these doors, before a call or after it; nothing that it does afterwards has an effect.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from miroir_cli.store.protocol import Store
from tests.migration.weather import Weather
from tests.replication.simulated import Killed

Result = TypeVar("Result")

PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)


@dataclass(kw_only=True)
class Process:
    """A command that runs; `calls_left`: after so many of its calls of nodes and store it is killed (None: never)."""

    name: str
    calls_left: int | None = None
    dead: bool = False
    interrupted: bool = False
    main: asyncio.Task[Any] | None = None
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    def die(self) -> None:
        self.dead = True
        for task in self.tasks:
            task.cancel()

    def interrupt(self) -> None:
        """Somebody types ctrl-C."""
        if self.main is not None and not self.main.done():
            self.interrupted = self.main.cancel()

    async def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """The result of the process. Raises `Killed` when it was killed, whatever it made of that itself."""
        context = copy_context()
        context.run(PROCESS.set, self)
        self.main = task = asyncio.get_running_loop().create_task(work, context=context)
        try:
            await asyncio.wait([task])
            while self.dead and (left := {each for each in self.tasks if not each.done()}):
                await asyncio.wait(left, timeout=1.0)
                for each in left:
                    each.cancel()
            if self.dead:
                task.cancelled() or task.exception()
                raise Killed
            return task.result()
        finally:
            self.dead = True

    def step(self) -> None:
        """One more call. Raises `Killed` when the process is, or dies of it."""
        if not self.dead and self.calls_left is not None:
            self.calls_left -= 1
            if self.calls_left < 0:
                self.die()
        if self.dead:
            raise Killed


def make_task(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], **options: Any) -> asyncio.Task[Any]:
    """The loop's task factory: a process knows the tasks that it has begun."""
    task = asyncio.Task(work, loop=loop, **options)
    context = options.get("context")
    process = context.get(PROCESS) if context is not None else PROCESS.get()
    if process is not None:
        process.tasks.add(task)
        task.add_done_callback(process.tasks.discard)
        if process.dead:
            task.cancel()
    return task


def step() -> None:
    process = PROCESS.get()
    if process is not None:
        process.step()


class Doors:
    """The state store as processes reach it: each call is a moment at which they can die, before it or after.

    `after`: what is to happen first when a call of that name has returned, once for each entry.
    """

    def __init__(
        self, store: Store, weather: Weather, *, stepped: Callable[[], None], begun: Callable[[int], None]
    ) -> None:
        self._store = store
        self._weather = weather
        self._stepped = stepped
        self._begun = begun
        self.after: dict[str, list[Callable[[], Awaitable[None]]]] = {}

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        async def call(*arguments: Any, **options: Any) -> Any:
            step()
            if hesitation := self._weather.hesitation():
                await asyncio.sleep(hesitation)
                step()
            found = await method(*arguments, **options)
            if name == "open_intent":
                self._begun(found.n)
            self._stepped()
            if self.after.get(name):
                await self.after[name].pop(0)()
            step()
            return found

        setattr(self, name, call)
        return call


def store_behind(doors: Doors) -> Store:
    return cast("Store", doors)
