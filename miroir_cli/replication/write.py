"""One write of an index: recorded, sent to every in-sync replica, and its outcome recorded, under the order lock."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from miroir_cli.errors import AuthenticationFailed, NodeRefusal, NodeUnavailable, WriteUnknown
from miroir_cli.model import Index, Intent, IntentState, IntentTarget, Json, NodeName, ShardId, WriteKind
from miroir_cli.node.answers import Accepted, Answer, Refused
from miroir_cli.node.client import NodeClient, path_of
from miroir_cli.node.wording import for_users
from miroir_cli.replication.members import publish, roll_once, suspect
from miroir_cli.replication.recover import find_tasks, newest_known, recover
from miroir_cli.replication.verdict import Answers, Part, Sent, judge_sending
from miroir_cli.store.slots import SlotSpoilt

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.store.records import BatchRecord, KeysOf
    from miroir_cli.store.tasks import NewTask, Task

LOOKUP_PAUSE = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """What one write wants to send, before it has a number.

    `documents` gives the distinct ids for each shard it touches (None: not known). `payload` makes the body for the
    shards that one node gets. `method`, `path` (below `indexes/UID/`) and `content_type` are those of Meilisearch.
    """

    kind: WriteKind
    documents: Mapping[ShardId, int | None]
    payload: Callable[[frozenset[ShardId]], bytes]
    path: str = "documents"
    method: str = "POST"
    content_type: str = "application/x-ndjson"
    params: Mapping[str, str] = field(default_factory=dict)
    body: Json | None = None
    """For settings: the user's settings once this write is stored."""
    batch: BatchRecord | None = None
    """For an import: the batch that this write carries, recorded with it."""
    keys: KeysOf | None = None
    """The primary keys that it touches in a shard; None when nobody can name them (a filter)."""
    task: NewTask | None = None
    """The client's task that it stands for, recorded with it."""
    portions: Callable[[Intent, IntentTarget], Sequence[frozenset[ShardId]]] | None = None
    """How the shards of a node are parted into requests, when they must not all go in one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A write that every in-sync replica has in its queue.

    `refused` gives the shards that no node took, with a node's reason; `temporary` whether sending them again can
    help, `too_large` whether in smaller pieces. `stale` are the replicas that missed it and left the in-sync set.
    """

    n: int
    refused: frozenset[ShardId] = frozenset()
    reason: str | None = None
    error: Exception | None = None
    temporary: bool = False
    too_large: bool = False
    retry_after: float | None = None
    stale: Mapping[NodeName, frozenset[ShardId]] = field(default_factory=dict)
    bytes_sent: Mapping[NodeName, int] = field(default_factory=dict)
    task: Task | None = None
    """The client's task, if it stands for one."""


async def write(cluster: Cluster, index: Index, outgoing: Outgoing) -> Written:
    """Send one write to all in-sync replicas of the shards it touches (rules W1 to W5).

    Returns once it is in the queues and recorded; `settle` says when it is stored. Raises `Locked`, `NoQuorum`,
    `ShardUnavailable` and `IndexNotFound` before anything was sent, and `WriteUnknown` when its outcome is in doubt.
    """
    await roll_once(cluster)
    async with cluster.locks.order(index.uid):
        return await write_locked(cluster, index, outgoing)


async def write_locked(cluster: Cluster, index: Index, outgoing: Outgoing) -> Written:
    """The same for a caller that holds the order lock because it must read before it writes."""
    await cluster.meet(await cluster.store.members())
    await recover(cluster, index)
    intent = await _open(cluster, index, outgoing)
    above = await newest_known(cluster, intent) if intent.kind.unmarked else {}
    sending = Sending(cluster, index, intent, outgoing, above=above)
    answers = await sending.run()
    if cluster.fencing is not None:
        await cluster.fencing.tell_doubts()
    closed, marked = await cluster.store.close_intent(
        intent, lambda current, in_sync: judge_sending(current, in_sync, answers)
    )
    if marked.stale:
        await publish(cluster, index.uid)
    if closed.state is IntentState.OPEN:
        raise WriteUnknown(
            f"write {intent.n} of index `{index.uid}` was sent and not answered: it may or may not be stored",
            hint="run the command again: it finds out first",
        )
    refusal = sending.refusal
    task = None if outgoing.task is None else await cluster.store.task_of(index.uid, index.incarnation, closed.n)
    return Written(
        n=closed.n,
        refused=closed.refused,
        reason=closed.error if closed.refused else None,
        error=refusal.error if refusal else None,
        temporary=bool(refusal and refusal.temporary),
        too_large=bool(refusal and refusal.status == 413),
        retry_after=refusal.retry_after if refusal else None,
        stale=marked.stale,
        bytes_sent=sending.bytes_sent,
        task=task,
    )


async def _open(cluster: Cluster, index: Index, outgoing: Outgoing) -> Intent:
    """Record the write as begun, under a slot of this process that nobody may shut out yet."""
    while True:
        slot = None if cluster.fencing is None else await cluster.fencing.slot()
        try:
            return await cluster.store.open_intent(
                index,
                kind=outgoing.kind,
                documents=outgoing.documents,
                nonce=secrets.token_hex(8),
                min_in_sync=cluster.topology.cluster.min_in_sync,
                owner=cluster.command,
                body=outgoing.body,
                batch=outgoing.batch,
                keys=outgoing.keys,
                task=outgoing.task,
                slot=slot,
            )
        except SlotSpoilt:
            assert cluster.fencing is not None
            cluster.fencing.drop(slot)


