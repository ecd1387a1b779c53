"""Every state that a run of moves can reach while somebody writes: a replica that serves equals the others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.model.explore import explore
from tests.model.scenario import CLEAR, DELETE, PATCH, PUT, Fault, Rules, Scenario
from tests.model.scenarios import (
    CATCHING_UP,
    FENCED_BEFORE_STALE,
    GIVEN_UP,
    GOES_STALE,
    MOVE_READ,
    NONE,
    ONE_FENCE,
    SINGLE,
    STALE_LEAVES,
    STORE_LOST,
    THERE_AND_BACK,
    THIRD_REPLICA,
    USUAL,
    joining,
    moving,
    name_of,
    repairing,
    with_faults,
)

CRASH, LATE, FAIL, STRAY = Fault.CRASH, Fault.LATE, Fault.FAIL, Fault.STRAY
EACH = [*NONE, *SINGLE, (STRAY,)]


def holds(scenario: Scenario) -> None:
    found = explore(scenario)
    assert found.violation is None, found
    assert found.ends


@pytest.mark.parametrize("scenario", with_faults(joining(PUT), EACH), ids=name_of)
def test_a_replica_joins_while_a_document_is_put(scenario: Scenario) -> None:
    holds(scenario)


@pytest.mark.parametrize("scenario", with_faults(joining(CLEAR), EACH), ids=name_of)
def test_a_replica_joins_while_everything_is_deleted(scenario: Scenario) -> None:
    holds(scenario)


@pytest.mark.parametrize("scenario", with_faults(repairing(PATCH), EACH), ids=name_of)
def test_a_stale_replica_joins_again(scenario: Scenario) -> None:
    holds(scenario)


@pytest.mark.parametrize("scenario", with_faults(moving(DELETE), EACH), ids=name_of)
def test_a_replica_moves_while_a_document_is_deleted(scenario: Scenario) -> None:
    holds(scenario)


@pytest.mark.parametrize("scenario", with_faults(CATCHING_UP, [(), (LATE,), (FAIL,)]), ids=name_of)
def test_catching_up_with_several_writes(scenario: Scenario) -> None:
    holds(scenario)


@pytest.mark.parametrize("scenario", with_faults(GOES_STALE, [*SINGLE, (CRASH, LATE), (CRASH, FAIL)]), ids=name_of)
def test_a_replica_goes_stale_under_load_and_is_repaired(scenario: Scenario) -> None:
    holds(scenario)


@pytest.mark.parametrize("scenario", with_faults(THERE_AND_BACK, [(CRASH,), (LATE,), (FAIL,)]), ids=name_of)
def test_a_shard_moves_there_and_back(scenario: Scenario) -> None:
    holds(scenario)


@pytest.mark.parametrize("scenario", with_faults(GIVEN_UP, [*SINGLE, (CRASH, LATE), (CRASH, FAIL)]), ids=name_of)
def test_what_a_dead_mover_has_begun_is_given_up(scenario: Scenario) -> None:
    holds(scenario)


@pytest.mark.parametrize("scenario", with_faults(STALE_LEAVES, [*SINGLE, (CRASH, LATE)]), ids=name_of)
def test_a_replica_goes_stale_before_it_leaves(scenario: Scenario) -> None:
    holds(scenario)


@pytest.mark.parametrize("scenario", with_faults(joining(PUT), [(CRASH,), (LATE,), (STRAY,)]), ids=name_of)
def test_comparing_again_behind_a_new_note_would_do_as_well(scenario: Scenario) -> None:
    holds(replace(scenario, rules=Rules(audits_since_join=False)))


@pytest.mark.parametrize("scenario", with_faults(THIRD_REPLICA, SINGLE), ids=name_of)
def test_a_source_that_may_go_stale(scenario: Scenario) -> None:
    holds(scenario)


@pytest.mark.parametrize("scenario", with_faults(ONE_FENCE, [(), (CRASH,), (LATE,), (FAIL,)]), ids=name_of)
def test_two_shards_move_behind_one_fence(scenario: Scenario) -> None:
    holds(scenario)


@pytest.mark.parametrize("scenario", with_faults(FENCED_BEFORE_STALE, [(), (LATE,), (FAIL,)]), ids=name_of)
def test_a_shard_that_goes_stale_after_the_fence(scenario: Scenario) -> None:
    holds(scenario)


@pytest.mark.parametrize("scenario", with_faults(MOVE_READ, [(), (CRASH,)]), ids=name_of)
def test_a_reader_with_a_cached_map_during_a_move(scenario: Scenario) -> None:
    holds(scenario)


@pytest.mark.parametrize(
    "scenario", with_faults(STORE_LOST, [(Fault.STORE,), *((Fault.STORE, fault) for fault in USUAL)]), ids=name_of
)
def test_the_state_store_is_lost_during_a_move(scenario: Scenario) -> None:
    holds(scenario)
