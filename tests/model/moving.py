"""Rule M: one run of moves. Every step of a mover can be its last; a second run begins at M1 of the same moves.

The run lock is a kernel lock: one mover is alive at a time. `nonce` marks all its tasks and changes with every answer
that is unknown, refused or a failure.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.model.scenario import Move, Scenario, move_mark
from tests.model.settling import publish
from tests.model.state import (
    DOUBTED,
    NOBODY,
    UNKNOWN,
    WAITING,
    Effect,
    Intent,
    Kind,
    Mover,
    Request,
    Role,
    State,
    Status,
    Step,
    Value,
    is_open,
    mark_lost,
    put,
    serving,
    set_base,
    set_process,
    set_role,
)
from tests.model.world import Steps, send

Rule = Callable[[Scenario, State, int, Mover, Move], Steps]


def mover_steps(scenario: Scenario, state: State, number: int, mover: Mover) -> Steps:
    if mover.step is Step.START:
        if state.run_lock == NOBODY:
            begun = state._replace(run_lock=number)
            yield "a mover takes the run", _with(begun, number, _aim(scenario, state, number, mover))
        return
    move = _moves(scenario, number)[mover.move]
    yield from RULES[mover.step](scenario, state, number, mover, move)


def _moves(scenario: Scenario, number: int) -> tuple[Move, ...]:
    return scenario.runs[number - len(scenario.writers)]


def _with(state: State, number: int, mover: Mover) -> State:
    if mover.step is Step.ENDED:
        state = state._replace(run_lock=NOBODY)
    return set_process(state, number, mover)


def _aim(scenario: Scenario, state: State, number: int, mover: Mover) -> Mover:
    """Where the run stands: the first move that is not done, and the step it begins with."""
    kept = Mover(move=mover.move, nonce=mover.nonce, fenced=mover.fenced)
    for at, move in enumerate(_moves(scenario, number)[mover.move :], mover.move):
        roles = state.roles[move.shard]
        if move.gives_up and roles[move.target] is Role.JOINING:
            return kept._replace(step=Step.GIVE_UP, move=at)
        if roles[move.target] is Role.SERVING or move.gives_up:
            if move.forgets != NOBODY and roles[move.forgets] in (Role.LEAVING, Role.GIVEN_UP):
                return kept._replace(step=Step.PUBLISH, move=at)
            continue
        if serving(state, move.shard):
            return kept._replace(step=Step.JOIN if _is_fenced(scenario, kept, move) else Step.ASK, move=at)
    return Mover(step=Step.ENDED)


def _is_fenced(scenario: Scenario, mover: Mover, move: Move) -> bool:
    if scenario.rules.joins_fenced_only:
        return (move.target, move.shard) in mover.fenced
    return any(target == move.target for target, _ in mover.fenced)


def _is_known(scenario: Scenario, state: State, node: int) -> bool:
    """Whether a node answers, and with the disk that we know."""
    return state.nodes[node].up and (state.nodes[node].disk == state.disks[node] or not scenario.rules.identity)


def _again(scenario: Scenario, state: State, number: int, mover: Mover) -> State:
    """M7: an answer that is unknown, refused or a failure, or another disk: a new nonce, and from the fence on."""
    if state.order_lock == number:
        state = state._replace(order_lock=NOBODY)
    if scenario.rules.fence_anew:
        return _with(state, number, _doubting(mover, _moves(scenario, number)[mover.move].target, Step.ASK))
    return _with(state, number, Mover(step=Step.JOIN, move=mover.move, nonce=mover.nonce, fenced=mover.fenced))


def _doubting(mover: Mover, node: int, step: Step) -> Mover:
    """The mover after an answer in doubt: a new nonce, and that node is no longer fenced."""
    fenced = tuple(pair for pair in mover.fenced if pair[0] != node)
    return Mover(step=step, move=mover.move, nonce=mover.nonce + 1, fenced=fenced)


# -- M1 and M2: fence, join, empty the target's queue


def _ask(scenario: Scenario, state: State, number: int, mover: Mover, move: Move) -> Steps:
    """The one fence of a run for a target: take the order lock, so that no client's request is under way but those of
    the dead; free it; ask the target; wait the grace. Here the waiting is the condition of the join.

    From then on any shard may join there that did not serve there when the lock was held. To a node to which nothing
    was ever sent nothing is on its way.
    """
    if state.order_lock != NOBODY or is_open(state) or not state.nodes[move.target].up:
        return
    here = tuple((move.target, shard) for shard in scenario.shards if move.target not in serving(state, shard))
    others = tuple(pair for pair in mover.fenced if pair[0] != move.target)
    holds = any(roles[move.target] is not Role.NONE for roles in state.roles)
    waits = state.addressed[move.target] if scenario.rules.remembers_addressed else holds
    awaited = _on_their_way(state, move.target) if waits and scenario.rules.fences_before_join else ()
    asked = mover._replace(step=Step.JOIN, fenced=others + here, awaited=awaited)
    yield f"the mover asks node {move.target}", _with(state, number, asked)


def _on_their_way(state: State, node: int) -> tuple[Request, ...]:
    return tuple(request for request in state.network if request.node == node)


def _join(scenario: Scenario, state: State, number: int, mover: Mover, move: Move) -> Steps:
    """A target with an empty disk joins as a new one: what it held is lost, then its disk is ours."""
    if state.order_lock != NOBODY or is_open(state) or not state.nodes[move.target].up:
        return
    if any(request in state.network for request in mover.awaited):
        return
    if not _is_known(scenario, state, move.target):
        state = mark_lost(state, move.target)
        state = state._replace(disks=put(state.disks, move.target, state.nodes[move.target].disk))
    if not serving(state, move.shard):
        yield "the mover has no source", _with(state, number, Mover(step=Step.ENDED))
        return
    state = set_role(state, move.shard, move.target, Role.JOINING)
    state = state._replace(addressed=put(state.addressed, move.target, True))
    joined = mover._replace(step=Step.NOTE, awaited=(), joined_at=len(state.intents))
    if scenario.rules.audits_since_join:
        joined = joined._replace(step=Step.READ, task_mark=len(state.nodes[move.target].tasks))
    yield f"shard {move.shard} joins on node {move.target}", _with(state, number, joined)


def _note(scenario: Scenario, state: State, number: int, mover: Mover, move: Move) -> Steps:
    """Note the target's last task: the copy is compared when its queue is empty up to there."""
    if _is_known(scenario, state, move.target):
        noted = mover._replace(step=Step.READ, task_mark=len(state.nodes[move.target].tasks))
        yield "the mover notes the target's last task", _with(state, number, noted)
    elif state.nodes[move.target].up:
        yield "the target's disk is another one", _again(scenario, state, number, mover)


