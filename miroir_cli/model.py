"""The values that all rooms share: nodes, shards, replicas, indexes and what a reader or writer sees of them.

The words are those of the glossary in `docs/concepts/glossary.md`. Nothing here does I/O.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Any, NewType

NodeName = NewType("NodeName", str)
IndexUid = NewType("IndexUid", str)
StoredUid = NewType("StoredUid", str)
"""What an index is called on the nodes. It keeps that name for ever, whatever clients call it (`Index.stored_as`)."""
ShardId = NewType("ShardId", int)
Epoch = NewType("Epoch", int)

Json = Mapping[str, Any]

RESERVED_PREFIX = "_miroir_"
SHARD_FIELD = "_miroir_shard"
ABSENT_FIELD = "_miroir_none"
"""Filterable on every node, and in no document: `distinct` by it leaves every document."""

RESERVED_INDEX = StoredUid("_miroir")
MARKER = "cluster"
"""The document of that index which says whose disk it is on."""

SHARD_DIGITS = "§¶†‡•※"
"""Digits of the base-6 spelling of a shard number: punctuation, so that no search finds a word in it."""


_INDEX_NAMED = re.compile(r"(\b[Ii]ndex )`([A-Za-z0-9_-]+)`")
"""How a message of a node names an index."""


def spell_shard(shard: int) -> str:
    """The text stored in `_miroir_shard` for a shard number: base 6, most significant digit first."""
    digits = SHARD_DIGITS[shard % 6]
    while shard := shard // 6:
        digits = SHARD_DIGITS[shard % 6] + digits
    return digits


def read_shard(spelled: str) -> int:
    """The shard number behind such a text. Raises `ValueError` for another text."""
    number = 0
    for digit in spelled:
        number = number * 6 + SHARD_DIGITS.index(digit)
    return number


def shard_filter(shards: Iterable[int]) -> str:
    """The filter that finds the documents of these shards on a node, and no others."""
    return _shard_filter(tuple(shards))


@lru_cache(maxsize=1024)
def _shard_filter(shards: tuple[int, ...]) -> str:
    spelled = ", ".join(f'"{spell_shard(shard)}"' for shard in shards)
    return f"{SHARD_FIELD} IN [{spelled}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """Where a node's key comes from, or Redis's password (`what` is `password` then); never the secret itself."""

    env: str | None = None
    file: str | None = None
    command: str | None = None
    what: str = "key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One Meilisearch server as the topology file names it. A drained one stays in the file and gets no shards."""

    name: NodeName
    url: str
    group: str = "main"
    zone: str | None = None
    weight: float = 1.0
    drained: bool = False
    key: Secret | None = None


class ReplicaState(StrEnum):
    SERVING = "serving"
    JOINING = "joining"
    LEAVING = "leaving"
    STALE = "stale"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """A shard's documents on one node. `since` is the epoch of its last change of state."""

    shard: ShardId
    node: NodeName
    state: ReplicaState
    since: int

    @property
    def in_sync(self) -> bool:
        return self.state is ReplicaState.SERVING


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """What is fixed when an index is created, and the user's own settings.

    `primary_key` is empty as long as nobody has named one: the index holds no document then.
    `incarnation` counts creations under one uid, so that nothing meant for a deleted index reaches its successor.
    `stored_as` is its name on the nodes, at first the uid: a swap or a rename gives it another uid and incarnation, and
    leaves that name as it is, so that nothing on any node has to change at that moment.
    `replicas` follows `[cluster] replicas` of the topology file unless `own_replicas` says that the index was created
    with a number of its own. `settings` are the user's; what the nodes get on top of them is the business of
    `indexes/settings.py`.
    """

    uid: IndexUid
    incarnation: int
    primary_key: str
    shards: int
    replicas: int
    tie_break: bool = True
    settings: Json = field(default_factory=dict)
    created_at: int = 0
    own_replicas: bool = False
    stored_as: StoredUid = StoredUid("")

    def __post_init__(self) -> None:
        if not self.stored_as:
            object.__setattr__(self, "stored_as", StoredUid(self.uid))

    @property
    def is_renamed(self) -> bool:
        """Whether clients call it otherwise than the nodes."""
        return str(self.stored_as) != str(self.uid)

    def worded(self, message: str) -> str:
        """A node's message about the index, with the name that clients know it by."""
        if not self.is_renamed:
            return message
        return _INDEX_NAMED.sub(
            lambda match: f"{match[1]}`{self.uid}`" if match[2] == self.stored_as else match[0], message
        )

    def replicas_wanted(self, cluster_replicas: int) -> int:
        """Copies of each shard in each group that the index is to have: its own number, if it has one, or that of the
        topology file as it is now. `replicas` follows the file with the next run only."""
        return self.replicas if self.own_replicas else cluster_replicas


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexMap:
    """One consistent reading of an index and its replicas, at one epoch.

    `alias`: the name by which it was asked for, when that is an alias; None when it is the index's own.
    """

    epoch: int
    index: Index
    replicas: tuple[Replica, ...]
    alias: str | None = None

    @property
    def name(self) -> str:
        """The name by which it was asked for."""
        return self.index.uid if self.alias is None else self.alias

    def in_sync(self) -> dict[ShardId, tuple[NodeName, ...]]:
        """For each shard of the index the nodes whose replica is in sync, in the order of their names.

        A shard without an in-sync replica maps to an empty tuple.
        """
        nodes: dict[ShardId, list[NodeName]] = {ShardId(shard): [] for shard in range(self.index.shards)}
        for replica in self.replicas:
            if replica.state is ReplicaState.SERVING:
                nodes[replica.shard].append(replica.node)
        return {shard: tuple(sorted(names)) for shard, names in nodes.items()}

    def replica(self, shard: ShardId, node: NodeName) -> Replica | None:
        """The replica of a shard on a node, whatever its state."""
        return next((each for each in self.replicas if each.shard == shard and each.node == node), None)

    def nodes(self) -> tuple[NodeName, ...]:
        """All nodes with any replica of the index, in the order of their names."""
        return tuple(sorted({replica.node for replica in self.replicas}))


