"""What in-sync replicas and readers may show: the specification that the protocol is held to."""

from __future__ import annotations

from functools import lru_cache

from tests.model.scenario import OLD, Fault, Operation, Scenario
from tests.model.state import ABSENT, Fate, Kind, Role, State, Status, Step, Told, Value, changed, serving


@lru_cache(maxsize=100_000)
def allowed(operations: tuple[Operation, ...], history: tuple[Told, ...], key: int, shard: int) -> frozenset[Value]:
    """The values of a key that the history explains: every acknowledged operation in the order of the intents, none
    that was reported as failed, and each of those without an outcome either done or not."""
    values = {OLD}
    for told in history:
        operation = operations[told.operation - 1]
        fate = told.fates[shard]
        if fate is Fate.FAILED or not (operation.kind is Kind.CLEAR or key in operation.keys):
            continue
        after = {changed(value, operation.kind, told.operation) for value in values}
        values = values | after if fate is Fate.PENDING else after
    return frozenset(values)


def violation(scenario: Scenario, state: State) -> str | None:
    """What is wrong with a state, if anything."""
    for process in state.processes:
        if process.step is Step.WRONG:
            return "a reader got an answer that misses acknowledged writes or has others"
    if not scenario.strays_everywhere:
        wrong = _unexplained(scenario, state)
        if wrong:
            return wrong
    return None


def _unexplained(scenario: Scenario, state: State) -> str | None:
    for key, shard in enumerate(scenario.shard_of):
        right = None
        for node in serving(state, shard):
            if state.nodes[node].disk != state.disks[node]:
                continue  # an empty disk refuses to answer, it does not answer short
            if right is None:
                right = allowed(scenario.operations, state.history, key, shard)
            value = state.nodes[node].documents[key]
            if value not in right:
                return f"in-sync node {node} shows {value} for key {key}, right is one of {sorted(right)}"
    return None


def is_quiet(state: State) -> bool:
    """Nothing is on the way, nothing queued, and everybody has finished or is dead."""
    return (
        not state.network
        and not state.store_lost
        and all(process.step in (Step.ENDED, Step.DEAD) for process in state.processes)
        and all(node.up for node in state.nodes)
        and not any(task.status is Status.ENQUEUED for node in state.nodes for task in node.tasks)
    )


def wrong_end(scenario: Scenario, state: State) -> str | None:
    """At an end that no command would change any more, the in-sync replicas are equal, and there is one."""
    for shard in scenario.shards:
        nodes = serving(state, shard)
        if not nodes and Role.LOST not in state.roles[shard] and all(node.disk == 0 for node in state.nodes):
            return f"no in-sync replica of shard {shard} is left"
        for key in scenario.keys_of((shard,)):
            values = {state.nodes[node].documents[key] for node in nodes}
            if len(values) > 1:
                return f"in-sync replicas {nodes} differ for ever: {sorted(values)} for key {key}"
    return _left_over(scenario, state) or _unexplained(scenario, state)


def _left_over(scenario: Scenario, state: State) -> str | None:
    """Documents on a node that holds no replica of their shard: nobody reads them, and nobody would ever delete them.
    What was written past miroir is not miroir's to find there."""
    if Fault.STRAY in scenario.faults:
        return None
    for key, shard in enumerate(scenario.shard_of):
        for node, role in enumerate(state.roles[shard]):
            if role is Role.NONE and state.nodes[node].documents[key] != ABSENT:
                return f"key {key} is left over on node {node}, which has nothing of shard {shard}"
    return None