# -- M3 and M4: read, compare, mend


def _read(scenario: Scenario, state: State, number: int, mover: Mover, move: Move) -> Steps:
    """The cut first, then the whole shard of an in-sync source as of now."""
    if state.settled < mover.joined_at and scenario.rules.settles_before_join:
        return
    if not _is_known(scenario, state, move.target):
        if state.nodes[move.target].up:
            yield "the target's disk is another one", _again(scenario, state, number, mover)
        return
    past = state.nodes[move.target].tasks[: mover.task_mark]
    if scenario.rules.empties_queue and any(task.status is Status.ENQUEUED for task in past):
        return
    source = next((node for node in serving(state, move.shard) if _is_known(scenario, state, node)), None)
    if source is None:
        if all(state.nodes[node].up for node in serving(state, move.shard)):
            yield "the mover has no source", _with(state, number, Mover(step=Step.ENDED))
        return
    cut = state.settled if scenario.rules.cut_is_settled else len(state.intents)
    seen = _shown(state, source, scenario.keys_of((move.shard,)))
    read = mover._replace(step=Step.COMPARE, source=source, cut=cut, ahead=cut, seen=seen, then=Step.NOTE)
    yield f"the mover reads node {source} at {cut}", _with(state, number, read)


def _shown(state: State, node: int, keys: tuple[int, ...]) -> tuple[tuple[int, Value], ...]:
    return tuple((key, state.nodes[node].documents[key]) for key in keys)


