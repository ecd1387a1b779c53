"""Taking away what a replica leaves behind on its node, several shards at a time (protocol rule M6)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from miroir_cli.errors import IndexNotFound, MiroirError, NodeRefusal, NodeUnavailable
from miroir_cli.indexes.nodes import prepare_index
from miroir_cli.migration.attempt import Attempt, Spoilt, new_nonce
from miroir_cli.migration.aware import Told, unheard, until_aware
from miroir_cli.migration.side import together
from miroir_cli.migration.work import Stopped
from miroir_cli.model import ReplicaState, shard_filter
from miroir_cli.store.journal import StepRecord, StepState

if TYPE_CHECKING:
    from miroir_cli.migration.work import Work
    from miroir_cli.model import Index, NodeName, ShardId
    from miroir_cli.node.client import NodeClient

FLUSH_EVERY: Final = 30.0
"""Seconds between two rounds while shards still move: one deletion of many shards costs little more than one of one."""

RETRY_FIRST: Final = 0.2
RETRY_LONGEST: Final = 5.0


@dataclass(kw_only=True)
class Forgetting:
    """The replicas of a run that left and whose documents are still on their nodes."""

    work: Work
    every: float = FLUSH_EVERY
    waiting: dict[tuple[str, NodeName], list[tuple[Index, StepRecord]]] = field(default_factory=dict)
    left: dict[NodeName, str] = field(default_factory=dict)
    """Nodes on which something had to be left, with the reason."""
    _flushed: float = field(default_factory=time.monotonic)

    def add(self, index: Index, step: StepRecord) -> None:
        assert step.leaving is not None
        self.waiting.setdefault((index.uid, step.leaving), []).append((index, step))

    async def flush_sometimes(self) -> None:
        """Delete what has gathered, if the last time is a while ago. Nodes that are emptied wait until the end, when
        an index can go there as a whole."""
        if time.monotonic() - self._flushed >= self.every:
            emptied = {node.name for node in self.work.cluster.topology.nodes if node.drained}
            await self.flush(keep=emptied)

    async def flush(self, *, keep: Collection[NodeName] = ()) -> None:
        """Delete everything that is waiting, on all nodes at once, but for the nodes `keep`."""
        await self.work.publish()
        batches = {key: steps for key, steps in self.waiting.items() if key[1] not in keep}
        self.waiting = {key: steps for key, steps in self.waiting.items() if key not in batches}
        self._flushed = time.monotonic()
        await together(self._forget(node, steps) for (_, node), steps in batches.items())

    async def _forget(self, node: NodeName, steps: list[tuple[Index, StepRecord]]) -> None:
        index = steps[0][0]
        try:
            await forget_shards(
                self.work,
                index,
                node,
                sorted(step.shard for _, step in steps),
                waits=lambda why: self.work.note(steps[0][1], detail=why),
            )
        except IndexNotFound:
            pass  # deleted with everything in it
        except MiroirError as error:
            self.left[node] = error.message
            for _, step in steps:
                await self.work.note(step, error=error.message)
            return
        for _, step in steps:
            await self.work.note(step, state=StepState.DONE, error=None)


async def forget_shards(
    work: Work, index: Index, node: NodeName, shards: Sequence[ShardId], *, waits: Told = unheard
) -> None:
    """Delete the documents of replicas that left from their node, and the index when nothing of it is left there, once
    nobody answers from a memory in which they serve. `waits` is told when that takes a while.

    A node that the topology no longer names is not asked. Raises the node's error when it does not do it.
    """
    if node in work.cluster.fleet:
        await until_aware(work, waits=waits)
        await _delete(work, index, node, shards)
    await work.cluster.store.forget(index, node, shards)


async def _delete(work: Work, index: Index, node: NodeName, shards: Sequence[ShardId]) -> None:
    """Have the deletion stored; a request without an answer is followed by another one under a new nonce.

    A replica that did not serve until it left may still get a late page of a mover that died, or a late write, behind
    the deletion: its node is fenced first.
    """
    pause, deadline = RETRY_FIRST, time.monotonic() + work.retry_for
    while True:
        attempt = Attempt(cluster=work.cluster, index=index, client=work.cluster.fleet[node], nonce=new_nonce())
        gone = await work.cluster.store.begin_forgetting(index, node, shards, nonce=attempt.nonce)
        try:
            if not await work.cluster.store.served_until_they_left(index, node, gone):
                for shard in gone:
                    await work.fences.pass_(index, shard, node)
            if not gone or await _drop_index(work, index, attempt):
                return
            await attempt.delete_shards(gone)
            await work.unless_stopped(attempt.wait(timeout=work.retry_for * 10))
            return
        except Stopped:
            raise NodeUnavailable(f"node `{node}` has not got to it yet", node=node, sent=True) from None
        except Spoilt as spoilt:
            if spoilt.doubtful:
                work.fences.doubt(node)
            else:
                await _mend_settings(work, index, node)
            trouble: MiroirError = NodeUnavailable(spoilt.reason, node=node, sent=True)
        except NodeUnavailable as error:
            trouble = error
        if time.monotonic() + pause > deadline or work.stop.is_set():
            raise trouble
        await asyncio.sleep(pause)
        pause = min(pause * 2, RETRY_LONGEST)


async def _mend_settings(work: Work, index: Index, node: NodeName) -> None:
    """On a disk that was emptied an index may have come into being by a write alone: nothing can be deleted by shard
    before it has its settings."""
    with suppress(MiroirError):
        await work.unless_stopped(prepare_index(work.cluster, index, work.cluster.fleet[node]))


async def _drop_index(work: Work, index: Index, attempt: Attempt) -> bool:
    """Delete the whole index where nothing stays of it, which costs the node next to nothing; whether it is gone.

    Documents there that are in none of the shards stay: somebody has written them past the cluster. Whoever brings the
    index to the node again waits for the deletion to end (`prepare_index`).
    """
    cluster, client = work.cluster, attempt.client
    try:
        documents = (await client.stats(index.stored_as))["numberOfDocuments"]
        async with cluster.locks.order(index.uid):
            map = await cluster.current(index)
            here = [replica for replica in map.replicas if replica.node == client.name]
            if any(replica.state is not ReplicaState.LEAVING for replica in here):
                return False
            if documents and documents != await _count(client, index, [replica.shard for replica in here]):
                return False
            await attempt.drop_index()
    except NodeRefusal as error:
        if error.status != 404:
            raise
        return True  # an emptied disk has no such index
    await work.unless_stopped(attempt.wait(timeout=work.retry_for * 10))
    return True


async def _count(client: NodeClient, index: Index, shards: Sequence[ShardId]) -> int:
    """Documents of these shards on a node; 0 when it cannot tell them apart."""
    try:
        found = await client.fetch_documents(index.stored_as, {"filter": shard_filter(shards), "limit": 0})
    except NodeRefusal:
        return 0
    return int(found["total"])
