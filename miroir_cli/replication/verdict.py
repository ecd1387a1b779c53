"""Who stays in sync after a write, and whether it counts: pure decisions over what the nodes answered.

Invariant, shard by shard: when a write ends `sent` or `done`, every replica that is still in sync has it; the last
in-sync replica of a shard is never given up, so a write that none of them has ends `refused` or `failed` instead.
Only replicas in sync at the moment of the decision are counted: an answer of a replica that was marked stale
meanwhile proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from miroir_cli.model import Intent, IntentState, IntentTarget, NodeName, Piece, ShardId, WriteKind
from miroir_cli.store.journal import MOVER_PREFIX, Mover
from miroir_cli.store.records import InSync, Pending, Settlement, Verdict


class Sent(Enum):
    """What is known of a request: in the queue; without effect for certain; neither."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The answer of one node for some of the shards it was to get."""

    shards: frozenset[ShardId]
    sent: Sent
    task: int | None = None
    documents: int | None = None
    reason: str | None = None


Answers = Mapping[NodeName, tuple[Part, ...]]


def judge_sending(intent: Intent, in_sync: InSync, answers: Answers) -> Verdict:
    """End an intent after its requests were answered (rule W5).

    A shard that some in-sync target accepted is sent and the others are stale; one that all refused stays as it was;
    one that nobody accepted and of which something is unknown keeps the intent open.
    """
    return _judge(intent, in_sync, answers, fenced=False)


def judge_recovery(intent: Intent, in_sync: InSync, answers: Answers) -> Verdict:
    """End an open intent from what the fenced nodes show (rule R2): found is accepted, absent is refused, silent is
    unknown.

    Absent on one fenced target is enough to end the shard; silent ones are stale. With only silent ones it stays open.
    """
    return _judge(intent, in_sync, answers, fenced=True)


def _judge(intent: Intent, in_sync: InSync, answers: Answers, *, fenced: bool) -> Verdict:
    stale: dict[NodeName, set[ShardId]] = {}
    refused: set[ShardId] = set()
    reasons: list[str] = []
    still_open = False
    for shard in sorted(intent.shards):
        said = {target.node: _said(answers, target.node, shard) for target in _counted(intent, in_sync, shard)}
        accepted = {node for node, part in said.items() if part.sent is Sent.ACCEPTED}
        unknown = {node for node, part in said.items() if part.sent is Sent.UNKNOWN}
        reasons += [part.reason for part in said.values() if part.reason]
        if accepted:
            behind = set(said) - accepted
        elif unknown and (not fenced or unknown == set(said)):
            still_open = True
            continue
        else:
            behind = unknown
            refused.add(shard)
        for node in behind:
            stale.setdefault(node, set()).add(shard)
    if still_open:
        state = IntentState.OPEN
    elif refused == intent.shards:
        state = IntentState.ABORTED
    else:
        state = IntentState.SENT
    return Verdict(
        n=intent.n,
        state=state,
        pieces=_pieces(answers),
        stale=_frozen(stale),
        refused=frozenset() if still_open else frozenset(refused),
        error=reasons[0] if reasons else None,
    )


def _counted(intent: Intent, in_sync: InSync, shard: ShardId) -> tuple[IntentTarget, ...]:
    return tuple(
        target for target in intent.targets if shard in target.shards and target.node in in_sync.get(shard, frozenset())
    )


def _said(answers: Answers, node: NodeName, shard: ShardId) -> Part:
    for part in answers.get(node, ()):
        if shard in part.shards:
            return part
    return Part(shards=frozenset({shard}), sent=Sent.UNKNOWN)


def _pieces(answers: Answers) -> dict[NodeName, tuple[Piece, ...]]:
    return {
        node: tuple(
            Piece(task=part.task, shards=part.shards, documents=part.documents)
            for part in parts
            if part.sent is Sent.ACCEPTED and part.task is not None
        )
        for node, parts in answers.items()
    }


