"""Rule S, the last roll call, and the rebuilding of a lost store: what any command does without the order lock."""

from __future__ import annotations

from enum import Enum

from tests.model.history import is_quiet
from tests.model.scenario import Fault, Scenario, write_mark
from tests.model.state import (
    Fate,
    Intent,
    Role,
    Stage,
    State,
    Status,
    Step,
    Watcher,
    is_open,
    mark_lost,
    mark_stale,
    past_aborted,
    put,
    serving,
    set_base,
    set_process,
    set_role,
    tell,
)
from tests.model.world import Steps, spend


class Sight(Enum):
    """What a look at one target's queue says of an intent."""

    STORED = "stored"
    MISSED = "missed"
    PENDING = "pending"
    SILENT = "silent"
    EXCHANGED = "exchanged"
    """Its disk is not the one we knew."""


def settle(scenario: Scenario, state: State) -> Steps:
    """S1: the oldest intent without an end, by any process, in one look and one transaction.

    Without the rule: each by its own writer, as long as that lives.
    """
    if scenario.rules.in_order:
        places = range(state.settled, min(state.settled + 1, len(state.intents)))
    else:
        places = range(len(state.intents))
    for at in places:
        intent = state.intents[at]
        writer = state.processes[scenario.writer_of(intent.operation)]
        if intent.stage is not Stage.SENT or (not scenario.rules.in_order and writer.step is Step.DEAD):
            continue
        sights = {node: look(scenario, state, node, intent) for node in intent.targets}
        yield from _judge(scenario, state, at, sights)
        if state.faults[Fault.LAG] and Sight.PENDING in sights.values():
            slow: dict[int, Sight] = {
                node: Sight.SILENT if sight is Sight.PENDING else sight for node, sight in sights.items()
            }
            yield from _judge(scenario, spend(state, Fault.LAG), at, slow)


def watcher_steps(scenario: Scenario, state: State, number: int, watcher: Watcher) -> Steps:
    """Settle in two steps, with anything in between. (What it would see of exchanged disks is asked anew.)"""
    ended = Watcher(step=Step.ENDED)
    if watcher.step is Step.START:
        sent = tuple(intent.operation for intent in state.intents if intent.stage is Stage.SENT)
        looked = Watcher(step=Step.JUDGE, nodes=state.nodes, expected=sent)
        yield "a slow process looks", set_process(state, number, looked)
        return
    judged = False
    if state.settled < len(state.intents) and [node.disk for node in watcher.nodes] == list(state.disks):
        expected = state.intents[state.settled].operation in watcher.expected
        if expected or not scenario.rules.judges_expected_only:
            for step, after in settle(scenario, state._replace(nodes=watcher.nodes)):
                judged = True
                yield f"{step} by an old look", set_process(after._replace(nodes=state.nodes), number, ended)
    if not judged:
        yield "the slow process learns nothing", set_process(state, number, ended)


def look(scenario: Scenario, state: State, number: int, intent: Intent) -> Sight:
    """S2: what a target's task list shows of an intent."""
    node = state.nodes[number]
    if not node.up:
        return Sight.SILENT
    if scenario.rules.identity and node.disk != state.disks[number]:
        return Sight.EXCHANGED
    uid = intent.tasks[intent.targets.index(number)]
    if not 0 <= uid < len(node.tasks) or node.tasks[uid].mark != write_mark(intent.operation):
        return Sight.MISSED
    status = node.tasks[uid].status
    if status is Status.ENQUEUED:
        return Sight.PENDING
    stored = status is Status.SUCCEEDED or (status is Status.TRUNCATED and not scenario.rules.counts_documents)
    return Sight.STORED if stored else Sight.MISSED