def _logged(scenario: Scenario, intents: tuple[Intent, ...], move: Move) -> tuple[int, ...]:
    """The keys of the moving shard that these intents name."""
    logged = {key for intent in intents for key in intent.keys}
    return tuple(key for key in scenario.keys_of((move.shard,)) if key in logged)


def _has_sweep(scenario: Scenario, intents: tuple[Intent, ...]) -> bool:
    return any(scenario.operations[intent.operation - 1].kind is Kind.CLEAR for intent in intents)


def _compare(scenario: Scenario, state: State, number: int, mover: Mover, move: Move) -> Steps:
    """Equal but for keys of intents after the cut: clean. Else mend what differs, wait, and read again."""
    if not _is_known(scenario, state, move.target):
        if state.nodes[move.target].up:
            yield "the target's disk is another one", _again(scenario, state, number, mover)
        return
    documents = state.nodes[move.target].documents
    differing = tuple((key, value) for key, value in mover.seen if documents[key] != value)
    excused = _logged(scenario, state.intents[mover.ahead :], move)
    if all(key in excused for key, _ in differing):
        clean = mover._replace(step=Step.CLEAN, cut=mover.ahead, ahead=0, seen=(), then=Step.START)
        noted_late = not scenario.rules.notes_before_read and mover.then is Step.NOTE
        noted_again = not scenario.rules.rounds_keep_note and mover.then is Step.ROUND
        if noted_late or noted_again:
            clean = clean._replace(task_mark=len(state.nodes[move.target].tasks))
        yield "the mover finds them equal", _with(state, number, clean)
    else:
        yield "the mover mends", _mend(state, number, mover._replace(ahead=0, seen=()), move, differing)


def _mend(state: State, number: int, mover: Mover, move: Move, differing: tuple[tuple[int, Value], ...]) -> State:
    effect = Effect(Kind.MEND, 0, tuple(key for key, _ in differing), tuple(value for _, value in differing))
    state = send(state, number, move.target, move_mark(mover.nonce), effect)
    return _with(state, number, mover._replace(step=Step.MENDING, answer=WAITING))


def _mending(scenario: Scenario, state: State, number: int, mover: Mover, move: Move) -> Steps:
    """Wait for the own task, and count what it indexed. Under the lock not longer than `max_pause`."""
    target = state.nodes[move.target]
    if state.order_lock == number:
        freed = state._replace(order_lock=NOBODY)
        yield "the mover frees the lock", _with(freed, number, mover._replace(then=Step.CLEAN))
    if mover.answer == WAITING:
        return
    if mover.answer >= 0:
        if not target.up:
            return
        status = _own(state, move.target, mover)
        if status is Status.ENQUEUED:
            return
        if status is Status.SUCCEEDED or (status is Status.TRUNCATED and not scenario.rules.counts_documents):
            mended = mover._replace(step=mover.then, answer=WAITING, then=Step.START)
            yield "the mover has mended", _with(state, number, mended)
            return
    yield "the mover begins anew", _again(scenario, state, number, mover)


def _own(state: State, number: int, mover: Mover) -> Status | None:
    """The state of the mover's task, if the node still knows it."""
    node = state.nodes[number]
    if mover.answer < len(node.tasks) and node.tasks[mover.answer].mark == move_mark(mover.nonce):
        return node.tasks[mover.answer].status
    return None


def _clean(scenario: Scenario, state: State, number: int, mover: Mover, move: Move) -> Steps:
    """Compare the whole shard again, catch up, or switch."""
    later = state.intents[mover.cut :]
    swept = scenario.rules.sweep_compares and _has_sweep(scenario, later)
    left = scenario.rules.source_in_sync and mover.source not in serving(state, move.shard)
    exchanged = state.nodes[mover.source].up and not _is_known(scenario, state, mover.source)
    if swept or left or exchanged:
        yield "the mover compares the whole shard again", _with(state, number, _afresh(scenario, mover))
        return
    if not _is_known(scenario, state, mover.source):
        return
    if state.settled > mover.cut:
        yield _round(scenario, state, number, mover, move)
    if state.order_lock == NOBODY and not is_open(state) and state.settled == len(state.intents):
        yield from _switch(scenario, state, number, mover, move)