# -- settling


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskView:
    """A node's task as far as settling needs it."""

    uid: int
    status: str
    type: str
    indexed: int | None = None
    error: str | None = None
    metadata: str | None = None

    @property
    def final(self) -> bool:
        return self.status not in ("enqueued", "processing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The tasks of an index on one node above what was looked at before; `complete` when none is missing at the end."""

    tasks: Mapping[int, TaskView]
    complete: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """One look at all nodes: a node without a look did not answer. `given_up` names the nodes that have been silent
    or without progress for too long, with the reason.

    `expected`: the metadata of the intents whose tasks were recorded before the look began. Of any other one a missing
    task means nothing: it may have been sent after its node was asked.
    """

    looks: Mapping[NodeName, Look]
    expected: frozenset[str]
    given_up: Mapping[NodeName, str] = field(default_factory=dict)


HARMLESS = frozenset({"indexCompaction"})
"""Types of tasks that change neither documents nor settings, whoever made them."""


class Fate(Enum):
    """What became of a shard's part of a write on one node."""

    STORED = "stored"
    MISSED = "missed"
    PENDING = "pending"
    SILENT = "silent"
    """Nothing is known of it, and its node has been silent or without progress for too long."""


def judge_settling(pending: Pending, sight: Sight) -> Settlement:
    """Decide, strictly in order, the intents that can be decided (rule S2), and audit the tasks seen (rule S3)."""
    in_sync = {shard: set(nodes) for shard, nodes in pending.in_sync.items()}
    verdicts: list[Verdict] = []
    for intent in pending.intents:
        verdict = _settle_one(intent, in_sync, sight)
        if verdict is None:
            break
        verdicts.append(verdict)
        for node, shards in verdict.stale.items():
            for shard in shards:
                in_sync[shard].discard(node)
    foreign, looked = _audit(pending, sight, settled={verdict.n for verdict in verdicts})
    return Settlement(verdicts=verdicts, foreign=foreign, looked=looked)


def _settle_one(intent: Intent, in_sync: Mapping[ShardId, set[NodeName]], sight: Sight) -> Verdict | None:
    if intent.state is IntentState.OPEN:
        return None
    if intent.state is not IntentState.SENT:
        return Verdict(n=intent.n, state=intent.state)
    if intent.metadata not in sight.expected:
        return None
    stale: dict[NodeName, set[ShardId]] = {}
    failed: set[ShardId] = set()
    reasons: list[str] = []
    for shard in sorted(intent.shards - intent.refused):
        fates = {
            target.node: fate_of(target, shard, sight, kind=intent.kind)
            for target in intent.targets
            if shard in target.shards and target.node in in_sync.get(shard, ())
        }
        if any(fate is Fate.PENDING for fate, _ in fates.values()):
            return None
        reasons += [reason for _, reason in fates.values() if reason]
        stored = {node for node, (fate, _) in fates.items() if fate is Fate.STORED}
        if not stored and any(fate is Fate.SILENT for fate, _ in fates.values()):
            return None
        if not stored:
            failed.add(shard)
            continue
        for node in set(fates) - stored:
            stale.setdefault(node, set()).add(shard)
    state = IntentState.FAILED if failed == intent.shards - intent.refused else IntentState.DONE
    return Verdict(
        n=intent.n,
        state=state,
        stale=_frozen(stale),
        failed=frozenset(failed),
        error=reasons[0] if reasons else None,
    )


def fate_of(target: IntentTarget, shard: ShardId, sight: Sight, *, kind: WriteKind) -> tuple[Fate, str | None]:
    """What became of a shard's part on one target, with the reason when it was missed.

    A document write is stored when its task succeeded and indexed as many distinct documents as were sent: a node
    that lost the payload reports success for none. A null count says that a later deletion was batched with it.
    """
    piece = target.piece(shard)
    if piece is None:
        return Fate.MISSED, f"node `{target.node}` did not accept it"
    look = sight.looks.get(target.node)
    task = look.tasks.get(piece.task) if look else None
    if task is not None and task.final:
        if task.status != "succeeded":
            return Fate.MISSED, f"task {task.uid} on node `{target.node}`: {task.error or task.status}"
        counted = kind.counts_documents and task.indexed is not None and piece.documents is not None
        if counted and task.indexed != piece.documents:
            return Fate.MISSED, (
                f"task {task.uid} on node `{target.node}` indexed {task.indexed} of {piece.documents} documents"
            )
        return Fate.STORED, None
    if target.node in sight.given_up:
        return Fate.SILENT, sight.given_up[target.node]
    if gone(piece, look):
        return Fate.MISSED, f"task {piece.task} is gone from node `{target.node}`"
    return Fate.PENDING, None


def gone(piece: Piece, look: Look | None) -> bool:
    """Whether a node that answered has no trace of a task that it had accepted before it was asked."""
    return look is not None and look.complete and piece.task not in look.tasks


def _audit(
    pending: Pending, sight: Sight, *, settled: set[int]
) -> tuple[dict[NodeName, dict[int, frozenset[ShardId] | None]], dict[NodeName, int]]:
    """Tasks that nobody recorded, and for each node the uid up to which every task is final and accounted for."""
    by_metadata = {intent.metadata: intent for intent in pending.intents}
    unmarked = {intent.kind.unmarked for intent in pending.intents if intent.state is IntentState.OPEN} - {None}
    foreign: dict[NodeName, dict[int, frozenset[ShardId] | None]] = {}
    looked: dict[NodeName, int] = {}
    for node, look in sight.looks.items():
        lane = pending.lanes.get(node)
        if lane is None:
            continue
        known = pending.known.get(node, frozenset())
        needed = _first_needed(pending, node, settled)
        passed = True
        for uid in sorted(look.tasks):
            if uid <= lane.looked:
                continue
            task = look.tasks[uid]
            mover = _mover_of(task, pending)
            touched = moved_since(uid, node, mover, pending) if mover is not None else None
            if uid not in known and touched != frozenset() and task.type not in HARMLESS:
                intent = by_metadata.get(":".join((task.metadata or "").split(":")[:4]))
                sending = intent is not None and intent.state is IntentState.OPEN
                if sending or task.type in unmarked:
                    passed = False
                    continue
                foreign.setdefault(node, {})[uid] = intent.shards if intent is not None else touched
            passed = passed and task.final and (needed is None or uid < needed)
            if passed:
                looked[node] = uid
    return foreign, looked


def _mover_of(task: TaskView, pending: Pending) -> Mover | None:
    """The attempt of a move that a task belongs to, by its metadata."""
    metadata = task.metadata or ""
    return pending.movers.get(metadata.removeprefix(MOVER_PREFIX)) if metadata.startswith(MOVER_PREFIX) else None


def moved_since(task: int, node: NodeName, mover: Mover, pending: Pending) -> frozenset[ShardId]:
    """The shards of a mover's attempt whose replica on the node serves, and did so when the task was enqueued: from its
    base on a replica that was moved is nobody's but the writers'."""
    return frozenset(
        shard
        for shard in mover.shards
        if node in pending.in_sync.get(shard, ()) and task >= pending.bases.get((node, shard), 0)
    )


def _first_needed(pending: Pending, node: NodeName, settled: set[int]) -> int | None:
    """The lowest task of a node that an intent still to be settled depends on."""
    tasks = [
        piece.task
        for intent in pending.intents
        if intent.n not in settled
        for target in intent.targets
        if target.node == node
        for piece in target.pieces
    ]
    return min(tasks, default=None)


def stored_on(intent: Intent, in_sync: InSync) -> int:
    """On how many replicas the least replicated shard of a settled intent is stored."""
    shards = intent.shards - intent.refused - intent.failed
    counts = [sum(target.node in in_sync.get(shard, ()) for target in intent.targets) for shard in shards]
    return min(counts, default=0)


def _frozen(stale: Mapping[NodeName, Iterable[ShardId]]) -> dict[NodeName, frozenset[ShardId]]:
    return {node: frozenset(shards) for node, shards in stale.items()}
