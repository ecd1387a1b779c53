"""What a check-up knows when it begins to judge: values that were gathered from nodes, state file and locks. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from miroir_cli.model import IndexMap, Json, Node, NodeName
    from miroir_cli.node.answers import NodeVersion
    from miroir_cli.store.locks import Held
    from miroir_cli.store.records import ClusterRecord, ImportRecord, Member
    from miroir_cli.topology.file import ClusterSettings


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
class NodeFacts:
    """What one node said. Fields that it was not asked, or did not answer, are None or empty.

    `slowest`: seconds that the slowest of the first questions took. `clock`: seconds by which its clock is ahead of
    ours, at least. `newest_success`: uid of the newest task that succeeded. `defaults`: its settings of an index that
    nobody has changed. `settings`: those of each index that it holds, None where it has no such index.
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
    settings: Mapping[str, Json | None] = field(default_factory=dict)

    @property
    def name(self) -> NodeName:
        return self.node.name


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexFacts:
    """An index as the state has it. `busy`: somebody holds its order lock. `steady`: its settings did not change while
    the nodes were asked. `in_doubt`: number of the write that was begun and has no outcome."""

    map: IndexMap
    busy: bool = False
    steady: bool = True
    in_doubt: int | None = None
    unsettled: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportFacts:
    """An import that has not finished."""

    record: ImportRecord
    running: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfinished:
    """An index whose creation or deletion (`state`) has begun and not ended."""

    uid: str
    state: str
    busy: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StateTrouble:
    """Why the state file could not be read: `check` is the kind of finding that it is."""

    check: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StateFacts:
    """What the state file says. With `trouble`, or when it is missing, all the rest is empty.

    `members` were read before the nodes were asked and everything else after that, so that a change in between
    cannot look like a fault.
    """

    path: str
    exists: bool = True
    trouble: StateTrouble | None = None
    network: str | None = None
    cluster: ClusterRecord | None = None
    members: Mapping[NodeName, Member] = field(default_factory=dict)
    indexes: tuple[IndexFacts, ...] = ()
    unfinished: tuple[Unfinished, ...] = ()
    imports: tuple[ImportFacts, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything. `now`: seconds since 1970."""

    cluster: ClusterSettings
    nodes: tuple[NodeFacts, ...]
    state: StateFacts
    locks: tuple[Held, ...] = ()
    now: float = 0.0

    def node(self, name: NodeName) -> NodeFacts | None:
        return next((node for node in self.nodes if node.name == name), None)

    def answers(self, name: NodeName) -> bool:
        """Whether a node of that name is in the topology file and answered everything."""
        found = self.node(name)
        return found is not None and found.trouble is None
