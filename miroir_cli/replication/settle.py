"""Learning what the nodes made of the writes in their queues (rule S): any process may, no lock is needed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from miroir_cli.errors import MiroirError, NodeUnavailable
from miroir_cli.replication.members import publish
from miroir_cli.replication.verdict import Look, Sight, TaskView, judge_settling, stored_on

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.model import Index, Intent, IntentState, NodeName, ShardId
    from miroir_cli.node.client import NodeClient
    from miroir_cli.store.records import Pending

SILENCE_LIMIT = 10.0
"""Seconds without an answer after which a node that others are ahead of is left behind."""

LAG_LIMIT = 60.0
"""Seconds without progress in a node's queue after which the same is done."""

PAGE = 1000
POLL_FIRST = 0.02
POLL_LONGEST = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentOutcome:
    """A write that has ended: stored on `stored_on` replicas of its least replicated shard, or failed."""

    n: int
    state: IntentState
    failed: frozenset[ShardId] = frozenset()
    error: str | None = None
    stored_on: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What one look found: everything up to `settled` has ended, `outstanding` writes have not.

    `silent` names the nodes that did not answer, with their errors.
    """

    settled: int
    outstanding: int
    done: tuple[IntentOutcome, ...] = ()
    stale: Mapping[NodeName, frozenset[ShardId]] = field(default_factory=dict)
    silent: Mapping[NodeName, str] = field(default_factory=dict)


class Settler:
    """Repeated looks at one index: remembers since when a node has been silent or stuck."""

    def __init__(self, cluster: Cluster, index: Index) -> None:
        self.cluster = cluster
        self.index = index
        self._silent_since: dict[NodeName, float] = {}
        self._progress: dict[NodeName, tuple[object, float]] = {}
        self._last: tuple[object, Settled] | None = None

    async def look(self) -> Settled:
        """One round: ask every node of the index at once, decide what can be decided, record it."""
        pending = await self.cluster.store.pending(self.index.uid)
        found = await self.cluster.fleet.each(
            lambda client: self._tasks(client, pending.lanes[client.name].looked + 1),
            names=[name for name in pending.lanes if name in self.cluster.fleet],
        )
        looks = {name: look for name, look in found.items() if isinstance(look, Look)}
        silent = {name: error.message for name, error in found.items() if isinstance(error, MiroirError)}
        sight = Sight(looks=looks, given_up=await self._given_up(pending, looks, silent))
        signature = (pending.newest, pending.settled, tuple(sorted(sight.given_up)), _signature(looks))
        if self._last is not None and self._last[0] == signature:
            return self._last[1]
        ended, marked = await self.cluster.store.settle_intents(
            self.index.uid, lambda current: judge_settling(current, sight)
        )
        if marked.stale:
            await publish(self.cluster, self.index.uid)
        settled = pending.settled + len(ended) if ended else pending.settled
        if ended:
            settled = ended[-1].n
        after = (await self.cluster.store.pending(self.index.uid)) if ended else pending
        outcomes = tuple(_outcome(intent, after) for intent in ended)
        result = Settled(
            settled=settled,
            outstanding=pending.newest - settled,
            done=outcomes,
            stale=marked.stale,
            silent=silent,
        )
        quiet = Settled(settled=settled, outstanding=result.outstanding, silent=silent)
        self._last = (
            ((pending.newest, settled, tuple(sorted(sight.given_up)), _signature(looks)), quiet) if not ended else None
        )
        return result

    async def _tasks(self, client: NodeClient, start: int) -> Look:
        """All tasks of the index on a node from a uid on, oldest first."""
        tasks: dict[int, TaskView] = {}
        while True:
            page = await client.tasks(indexUids=self.index.uid, limit=PAGE, reverse="true", **{"from": start})
            for task in page["results"]:
                view = _view(task)
                tasks[view.uid] = view
            following = page.get("next")
            if following is None:
                return Look(tasks=tasks)
            if len(tasks) >= 20 * PAGE:
                return Look(tasks=tasks, complete=False)
            start = following

    async def _given_up(
        self, pending: Pending, looks: Mapping[NodeName, Look], silent: Mapping[NodeName, str]
    ) -> dict[NodeName, str]:
        """Nodes that have been silent, or whose queue has not moved, for longer than the limits."""
        now = time.monotonic()
        given_up: dict[NodeName, str] = {}
        for name, message in silent.items():
            since = self._silent_since.setdefault(name, now)
            if now - since >= SILENCE_LIMIT:
                given_up[name] = f"{message} (for {now - since:.0f} s)"
        for name in pending.lanes:
            if name not in self.cluster.fleet:
                given_up[name] = f"node `{name}` is not in the topology file"
        for name, look in looks.items():
            self._silent_since.pop(name, None)
            token: object = tuple((task.uid, task.status) for task in look.tasks.values())
            before = self._progress.get(name)
            if not any(not task.final for task in look.tasks.values()):
                self._progress.pop(name, None)
                continue
            if before is not None and now - before[1] >= LAG_LIMIT / 4:
                token = (token, await self._batch_progress(name))
            if before is None or before[0] != token:
                self._progress[name] = (token, now)
            elif now - before[1] >= LAG_LIMIT:
                given_up[name] = f"node `{name}` has made no progress for {now - before[1]:.0f} s"
        return given_up

    async def _batch_progress(self, name: NodeName) -> object:
        """How far the node's current batch is; a long batch changes nothing else for minutes."""
        try:
            batches = await self.cluster.fleet[name].get("batches", params={"statuses": "processing", "limit": 1})
        except MiroirError:
            return None
        return str([batch.get("progress") for batch in batches.get("results", [])])


