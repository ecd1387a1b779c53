"""Sending one batch: as one write, again while nodes are busy or away, in halves when they find it too large."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_delay, wait_random_exponential

from miroir_cli.documents.outstanding import InQueue, Outstanding
from miroir_cli.errors import MiroirError, NodeRefusal, ShardUnavailable
from miroir_cli.model import Index, NodeName, ShardId, WriteKind, shards_named
from miroir_cli.replication.write import Outgoing, Written, write

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.documents.batches import Sizing
    from miroir_cli.documents.route import Batch, Router
    from miroir_cli.store.records import BatchRecord

_backoff = wait_random_exponential(multiplier=0.2, max=10)


class _Away(Exception):
    """Some shards were not taken by any node for now."""

    def __init__(self, written: Written) -> None:
        super().__init__(written.reason)
        self.written = written


def _pause(state: RetryCallState) -> float:
    """Seconds until the next attempt: growing and random, and at least what the node asked for."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.written.retry_after if isinstance(error, _Away) else None
    return max(_backoff(state), asked or 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedDocument:
    """A single document that every node refuses."""

    shard: ShardId
    line: bytes
    reason: str


@dataclass(slots=True, kw_only=True)
class Sender:
    """Sends batches of one import and notes what is in the queues and which replicas missed something."""

    cluster: Cluster
    index: Index
    router: Router
    sizing: Sizing
    outstanding: Outstanding
    update: bool = False
    retry_for: float = 60.0
    stale: dict[NodeName, set[ShardId]] = field(default_factory=dict)

    async def send(
        self, record: BatchRecord, batch: Batch, shards: frozenset[ShardId]
    ) -> tuple[BatchRecord, list[RefusedDocument]]:
        """Have these shards of a batch taken by nodes. Returns the record with the writes that carry them.

        Raises `ShardUnavailable` when the replicas of a shard stay away, and what `write` raises.
        """
        refused: list[RefusedDocument] = []
        attempts = AsyncRetrying(
            retry=retry_if_exception_type(_Away),
            wait=_pause,
            stop=stop_after_delay(self.retry_for),
            reraise=True,
        )
        try:
            async for attempt in attempts:
                with attempt:
                    record, written = await self._write(record, batch, shards)
                    shards = written.refused
                    if shards and written.temporary:
                        raise _Away(written)
                    if shards:
                        record, refused = await self._send_halves(record, batch, written)
        except _Away as away:
            named = shards_named(away.written.refused)
            raise ShardUnavailable(
                f"no node took the documents of {named} within {self.retry_for:g} s: {away.written.reason}",
                hint="see `miroir status`, then run the same command again: it goes on from there",
            ) from away.written.error
        return record, refused

    async def _write(
        self, record: BatchRecord, batch: Batch, shards: frozenset[ShardId]
    ) -> tuple[BatchRecord, Written]:
        distinct = batch.distinct()
        written = await write(
            self.cluster,
            self.index,
            Outgoing(
                kind=WriteKind.UPDATE if self.update else WriteKind.ADD,
                method="PUT" if self.update else "POST",
                documents={shard: distinct[shard] for shard in shards},
                payload=batch.payload,
                batch=record,
                keys=lambda shard: self.router.keys(batch, shard),
            ),
        )
        self.missed(written.stale)
        taken = shards - written.refused
        if taken:
            await self.outstanding.add(
                written.n,
                InQueue(
                    batch=record.number,
                    shards=taken,
                    documents={shard: batch.counts[shard] for shard in taken},
                    sizes=written.bytes_sent,
                ),
            )
        return replace(record, intents={**record.intents, written.n: tuple(sorted(shards))}), written

    async def _send_halves(
        self, record: BatchRecord, batch: Batch, written: Written
    ) -> tuple[BatchRecord, list[RefusedDocument]]:
        """Send what all nodes refused in two pieces; a piece of one document cannot be helped."""
        if not _is_about_content(written):
            raise written.error or MiroirError(f"the nodes refused a batch: {written.reason}")
        if written.too_large:
            self.sizing.too_large()
        if sum(batch.counts[shard] for shard in written.refused) == 1:
            ((shard, line),) = [(shard, line) for shard in written.refused for line in batch.lines(shard)]
            return record, [RefusedDocument(shard=shard, line=line, reason=written.reason or "refused")]
        refused: list[RefusedDocument] = []
        for half in self.router.halves(batch, written.refused):
            record, more = await self.send(record, half, frozenset(half.distinct()))
            refused += more
        return record, refused

    def missed(self, stale: Mapping[NodeName, frozenset[ShardId]]) -> None:
        """Note replicas that left the in-sync set."""
        for node, shards in stale.items():
            self.stale.setdefault(node, set()).update(shards)


def _is_about_content(written: Written) -> bool:
    error = written.error
    return written.too_large or (isinstance(error, NodeRefusal) and error.node_code == "malformed_payload")
