"""What it means to cancel a task of a node: which replicas become stale, and what would be stored nowhere."""

from __future__ import annotations

from dataclasses import replace

import pytest

from miroir_cli.model import IndexUid, Intent, IntentState, IntentTarget, NodeName, Piece, ShardId, WriteKind
from miroir_cli.queues.consequence import (
    Carries,
    carried_by,
    intent_of,
    is_being_sent,
    judge_cancelling,
    number_in,
)
from miroir_cli.queues.measure import NodeTask

A, B = NodeName("a"), NodeName("b")
ZERO, ONE = ShardId(0), ShardId(1)


def target(node: NodeName, task: int, *shards: ShardId) -> IntentTarget:
    found = frozenset(shards)
    return IntentTarget(node=node, shards=found, documents=3, pieces=(Piece(task=task, shards=found, documents=3),))


WRITE = Intent(
    uid=IndexUid("books"), incarnation=1, n=5, nonce="x", kind=WriteKind.ADD, state=IntentState.SENT,
    targets=(target(A, 10, ZERO, ONE), target(B, 20, ZERO)),
)  # fmt: skip
TASK = NodeTask(
    node=A,
    uid=10,
    type="documentAdditionOrUpdate",
    status="enqueued",
    enqueued_at=0,
    index="books",
    mark=WRITE.metadata,
)
BOTH = {ZERO: frozenset({A, B}), ONE: frozenset({A, B})}


def test_a_replica_that_misses_a_write_is_stale_where_another_one_has_it() -> None:
    found = judge_cancelling(replace(TASK, node=B, uid=20), WRITE, BOTH, {(A, 10): True})
    assert (found.carries, found.n, found.stale, found.lost) == (Carries.WRITE, 5, frozenset({ZERO}), frozenset())
    assert found.told.startswith("it carries write 5 of index `books` (add): the replicas of shard 0 on `b` miss it")


@pytest.mark.parametrize("alive", [{(B, 20): False}, {}, {(B, 21): True}])
def test_what_nobody_else_has_would_be_lost(alive: dict[tuple[NodeName, int], bool]) -> None:
    found = judge_cancelling(TASK, WRITE, BOTH, alive)
    assert (found.stale, found.lost) == (frozenset(), frozenset({ZERO, ONE}))
    assert "nobody else has write 5" in found.told and "shards 0, 1" in found.told


def test_each_shard_is_judged_by_itself() -> None:
    found = judge_cancelling(TASK, WRITE, BOTH, {(B, 20): True})
    assert (found.stale, found.lost) == (frozenset({ZERO}), frozenset({ONE}))


def test_replicas_out_of_sync_count_on_neither_side() -> None:
    found = judge_cancelling(TASK, WRITE, {ZERO: frozenset({A}), ONE: frozenset({A})}, {(B, 20): True})
    assert found.lost == {ZERO, ONE}
    found = judge_cancelling(TASK, WRITE, {ZERO: frozenset({B}), ONE: frozenset()}, {(B, 20): True})
    assert (found.stale, found.lost) == (frozenset(), frozenset()) and "not in sync anyway" in found.told


def test_a_part_of_a_write_in_two_tasks_concerns_its_own_shards() -> None:
    halves = (Piece(task=10, shards=frozenset({ZERO})), Piece(task=11, shards=frozenset({ONE})))
    write = replace(WRITE, targets=(replace(WRITE.targets[0], pieces=halves), target(B, 20, ZERO, ONE)))
    found = judge_cancelling(replace(TASK, uid=11), write, BOTH, {(B, 20): True})
    assert found.stale == {ONE}


def test_a_task_is_found_by_its_record_or_its_mark() -> None:
    assert intent_of(replace(TASK, mark=None), [WRITE]) is WRITE
    assert intent_of(replace(TASK, uid=99, mark=WRITE.piece_metadata(frozenset({ZERO}))), [WRITE]) is WRITE
    assert intent_of(replace(TASK, uid=99, mark="m:1:6:y"), [WRITE]) is None
    assert is_being_sent(replace(WRITE, state=IntentState.OPEN)) and not is_being_sent(WRITE)


def test_what_is_no_write_that_is_waited_for_is_told_apart() -> None:
    marks = {"r:abc": Carries.MOVE, "m:1:3:z": Carries.WRITE, None: Carries.OTHER, "something": Carries.OTHER}
    for mark, carries in marks.items():
        found = judge_cancelling(replace(TASK, mark=mark), None, BOTH, {})
        assert (found.carries, found.stale, found.lost) == (carries, frozenset(), frozenset())
    assert carried_by(replace(TASK, index="_miroir", mark=None)) is Carries.STATE


def test_the_number_of_a_write_is_read_from_its_mark() -> None:
    assert number_in("m:1:5:x", incarnation=1) == 5
    assert number_in("m:1:5:x:0,1", incarnation=1) == 5
    for mark in ("m:2:5:x", "r:1:5:x", "m:1", None, "m:1:x:y"):
        assert number_in(mark, incarnation=1) is None
