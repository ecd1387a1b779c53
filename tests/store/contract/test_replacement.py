"""Putting a new state in the place of one that was lost: the old one is kept, and nothing of it is mixed in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from miroir_cli.model import IndexUid, StoredUid
from miroir_cli.store.protocol import Replacement, Store
from miroir_cli.store.records import Found, Newest
from tests.store.conftest import Open
from tests.store.contract.test_names import a_run
from tests.store.contract.test_rebuild import KEPT, STATE
from tests.store.contract.world import BOOKS, FILMS, A, one_more, with_index

Make = Callable[[], Awaitable[Replacement]]


async def content(store: Store) -> list[object]:
    return [
        await store.cluster(),
        await store.members(),
        await store.copies(),
        await store.settings_versions(BOOKS),
        await store.frozen(),
        await store.unfinished_imports(),
        await store.runs(),
    ]


async def replace(replacement: Replacement) -> str | None:
    await replacement.build(STATE)
    aside = await replacement.set_aside()
    await replacement.take_place()
    return aside


async def test_what_is_found_is_how_far_each_index_is(another: Open, replacement: Make) -> None:
    store = await another()
    called = (await (await replacement()).inspect()).called
    record = await store.found(name="test")
    assert await (await replacement()).inspect() == Found(cluster=record, called=called)
    await with_index(store)
    films = (await one_more(store, FILMS)).index
    await store.begin_deletion(films)
    found = await (await replacement()).inspect()
    newest = Newest(uid=BOOKS, stored_as=StoredUid("books"), incarnation=1, n=0)
    assert found == Found(cluster=await store.cluster(), blank=False, newest=(newest,), called=called)


async def test_a_rebuilt_index_is_as_far_as_its_newest_write(another: Open, replacement: Make) -> None:
    await (await another()).rebuild(STATE)
    found = await (await replacement()).inspect()
    assert found.newest == (Newest(uid=IndexUid(BOOKS), stored_as=StoredUid("films"), incarnation=3, n=12),)
    assert found.cluster == STATE.cluster and not found.blank and found.exists and found.damage is None


async def test_the_new_state_is_what_was_built_and_the_old_one_is_kept(another: Open, replacement: Make) -> None:
    store = await another()
    made = await with_index(store)
    await one_more(store, FILMS)
    await store.forget_index(FILMS)
    await store.note_settings(made.index, [A], 3)
    await store.freeze(made.index, "why")
    await store.begin_import(uid=BOOKS, incarnation=1, fingerprint={}, options={})
    await store.begin_run(a_run(), [])
    await store.close()
    assert await replace(await replacement()) is not None
    store = await another()
    found = await content(store)
    assert [index.uid for index in (await store.copies()).deleted] == ["films", "old"]
    assert found[:2] == [STATE.cluster, {A: STATE.members[0]}] and found[3:] == [{}, {}, (), ()]
    assert await store.indexes() == (KEPT,)


async def test_until_it_takes_its_place_the_old_state_is_there(another: Open, replacement: Make) -> None:
    store = await another()
    await with_index(store)
    before = await content(store)
    await store.close()
    half = await replacement()
    await half.build(STATE)
    await half.set_aside()
    store = await another()
    assert await content(store) == before
    await store.close()
    await replace(await replacement())
    assert await (await another()).cluster() == STATE.cluster


async def test_states_that_go_aside_in_the_same_second_are_all_kept(another: Open, replacement: Make) -> None:
    await with_index(await another())
    names = [await replace(await replacement()) for _ in range(3)]
    assert None not in names and len(set(names)) == 3
