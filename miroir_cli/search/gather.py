"""Ask many nodes at once, each for shards of its own; who fails or is late is replaced within the same query."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from miroir_cli.errors import MiroirError, NodeRefusal
from miroir_cli.search.merge import NodeAnswer

if TYPE_CHECKING:
    from miroir_cli.model import NodeName, ShardId
    from miroir_cli.search.plan import Planner

LATE_AFTER = 1.5
"""Seconds after which others are asked in addition to a node that has not answered; the first answer counts."""

Call = Callable[["NodeName", "tuple[ShardId, ...]"], Awaitable[dict[str, Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """Answers that share no shard; the shards that nobody answered for; what became of the nodes that failed.

    `refusal`: a node found the request wrong. The answers are incomplete then, and `missing` is empty.
    """

    answers: tuple[NodeAnswer, ...]
    missing: tuple[ShardId, ...]
    failures: Mapping[NodeName, MiroirError]
    refusal: NodeRefusal | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class _Ask:
    """One question to one node. `instead`: those that replace it, or compete with it when it is only late."""

    node: NodeName
    shards: tuple[ShardId, ...]
    answer: dict[str, Any] | None = None
    failed: bool = False
    instead: list[_Ask] | None = None
    lost: tuple[ShardId, ...] = ()

    def settled(self) -> bool:
        """Whether waiting longer can bring nothing that is needed."""
        if self.answer is not None:
            return True
        return self.instead is not None and all(ask.settled() for ask in self.instead)

    def answers(self) -> Iterator[NodeAnswer]:
        if self.answer is not None:
            yield NodeAnswer(node=self.node, shards=self.shards, body=self.answer)
        else:
            for ask in self.instead or ():
                yield from ask.answers()

    def missing(self) -> Iterator[ShardId]:
        if self.answer is None:
            yield from self.lost
            for ask in self.instead or ():
                yield from ask.missing()


@dataclass(slots=True, kw_only=True, eq=False)
class _Gathering:
    """The questions of one query: who was asked, who failed, who is late. `over`: more answers are not needed."""

    planner: Planner
    call: Call
    rotation: int
    late_after: float
    failures: dict[NodeName, MiroirError]
    group: asyncio.TaskGroup
    loop: asyncio.AbstractEventLoop
    over: asyncio.Future[None]
    first: list[_Ask] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    alarms: list[asyncio.TimerHandle] = field(default_factory=list)
    slow: set[NodeName] = field(default_factory=set)
    refusal: NodeRefusal | None = None

    async def run(self, shards: Iterable[ShardId] | None) -> tuple[ShardId, ...]:
        """Ask until every question is settled or refused; the shards that nobody has."""
        self.first, missing = self.ask(shards)
        self._settle()
        try:
            await self.over
        finally:
            for alarm in self.alarms:
                alarm.cancel()
            for task in self.tasks:
                task.cancel()
        return missing

    def ask(self, shards: Iterable[ShardId] | None) -> tuple[list[_Ask], tuple[ShardId, ...]]:
        """Send questions for `shards` to nodes that neither failed nor are late; also the shards nobody has."""
        plan = self.planner.plan(rotation=self.rotation, avoid=self._avoided(), shards=shards)
        asks = [_Ask(node=node, shards=asked) for node, asked in plan.asks.items()]
        self.tasks += [self.group.create_task(self._try(each)) for each in asks]
        if asks:
            self.alarms.append(self.loop.call_later(self.late_after, self._hedge, asks))
        return asks, plan.missing

    async def _try(self, ask: _Ask) -> None:
        try:
            ask.answer = await self.call(ask.node, ask.shards)
        except NodeRefusal as refusal:
            self.refusal = self.refusal or refusal
        except MiroirError as error:
            ask.failed = True
            self.failures[ask.node] = error
            if ask.instead is None and not self.over.done():
                ask.instead, ask.lost = self.ask(ask.shards)
        self._settle()

    def _settle(self) -> None:
        if not self.over.done() and (self.refusal or all(ask.settled() for ask in self.first)):
            self.over.set_result(None)

    def _hedge(self, asks: Sequence[_Ask]) -> None:
        """For each node that is late ask others in addition, if they have all of the shards."""
        for ask in asks:
            if ask.answer is None and not ask.failed:
                self.slow.add(ask.node)
                if not self.planner.plan(rotation=self.rotation, avoid=self._avoided(), shards=ask.shards).missing:
                    ask.instead, _ = self.ask(ask.shards)

    def _avoided(self) -> frozenset[NodeName]:
        return frozenset(self.failures) | self.slow


async def gather(
    planner: Planner,
    call: Call,
    *,
    rotation: int,
    shards: Iterable[ShardId] | None = None,
    failures: Mapping[NodeName, MiroirError] | None = None,
    late_after: float = LATE_AFTER,
) -> Gathered:
    """Ask for `shards` (default: all), each once, with `call(node, shards)`.

    A node whose call raises is not asked again, nor is one of `failures`; other in-sync replicas take its shards.
    A `NodeRefusal` ends the query. Calls that are not needed any more are cancelled.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group:
        gathering = _Gathering(
            planner=planner,
            call=call,
            rotation=rotation,
            late_after=late_after,
            failures=dict(failures or {}),
            group=group,
            loop=loop,
            over=loop.create_future(),
        )
        missing = await gathering.run(shards)
    return Gathered(
        answers=tuple(answer for ask in gathering.first for answer in ask.answers()),
        missing=()
        if gathering.refusal
        else tuple(sorted({*missing, *(s for ask in gathering.first for s in ask.missing())})),
        failures=gathering.failures,
        refusal=gathering.refusal,
    )
