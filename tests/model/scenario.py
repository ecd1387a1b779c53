"""A configuration to explore: replicas, who writes and moves what, which faults happen, and the rules in force."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property

from tests.model.state import (
    ABSENT,
    NOBODY,
    Effect,
    Kind,
    Mark,
    Mover,
    Node,
    Process,
    Reader,
    Role,
    State,
    Value,
    Watcher,
    Writer,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The rules of the protocol that can be taken out one at a time, to see which hole opens."""

    recovery: bool = True
    """R: an open intent is ended before the next write."""
    in_order: bool = True
    """S1: intents are settled in their order, by anybody, not each by its own writer."""
    judges_expected_only: bool = True
    """S1: a look says nothing of intents that were not yet recorded as sent when it began."""
    never_resend: bool = True
    """W4: a request with an unknown answer is not sent again."""
    unknown_is_stale: bool = True
    """W5: a replica whose answer is unknown or a refusal leaves the in-sync set when another one accepted."""
    counts_in_sync_only: bool = True
    """W5: answers of replicas that were marked stale meanwhile do not count."""
    keeps_last: bool = True
    """S2: a write that no in-sync replica has failed, and nobody is stale for it."""
    counts_documents: bool = True
    """S2: a task that indexed fewer documents than were sent does not count."""
    audit: bool = True
    """S3: a task that nobody recorded makes its replica stale."""
    audits_by_replica: bool = True
    """S3: the task from which the audit counts belongs to a replica, not to its node."""
    fences_before_recovery: bool = True
    """R1: nothing that a dead sender sent can arrive after its intent was ended."""
    fences_before_join: bool = True
    """M1: nothing sent before a fence can arrive after the join."""
    remembers_addressed: bool = True
    """M1: only a node to which nothing was ever sent joins without waiting; one that holds nothing now does not."""
    fence_anew: bool = True
    """M7: after an unknown answer the mover fences again and changes its nonce before it joins again."""
    joins_fenced_only: bool = True
    """M1: without a fence of its own a replica joins only if it has not served since before the last one."""
    end_check: bool = True
    """E1: an answer of a replica that left the in-sync set meanwhile does not count."""
    identity: bool = True
    """N1: an empty disk is not the one we knew."""
    logs_keys: bool = True
    """W2: intents name their keys while a touched shard has a joining replica."""
    settles_before_join: bool = True
    """M2: everything up to the join is settled before the copy is read."""
    empties_queue: bool = True
    """M2: the target's queue, as it was when it was noted, is empty before it is read."""
    cut_is_settled: bool = True
    """M3: the cut is what is settled, not what is recorded."""
    round_cut_is_settled: bool = True
    """M4: so is the cut of a catch-up round."""
    source_in_sync: bool = True
    """M5: the source is in sync in the transaction that switches."""
    sweep_compares: bool = True
    """M5: a write without known keys after the cut means comparing the whole shard again."""
    target_audit: bool = True
    """M5: no foreign task on the target since the whole comparison."""
    audits_since_join: bool = True
    """M5: the note is that of the join, and a foreign task behind it sends the move back there. Without the rule the
    whole shard is only compared again, behind a new note."""
    notes_before_read: bool = True
    """M4: the target's last task is noted before the whole shard is read there, and its queue is empty up to it."""
    rounds_keep_note: bool = True
    """M4: a catch-up round, which compares some keys only, does not note the last task again."""
    publishes_before_acknowledging: bool = True
    """S5: a map that changed is on the nodes before a write is told as done."""
    publishes_before_forgetting: bool = True
    """M6: and before anything is deleted from the replica that left."""
    fences_before_forgetting: bool = True
    """M6: nothing sent to a replica that did not serve until it left can arrive after it was deleted there."""


class Fault(IntEnum):
    """What can go wrong; a scenario says how often each does."""

    CRASH = 0
    """kill -9 of a writer or a mover."""
    LATE = 1
    """No answer in time; the request arrives later, or never."""
    DOWN = 2
    """A node stops. It returns, with its queue, at any time."""
    WIPE = 3
    """A node restarts with an empty disk."""
    FAIL = 4
    """A task fails."""
    TRUNCATE = 5
    """A task lost its payload to a power cut, and succeeds."""
    LAG = 6
    """A node makes no progress for so long that others go on without it."""
    STRAY = 7
    """A document is written past miroir."""
    STORE = 8
    """All processes die and the state store is gone; it is rebuilt from the newest copy on the nodes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What a client asks for."""

    kind: Kind
    keys: tuple[int, ...] = (0,)


