"""What every backend decides about moves of replicas, and about who watches what is written meanwhile. Pure."""

from __future__ import annotations

from typing import Final

from miroir_cli.model import ReplicaState

CHANGES_PAGE: Final = 200
"""Writes of which the keys are read at a time: a long move reads of many, and others want the state meanwhile."""

WATCHER: Final = ""
"""In the place of a node: a mover that fills no replica."""

WATCH_LEASE: Final = 600_000
"""Milliseconds after which a watch that nobody has renewed is over: its process is dead."""


def before_filling(state: ReplicaState, was: ReplicaState | None, nonce: str | None) -> ReplicaState | None:
    """What a replica was before somebody began to fill it. One whose disk was lost meanwhile has still its nonce."""
    if state is ReplicaState.LOST and nonce is not None and was is None:
        return None
    return was if state is ReplicaState.JOINING else state


def given_up(before: ReplicaState | None) -> ReplicaState:
    """What a replica is that nobody fills any more: stale or lost as it was before, or on its way out."""
    return before if before in (ReplicaState.STALE, ReplicaState.LOST) else ReplicaState.LEAVING