def _signature(looks: Mapping[NodeName, Look]) -> object:
    return tuple(
        (name, tuple((task.uid, task.status) for task in looks[name].tasks.values())) for name in sorted(looks)
    )


def _view(task: Mapping[str, object]) -> TaskView:
    details = task.get("details")
    error = task.get("error")
    indexed = details.get("indexedDocuments") if isinstance(details, dict) else None
    return TaskView(
        uid=int(str(task["uid"])),
        status=str(task["status"]),
        type=str(task["type"]),
        indexed=indexed if isinstance(indexed, int) else None,
        error=str(error.get("message")) if isinstance(error, dict) else None,
        metadata=str(task["customMetadata"]) if task.get("customMetadata") is not None else None,
    )


def _outcome(intent: Intent, pending: Pending) -> IntentOutcome:
    return IntentOutcome(
        n=intent.n,
        state=intent.state,
        failed=intent.failed,
        error=intent.error,
        stored_on=stored_on(intent, pending.in_sync),
    )


async def settle(cluster: Cluster, index: Index) -> Settled:
    """One look (see `Settler.look`), continuing what this process saw before."""
    key = f"settler:{index.uid}:{index.incarnation}"
    settler = cluster.session.get(key)
    if not isinstance(settler, Settler):
        settler = cluster.session[key] = Settler(cluster, index)
    return await settler.look()


async def settle_until(cluster: Cluster, index: Index, n: int, *, timeout: float = 600.0) -> dict[int, IntentOutcome]:
    """Look until write `n` and everything before it has ended; the outcomes by number.

    Writes that somebody else settled meanwhile are read from the store. Raises `NodeUnavailable` after `timeout`
    seconds: the writes stay in the queues and the next command settles them.
    """
    outcomes: dict[int, IntentOutcome] = {}
    pause = POLL_FIRST
    silent: Mapping[NodeName, str] = {}
    try:
        async with asyncio.timeout(timeout):
            while True:
                found = await settle(cluster, index)
                silent = found.silent
                outcomes.update({outcome.n: outcome for outcome in found.done})
                if found.settled >= n:
                    break
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, POLL_LONGEST)
    except TimeoutError:
        names = ", ".join(f"`{name}`" for name in silent) or "the nodes"
        raise NodeUnavailable(
            f"write {n} of index `{index.uid}` is in the queues but {names} did not finish it within {timeout:g} s",
            node=next(iter(silent), ""),
            sent=True,
        ) from None
    if n not in outcomes:
        pending = await cluster.store.pending(index.uid)
        for number, intent in (await cluster.store.intents(index.uid, [n])).items():
            outcomes[number] = _outcome(intent, pending)
    return outcomes
