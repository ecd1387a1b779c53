"""What the state store keeps and the protocol that every backend speaks.

The store is the one place where a cluster's truth is written before it acts: which replicas are in sync, which
writes were begun, in which order, and how they ended. Decisions that must see a consistent state are handed in as
pure functions and run inside the store's transaction (`close_intent`, `settle_intents`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from miroir_cli.model import (
    Index,
    IndexMap,
    Intent,
    IntentState,
    Json,
    NodeName,
    Piece,
    Replica,
    ReplicaState,
    ShardId,
    WriteKind,
)
from miroir_cli.store.journal import (
    RunKind,
)

if TYPE_CHECKING:
    from miroir_cli.store.journal import (
        Changes,
        Mover,
        RunId,
        RunRecord,
        RunState,
        StepEvent,
        StepRecord,
        Wanted,
    )

InSync = Mapping[ShardId, frozenset[NodeName]]
"""For each shard of an index the nodes that are in sync at this moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterRecord:
    """The cluster as this store founded it; `id` tells it from another of the same name."""

    name: str
    id: str
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A node as it was last known: `top_task` is the highest task uid that its disk has shown."""

    name: NodeName
    url: str
    top_task: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How one intent ends, decided inside the transaction that records it.

    `pieces`: the tasks of each node that accepted it. `stale`: replicas that missed it. `refused` / `failed`: shards
    on which nothing was stored.
    """

    n: int
    state: IntentState
    pieces: Mapping[NodeName, tuple[Piece, ...]] = field(default_factory=dict)
    stale: Mapping[NodeName, frozenset[ShardId]] = field(default_factory=dict)
    refused: frozenset[ShardId] = frozenset()
    failed: frozenset[ShardId] = frozenset()
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """What a transaction changed: replicas marked stale by it, and the epoch after it."""

    epoch: int
    stale: Mapping[NodeName, frozenset[ShardId]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """An index on one node, as far as its tasks were looked at.

    `base`: first task uid that counts. `looked`: every task of the index up to this uid was final and accounted for.
    """

    node: NodeName
    base: int
    looked: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A consistent reading of what is not settled yet: intents above `settled`, in their order."""

    incarnation: int
    settled: int
    newest: int
    intents: tuple[Intent, ...]
    in_sync: InSync
    lanes: Mapping[NodeName, Lane]
    known: Mapping[NodeName, frozenset[int]]
    """Task uids above each lane's `looked` that are accounted for."""
    movers: Mapping[str, Mover] = field(default_factory=dict)
    """The attempts of moves of the index by their nonces."""
    bases: Mapping[tuple[NodeName, ShardId], int] = field(default_factory=dict)
    """For replicas that were moved: the first task uid of their node that is not the move's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What one look at the nodes decides: intents that end now, in order; tasks that nobody recorded; how far the
    look was complete.

    `foreign` gives for each node the task uids found and the shards they may have changed (None: any).
    """

    verdicts: Sequence[Verdict] = ()
    foreign: Mapping[NodeName, Mapping[int, frozenset[ShardId] | None]] = field(default_factory=dict)
    looked: Mapping[NodeName, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Creation:
    """An index whose creation has begun and not ended: where it may have been created.

    `nodes` maps each node to its highest task uid at the moment it was seen not to have the index.
    """

    index: Index
    nodes: Mapping[NodeName, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """An index whose deletion has begun and not ended: it serves nobody, and these nodes may still have some of it."""

    index: Index
    nodes: tuple[NodeName, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRecord:
    """One run of an import: the sources it reads, the options that shape its batches, and how far it came."""

    id: int
    uid: str
    incarnation: int
    fingerprint: Json
    options: Json
    state: str
    started_at: int
    finished_at: int | None = None
    summary: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRecord:
    """One batch of an import: where it was cut from, and the intents that carried it.

    `start` and `end` are positions in the decoded source as its format counts them (bytes or records). `intents`
    maps each intent number to the shards that it carried.
    """

    import_id: int
    number: int
    source: int
    start: int
    end: int
    first_line: int
    last_line: int
    documents: int
    rejected: int
    intents: Mapping[int, Sequence[ShardId]]
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuiltIndex:
    """An index as a new store begins with it: `newest` is the highest number that an intent of it has had.

    `tops` gives for each node that answered its highest task uid: whatever came before does not count.
    """

    index: Index
    replicas: tuple[Replica, ...]
    newest: int
    tops: Mapping[NodeName, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """A whole state, put together from what the nodes know. `deleted`: the last incarnation of each deleted index."""

    cluster: ClusterRecord
    members: tuple[Member, ...]
    indexes: tuple[RebuiltIndex, ...]
    deleted: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The state store as it was found by somebody who wants to replace it.

    `damage` says why it cannot be read. `cluster` is None when it is missing or nobody has written to it, `blank` is
    true as long as it knows no node and no index. `newest` gives for each index its incarnation and newest intent.
    """

    exists: bool = True
    damage: str | None = None
    cluster: ClusterRecord | None = None
    blank: bool = True
    newest: Mapping[str, tuple[int, int]] = field(default_factory=dict)


Judge = Callable[[Intent, InSync], Verdict]
KeysOf = Callable[[ShardId], Iterable[str]]
"""The primary keys that a write touches in a shard, as text."""
Settle = Callable[[Pending], Settlement]


class Store(Protocol):
    """Every backend's methods. All of them raise `StateUnavailable` when the store cannot be reached or written."""

    async def close(self) -> None: ...

    # the cluster and its nodes
    async def cluster(self) -> ClusterRecord | None: ...
    async def found(self, *, name: str) -> ClusterRecord: ...
    async def epoch(self) -> int: ...
    async def members(self) -> dict[NodeName, Member]: ...
    async def enrol(self, member: Member) -> None: ...
    async def rebuild(self, state: Rebuilt) -> None: ...

    # indexes
    async def indexes(self) -> tuple[Index, ...]: ...
    async def map(self, uid: str) -> IndexMap | None: ...
    async def begin_creation(self, index: Index, *, nodes: Mapping[NodeName, int]) -> Index: ...
    async def creation(self, uid: str) -> Creation | None: ...
    async def finish_creation(
        self, index: Index, *, placement: Mapping[ShardId, frozenset[NodeName]], bases: Mapping[NodeName, int]
    ) -> IndexMap: ...
    async def begin_deletion(self, index: Index) -> None: ...
    async def deletion(self, uid: str) -> Deletion | None: ...
    async def interrupted(self) -> dict[str, str]: ...
    async def forget_index(self, uid: str) -> None: ...
    async def set_replicas(self, uid: str, replicas: int) -> None: ...
    async def note_published(self, uid: str, epoch: int) -> None: ...
    async def unpublished(self, uid: str) -> bool: ...
    async def mark(
        self, uid: str, replicas: Mapping[NodeName, Iterable[ShardId]], *, state: ReplicaState
    ) -> Marked: ...

    # writes, in the order that all replicas get
    async def open_intent(
        self,
        index: Index,
        *,
        kind: WriteKind,
        documents: Mapping[ShardId, int | None],
        nonce: str,
        min_in_sync: int,
        owner: str,
        body: Json | None = None,
        batch: BatchRecord | None = None,
        keys: KeysOf | None = None,
    ) -> Intent: ...
    async def newest_intent(self, uid: str) -> Intent | None: ...
    async def intents(self, uid: str, numbers: Iterable[int]) -> dict[int, Intent]: ...
    async def close_intent(self, intent: Intent, judge: Judge) -> tuple[Intent, Marked]: ...
    async def pending(self, uid: str) -> Pending: ...
    async def settle_intents(self, uid: str, judge: Settle) -> tuple[tuple[Intent, ...], Marked]: ...

    # moves of replicas
    async def join(
        self, index: Index, shard: ShardId, node: NodeName, *, nonce: str, top: int
    ) -> tuple[int, ReplicaState | None]: ...
    async def switch(
        self,
        index: Index,
        shard: ShardId,
        node: NodeName,
        *,
        nonce: str,
        source: NodeName,
        leaving: NodeName | None,
        newest: int,
        base: int,
    ) -> Marked | None: ...
    async def leave(self, index: Index, shard: ShardId, node: NodeName, *, keep: int) -> bool: ...
    async def unjoin(self, index: Index, shard: ShardId, node: NodeName) -> None: ...
    async def served_until_they_left(self, index: Index, node: NodeName, shards: Iterable[ShardId]) -> bool: ...
    async def begin_forgetting(
        self, index: Index, node: NodeName, shards: Iterable[ShardId], *, nonce: str
    ) -> tuple[ShardId, ...]: ...
    async def forget(self, index: Index, node: NodeName, shards: Iterable[ShardId]) -> None: ...
    async def promote(self, index: Index, shard: ShardId, node: NodeName, *, top: int) -> None: ...
    async def changes(self, uid: str, shard: ShardId, *, above: int, most: int | None = None) -> Changes:
        """What was written to a shard above a cut, read in pages; no further once there are more keys than `most`."""
        ...

    async def account(self, uid: str, node: NodeName, tasks: Iterable[int]) -> None: ...
    async def accounted(self, uid: str, node: NodeName, *, above: int) -> frozenset[int]: ...
    async def was_addressed(self, uid: str, node: NodeName) -> bool: ...
    async def expel(self, node: NodeName) -> None: ...

    # runs
    async def begin_run(self, run: RunRecord, steps: Sequence[StepRecord]) -> RunRecord: ...
    async def adopt_run(self, id: RunId, *, pid: int, command: str) -> RunRecord: ...
    async def run(self, id: RunId) -> RunRecord | None: ...
    async def runs(self, *, limit: int = 20) -> tuple[RunRecord, ...]: ...
    async def unfinished_run(self, kind: RunKind = RunKind.REBALANCE) -> RunRecord | None: ...
    async def control_run(
        self,
        id: RunId,
        *,
        command: str,
        wanted: Wanted | None = None,
        rate: int | None = None,
        parallel: int | None = None,
    ) -> None: ...
    async def save_run(self, id: RunId, *, state: RunState, summary: Json | None = None) -> None: ...
    async def steps(self, id: RunId) -> tuple[StepRecord, ...]: ...
    async def save_step(self, id: RunId, step: StepRecord, *, detail: str = "") -> None: ...
    async def switching(self, uid: str) -> tuple[int, ...]: ...
    async def events(self, id: RunId) -> tuple[StepEvent, ...]: ...

    # imports
    async def begin_import(self, *, uid: str, incarnation: int, fingerprint: Json, options: Json) -> ImportRecord: ...
    async def unfinished_imports(self, uid: str | None = None) -> tuple[ImportRecord, ...]: ...
    async def finish_import(self, id: int, *, state: str, summary: Json) -> None: ...
    async def save_batch(self, batch: BatchRecord) -> None: ...
    async def batches(self, import_id: int) -> tuple[BatchRecord, ...]: ...


class Replacement(Protocol):
    """Putting a whole new store in the place of a lost one, in steps of which each leaves the old or the new one."""

    async def inspect(self) -> Found: ...
    async def build(self, state: Rebuilt) -> None: ...
    async def set_aside(self) -> Path | None: ...
    async def take_place(self) -> None: ...
