"""Ask many nodes at once, each for shards of its own; who fails or is late is replaced within the same query."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
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
    late_at: float
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
    """The questions of one query: who was asked, who is still to answer, who failed."""

    planner: Planner
    call: Call
    rotation: int
    late_after: float
    failures: dict[NodeName, MiroirError]
    group: asyncio.TaskGroup
    pending: dict[asyncio.Task[dict[str, Any] | MiroirError], _Ask] = field(default_factory=dict)
    slow: set[NodeName] = field(default_factory=set)
    refusal: NodeRefusal | None = None

    def ask(self, shards: Iterable[ShardId] | None) -> tuple[list[_Ask], tuple[ShardId, ...]]:
        """Send questions for `shards` to nodes that neither failed nor are late; also the shards nobody has."""
        plan = self.planner.plan(rotation=self.rotation, avoid=frozenset(self.failures) | self.slow, shards=shards)
        late_at = asyncio.get_running_loop().time() + self.late_after
        asks = [_Ask(node=node, shards=asked, late_at=late_at) for node, asked in plan.asks.items()]
        for each in asks:
            self.pending[self.group.create_task(self._try(each))] = each
        return asks, plan.missing

    async def _try(self, ask: _Ask) -> dict[str, Any] | MiroirError:
        try:
            return await self.call(ask.node, ask.shards)
        except MiroirError as error:
            return error

    async def step(self) -> None:
        """Wait for the next answer, or for somebody to be late, and act on it."""
        clock = asyncio.get_running_loop().time
        due = [ask.late_at for ask in self.pending.values() if ask.instead is None]
        done, _ = await asyncio.wait(
            self.pending,
            timeout=max(min(due) - clock(), 0.0) if due else None,
            return_when=asyncio.FIRST_COMPLETED,
        )
        for task in done:
            self._take(self.pending.pop(task), task.result())
        now = clock()
        for ask in list(self.pending.values()):
            if ask.instead is None and ask.late_at <= now:
                self._hedge(ask)

    def _take(self, ask: _Ask, result: dict[str, Any] | MiroirError) -> None:
        if isinstance(result, NodeRefusal):
            self.refusal = self.refusal or result
        elif isinstance(result, MiroirError):
            ask.failed = True
            self.failures[ask.node] = result
            if ask.instead is None:
                ask.instead, ask.lost = self.ask(ask.shards)
        else:
            ask.answer = result

    def _hedge(self, ask: _Ask) -> None:
        """Ask others in addition, if they have all of the shards."""
        self.slow.add(ask.node)
        avoid = frozenset(self.failures) | self.slow
        if self.planner.plan(rotation=self.rotation, avoid=avoid, shards=ask.shards).missing:
            ask.late_at = float("inf")
        else:
            ask.instead, _ = self.ask(ask.shards)


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
    async with asyncio.TaskGroup() as group:
        gathering = _Gathering(
            planner=planner,
            call=call,
            rotation=rotation,
            late_after=late_after,
            failures=dict(failures or {}),
            group=group,
        )
        asks, missing = gathering.ask(shards)
        while gathering.refusal is None and not all(ask.settled() for ask in asks):
            await gathering.step()
        for task in gathering.pending:
            task.cancel()
    return Gathered(
        answers=tuple(answer for ask in asks for answer in ask.answers()),
        missing=() if gathering.refusal else tuple(sorted({*missing, *(s for ask in asks for s in ask.missing())})),
        failures=gathering.failures,
        refusal=gathering.refusal,
    )
