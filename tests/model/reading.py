"""Rule E: a reader asks one in-sync replica by the map it has, and asks the store at the end."""

from __future__ import annotations

from tests.model.history import allowed
from tests.model.scenario import Scenario
from tests.model.state import Fate, Reader, State, Step, Told, serving, set_process
from tests.model.world import Steps


def reader_steps(scenario: Scenario, state: State, number: int, reader: Reader) -> Steps:
    """Reads the keys of shard 0."""
    if reader.step is Step.START:
        cached = Reader(step=Step.READ, cached=serving(state, 0))
        yield f"the reader caches {cached.cached}", set_process(state, number, cached)
    elif reader.step is Step.READ:
        yield from _ask(scenario, state, number, reader)
    elif reader.step is Step.END_CHECK:
        yield _end(scenario, state, number, reader)


def _ask(scenario: Scenario, state: State, number: int, reader: Reader) -> Steps:
    """A node with an empty disk does not answer: the index or the filter's attribute is unknown there."""
    for name in reader.cached:
        node = state.nodes[name]
        if node.up and node.disk == state.disks[name]:
            answer = tuple((key, node.documents[key]) for key in scenario.keys_of((0,)))
            before = tuple(told.operation for told in state.history if told.fates[0] is Fate.ACKNOWLEDGED)
            asked = reader._replace(step=Step.END_CHECK, node=name, answer=answer, before=before)
            yield f"the reader asks node {name}", set_process(state, number, asked)
    if all(state.nodes[name].disk != state.disks[name] for name in reader.cached):
        yield "the reader says that the shard is unavailable", set_process(state, number, Reader(step=Step.ENDED))


def _end(scenario: Scenario, state: State, number: int, reader: Reader) -> tuple[str, State]:
    """E1: the answer counts if its replica has been in sync since the map was read."""
    if scenario.rules.end_check and reader.node in reader.changed:
        again = Reader(step=Step.READ, cached=serving(state, 0))
        return "the reader's map has changed", set_process(state, number, again)
    history = tuple(_as_of(told, reader.before) for told in state.history)
    right = all(value in allowed(scenario.operations, history, key, 0) for key, value in reader.answer)
    return "the reader answers", set_process(state, number, Reader(step=Step.ENDED if right else Step.WRONG))


def _as_of(told: Told, before: tuple[int, ...]) -> Told:
    """What was acknowledged after the question may be missing from the answer."""
    later = told.fates[0] is Fate.ACKNOWLEDGED and told.operation not in before
    return told._replace(fates=(Fate.PENDING, *told.fates[1:])) if later else told
