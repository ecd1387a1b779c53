"""What a check-up knows when it begins to judge: values that were gathered from nodes, state file and locks. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from miroir_cli.model import Index, IndexMap, Json, Node, NodeName, Secret, ShardId, StoredUid
    from miroir_cli.node.answers import NodeVersion
    from miroir_cli.store.journal import RunRecord, StepRecord
    from miroir_cli.store.locks import Held
    from miroir_cli.store.records import ClusterRecord, ImportRecord, Member
    from miroir_cli.store.standing import ServerStanding
    from miroir_cli.topology.file import ClusterSettings
    from miroir_cli.topology.serve import ServeSettings
    from miroir_cli.topology.state import StateSettings


class TroubleKind(StrEnum):
    """Why a node could not be asked everything."""

    DOWN = "down"
    HANGING = "hanging"
    FAILING = "failing"
    KEY = "key"
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """The first question that a node did not answer as it should."""

    kind: TroubleKind
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """Whose disk a node says it has, and the newest state that was copied there."""

    cluster: str
    cluster_id: str
    node: str
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedTask:
    """A task that failed `age` seconds ago, by the node's clock. `kind` is the type of its error."""

    uid: int
    index: str | None
    code: str
    kind: str
    message: str
    age: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The oldest unfinished task of a queue in which nothing moved while it was watched; `age` in seconds."""

    uid: int
    index: str | None
    type: str
    age: float
    waiting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """What a node's disk says of itself. `top_task`: its highest task uid, -1 without any."""

    marker: Marker | None
    top_task: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexStats:
    """An index on one node: its documents, and how many different fields they have."""

    documents: int
    fields: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStats:
    """What a node says that it stores. `size`: bytes of its databases on the disk; `used`: those that hold something.
    How much room its disk has left a node does not tell. `indexes`: by its own names."""

    size: int
    used: int
    indexes: Mapping[StoredUid, IndexStats] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """What one node said. Fields that it was not asked, or did not answer, are None or empty.

    `slowest`: seconds that the slowest of the first questions took. `clock`: seconds by which its clock is ahead of
    ours, at least. `newest_success`: uid of the newest task that succeeded. `defaults`: its settings of an index that
    nobody has changed. `settings`: those of each index that it holds, by its own name, None where it has no such index.
    `key_proof`: uid and value of one of its API keys, None where it has none to show. `master`: what tells its master
    key from others, None where the topology file has another key of it. `api_keys`: the uids of those that somebody
    made. `unguarded`: it has no master key. `unfenced`: why writers can have no keys of their own on it, to follow its
    name. `key_source`: where the topology file says that the key is; `weak_key`: why
    it is easily guessed. `waiting`: unfinished tasks, the first of which has waited for `oldest_wait` seconds.
    `counted`: documents of each shard of the indexes that have stale replicas somewhere; `last_writes`: how many
    seconds ago such an index took its last write.
    """

    node: Node
    open_key_file: str | None = None
    trouble: Trouble | None = None
    slowest: float = 0.0
    clock: float | None = None
    version: NodeVersion | None = None
    disk: Disk | None = None
    failed: tuple[FailedTask, ...] = ()
    newest_success: int = -1
    standing: Standing | None = None
    defaults: Json | None = None
    settings: Mapping[StoredUid, Json | None] = field(default_factory=dict)
    key_proof: tuple[str, str] | None = field(default=None, repr=False)
    master: str | None = None
    api_keys: frozenset[str] = frozenset()
    unguarded: bool = False
    unfenced: str | None = None
    key_source: str | None = None
    weak_key: str | None = None
    waiting: int = 0
    oldest_wait: float = 0.0
    stats: NodeStats | None = None
    counted: Mapping[StoredUid, Mapping[ShardId, int]] = field(default_factory=dict)
    last_writes: Mapping[StoredUid, float] = field(default_factory=dict)

    @property
    def name(self) -> NodeName:
        return self.node.name


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexFacts:
    """An index as the state has it. `busy`: somebody holds its order lock. `steady`: its settings did not change while
    the nodes were asked. `in_doubt`: number of the write that was begun and has no outcome.
    `frozen`: why it takes no documents."""

    map: IndexMap
    busy: bool = False
    steady: bool = True
    in_doubt: int | None = None
    unsettled: int = 0
    frozen: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportFacts:
    """An import that has not finished."""

    record: ImportRecord
    running: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfinished:
    """An index whose creation or deletion (`state`) has begun and not ended. `index`: what was to be created."""

    uid: str
    state: str
    busy: bool
    index: Index | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StateTrouble:
    """Why the state file could not be read: `check` is the kind of finding that it is."""

    check: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """A run that has begun and not ended. `alive`: its process is at work on it."""

    record: RunRecord
    alive: bool
    steps: tuple[StepRecord, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """An old state file that was kept; `at`: when it was written last, in seconds since 1970."""

    path: str
    bytes: int
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StateFiles:
    """The state file on its disk. `log_bytes`: SQLite's write-ahead log. `file_system` is None where nobody tells it,
    as are the bytes of the disk."""

    open_to_others: tuple[str, ...] = ()
    log_bytes: int = 0
    set_aside: tuple[SetAside, ...] = ()
    free_bytes: int | None = None
    disk_bytes: int | None = None
    file_system: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """This machine. `topology`: the topology file. `descriptors`: files that may be open at once at most; None: any
    number."""

    topology: str
    topology_writable: bool
    descriptors: int | None
    python: tuple[int, int]
    system: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeFacts:
    """The `[serve]` table. `key_problems`: table, reason and hint for each key that cannot be had here; `weak_keys`:
    source and reason for each that is easily guessed."""

    settings: ServeSettings
    key_problems: tuple[tuple[str, str, str | None], ...] = ()
    weak_keys: tuple[tuple[str, str], ...] = ()
    open_key_files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StateFacts:
    """What the state says: the file, or Redis (`path` is its address then, `server` what it says of itself). With
    `trouble`, or when there is none or it was not `asked`, all the rest is empty.

    `members` were read before the nodes were asked and everything else after that, so that a change in between
    cannot look like a fault.
    """

    path: str
    in_redis: bool = False
    asked: bool = True
    exists: bool = True
    trouble: StateTrouble | None = None
    network: str | None = None
    server: ServerStanding | None = None
    open_password_file: str | None = None
    cluster: ClusterRecord | None = None
    members: Mapping[NodeName, Member] = field(default_factory=dict)
    indexes: tuple[IndexFacts, ...] = ()
    unfinished: tuple[Unfinished, ...] = ()
    imports: tuple[ImportFacts, ...] = ()
    runs: tuple[RunFacts, ...] = ()
    files: StateFiles | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySource:
    """Where a table of the topology file says that a key or a password is. `problem`: why none can be had there."""

    table: str
    secret: Secret
    problem: str | None = None
    hint: str | None = None
    weak: str | None = None

    @property
    def kind(self) -> str:
        """The key of the table that names it."""
        if self.secret.env is not None:
            return f"{self.secret.what}_env"
        return f"{self.secret.what}_file" if self.secret.file is not None else f"{self.secret.what}_command"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFacts:
    """What a topology file says, as far as it can be read, and what of that can be tried without any node."""

    positions: tuple[tuple[int, Node], ...]
    serve: ServeSettings
    state: StateSettings
    sources: tuple[KeySource, ...] = ()
    processors: int | None = None


OF_PROXIES: Final = ("serve.", "tasks.")
"""What the names of locks begin with that proxies hold as long as they run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything. `now`: seconds since 1970."""

    cluster: ClusterSettings
    nodes: tuple[NodeFacts, ...]
    state: StateFacts
    locks: tuple[Held, ...] = ()
    now: float = 0.0
    machine: Machine | None = None
    serve: ServeFacts | None = None

    def passing_locks(self) -> tuple[Held, ...]:
        """The locks that somebody has for the sake of one thing, and not for as long as a proxy runs."""
        return tuple(lock for lock in self.locks if not lock.name.startswith(OF_PROXIES))

    def node(self, name: NodeName) -> NodeFacts | None:
        return next((node for node in self.nodes if node.name == name), None)

    def answers(self, name: NodeName) -> bool:
        """Whether a node of that name is in the topology file and answered everything."""
        found = self.node(name)
        return found is not None and found.trouble is None
