"""Indexes and their replicas in every store: made and deleted in steps, marked, and seen as of one moment."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from miroir_cli.errors import AlreadyExists, IndexNotFound, TemporaryError
from miroir_cli.model import Index, IndexUid, NodeName, ReplicaState, ShardId, StoredUid
from miroir_cli.store.protocol import Store
from miroir_cli.store.records import Creation, Deletion, Member, Progress
from tests.store.conftest import Open
from tests.store.contract.world import BOOKS, FILMS, INDEX, ONE, SHELF, ZERO, A, B, found, one_more, states, with_index

STALE, LOST = ReplicaState.STALE, ReplicaState.LOST


# -- the cluster and its nodes


async def test_a_cluster_is_founded_once(another: Open) -> None:
    stores = [await another() for _ in range(4)]
    assert await stores[0].cluster() is None and await stores[0].epoch() == 0
    records = await asyncio.gather(*(store.found(name=f"name{n}") for n, store in enumerate(stores)))
    assert len(set(records)) == 1 and records[0].epoch == 1 and records[0].renamed == 0
    assert await stores[3].cluster() == await stores[3].found(name="other") == records[0]
    assert await stores[0].epoch() == 1


async def test_members_are_told_in_the_order_of_their_names_and_the_newest_word_counts(store: Store) -> None:
    assert await store.members() == {}
    second, first = (Member(name=name, url="http://x", top_task=7) for name in (B, A))
    await store.enrol(second)
    await store.enrol(first)
    assert list((await store.members()).items()) == [(A, first), (B, second)]
    moved = replace(first, url="http://y", top_task=3)
    await store.enrol(moved)
    assert (await store.members())[A] == moved


# -- coming and going


async def test_an_index_is_there_once_its_creation_has_ended(store: Store) -> None:
    await found(store)
    begun = await store.begin_creation(INDEX, nodes={A: 5, B: 6})
    assert replace(begun, created_at=0) == replace(INDEX, incarnation=1) and begun.created_at > 1_700_000_000_000
    assert await store.map(BOOKS) is None and await store.indexes() == () and await store.progress(BOOKS) is None
    assert await store.creation(BOOKS) == Creation(index=begun, nodes={A: 5, B: 6})
    assert await store.interrupted() == {BOOKS: "creating"}
    map = await store.finish_creation(begun, placement={ZERO: frozenset({B, A}), ONE: frozenset({B})}, bases={A: 3})
    assert map == await store.map(BOOKS) and (map.epoch, map.index) == (2, begun)
    assert [(replica.shard, replica.node, replica.state, replica.since) for replica in map.replicas] == [
        (ZERO, A, ReplicaState.SERVING, 2),
        (ZERO, B, ReplicaState.SERVING, 2),
        (ONE, B, ReplicaState.SERVING, 2),
    ]
    assert await store.creation(BOOKS) is None and await store.interrupted() == {}
    assert await store.indexes() == (begun,) and await store.maps() == (map,)
    assert await store.progress(BOOKS) == Progress(epoch=2, incarnation=1, settled=0)


async def test_who_ends_a_creation_that_another_has_ended_changes_nothing(store: Store) -> None:
    made = await with_index(store)
    await store.mark(BOOKS, {A: [ZERO]}, state=STALE)
    now = await store.map(BOOKS)
    again = await store.finish_creation(made.index, placement={ZERO: frozenset({A})}, bases={A: 0})
    assert again == now == await store.map(BOOKS)
    await store.forget_index(BOOKS)
    with pytest.raises(IndexNotFound):
        await store.finish_creation(made.index, placement={ZERO: frozenset({A})}, bases={A: 0})


async def test_of_several_creations_at_once_one_begins(another: Open) -> None:
    stores = [await another() for _ in range(4)]
    await found(stores[0])
    begun = await asyncio.gather(
        *(store.begin_creation(INDEX, nodes={A: 0}) for store in stores), return_exceptions=True
    )
    assert sum(isinstance(each, Index) for each in begun) == 1
    assert sum(isinstance(each, AlreadyExists) for each in begun) == 3


async def test_creations_of_several_indexes_at_once_give_each_an_incarnation_of_its_own(another: Open) -> None:
    stores = [await another() for _ in range(8)]
    await found(stores[0])
    indexes = [replace(INDEX, uid=IndexUid(f"i{n}"), stored_as=StoredUid(f"i{n}")) for n in range(8)]
    begun = await asyncio.gather(
        *(store.begin_creation(index, nodes={}) for store, index in zip(stores, indexes, strict=True))
    )
    assert sorted(index.incarnation for index in begun) == list(range(1, 9))


async def test_a_name_on_the_nodes_is_given_to_one_index(store: Store) -> None:
    await with_index(store)
    with pytest.raises(TemporaryError, match="the name `books` on the nodes was taken meanwhile"):
        await store.begin_creation(replace(INDEX, uid=FILMS, stored_as=StoredUid("books")), nodes={})
    with pytest.raises(AlreadyExists, match="index `books` exists already"):
        await store.begin_creation(INDEX, nodes={})
    assert await store.free_name("books") == "books-2" and await store.free_name("films") == "films"


async def test_an_index_whose_name_is_that_of_a_listing_is_one_like_others(store: Store) -> None:
    await found(store)
    names = [IndexUid(name) for name in ("_index", "__index", "index", "_index-2")]
    for name in names:
        await one_more(store, name)
    assert [map.index.uid for map in await store.maps()] == sorted(names)
    await store.forget_index("_index")
    assert [index.uid for index in await store.indexes()] == ["__index", "_index-2", "index"]


async def test_a_deletion_takes_the_index_away_at_once_and_its_placement_at_the_end(store: Store) -> None:
    made = await with_index(store)
    await store.begin_deletion(made.index)
    assert await store.map(BOOKS) is None and await store.indexes() == ()
    assert await store.interrupted() == {BOOKS: "deleting"}
    assert await store.deletion(BOOKS) == Deletion(index=made.index, nodes=(A, B))
    with pytest.raises(IndexNotFound, match="index `books` was deleted meanwhile"):
        await store.require(made.index)
    with pytest.raises(AlreadyExists):
        await store.begin_creation(INDEX, nodes={})
    epoch = await store.epoch()
    await store.forget_index(BOOKS)
    assert await store.epoch() == epoch + 1
    assert await store.interrupted() == {} and await store.deletion(BOOKS) is None
    again = await with_index(store)
    assert again.index.incarnation == 2 and again.index.created_at > made.index.created_at
    await store.begin_deletion(made.index)
    assert await store.indexes() == (again.index,)


async def test_a_creation_can_be_given_up(store: Store) -> None:
    await found(store)
    await store.begin_creation(INDEX, nodes={})
    await store.forget_index(BOOKS)
    assert await store.interrupted() == {} and await store.free_name(BOOKS) == "books"
    assert (await store.begin_creation(INDEX, nodes={})).incarnation == 2


async def test_deleted_indexes_are_told_newest_first_until_their_names_stand_for_something(store: Store) -> None:
    await with_index(store)
    for name in (FILMS, SHELF):
        await one_more(store, name)
    for name in (SHELF, BOOKS, FILMS):
        await store.forget_index(name)
    copies = await store.copies()
    assert copies.cluster == await store.cluster() and copies.maps == ()
    assert [(index.uid, index.incarnation, index.stored_as) for index in copies.deleted] == [
        (SHELF, 3, "shelf"),
        (FILMS, 2, "films"),
        (BOOKS, 1, "books"),
    ]
    map = await one_more(store, FILMS)
    copies = await store.copies()
    assert copies.maps == (map,) and [index.uid for index in copies.deleted] == [SHELF, BOOKS]


# -- replicas


async def test_marks_raise_the_epoch_and_spare_the_last_replica(store: Store) -> None:
    made = await with_index(store)
    marked = await store.mark(BOOKS, {A: [ZERO], B: [ZERO, ONE]}, state=STALE)
    assert marked.stale == {A: {ZERO}, B: {ONE}} and marked.epoch == made.epoch + 1
    again = await store.mark(BOOKS, {A: [ZERO, ONE], B: [ZERO, ONE]}, state=STALE)
    assert again.stale == {} and again.epoch == marked.epoch == await store.epoch()
    lost = await store.mark(BOOKS, {A: [ZERO, ONE]}, state=LOST)
    assert lost.stale == {A: {ZERO, ONE}}
    map = await store.map(BOOKS)
    assert map is not None and map.in_sync() == {ZERO: (B,), ONE: ()}
    assert [replica.since for replica in map.replicas if replica.node == A] == [lost.epoch, lost.epoch]


async def test_marks_of_several_at_once_leave_one_replica_of_each_shard(another: Open) -> None:
    stores = [await another() for _ in range(6)]
    await with_index(stores[0])
    marks = await asyncio.gather(
        *(
            store.mark(BOOKS, {node: [ZERO, ONE]}, state=STALE)
            for store, node in zip(stores, [A, B, A, B, A, B], strict=True)
        )
    )
    assert sum(len(shards) for marked in marks for shards in marked.stale.values()) == 2
    map = await stores[5].map(BOOKS)
    assert map is not None and all(len(nodes) == 1 for nodes in map.in_sync().values())


async def test_a_mark_for_an_index_of_before_meets_nobody(store: Store) -> None:
    made = await with_index(store)
    await store.forget_index(BOOKS)
    again = await with_index(store)
    marked = await store.mark(BOOKS, {A: [ZERO]}, state=LOST, incarnation=made.index.incarnation)
    assert marked.stale == {} and marked.epoch == again.epoch
    assert (await store.mark(BOOKS, {A: [ZERO]}, state=LOST, incarnation=again.index.incarnation)).stale


async def test_a_lost_disk_takes_the_replicas_of_all_indexes_at_once(another: Open) -> None:
    stores = [await another() for _ in range(3)]
    store = stores[0]
    await with_index(store)
    await one_more(store, FILMS)
    epoch = await store.epoch()
    lost = await asyncio.gather(*(each.lose(A) for each in stores))
    assert sorted(lost) == [(), (), (BOOKS, FILMS)] and await store.epoch() == epoch + 1
    assert set((await states(store, FILMS)).values()) == {LOST}
    serving = {key for key, state in (await states(store, BOOKS)).items() if state is ReplicaState.SERVING}
    assert serving == {(ZERO, B), (ONE, B)}
    assert await store.lose(NodeName("stranger")) == ()


async def test_whether_the_nodes_know_the_newest_map(store: Store) -> None:
    made = await with_index(store)
    assert await store.unpublished(BOOKS) and not await store.unpublished(FILMS)
    await store.note_published(made.index, made.epoch)
    assert not await store.unpublished(BOOKS)
    marked = await store.mark(BOOKS, {A: [ZERO]}, state=STALE)
    assert await store.unpublished(BOOKS)
    await store.note_published(made.index, marked.epoch)
    await store.note_published(made.index, made.epoch)
    await store.note_published(replace(made.index, incarnation=9), 99)
    assert not await store.unpublished(BOOKS)
    await store.mark(BOOKS, {A: [ONE]}, state=LOST)
    assert await store.unpublished(BOOKS)


async def test_the_wanted_number_of_replicas_is_changed_for_the_index_that_is_meant(store: Store) -> None:
    made = await with_index(store)
    await store.set_replicas(made.index, 5)
    await store.set_replicas(replace(made.index, incarnation=9), 7)
    assert await store.indexes() == (replace(made.index, replicas=5),)
    assert await store.epoch() == made.epoch + 2


async def test_changes_of_different_verbs_at_once_all_happen(another: Open) -> None:
    stores = [await another() for _ in range(5)]
    made = await with_index(stores[0])
    await asyncio.gather(
        stores[0].set_replicas(made.index, 5),
        stores[1].freeze(made.index, "why"),
        stores[2].mark(BOOKS, {A: [ZERO]}, state=STALE),
        stores[3].note_settings(made.index, [A], 3),
        one_more(stores[4], FILMS),
        stores[0].note_published(made.index, 1),
        stores[1].enrol(Member(name=NodeName("c"), url="http://c", top_task=1)),
    )
    store = stores[0]
    assert [index.replicas for index in await store.indexes()] == [5, 1]
    assert await store.frozen() == {BOOKS: "why"} and await store.settings_versions(BOOKS) == {A: 3}
    assert (await states(store, BOOKS))[ZERO, A] is STALE and len(await store.members()) == 3
    assert await store.epoch() == made.epoch + 3


# -- settings of the nodes


async def test_a_frozen_index_is_told_with_the_reason_until_it_thaws(store: Store) -> None:
    made = await with_index(store)
    await store.freeze(replace(made.index, incarnation=9), "other")
    assert await store.frozen() == {}
    await store.freeze(made.index, "a node takes no settings")
    assert await store.frozen() == {BOOKS: "a node takes no settings"}
    await store.freeze(made.index, None)
    assert await store.frozen() == {}
    await store.freeze(made.index, "again")
    await store.forget_index(BOOKS)
    await with_index(store)
    assert await store.frozen() == {}


async def test_the_settings_that_nodes_have_are_known_by_the_number_of_their_write(store: Store) -> None:
    made = await with_index(store)
    await store.note_settings(made.index, [B, A], 4)
    await store.note_settings(made.index, [A], 6)
    await store.note_settings(replace(made.index, incarnation=9), [A], 8)
    assert await store.settings_versions(BOOKS) == {A: 6, B: 4} and await store.settings_versions(FILMS) == {}
    await store.forget_index(BOOKS)
    assert await store.settings_versions(BOOKS) == {}


async def test_placements_of_many_shards_keep_their_order(store: Store) -> None:
    await found(store)
    begun = await store.begin_creation(replace(INDEX, shards=12), nodes={})
    node = NodeName("a/b")
    placement = {ShardId(shard): frozenset({node, B}) for shard in range(12)}
    map = await store.finish_creation(begun, placement=placement, bases={})
    assert [(replica.shard, replica.node) for replica in map.replicas] == [
        (shard, name) for shard in range(12) for name in (node, B)
    ]
