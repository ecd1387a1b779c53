"""What happens to nodes, requests and processes without anybody's will: every step that the outside can take."""

from __future__ import annotations

from collections.abc import Iterator

from tests.model.scenario import Fault, Scenario
from tests.model.state import (
    DOUBTED,
    NOBODY,
    REFUSED,
    UNKNOWN,
    WAITING,
    Effect,
    Kind,
    Mark,
    Mover,
    Node,
    Reader,
    Request,
    Role,
    State,
    Status,
    Step,
    Task,
    Writer,
    applied,
    put,
    set_process,
)

Steps = Iterator[tuple[str, State]]

TRUNCATABLE = (Kind.PUT, Kind.PATCH, Kind.MEND)
"""Tasks whose payload lies in a file of its own."""


def events(scenario: Scenario, state: State) -> Steps:
    yield from _requests(scenario, state)
    for number in range(len(state.nodes)):
        yield from _node(scenario, state, number)
    if state.faults[Fault.CRASH]:
        yield from _crashes(state)
    if state.faults[Fault.STORE]:
        yield "the store and all processes are gone", _lose_store(scenario, state)


def spend(state: State, fault: Fault) -> State:
    return state._replace(faults=put(state.faults, fault, state.faults[fault] - 1))


def send(state: State, sender: int, node: int, mark: Mark, effect: Effect) -> State:
    """Put a request on the way."""
    request = Request(node, sender, mark, effect)
    return state._replace(network=tuple(sorted((*state.network, request))))


# -- requests


def _requests(scenario: Scenario, state: State) -> Steps:
    for at, request in enumerate(state.network):
        if at and request == state.network[at - 1]:
            continue
        node = state.nodes[request.node]
        rest = state._replace(network=state.network[:at] + state.network[at + 1 :])
        waited = is_waited_for(state, request)
        name = f"{request.effect.kind} {request.effect.number or ''} at node {request.node}"
        if node.up:
            taken = _enqueue(rest, request)
            uid = DOUBTED if _is_doubtful(scenario, state, request.node) else len(node.tasks)
            yield f"taken{'' if waited else ' late'}: {name}", answer(taken, request, uid) if waited else taken
        elif waited:
            yield f"refused: {name}", answer(rest, request, REFUSED)
        if not waited:
            yield f"lost: {name}", rest
        elif state.faults[Fault.LATE] and node.up:
            yield f"unanswered: {name}", answer(spend(state, Fault.LATE), request, UNKNOWN)


def _enqueue(state: State, request: Request) -> State:
    node = state.nodes[request.node]
    node = node._replace(tasks=(*node.tasks, Task(request.mark, request.effect)))
    return state._replace(nodes=put(state.nodes, request.node, node))


def _is_doubtful(scenario: Scenario, state: State, node: int) -> bool:
    """Whether the task's uid is not above those recorded of the node: an empty disk starts again at zero."""
    return scenario.rules.identity and state.nodes[node].disk != state.disks[node]


def is_waited_for(state: State, request: Request) -> bool:
    """Whether its sender is alive and still waits for the answer."""
    process = state.processes[request.sender]
    if type(process) is Writer:
        if process.step is not Step.SENDING or request.mark != ("write", state.intents[-1].operation):
            return False
        return process.answers[state.intents[-1].targets.index(request.node)] == WAITING
    if type(process) is Mover:
        waits = process.step in (Step.MENDING, Step.FORGETTING)
        return waits and process.answer == WAITING and request.mark == ("move", process.nonce)
    return False


def answer(state: State, request: Request, said: int) -> State:
    process = state.processes[request.sender]
    if type(process) is Writer:
        at = state.intents[-1].targets.index(request.node)
        return set_process(state, request.sender, process._replace(answers=put(process.answers, at, said)))
    assert type(process) is Mover
    return set_process(state, request.sender, process._replace(answer=said))


# -- nodes


def _node(scenario: Scenario, state: State, number: int) -> Steps:
    node = state.nodes[number]
    if not node.up:
        yield f"node {number} is back", _with_node(state, number, node._replace(up=True))
        return
    yield from _next_task(state, number)
    if state.faults[Fault.DOWN]:
        yield f"node {number} stops", spend(_with_node(state, number, node._replace(up=False)), Fault.DOWN)
    if state.faults[Fault.WIPE]:
        empty = Node(True, node.disk + 1, tuple((0, 0) for _ in node.documents))
        yield f"node {number} restarts with an empty disk", spend(_with_node(state, number, empty), Fault.WIPE)
    if state.faults[Fault.STRAY]:
        yield from _stray(scenario, state, number)


def _next_task(state: State, number: int) -> Steps:
    """A node runs its queue in order."""
    node = state.nodes[number]
    uid = next((uid for uid, task in enumerate(node.tasks) if task.status is Status.ENQUEUED), None)
    if uid is None:
        return
    task = node.tasks[uid]
    name = f"{task.effect.kind} {task.effect.number or ''}"

    def ended(status: Status) -> State:
        documents = applied(task.effect, node.documents) if status is Status.SUCCEEDED else node.documents
        tasks = put(node.tasks, uid, task._replace(status=status))
        return _with_node(state, number, node._replace(documents=documents, tasks=tasks))

    yield f"node {number} applies {name}", ended(Status.SUCCEEDED)
    if state.faults[Fault.FAIL]:
        yield f"node {number} fails {name}", spend(ended(Status.FAILED), Fault.FAIL)
    if state.faults[Fault.TRUNCATE] and task.effect.kind in TRUNCATABLE:
        yield f"node {number} lost the payload of {name}", spend(ended(Status.TRUNCATED), Fault.TRUNCATE)


def _stray(scenario: Scenario, state: State, number: int) -> Steps:
    """Somebody writes one document of a replica past miroir."""
    for shard in sorted(set(scenario.shard_of)):
        if scenario.strays_everywhere or state.roles[shard][number] is not Role.SERVING:
            effect = Effect(Kind.STRAY, 0, scenario.keys_of((shard,))[:1], ((70, 0),))
            strayed = _enqueue(state, Request(number, NOBODY, ("stray", 0), effect))
            yield f"a stray write to shard {shard} at node {number}", spend(strayed, Fault.STRAY)


def _with_node(state: State, number: int, node: Node) -> State:
    return state._replace(nodes=put(state.nodes, number, node))


# -- processes


def _crashes(state: State) -> Steps:
    """Writers matter while they send, movers all along. The kernel frees the locks of the dead."""
    for number, process in enumerate(state.processes):
        if type(process) is Writer and process.step is Step.SENDING:
            yield f"writer {number} is killed", spend(_killed(state, number), Fault.CRASH)
        elif type(process) is Mover and process.step not in (Step.START, Step.ENDED, Step.DEAD):
            yield f"mover {number} is killed", spend(_killed(state, number), Fault.CRASH)


def _killed(state: State, number: int) -> State:
    process = state.processes[number]
    dead = type(process)(step=Step.DEAD)
    return set_process(state, number, dead)._replace(
        order_lock=NOBODY if state.order_lock == number else state.order_lock,
        run_lock=NOBODY if state.run_lock == number else state.run_lock,
    )


def _lose_store(scenario: Scenario, state: State) -> State:
    """Nothing serves until `replication.rebuild` has read the copies on the nodes."""
    for number, process in enumerate(state.processes):
        if type(process) is not Reader and process.step is not Step.ENDED:
            state = _killed(state, number)
    stale = tuple(tuple(Role.STALE for _ in roles) for roles in state.roles)
    return spend(state, Fault.STORE)._replace(intents=(), settled=0, roles=stale, store_lost=True)