def _judge(scenario: Scenario, state: State, at: int, sights: dict[int, Sight]) -> Steps:
    """S2 to S5 for one intent, shard by shard, over the targets still in sync; nothing while it can still change."""
    intent = state.intents[at]
    settled = state
    for node, sight in sights.items():
        if sight is Sight.EXCHANGED:
            settled = mark_lost(settled, node)
    failed: list[int] = []
    for shard in intent.shards:
        if shard in intent.refused:
            continue
        live = [node for node in serving(settled, shard) if node in sights and _gets(intent, node, shard)]
        seen = [sights[node] for node in live]
        stored = [node for node in live if sights[node] is Sight.STORED]
        if Sight.PENDING in seen or (Sight.SILENT in seen and not stored):
            return
        missed = tuple(node for node in live if node not in stored)
        if stored:
            settled = mark_stale(settled, shard, missed)
            settled = tell(settled, intent.operation, (shard,), Fate.ACKNOWLEDGED)
            continue
        failed.append(shard)
        settled = tell(settled, intent.operation, (shard,), Fate.FAILED)
        for node in () if scenario.rules.keeps_last else missed:
            settled = set_role(settled, shard, node, Role.STALE)
    stage = Stage.DONE if len(failed) + len(intent.refused) < len(intent.shards) else Stage.FAILED
    settled = settled._replace(intents=put(settled.intents, at, intent._replace(stage=stage)))
    if scenario.rules.audit:
        settled = audit(settled, tuple(node for node in sights if sights[node] is not Sight.SILENT))
    marked = settled.roles != state.roles
    if scenario.rules.publishes_before_acknowledging or marked:
        settled = publish(settled)
    yield f"{intent.operation} is settled as {stage}", past_settled(settled)


def _gets(intent: Intent, node: int, shard: int) -> bool:
    return shard in intent.parts[intent.targets.index(node)]


def past_settled(state: State) -> State:
    settled = state.settled
    while settled < len(state.intents) and state.intents[settled].stage not in (Stage.OPEN, Stage.SENT):
        settled += 1
    return past_aborted(state._replace(settled=settled))


def audit(state: State, nodes: tuple[int, ...]) -> State:
    """S3: a task that nobody recorded makes the replicas that it may have changed stale; on a last one it is taken as
    it is. What a replica's base is above was compared when it was copied."""
    for node in nodes:
        foreign = [uid for uid in range(len(state.nodes[node].tasks)) if not known(state, node, uid)]
        for shard in range(len(state.roles)) if foreign else ():
            if state.roles[shard][node] is Role.SERVING and foreign[-1] >= state.bases[shard][node]:
                state = set_base(mark_stale(state, shard, (node,)), shard, node, foreign[-1] + 1)
    return state


def known(state: State, node: int, uid: int) -> bool:
    """Whether a task is recorded as a client's or a mover's, or may yet be because its intent is open."""
    whose, number = state.nodes[node].tasks[uid].mark
    if whose == "move":
        return True
    intent = next((intent for intent in state.intents if whose == "write" and intent.operation == number), None)
    if intent is None or node not in intent.targets:
        return False
    return intent.stage is Stage.OPEN or intent.tasks[intent.targets.index(node)] == uid


def publish(state: State) -> State:
    """Copy the map to the nodes. (Only scenarios that can lose the store keep copies.)"""
    return state._replace(copy=state.roles) if state.copy and state.copy != state.roles else state


def roll_call(scenario: Scenario, state: State) -> Steps:
    """N1 and S3 by the last command of all: lost disks and foreign tasks that nobody came across before."""
    if not is_quiet(state) or is_open(state) or state.settled < len(state.intents):
        return
    called = state
    for node in range(len(state.nodes)):
        if scenario.rules.identity and state.nodes[node].disk != state.disks[node]:
            called = mark_lost(called, node)
    if scenario.rules.audit:
        called = audit(called, tuple(range(len(state.nodes))))
    if called != state:
        yield "roll call", called


def rebuild(scenario: Scenario, state: State) -> Steps:
    """After the loss of the store: one replica of each shard that the newest copy calls in sync serves, the others
    are stale. First everything under way must have arrived or be lost (a fence of all nodes)."""
    if not state.store_lost or state.network or not all(node.up for node in state.nodes):
        return
    bases = tuple(len(node.tasks) for node in state.nodes)
    states = [state._replace(store_lost=False, bases=(bases,) * len(state.roles))]
    for shard, roles in enumerate(state.copy):
        elected = [node for node, role in enumerate(roles) if role is Role.SERVING]
        if elected:
            states = [set_role(built, shard, node, Role.SERVING) for built in states for node in elected]
    for built in states:
        yield f"the store is rebuilt: {[serving(built, shard) for shard in scenario.shards]}", built