def _afresh(scenario: Scenario, mover: Mover) -> Mover:
    """The mover before it compares the whole shard."""
    before = Mover(step=Step.NOTE, move=mover.move, nonce=mover.nonce, fenced=mover.fenced, joined_at=mover.joined_at)
    return before._replace(step=Step.READ, task_mark=mover.task_mark) if scenario.rules.audits_since_join else before


def _round(scenario: Scenario, state: State, number: int, mover: Mover, move: Move) -> tuple[str, State]:
    """M4: catch up. The new cut first, then the keys of the intents after the old one, as of now. The note of the
    target's last task stays: a round compares some keys only."""
    ahead = state.settled if scenario.rules.round_cut_is_settled else len(state.intents)
    seen = _shown(state, mover.source, _logged(scenario, state.intents[mover.cut :], move))
    read = mover._replace(step=Step.COMPARE, ahead=ahead, seen=seen, then=Step.ROUND)
    return f"the mover catches up to {ahead}", _with(state, number, read)


def _next_round(scenario: Scenario, state: State, number: int, mover: Mover, move: Move) -> Steps:
    yield "the mover reads again", _with(state, number, mover._replace(step=Step.CLEAN))


# -- M5: switch


def _switch(scenario: Scenario, state: State, number: int, mover: Mover, move: Move) -> Steps:
    """With the order lock, everything settled: what was written after the cut is compared once more and mended.

    Writers are held by the lock from the first mend to the flip; without anything to mend it is one step.
    """
    if not _is_known(scenario, state, move.target):
        if state.nodes[move.target].up:
            yield "the target's disk is another one", _again(scenario, state, number, mover)
        return
    later = _logged(scenario, state.intents[mover.cut :], move)
    documents = state.nodes[move.target].documents
    differing = tuple((key, value) for key, value in _shown(state, mover.source, later) if documents[key] != value)
    if differing:
        locked = state._replace(order_lock=number)
        yield "the mover mends under the lock", _mend(locked, number, mover._replace(then=Step.SWITCH), move, differing)
        return
    state = state._replace(order_lock=NOBODY)
    if scenario.rules.target_audit and not _only_ours(state, mover, move):
        anew = Mover(step=Step.JOIN, move=mover.move, nonce=mover.nonce, fenced=mover.fenced)
        if not scenario.rules.audits_since_join:
            anew = _afresh(scenario, mover)
        yield "a foreign task on the target", _with(state, number, anew)
        return
    state = set_role(state, move.shard, move.target, Role.SERVING)
    for shard in (move.shard,) if scenario.rules.audits_by_replica else scenario.shards:
        state = set_base(state, shard, move.target, len(state.nodes[move.target].tasks))
    if move.leaves != NOBODY and state.roles[move.shard][move.leaves] is not Role.NONE:
        served = state.roles[move.shard][move.leaves] is Role.SERVING
        state = set_role(state, move.shard, move.leaves, Role.LEAVING if served else Role.GIVEN_UP)
    here = (move.target, move.shard) if scenario.rules.joins_fenced_only else None
    fenced = tuple(pair for pair in mover.fenced if pair != here)
    kept = Mover(step=Step.CLEAN, move=mover.move, nonce=mover.nonce, fenced=fenced)
    yield "the mover switches", _with(state, number, _aim(scenario, state, number, kept))


def _locked_switch(scenario: Scenario, state: State, number: int, mover: Mover, move: Move) -> Steps:
    """After a mend under the lock. What has happened to the source meanwhile is looked at again."""
    source_left = scenario.rules.source_in_sync and mover.source not in serving(state, move.shard)
    source_exchanged = state.nodes[mover.source].up and not _is_known(scenario, state, mover.source)
    if source_left or source_exchanged:
        freed = state._replace(order_lock=NOBODY)
        yield "the mover compares the whole shard again", _with(freed, number, _afresh(scenario, mover))
    elif _is_known(scenario, state, mover.source):
        yield from _switch(scenario, state, number, mover, move)


