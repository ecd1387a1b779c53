"""Writes in every store: one order for all replicas, each recorded before it is sent, closed once and settled once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Never

import pytest

from miroir_cli.errors import (
    IndexFrozen,
    IndexNotFound,
    IndexRenamed,
    NoQuorum,
    ShardUnavailable,
    TemporaryError,
)
from miroir_cli.model import Intent, IntentState, IntentTarget, NodeName, Piece, ReplicaState, WriteKind
from miroir_cli.store import writing
from miroir_cli.store.protocol import Store
from miroir_cli.store.records import BatchRecord, InSync, Lane, Pending, Renaming, Settlement, Verdict
from tests.store.conftest import Open
from tests.store.contract.world import BOOKS, FILMS, ONE, ZERO, A, B, one_more, states, with_index
from tests.store.contract.writing import all_of_it, begin, end, settle, write

C = NodeName("c")


def nobody(_: object) -> bool:
    return False


def never(*_: object) -> Never:
    raise AssertionError("judged again")


# -- opening


async def test_a_write_is_recorded_with_its_targets_before_it_is_sent(store: Store) -> None:
    index = (await with_index(store)).index
    await store.mark(BOOKS, {B: [ONE]}, state=ReplicaState.STALE)
    assert await store.newest_intent(BOOKS) is None
    opened = await begin(store, index, documents={ZERO: 1, ONE: 2}, body={"x": [1]})
    assert (opened.uid, opened.incarnation, opened.n, opened.state) == (BOOKS, 1, 1, IntentState.OPEN)
    assert opened.targets == (
        IntentTarget(node=A, shards=frozenset({ZERO, ONE}), documents=3),
        IntentTarget(node=B, shards=frozenset({ZERO}), documents=1),
    )
    assert await store.newest_intent(BOOKS) == opened
    assert await store.intents(BOOKS, [1, 2]) == {1: opened} and await store.intents(BOOKS, []) == {}
    second = await begin(store, index, documents={ZERO: None}, kind=WriteKind.CLEAR)
    assert second.n == 2 and [each.documents for each in second.targets] == [None, None]
    assert await store.newest_intent(BOOKS) == second
    assert await store.intents("films", [1]) == {} and await store.newest_intent("films") is None


async def test_what_was_written_is_there_for_the_next_process(another: Open) -> None:
    store = await another()
    made = await with_index(store)
    first = await write(store, made.index)
    assert first.state is IntentState.SENT
    assert [target.pieces for target in first.targets] == [(Piece(task=10, shards=first.shards, documents=3),)] * 2
    again = await another()
    assert await again.newest_intent(BOOKS) == first and await again.map(BOOKS) == made
    assert (await again.members())[A].top_task == 10


async def test_a_write_without_enough_replicas_leaves_no_trace(store: Store) -> None:
    index = (await with_index(store)).index
    await store.mark(BOOKS, {A: [ZERO]}, state=ReplicaState.STALE)
    await store.mark(BOOKS, {A: [ONE], B: [ONE]}, state=ReplicaState.LOST)
    with pytest.raises(NoQuorum, match=r"shard 0 of index `books` has 1 in-sync replica\(s\), `min_in_sync` is 2"):
        await begin(store, index, documents={ZERO: 1}, min_in_sync=2)
    with pytest.raises(ShardUnavailable, match="shard 1 of index `books` has no in-sync replica"):
        await begin(store, index)
    assert await store.newest_intent(BOOKS) is None and (await store.pending(BOOKS)).newest == 0


async def test_who_knows_another_index_is_refused_in_words_that_say_why(store: Store) -> None:
    index = (await with_index(store)).index
    with pytest.raises(TemporaryError, match="the primary key of index `books` was changed meanwhile"):
        await begin(store, replace(index, primary_key="other"))
    await store.freeze(index, "nodes differ")
    with pytest.raises(IndexFrozen, match="index `books` takes no writes: nodes differ"):
        await begin(store, index)
    settings = await begin(store, replace(index, primary_key="other"), kind=WriteKind.SETTINGS, body={})
    assert settings.n == 1, "settings are no documents"
    await end(store, settings, task=5)
    await settle(store, index)
    await store.freeze(index, None)
    await store.rename(
        Renaming(pairs=((BOOKS, FILMS),), indexes={BOOKS: replace(index, settings={})}),
        is_driven=nobody,
        is_running=nobody,
    )
    for refused in (begin(store, index), store.pending(index), store.settle_intents(index, never)):
        with pytest.raises(IndexRenamed, match="index `books` was renamed to `films` meanwhile"):
            await refused
    await store.forget_index(FILMS)
    for refused in (
        begin(store, index),
        store.pending(index),
        store.pending(FILMS),
        store.settle_intents(index, never),
    ):
        with pytest.raises(IndexNotFound, match="was deleted meanwhile"):
            await refused


async def test_a_deleted_index_leaves_nothing_to_its_successor(store: Store) -> None:
    made = await with_index(store)
    await write(store, made.index)
    await store.begin_deletion(made.index)
    with pytest.raises(IndexNotFound):
        await store.pending(BOOKS)
    assert await store.newest_intent(BOOKS) is not None, "who deletes it may still ask"
    await store.forget_index(BOOKS)
    assert await store.newest_intent(BOOKS) is None
    again = await with_index(store)
    assert again.index.incarnation == 2 and await store.newest_intent(BOOKS) is None
    with pytest.raises(IndexNotFound):
        await begin(store, made.index)
    assert (await begin(store, again.index)).n == 1
    assert not await store.was_addressed(BOOKS, C) and await store.was_addressed(BOOKS, A)


async def test_a_batch_is_recorded_with_the_write_that_carries_it(store: Store) -> None:
    index = (await with_index(store)).index
    record = await store.begin_import(uid=BOOKS, incarnation=1, fingerprint={}, options={})
    batch = BatchRecord(
        import_id=record.id, number=1, source=0, start=0, end=9, first_line=1, last_line=2, documents=2, rejected=0,
        intents={7: (ONE,)}, state="open",
    )  # fmt: skip
    opened = await store.open_intent(
        index, kind=WriteKind.ADD, documents={ONE: 1, ZERO: 1}, nonce="x", min_in_sync=1, owner="test", batch=batch
    )
    (found,) = await store.batches(record.id)
    assert found == replace(batch, intents={7: (ONE,), opened.n: (ZERO, ONE)})
    await store.mark(BOOKS, {A: [ONE], B: [ONE]}, state=ReplicaState.LOST)
    with pytest.raises(ShardUnavailable):
        await store.open_intent(
            index, kind=WriteKind.ADD, documents={ONE: 1}, nonce="x", min_in_sync=1, owner="test", batch=found
        )
    assert await store.batches(record.id) == (found,)


async def test_writes_that_begin_at_once_have_numbers_without_gaps(another: Open) -> None:
    stores = [await another() for _ in range(3)]
    index = (await with_index(stores[0])).index
    opened = await asyncio.gather(*(begin(store, index) for store in stores for _ in range(8)))
    assert sorted(intent.n for intent in opened) == list(range(1, 25))
    assert (await stores[0].pending(index)).intents == tuple(sorted(opened, key=lambda intent: intent.n))


# -- closing


async def test_who_has_not_accepted_a_write_is_stale_before_it_counts(store: Store) -> None:
    made = await with_index(store)
    closed, marked = await end(store, await begin(store, made.index), task=7, by=[A])
    assert closed.state is IntentState.SENT and marked.stale == {B: {ZERO, ONE}} and marked.epoch == made.epoch + 1
    assert await store.epoch() == marked.epoch
    assert (await states(store, BOOKS))[ZERO, B] is ReplicaState.STALE
    assert (await store.pending(BOOKS)).in_sync == {ZERO: {A}, ONE: {A}}
    refused, marked = await end(store, await begin(store, made.index), task=8, by=[])
    assert refused.state is IntentState.ABORTED and refused.refused == {ZERO, ONE} and marked.stale == {}
    assert await store.newest_intent(BOOKS) == refused


async def test_a_write_in_doubt_stays_open_and_keeps_what_is_known_of_it(store: Store) -> None:
    index = (await with_index(store)).index
    opened = await begin(store, index)
    closed, _ = await end(store, opened, task=7, by=[], doubt=[A, B])
    assert closed == opened == await store.newest_intent(BOOKS)

    def one_piece(intent: Intent, _: InSync) -> Verdict:
        pieces = {A: (Piece(task=9, shards=frozenset({ONE}), documents=2),)}
        return Verdict(n=intent.n, state=IntentState.OPEN, pieces=pieces, error="slow")

    await store.close_intent(opened, one_piece)

    def another_piece(intent: Intent, _: InSync) -> Verdict:
        pieces = {A: (Piece(task=8, shards=frozenset({ZERO}), documents=1),)}
        return Verdict(n=intent.n, state=IntentState.SENT, pieces=pieces, refused=frozenset({ONE}))

    sent, _ = await store.close_intent(opened, another_piece)
    assert sent == await store.newest_intent(BOOKS) and sent.error == "slow" and sent.refused == {ONE}
    assert [[piece.task for piece in target.pieces] for target in sent.targets] == [[8, 9], []]
    assert (await store.pending(BOOKS)).known == {A: {8, 9}, B: frozenset()}


async def test_an_intent_is_closed_once(store: Store) -> None:
    index = (await with_index(store)).index
    sent = await write(store, index, by=[A])
    closed, marked = await store.close_intent(sent, never)
    assert closed == sent and marked.stale == {} and marked.epoch == await store.epoch()
    unknown = replace(sent, n=9)
    assert (await store.close_intent(unknown, never))[0] == unknown


async def test_of_those_who_close_a_write_at_once_one_does(another: Open) -> None:
    stores = [await another() for _ in range(4)]
    index = (await with_index(stores[0])).index
    opened = await begin(stores[0], index)
    ends = [end(store, opened, task=10 + n, by=[(A, B)[n % 2]]) for n, store in enumerate(stores)]
    found = await asyncio.gather(*ends)
    assert len({intent for intent, _ in found}) == 1
    assert sum(bool(marked.stale) for _, marked in found) == 1
    assert await stores[0].newest_intent(BOOKS) == found[0][0]
    (known,) = [tasks for tasks in (await stores[0].pending(BOOKS)).known.values() if tasks]
    assert len(known) == 1


async def test_an_error_in_a_decision_changes_nothing(store: Store) -> None:
    index = (await with_index(store)).index
    opened = await begin(store, index)

    def fail(*_: object) -> Never:
        raise ValueError("decision")

    with pytest.raises(ValueError, match="decision"):
        await store.close_intent(opened, fail)
    with pytest.raises(ValueError, match="decision"):
        await store.settle_intents(index, fail)
    assert await store.newest_intent(BOOKS) == opened
    assert (await store.mark(BOOKS, {A: [ZERO]}, state=ReplicaState.STALE)).stale


async def test_settings_and_a_primary_key_hold_once_their_write_is_done(store: Store) -> None:
    index = (await with_index(store)).index
    epoch = await store.epoch()
    settings = {"stopWords": ["a", "ä"]}
    await end(store, await begin(store, index, kind=WriteKind.SETTINGS, body=settings), task=5)
    key = await begin(store, index, kind=WriteKind.PRIMARY_KEY, body={"primaryKey": "isbn"})
    await end(store, key, task=6)
    assert await store.epoch() == epoch
    (ended, other), marked = await store.settle_intents(index, all_of_it)
    assert (ended.body, other.body) == (settings, {"primaryKey": "isbn"})
    map = await store.map(BOOKS)
    assert map is not None and (map.index.settings, map.index.primary_key) == (settings, "isbn")
    assert marked.epoch == map.epoch == epoch + 2
    failed = await begin(store, map.index, kind=WriteKind.SETTINGS, body={"stopWords": []})
    await end(store, failed, task=7)

    def fails(pending: Pending) -> Settlement:
        return Settlement(verdicts=[Verdict(n=3, state=IntentState.FAILED, failed=frozenset({ZERO, ONE}), error="no")])

    ((ended,), _) = await store.settle_intents(map.index, fails)
    assert ended.state is IntentState.FAILED and ended.failed == {ZERO, ONE} and ended.error == "no"
    assert await store.map(BOOKS) == map


# -- settling


async def test_what_is_not_settled_is_told_in_order_with_what_it_is_judged_by(store: Store) -> None:
    index = (await with_index(store)).index
    await store.account(index, A, [2, 77])
    sent = await write(store, index, task=10)
    opened = await begin(store, index)
    pending = await store.pending(index)
    assert pending == await store.pending(BOOKS)
    assert (pending.incarnation, pending.settled, pending.newest, pending.intents) == (1, 0, 2, (sent, opened))
    assert pending.in_sync == {ZERO: {A, B}, ONE: {A, B}}
    assert pending.lanes == {A: Lane(node=A, base=3, looked=2), B: Lane(node=B, base=4, looked=3)}
    assert pending.known == {A: {10, 77}, B: {10}}
    ended, _ = await store.settle_intents(index, all_of_it)
    assert ended == (replace(sent, state=IntentState.DONE),)
    after = await store.pending(index)
    assert (after.settled, after.newest, after.intents) == (1, 2, (opened,))
    assert await store.intents(BOOKS, [1]) == {1: ended[0]}
    progress = await store.progress(BOOKS)
    assert progress is not None and progress.settled == 1


async def test_verdicts_come_in_order_or_none_counts(store: Store) -> None:
    index = (await with_index(store)).index
    for task in (10, 11):
        await write(store, index, task=task)

    def second(_: Pending) -> Settlement:
        return Settlement(verdicts=[Verdict(n=2, state=IntentState.DONE), Verdict(n=1, state=IntentState.DONE)])

    with pytest.raises(AssertionError, match="intent 2 judged before intent 1"):
        await store.settle_intents(index, second)
    pending = await store.pending(index)
    assert pending.settled == 0 and {intent.state for intent in pending.intents} == {IntentState.SENT}


async def test_replicas_that_missed_a_write_are_stale_when_it_is_settled(store: Store) -> None:
    made = await with_index(store)
    for task in (10, 11):
        await write(store, made.index, task=task)

    def missed(_: Pending) -> Settlement:
        return Settlement(
            verdicts=[
                Verdict(n=1, state=IntentState.DONE, stale={A: frozenset({ZERO})}),
                Verdict(n=2, state=IntentState.DONE, stale={A: frozenset({ONE}), B: frozenset({ZERO})}),
            ],
            looked={A: 10, B: 11, C: 12},
        )

    ended, marked = await store.settle_intents(made.index, missed)
    assert [intent.n for intent in ended] == [1, 2]
    assert marked.stale == {A: {ZERO, ONE}}, "the last replica of a shard is spared"
    assert marked.epoch == made.epoch + 2 == await store.epoch()
    pending = await store.pending(BOOKS)
    assert pending.in_sync == {ZERO: {B}, ONE: {B}}
    assert {node: lane.looked for node, lane in pending.lanes.items()} == {A: 10, B: 11}
    assert pending.known == {A: {11}, B: frozenset()}


async def test_tasks_that_nobody_recorded_make_replicas_stale_once(store: Store) -> None:
    made = await with_index(store)

    def strangers(_: Pending) -> Settlement:
        return Settlement(foreign={B: {20: frozenset({ONE}), 21: frozenset()}, A: {8: None, 9: frozenset({ZERO})}})

    ended, marked = await store.settle_intents(made.index, strangers)
    assert ended == () and marked.stale == {A: {ZERO, ONE}}
    assert (await store.pending(BOOKS)).known == {A: {8, 9}, B: {20, 21}}
    assert (await store.members())[B].top_task == 21
    assert await store.accounted(BOOKS, B, above=0) == frozenset()
    again = await store.settle_intents(made.index, strangers)
    assert again[1].stale == {} and again[1].epoch == marked.epoch


async def test_a_look_goes_forward_only(store: Store) -> None:
    index = (await with_index(store)).index
    for looked in (9, 5):
        await store.settle_intents(index, lambda _, n=looked: Settlement(looked={A: n}))  # type: ignore[misc]
    assert (await store.pending(BOOKS)).lanes[A].looked == 9


async def test_writes_are_settled_once_and_in_order_while_others_write(another: Open) -> None:
    """Two settle what a third sends."""
    writer, *settlers = [await another() for _ in range(3)]
    index = (await with_index(writer)).index
    writes = 40
    ended: list[int] = []

    async def keep_settling(store: Store) -> None:
        while (await store.pending(index)).settled < writes:
            done, _ = await store.settle_intents(index, all_of_it)
            ended.extend(intent.n for intent in done)

    async def keep_writing() -> None:
        for n in range(1, writes + 1):
            sent = await write(writer, index, task=n + 9)
            assert (sent.n, sent.state) == (n, IntentState.SENT)

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(keep_writing())
        for store in settlers:
            group.create_task(keep_settling(store))
    assert sorted(ended) == list(range(1, writes + 1)), "each once"
    found = await writer.intents(BOOKS, range(1, writes + 1))
    assert {intent.state for intent in found.values()} == {IntentState.DONE} and len(found) == writes
    pending = await writer.pending(index)
    assert pending.intents == () and pending.newest == pending.settled == writes


async def test_a_mark_between_the_look_and_the_verdict_is_seen(another: Open) -> None:
    """Who settles counts the replicas in sync at that moment, not those of a moment ago."""
    first, second = await another(), await another()
    index = (await with_index(first)).index
    await write(first, index)
    seen: list[InSync] = []

    def judge(pending: Pending) -> Settlement:
        seen.append(pending.in_sync)
        return all_of_it(pending)

    await asyncio.gather(
        first.settle_intents(index, judge),
        second.mark(BOOKS, {A: [ZERO, ONE]}, state=ReplicaState.STALE),
        first.settle_intents(index, judge),
    )
    await first.settle_intents(index, judge)
    assert seen[-1] == {ZERO: {B}, ONE: {B}}


async def test_settled_writes_are_kept_in_a_bounded_number(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "KEPT_SETTLED", 6)
    monkeypatch.setattr(writing, "PRUNE_EVERY", 5)
    index = (await with_index(store)).index
    for n in range(1, 21):
        await write(store, index, task=n + 9)
        await settle(store, index)
    assert sorted(await store.intents(BOOKS, range(1, 21))) == list(range(14, 21))
    assert await store.accounted(BOOKS, A, above=0) == {n + 9 for n in range(14, 21)}
    assert (await begin(store, index)).n == 21
    await store.forget_index(BOOKS)
    assert (await begin(store, (await with_index(store)).index)).n == 1


async def test_what_ends_is_told_even_if_it_is_not_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "KEPT_SETTLED", 2)
    monkeypatch.setattr(writing, "PRUNE_EVERY", 1)
    index = (await with_index(store)).index
    for task in range(10, 16):
        await write(store, index, task=task)
    ended, _ = await store.settle_intents(index, all_of_it)
    assert [intent.n for intent in ended] == list(range(1, 7))
    assert sorted(await store.intents(BOOKS, range(1, 7))) == [4, 5, 6]


async def test_names_that_change_take_all_writes_along(store: Store) -> None:
    books = (await with_index(store)).index
    films = (await one_more(store, FILMS)).index
    sent = await write(store, books)
    await settle(store, books)
    await store.rename(
        Renaming(pairs=((BOOKS, FILMS),), indexes={BOOKS: books, FILMS: films}), is_driven=nobody, is_running=nobody
    )
    map = await store.map(FILMS)
    assert map is not None
    incarnation = map.index.incarnation
    expected = replace(sent, uid=FILMS, incarnation=incarnation, state=IntentState.DONE)
    assert await store.intents(FILMS, [1]) == {1: expected}
    assert await store.newest_intent(FILMS) == expected and await store.newest_intent(BOOKS) is None
    assert await store.intents(BOOKS, [1]) == {}
    assert (await begin(store, map.index)).n == 2
    assert (await store.pending(FILMS)).known == {A: {10}, B: {10}}
    assert [intent.n for intent in (await store.pending(map.index)).intents] == [2]
    assert (await store.pending(BOOKS)).intents == ()
