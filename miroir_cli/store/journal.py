"""Records of what was done: commands, and runs, which are changes of the cluster in journaled steps; and what a move
needs to know of writes beside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NewType

if TYPE_CHECKING:
    from miroir_cli.model import IndexUid, Json, NodeName, ShardId

RunId = NewType("RunId", int)

MOVER_PREFIX = "r:"
"""How the `customMetadata` of a mover's task begins; the attempt's nonce follows."""


KEPT_RUNS = 200
"""Ended runs that are kept."""

KEPT_IMPORTS = 500
"""Finished imports that are kept."""

KEPT_COMMANDS = 10_000
"""Commands that are kept at most."""

KEPT_DAYS = 400
"""Days for which commands are kept."""

LONGEST_RESULT = 500
"""Characters of the one line that says how a command ended."""

INTERRUPTED = 128 + 2
"""The status of a command, or a request, that was cancelled."""


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
class Process:
    """A process on some host. `born` tells it from others that had its number, as far as its host can (else empty);
    `host` is empty where it was recorded when there was only one."""

    host: str
    pid: int
    born: str = ""

    def __str__(self) -> str:
        """What it calls itself among all that share a cluster: `of` reads it again."""
        return f"{self.host}:{self.pid}.{self.born}"

    @staticmethod
    def of(text: str) -> Process:
        host, _, number = text.rpartition(":")
        pid, _, born = number.partition(".")
        return Process(host=host, pid=int(pid), born=born)


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
    """One run. `process` and `command` are those that drove it last; times are milliseconds since 1970.

    `fingerprint` tells the wish that it was planned for; `rate` is in documents a second (None: as fast as it goes).
    """

    id: RunId
    kind: RunKind
    title: str
    state: RunState
    wanted: Wanted
    parallel: int
    rate: int | None
    process: Process
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
    process: Process
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


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRecord:
    """One command that changes something, or request to the proxy that does: who gave it, where, and how it ended.

    `mark` tells it from all others, also in a state file that was made anew meanwhile. `words` is the command's name,
    such as `node add`; `line` how it was typed, without secrets. `behind` is who became `user` with sudo. `born` tells
    the process from another one of its number. Without `finished_at` it is under way, or its process was killed.
    `status` is the exit status, `code` the error's, `result` one line. Times are milliseconds since 1970.
    """

    mark: str
    words: str
    line: str
    cluster: str
    user: str
    host: str
    pid: int
    started_at: int
    born: str | None = None
    behind: str | None = None
    folder: str | None = None
    topology: str | None = None
    finished_at: int | None = None
    status: int | None = None
    code: str | None = None
    result: str | None = None
    id: int = 0
    runs: tuple[RunId, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalQuery:
    """Which commands are wanted: since a moment, by whom (a part of user, host or who is behind), only those that
    failed or were never finished, with a word in their line."""

    since: int | None = None
    who: str | None = None
    failed: bool = False
    word: str | None = None
    limit: int = 20

    def wants(self, command: CommandRecord) -> bool:
        """Whether a command is one of these; letters are compared without their case."""
        who = f"{command.user}@{command.host} {command.behind or ''}"
        return (
            (self.since is None or command.started_at >= self.since)
            and not (self.failed and command.status == 0)
            and (self.who is None or self.who.lower() in who.lower())
            and (self.word is None or self.word.lower() in command.line.lower())
        )
