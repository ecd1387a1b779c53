"""Ask many nodes at once, each for shards of its own; who fails or is late is replaced within the same query."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from miroir_cli import metrics
from miroir_cli.errors import MiroirError, NodeRefusal, NodeUnavailable
from miroir_cli.node.watch import NOBODY, NodeWatch
from miroir_cli.search.merge import NodeAnswer

if TYPE_CHECKING:
    from miroir_cli.model import NodeName, ShardId
    from miroir_cli.search.plan import Planner, SearchPlan

LATE_AFTER = 1.5
"""Seconds after which others are asked in addition to a node that has not answered; the first answer counts. Sooner
where it is known how long the node usually takes."""

TIMEOUT = 30.0
"""Seconds after which a node that has not answered counts as failed."""

HEDGES = 2
"""Late nodes of one query that have competitors, at most."""

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
    late: bool = False
    overdue: bool = False
    until: float
    """When its time is over, by the clock of the loop."""
    task: asyncio.Task[None] | None = None
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
    timeout: float
    failures: dict[NodeName, MiroirError]
    watch: NodeWatch
    group: asyncio.TaskGroup
    loop: asyncio.AbstractEventLoop
    over: asyncio.Future[None]
    first: list[_Ask] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    alarms: list[asyncio.TimerHandle] = field(default_factory=list)
    hedged: list[_Ask] = field(default_factory=list)
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
            metrics.FAN_OUT.observe(len(self.tasks))
            for ask in self.hedged:
                metrics.HEDGES.inc(_outcome(ask))
        return missing

    def ask(self, shards: Iterable[ShardId] | None) -> tuple[list[_Ask], tuple[ShardId, ...]]:
        """Send questions for `shards` to nodes that neither failed nor are late; also the shards nobody has."""
        plan = self._plan(shards)
        now = self.loop.time()
        asks = [_Ask(node=node, shards=asked, until=now + self.timeout) for node, asked in plan.asks.items()]
        for ask in asks:
            ask.task = self.group.create_task(self._try(ask))
            self.tasks.append(ask.task)
            late_at = now + self.watch.late_after(ask.node, self.late_after) if self.watch.hedging else ask.until
            look, at = (self._late, late_at) if late_at < ask.until else (self._overdue, ask.until)
            self.alarms.append(self.loop.call_at(at, look, ask))
        return asks, plan.missing

    def _plan(self, shards: Iterable[ShardId] | None) -> SearchPlan:
        """Nodes that fail often are asked only for what nobody else has."""
        avoided, shunned = self._avoided(), self.watch.shunned()
        prices = self.watch.prices(self.planner.nodes)
        if shunned:
            plan = self.planner.plan(rotation=self.rotation, avoid=avoided | shunned, shards=shards, prices=prices)
            if not plan.missing:
                return plan
        return self.planner.plan(rotation=self.rotation, avoid=avoided, shards=shards, prices=prices)

    async def _try(self, ask: _Ask) -> None:
        since = self.watch.asked(ask.node)
        try:
            ask.answer = await self.call(ask.node, ask.shards)
        except NodeRefusal as refusal:
            self.watch.answered(ask.node, since)
            self.refusal = self.refusal or refusal
        except MiroirError as error:
            self._replace(ask, since, error)
        except asyncio.CancelledError:
            if ask.task is None or not ask.overdue or ask.task.uncancel() > 0:
                self.watch.given_up(ask.node, since, late=ask.late)
                raise
            message = f"node `{ask.node}` did not answer within {self.timeout:g} s"
            self._replace(ask, since, NodeUnavailable(message, node=ask.node, sent=True))
        except BaseException:
            self.watch.given_up(ask.node, since, late=False)
            raise
        else:
            self.watch.answered(ask.node, since)
        self._settle()

    def _replace(self, ask: _Ask, since: float, error: MiroirError) -> None:
        """Ask others for the shards of a node that failed, unless they were asked already."""
        self.watch.failed(ask.node, since)
        ask.failed = True
        self.failures[ask.node] = error
        if ask.instead is None and not self.over.done():
            metrics.SCATTER_RETRIES.inc()
            ask.instead, ask.lost = self.ask(ask.shards)

    def _settle(self) -> None:
        if not self.over.done() and (self.refusal or all(ask.settled() for ask in self.first)):
            self.over.set_result(None)

    def _overdue(self, ask: _Ask) -> None:
        """The time of a node is over: it counts as failed."""
        if ask.answer is None and not ask.failed and ask.task is not None:
            ask.overdue = True
            ask.task.cancel()

    def _late(self, ask: _Ask) -> None:
        """Ask others in addition to a node that is late, if they have all of its shards."""
        if ask.answer is not None or ask.failed:
            return
        ask.late = True
        self.alarms.append(self.loop.call_at(ask.until, self._overdue, ask))
        if len(self.hedged) >= HEDGES:
            return
        self.slow.add(ask.node)
        if not self._plan(ask.shards).missing and self.watch.may_hedge():
            self.hedged.append(ask)
            ask.instead, _ = self.ask(ask.shards)

    def _avoided(self) -> frozenset[NodeName]:
        return NOBODY if not self.failures and not self.slow else frozenset(self.failures) | self.slow


def _outcome(ask: _Ask) -> str:
    """What became of a question to a late node that had competitors: who answered first, if anybody."""
    if ask.answer is not None:
        return "lost"
    return "won" if ask.settled() else "abandoned"


async def gather(
    planner: Planner,
    call: Call,
    *,
    rotation: int,
    shards: Iterable[ShardId] | None = None,
    failures: Mapping[NodeName, MiroirError] | None = None,
    late_after: float = LATE_AFTER,
    timeout: float = TIMEOUT,
    watch: NodeWatch | None = None,
) -> Gathered:
    """Ask for `shards` (default: all), each once, with `call(node, shards)`.

    A node whose call raises, or takes longer than `timeout` seconds, is not asked again, nor is one of `failures`;
    other in-sync replicas take its shards. A `NodeRefusal` ends the query. Calls that are not needed any more are
    cancelled. `watch` knows the nodes: by it they are chosen, and are late sooner than after `late_after`.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group:
        gathering = _Gathering(
            planner=planner,
            call=call,
            rotation=rotation,
            late_after=late_after,
            timeout=timeout,
            failures=dict(failures or {}),
            watch=watch or NodeWatch(adaptive=False),
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