class WriteKind(StrEnum):
    ADD = "add"
    UPDATE = "update"
    DELETE = "delete"
    DELETE_BY_FILTER = "delete_by_filter"
    CLEAR = "clear"
    SETTINGS = "settings"
    PRIMARY_KEY = "primary_key"

    @property
    def changes_documents(self) -> bool:
        return self not in (WriteKind.SETTINGS, WriteKind.PRIMARY_KEY)

    @property
    def unmarked(self) -> str | None:
        """The type of its tasks on the nodes where these carry no metadata; None where they do."""
        return {WriteKind.SETTINGS: "settingsUpdate", WriteKind.PRIMARY_KEY: "indexUpdate"}.get(self)

    @property
    def counts_documents(self) -> bool:
        """Whether a node's `indexedDocuments` must equal the number of distinct ids sent."""
        return self in (WriteKind.ADD, WriteKind.UPDATE)


class IntentState(StrEnum):
    OPEN = "open"
    SENT = "sent"
    ABORTED = "aborted"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One task of a node that carries an intent, or a part of it: these shards, so many distinct documents."""

    task: int
    shards: frozenset[ShardId]
    documents: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentTarget:
    """What one node is to get of an intent, and the tasks by which it accepted it (one unless it was too large)."""

    node: NodeName
    shards: frozenset[ShardId]
    documents: int | None
    pieces: tuple[Piece, ...] = ()

    def piece(self, shard: ShardId) -> Piece | None:
        """The task that carries a shard; None when the node has not accepted it."""
        return next((piece for piece in self.pieces if shard in piece.shards), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A recorded write of an index: number `n` in the one order that all replicas get.

    `refused`: shards whose every in-sync target refused it (nothing was stored there).
    `failed`: shards whose every in-sync target accepted it and failed to apply it.
    """

    uid: IndexUid
    incarnation: int
    n: int
    nonce: str
    kind: WriteKind
    state: IntentState
    targets: tuple[IntentTarget, ...]
    refused: frozenset[ShardId] = frozenset()
    failed: frozenset[ShardId] = frozenset()
    error: str | None = None
    body: Json | None = None
    """For settings: the user's settings of the index once this write is stored. For a primary key: that."""
    slot: str | None = None
    """The mark of the slot under which it is sent, where writers have slots."""

    @property
    def shards(self) -> frozenset[ShardId]:
        return frozenset(shard for target in self.targets for shard in target.shards)

    @property
    def metadata(self) -> str:
        """The `customMetadata` by which a node's task is recognised as this intent's."""
        return f"m:{self.incarnation}:{self.n}:{self.nonce}"

    def piece_metadata(self, shards: frozenset[ShardId]) -> str:
        """The same for a task that carries only some of the shards its node gets."""
        return f"{self.metadata}:{','.join(map(str, sorted(shards)))}"


def group_of(nodes: Sequence[Node]) -> dict[str, tuple[Node, ...]]:
    """The replica groups of a topology, each with its nodes in the order of their names."""
    groups: dict[str, list[Node]] = {}
    for node in sorted(nodes, key=lambda node: node.name):
        groups.setdefault(node.group, []).append(node)
    return {name: tuple(members) for name, members in groups.items()}


def shards_named(shards: Iterable[int], *, most: int = 8) -> str:
    """`shard 3`, `shards 1, 2, 3`, `shards 0, 1, ..., 7 and 12 more`."""
    numbers = sorted(shards)
    text = ", ".join(map(str, numbers[:most]))
    more = f" and {len(numbers) - most} more" if len(numbers) > most else ""
    return f"{'shard' if len(numbers) == 1 else 'shards'} {text}{more}"


def staying_groups(nodes: Sequence[Node]) -> dict[str, tuple[Node, ...]]:
    """The groups that are to hold every shard: not those whose nodes are all drained, which are on their way out.

    When all nodes are drained none is: then all groups are meant, and found to have too few nodes.
    """
    groups = group_of(nodes)
    staying = {name: members for name, members in groups.items() if not all(node.drained for node in members)}
    return staying or groups
