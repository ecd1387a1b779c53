"""`import_documents`: from files to every in-sync replica, so that it can be killed at any moment and run again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from miroir_cli.documents.batches import Cutter
from miroir_cli.documents.formats import BLOCK
from miroir_cli.documents.importing import Import, ImportProgress
from miroir_cli.documents.journal import Journal
from miroir_cli.documents.route import Router
from miroir_cli.documents.sources import Input, find_inputs
from miroir_cli.errors import Interrupted, MiroirError, UsageError
from miroir_cli.model import ReplicaState
from miroir_cli.store.locks import import_file

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.documents.formats import Format
    from miroir_cli.model import Index, IndexMap, NodeName, ShardId


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """How to import. `update` merges fields into documents that exist; `retry_for` is in seconds."""

    update: bool = False
    primary_key: str | None = None
    format: Format | None = None
    delimiter: str | None = None
    rejects: Path | None = None
    batch_bytes: int | None = None
    retry_for: float = 60.0
    restart: bool = False

    def shaping(self) -> dict[str, object]:
        """Those that decide what is sent: with others it is another import."""
        return {"update": self.update, "format": self.format, "delimiter": self.delimiter}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportSummary:
    """What an import did, with what earlier interrupted runs of it did.

    `documents` are on every in-sync replica. `rejected` are not: bad lines, and documents that nodes failed to apply.
    `reasons` shows some of the rejected, `failures` says which batches failed.
    """

    index: str
    documents: int
    rejected: int
    batches: int
    seconds: float
    resumed: bool
    stale: Mapping[NodeName, Sequence[ShardId]] = field(default_factory=dict)
    reasons: Sequence[str] = ()
    failures: Sequence[str] = ()

    def json(self) -> dict[str, object]:
        """The contract with scripts."""
        summary: dict[str, object] = {
            "index": self.index,
            "documents": self.documents,
            "rejected": self.rejected,
            "batches": self.batches,
            "seconds": round(self.seconds, 3),
            "resumed": self.resumed,
        }
        if self.stale:
            summary["stale"] = {node: list(shards) for node, shards in self.stale.items()}
        return summary


async def import_documents(
    cluster: Cluster,
    uid: str,
    sources: Sequence[str | Input],
    *,
    options: ImportOptions,
    report: Callable[[ImportProgress], None] = lambda progress: None,
) -> ImportSummary:
    """Import files, globs, `-` or inputs found already, and wait until every in-sync replica has all of it.

    An interruption finishes the batch in hand and raises `Interrupted`; a failure that may pass raises its
    TemporaryError. In both cases the same call goes on where this one stopped.
    """
    started = time.monotonic()
    index = (await cluster.reload(uid)).index
    cutter = await open_cutter(index, sources, options)
    try:
        fingerprint = await asyncio.to_thread(lambda: [source.fingerprint() for source in cutter.inputs])
        journal = await Journal.open(
            cluster,
            index,
            fingerprint=fingerprint,
            options=options.shaping(),
            resumable=all(source.rereadable for source in cutter.inputs),
            restart=options.restart,
        )
        async with cluster.locks.once(import_file(uid, journal.record.id)):
            await journal.load()
            run = Import(
                cluster,
                index,
                journal,
                cutter,
                update=options.update,
                retry_for=options.retry_for,
                batch_bytes=options.batch_bytes,
                rejects=options.rejects,
                report=report,
            )
            await _to_the_end(run)
            summary = _summary(run, await cluster.reload(uid), seconds=time.monotonic() - started)
            await journal.finish(summary.json())
            return summary
    finally:
        await asyncio.to_thread(cutter.close)


async def open_cutter(index: Index, sources: Sequence[str | Input], options: ImportOptions) -> Cutter:
    """The sources of an import, found, readable and of a known format, ready to be cut for an index."""
    if options.primary_key not in (None, index.primary_key):
        raise UsageError(f"index `{index.uid}` has the primary key `{index.primary_key}`, not `{options.primary_key}`")
    found = [source for source in sources if isinstance(source, Input)]
    named = [source for source in sources if isinstance(source, str)]
    inputs = [*found, *await asyncio.to_thread(find_inputs, named)]
    block = min(BLOCK, options.batch_bytes or BLOCK)
    cutter = Cutter(inputs, router_for(index), format=options.format, delimiter=options.delimiter, block=block)
    try:
        await asyncio.to_thread(cutter.check)
    except BaseException:
        cutter.abandon()
        raise
    return cutter


def router_for(index: Index) -> Router:
    """The router of an index, knowing from its settings what its nodes check."""
    settings = index.settings
    filterable = settings.get("filterableAttributes") or ()
    sortable = settings.get("sortableAttributes") or ()
    embedders = settings.get("embedders") or {}
    return Router(
        primary_key=index.primary_key,
        shards=index.shards,
        geo="_geo" in filterable or "_geo" in sortable,
        embedders={name: (embedder or {}).get("dimensions") for name, embedder in embedders.items()},
    )


async def _to_the_end(run: Import) -> None:
    """Run an import; when cancelled let it finish the batch in hand, and say how far it came."""
    work = asyncio.create_task(run.run())
    try:
        await asyncio.shield(work)
    except asyncio.CancelledError:
        await run.stop()
        await asyncio.wait([work])
        error = work.exception()
        if isinstance(error, MiroirError):
            raise error from None
        hint = "run the same command again: it goes on from there"
        if not run.journal.resumable:
            await run.journal.finish({}, state="abandoned")
            once = next(source.name for source in run.cutter.inputs if not source.rereadable)
            hint = f"{once} cannot be resumed: send all of it again, what is stored is only overwritten"
        raise Interrupted(
            f"interrupted: {run.sent:,} documents were sent, {run.indexed:,} of them are stored so far", hint=hint
        ) from None


def _summary(run: Import, found: IndexMap, *, seconds: float) -> ImportSummary:
    batches = run.ended.values()
    stale = {node: set(shards) for node, shards in run.sender.stale.items()}
    for replica in found.replicas:  # also those that another process found to have missed a write
        if replica.state in (ReplicaState.STALE, ReplicaState.LOST):
            stale.setdefault(replica.node, set()).add(replica.shard)
    return ImportSummary(
        index=run.index.uid,
        documents=sum(batch.documents for batch in batches),
        rejected=sum(batch.rejected for batch in batches),
        batches=len(batches),
        seconds=seconds,
        resumed=run.journal.resumed,
        stale={node: tuple(sorted(shards)) for node, shards in sorted(stale.items())},
        reasons=tuple(run.rejects.first),
        failures=tuple(run.failed),
    )
