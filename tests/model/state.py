"""What a state of the model consists of: nodes, requests on the way, processes, and what the store remembers.

Everything is a tuple of small values, so that a state can be hashed and compared. Nodes, shards, keys and processes
are numbers. Epochs are not numbers here: who must learn of a change (a reader with a cached map) is told, see
`set_replica`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple, TypeVar

Item = TypeVar("Item")

Value = tuple[int, int]
"""A document: the write that put it and the write that patched it last (0: none)."""
ABSENT: Value = (0, 0)


class Kind(StrEnum):
    """What a task does to its keys."""

    PUT = "put"
    PATCH = "patch"
    DELETE = "delete"
    CLEAR = "clear"
    """A delete by filter, or of everything: the store cannot know its keys."""
    MEND = "mend"
    FORGET = "forget"
    STRAY = "stray"
    """Written past miroir."""


class Effect(NamedTuple):
    """A task's body. `number` is that of a client's operation; `values` are those of a mend."""

    kind: Kind
    number: int
    keys: tuple[int, ...]
    values: tuple[Value, ...] = ()


class Status(StrEnum):
    """Of a task. `TRUNCATED` calls itself succeeded but has indexed nothing."""

    ENQUEUED = "enqueued"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TRUNCATED = "truncated"


Mark = tuple[str, int]
"""What a task carries as `customMetadata`: whose it is, and the operation or the mover's nonce."""


class Task(NamedTuple):
    mark: Mark
    effect: Effect
    status: Status = Status.ENQUEUED


class Node(NamedTuple):
    """`disk` counts the disks it has had; a task's uid is its place in `tasks`."""

    up: bool
    disk: int
    documents: tuple[Value, ...]
    tasks: tuple[Task, ...] = ()


class Request(NamedTuple):
    node: int
    sender: int
    mark: Mark
    effect: Effect


class Role(StrEnum):
    """What a node is for a shard."""

    NONE = "none"
    SERVING = "serving"
    JOINING = "joining"
    LEAVING = "leaving"
    """It served until it left."""
    GIVEN_UP = "given up"
    """Leaving as well, and did not serve any more, or not yet."""
    STALE = "stale"
    LOST = "lost"


class Stage(StrEnum):
    """How far an intent is."""

    OPEN = "open"
    SENT = "sent"
    ABORTED = "aborted"
    DONE = "done"
    FAILED = "failed"


class Intent(NamedTuple):
    """A recorded write. `parts` are the shards that each of `targets` gets, `tasks` the uids that are recorded.

    `keys` are those logged: none unless a touched shard had a joining replica when the intent was recorded.
    """

    operation: int
    stage: Stage
    shards: tuple[int, ...]
    targets: tuple[int, ...]
    parts: tuple[tuple[int, ...], ...]
    tasks: tuple[int, ...]
    keys: tuple[int, ...]
    refused: tuple[int, ...] = ()


# what a sender knows of its request; a task's uid otherwise
WAITING, UNKNOWN, REFUSED, DOUBTED, NO_TASK = -10, -11, -12, -13, -14
NOBODY = 99


class Step(StrEnum):
    """Where a process is."""

    START = "start"
    SENDING = "sending"
    ASK = "ask"
    JOIN = "join"
    GIVE_UP = "give up"
    NOTE = "note"
    READ = "read"
    COMPARE = "compare"
    MENDING = "mending"
    CLEAN = "clean"
    ROUND = "round"
    SWITCH = "switch"
    PUBLISH = "publish"
    FENCE = "fence"
    FORGET = "forget"
    FORGETTING = "forgetting"
    END_CHECK = "end check"
    JUDGE = "judge"
    WRONG = "wrong"
    ENDED = "ended"
    DEAD = "dead"


class Writer(NamedTuple):
    """Sends its script, one operation after the other, without waiting for the nodes to apply them."""

    step: Step = Step.START
    position: int = 0
    answers: tuple[int, ...] = ()
    again: bool = False


class Mover(NamedTuple):
    """One run: a list of moves. The fields are named after rules M1 to M6, see `moving`."""

    step: Step = Step.START
    move: int = 0
    nonce: int = 0
    fenced: tuple[tuple[int, int], ...] = ()
    awaited: tuple[Request, ...] = ()
    joined_at: int = 0
    source: int = NOBODY
    cut: int = 0
    ahead: int = 0
    seen: tuple[tuple[int, Value], ...] = ()
    task_mark: int = 0
    answer: int = WAITING
    then: Step = Step.START


class Reader(NamedTuple):
    """Asks once, with a map that it cached earlier. `changed` is what its end check would find."""

    step: Step = Step.START
    cached: tuple[int, ...] = ()
    changed: tuple[int, ...] = ()
    node: int = NOBODY
    answer: tuple[tuple[int, Value], ...] = ()
    before: tuple[int, ...] = ()


