"""Breadth-first search through every state that a scenario can reach: the first violation has a shortest trace."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from tests.model.history import is_quiet, violation, wrong_end
from tests.model.moving import mover_steps
from tests.model.reading import reader_steps
from tests.model.scenario import Scenario
from tests.model.settling import rebuild, roll_call, settle, watcher_steps
from tests.model.state import Mover, Reader, State, Step, Watcher, Writer
from tests.model.world import Steps, events
from tests.model.writing import recover, writer_steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Exploration:
    """What was found: `violation` with the steps that lead to it, or nothing in any of `states` states."""

    states: int
    transitions: int
    ends: int
    violation: str | None = None
    trace: tuple[str, ...] = ()

    def __str__(self) -> str:
        steps = "".join(f"\n  {number} {step}" for number, step in enumerate(self.trace, 1))
        return f"{self.violation or 'no violation'} in {self.states} states{steps}"


def explore(scenario: Scenario) -> Exploration:
    """Search until a violation, or until everything was seen. Visited states are kept as their 64-bit hashes.

    A state from which no end can be reached is a violation as well: somebody waits for ever, or goes round in circles.
    """
    first = scenario.begin()
    came_from: dict[int, tuple[int, str] | None] = {hash(first): None}
    before: dict[int, list[int]] = {}
    waiting = deque([first])
    ends: list[int] = []
    states = transitions = 0

    def found(at: int, wrong: str | None) -> Exploration:
        trace = _trace(came_from, at) if wrong else ()
        return Exploration(states=states, transitions=transitions, ends=len(ends), violation=wrong, trace=trace)

    while waiting:
        state = waiting.popleft()
        here = hash(state)
        states += 1
        ours = list(protocol(scenario, state))
        wrong = violation(scenario, state)
        if not wrong and not ours and is_quiet(state):
            ends.append(here)
            wrong = wrong_end(scenario, state)
        if wrong:
            return found(here, wrong)
        for step, after in (*ours, *events(scenario, state)):
            transitions += 1
            there = hash(after)
            if there in before:
                before[there].append(here)
            else:
                before[there] = [here]
                if there not in came_from:
                    came_from[there] = (here, step)
                    waiting.append(after)
    endless = came_from.keys() - _leading_to(ends, before)
    return found(min(endless, key=list(came_from).index), "no end can be reached") if endless else found(0, None)


def _leading_to(ends: list[int], before: dict[int, list[int]]) -> set[int]:
    """All states from which one of these can be reached."""
    leading = set(ends)
    waiting = list(ends)
    while waiting:
        for state in before.get(waiting.pop(), ()):
            if state not in leading:
                leading.add(state)
                waiting.append(state)
    return leading


def protocol(scenario: Scenario, state: State) -> Steps:
    """Every step that miroir can take."""
    for number, process in enumerate(state.processes):
        if process.step is Step.ENDED or process.step is Step.DEAD:
            continue
        if type(process) is Writer:
            yield from writer_steps(scenario, state, number, process)
        elif type(process) is Mover:
            yield from mover_steps(scenario, state, number, process)
        elif type(process) is Reader:
            yield from reader_steps(scenario, state, number, process)
        elif type(process) is Watcher:
            yield from watcher_steps(scenario, state, number, process)
    yield from settle(scenario, state)
    yield from recover(scenario, state)
    yield from rebuild(scenario, state)
    yield from roll_call(scenario, state)


def _trace(came_from: dict[int, tuple[int, str] | None], at: int) -> tuple[str, ...]:
    steps: list[str] = []
    link = came_from[at]
    while link is not None:
        steps.append(link[1])
        link = came_from[link[0]]
    return tuple(reversed(steps))
