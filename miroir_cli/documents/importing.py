"""One import as it runs: batches go out one after the other, and beside that their outcomes are learned.

Every batch is one recorded write (or several, when nodes take it in pieces). Batches keep the order of the sources and
pile up in the nodes' queues, up to a limit, so that the nodes never wait for this process.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from miroir_cli.documents.batches import Cut, Cutter, Sizing
from miroir_cli.documents.failures import Failure, describe, find_failed
from miroir_cli.documents.formats import Place
from miroir_cli.documents.journal import DONE, FAILED, SENDING, Journal, Leftover, span_of
from miroir_cli.documents.outstanding import InQueue, Outstanding
from miroir_cli.documents.rejects import RejectsFile
from miroir_cli.documents.sending import RefusedDocument, Sender
from miroir_cli.errors import NodeUnavailable
from miroir_cli.model import Index, IntentState, NodeName, ShardId
from miroir_cli.replication.settle import Settled, settle

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.model import Intent
    from miroir_cli.replication.settle import IntentOutcome
    from miroir_cli.store.records import BatchRecord

WAY_LIMIT: Final = 5.0
"""Seconds for which a batch waits at most because a shard is about to change hands."""

POLL_FIRST: Final = 0.05
POLL_LONGEST: Final = 1.0
POLL_SHARE: Final = 0.02
"""Seconds between two looks at the nodes' queues: a look costs them and us some milliseconds, and the end of an import
is noticed late by no more than a fiftieth of the time that it took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportProgress:
    """How far an import is. `total` is None when a source's size cannot be known; bytes are as stored."""

    sent: int = 0
    indexed: int = 0
    rejected: int = 0
    read: int = 0
    total: int | None = None
    stale: Mapping[NodeName, frozenset[ShardId]] = field(default_factory=dict)


