"""Rules W and R: an intent before anything is sent, its outcome afterwards, both under the order lock.

Steps that nobody can tell apart are one step here. A writer that dies between recording and sending, or between two
targets, is one whose requests are lost. Looking a request up and recording the outcome is one step because the
outcome does not look at nodes. Recovery is a step of its own, by whichever command meets the open intent first.
"""

from __future__ import annotations

from tests.model.scenario import Rules, Scenario, write_mark
from tests.model.state import (
    DOUBTED,
    NO_TASK,
    NOBODY,
    REFUSED,
    UNKNOWN,
    WAITING,
    Fate,
    Intent,
    Role,
    Stage,
    State,
    Step,
    Told,
    Writer,
    found_task,
    is_open,
    mark_lost,
    mark_stale,
    past_aborted,
    put,
    serving,
    set_process,
    tell,
)
from tests.model.world import Steps, send


def writer_steps(scenario: Scenario, state: State, number: int, writer: Writer) -> Steps:
    if writer.step is Step.START:
        script = scenario.writers[number]
        if writer.position == len(script):
            yield f"writer {number} ends", set_process(state, number, Writer(step=Step.ENDED))
        elif state.order_lock == NOBODY and not (is_open(state) and scenario.rules.recovery):
            yield _begin(scenario, state, number, writer)
    elif writer.step is Step.SENDING and WAITING not in writer.answers:
        yield _finish(scenario, state, number, writer)


def _begin(scenario: Scenario, state: State, number: int, writer: Writer) -> tuple[str, State]:
    """W1 to W3: take the lock, record the intent, send it to all replicas in sync."""
    operation_number = scenario.number_of(number, writer.position)
    operation = scenario.operations[operation_number - 1]
    shards = scenario.touched(operation)
    name = f"writer {number} begins {operation.kind} {operation_number}"
    if not all(serving(state, shard) for shard in shards):
        return f"{name}: no replica in sync", set_process(state, number, Writer(position=writer.position + 1))
    targets = tuple(node for node in range(len(state.nodes)) if any(node in serving(state, shard) for shard in shards))
    parts = tuple(tuple(shard for shard in shards if node in serving(state, shard)) for node in targets)
    logs = scenario.rules.logs_keys and any(Role.JOINING in state.roles[shard] for shard in shards)
    intent = Intent(
        operation_number, Stage.OPEN, shards, targets, parts, (NO_TASK,) * len(targets), operation.keys if logs else ()
    )
    fates = tuple(Fate.PENDING if shard in shards else Fate.UNTOUCHED for shard in scenario.shards)
    state = state._replace(
        order_lock=number,
        intents=(*state.intents, intent),
        history=(*state.history, Told(operation_number, fates)),
    )
    for node, part in zip(targets, parts, strict=True):
        state = send(state, number, node, write_mark(operation_number), scenario.effect(operation_number, part))
    sending = writer._replace(step=Step.SENDING, answers=(WAITING,) * len(targets))
    return f"{name} for nodes {targets}", set_process(state, number, sending)


def _finish(scenario: Scenario, state: State, number: int, writer: Writer) -> tuple[str, State]:
    """W4 and W5: look up what was not answered, check whose disk answered oddly, record the outcome, free the lock."""
    intent = state.intents[-1]
    answers = tuple(
        _look_up(state, intent, node) if said == UNKNOWN else said
        for node, said in zip(intent.targets, writer.answers, strict=True)
    )
    if not scenario.rules.never_resend and not writer.again and UNKNOWN in answers:
        return _send_again(scenario, state, number, writer._replace(answers=answers))
    for node, said in zip(intent.targets, answers, strict=True):
        if said == DOUBTED:
            state = mark_lost(state, node)
    answers = tuple(UNKNOWN if said == DOUBTED else said for said in answers)
    state = close(scenario.rules, state, answers, fenced=False)
    state = set_process(state, number, Writer(position=writer.position + 1))
    outcome = state.intents[-1].stage
    return f"writer {number} records {intent.operation} as {outcome}", state._replace(order_lock=NOBODY)


