"""What may be done to one shard: its steps, held against the replicas that remain. Pure.

The rules, in the order in which they are applied:

1. A shard without an in-sync replica on a node that answers is left alone: nothing can be copied, and what is stale
   may be all that is left of it. Only when a node that held it was given up is it counted as lost; then its steps
   stay in the plan, for a run that was told to go on without it.
2. A copy needs a target that answers. What it would have replaced stays.
3. An in-sync replica is dropped only when, after all steps that are left, the shard still has `min_in_sync` in-sync
   replicas (at least one) on nodes that answer, and one of them in the same group if that group stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

from miroir_cli.migration.step import PlannedStep, Refusal, StepKind
from miroir_cli.migration.target import HELD, JOINING, LEAVING, SERVING

if TYPE_CHECKING:
    from miroir_cli.model import IndexUid, Node, NodeName, ReplicaState, ShardId
    from miroir_cli.topology.placement import Move


@dataclass(frozen=True, slots=True, kw_only=True)
class Members:
    """The nodes as a plan sees them: those of the topology, which of them answer, and which are given up."""

    nodes: Mapping[NodeName, Node]
    present: Set[NodeName]
    lost: Set[NodeName]
    min_in_sync: int

    def usable(self, names: Set[NodeName]) -> set[NodeName]:
        return {name for name in names if name in self.nodes and name in self.present}

    def group(self, name: NodeName) -> str | None:
        """The group of a node that takes shards or whose group has others that do; None when it does not stay."""
        if name not in self.nodes:
            return None
        group = self.nodes[name].group
        return group if any(node.group == group and not node.drained for node in self.nodes.values()) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One shard with the state of each of its replicas."""

    index: IndexUid
    number: ShardId
    states: Mapping[NodeName, ReplicaState]

    def in_sync(self) -> set[NodeName]:
        return {name for name, state in self.states.items() if state is SERVING}

    def steps(self, moves: Sequence[Move], *, target: Set[NodeName]) -> Iterator[PlannedStep]:
        """Everything that leads to the target placement, whether it can be done or not."""
        for move in moves:
            if move.target is None:
                yield self._drop(move.source)
            else:
                yield self._copy(move.target, leaving=move.source)
        for name, state in sorted(self.states.items()):
            if state in (JOINING, LEAVING) and name not in target:
                yield self._drop(name)
            elif state in HELD and state is not SERVING and name in target:
                yield self._copy(name)

    def repairs(self, names: Set[NodeName]) -> Iterator[PlannedStep]:
        """Mends these replicas where they are."""
        yield from (self._copy(name) for name in sorted(names))

    def _copy(self, target: NodeName, *, leaving: NodeName | None = None) -> PlannedStep:
        return PlannedStep(
            index=self.index,
            shard=self.number,
            kind=StepKind.COPY,
            target=target,
            leaving=leaving,
            repair=target in self.states,
        )

    def _drop(self, leaving: NodeName | None) -> PlannedStep:
        return PlannedStep(index=self.index, shard=self.number, kind=StepKind.DROP, leaving=leaving)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What is left of a shard's steps. `lost`: they start from nothing, for no replica is left to copy from."""

    steps: tuple[PlannedStep, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    lost: bool = False


def judge(shard: Shard, steps: Sequence[PlannedStep], members: Members) -> Judgement:
    """Apply the rules at the top of this module."""
    if not steps:
        return Judgement()
    sourceless = not members.usable(shard.in_sync())
    lost = sourceless and not shard.in_sync() and any(name in members.lost for name in shard.states)
    if sourceless and not lost:
        last_copy = bool(shard.in_sync()) and not any(name in members.nodes for name in shard.in_sync())
        return Judgement(refusals=(_refusal(shard, _no_source(shard, members), last_copy=last_copy),))
    accepted: list[PlannedStep] = []
    refusals: list[Refusal] = []
    for step in steps:
        if step.target is not None and step.target not in members.present:
            refusals.append(_refusal(shard, f"node `{step.target}` does not answer"))
        elif step.target is not None:
            accepted.append(step)
    for step in steps:
        if step.leaving is None or step.target is not None:
            continue
        if lost:
            reason = None if step.leaving not in members.nodes else "what is left of a lost shard is not dropped"
        else:
            reason = _too_few(shard, step.leaving, accepted, members)
        if reason is None:
            accepted.append(step)
        else:
            refusals.append(_refusal(shard, reason))
    return Judgement(steps=tuple(accepted), refusals=tuple(refusals), lost=lost)


def _too_few(shard: Shard, name: NodeName, accepted: Sequence[PlannedStep], members: Members) -> str | None:
    """Why the replica on this node cannot be dropped; None when it can."""
    if shard.states[name] is not SERVING:
        return None
    after = shard.in_sync() | {step.target for step in accepted if step.target is not None}
    left = members.usable(after - {step.leaving for step in accepted if step.leaving is not None} - {name})
    needed = max(1, members.min_in_sync) if name in members.nodes else 1
    drop = f"dropping the replica on `{name}` would leave"
    if len(left) < needed:
        count = "1 in-sync replica" if len(left) == 1 else f"{len(left)} in-sync replicas"
        return f"{drop} {count} on nodes that answer, at least {needed} must remain"
    group = members.group(name)
    if group is not None and not any(members.nodes[other].group == group for other in left):
        return f"{drop} group `{group}` no in-sync replica on a node that answers"
    return None


def _no_source(shard: Shard, members: Members) -> str:
    silent = sorted(name for name in shard.in_sync() if name in members.nodes)
    if silent:
        return f"unreachable source: {_in_sync_on(silent)} {'does' if len(silent) == 1 else 'do'} not answer"
    vanished = sorted(shard.in_sync())
    if vanished:
        where = f"{_in_sync_on(vanished)} {'is' if len(vanished) == 1 else 'are'} not in the topology file"
        return f"last copy: {where}; put it back, or force its loss"
    return f"no replica is in sync; {_best_left(shard)}"


def _in_sync_on(names: Sequence[NodeName]) -> str:
    listed = ", ".join(f"`{name}`" for name in names)
    return f"the only in-sync replica is on {listed}, which" if len(names) == 1 else f"in sync are {listed}, which"


def _best_left(shard: Shard) -> str:
    left = sorted((state, name) for name, state in shard.states.items())
    if not left:
        return "nothing is left of it"
    return "left are " + ", ".join(f"`{name}` ({state})" for state, name in left)


def _refusal(shard: Shard, reason: str, *, last_copy: bool = False) -> Refusal:
    return Refusal(index=shard.index, shard=shard.number, reason=reason, last_copy=last_copy)
