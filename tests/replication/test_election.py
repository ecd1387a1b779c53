"""What a new state begins with, from literal copies and tasks: the newest copy, the replica with the newest write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest

from miroir_cli.errors import ForeignNode, NotFound
from miroir_cli.model import Index, IndexMap, IndexUid, NodeName, Replica, ReplicaState, ShardId, StoredUid
from miroir_cli.replication.copies import (
    Copy,
    Holding,
    Marker,
    Trace,
    copy_document,
    newest_copies,
    read_copies,
    read_marker,
    read_traces,
    surplus_tombstones,
    tombstone_document,
)
from miroir_cli.replication.election import (
    BEYOND_LOST_NODES,
    Election,
    cluster_of,
    elect,
    missing_nodes,
    reason_to_rebuild,
)
from miroir_cli.store.records import ClusterRecord, Found, Newest

A, B, C = NodeName("a"), NodeName("b"), NodeName("c")
BOOKS = IndexUid("books")
STORED = StoredUid("books")
SERVING, STALE, LOST = ReplicaState.SERVING, ReplicaState.STALE, ReplicaState.LOST
JOINING, LEAVING = ReplicaState.JOINING, ReplicaState.LEAVING
RECORD = ClusterRecord(name="test", id="f00", epoch=7)
SETTINGS = {"embedders": {"own": {"source": "openAi", "apiKey": "secret"}}}

States = Mapping[int, Mapping[NodeName, ReplicaState]]
BOTH: States = {0: {A: SERVING, B: SERVING}, 1: {A: SERVING, B: SERVING}}


def books(states: States, *, epoch: int, incarnation: int = 1) -> Copy:
    """A copy of the index `books` with these states of its replicas."""
    index = Index(
        uid=BOOKS, incarnation=incarnation, primary_key="id", shards=len(states), replicas=2, settings=SETTINGS
    )
    replicas = tuple(
        Replica(shard=ShardId(shard), node=node, state=state, since=1)
        for shard, nodes in states.items()
        for node, state in nodes.items()
    )
    map = IndexMap(epoch=epoch, index=index, replicas=replicas)
    return Copy(uid=BOOKS, stored_as=STORED, incarnation=incarnation, epoch=epoch, map=map)


def gone(*, epoch: int, incarnation: int = 1) -> Copy:
    return Copy(uid=BOOKS, stored_as=STORED, incarnation=incarnation, epoch=epoch, map=None)


def node(
    name: NodeName,
    *copies: Copy,
    writes: Trace | None = None,
    indexes: Iterable[str] = ("books",),
    cluster: str | None = "f00",
    called: str | None = None,
    epoch: int = 1,
) -> Holding:
    marker = Marker(name="test", cluster_id=cluster, node=called or name, epoch=epoch) if cluster else None
    return Holding(
        node=name,
        url=f"http://{name}",
        top_task=50,
        marker=marker,
        copies=copies,
        indexes=frozenset(map(StoredUid, indexes)),
        traces={(STORED, 1): writes} if writes else {},
    )


def wrote(newest: int, *, applied: int | None = None, count: int | None = None) -> Trace:
    applied = newest if applied is None else applied
    return Trace(newest=newest, applied=applied, count=applied if count is None else count)


def states_of(election: Election) -> dict[int, dict[NodeName, ReplicaState]]:
    found: dict[int, dict[NodeName, ReplicaState]] = {}
    for index in election.state.indexes:
        for replica in index.replicas:
            found.setdefault(int(replica.shard), {})[replica.node] = replica.state
    return found


NOBODY: frozenset[NodeName] = frozenset()


def test_one_replica_of_each_shard_is_in_sync_and_names_decide_between_equals() -> None:
    election = elect([node(B, books(BOTH, epoch=5)), node(A, books(BOTH, epoch=5))], accepted=NOBODY)
    assert states_of(election) == {0: {A: SERVING, B: STALE}, 1: {A: SERVING, B: STALE}}
    assert election.state.cluster == ClusterRecord(name="test", id="f00", epoch=6)
    assert {replica.since for replica in election.state.indexes[0].replicas} == {6}
    assert election.state.indexes[0].tops == {A: 50, B: 50}
    assert election.sources == {BOOKS: (5, (B, A))}


def test_the_newest_copy_decides_who_was_in_sync() -> None:
    newer = books({0: {A: STALE, B: SERVING}}, epoch=9)
    older = books({0: {A: SERVING, B: SERVING}}, epoch=5)
    election = elect([node(A, older, writes=wrote(80)), node(B, newer, writes=wrote(40))], accepted=NOBODY)
    assert states_of(election) == {0: {A: STALE, B: SERVING}}
    assert election.state.cluster.epoch == 10
    assert election.state.indexes[0].newest == 80


@pytest.mark.parametrize(
    ("of_a", "of_b"),
    [
        (wrote(3), wrote(4)),
        (wrote(4, applied=3), wrote(4)),
        (wrote(4, count=2), wrote(4, count=3)),
        (None, wrote(1)),
    ],
    ids=["newer", "applied", "more", "none"],
)
def test_of_several_in_sync_the_one_with_the_newest_applied_write_is_chosen(of_a: Trace | None, of_b: Trace) -> None:
    copy = books(BOTH, epoch=5)
    election = elect([node(A, copy, writes=of_a), node(B, copy, writes=of_b)], accepted=NOBODY)
    assert states_of(election)[0] == {A: STALE, B: SERVING}


def test_what_was_moving_is_stale_and_what_was_lost_stays_lost() -> None:
    copy = books({0: {A: SERVING, B: JOINING, C: LOST}, 1: {A: LEAVING, B: SERVING, C: STALE}}, epoch=5)
    election = elect([node(A, copy), node(B), node(C)], accepted=NOBODY)
    assert states_of(election) == {0: {A: SERVING, B: STALE, C: LOST}, 1: {A: STALE, B: SERVING, C: STALE}}


@pytest.mark.parametrize(
    "first",
    [node(A, books(BOTH, epoch=5), cluster=None), node(A, books(BOTH, epoch=5), indexes=())],
    ids=["another disk", "index gone"],
)
def test_a_node_without_marker_or_without_the_index_has_lost_its_replicas(first: Holding) -> None:
    election = elect([first, node(B)], accepted=NOBODY)
    assert states_of(election) == {0: {A: LOST, B: SERVING}, 1: {A: LOST, B: SERVING}}
    assert [member.name for member in election.state.members] == ([A, B] if first.marker else [B])


def test_shards_that_were_in_sync_on_lost_nodes_only_are_named() -> None:
    copy = books({0: {A: SERVING, B: STALE}, 1: {A: SERVING, B: SERVING}, 2: {A: SERVING}}, epoch=5)
    election = elect([node(B, copy)], accepted=frozenset({A}))
    assert states_of(election) == {0: {A: LOST, B: STALE}, 1: {A: LOST, B: SERVING}, 2: {A: LOST}}
    assert election.uncovered == {BOOKS: (0, 2)}
    assert election.state.cluster.epoch == 5 + BEYOND_LOST_NODES
    assert election.state.indexes[0].tops == {B: 50}


def test_the_epoch_is_above_markers_copies_and_the_old_file() -> None:
    holdings = [node(A, books(BOTH, epoch=5), epoch=8), node(B, gone(epoch=11, incarnation=1))]
    assert elect(holdings, accepted=NOBODY).state.cluster.epoch == 12
    assert elect(holdings, accepted=NOBODY, above=20).state.cluster.epoch == 21


@pytest.mark.parametrize(
    ("copies", "winner"),
    [
        ([books(BOTH, epoch=9), gone(epoch=7)], gone(epoch=7)),
        ([gone(epoch=7), books(BOTH, epoch=8, incarnation=2)], books(BOTH, epoch=8, incarnation=2)),
        ([gone(epoch=12, incarnation=2), books(BOTH, epoch=8, incarnation=2)], gone(epoch=12, incarnation=2)),
        ([books(BOTH, epoch=3), books(BOTH, epoch=4)], books(BOTH, epoch=4)),
    ],
    ids=["deleted", "created again", "deleted again", "changed"],
)
def test_a_deletion_ends_its_incarnation(copies: list[Copy], winner: Copy) -> None:
    names = (A, B)
    for order in (copies, copies[::-1]):
        holdings = [node(name, copy) for name, copy in zip(names, order, strict=True)]
        assert newest_copies(holdings) == {BOOKS: winner}
        state = elect(holdings, accepted=NOBODY).state
        assert state.deleted == ({BOOKS: winner.incarnation} if winner.map is None else {})


def test_an_index_that_is_on_no_node_any_more_counts_as_deleted() -> None:
    copy = books(BOTH, epoch=5)
    election = elect([node(A, copy, indexes=()), node(B, indexes=())], accepted=NOBODY)
    assert election.vanished == (BOOKS,) and election.state.deleted == {BOOKS: 1} and not election.state.indexes


def test_an_index_that_a_lost_node_may_still_have_is_kept() -> None:
    election = elect([node(A, books(BOTH, epoch=5), indexes=())], accepted=frozenset({B}))
    assert election.vanished == () and election.uncovered == {BOOKS: (0, 1)}


def test_indexes_that_no_copy_knows_are_named() -> None:
    election = elect([node(A, books(BOTH, epoch=5), indexes=("books", "own")), node(B)], accepted=NOBODY)
    assert election.unknown == {"own": (A,)}


def test_nodes_that_the_newest_copies_name_must_answer_or_be_given_up() -> None:
    holdings = [node(A, books({0: {A: SERVING, C: SERVING}}, epoch=5)), node(B)]
    assert missing_nodes(holdings, NOBODY) == (C,)
    assert missing_nodes(holdings, frozenset({C})) == ()


# -- whose nodes


def test_nodes_of_several_clusters_are_refused_by_name() -> None:
    with pytest.raises(ForeignNode, match="`b` to bad; `a`, `c` to f00"):
        cluster_of([node(A), node(B, cluster="bad"), node(C)])


def test_a_node_under_another_name_is_refused() -> None:
    with pytest.raises(ForeignNode, match="the server at http://a is node `b`, not `a`"):
        cluster_of([node(A, called="b")])


def test_no_marker_at_all_is_no_cluster() -> None:
    with pytest.raises(NotFound):
        cluster_of([node(A, cluster=None)])


# -- whether there is a reason


def known(epoch: int, *, id: str = "f00", blank: bool = False, n: int = 4) -> Found:
    return Found(
        cluster=ClusterRecord(name="test", id=id, epoch=epoch),
        blank=blank,
        newest=(Newest(uid=BOOKS, stored_as=STORED, incarnation=1, n=n),),
    )


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (Found(exists=False), "the state file is missing"),
        (Found(), "the state file is empty"),
        (known(1, id="another", blank=True), "the state file is empty"),
        (Found(damage="state file `x` is damaged"), "state file `x` is damaged"),
        (known(4), "the state file is at epoch 4, node `a` knows 5"),
        (known(5, n=3), "the state file knows 3 writes of index `books`, node `a` has write 4"),
        (known(5), None),
        (known(6), None),
    ],
)
def test_a_store_is_replaced_when_it_is_missing_damaged_or_older(found: Found, reason: str | None) -> None:
    assert reason_to_rebuild(found, [node(A, books(BOTH, epoch=5), writes=wrote(4)), node(B)]) == reason


def test_the_store_of_another_cluster_is_no_older_one() -> None:
    with pytest.raises(ForeignNode):
        reason_to_rebuild(known(1, id="another"), [node(A)])


# -- what is written on nodes is read back


def test_copies_are_read_as_they_were_written_with_secrets() -> None:
    copy = books(BOTH, epoch=7)
    assert copy.map is not None
    documents = [copy_document(RECORD, copy.map), {"id": "cluster", "epoch": 9}, {"id": "x", "cluster_id": "other"}]
    assert read_copies(documents, cluster_id="f00") == (copy,)
    assert read_copies([tombstone_document(RECORD, copy.map.index)], cluster_id="f00") == (gone(epoch=7),)


def test_a_marker_with_nothing_but_an_epoch_is_none() -> None:
    assert read_marker({"id": "cluster", "epoch": 9}) is None
    assert read_marker(None) is None


def test_only_the_newest_tombstones_are_kept() -> None:
    documents = [{"id": f"index-{n}", "epoch": n, "deleted": True} for n in range(5)] + [{"id": "index-x", "epoch": 0}]
    assert surplus_tombstones(documents, keep=3) == ["index-1", "index-0"]


def test_tasks_show_numbers_by_incarnation_and_a_piece_that_failed_fails_the_write() -> None:
    tasks: list[dict[str, str | None]] = [
        {"customMetadata": "m:2:3:aa", "status": "failed"},
        {"customMetadata": "m:2:2:bb:0,1", "status": "succeeded"},
        {"customMetadata": "m:2:2:bb:2", "status": "failed"},
        {"customMetadata": "m:2:1:cc", "status": "succeeded"},
        {"customMetadata": "m:1:90:dd", "status": "succeeded"},
        {"customMetadata": "by hand", "status": "succeeded"},
        {"customMetadata": "m:x:y:z", "status": "succeeded"},
        {"customMetadata": None, "status": "succeeded"},
    ]
    assert read_traces(tasks) == {2: Trace(newest=3, applied=1, count=1), 1: Trace(newest=90, applied=90, count=1)}