PUT = Operation(kind=Kind.PUT)
PATCH = Operation(kind=Kind.PATCH)
DELETE = Operation(kind=Kind.DELETE)
CLEAR = Operation(kind=Kind.CLEAR, keys=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A replica to build or mend on `target`; afterwards the one on `leaves` goes. Or, with `gives_up`, one that
    somebody began to build there and that nobody wants any more."""

    target: int
    shard: int = 0
    leaves: int = NOBODY
    gives_up: bool = False

    @property
    def forgets(self) -> int:
        """The node on which something is deleted in the end."""
        return self.target if self.gives_up else self.leaves


ROLES = {"S": Role.SERVING, "X": Role.STALE, "-": Role.NONE}
OLD: Value = (90, 0)
"""What every key held, acknowledged, before the scenario begins."""
OUTDATED: Value = (80, 0)
"""What stale replicas hold."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """`replicas` has a word for each shard and in it a letter for each node: S serving, X stale, - none.

    `writers` lists each writer's operations, `runs` each mover's moves; `shard_of` the shard of each key.
    `strays_everywhere`: strays also hit replicas in sync, so only the end is judged.
    """

    replicas: tuple[str, ...] = ("SS",)
    writers: tuple[tuple[Operation, ...], ...] = ()
    runs: tuple[tuple[Move, ...], ...] = ()
    reader: bool = False
    watcher: bool = False
    shard_of: tuple[int, ...] = (0,)
    faults: tuple[Fault, ...] = ()
    strays_everywhere: bool = False
    rules: Rules = field(default_factory=Rules)

    @cached_property
    def operations(self) -> tuple[Operation, ...]:
        """All operations; the number of one is its place, from 1."""
        return tuple(operation for script in self.writers for operation in script)

    @cached_property
    def shards(self) -> range:
        return range(len(self.replicas))

    def keys_of(self, shards: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(key for key, shard in enumerate(self.shard_of) if shard in shards)

    def number_of(self, writer: int, position: int) -> int:
        """The number of a writer's operation."""
        return sum(map(len, self.writers[:writer])) + position + 1

    def writer_of(self, number: int) -> int:
        """Whose operation it is."""
        owners = [writer for writer, script in enumerate(self.writers) for _ in script]
        return owners[number - 1]

    def touched(self, operation: Operation) -> tuple[int, ...]:
        """The shards that an operation touches."""
        if operation.kind is Kind.CLEAR:
            return tuple(self.shards)
        return tuple(sorted({self.shard_of[key] for key in operation.keys}))

    def effect(self, number: int, shards: tuple[int, ...]) -> Effect:
        """The request of an operation to a node that holds some shards: a clear is narrowed to them as well."""
        operation = self.operations[number - 1]
        keys = self.keys_of(shards)
        if operation.kind is not Kind.CLEAR:
            keys = tuple(key for key in keys if key in operation.keys)
        return Effect(operation.kind, number, keys)

    def begin(self) -> State:
        """The state before anything happens: equal replicas with old documents, empty queues."""
        roles = tuple(tuple(ROLES[letter] for letter in word) for word in self.replicas)
        held = {Role.SERVING: OLD, Role.STALE: OUTDATED, Role.NONE: ABSENT}
        nodes = tuple(
            Node(True, 0, tuple(held[roles[shard][node]] for shard in self.shard_of))
            for node in range(len(self.replicas[0]))
        )
        processes: list[Process] = [Writer() for _ in self.writers]
        processes += [Mover(nonce=100 * number) for number in range(1, len(self.runs) + 1)]
        processes += [Reader()] * self.reader + [Watcher()] * self.watcher
        none = (0,) * len(nodes)
        return State(
            nodes=nodes,
            network=(),
            processes=tuple(processes),
            faults=tuple(self.faults.count(fault) for fault in Fault),
            history=(),
            order_lock=NOBODY,
            run_lock=NOBODY,
            intents=(),
            settled=0,
            roles=roles,
            disks=none,
            bases=(none,) * len(roles),
            copy=roles if Fault.STORE in self.faults else (),
            addressed=tuple(any(word[node] != "-" for word in self.replicas) for node in range(len(nodes))),
        )


def write_mark(number: int) -> Mark:
    return ("write", number)


def move_mark(nonce: int) -> Mark:
    return ("move", nonce)
