"""What the state store keeps, as values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from miroir_cli.model import (
    Index,
    IndexMap,
    IndexUid,
    Intent,
    IntentState,
    Json,
    NodeName,
    Piece,
    Replica,
    ShardId,
    StoredUid,
)

if TYPE_CHECKING:
    from miroir_cli.store.aliases import Alias
    from miroir_cli.store.journal import (
        Mover,
    )

InSync = Mapping[ShardId, frozenset[NodeName]]
"""For each shard of an index the nodes that are in sync at this moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterRecord:
    """The cluster as this store founded it; `id` tells it from another of the same name. `renamed`: the epoch at which
    an index got another name last, or an alias came to stand for another one."""

    name: str
    id: str
    epoch: int
    renamed: int = 0


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
    aliases: tuple[Alias, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Renaming:
    """New names of indexes, given in one step: the two of a pair change places, or the first gets the second, which no
    index has. A name stands in one pair only. `indexes`: those that exist, by their names, as who asks knows them.
    """

    pairs: tuple[tuple[IndexUid, IndexUid], ...]
    indexes: Mapping[IndexUid, Index]

    @property
    def moves(self) -> tuple[tuple[IndexUid, IndexUid], ...]:
        """The pairs of which the first name stands for nothing any more."""
        return tuple(pair for pair in self.pairs if pair[1] not in self.indexes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Copies:
    """Everything that nodes keep of the state, as of one moment. `deleted`: names that stand for nothing any more."""

    cluster: ClusterRecord
    maps: tuple[IndexMap, ...]
    deleted: tuple[Index, ...]
    aliases: tuple[Alias, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Newest:
    """The number `n` of the newest intent of an index."""

    uid: IndexUid
    stored_as: StoredUid
    incarnation: int
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The state store as it was found by somebody who wants to replace it.

    `damage` says why it cannot be read. `cluster` is None when it is missing or nobody has written to it, `blank` is
    true as long as it knows no node and no index. `newest`: how far each index is. `called`: what it is, in messages.
    """

    exists: bool = True
    damage: str | None = None
    cluster: ClusterRecord | None = None
    blank: bool = True
    newest: tuple[Newest, ...] = ()
    called: str = "state file"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """An API key of the clients, without its value: that follows from `uid` and the master key.

    Times are texts as Meilisearch writes them (RFC 3339). `deleted`: nobody may use it any more; it is kept so that
    it is also deleted on nodes that did not answer at that moment.
    """

    uid: str
    name: str | None
    description: str | None
    actions: tuple[str, ...]
    indexes: tuple[str, ...]
    expires_at: str | None
    created_at: str
    updated_at: str
    deleted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an index is: what was read at one moment is as new as every write up to `settled`."""

    epoch: int
    incarnation: int
    settled: int


Judge = Callable[[Intent, InSync], Verdict]
KeysOf = Callable[[ShardId], Iterable[str]]
"""The primary keys that a write touches in a shard, as text."""
Settle = Callable[[Pending], Settlement]
