"""New names of indexes in every store: everything that is kept under a name goes with its index, or nothing does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from miroir_cli.errors import AlreadyExists, IndexNotFound, IndexRenamed, Locked
from miroir_cli.model import Index, IndexUid, NodeName, ReplicaState, StoredUid
from miroir_cli.store.journal import Process, RunId, RunKind, RunRecord, RunState, StepRecord, StepState, Wanted
from miroir_cli.store.protocol import Store
from miroir_cli.store.records import ImportRecord, Renaming, Settlement
from miroir_cli.store.tasks import NewTask, TaskEnd, TaskQuery, TaskStatus
from tests.store.conftest import Open
from tests.store.contract.world import BOOKS, FILMS, ONE, SHELF, ZERO, A, B, one_more, states, with_index
from tests.store.contract.writing import begin, end, settle, write

FREE, C = IndexUid("free"), NodeName("c")


def nobody(_: object) -> bool:
    return False


def everybody(_: object) -> bool:
    return True


async def rename(store: Store, *pairs: tuple[IndexUid, IndexUid], indexes: Sequence[Index] | None = None) -> int:
    existing = await store.indexes() if indexes is None else indexes
    named = {uid for pair in pairs for uid in pair}
    renaming = Renaming(pairs=pairs, indexes={index.uid: index for index in existing if index.uid in named})
    return await store.rename(renaming, is_driven=nobody, is_running=nobody)


async def two(store: Store) -> tuple[Index, Index]:
    """`books` with two shards on two nodes and `films` with one on one."""
    return (await with_index(store)).index, (await one_more(store, FILMS)).index


def a_run() -> RunRecord:
    return RunRecord(
        id=RunId(0),
        kind=RunKind.REBALANCE,
        title="test",
        state=RunState.RUNNING,
        wanted=Wanted.GO,
        parallel=1,
        rate=None,
        process=Process(host="here", pid=4242),
        command="miroir rebalance run",
        fingerprint="f",
        started_at=0,
    )


async def fill(store: Store, books: Index) -> None:
    """Something of the index in everything that is kept under its name."""
    n = (await write(store, books)).n
    await settle(store, books)
    await store.account(books, A, [77])
    await store.join(books, ZERO, C, nonce="mover", top=5)
    await store.watch(books, ONE, nonce="watch")
    await write(store, books, task=12)
    await settle(store, books)
    await store.begin_import(uid=books.uid, incarnation=books.incarnation, fingerprint={}, options={})
    step = StepRecord(number=1, index=books.uid, incarnation=books.incarnation, shard=ZERO, target=B)
    await store.begin_run(a_run(), [step])
    await store.remember_session("s", books.uid, n + 9)
    await store.note_settings(books, [A], 1)
    await store.advance_cdc_cursor("sink", books.uid, expected=None, to=n)
    await store.save_search_ui_config(books.uid, {"title": "x"})
    task = NewTask(type="indexCreation", index_uid=books.uid)
    await store.add_task(task, end=TaskEnd(uid=-1, status=TaskStatus.SUCCEEDED, finished_at=1))


async def all_of(store: Store, uid: IndexUid) -> dict[str, object]:
    """Everything that is told of a name, but for the name and the incarnation."""
    map, newest = await store.map(uid), await store.newest_intent(uid)
    assert map is not None
    cursor, page = await store.cdc_cursor("sink", uid), await store.search_ui_config(uid)
    return {
        "map": (map.replicas, replace(map.index, uid=BOOKS, incarnation=0)),
        "pending": replace(await store.pending(uid), incarnation=0),
        "newest": None if newest is None else replace(newest, uid=BOOKS, incarnation=0),
        "intents": sorted(await store.intents(uid, range(9))),
        "accounted": [await store.accounted(uid, node, above=0) for node in (A, B, C)],
        "addressed": [await store.was_addressed(uid, node) for node in (A, B, C)],
        "changes": [await store.changes(uid, shard, above=0) for shard in (ZERO, ONE)],
        "imports": [record.id for record in await store.unfinished_imports(uid)],
        "session": await store.session_waits_for("s", uid),
        "settings": await store.settings_versions(uid),
        "cursor": None if cursor is None else cursor.last_event_seq,
        "page": None if page is None else page.config,
        "tasks": [task.uid for task in (await store.tasks(TaskQuery(index_uids=(uid,))))[0]],
    }


async def test_a_swap_takes_everything_along_that_is_kept_under_a_name(store: Store) -> None:
    books, films = await two(store)
    await fill(store, books)
    before, other = await all_of(store, BOOKS), await all_of(store, FILMS)
    for name, value in before.items():
        assert value != other[name], name
    await rename(store, (BOOKS, FILMS))
    assert await all_of(store, FILMS) == before and await all_of(store, BOOKS) == other
    assert await store.renew_watch("watch")
    moved = await store.follow(books)
    assert moved is not None and await store.is_still(moved, ONE, nonce="watch", source=A, newest=2)
    await store.forget_index(FILMS)
    await one_more(store, FILMS)
    empty = await all_of(store, FILMS)
    assert not (empty["intents"] or empty["imports"] or empty["session"] or empty["settings"] or empty["page"])
    assert not (empty["cursor"] or empty["newest"])


async def test_a_swap_takes_along_what_is_known_of_an_index(store: Store) -> None:
    books, films = await two(store)
    await store.mark(BOOKS, {A: [ONE]}, state=ReplicaState.STALE)
    await store.freeze(books, "why")
    await store.note_settings(books, [A], 3)
    before = await states(store, BOOKS)
    await rename(store, (BOOKS, FILMS))
    assert await states(store, FILMS) == before and set(await states(store, BOOKS)) == {(ZERO, A)}
    assert await store.frozen() == {FILMS: "why"} and await store.settings_versions(FILMS) == {A: 3}
    assert await store.settings_versions(BOOKS) == {}
    assert await store.unpublished(FILMS)
    indexes = {index.uid: replace(index, incarnation=0) for index in await store.indexes()}
    assert indexes == {
        FILMS: replace(books, uid=FILMS, incarnation=0),
        BOOKS: replace(films, uid=BOOKS, incarnation=0),
    }


async def test_a_swap_raises_the_epoch_and_gives_incarnations_that_nothing_had(store: Store) -> None:
    books, films = await two(store)
    epoch = await store.epoch()
    assert await rename(store, (BOOKS, FILMS)) == await store.epoch() == epoch + 1
    record = await store.cluster()
    assert record is not None and record.renamed == epoch + 1
    found = {index.uid: index.incarnation for index in await store.indexes()}
    assert len(set(found.values())) == 2
    assert min(found.values()) > max(books.incarnation, films.incarnation)
    assert (await one_more(store, SHELF)).index.incarnation > max(found.values())


async def test_a_swap_back_is_as_it_was_but_for_the_incarnations(store: Store) -> None:
    books, films = await two(store)
    await rename(store, (BOOKS, FILMS))
    await rename(store, (FILMS, BOOKS))
    found = {index.uid: index for index in await store.indexes()}
    assert {uid: replace(index, incarnation=0) for uid, index in found.items()} == {
        BOOKS: replace(books, incarnation=0),
        FILMS: replace(films, incarnation=0),
    }


async def test_a_name_that_was_given_away_is_free_and_its_successor_is_called_otherwise_on_the_nodes(
    store: Store,
) -> None:
    books, _ = await two(store)
    await rename(store, (BOOKS, SHELF))
    assert await store.map(BOOKS) is None and await states(store, SHELF)
    moved = await store.map(SHELF)
    assert moved is not None and moved.index.stored_as == "books" and moved.replicas
    assert await store.free_name(BOOKS) == "books-2"
    again = await one_more(store, BOOKS)
    assert again.index.stored_as == "books-2" and again.index.incarnation > moved.index.incarnation
    assert await store.free_name("books-2") == "books-2-2"
    assert await store.follow(books) == moved.index and await store.follow(again.index) == again.index
    await store.forget_index(SHELF)
    assert await store.free_name(BOOKS) == "books" and await store.follow(books) is None
    assert [(index.uid, index.stored_as) for index in (await store.copies()).deleted] == [(SHELF, "books")]


async def test_a_name_of_a_deleted_index_can_be_given(store: Store) -> None:
    _, films = await two(store)
    await store.forget_index(FILMS)
    await rename(store, (BOOKS, FILMS))
    (found,) = await store.indexes()
    assert (found.uid, found.stored_as) == (FILMS, "books") and found.incarnation > films.incarnation
    (deleted,) = (await store.copies()).deleted
    assert (deleted.uid, deleted.stored_as) == (BOOKS, "books") and deleted.incarnation > found.incarnation


async def test_several_pairs_change_together_or_not_at_all(store: Store) -> None:
    books, films = await two(store)
    shelf = (await one_more(store, SHELF)).index
    with pytest.raises(AlreadyExists, match="index `shelf` exists already"):
        await rename(store, (BOOKS, FREE), (FILMS, SHELF), indexes=[books, films])
    assert await store.indexes() == (books, films, shelf)
    await rename(store, (BOOKS, FILMS), (SHELF, FREE))
    assert {index.uid: index.stored_as for index in await store.indexes()} == {
        BOOKS: "films",
        FILMS: "books",
        FREE: "shelf",
    }


async def test_who_was_quicker_is_told_and_nothing_changes(store: Store) -> None:
    books, films = await two(store)
    await rename(store, (BOOKS, FILMS))
    epoch = await store.epoch()
    with pytest.raises(IndexRenamed, match="index `books` was renamed to `films` meanwhile"):
        await rename(store, (BOOKS, FILMS), indexes=[books, films])
    await store.forget_index(BOOKS)
    with pytest.raises(IndexNotFound, match="deleted meanwhile"):
        await rename(store, (FILMS, SHELF), indexes=[films])
    assert await store.epoch() == epoch + 1


async def test_of_several_swaps_at_once_each_happens_as_a_whole_or_is_told_that_others_were_quicker(
    another: Open,
) -> None:
    stores = [await another() for _ in range(4)]
    books, films = await two(stores[0])
    pairs = [(BOOKS, FILMS), (FILMS, BOOKS), (BOOKS, SHELF), (FILMS, FREE)]
    outcomes = await asyncio.gather(
        *(rename(store, pair, indexes=[books, films]) for store, pair in zip(stores, pairs, strict=True)),
        return_exceptions=True,
    )
    done = [outcome for outcome in outcomes if isinstance(outcome, int)]
    assert done and all(isinstance(outcome, int | IndexRenamed) for outcome in outcomes)
    found = await stores[0].indexes()
    assert sorted(index.stored_as for index in found) == ["books", "films"]
    record = await stores[1].cluster()
    assert record is not None and record.renamed == record.epoch == max(done)


async def test_a_mark_that_comes_with_a_swap_goes_with_its_index_or_meets_nobody(another: Open) -> None:
    one, other = await another(), await another()
    books, _ = await two(one)
    _, marked = await asyncio.gather(
        rename(one, (BOOKS, FILMS)),
        other.mark(BOOKS, {A: [ZERO, ONE]}, state=ReplicaState.STALE, incarnation=books.incarnation),
    )
    stale = {key for key, state in (await states(one, FILMS)).items() if state is ReplicaState.STALE}
    assert stale == {(shard, A) for shard in marked.stale.get(A, ())}
    assert set((await states(one, BOOKS)).values()) == {ReplicaState.SERVING}


async def test_nothing_changes_while_somebody_moves_shards(store: Store) -> None:
    books, films = await two(store)
    step = StepRecord(number=1, index=BOOKS, incarnation=books.incarnation, shard=ZERO, target=B)
    run = await store.begin_run(a_run(), [step])
    renaming = Renaming(pairs=((FILMS, BOOKS),), indexes={BOOKS: books, FILMS: films})
    with pytest.raises(
        Locked, match=r"run 1 moves shards of index `books`: process 4242 on host `here` \(`miroir rebalance run`\)"
    ):
        await store.rename(renaming, is_driven=everybody, is_running=nobody)
    assert await store.indexes() == (books, films)
    await store.save_step(run.id, replace(step, state=StepState.DONE))
    await store.rename(renaming, is_driven=everybody, is_running=nobody)


async def test_steps_go_with_their_index(store: Store) -> None:
    books, films = await two(store)
    steps = [
        StepRecord(number=1, index=BOOKS, incarnation=books.incarnation, shard=ZERO, target=B),
        StepRecord(number=2, index=FILMS, incarnation=films.incarnation, shard=ZERO, target=B),
        StepRecord(number=3, index=BOOKS, incarnation=0, shard=ONE, target=B),
    ]
    run = await store.begin_run(a_run(), steps)
    await rename(store, (BOOKS, FILMS))
    now = {index.uid: index.incarnation for index in await store.indexes()}
    assert [(step.index, step.incarnation) for step in await store.steps(run.id)] == [
        (FILMS, now[FILMS]),
        (BOOKS, now[BOOKS]),
        (FILMS, 0),
    ]


async def test_nothing_changes_while_an_import_runs(store: Store) -> None:
    books, films = await two(store)
    begun = await store.begin_import(uid=BOOKS, incarnation=books.incarnation, fingerprint={}, options={})
    renaming = Renaming(pairs=((BOOKS, FILMS),), indexes={BOOKS: books, FILMS: films})

    def is_running(record: ImportRecord) -> bool:
        return record == begun

    with pytest.raises(Locked, match="import 1 into index `books` has been running since"):
        await store.rename(renaming, is_driven=nobody, is_running=is_running)
    await store.rename(renaming, is_driven=nobody, is_running=nobody)
    (record,) = await store.unfinished_imports()
    moved = await store.follow(books)
    assert moved is not None and (record.uid, record.incarnation) == (FILMS, moved.incarnation)
    await store.forget_index(FILMS)
    assert await store.unfinished_imports() == ()


async def test_nothing_changes_while_a_write_is_on_its_way(store: Store) -> None:
    books, _ = await two(store)
    await write(store, books)
    with pytest.raises(Locked, match="a write of index `books` is on its way"):
        await rename(store, (BOOKS, FILMS))
    with pytest.raises(Locked):
        await rename(store, (FILMS, BOOKS))
    await settle(store, books)
    await rename(store, (BOOKS, FILMS))


async def test_a_swap_and_a_write_at_once_are_one_after_the_other(another: Open) -> None:
    one, other = await another(), await another()
    books, _ = await two(one)
    swapped, begun = await asyncio.gather(rename(one, (BOOKS, FILMS)), begin(other, books), return_exceptions=True)
    if isinstance(swapped, int):
        assert isinstance(begun, IndexRenamed) and await one.newest_intent(FILMS) is None
    else:
        assert isinstance(swapped, Locked) and await one.newest_intent(BOOKS) == begun


async def test_a_task_goes_on_standing_for_its_write(store: Store) -> None:
    books, _ = await two(store)
    task = NewTask(type="documentAdditionOrUpdate", index_uid=BOOKS)
    intent = await begin(store, books, task=task)
    await end(store, intent, task=7, by=())
    await settle(store, books)
    await rename(store, (BOOKS, FILMS))
    moved = await store.follow(books)
    assert moved is not None
    told = await store.task_of(FILMS, moved.incarnation, intent.n)
    assert told is not None and told.status is TaskStatus.ENQUEUED and told.index_uid == FILMS
    assert (await store.intents(FILMS, [intent.n]))[intent.n].nonce == intent.nonce
    assert await store.intents(BOOKS, [intent.n]) == {}


async def test_what_a_session_waits_for_goes_with_its_index(store: Store) -> None:
    books, _ = await two(store)
    await write(store, books)
    await settle(store, books)
    await store.remember_session("s", BOOKS, 5)
    await rename(store, (BOOKS, FILMS))
    assert await store.session_waits_for("s", FILMS) == 5 and await store.session_waits_for("s", BOOKS) is None


async def test_what_was_begun_under_the_old_name_meets_nobody(store: Store) -> None:
    books, films = await two(store)
    await rename(store, (BOOKS, FILMS))
    with pytest.raises(IndexRenamed, match="index `books` was renamed to `films` meanwhile"):
        await store.require(books)
    with pytest.raises(IndexRenamed):
        await write(store, books)
    with pytest.raises(IndexRenamed):
        await store.settle_intents(books, lambda pending: Settlement(foreign={A: {99: None}}))
    with pytest.raises(IndexRenamed):
        await store.account(books, A, [5])
    with pytest.raises(IndexRenamed):
        await store.join(books, ZERO, B, nonce="n", top=1)
    with pytest.raises(IndexRenamed):
        await store.pending(books)
    stale = {A: [ZERO]}
    assert not (await store.mark(BOOKS, stale, state=ReplicaState.LOST, incarnation=books.incarnation)).stale
    await store.freeze(books, "why")
    await store.set_replicas(films, 9)
    await store.note_settings(books, [A], 4)
    await store.note_published(films, 99)
    await store.begin_deletion(books)
    await store.remember_session("s", BOOKS, 3, incarnation=books.incarnation)
    assert await store.session_waits_for("s", BOOKS) is None
    assert await store.frozen() == {} and await store.settings_versions(BOOKS) == {}
    assert {index.replicas for index in await store.indexes()} == {1, 2}
    assert await store.unpublished(BOOKS)
    found = await store.follow(books)
    assert found is not None and found.uid == FILMS and found.stored_as == StoredUid("books")
