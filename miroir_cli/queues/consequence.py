"""What it means to take a task out of a node's queue. Pure.

A write of miroir that a node does not apply makes that node's replicas of its shards stale (rule S2 of
docs/concepts/writes.md), as long as another replica has it, or will: where none has, nobody stores that part of the
write, and it ends as failed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from miroir_cli.model import RESERVED_INDEX, Intent, IntentState, IntentTarget, ShardId, shards_named
from miroir_cli.store.journal import MOVER_PREFIX

if TYPE_CHECKING:
    from miroir_cli.model import NodeName
    from miroir_cli.queues.measure import NodeTask

WRITE_PREFIX = "m:"


class Carries(StrEnum):
    """What a task of a node is to miroir."""

    WRITE = "write"
    """A recorded write that has not ended."""
    MOVE = "move"
    """A shard that is being filled, mended or emptied."""
    STATE = "state"
    """The node's copy of the state."""
    OTHER = "other"
    """Nothing that miroir waits for: somebody else's, or of a write that has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Consequence:
    """What follows when a task is taken out. `n`: the number of the write. `stale`: shards whose replica on the node
    would be stale; `lost`: those of which nobody would store the write's part."""

    carries: Carries
    told: str
    n: int | None = None
    stale: frozenset[ShardId] = frozenset()
    lost: frozenset[ShardId] = frozenset()


def carried_by(task: NodeTask) -> Carries:
    """What a task is to miroir, as far as it tells by itself."""
    if task.index == RESERVED_INDEX:
        return Carries.STATE
    mark = task.mark or ""
    if mark.startswith(MOVER_PREFIX):
        return Carries.MOVE
    return Carries.WRITE if mark.startswith(WRITE_PREFIX) else Carries.OTHER


def intent_of(task: NodeTask, intents: Sequence[Intent]) -> Intent | None:
    """The unsettled write that a task carries: the one that has recorded it, or whose mark it has."""
    for intent in intents:
        recorded = any(
            piece.task == task.uid for target in intent.targets if target.node == task.node for piece in target.pieces
        )
        if recorded or (task.mark or "").startswith(intent.metadata):
            return intent
    return None


def number_in(mark: str | None, *, incarnation: int) -> int | None:
    """The number of the write in a task's mark, when it is one of this index and not of an earlier one of its name."""
    parts = (mark or "").split(":")
    if len(parts) < 4 or f"{parts[0]}:" != WRITE_PREFIX or parts[1] != str(incarnation) or not parts[2].isdigit():
        return None
    return int(parts[2])


def judge_cancelling(
    task: NodeTask,
    intent: Intent | None,
    in_sync: Mapping[ShardId, frozenset[NodeName]],
    alive: Mapping[tuple[NodeName, int], bool],
) -> Consequence:
    """What follows when a task that has not ended is cancelled.

    `alive` says of the other tasks of the same write whether they were applied, or still can be. One that is not among
    them counts as gone: its node does not answer.
    """
    if intent is None:
        return _without_write(task)
    shards = _shards_of(task, intent)
    touched = frozenset(shard for shard in shards if task.node in in_sync.get(shard, frozenset()))
    lost = frozenset(shard for shard in touched if not _elsewhere(shard, task.node, intent, in_sync, alive))
    stale = touched - lost
    return Consequence(
        carries=Carries.WRITE, told=_told(task, intent, stale=stale, lost=lost), n=intent.n, stale=stale, lost=lost
    )


def is_being_sent(intent: Intent) -> bool:
    """Whether it is not known yet which nodes have the write."""
    return intent.state is IntentState.OPEN


def _without_write(task: NodeTask) -> Consequence:
    carries = carried_by(task)
    match carries:
        case Carries.MOVE:
            told = f"it belongs to a move: that shard's step on `{task.node}` fails, and the run tries it again"
        case Carries.STATE:
            told = f"it is `{task.node}`'s copy of the state: it is older than the others' until the next change"
        case Carries.WRITE:
            told = "it carries a write of miroir that has ended: nothing waits for it any more"
        case _:
            told = "it is no write of miroir's: whoever made it does not get what they asked for"
    return Consequence(carries=carries, told=told)


def _shards_of(task: NodeTask, intent: Intent) -> frozenset[ShardId]:
    for target in intent.targets:
        if target.node == task.node:
            own = [piece.shards for piece in target.pieces if piece.task == task.uid]
            return own[0] if own else target.shards
    return frozenset()


def _elsewhere(
    shard: ShardId,
    node: NodeName,
    intent: Intent,
    in_sync: Mapping[ShardId, frozenset[NodeName]],
    alive: Mapping[tuple[NodeName, int], bool],
) -> bool:
    """Whether another replica in sync has the write's part of a shard, or still can get it."""
    return any(
        _has(target, shard, alive)
        for target in intent.targets
        if target.node != node and target.node in in_sync.get(shard, frozenset())
    )


def _has(target: IntentTarget, shard: ShardId, alive: Mapping[tuple[NodeName, int], bool]) -> bool:
    piece = target.piece(shard)
    return piece is not None and alive.get((target.node, piece.task), False)


def _told(task: NodeTask, intent: Intent, *, stale: frozenset[ShardId], lost: frozenset[ShardId]) -> str:
    write = f"write {intent.n} of index `{intent.uid}` ({intent.kind.value.replace('_', ' ')})"
    if lost:
        return f"nobody else has {write} for {shards_named(lost)}: it would be stored nowhere, and end as failed"
    if stale:
        return (
            f"it carries {write}: the replicas of {shards_named(stale)} on `{task.node}` miss it and are stale, "
            "until `miroir repair`"
        )
    return f"it carries {write}, for replicas on `{task.node}` that are not in sync anyway"