class Sending:
    """The requests of one intent, to all its targets at once.

    `above`: for settings, which carry no metadata, each target's newest task that is another write's.
    """

    def __init__(
        self, cluster: Cluster, index: Index, intent: Intent, outgoing: Outgoing, *, above: Mapping[NodeName, int]
    ) -> None:
        self.cluster = cluster
        self.index = index
        self.intent = intent
        self.outgoing = outgoing
        self.above = above
        self.doubted: list[NodeClient] = []
        self.refusal: Refused | None = None
        self.bytes_sent: dict[NodeName, int] = {}

    async def run(self) -> Answers:
        """The answers of all targets, once the identity of those that gave reason to doubt it is settled."""
        members = await self.cluster.store.members()
        async with asyncio.TaskGroup() as group:
            tasks = {
                target.node: group.create_task(self._to_target(target, members[target.node].top_task))
                for target in self.intent.targets
            }
        for client in self.doubted:
            await suspect(self.cluster, client)
        return {node: task.result() for node, task in tasks.items()}

    async def _to_target(self, target: IntentTarget, top_task: int) -> tuple[Part, ...]:
        if target.node not in self.cluster.fleet:
            return (_refused(target.shards, f"node `{target.node}` is not in the topology file"),)
        portions = self.outgoing.portions(self.intent, target) if self.outgoing.portions else (target.shards,)
        return tuple([part for portion in portions async for part in self._parts(target, portion, top_task)])

    async def _parts(self, target: IntentTarget, shards: frozenset[ShardId], top_task: int) -> AsyncIterator[Part]:
        """Send the shards as one task; in halves when the node finds that too large."""
        client = self.cluster.fleet[target.node]
        answer = await self._send(client, target, shards)
        if isinstance(answer, Refused) and answer.status == 413 and len(shards) > 1:
            for half in _halves(shards):
                async for part in self._parts(target, half, top_task):
                    yield part
            return
        yield await self._part(client, target, shards, answer, top_task)

    async def _part(
        self,
        client: NodeClient,
        target: IntentTarget,
        shards: frozenset[ShardId],
        answer: Answer,
        top_task: int,
    ) -> Part:
        documents = self._documents(shards)
        if isinstance(answer, Refused):
            self.refusal = answer
            if answer.status in (401, 403):
                self.doubted.append(client)
            return _refused(shards, for_users(answer.error.message, self.index))
        if isinstance(answer, Accepted):
            if answer.task <= top_task:
                self.doubted.append(client)
                return Part(shards=shards, sent=Sent.UNKNOWN, reason=f"node `{client.name}` is not the disk we knew")
            return Part(shards=shards, sent=Sent.ACCEPTED, task=answer.task, documents=documents)
        task = await self._look_up(client, target, shards)
        if task is not None:
            return Part(shards=shards, sent=Sent.ACCEPTED, task=task, documents=documents)
        return Part(shards=shards, sent=Sent.UNKNOWN, reason=answer.error.message)

    async def _send(self, client: NodeClient, target: IntentTarget, shards: frozenset[ShardId]) -> Answer:
        """One request; sent again only after the node said for certain that it did nothing and is busy."""
        content = self.outgoing.payload(shards)
        self.bytes_sent[client.name] = self.bytes_sent.get(client.name, 0) + len(content)
        params = dict(self.outgoing.params)
        if self.outgoing.kind.unmarked is None:
            params["customMetadata"] = self._metadata(target, shards)
        deadline = asyncio.get_running_loop().time() + self.cluster.patience.busy
        pause = 0.1
        while True:
            answer = await client.write(
                self.outgoing.method,
                path_of(self.index.stored_as, self.outgoing.path),
                content=content,
                content_type=self.outgoing.content_type,
                params=params,
                timeout=self.cluster.patience.write,
            )
            busy = isinstance(answer, Refused) and answer.status in (408, 429, 503)
            wait = max(pause, (answer.retry_after or 0.0) if isinstance(answer, Refused) else 0.0)
            if not busy or asyncio.get_running_loop().time() + wait > deadline:
                return answer
            await asyncio.sleep(wait)
            pause *= 2

    async def _look_up(self, client: NodeClient, target: IntentTarget, shards: frozenset[ShardId]) -> int | None:
        """The task that a request without an answer made after all (rule W4), if its node shows it soon."""
        wanted = self._metadata(target, shards)
        try:
            async with asyncio.timeout(self.cluster.patience.lookup):
                while True:
                    with suppress(NodeUnavailable, NodeRefusal, AuthenticationFailed):
                        found = await find_tasks(
                            client, self.intent, self.index.stored_as, above=self.above.get(client.name, -1)
                        )
                        if wanted in found:
                            return found[wanted]
                    await asyncio.sleep(LOOKUP_PAUSE)
        except TimeoutError:
            return None

    def _metadata(self, target: IntentTarget, shards: frozenset[ShardId]) -> str:
        return self.intent.metadata if shards == target.shards else self.intent.piece_metadata(shards)

    def _documents(self, shards: frozenset[ShardId]) -> int | None:
        counts = [self.outgoing.documents[shard] for shard in shards]
        return None if any(count is None for count in counts) else sum(count or 0 for count in counts)


def _refused(shards: frozenset[ShardId], reason: str) -> Part:
    return Part(shards=shards, sent=Sent.REFUSED, reason=reason)


def _halves(shards: frozenset[ShardId]) -> Iterator[frozenset[ShardId]]:
    ordered = sorted(shards)
    middle = len(ordered) // 2
    yield frozenset(ordered[:middle])
    yield frozenset(ordered[middle:])