class Watcher(NamedTuple):
    """A slow process that settles by an old look: the nodes as they were, and what was recorded as sent by then."""

    step: Step = Step.START
    nodes: tuple[Node, ...] = ()
    expected: tuple[int, ...] = ()


Process = Writer | Mover | Reader | Watcher


class Fate(StrEnum):
    """What its writer was told of one shard's part of an operation."""

    UNTOUCHED = "untouched"
    PENDING = "pending"
    ACKNOWLEDGED = "acknowledged"
    FAILED = "failed"


class Told(NamedTuple):
    """An operation in the history, which has the order of the intents."""

    operation: int
    fates: tuple[Fate, ...]


Roles = tuple[tuple[Role, ...], ...]
"""By shard, then by node."""


class State(NamedTuple):
    nodes: tuple[Node, ...]
    network: tuple[Request, ...]
    processes: tuple[Process, ...]
    faults: tuple[int, ...]
    """How many of each fault may still happen, in the order of `scenarios.Fault`."""
    history: tuple[Told, ...]
    order_lock: int
    run_lock: int
    # the store
    intents: tuple[Intent, ...]
    settled: int
    roles: Roles
    disks: tuple[int, ...]
    """The disk that the store knows of each node."""
    bases: tuple[tuple[int, ...], ...]
    """The first task of its node that counts for the audit of a replica, by shard and node."""
    copy: Roles
    """The newest copy of the map on the nodes."""
    addressed: tuple[bool, ...] = ()
    """Nodes to which anything was ever sent."""
    store_lost: bool = False


def put(items: tuple[Item, ...], at: int, item: Item) -> tuple[Item, ...]:
    return (*items[:at], item, *items[at + 1 :])


def changed(value: Value, kind: Kind, number: int) -> Value:
    """A document after a client's operation."""
    if kind is Kind.PUT:
        return (number, 0)
    if kind is Kind.PATCH:
        return (value[0], number)
    return ABSENT


def applied(effect: Effect, documents: tuple[Value, ...]) -> tuple[Value, ...]:
    """The documents of a node after a task."""
    after = list(documents)
    if effect.kind in (Kind.MEND, Kind.STRAY):
        for key, value in zip(effect.keys, effect.values, strict=True):
            after[key] = value
    else:
        for key in effect.keys:
            after[key] = changed(after[key], effect.kind, effect.number)
    return tuple(after)


def serving(state: State, shard: int) -> tuple[int, ...]:
    return tuple(node for node, role in enumerate(state.roles[shard]) if role is Role.SERVING)


def set_process(state: State, number: int, process: Process) -> State:
    return state._replace(processes=put(state.processes, number, process))


READING = (Step.READ, Step.END_CHECK)


def set_role(state: State, shard: int, node: int, role: Role) -> State:
    """Change a replica's state; readers with an older map would find that in their end check."""
    processes = state.processes
    for number, process in enumerate(processes):
        if type(process) is Reader and process.step in READING and node not in process.changed and shard == 0:
            changes = tuple(sorted((*process.changed, node)))
            processes = put(processes, number, process._replace(changed=changes))
    roles = put(state.roles, shard, put(state.roles[shard], node, role))
    return state._replace(roles=roles, processes=processes)


def mark_stale(state: State, shard: int, nodes: tuple[int, ...]) -> State:
    """Take replicas out of the in-sync set, but never the last one."""
    for node in nodes:
        if state.roles[shard][node] is Role.SERVING and state.roles[shard].count(Role.SERVING) > 1:
            state = set_role(state, shard, node, Role.STALE)
    return state


def mark_lost(state: State, node: int) -> State:
    """All replicas of a node whose disk is not the one we knew are lost, also last ones."""
    for shard, roles in enumerate(state.roles):
        if roles[node] not in (Role.NONE, Role.LOST):
            state = set_role(state, shard, node, Role.LOST)
    return state


def set_base(state: State, shard: int, node: int, uid: int) -> State:
    """From which task on the audit of a replica begins."""
    return state._replace(bases=put(state.bases, shard, put(state.bases[shard], node, uid)))


def is_open(state: State) -> bool:
    """Whether the newest intent has no outcome yet."""
    return bool(state.intents) and state.intents[-1].stage is Stage.OPEN


def tell(state: State, operation: int, shards: tuple[int, ...], fate: Fate) -> State:
    """Tell the writer of an operation what became of it."""
    history = tuple(
        told._replace(fates=tuple(fate if shard in shards else old for shard, old in enumerate(told.fates)))
        if told.operation == operation
        else told
        for told in state.history
    )
    return state._replace(history=history)


def past_aborted(state: State) -> State:
    """Count aborted intents as settled: there is nothing to learn of them."""
    settled = state.settled
    while settled < len(state.intents) and state.intents[settled].stage is Stage.ABORTED:
        settled += 1
    return state._replace(settled=settled) if settled != state.settled else state


def found_task(node: Node, mark: Mark) -> int | None:
    """The uid of the task that carries a mark."""
    return next((uid for uid, task in enumerate(node.tasks) if task.mark == mark), None)
