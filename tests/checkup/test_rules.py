"""The rules on literal facts: thresholds, severities and wording that no staged node shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from miroir_cli.checkup.catalogue import CHECKS
from miroir_cli.checkup.examine import RULES, examine
from miroir_cli.checkup.facts import (
    Disk,
    Facts,
    FailedTask,
    IndexFacts,
    Marker,
    NodeFacts,
    NodeStats,
    Standing,
    StateFacts,
    Trouble,
    TroubleKind,
)
from miroir_cli.checkup.finding import Severity, count, error, info, span, warning, worst_first
from miroir_cli.checkup.index_rules import frozen, misplaced, out_of_sync, settings_drift, uncovered, writes_in_doubt
from miroir_cli.checkup.interview import ahead
from miroir_cli.checkup.key_rules import master_keys_differ
from miroir_cli.checkup.node_rules import (
    clocks_differ,
    disk_full,
    not_a_member,
    queue_stands,
    room_unused,
    slow,
    tasks_failed,
    unanswered,
)
from miroir_cli.checkup.state_rules import locks_held, state_on_network, state_outdated
from miroir_cli.model import (
    Index,
    IndexMap,
    IndexUid,
    Node,
    NodeName,
    Replica,
    ReplicaState,
    ShardId,
    StoredUid,
    shards_named,
)
from miroir_cli.node.answers import NodeVersion
from miroir_cli.store.locks import Held, Owner
from miroir_cli.store.records import ClusterRecord, Member
from miroir_cli.topology.schema import ClusterSettings

DEFAULTS = {
    "rankingRules": ["words", "typo"],
    "stopWords": [],
    "typoTolerance": {"enabled": True, "disableOnWords": []},
}
VERSION = NodeVersion(package="1.50.0", engine="meilisearch")


def node(name: str = "n1", *, top_task: int = 9, epoch: int = 5) -> NodeFacts:
    """A member that answers everything, with nothing to report."""
    return NodeFacts(
        node=Node(name=NodeName(name), url=f"http://{name}:7700"),
        version=VERSION,
        disk=Disk(marker=Marker(cluster="test", cluster_id="id", node=name, epoch=epoch), top_task=top_task),
        defaults=DEFAULTS,
    )


def index(states: Sequence[Sequence[str]], *, tie_break: bool = False) -> IndexFacts:
    """The index `books`: for each shard its replicas, such as `n1 serving`."""
    replicas = tuple(
        Replica(shard=ShardId(shard), node=NodeName(name), state=ReplicaState(state), since=1)
        for shard, written in enumerate(states)
        for name, state in (text.split() for text in written)
    )
    books = Index(
        uid=IndexUid("books"),
        incarnation=1,
        primary_key="id",
        shards=len(states),
        replicas=len(states[0]),
        own_replicas=True,
        tie_break=tie_break,
    )
    return IndexFacts(map=IndexMap(epoch=5, index=books, replicas=replicas))


def facts(*nodes: NodeFacts, indexes: Sequence[IndexFacts] = (), locks: Sequence[Held] = ()) -> Facts:
    members = {each.name: Member(name=each.name, url=each.node.url, top_task=9) for each in nodes}
    state = StateFacts(
        path="state.db",
        cluster=ClusterRecord(name="test", id="id", epoch=5),
        members=members,
        indexes=tuple(indexes),
    )
    return Facts(cluster=ClusterSettings(name="test"), nodes=nodes, state=state, locks=tuple(locks), now=1000.0)


def test_every_rule_is_silent_when_nothing_is_wrong() -> None:
    report = examine(facts(node("n1"), node("n2"), indexes=[index([["n1 serving", "n2 serving"]])]))
    assert report.findings == ()
    assert report.checked == len(CHECKS)
    assert len(RULES) == len(set(RULES))


def test_the_worst_comes_first_and_equals_keep_their_order() -> None:
    found = [info("a", "", "", ""), warning("b", "", "", ""), error("c", "", "", ""), warning("d", "", "", "")]
    assert [finding.check for finding in worst_first(found)] == ["c", "b", "d", "a"]
    assert count(found) == "1 error, 2 warnings, 1 notice"
    assert count(found[:1]) == "1 notice"
    assert count([]) == ""


def test_how_spans_and_shards_are_written() -> None:
    assert [span(each) for each in (0.4, 119, 120, 7200, 200_000)] == ["0 s", "119 s", "2 min", "2 h", "2 days"]
    assert shards_named([3]) == "shard 3"
    assert shards_named(range(20)) == "shards 0, 1, 2, 3, 4, 5, 6, 7 and 12 more"


@pytest.mark.parametrize(
    ("clock", "expected"),
    [(100.0, 0.0), (99.0, -0.5), (101.0, 0.0), (103.0, 1.5), (90.0, -9.5)],
)
def test_a_clock_in_whole_seconds_is_only_blamed_for_what_is_certain(clock: float, expected: float) -> None:
    assert ahead(clock, began=100.5, ended=101.5) == expected


@pytest.mark.parametrize(("clock", "blamed"), [(None, False), (5.0, False), (-5.0, False), (5.1, True), (-6.0, True)])
def test_clocks_may_differ_by_five_seconds(clock: float | None, blamed: bool) -> None:
    assert bool(list(clocks_differ(facts(replace(node(), clock=clock))))) is blamed


@pytest.mark.parametrize(("seconds", "blamed"), [(0.9, False), (1.1, True)])
def test_an_answer_may_take_a_second(seconds: float, blamed: bool) -> None:
    assert bool(list(slow(facts(replace(node(), slowest=seconds))))) is blamed


def test_one_missing_key_of_many_nodes_is_one_finding() -> None:
    trouble = Trouble(kind=TroubleKind.KEY, message="environment variable `KEY` is not set")
    found = list(unanswered(facts(replace(node("n1"), trouble=trouble), replace(node("n2"), trouble=trouble))))
    assert [finding.message for finding in found] == ["environment variable `KEY` is not set (nodes n1, n2)"]
    assert found[0].where == "n1, n2"


def failed(code: str, *, kind: str = "system", age: float = 60.0, uid: int = 7, index: str = "books") -> FailedTask:
    return FailedTask(uid=uid, index=index, code=code, kind=kind, message="it failed", age=age)


@pytest.mark.parametrize(("age", "newest_success", "blamed"), [(60.0, 8, True), (7200.0, 8, False), (7200.0, 6, True)])
def test_a_disk_counts_as_full_until_an_hour_and_a_success_have_passed(
    age: float, newest_success: int, blamed: bool
) -> None:
    full = replace(node(), failed=(failed("no_space_left_on_device", age=age),), newest_success=newest_success)
    assert bool(list(disk_full(facts(full)))) is blamed


@pytest.mark.parametrize(("kind", "severity"), [("internal", Severity.WARNING), ("invalid_request", Severity.INFO)])
def test_a_task_that_failed_for_its_documents_is_no_fault_of_the_node(kind: str, severity: Severity) -> None:
    tasks = (failed("x", kind=kind), failed("x", kind=kind, age=4000.0), failed("x", kind=kind, index="strange"))
    found = list(tasks_failed(facts(replace(node(), failed=tasks), indexes=[index([["n1 serving"]])])))
    assert [(finding.severity, finding.message.partition(" of ")[0]) for finding in found] == [(severity, "1 task")]


def test_nobody_is_new_before_anybody_is_a_member() -> None:
    known = facts(node("n1"), node("n2"))
    alone = replace(known.state, members={NodeName("n1"): known.state.members[NodeName("n1")]})
    assert [finding.where for finding in not_a_member(replace(known, state=alone))] == ["n2"]
    assert not list(not_a_member(replace(known, state=replace(known.state, members={}))))


@pytest.mark.parametrize(("epoch", "blamed"), [(5, False), (6, True)])
def test_a_marker_may_be_as_new_as_the_state(epoch: int, blamed: bool) -> None:
    assert bool(list(state_outdated(facts(node(epoch=epoch))))) is blamed


def test_a_state_file_on_a_network_file_system_is_an_error() -> None:
    known = facts(node())
    found = list(state_on_network(replace(known, state=replace(known.state, network="folder `x` is on nfs"))))
    assert [(finding.check, finding.severity) for finding in found] == [("state.network", Severity.ERROR)]
    assert not list(state_on_network(known))


@pytest.mark.parametrize(
    ("name", "since", "stopped", "check"),
    [
        ("books.order", 990.0, False, "lock.held"),
        ("books.order", 500.0, False, "lock.long"),
        ("books.order", 990.0, True, "lock.stopped"),
        ("run", 500.0, False, "lock.held"),
        ("books.import.3", 500.0, False, "lock.held"),
    ],
)
def test_only_stopped_holders_and_order_locks_held_for_long_are_blamed(
    name: str, since: float, stopped: bool, check: str
) -> None:
    held = Held(name=name, owner=Owner(pid=42, command="miroir import", since=since), stopped=stopped)
    assert [finding.check for finding in locks_held(facts(locks=[held]))] == [check]
    unsigned = list(locks_held(facts(locks=[Held(name=name, owner=None)])))
    assert [finding.severity for finding in unsigned] == [Severity.INFO]


@pytest.mark.parametrize("name", ["serve.peer.7", "tasks.finisher"])
def test_locks_that_proxies_hold_as_long_as_they_run_are_told_only_when_they_are_stopped(name: str) -> None:
    owner = Owner(pid=42, command="miroir serve", since=1.0)
    assert not list(locks_held(facts(locks=[Held(name=name, owner=owner)])))
    stopped = list(locks_held(facts(locks=[Held(name=name, owner=owner, stopped=True)])))
    assert [finding.check for finding in stopped] == ["lock.stopped"]


def test_a_lock_that_is_newer_than_the_clock_was_taken_just_now() -> None:
    held = Held(name="run", owner=Owner(pid=42, command="miroir import", since=99_999.0))
    assert [finding.message for finding in locks_held(facts(locks=[held]))] == [
        "process 42 (`miroir import`) has held lock `run` for 0 s"
    ]


def test_a_shard_without_a_copy_in_sync_names_who_had_it() -> None:
    found = list(uncovered(facts(node("n1"), node("n2"), indexes=[index([["n1 lost"], ["n2 serving"]])])))
    assert len(found) == 1
    assert "shard 0 without any in-sync replica (`n1` lost)" in found[0].message
    assert "bring node `n1` back with its old disk" in found[0].hint


def test_replicas_that_only_wait_for_repair_are_where_they_belong() -> None:
    states = [["n1 stale", "n2 serving"], ["n1 serving", "n2 lost"]]
    assert not list(misplaced(facts(node("n1"), node("n2"), indexes=[index(states)])))
    joining = [["n1 joining", "n2 serving"], ["n1 serving", "n2 serving"]]
    found = list(misplaced(facts(node("n1"), node("n2"), indexes=[index(joining)])))
    assert "1 replica to copy, 0 only to drop" in found[0].message


@pytest.mark.parametrize(("in_doubt", "busy", "blamed"), [(3, False, True), (3, True, False), (None, False, False)])
def test_an_open_write_is_in_doubt_when_nobody_is_at_it(in_doubt: int | None, busy: bool, blamed: bool) -> None:
    written = replace(index([["n1 serving"]]), in_doubt=in_doubt, busy=busy)
    assert bool(list(writes_in_doubt(facts(node(), indexes=[written])))) is blamed


def on_nodes(states: Sequence[Sequence[str]], *rules: Sequence[str], **more: object) -> Facts:
    """Nodes n1, n2, ... with these ranking rules of `books`."""
    made = []
    for number, ranking in enumerate(rules, 1):
        settings = {
            **DEFAULTS,
            "filterableAttributes": [
                {
                    "attributePatterns": ["_miroir_shard", "_miroir_none"],
                    "features": {"facetSearch": False, "filter": {"equality": True, "comparison": False}},
                }
            ],
            "rankingRules": list(ranking),
            **more,
        }
        made.append(replace(node(f"n{number}"), settings={StoredUid("books"): settings}))
    return facts(*made, indexes=[index(states, tie_break=True)])


def test_ranking_rules_of_an_older_version_are_no_drift_while_all_nodes_have_them() -> None:
    both = [["n1 serving", "n2 serving"]]
    older, default = ["words", "id:asc"], ["words", "typo", "id:asc"]
    assert not list(settings_drift(on_nodes(both, older, older)))
    assert [f.where for f in settings_drift(on_nodes(both, older, default))] == ["books@n1"]
    assert [f.where for f in settings_drift(on_nodes(both, ["words"], ["words"]))] == ["books@n1", "books@n2"]


def test_settings_are_not_compared_while_they_change_nor_where_nothing_is_in_sync() -> None:
    right = ["words", "typo", "id:asc"]
    drifted = on_nodes([["n1 serving"]], right, stopWords=["the"])
    assert [f.message.rpartition(": ")[2] for f in settings_drift(drifted)] == ["`stopWords`"]
    changing = replace(drifted.state, indexes=(replace(drifted.state.indexes[0], steady=False),))
    assert not list(settings_drift(replace(drifted, state=changing)))
    assert not list(settings_drift(on_nodes([["n1 stale"]], right, stopWords=["the"])))


def test_nodes_that_do_not_share_a_master_key_are_named() -> None:
    one, two, three = (
        replace(node(name), key_proof=("uid", "value"), master=master)
        for name, master in (("n1", "a"), ("n2", "a"), ("n3", None))
    )
    assert list(master_keys_differ(facts(one, two, node("n4")))) == []
    (found,) = master_keys_differ(facts(one, two, three))
    assert found.severity is Severity.INFO and "`n3`" in found.message and "`n2`" not in found.message


def test_a_frozen_index_is_an_error_with_its_reason() -> None:
    calm = index([["n1 serving"]])
    assert list(frozen(facts(node(), indexes=[calm]))) == []
    (found,) = frozen(facts(node(), indexes=[replace(calm, frozen="node `n1` says otherwise")]))
    assert found.severity is Severity.ERROR and "says otherwise" in found.message
    assert found.hint == "run `miroir index unfreeze books`"


def test_a_queue_that_moves_and_is_behind_is_told_apart_from_one_that_stands() -> None:
    busy = replace(node(), waiting=12, oldest_wait=601.0)
    assert [(found.check, found.severity) for found in queue_stands(facts(busy))] == [
        ("node.backlog", Severity.WARNING)
    ]
    assert list(queue_stands(facts(replace(busy, oldest_wait=600.0)))) == []
    still = Standing(uid=3, index="books", type="documentAdditionOrUpdate", age=700.0, waiting=12)
    assert [found.check for found in queue_stands(facts(replace(busy, standing=still)))] == ["node.queue"]


@pytest.mark.parametrize(
    ("size", "used", "told"),
    [(10 * 1024**3, 4 * 1024**3, True), (10 * 1024**3, 6 * 1024**3, False), (1024**3, 0, False)],
)
def test_room_that_holds_nothing_is_told_when_it_is_much(size: int, used: int, told: bool) -> None:
    known = facts(replace(node(), stats=NodeStats(size=size, used=used)))
    assert bool(list(room_unused(known))) is told


def test_what_a_stale_replica_lacks_is_told_as_far_as_nodes_tell_it() -> None:
    states = index([["n1 stale", "n2 serving"], ["n1 serving", "n2 serving"]])
    books = StoredUid("books")
    counted = {books: {ShardId(0): 3, ShardId(1): 9}}
    first = replace(node("n1"), counted=counted, last_writes={books: 7200.0})
    second = replace(node("n2"), counted={books: {ShardId(0): 5, ShardId(1): 9}})
    (found,) = out_of_sync(facts(first, second, indexes=[states]))
    assert found.message.endswith("shard 0; 2 documents differ at least, the last write that it took was 2 h ago")
    (silent,) = out_of_sync(facts(node("n1"), second, indexes=[states]))
    assert silent.message.endswith("(missed a write): shard 0")
