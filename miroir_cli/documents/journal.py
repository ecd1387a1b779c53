"""An import's memory in the state store: what it reads, which batches went out, and what became of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from miroir_cli.documents.batches import Cut, Span
from miroir_cli.errors import SourceInvalid
from miroir_cli.model import Intent, IntentState, Json, ShardId
from miroir_cli.replication.recover import recover
from miroir_cli.store.records import BatchRecord, ImportRecord

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.model import Index

SENDING, DONE, FAILED = "sending", "done", "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """What an earlier run left of a batch.

    `missing`: shards that no node took, to be sent again. `waiting`: writes that are in queues. `failed`: shards that
    nodes took and failed to apply, with a node's reason.
    """

    batch: BatchRecord
    missing: frozenset[ShardId] = frozenset()
    waiting: Mapping[int, frozenset[ShardId]] = field(default_factory=dict)
    failed: Mapping[ShardId, str] = field(default_factory=dict)


def judge_leftover(batch: BatchRecord, intents: Mapping[int, Intent]) -> Leftover:
    """What is left of a batch, from its recorded writes. Pure.

    A write that the store no longer knows counts as not sent: sending a document again changes nothing.
    """
    missing = {ShardId(shard) for shards in batch.intents.values() for shard in shards}
    waiting: dict[int, frozenset[ShardId]] = {}
    failed: dict[ShardId, str] = {}
    for n, shards in batch.intents.items():
        intent = intents.get(n)
        if intent is None or intent.state in (IntentState.ABORTED, IntentState.OPEN):
            continue
        taken = frozenset(map(ShardId, shards)) - intent.refused
        missing -= taken
        if intent.state is IntentState.SENT:
            waiting[n] = taken
        lost = taken if intent.state is IntentState.FAILED else taken & intent.failed
        failed |= dict.fromkeys(lost, intent.error or "the nodes failed to apply it")
    return Leftover(batch=batch, missing=frozenset(missing), waiting=waiting, failed=failed)


def span_of(batch: BatchRecord) -> Span:
    """Where a recorded batch was cut from."""
    return Span(
        source=batch.source,
        start=batch.start,
        end=batch.end,
        first_line=batch.first_line,
        last_line=batch.last_line,
    )


class Journal:
    """The record of one import. `batches`, once loaded, are those of earlier runs in order; none for a new import."""

    def __init__(self, cluster: Cluster, index: Index, record: ImportRecord, *, resumable: bool) -> None:
        self._cluster = cluster
        self._index = index
        self.record = record
        self.resumable = resumable
        self.batches: Sequence[BatchRecord] = ()
        self._next = 1

    @property
    def resumed(self) -> bool:
        return bool(self.batches)

    @classmethod
    async def open(
        cls,
        cluster: Cluster,
        index: Index,
        *,
        fingerprint: Sequence[Json],
        options: Json,
        resumable: bool,
        restart: bool,
    ) -> Journal:
        """Continue the unfinished import of the same sources with the same options, or begin one.

        Raises SourceInvalid when a source is not what it was.
        """
        for record in await cluster.store.unfinished_imports(index.uid):
            if record.incarnation != index.incarnation or _names(record.fingerprint["sources"]) != _names(fingerprint):
                continue
            if resumable and not restart and record.options == options:
                _compare(record.fingerprint["sources"], fingerprint)
                return cls(cluster, index, record, resumable=resumable)
            await cluster.store.finish_import(record.id, state="abandoned", summary={})
        begun = await cluster.store.begin_import(
            uid=index.uid, incarnation=index.incarnation, fingerprint={"sources": list(fingerprint)}, options=options
        )
        return cls(cluster, index, begun, resumable=resumable)

    async def load(self) -> None:
        """Read what earlier runs did, after ending the write that the last one may have died in."""
        self.batches = await self._cluster.store.batches(self.record.id)
        if self.batches:
            self._next = self.batches[-1].number + 1
            async with self._cluster.locks.order(self._index.uid):
                await recover(self._cluster, self._index)

    async def leftovers(self) -> list[Leftover]:
        """The batches of earlier runs that have not ended, in order."""
        open_batches = [batch for batch in self.batches if batch.state == SENDING]
        numbers = [n for batch in open_batches for n in batch.intents]
        intents = await self._cluster.store.intents(self.record.uid, numbers) if numbers else {}
        return [judge_leftover(batch, intents) for batch in open_batches]

    def new_batch(self, cut: Cut) -> BatchRecord:
        """The record of a batch that was just cut; it is stored with the write that carries it."""
        span = cut.span
        batch = BatchRecord(
            import_id=self.record.id,
            number=self._next,
            source=span.source,
            start=span.start,
            end=span.end,
            first_line=span.first_line,
            last_line=span.last_line,
            documents=cut.batch.documents,
            rejected=len(cut.batch.rejects),
            intents={},
            state=SENDING,
        )
        self._next += 1
        return batch

    async def save(self, batch: BatchRecord, *, state: str, not_stored: int = 0) -> BatchRecord:
        """Record how a batch ended; `not_stored` of its documents count as rejected from now on."""
        ended = replace(
            batch,
            state=state,
            documents=batch.documents - not_stored,
            rejected=batch.rejected + not_stored,
        )
        await self._cluster.store.save_batch(ended)
        return ended

    async def finish(self, summary: Json, *, state: str = "done") -> None:
        await self._cluster.store.finish_import(self.record.id, state=state, summary=summary)


def _names(fingerprint: Sequence[Json]) -> list[object]:
    return [source["name"] for source in fingerprint]


def _compare(before: Sequence[Json], now: Sequence[Json]) -> None:
    for old, new in zip(before, now, strict=True):
        if old != new:
            raise SourceInvalid(
                f"`{new['name']}` has changed since its import was interrupted: it was {_shown(old)}, "
                f"now it is {_shown(new)}",
                hint="`--restart` imports it from the beginning",
            )


def _shown(source: Json) -> str:
    return f"{source['size']} bytes with hash {source['hash']}"
