"""Every state that writers, readers, nodes and faults can reach: in-sync replicas show what was acknowledged."""

from __future__ import annotations

import pytest

from tests.model.explore import explore
from tests.model.scenario import Fault, Scenario
from tests.model.scenarios import (
    JOIN_BESIDE_STRAYS,
    NONE,
    OLD_LOOK,
    PAIRS,
    SINGLE,
    STRAYS,
    THREE_REPLICAS,
    THREE_WRITES,
    TWO_KEYS,
    TWO_SHARDS,
    TWO_WRITERS,
    WRITES_READ,
    name_of,
    with_faults,
)

CRASH, LATE, DOWN, WIPE, FAIL = Fault.CRASH, Fault.LATE, Fault.DOWN, Fault.WIPE, Fault.FAIL
LONG = [(LATE, LATE), (LATE, DOWN), (LATE, WIPE), (DOWN, WIPE), (CRASH, DOWN), (DOWN, DOWN), (DOWN, FAIL)]
"""Pairs that take longest: `python -m tests.model` has them."""


def holds(scenario: Scenario) -> None:
    found = explore(scenario)
    assert found.violation is None, found
    assert found.ends


@pytest.mark.parametrize("scenario", with_faults(TWO_WRITERS, NONE + SINGLE), ids=name_of)
def test_two_writers_and_a_fault(scenario: Scenario) -> None:
    holds(scenario)


@pytest.mark.parametrize(
    "scenario", with_faults(TWO_WRITERS, [pair for pair in PAIRS if pair not in LONG]), ids=name_of
)
def test_two_writers_and_two_faults(scenario: Scenario) -> None:
    holds(scenario)


@pytest.mark.parametrize("scenario", with_faults(THREE_WRITES, [(CRASH,), (FAIL,)]), ids=name_of)
def test_a_writer_that_goes_on_without_waiting(scenario: Scenario) -> None:
    holds(scenario)


@pytest.mark.parametrize("scenario", with_faults(THREE_REPLICAS, [(CRASH,), (FAIL,), (Fault.LAG,)]), ids=name_of)
def test_three_replicas(scenario: Scenario) -> None:
    holds(scenario)


@pytest.mark.parametrize("scenario", with_faults(TWO_KEYS, SINGLE), ids=name_of)
def test_writes_that_share_some_keys(scenario: Scenario) -> None:
    holds(scenario)


@pytest.mark.parametrize("scenario", with_faults(TWO_SHARDS, [(CRASH,), (FAIL,)]), ids=name_of)
def test_writes_that_touch_two_shards_on_three_nodes(scenario: Scenario) -> None:
    holds(scenario)


@pytest.mark.parametrize("scenario", with_faults(WRITES_READ, [(CRASH,), (LATE,), (FAIL,), (Fault.LAG,)]), ids=name_of)
def test_a_reader_with_a_cached_map(scenario: Scenario) -> None:
    holds(scenario)


@pytest.mark.parametrize("scenario", with_faults(OLD_LOOK, [(), (CRASH,), (FAIL,), (Fault.LAG,)]), ids=name_of)
def test_a_slow_process_settles_by_an_old_look(scenario: Scenario) -> None:
    holds(scenario)


@pytest.mark.parametrize("scenario", [STRAYS, JOIN_BESIDE_STRAYS], ids=["writers", "a join"])
def test_a_write_past_miroir_is_found_and_does_not_stay(scenario: Scenario) -> None:
    holds(scenario)
