"""The decisions of the write protocol, as properties over whatever nodes may answer."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from miroir_cli.model import IndexUid, Intent, IntentState, IntentTarget, NodeName, Piece, ShardId, WriteKind
from miroir_cli.replication.verdict import (
    Look,
    Part,
    Sent,
    Sight,
    TaskView,
    judge_recovery,
    judge_sending,
    judge_settling,
    stored_on,
)
from miroir_cli.store.records import InSync, Lane, Pending, Verdict

NODES = [NodeName("a"), NodeName("b"), NodeName("c")]
SHARDS = [ShardId(0), ShardId(1)]
ALL = frozenset(SHARDS)


def intent_of(
    n: int = 1, *, pieces: Mapping[NodeName, tuple[Piece, ...]] | None = None, state: IntentState = IntentState.OPEN
) -> Intent:
    return Intent(
        uid=IndexUid("books"),
        incarnation=1,
        n=n,
        nonce=f"x{n}",
        kind=WriteKind.ADD,
        state=state,
        targets=tuple(
            IntentTarget(node=node, shards=ALL, documents=2, pieces=(pieces or {}).get(node, ())) for node in NODES
        ),
    )


in_sync_sets = st.fixed_dictionaries({shard: st.frozensets(st.sampled_from(NODES), min_size=1) for shard in SHARDS})
parts = st.one_of(
    st.sampled_from(list(Sent)).map(lambda sent: (Part(shards=ALL, sent=sent, task=1, documents=2),)),
    st.tuples(st.sampled_from(list(Sent)), st.sampled_from(list(Sent))).map(
        lambda both: tuple(
            Part(shards=frozenset({shard}), sent=sent, task=1 + shard, documents=1)
            for shard, sent in zip(SHARDS, both, strict=True)
        )
    ),
    st.just(()),
)
answers = st.fixed_dictionaries(dict.fromkeys(NODES, parts))


def said(found: Mapping[NodeName, tuple[Part, ...]], node: NodeName, shard: ShardId) -> Sent:
    return next((part.sent for part in found[node] if shard in part.shards), Sent.UNKNOWN)


def left(in_sync: InSync, verdict: Verdict, shard: ShardId) -> set[NodeName]:
    return {node for node in in_sync[shard] if shard not in verdict.stale.get(node, frozenset())}


@given(in_sync=in_sync_sets, found=answers, recovering=st.booleans())
def test_sending_and_recovery_never_give_up_the_last_replica_and_keep_only_those_that_have_it(
    in_sync: dict[ShardId, frozenset[NodeName]], found: dict[NodeName, tuple[Part, ...]], recovering: bool
) -> None:
    judge = judge_recovery if recovering else judge_sending
    verdict = judge(intent_of(), in_sync, found)
    for shard in SHARDS:
        remaining = left(in_sync, verdict, shard)
        assert remaining
        outcomes = {said(found, node, shard) for node in remaining}
        if verdict.state is IntentState.OPEN:
            continue
        if shard in verdict.refused:
            assert outcomes == {Sent.REFUSED}
        else:
            assert outcomes == {Sent.ACCEPTED}
    if verdict.state is IntentState.ABORTED:
        assert verdict.refused == ALL


@given(in_sync=in_sync_sets, found=answers)
def test_a_write_stays_open_exactly_when_a_shard_was_accepted_by_nobody_and_may_be_somewhere(
    in_sync: dict[ShardId, frozenset[NodeName]], found: dict[NodeName, tuple[Part, ...]]
) -> None:
    doubtful = any(
        Sent.ACCEPTED not in (outcomes := {said(found, node, shard) for node in in_sync[shard]})
        and Sent.UNKNOWN in outcomes
        for shard in SHARDS
    )
    assert (judge_sending(intent_of(), in_sync, found).state is IntentState.OPEN) == doubtful


@given(in_sync=in_sync_sets, found=answers, other=answers)
def test_what_a_replica_out_of_sync_answered_decides_nothing(
    in_sync: dict[ShardId, frozenset[NodeName]],
    found: dict[NodeName, tuple[Part, ...]],
    other: dict[NodeName, tuple[Part, ...]],
) -> None:
    serving = in_sync[SHARDS[0]] | in_sync[SHARDS[1]]
    changed = {node: found[node] if node in serving else other[node] for node in NODES}
    first, second = (judge_sending(intent_of(), in_sync, given) for given in (found, changed))
    assert (first.state, first.stale, first.refused) == (second.state, second.stale, second.refused)


statuses = st.sampled_from(["succeeded", "succeeded", "failed", "canceled", "processing", "enqueued", "gone", "short"])


@st.composite
def situations(draw: st.DrawFn) -> tuple[Pending, Sight]:
    """Three sent writes, task n of every node, in any state on any of them; some nodes silent, some given up."""
    in_sync = draw(in_sync_sets)
    intents = [
        intent_of(n, pieces={node: (Piece(task=n, shards=ALL, documents=2),) for node in NODES}, state=IntentState.SENT)
        for n in (1, 2, 3)
    ]
    if draw(st.booleans()):
        intents[draw(st.integers(0, 2))] = intent_of(2, state=IntentState.OPEN)
    intents = [
        Intent(**{field: getattr(intent, field) for field in Intent.__slots__} | {"n": n})
        for n, intent in enumerate(intents, start=1)
    ]
    silent = draw(st.frozensets(st.sampled_from(NODES), max_size=3))
    looks: dict[NodeName, Look] = {}
    for node in NODES:
        if node in silent:
            continue
        tasks = {}
        for n in (1, 2, 3):
            status = draw(statuses)
            if status != "gone":
                indexed = {"succeeded": 2, "short": 0}.get(status)
                shown = "succeeded" if status == "short" else status
                tasks[n] = TaskView(uid=n, status=shown, type="documentAdditionOrUpdate", indexed=indexed)
        foreign = draw(st.booleans())
        if foreign:
            tasks[4] = TaskView(uid=4, status="succeeded", type="documentAdditionOrUpdate")
        looks[node] = Look(tasks=tasks)
    given_up = {node: "silent" for node in silent if draw(st.booleans())}
    expected = frozenset(intent.metadata for intent in intents if draw(st.sampled_from([True, True, False])))
    pending = Pending(
        incarnation=1,
        settled=0,
        newest=3,
        intents=tuple(intents),
        in_sync=in_sync,
        lanes={node: Lane(node=node, base=0, looked=0) for node in NODES},
        known={node: frozenset({1, 2, 3}) for node in NODES},
    )
    return pending, Sight(looks=looks, expected=expected, given_up=given_up)


def has(sight: Sight, node: NodeName, n: int) -> bool:
    look = sight.looks.get(node)
    task = look.tasks.get(n) if look else None
    return task is not None and task.status == "succeeded" and task.indexed == 2


@given(situation=situations())
def test_settling_is_in_order_and_what_is_done_is_on_every_replica_that_stays(situation: tuple[Pending, Sight]) -> None:
    pending, sight = situation
    settlement = judge_settling(pending, sight)
    assert [verdict.n for verdict in settlement.verdicts] == list(range(1, len(settlement.verdicts) + 1))
    in_sync = {shard: set(nodes) for shard, nodes in pending.in_sync.items()}
    for verdict in settlement.verdicts:
        intent = pending.intents[verdict.n - 1]
        assert intent.state is IntentState.SENT and intent.metadata in sight.expected
        for shard in SHARDS:
            in_sync[shard] -= {node for node, shards in verdict.stale.items() if shard in shards}
            assert in_sync[shard]
            if shard in verdict.failed:
                assert not any(has(sight, node, verdict.n) for node in in_sync[shard])
                assert all(node in sight.looks for node in in_sync[shard]), "a silent node may have it"
            else:
                assert all(has(sight, node, verdict.n) for node in in_sync[shard])


@given(situation=situations())
def test_no_task_is_passed_that_an_unsettled_write_needs(situation: tuple[Pending, Sight]) -> None:
    pending, sight = situation
    settlement = judge_settling(pending, sight)
    unsettled = [intent for intent in pending.intents[len(settlement.verdicts) :] if intent.state is IntentState.SENT]
    for node, looked in settlement.looked.items():
        assert all(looked < intent.n for intent in unsettled)
        assert all(task.final for uid, task in sight.looks[node].tasks.items() if uid <= looked)


@given(situation=situations())
def test_a_task_that_nobody_recorded_is_foreign(situation: tuple[Pending, Sight]) -> None:
    pending, sight = situation
    foreign = judge_settling(pending, sight).foreign
    assert foreign == {node: {4: None} for node, look in sight.looks.items() if 4 in look.tasks}


def test_the_task_of_a_write_that_is_being_sent_is_not_foreign() -> None:
    intent = intent_of(1)
    pending = Pending(
        incarnation=1,
        settled=0,
        newest=1,
        intents=(intent,),
        in_sync=dict.fromkeys(SHARDS, frozenset(NODES)),
        lanes={node: Lane(node=node, base=0, looked=0) for node in NODES},
        known=dict.fromkeys(NODES, frozenset()),
    )
    task = TaskView(uid=1, status="succeeded", type="documentAdditionOrUpdate", metadata=f"{intent.metadata}:0")
    late = TaskView(uid=2, status="succeeded", type="documentAdditionOrUpdate", metadata="m:1:7:other")
    sight = Sight(looks={NODES[0]: Look(tasks={1: task, 2: late})}, expected=frozenset())
    settlement = judge_settling(pending, sight)
    assert settlement.verdicts == [] and settlement.looked == {} and settlement.foreign == {NODES[0]: {2: None}}


def test_a_write_is_stored_on_as_many_replicas_as_its_least_replicated_shard() -> None:
    intent = intent_of(1, state=IntentState.DONE)
    assert stored_on(intent, {SHARDS[0]: frozenset(NODES), SHARDS[1]: frozenset(NODES[:1])}) == 1
