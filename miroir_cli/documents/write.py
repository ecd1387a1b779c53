"""Deleting documents: by their ids, by a filter, or all of an index."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from miroir_cli.documents.refusals import KEY_TEXT
from miroir_cli.documents.route import shard_of
from miroir_cli.errors import NodeTaskFailed, ShardUnavailable, UsageError
from miroir_cli.model import Index, IntentState, NodeName, ShardId, WriteKind, shard_filter, shards_named
from miroir_cli.replication.settle import settle_until
from miroir_cli.replication.write import Outgoing, Written, write

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster

MOST_IDS = 50_000
"""Ids deleted by one write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteSummary:
    """What was asked to be deleted and is gone from every in-sync replica: `ids` of them, or what a filter matched."""

    index: str
    ids: int | None
    writes: int
    seconds: float
    stale: dict[NodeName, tuple[ShardId, ...]] = field(default_factory=dict)

    def json(self) -> dict[str, object]:
        """The contract with scripts."""
        summary: dict[str, object] = {"index": self.index}
        if self.ids is not None:
            summary["ids"] = self.ids
        summary |= {"writes": self.writes, "seconds": round(self.seconds, 3)}
        if self.stale:
            summary["stale"] = {node: list(shards) for node, shards in self.stale.items()}
        return summary


async def delete_documents(
    cluster: Cluster, uid: str, *, ids: Sequence[str] | None = None, filter: Sequence[Any] | None = None
) -> DeleteSummary:
    """Delete by ids, by a filter, or, with neither, everything; returns when it is stored.

    `filter` is a list of elements that must all hold, as Meilisearch's array form has it. Every node deletes only in
    the shards it has in sync.
    """
    started = time.monotonic()
    index = (await cluster.reload(uid)).index
    stale: dict[NodeName, set[ShardId]] = {}
    last = writes = 0
    for outgoing in _by_ids(index, ids) if ids is not None else (by_filter(index, filter),):
        written = await write(cluster, index, outgoing)
        raise_refused(written)
        writes, last = writes + 1, written.n
        for node, shards in written.stale.items():
            stale.setdefault(node, set()).update(shards)
    if writes:
        for n, outcome in (await settle_until(cluster, index, last)).items():
            if outcome.state is IntentState.FAILED or outcome.failed:
                raise NodeTaskFailed(f"write {n} of index `{uid}` failed on every replica: {outcome.error}")
    return DeleteSummary(
        index=uid,
        ids=len(ids) if ids is not None else None,
        writes=writes,
        seconds=time.monotonic() - started,
        stale={node: tuple(sorted(shards)) for node, shards in sorted(stale.items())},
    )


def _by_ids(index: Index, ids: Sequence[str]) -> Iterable[Outgoing]:
    for start in range(0, len(ids), MOST_IDS):
        by_shard: dict[ShardId, list[str]] = {}
        for id in ids[start : start + MOST_IDS]:
            if not KEY_TEXT.fullmatch(id):
                raise UsageError(f"`{id}` cannot be a document's id")
            by_shard.setdefault(shard_of(id, index.shards), []).append(id)
        yield of_ids(by_shard)


def of_ids(by_shard: Mapping[ShardId, Sequence[str]]) -> Outgoing:
    """The write that deletes these ids."""
    return Outgoing(
        kind=WriteKind.DELETE,
        path="documents/delete-batch",
        content_type="application/json",
        documents=dict.fromkeys(by_shard),
        payload=lambda shards: msgspec.json.encode([id for shard in sorted(shards) for id in by_shard[shard]]),
        keys=by_shard.__getitem__,
    )


def by_filter(index: Index, filter: Sequence[Any] | None) -> Outgoing:
    """The write that deletes what a filter finds, or everything, in the shards that each node has in sync."""
    elements = list(filter or ())

    def payload(shards: frozenset[ShardId]) -> bytes:
        return msgspec.json.encode({"filter": [shard_filter(sorted(shards)), *elements]})

    return Outgoing(
        kind=WriteKind.DELETE_BY_FILTER if filter is not None else WriteKind.CLEAR,
        path="documents/delete",
        content_type="application/json",
        documents=dict.fromkeys(map(ShardId, range(index.shards))),
        payload=payload,
    )


def raise_refused(written: Written, *, what: str = "the deletion") -> None:
    """Raise the reason when no node took a write for some shard."""
    if not written.refused:
        return
    if written.temporary or written.error is None:
        raise ShardUnavailable(
            f"no node took {what} for {shards_named(written.refused)}: {written.reason}",
            hint="see `miroir status`, then run the same command again",
        ) from written.error
    raise written.error
