"""Learning what the nodes made of the writes in their queues (rule S): any process may, no lock is needed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from miroir_cli.errors import IndexNotFound, IndexRenamed, MiroirError, NodeUnavailable
from miroir_cli.model import IntentState
from miroir_cli.node.wording import for_users
from miroir_cli.replication.members import publish, roll_once, suspect
from miroir_cli.replication.verdict import Look, Sight, TaskView, gone, judge_settling, stored_on

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.model import Index, Intent, NodeName, ShardId
    from miroir_cli.node.client import NodeClient
    from miroir_cli.store.records import Pending

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Standstill:
    """A node's queue as it was last seen to move: the tasks of the index, and how far the batch in hand was."""

    tasks: Mapping[int, TaskView]
    since: float
    batch: object = None


class Settler:
    """Repeated looks at one index: remembers since when a node has been silent or stuck."""

    def __init__(self, cluster: Cluster, index: Index) -> None:
        self.cluster = cluster
        self.index = index
        self._silent_since: dict[NodeName, float] = {}
        self._stuck: dict[NodeName, Standstill] = {}
        self._last: tuple[object, Settled] | None = None

    async def look(self) -> Settled:
        """One round: ask every node that serves the index at once, decide what can be decided, record it. Others count
        for nothing, and one that hangs would hold up everybody.

        Raises `IndexNotFound` when the index was deleted meanwhile, even if it was created anew, and `IndexRenamed`
        when it has another name now: everything that was sent before is settled then.
        """
        pending = await self.cluster.store.pending(self.index)
        await self.cluster.meet(pending.lanes)
        serving = {name for names in pending.in_sync.values() for name in names}
        found = await self.cluster.fleet.each(
            lambda client: self._tasks(client, pending.lanes[client.name].looked + 1),
            names=[name for name in pending.lanes if name in serving and name in self.cluster.fleet],
        )
        looks = {name: look for name, look in found.items() if isinstance(look, Look)}
        silent = {name: error.message for name, error in found.items() if isinstance(error, MiroirError)}
        await self._doubt(pending, looks)
        sight = Sight(
            looks=looks,
            expected=frozenset(intent.metadata for intent in pending.intents if intent.state is IntentState.SENT),
            given_up=await self._given_up(pending, looks, silent),
        )
        signature = (pending, looks, sorted(sight.given_up))
        if self._last is not None and self._last[0] == signature:
            return self._last[1]
        ended, marked = await self.cluster.store.settle_intents(
            self.index, lambda current: judge_settling(current, sight)
        )
        changed = marked.stale or any(not intent.kind.changes_documents for intent in ended)
        if changed or (ended and await self.cluster.store.unpublished(self.index.uid)):
            # Before anything is told as done: a state rebuilt from an older map would look for it elsewhere.
            await publish(self.cluster, self.index.uid)
        settled = ended[-1].n if ended else pending.settled
        quiet = Settled(settled=settled, outstanding=max(0, pending.newest - settled), silent=silent)
        self._last = None if ended else (signature, quiet)
        if not ended and not marked.stale:
            return quiet
        after = pending
        with suppress(IndexNotFound, IndexRenamed):
            after = await self.cluster.store.pending(self.index)
        return replace(quiet, done=tuple(_outcome(intent, after) for intent in ended), stale=marked.stale)

    async def _tasks(self, client: NodeClient, start: int) -> Look:
        """All tasks of the index on a node from a uid on, oldest first."""
        tasks: dict[int, TaskView] = {}
        limit = self.cluster.patience.answer
        while True:
            page = await client.tasks(
                timeout=limit, index=self.index.stored_as, limit=PAGE, reverse="true", **{"from": start}
            )
            for task in page["results"]:
                view = _view(task, self.index)
                tasks[view.uid] = view
            following = page.get("next")
            if following is None:
                return Look(tasks=tasks)
            if len(tasks) >= 20 * PAGE:
                return Look(tasks=tasks, complete=False)
            start = following

    async def _doubt(self, pending: Pending, looks: Mapping[NodeName, Look]) -> None:
        """Make sure of the identity of nodes that have no trace of a task that they had accepted."""
        doubted = {
            target.node
            for intent in pending.intents
            if intent.state is IntentState.SENT
            for target in intent.targets
            for piece in target.pieces
            if gone(piece, looks.get(target.node))
        }
        for name in sorted(doubted & {node for nodes in pending.in_sync.values() for node in nodes}):
            await suspect(self.cluster, self.cluster.fleet[name])

    async def _given_up(
        self, pending: Pending, looks: Mapping[NodeName, Look], silent: Mapping[NodeName, str]
    ) -> dict[NodeName, str]:
        """Nodes that have been silent, or whose queue has not moved, for longer than the limits."""
        now = time.monotonic()
        given_up = {
            name: f"node `{name}` is not in the topology file"
            for name in pending.lanes
            if name not in self.cluster.fleet
        }
        for name, message in silent.items():
            since = self._silent_since.setdefault(name, now)
            if now - since >= self.cluster.patience.silence:
                given_up[name] = f"{message} (for {now - since:.0f} s)"
        for name, look in looks.items():
            self._silent_since.pop(name, None)
            stuck = await self._stuck_since(name, look, now=now)
            if stuck is not None:
                given_up[name] = f"node `{name}` has made no progress for {now - stuck:.0f} s"
        return given_up

    async def _stuck_since(self, name: NodeName, look: Look, *, now: float) -> float | None:
        """Since when no task of the index has moved, nor the batch in hand, whosever it is; None until that is `lag`
        seconds."""
        if all(task.final for task in look.tasks.values()):
            self._stuck.pop(name, None)
            return None
        before = self._stuck.get(name)
        if before is None or before.tasks != look.tasks:
            self._stuck[name] = Standstill(tasks=look.tasks, since=now)
            return None
        waited, lag = now - before.since, self.cluster.patience.lag
        if before.batch is None and waited >= lag / 4:
            self._stuck[name] = before = replace(before, batch=await self._batch_progress(name))
        if waited < lag:
            return None
        batch = await self._batch_progress(name)
        if batch == before.batch:
            return before.since
        self._stuck[name] = Standstill(tasks=look.tasks, since=now, batch=batch)
        return None

    async def _batch_progress(self, name: NodeName) -> object:
        """How far the node's current batch is; a long batch changes nothing else for minutes."""
        try:
            batches = await self.cluster.fleet[name].get("batches", params={"statuses": "processing", "limit": 1})
        except MiroirError:
            return "unknown"
        return str([(batch.get("uid"), batch.get("progress")) for batch in batches.get("results", [])])


def _view(task: Mapping[str, object], index: Index) -> TaskView:
    details = task.get("details")
    error = task.get("error")
    indexed = details.get("indexedDocuments") if isinstance(details, dict) else None
    return TaskView(
        uid=int(str(task["uid"])),
        status=str(task["status"]),
        type=str(task["type"]),
        indexed=indexed if isinstance(indexed, int) else None,
        error=for_users(str(error.get("message")), index) if isinstance(error, dict) else None,
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
    await roll_once(cluster)
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
                try:
                    found = await settle(cluster, index)
                except IndexRenamed:
                    break  # nothing was on its way when it got its new name
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
        outcomes |= await _read_outcome(cluster, index, n)
    return outcomes


async def _read_outcome(cluster: Cluster, index: Index, n: int) -> dict[int, IntentOutcome]:
    """How a write ended that somebody else has settled, whatever its index is called now; empty when nobody knows."""
    while (now := await cluster.store.follow(index)) is not None:
        pending = await cluster.store.pending(now.uid)
        found = await cluster.store.intents(now.uid, [n])
        if pending.incarnation == now.incarnation and all(i.incarnation == now.incarnation for i in found.values()):
            return {number: _outcome(intent, pending) for number, intent in found.items()}
    return {}
