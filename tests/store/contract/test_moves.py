"""Moves in every store: replicas that join, switch and leave, and what is written to their shards meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from miroir_cli.errors import IndexNotFound
from miroir_cli.model import Index, NodeName, ReplicaState, ShardId, WriteKind
from miroir_cli.store import moving
from miroir_cli.store.journal import Changes, Mover
from miroir_cli.store.protocol import Store
from miroir_cli.store.records import Lane, Marked, Renaming, Settlement
from tests.store.conftest import Open
from tests.store.contract.world import BOOKS, FILMS, ONE, ZERO, A, B, states, with_index
from tests.store.contract.writing import begin, end, settle, write

C, D = NodeName("c"), NodeName("d")
SERVING, JOINING, LEAVING = ReplicaState.SERVING, ReplicaState.JOINING, ReplicaState.LEAVING
STALE, LOST = ReplicaState.STALE, ReplicaState.LOST


async def switch(
    store: Store, index: Index, *, nonce: str = "n", newest: int = 0, source: NodeName = A, base: int = 8
) -> Marked | None:
    return await store.switch(index, ZERO, C, nonce=nonce, source=source, leaving=B, newest=newest, base=base)


async def add(store: Store, index: Index, *, named: bool = True) -> int:
    """A write of one key to each shard."""
    keys = {ZERO: ["k0", "k0"], ONE: ["k1"]}
    intent = await begin(
        store,
        index,
        kind=WriteKind.ADD if named else WriteKind.CLEAR,
        keys=keys.__getitem__ if named else None,
    )
    return intent.n


def keys(*names: str) -> Changes:
    return Changes(keys=frozenset(names))


# -- replicas


async def test_a_replica_joins_switches_and_the_one_it_replaces_leaves(store: Store) -> None:
    made = await with_index(store)
    assert await store.join(made.index, ZERO, C, nonce="n", top=7) == (0, None)
    assert (await states(store, BOOKS))[ZERO, C] is JOINING
    assert await store.epoch() == made.epoch + 1
    marked = await switch(store, made.index)
    assert marked == Marked(epoch=made.epoch + 2)
    assert await states(store, BOOKS) == {
        (ZERO, A): SERVING, (ZERO, B): LEAVING, (ZERO, C): SERVING, (ONE, A): SERVING, (ONE, B): SERVING,
    }  # fmt: skip
    assert (await store.pending(BOOKS)).bases == {(C, ZERO): 8}
    assert await store.begin_forgetting(made.index, B, [ZERO, ONE], nonce="f") == (ZERO,)
    assert (await store.pending(BOOKS)).movers == {
        "n": Mover(node=C, shards=frozenset({ZERO})),
        "f": Mover(node=B, shards=frozenset({ZERO})),
    }
    await store.forget(made.index, B, [ZERO, ONE])
    assert (ZERO, B) not in await states(store, BOOKS) and (await states(store, BOOKS))[ONE, B] is SERVING
    assert await store.epoch() == made.epoch + 3
    assert set((await store.pending(BOOKS)).lanes) == {A, B, C}
    await store.leave(made.index, ONE, B, keep=1)
    await store.forget(made.index, B, [ONE])
    assert set((await store.pending(BOOKS)).lanes) == {A, C}
    assert await store.begin_forgetting(made.index, B, [ONE], nonce="g") == ()


async def test_a_replica_that_serves_does_not_join(store: Store) -> None:
    made = await with_index(store)
    await write(store, made.index)
    assert await store.join(made.index, ZERO, A, nonce="n", top=7) == (1, SERVING)
    assert await store.map(BOOKS) == made and (await store.pending(BOOKS)).movers == {}


async def test_nothing_switches_that_is_not_what_was_compared(store: Store) -> None:
    index = (await with_index(store)).index
    assert await switch(store, index) is None, "nobody joins"
    await store.join(index, ZERO, C, nonce="n", top=7)
    assert await switch(store, index, nonce="another attempt") is None
    await store.mark(BOOKS, {A: [ZERO]}, state=STALE)
    assert await switch(store, index, source=A) is None
    await write(store, index)
    assert await switch(store, index, source=B, newest=1) is None, "a write is not settled"
    newest = await settle(store, index)
    assert await switch(store, index, source=B, newest=newest - 1) is None, "a write came after the look"
    assert (await states(store, BOOKS))[ZERO, C] is JOINING
    assert await switch(store, index, source=B, newest=newest) is not None


@pytest.mark.parametrize(("shard", "switches"), [(ZERO, False), (ONE, True)], ids=["the same", "another"])
async def test_a_write_on_its_way_keeps_its_shard_from_switching_and_no_other(
    store: Store, shard: ShardId, switches: bool
) -> None:
    index = (await with_index(store)).index
    await store.join(index, ZERO, C, nonce="n", top=7)
    await begin(store, index, documents={shard: 1}, keys=lambda _: ["key"])
    assert (await switch(store, index, newest=1) is not None) == switches


async def test_a_replica_given_up_is_what_it_was_before(store: Store) -> None:
    index = (await with_index(store)).index
    await store.mark(BOOKS, {B: [ZERO]}, state=STALE)
    assert (await store.join(index, ZERO, B, nonce="1", top=7))[1] is STALE
    assert (await store.join(index, ZERO, B, nonce="2", top=7))[1] is STALE, "begun anew"
    await store.unjoin(index, ZERO, B)
    assert (await states(store, BOOKS))[ZERO, B] is STALE
    await store.join(index, ZERO, C, nonce="3", top=7)
    await store.mark(BOOKS, {C: [ZERO]}, state=LOST)
    assert (await store.join(index, ZERO, C, nonce="4", top=7))[1] is None, "its disk was lost while it was filled"
    await store.unjoin(index, ZERO, C)
    assert (await states(store, BOOKS))[ZERO, C] is LEAVING
    epoch = await store.epoch()
    await store.unjoin(index, ZERO, C)
    await store.unjoin(index, ZERO, A)
    assert await store.epoch() == epoch and (await states(store, BOOKS))[ZERO, A] is SERVING


async def test_a_replica_leaves_only_while_enough_stay(store: Store) -> None:
    index = (await with_index(store)).index
    assert not await store.leave(index, ZERO, A, keep=2)
    assert await store.leave(index, ZERO, A, keep=1)
    assert await store.leave(index, ZERO, A, keep=1), "it has left"
    assert await store.leave(index, ZERO, C, keep=1), "it was never there"
    assert not await store.leave(index, ZERO, B, keep=1)
    assert (await states(store, BOOKS))[ZERO, B] is SERVING
    await store.join(index, ZERO, C, nonce="n", top=7)
    assert await store.leave(index, ZERO, C, keep=1), "it counts for nothing"
    await store.unjoin(index, ZERO, C)
    assert (await states(store, BOOKS))[ZERO, C] is LEAVING


async def test_whether_replicas_served_until_they_left_is_known(store: Store) -> None:
    index = (await with_index(store)).index
    await store.leave(index, ZERO, B, keep=1)
    assert await store.served_until_they_left(index, B, [ZERO, ONE])
    await store.mark(BOOKS, {B: [ONE]}, state=STALE)
    await store.leave(index, ONE, B, keep=1)
    assert not await store.served_until_they_left(index, B, [ZERO, ONE])
    await store.join(index, ZERO, C, nonce="n", top=7)
    await store.unjoin(index, ZERO, C)
    assert not await store.served_until_they_left(index, C, [ZERO])


async def test_what_an_operator_accepts_serves_and_others_are_stale(store: Store) -> None:
    made = await with_index(store)
    await store.mark(BOOKS, {A: [ZERO, ONE]}, state=LOST)
    await store.promote(made.index, ZERO, A, top=9)
    assert await states(store, BOOKS) == {
        (ZERO, A): SERVING, (ZERO, B): STALE, (ONE, A): LOST, (ONE, B): SERVING,
    }  # fmt: skip
    pending = await store.pending(BOOKS)
    assert pending.lanes[A] == Lane(node=A, base=10, looked=9) and pending.bases == {(A, ZERO): 10}
    await store.promote(made.index, ONE, A, top=20)
    pending = await store.pending(BOOKS)
    assert pending.lanes[A].base == 10, "it serves a shard and is looked at already"
    assert pending.bases[A, ONE] == 21


async def test_a_node_that_is_expelled_is_forgotten_everywhere(store: Store) -> None:
    made = await with_index(store)
    await store.expel(B)
    assert await states(store, BOOKS) == {(ZERO, A): SERVING, (ONE, A): SERVING}
    assert set(await store.members()) == {A} and set((await store.pending(BOOKS)).lanes) == {A}
    assert await store.epoch() == made.epoch + 1


async def test_an_index_that_was_deleted_moves_no_more(store: Store) -> None:
    index = (await with_index(store)).index
    await store.begin_deletion(index)
    refused = (
        store.join(index, ZERO, C, nonce="n", top=7),
        switch(store, index),
        store.leave(index, ZERO, A, keep=1),
        store.begin_forgetting(index, A, [ZERO], nonce="n"),
        store.promote(index, ZERO, A, top=1),
        store.account(index, A, [1]),
        store.watch(index, ZERO, nonce="w"),
        store.is_still(index, ZERO, nonce="w", source=A, newest=0),
    )
    for attempt in refused:
        with pytest.raises(IndexNotFound, match="was deleted meanwhile"):
            await attempt


async def test_the_nodes_are_told_of_a_changed_map_once(store: Store) -> None:
    made = await with_index(store)
    assert await store.unpublished(BOOKS)
    await store.note_published(made.index, made.epoch)
    assert not await store.unpublished(BOOKS)
    await store.join(made.index, ZERO, C, nonce="n", top=7)
    assert await store.unpublished(BOOKS)


async def test_a_replica_joins_either_before_a_write_or_after_it(another: Open) -> None:
    """A write that does not name its keys is one that the join counts; a later one names them."""
    first, second = await another(), await another()
    index = (await with_index(first)).index
    for round in range(10):
        (newest, _), _ = await asyncio.gather(first.join(index, ZERO, C, nonce=f"n{round}", top=7), add(second, index))
        logged = await first.changes(BOOKS, ZERO, above=0)
        assert (logged == keys("k0")) == (newest == round), "named if and only if it is newer"
        await first.unjoin(index, ZERO, C)
        await first.begin_forgetting(index, C, [ZERO], nonce=f"f{round}")
        await first.forget(index, C, [ZERO])


async def test_a_switch_and_a_write_at_once_are_one_after_the_other(another: Open) -> None:
    """Either the switch has the write for an obstacle, or the write has the new replica for a target."""
    first, second = await another(), await another()
    index = (await with_index(first)).index
    for round in range(5):
        newest = await settle(first, index)
        await first.join(index, ZERO, C, nonce=f"n{round}", top=7)
        switched, intent = await asyncio.gather(
            first.switch(index, ZERO, C, nonce=f"n{round}", source=A, leaving=None, newest=newest, base=8),
            begin(second, index, keys=lambda _: ["k"]),
        )
        assert (switched is not None) == (C in {target.node for target in intent.targets})
        await end(second, intent, task=100 + round, by=[A, B, C])
        await first.leave(index, ZERO, C, keep=1)
        await first.unjoin(index, ZERO, C)
        await first.forget(index, C, [ZERO])


# -- what is written meanwhile


async def test_writes_name_their_keys_while_a_replica_joins_and_only_then(store: Store) -> None:
    index = (await with_index(store)).index
    await add(store, index)
    assert await store.changes(BOOKS, ZERO, above=0) == Changes()
    await store.join(index, ZERO, C, nonce="n", top=7)
    await add(store, index)
    assert await store.changes(BOOKS, ZERO, above=0) == keys("k0")
    assert await store.changes(BOOKS, ZERO, above=2) == Changes()
    assert await store.changes(BOOKS, ONE, above=0) == Changes(), "its shard has no joining replica"
    await begin(store, index, kind=WriteKind.SETTINGS, body={})
    assert await store.changes(BOOKS, ZERO, above=2) == Changes(), "settings write no documents"
    await add(store, index, named=False)
    assert await store.changes(BOOKS, ZERO, above=2) == Changes(sweep=True)
    await store.join(index, ZERO, D, nonce="m", top=7)
    await store.unjoin(index, ZERO, C)
    assert (await store.changes(BOOKS, ZERO, above=0)).sweep, "another one still joins"
    await store.unjoin(index, ZERO, D)
    assert await store.changes(BOOKS, ZERO, above=0) == Changes()
    assert await store.changes("films", ZERO, above=0) == Changes()


async def test_what_was_written_meanwhile_is_read_to_the_end_or_until_it_is_too_much(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("sqlite", "redis"):
        monkeypatch.setattr(f"miroir_cli.store.{module}.changes.CHANGES_PAGE", 4)
    index = (await with_index(store)).index
    await store.join(index, ZERO, C, nonce="n", top=7)
    for n in range(1, 11):
        await begin(store, index, documents={ZERO: 1}, keys=lambda _, n=n: [f"k{n}", "again"])  # type: ignore[misc]
    everything = keys("again", *(f"k{n}" for n in range(1, 11)))
    assert await store.changes(BOOKS, ZERO, above=0) == everything
    assert len((await store.changes(BOOKS, ZERO, above=6)).keys) == 5
    few = await store.changes(BOOKS, ZERO, above=0, most=3)
    assert len(few.keys) == 5, "nobody wants to know of more"
    await add(store, index, named=False)
    assert await store.changes(BOOKS, ZERO, above=0) == Changes(sweep=True)
    assert await store.changes(BOOKS, ZERO, above=0, most=3) == few


async def test_a_switch_ends_the_log_of_its_shard(store: Store) -> None:
    index = (await with_index(store)).index
    for shard in (ZERO, ONE):
        await store.join(index, shard, C, nonce=f"n{shard}", top=7)
    await add(store, index)
    newest = await store.newest_intent(BOOKS)
    assert newest is not None
    await end(store, newest, task=10)
    await settle(store, index)
    assert await switch(store, index, nonce="n0", newest=1) is not None
    assert await store.changes(BOOKS, ZERO, above=0) == Changes()
    assert await store.changes(BOOKS, ONE, above=0) == keys("k1")
    assert await store.leave(index, ONE, C, keep=1)
    assert await store.changes(BOOKS, ONE, above=0) == Changes()


# -- watches


async def test_a_copy_that_is_no_replica_knows_what_is_written_while_it_watches(store: Store) -> None:
    index = (await with_index(store)).index
    await add(store, index)
    assert await store.watch(index, ZERO, nonce="w") == 1
    assert await store.is_still(index, ZERO, nonce="w", source=A, newest=1) is False, "a write has not ended"
    await end(store, (await store.intents(BOOKS, [1]))[1], task=10)
    await settle(store, index)
    assert await store.is_still(index, ZERO, nonce="w", source=A, newest=1)
    assert not await store.is_still(index, ZERO, nonce="w", source=A, newest=0)
    assert not await store.is_still(index, ZERO, nonce="w", source=C, newest=1)
    assert not await store.is_still(index, ZERO, nonce="v", source=A, newest=1)
    await add(store, index)
    assert await store.changes(BOOKS, ZERO, above=0) == keys("k0")
    assert (await store.pending(BOOKS)).movers == {"w": Mover(node=NodeName(""), shards=frozenset({ZERO}))}
    await store.join(index, ZERO, C, nonce="n", top=7)
    await store.unjoin(index, ZERO, C)
    assert await store.changes(BOOKS, ZERO, above=0) == keys("k0"), "the watcher still needs it"
    assert await store.watch(index, ZERO, nonce="v") == 2
    await store.unwatch(index, ZERO, nonce="w")
    assert await store.changes(BOOKS, ZERO, above=0) == keys("k0"), "so does the other one"
    await store.unwatch(index, ZERO, nonce="v")
    assert await store.changes(BOOKS, ZERO, above=0) == Changes()
    assert not await store.renew_watch("w") and (await store.pending(BOOKS)).movers.keys() == {"n"}


async def test_a_watch_that_nobody_renews_is_over(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    index = (await with_index(store)).index
    await store.watch(index, ZERO, nonce="w")
    await store.watch(index, ONE, nonce="v")
    assert await store.renew_watch("w")
    await add(store, index)
    for module in ("sqlite", "redis"):
        monkeypatch.setattr(f"miroir_cli.store.{module}.changes.WATCH_LEASE", -1)
    assert not await store.renew_watch("w")
    assert not await store.is_still(index, ZERO, nonce="w", source=A, newest=1)
    for module in ("sqlite", "redis"):
        monkeypatch.setattr(f"miroir_cli.store.{module}.changes.WATCH_LEASE", moving.WATCH_LEASE)
    assert await store.renew_watch("w"), "its process was only slow"
    for module in ("sqlite", "redis"):
        monkeypatch.setattr(f"miroir_cli.store.{module}.changes.WATCH_LEASE", -1)
    await store.watch(index, ZERO, nonce="u")
    for module in ("sqlite", "redis"):
        monkeypatch.setattr(f"miroir_cli.store.{module}.changes.WATCH_LEASE", moving.WATCH_LEASE)
    assert (await store.pending(BOOKS)).movers.keys() == {"u"}
    assert await store.changes(BOOKS, ONE, above=0) == Changes()


async def test_a_watch_goes_with_its_index_and_ends_with_it(store: Store) -> None:
    index = (await with_index(store)).index
    await store.watch(index, ZERO, nonce="w")
    await store.rename(
        Renaming(pairs=((BOOKS, FILMS),), indexes={BOOKS: index}),
        is_driven=lambda _: False,
        is_running=lambda _: False,
    )
    assert (await store.pending(FILMS)).movers.keys() == {"w"} and await store.renew_watch("w")
    await store.forget_index(FILMS)
    assert not await store.renew_watch("w")
    assert (await store.pending((await with_index(store)).index)).movers == {}


# -- tasks of nodes


async def test_tasks_seen_before_the_switch_are_looked_at_again_for_the_new_replica(store: Store) -> None:
    index = (await with_index(store)).index
    await store.join(index, ZERO, C, nonce="n", top=7)
    await store.account(index, C, [10])
    await store.settle_intents(index, lambda _: Settlement(foreign={C: {8: None, 9: None}}, looked={C: 10}))
    assert (await store.pending(BOOKS)).known[C] == frozenset()
    await switch(store, index, base=9)
    pending = await store.pending(BOOKS)
    assert pending.lanes[C].looked == 8
    assert pending.known[C] == {10}, "the stranger's task is judged anew"
    assert pending.bases == {(C, ZERO): 9}


async def test_a_lane_begins_behind_what_the_node_has_shown(store: Store) -> None:
    """Its disk was lost: what it numbers again are other tasks."""
    index = (await with_index(store)).index
    sent = await write(store, index, task=10)
    await store.account(index, B, [6, 8])
    await store.mark(BOOKS, {B: [ZERO, ONE]}, state=LOST)
    await store.settle_intents(index, lambda _: Settlement(foreign={B: {5: None, 9: None}}))
    assert await store.join(index, ZERO, B, nonce="n", top=7) == (1, LOST)
    pending = await store.pending(BOOKS)
    assert pending.lanes[B] == Lane(node=B, base=8, looked=7) and pending.known == {A: {10}, B: frozenset()}
    assert [target.pieces for target in pending.intents[0].targets] == [sent.targets[0].pieces, ()]
    assert await store.accounted(BOOKS, B, above=0) == {6}
    await store.join(index, ONE, A, nonce="m", top=0)
    assert (await store.pending(BOOKS)).lanes[A].base == 3, "it serves and is looked at already"


async def test_what_is_miroirs_own_is_told_from_what_is_not(store: Store) -> None:
    index = (await with_index(store)).index
    await write(store, index, task=10)
    await store.settle_intents(index, lambda _: Settlement(foreign={A: {11: None, 12: None}}))
    await store.account(index, A, [12, 13])
    await store.settle_intents(index, lambda _: Settlement(foreign={A: {13: None}}))
    assert await store.accounted(BOOKS, A, above=0) == {10, 12, 13}
    assert await store.accounted(BOOKS, A, above=12) == {13}
    assert await store.accounted(BOOKS, C, above=0) == await store.accounted("films", A, above=0) == frozenset()
    assert (await store.pending(BOOKS)).known[A] == {10, 11, 12, 13}


async def test_whether_anything_was_ever_sent_to_a_node_is_known(store: Store) -> None:
    index = (await with_index(store)).index
    assert await store.was_addressed(BOOKS, A)
    assert not await store.was_addressed(BOOKS, C) and not await store.was_addressed("films", A)
    await store.account(index, D, [5])
    assert not await store.was_addressed(BOOKS, D)
    await store.join(index, ZERO, C, nonce="n", top=7)
    await store.unjoin(index, ZERO, C)
    await store.forget(index, C, [ZERO])
    assert await store.was_addressed(BOOKS, C), "an attempt may have sent something"
    await write(store, index)
    await store.expel(B)
    assert await store.was_addressed(BOOKS, B), "a write was sent to it"
