"""A small cluster in a store: what the contract tests begin with."""

from __future__ import annotations

from dataclasses import replace

from miroir_cli.model import Index, IndexMap, IndexUid, NodeName, ReplicaState, ShardId
from miroir_cli.store.protocol import Store
from miroir_cli.store.records import Member

A, B = NodeName("a"), NodeName("b")
ZERO, ONE = ShardId(0), ShardId(1)
BOOKS, FILMS, SHELF = IndexUid("books"), IndexUid("films"), IndexUid("shelf")
INDEX = Index(
    uid=BOOKS, incarnation=0, primary_key="id", shards=2, replicas=2, settings={"stopWords": ["the"]}, tie_break=False
)


async def found(store: Store) -> None:
    await store.found(name="test")
    for name in (A, B):
        await store.enrol(Member(name=name, url=f"http://{name}", top_task=0))


async def with_index(store: Store) -> IndexMap:
    """`books` with two shards, each on both nodes."""
    await found(store)
    index = await store.begin_creation(INDEX, nodes={A: 0, B: 0})
    placement = {ZERO: frozenset({A, B}), ONE: frozenset({A, B})}
    return await store.finish_creation(index, placement=placement, bases={A: 3, B: 4})


async def one_more(store: Store, uid: IndexUid, *, key: str = "name") -> IndexMap:
    """An index with one shard, on one node."""
    wanted = replace(INDEX, uid=uid, stored_as=await store.free_name(uid), primary_key=key, shards=1, replicas=1)
    index = await store.begin_creation(wanted, nodes={A: 0})
    return await store.finish_creation(index, placement={ZERO: frozenset({A})}, bases={A: 20})


async def states(store: Store, uid: str) -> dict[tuple[ShardId, NodeName], ReplicaState]:
    map = await store.map(uid)
    assert map is not None
    return {(replica.shard, replica.node): replica.state for replica in map.replicas}