class Import:
    """One import. After `run`, `ended` holds its batches, those of earlier runs included."""

    def __init__(
        self,
        cluster: Cluster,
        index: Index,
        journal: Journal,
        cutter: Cutter,
        *,
        update: bool,
        retry_for: float,
        batch_bytes: int | None,
        rejects: Path | None,
        report: Callable[[ImportProgress], None],
    ) -> None:
        self.cluster = cluster
        self.index = index
        self.journal = journal
        self.cutter = cutter
        self.report = report
        self.sizing = Sizing(batch_bytes)
        self.outstanding = Outstanding()
        self.rejects = RejectsFile(rejects, [source.name for source in cutter.inputs])
        self.sender = Sender(
            cluster=cluster,
            index=index,
            router=cutter.router,
            sizing=self.sizing,
            outstanding=self.outstanding,
            update=update,
            retry_for=retry_for,
        )
        self.sent = self.indexed = self.rejected = 0
        self.ended: dict[int, BatchRecord] = {}
        self.failed: list[str] = []
        self._failures: dict[int, list[Failure]] = {}
        self._taken: dict[int, BatchRecord] = {}
        self._stopping = False

    async def stop(self) -> None:
        """Send nothing after the batch in hand."""
        self._stopping = True
        self.cutter.abandon()
        await self.outstanding.close()

    async def run(self) -> None:
        """Send everything and see it through, or until `stop`."""
        batches = self.journal.batches
        point = (batches[-1].source, batches[-1].last_line) if batches else None
        await asyncio.to_thread(self.rejects.begin, point)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._settle_all())
                await self._resume()
                await self._send_all()
                await self.outstanding.close()
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        if not self._stopping:
            await self._name_failures()

    # Sending

    async def _resume(self) -> None:
        """Finish what earlier runs began, and continue behind it."""
        for batch in self.journal.batches:
            self.sent += batch.documents
            self.rejected += batch.rejected
            if batch.state != SENDING:
                self.indexed += batch.documents
                self.ended[batch.number] = batch
        for leftover in await self.journal.leftovers():
            await self._finish_leftover(leftover)
        if self.journal.batches:
            last = self.journal.batches[-1]
            self.cutter.go_to(last.source, Place(position=last.end, line=last.last_line + 1))

    async def _finish_leftover(self, leftover: Leftover) -> None:
        record = leftover.batch
        for n, shards in leftover.waiting.items():
            await self.outstanding.add(n, InQueue(batch=record.number, shards=shards))
        refused: list[RefusedDocument] = []
        if leftover.missing or leftover.failed:
            batch = await asyncio.to_thread(self.cutter.cut_again, span_of(record))
            for shard, reason in leftover.failed.items():
                self._fail(record.number, {shard: batch.counts[shard]}, reason)
            if leftover.missing:
                record, refused = await self.sender.send(record, batch, leftover.missing)
        await self._batch_taken(record, refused)

    async def _send_all(self) -> None:
        upcoming = self._cut_next()
        try:
            while (cut := await asyncio.shield(upcoming)) is not None and not self._stopping:
                upcoming = self._cut_next(small=await self._is_switching())
                await self._send(cut)
        finally:
            await asyncio.wait([upcoming])  # a thread cannot be stopped in the middle

    def _cut_next(self, *, small: bool = False) -> asyncio.Task[Cut | None]:
        size = self.sizing.smallest if small else self.sizing.size
        return asyncio.create_task(asyncio.to_thread(self.cutter.next, size))

    async def _send(self, cut: Cut) -> None:
        if not await self.outstanding.room():
            return
        await self._make_way()
        record = self.journal.new_batch(cut)
        refused: list[RefusedDocument] = []
        if cut.batch.rejects:
            await asyncio.to_thread(self.rejects.add, record.source, cut.batch.rejects)
            self.rejected += record.rejected
        if cut.batch.documents:
            began = time.monotonic()
            record, refused = await self.sender.send(record, cut.batch, frozenset(cut.batch.distinct()))
            self.sizing.took(time.monotonic() - began)
            self.sent += record.documents
        await self._batch_taken(record, refused)
        self._report()

    async def _make_way(self) -> None:
        """While a shard of the index is about to change hands, keep the queues empty: it waits for them."""
        deadline = time.monotonic() + WAY_LIMIT
        while self.outstanding.writes and time.monotonic() < deadline and not self._stopping:
            if not await self._is_switching():
                return
            await asyncio.sleep(POLL_FIRST)

    async def _is_switching(self) -> bool:
        for process in await self.cluster.store.switching(self.index.uid):
            if await self.cluster.locks.lives(process):
                return True
        return False

    async def _batch_taken(self, record: BatchRecord, refused: list[RefusedDocument]) -> None:
        """A batch is in the queues, but for the documents that no node takes."""
        for document in refused:
            failure = Failure(
                shards=frozenset((document.shard,)), documents=1, reason=document.reason, line=document.line
            )
            self._failures.setdefault(record.number, []).append(failure)
        self._taken[record.number] = record
        await self._end_batch(record.number)

    # Settling

    async def _settle_all(self) -> None:
        pause = POLL_FIRST
        started = moved = time.monotonic()
        while await self.outstanding.some() and not self._stopping:
            found = await settle(self.cluster, self.index)
            self.sender.missed(found.stale)
            ended = await self._ended(found)
            for outcome in ended:
                await self._write_ended(outcome)
            if ended:
                moved = time.monotonic()
                self._report()
            elif found.silent and time.monotonic() - moved > self.sender.retry_for:
                name, message = next(iter(found.silent.items()))
                hint = "the rest is in the queues: run the same command again when the node is back"
                raise NodeUnavailable(message, node=name, sent=True, hint=hint)
            longest = min(max(POLL_FIRST, POLL_SHARE * (time.monotonic() - started)), POLL_LONGEST)
            pause = min(pause * 1.5, longest)
            await asyncio.sleep(pause)

    async def _ended(self, found: Settled) -> list[IntentOutcome | Intent]:
        """The writes of this import that have ended, whoever settled them."""
        ended: dict[int, IntentOutcome | Intent] = {
            outcome.n: outcome for outcome in found.done if outcome.n in self.outstanding.writes
        }
        others = [n for n in self.outstanding.writes if n <= found.settled and n not in ended]
        if others:
            ended |= await self.cluster.store.intents(self.index.uid, others)
        return [ended[n] for n in sorted(ended)]

    async def _write_ended(self, outcome: IntentOutcome | Intent) -> None:
        write = await self.outstanding.remove(outcome.n)
        failed = write.shards if outcome.state is IntentState.FAILED else write.shards & outcome.failed
        if failed:
            counts = {shard: write.documents.get(shard, 0) for shard in failed}
            self._fail(write.batch, counts, outcome.error or "the nodes failed to apply it")
        self.indexed += sum(count for shard, count in write.documents.items() if shard not in failed)
        await self._end_batch(write.batch)

    def _fail(self, number: int, counts: Mapping[ShardId, int], reason: str) -> None:
        failure = Failure(shards=frozenset(counts), documents=sum(counts.values()), reason=reason)
        self._failures.setdefault(number, []).append(failure)

    async def _end_batch(self, number: int) -> None:
        """Record a batch as done once it was sent whole and none of its writes is left.

        One with failures is recorded when its documents have been named.
        """
        if number in self._failures or number not in self._taken or not self.outstanding.ends_batch(number):
            return
        self.ended[number] = await self.journal.save(self._taken.pop(number), state=DONE)

    async def _name_failures(self) -> None:
        """Say which documents were not stored, and put their lines with the rejects."""
        for number, failures in sorted(self._failures.items()):
            record = self._taken.pop(number)
            source = self.cutter.inputs[record.source]
            lost = 0
            for failure in failures:
                if source.rereadable:
                    lines = await asyncio.to_thread(find_failed, self.cutter, record, failure)
                    await asyncio.to_thread(self.rejects.add, record.source, lines)
                lost += failure.documents
                self.failed.append(describe(record, failure, name=source.name))
            self.ended[number] = await self.journal.save(record, state=FAILED, not_stored=lost)
            self.rejected += lost
        self._report()

    def _report(self) -> None:
        sizes = [source.size for source in self.cutter.inputs]
        self.report(
            ImportProgress(
                sent=self.sent,
                indexed=self.indexed,
                rejected=self.rejected,
                read=self.cutter.consumed,
                total=None if None in sizes else sum(size or 0 for size in sizes),
                stale={node: frozenset(shards) for node, shards in self.sender.stale.items()},
            )
        )