def _only_ours(state: State, mover: Mover, move: Move) -> bool:
    """Every task of the target after the note is this mover's, or a recorded client's for other shards."""
    tasks = state.nodes[move.target].tasks
    if len(tasks) < mover.task_mark:
        return False
    for uid in range(mover.task_mark, len(tasks)):
        whose, number = tasks[uid].mark
        if whose == "move" and number == mover.nonce:
            continue
        intent = next((intent for intent in state.intents if whose == "write" and intent.operation == number), None)
        if intent is None or move.target not in intent.targets:
            return False
        at = intent.targets.index(move.target)
        if intent.tasks[at] != uid or move.shard in intent.parts[at]:
            return False
    return True


# -- cancelling, and M6: publish, then forget


def _give_up(scenario: Scenario, state: State, number: int, mover: Mover, move: Move) -> Steps:
    """What a dead mover began to build is not wanted any more."""
    if state.order_lock == NOBODY:
        state = set_role(state, move.shard, move.target, Role.GIVEN_UP)
        yield "the mover gives up what was begun", _with(state, number, _aim(scenario, state, number, mover))


def _publish(scenario: Scenario, state: State, number: int, mover: Mover, move: Move) -> Steps:
    if scenario.rules.publishes_before_forgetting:
        state = publish(state)
    if state.roles[move.shard][move.forgets] is Role.GIVEN_UP and scenario.rules.fences_before_forgetting:
        yield "the mover publishes", _with(state, number, mover._replace(step=Step.FENCE))
    else:
        yield from _forget(scenario, state, number, mover._replace(step=Step.FORGET), move)


def _fence(scenario: Scenario, state: State, number: int, mover: Mover, move: Move) -> Steps:
    """What was sent to a replica while it was stale or joining is still to arrive, and is known to nobody. One that
    served has answered all that counts."""
    if state.order_lock != NOBODY or is_open(state) or not state.nodes[move.forgets].up:
        return
    asked = mover._replace(step=Step.FORGET, awaited=_on_their_way(state, move.forgets))
    yield f"the mover asks node {move.forgets} before it forgets", _with(state, number, asked)


def _forget(scenario: Scenario, state: State, number: int, mover: Mover, move: Move) -> Steps:
    if not state.nodes[move.forgets].up or any(request in state.network for request in mover.awaited):
        return
    effect = Effect(Kind.FORGET, 0, scenario.keys_of((move.shard,)))
    sent = send(state, number, move.forgets, move_mark(mover.nonce), effect)
    sending = mover._replace(step=Step.FORGETTING, answer=WAITING, awaited=())
    yield f"the mover lets node {move.forgets} forget", _with(sent, number, sending)


def _forgetting(scenario: Scenario, state: State, number: int, mover: Mover, move: Move) -> Steps:
    node = state.nodes[move.forgets]
    if mover.answer == WAITING or (mover.answer >= 0 and not node.up):
        return
    status = _own(state, move.forgets, mover) if mover.answer >= 0 else None
    if status is Status.ENQUEUED:
        return
    if status is Status.SUCCEEDED:
        state = set_role(state, move.shard, move.forgets, Role.NONE)
        forgot = mover._replace(answer=WAITING)
        yield f"node {move.forgets} has forgotten", _with(state, number, _aim(scenario, state, number, forgot))
    elif mover.answer == DOUBTED:
        lost = mark_lost(state, move.forgets)
        yield f"node {move.forgets} has another disk", _with(lost, number, _aim(scenario, lost, number, mover))
    elif mover.answer == UNKNOWN:
        again = _doubting(mover, move.forgets, Step.FORGET)
        yield "the mover repeats the forget under a new nonce", _with(state, number, again)
    else:
        yield "the mover repeats the forget", _with(state, number, mover._replace(step=Step.FORGET, answer=WAITING))


RULES: dict[Step, Rule] = {
    Step.ASK: _ask,
    Step.JOIN: _join,
    Step.NOTE: _note,
    Step.READ: _read,
    Step.COMPARE: _compare,
    Step.MENDING: _mending,
    Step.CLEAN: _clean,
    Step.ROUND: _next_round,
    Step.SWITCH: _locked_switch,
    Step.GIVE_UP: _give_up,
    Step.PUBLISH: _publish,
    Step.FENCE: _fence,
    Step.FORGET: _forget,
    Step.FORGETTING: _forgetting,
}
