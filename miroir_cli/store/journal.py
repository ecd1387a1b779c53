"""Records of runs: changes of the cluster in journaled steps, and what a move needs to know of writes beside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NewType

if TYPE_CHECKING:
    from miroir_cli.model import IndexUid, Json, NodeName, ShardId

RunId = NewType("RunId", int)

MOVER_PREFIX = "r:"
"""How the `customMetadata` of a mover's task begins; the attempt's nonce follows."""


class RunKind(StrEnum):
    """`rebalance` runs are resumed by whoever comes next; a `repair` is planned anew; `verify` changes nothing."""

    REBALANCE = "rebalance"
    REPAIR = "repair"
    VERIFY = "verify"


class RunState(StrEnum):
    """`running` also while its process is dead: then the next command goes on with it."""

    RUNNING = "running"
    STOPPED = "stopped"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        return self in (RunState.DONE, RunState.FAILED, RunState.CANCELLED)


class Wanted(StrEnum):
    """What somebody in another shell wants of a run."""

    GO = "go"
    PAUSE = "pause"
    CANCEL = "cancel"


class StepState(StrEnum):
    """How far a step is; the names are those of `docs/concepts/moving-shards.md`."""

    PENDING = "pending"
    JOINING = "joining"
    COPYING = "copying"
    SWITCHING = "switching"
    FORGETTING = "forgetting"
    DONE = "done"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        return self in (StepState.DONE, StepState.CANCELLED)

    @property
    def switched(self) -> bool:
        """Whether what the step is for has happened: it can be finished, no longer undone."""
        return self in (StepState.FORGETTING, StepState.DONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """One shard's part of a run: made equal on `target`, then taken from `leaving` (either may be None).

    `repair`: the target had this replica already. `documents` are those of the shard as planned, `copied` those that
    the target has indexed for it. `pause` is how many seconds writers were held up by its switch.
    """

    number: int
    index: IndexUid
    incarnation: int
    shard: ShardId
    target: NodeName | None = None
    leaving: NodeName | None = None
    repair: bool = False
    state: StepState = StepState.PENDING
    documents: int | None = None
    copied: int = 0
    pause: float | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One run. `pid` and `command` are those of the process that drove it last; times are milliseconds since 1970.

    `fingerprint` tells the wish that it was planned for; `rate` is in documents a second (None: as fast as it goes).
    """

    id: RunId
    kind: RunKind
    title: str
    state: RunState
    wanted: Wanted
    parallel: int
    rate: int | None
    pid: int
    command: str
    fingerprint: str
    started_at: int
    finished_at: int | None = None
    summary: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEvent:
    """A line of the journal: who brought a step (None: the run itself) to which state, when, and what for."""

    step: int | None
    at: int
    pid: int
    command: str
    state: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mover:
    """An attempt to fill or to empty replicas of a node: its tasks there are known by its nonce."""

    node: NodeName
    shards: frozenset[ShardId]


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What was written to a shard by the intents above a cut: the distinct keys, or `sweep` alone when some write did
    not name them."""

    keys: frozenset[str] = frozenset()
    sweep: bool = False
