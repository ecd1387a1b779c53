"""The steps of a plan, what stands in the way of one, and shards in words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from miroir_cli.model import shards_named

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


def describe_shards(named: Iterable[tuple[str, int | None]]) -> str:
    """Shards in words, by index; None stands for the whole index."""
    by_index: dict[str, list[int]] = {}
    for uid, shard in named:
        by_index.setdefault(uid, []).extend([] if shard is None else [shard])
    return ", ".join(
        f"{shards_named(shards)} of index `{uid}`" if shards else f"index `{uid}`" for uid, shards in by_index.items()
    )


def refusals_told(refusals: Iterable[Refusal]) -> list[str]:
    """Refusals in words, those with the same reason together."""
    by_reason: dict[str, list[tuple[str, int | None]]] = {}
    for refusal in refusals:
        by_reason.setdefault(refusal.reason, []).append((refusal.index, refusal.shard))
    return [f"{describe_shards(named)}: {reason}" for reason, named in by_reason.items()]
