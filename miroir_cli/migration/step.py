"""The steps of a plan, and what stands in the way of one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from miroir_cli.model import IndexUid, NodeName, ShardId


class StepKind(StrEnum):
    """`copy`: the replica on `target` is made equal to an in-sync one, then the one on `leaving` (if any) goes.
    `drop`: only the replica on `leaving` is taken away."""

    COPY = "copy"
    DROP = "drop"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """One change of one shard. With `repair` the target has a replica already, and that one is mended in place: it is
    stale or lost, or was joining or leaving when an earlier run ended."""

    index: IndexUid
    shard: ShardId
    kind: StepKind
    target: NodeName | None = None
    leaving: NodeName | None = None
    repair: bool = False

    @property
    def node(self) -> NodeName:
        """The node that has the work: the target of a copy, the node that a drop is from."""
        node = self.target if self.target is not None else self.leaving
        assert node is not None
        return node


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What cannot be done, and why. `shard` is None when it holds for the whole index. `last_copy`: nodes that the
    topology no longer names have the shard's only in-sync replicas."""

    index: IndexUid
    shard: ShardId | None
    reason: str
    last_copy: bool = False
