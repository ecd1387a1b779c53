"""A whole state written into an empty store: what the nodes know becomes the truth."""

from __future__ import annotations

from dataclasses import replace

import pytest

from miroir_cli.errors import StateUnavailable
from miroir_cli.model import Replica, ReplicaState, StoredUid
from miroir_cli.store.protocol import Store
from miroir_cli.store.records import ClusterRecord, Member, Progress, Rebuilt, RebuiltIndex
from tests.store.contract.world import BOOKS, FILMS, INDEX, SHELF, ZERO, A, B

REPLICAS = (
    Replica(shard=ZERO, node=A, state=ReplicaState.SERVING, since=9),
    Replica(shard=ZERO, node=B, state=ReplicaState.LOST, since=9),
)
KEPT = replace(INDEX, incarnation=3, created_at=5, stored_as=StoredUid("films"))
STATE = Rebuilt(
    cluster=ClusterRecord(name="test", id="f00", epoch=9, renamed=7),
    members=(Member(name=A, url="http://a", top_task=40),),
    indexes=(RebuiltIndex(index=KEPT, replicas=REPLICAS, newest=12, tops={A: 40}),),
    deleted={"films": 6, "old": 4},
)


async def test_a_whole_state_is_what_was_given(store: Store) -> None:
    await store.rebuild(STATE)
    assert await store.cluster() == STATE.cluster
    assert await store.members() == {A: STATE.members[0]}
    map = await store.map(BOOKS)
    assert map is not None and (map.index, map.replicas, map.epoch) == (KEPT, REPLICAS, 9)
    assert await store.progress(BOOKS) == Progress(epoch=9, incarnation=3, settled=12)
    assert await store.unpublished(BOOKS) and await store.interrupted() == {} and await store.frozen() == {}
    copies = await store.copies()
    assert [(index.uid, index.incarnation) for index in copies.deleted] == [("films", 6), ("old", 4)]
    assert await store.follow(replace(KEPT, uid=SHELF, incarnation=1)) == KEPT


async def test_what_comes_after_it_exceeds_all_that_was_before(store: Store) -> None:
    await store.rebuild(STATE)
    assert await store.free_name(FILMS) == "films-2"
    begun = await store.begin_creation(replace(INDEX, uid=FILMS, stored_as=StoredUid("films-2")), nodes={})
    assert begun.incarnation == 7 and begun.created_at > KEPT.created_at
    assert [index.uid for index in (await store.copies()).deleted] == ["old"]


async def test_a_second_state_cannot_be_written_over_the_first(store: Store) -> None:
    await store.rebuild(STATE)
    with pytest.raises(StateUnavailable):
        await store.rebuild(replace(STATE, indexes=(), deleted={}))
    assert [index.uid for index in await store.indexes()] == [BOOKS]


async def test_an_empty_state_is_one_too(store: Store) -> None:
    await store.rebuild(Rebuilt(cluster=STATE.cluster, members=(), indexes=()))
    assert await store.epoch() == 9 and await store.maps() == ()
    assert (await store.begin_creation(INDEX, nodes={})).incarnation == 1
