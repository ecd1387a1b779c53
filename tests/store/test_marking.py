"""Which replicas a mark takes out of service."""

from __future__ import annotations

from miroir_cli.model import NodeName, ReplicaState, ShardId
from miroir_cli.store.marking import marked

A, B, C = NodeName("a"), NodeName("b"), NodeName("c")
ZERO, ONE = ShardId(0), ShardId(1)


def test_the_last_in_sync_replica_of_a_shard_is_never_stale() -> None:
    in_sync = {ZERO: frozenset({A, B}), ONE: frozenset({B})}
    found = marked(in_sync, {B: [ONE, ZERO], A: [ZERO, ONE]}, state=ReplicaState.STALE)
    assert found == {A: {ZERO}}
    assert in_sync[ZERO] == {A, B}


def test_what_is_not_in_sync_is_not_stale_and_may_be_lost() -> None:
    in_sync = {ZERO: frozenset({A})}
    assert marked(in_sync, {C: [ZERO], A: [ZERO]}, state=ReplicaState.STALE) == {}
    assert marked(in_sync, {C: [ZERO], A: [ZERO, ONE]}, state=ReplicaState.LOST) == {A: {ZERO, ONE}, C: {ZERO}}
