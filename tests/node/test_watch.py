"""What is learnt of nodes by asking them: prices, pauses, and when they are late."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from miroir_cli.model import NodeName
from miroir_cli.node.standing import HALF_LIFE, LONGEST_PAUSE, SOONEST_LATE, late_after, mean, pause, price
from miroir_cli.node.watch import HEDGES_SAVED, NodeWatch

A, B = NodeName("a"), NodeName("b")


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(clock: Clock) -> NodeWatch:
    return NodeWatch(clock=clock)


def answer(watch: NodeWatch, clock: Clock, name: NodeName, seconds: float) -> None:
    since = watch.asked(name)
    clock.now += seconds
    watch.answered(name, since)


def fail(watch: NodeWatch, name: NodeName, times: int = 1) -> None:
    for _ in range(times):
        watch.failed(name, watch.asked(name))


def prices(watch: NodeWatch) -> dict[NodeName, float]:
    found = watch.prices([A, B])
    assert found is not None
    return found


def test_a_mean_follows_what_is_new() -> None:
    assert mean(None, 2.0) == 2.0
    found = 1.0
    for _ in range(12):
        found = mean(found, 5.0)
    assert 4.9 < found < 5.0


def test_a_price_rises_with_questions_outstanding_and_falls_with_idle_time() -> None:
    assert price(0.1, outstanding=0, idle=0) == 0.1
    assert price(0.1, outstanding=1, idle=0) == pytest.approx(0.8)
    assert price(0.1, outstanding=0, idle=HALF_LIFE) == pytest.approx(0.05)


def test_pauses_begin_with_the_third_failure_and_grow_up_to_a_limit() -> None:
    assert [pause(failures) for failures in range(6)] == [0, 0, 0, 1, 2, 4]
    assert pause(10_000) == LONGEST_PAUSE


def test_who_is_late_is_told_from_the_answers_of_that_node() -> None:
    assert late_after([0.1] * 19, 1.5) == 1.5
    assert late_after([0.1] * 96 + [9.0] * 4, 1.5) == pytest.approx(0.12)
    assert late_after([0.1] * 90 + [9.0] * 10, 1.5) == 1.5
    assert late_after([0.001] * 50, 1.5) == SOONEST_LATE


def test_the_faster_node_is_cheaper_until_it_has_more_to_do(watch: NodeWatch, clock: Clock) -> None:
    answer(watch, clock, A, 0.010)
    answer(watch, clock, B, 0.030)
    assert prices(watch)[A] < prices(watch)[B]
    watch.asked(A)
    assert prices(watch)[A] > prices(watch)[B]


def test_a_slow_node_is_tried_again_after_a_while(watch: NodeWatch, clock: Clock) -> None:
    answer(watch, clock, A, 0.001)
    answer(watch, clock, B, 0.5)
    for _ in range(100):
        clock.now += 1.0
        answer(watch, clock, A, 0.001)
        if prices(watch)[B] < prices(watch)[A]:
            return
    pytest.fail("it is never tried again")


def test_a_node_that_fails_costs_more(watch: NodeWatch, clock: Clock) -> None:
    answer(watch, clock, A, 0.01)
    answer(watch, clock, B, 0.1)
    fail(watch, A)
    assert prices(watch)[A] > prices(watch)[B]


def test_a_node_that_fails_often_is_left_alone_then_gets_one_question_then_all(watch: NodeWatch, clock: Clock) -> None:
    fail(watch, A, 2)
    assert watch.shunned() == frozenset()
    fail(watch, A)
    assert watch.shunned() == {A}
    clock.now += 1.1
    assert watch.shunned() == frozenset()
    trial = watch.asked(A)
    assert watch.shunned() == {A}
    watch.answered(A, trial)
    assert watch.shunned() == frozenset()


def test_a_node_that_fails_its_trial_or_is_late_there_is_left_alone_for_longer(watch: NodeWatch, clock: Clock) -> None:
    fail(watch, A, 3)
    clock.now += 1.1
    fail(watch, A)
    clock.now += 1.1
    assert watch.shunned() == {A}
    clock.now += 1.0
    trial = watch.asked(A)
    clock.now += 0.5
    watch.given_up(A, trial, late=True)
    clock.now += 3.0
    assert watch.shunned() == {A}


def test_a_trial_that_its_client_gave_up_says_nothing(watch: NodeWatch, clock: Clock) -> None:
    fail(watch, A, 3)
    clock.now += 1.1
    watch.given_up(A, watch.asked(A), late=False)
    assert watch.shunned() == frozenset()


def test_one_answer_ends_a_row_of_failures(watch: NodeWatch, clock: Clock) -> None:
    fail(watch, A, 2)
    answer(watch, clock, A, 0.01)
    fail(watch, A, 2)
    assert watch.shunned() == frozenset()


def test_a_node_gets_slower_by_answers_that_nobody_waited_for(watch: NodeWatch, clock: Clock) -> None:
    for _ in range(40):
        answer(watch, clock, A, 0.1)
    assert watch.late_after(A, 1.5) == pytest.approx(0.12)
    for _ in range(16):
        since = watch.asked(A)
        clock.now += 0.2
        watch.given_up(A, since, late=True)
    assert watch.late_after(A, 1.5) == pytest.approx(0.24)


def test_hedges_are_a_tenth_of_the_questions(watch: NodeWatch) -> None:
    for _ in range(int(HEDGES_SAVED)):
        assert watch.may_hedge()
    assert not watch.may_hedge()
    for _ in range(11):
        watch.asked(A)
    assert watch.may_hedge()
    assert not watch.may_hedge()


def test_each_can_be_switched_off(clock: Clock) -> None:
    watch = NodeWatch(adaptive=False, hedging=False, clock=clock)
    fail(watch, A, 9)
    assert watch.prices([A, B]) is None
    assert watch.shunned() == frozenset()
    assert not watch.may_hedge()
