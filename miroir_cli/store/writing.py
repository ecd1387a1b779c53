"""What every backend decides about writes: who gets one, what a verdict makes of it, what is kept. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from miroir_cli.errors import IndexFrozen, MiroirError, NoQuorum, ShardUnavailable, TemporaryError
from miroir_cli.model import Index, Intent, IntentState, IntentTarget, NodeName, Piece, ShardId

if TYPE_CHECKING:
    from miroir_cli.store.records import InSync, Marked, Verdict

KEPT_SETTLED = 10_000
"""Settled intents kept for `miroir journal` and for imports that look back."""

PRUNE_EVERY = 500
"""Intents that are settled between two looks at what is kept."""


def require_writable(index: Index, *, key: str, frozen: str | None) -> None:
    """Raise unless documents may be written, with the primary key that the writer knows. `key` and `frozen`: those of
    the index as it is stored."""
    if frozen is not None:
        raise IndexFrozen(
            f"index `{index.uid}` takes no writes: {frozen}", hint=f"run `miroir index unfreeze {index.uid}`"
        )
    if key != index.primary_key:
        raise TemporaryError(f"the primary key of index `{index.uid}` was changed meanwhile", hint="write again")


def targets_of(
    uid: str, documents: Mapping[ShardId, int | None], in_sync: InSync, *, min_in_sync: int
) -> tuple[IntentTarget, ...]:
    """What each node is to get of a write: the replicas in sync at this moment, in the order of their nodes.

    Raises `ShardUnavailable` or `NoQuorum` when a shard has none or too few.
    """
    shards: dict[NodeName, set[ShardId]] = {}
    counts: dict[NodeName, int | None] = {}
    for shard in sorted(documents):
        nodes = in_sync.get(shard, frozenset())
        refusal = _too_few(uid, shard, len(nodes), min_in_sync=min_in_sync)
        if refusal is not None:
            raise refusal
        for node in nodes:
            shards.setdefault(node, set()).add(shard)
            count, total = documents[shard], counts.get(node, 0)
            counts[node] = None if count is None or total is None else total + count
    return tuple(
        IntentTarget(node=node, shards=frozenset(shards[node]), documents=counts[node]) for node in sorted(shards)
    )


def _too_few(uid: str, shard: ShardId, found: int, *, min_in_sync: int) -> MiroirError | None:
    if not found:
        return ShardUnavailable(
            f"shard {shard} of index `{uid}` has no in-sync replica",
            hint="run `miroir status` to see its replicas",
        )
    if found < min_in_sync:
        return NoQuorum(
            f"shard {shard} of index `{uid}` has {found} in-sync replica(s), `min_in_sync` is {min_in_sync}",
            hint="bring its other nodes back, or lower `min_in_sync` in the topology file",
        )
    return None


def ended(intent: Intent, verdict: Verdict) -> Intent:
    """An intent after a verdict: what it knew before stays known."""
    return replace(
        intent,
        state=verdict.state,
        refused=verdict.refused | intent.refused,
        failed=verdict.failed | intent.failed,
        error=verdict.error or intent.error,
        targets=tuple(
            replace(target, pieces=_joined(target.pieces, verdict.pieces.get(target.node, ())))
            for target in intent.targets
        ),
    )


def _joined(before: Iterable[Piece], more: Iterable[Piece]) -> tuple[Piece, ...]:
    """In the order of their tasks, each once."""
    by_task = {piece.task: piece for piece in (*before, *more)}
    return tuple(by_task[task] for task in sorted(by_task))


def takes_effect(intent: Intent, verdict: Verdict) -> bool:
    """Whether what an intent says of the index as a whole, its settings or its primary key, holds from now on."""
    stored = verdict.state is IntentState.DONE and not (intent.refused or verdict.failed)
    return stored and intent.body is not None


def require_next(verdict: Verdict, settled: int) -> int:
    """How far the index is settled by a verdict: they come strictly in order."""
    if verdict.n != settled + 1:
        raise AssertionError(f"intent {verdict.n} judged before intent {settled + 1}")
    return verdict.n


def pruned_below(settled: int, *, before: int) -> int | None:
    """Below which number settled intents are forgotten, now that it is settled up to here; None: not at this time."""
    return settled - KEPT_SETTLED if settled % PRUNE_EVERY < settled - before else None


def doubtful(
    foreign: Mapping[NodeName, Mapping[int, frozenset[ShardId] | None]], in_sync: InSync
) -> dict[NodeName, set[ShardId]]:
    """The replicas in sync that tasks which nobody recorded may have changed."""
    replicas: dict[NodeName, set[ShardId]] = {}
    for node, tasks in foreign.items():
        here = {shard for shard, nodes in in_sync.items() if node in nodes}
        for shards in tasks.values():
            replicas.setdefault(node, set()).update(here if shards is None else here & shards)
    return replicas


def gathered(marks: Iterable[Marked]) -> dict[NodeName, frozenset[ShardId]]:
    """All replicas that several marks took out of service."""
    stale: dict[NodeName, set[ShardId]] = {}
    for marked in marks:
        for node, shards in marked.stale.items():
            stale.setdefault(node, set()).update(shards)
    return {node: frozenset(shards) for node, shards in stale.items()}