def _look_up(state: State, intent: Intent, node: int) -> int:
    """W4. A node that is down or whose disk was exchanged does not show it."""
    looked = state.nodes[node]
    if not looked.up or looked.disk != state.disks[node]:
        return UNKNOWN
    uid = found_task(looked, write_mark(intent.operation))
    return UNKNOWN if uid is None else uid


def _send_again(scenario: Scenario, state: State, number: int, writer: Writer) -> tuple[str, State]:
    intent = state.intents[-1]
    for node, part, said in zip(intent.targets, intent.parts, writer.answers, strict=True):
        if said == UNKNOWN:
            effect = scenario.effect(intent.operation, part)
            state = send(state, number, node, write_mark(intent.operation), effect)
    answers = tuple(WAITING if said == UNKNOWN else said for said in writer.answers)
    return f"writer {number} sends again", set_process(state, number, writer._replace(answers=answers, again=True))


def close(rules: Rules, state: State, answers: tuple[int, ...], *, fenced: bool) -> State:
    """End the newest intent by what its targets said, shard by shard, over the replicas still in sync.

    Some accepted: the others are stale. Else, with something unknown, it stays open; after a fence an unreachable
    target is stale if another one certainly has nothing. Else the shard was refused.
    """
    intent = state.intents[-1]
    refused: list[int] = []
    stale: list[tuple[int, tuple[int, ...]]] = []
    for shard in intent.shards:
        said = {
            node: answer
            for node, part, answer in zip(intent.targets, intent.parts, answers, strict=True)
            if shard in part and (state.roles[shard][node] is Role.SERVING or not rules.counts_in_sync_only)
        }
        accepted = [node for node, answer in said.items() if answer >= 0]
        unknown = [node for node, answer in said.items() if answer == UNKNOWN]
        if accepted:
            behind = tuple(node for node in said if node not in accepted)
            stale.append((shard, behind if rules.unknown_is_stale else ()))
        elif unknown and (not fenced or len(unknown) == len(said)):
            return state
        else:
            stale.append((shard, tuple(unknown)))
            refused.append(shard)
    for shard, behind in stale:
        state = mark_stale(state, shard, behind)
    ended = intent._replace(
        stage=Stage.ABORTED if tuple(refused) == intent.shards else Stage.SENT,
        tasks=tuple(answer if answer >= 0 else NO_TASK for answer in answers),
        refused=tuple(refused),
    )
    state = state._replace(intents=put(state.intents, len(state.intents) - 1, ended))
    return past_aborted(tell(state, intent.operation, tuple(refused), Fate.FAILED))


def recover(scenario: Scenario, state: State) -> Steps:
    """R: whoever meets an open intent whose sender is gone fences its targets, looks, and ends it."""
    if not scenario.rules.recovery or state.order_lock != NOBODY or not is_open(state):
        return
    intent = state.intents[-1]
    mark = write_mark(intent.operation)
    answering = [node for node in intent.targets if state.nodes[node].up]
    under_way = any(request.mark == mark and request.node in answering for request in state.network)
    if scenario.rules.fences_before_recovery and under_way:
        return
    lost = state
    for node in answering:
        if scenario.rules.identity and state.nodes[node].disk != state.disks[node]:
            lost = mark_lost(lost, node)
    answers = tuple(_found(state, node, intent) if node in answering else UNKNOWN for node in intent.targets)
    ended = close(scenario.rules, lost, answers, fenced=True)
    if not is_open(ended):
        yield f"{intent.operation} is recovered as {ended.intents[-1].stage}", ended


def _found(state: State, node: int, intent: Intent) -> int:
    uid = found_task(state.nodes[node], write_mark(intent.operation))
    return REFUSED if uid is None else uid
