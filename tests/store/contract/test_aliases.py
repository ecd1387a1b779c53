"""Aliases in every store: a name stands for one thing at every moment, and of two who change it one is told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import replace

import pytest

from miroir_cli.errors import (
    AliasChanged,
    AliasNotFound,
    AlreadyExists,
    IndexNotFound,
    MiroirError,
    Refused,
    UsageError,
)
from miroir_cli.model import IndexMap, IndexUid
from miroir_cli.store.aliases import KEPT_TARGETS, Alias, AliasKind, flips_since
from miroir_cli.store.protocol import Store
from miroir_cli.store.records import ClusterRecord, Rebuilt, Renaming
from tests.store.conftest import Open
from tests.store.contract.world import BOOKS, FILMS, INDEX, SHELF, A, one_more, with_index

LIVE = "live"
FREE = IndexUid("free")


async def two(store: Store) -> None:
    await with_index(store)
    await one_more(store, FILMS)


async def rename(store: Store, *pairs: tuple[IndexUid, IndexUid]) -> int:
    named = {uid for pair in pairs for uid in pair}
    indexes = {index.uid: index for index in await store.indexes() if index.uid in named}
    return await store.rename(
        Renaming(pairs=pairs, indexes=indexes), is_driven=lambda _: False, is_running=lambda _: False
    )


async def stands_for(store: Store, name: str) -> str:
    found = await store.resolve(name)
    assert isinstance(found, IndexMap) and found.name == name
    return found.index.uid


async def marks(store: Store) -> tuple[int, int]:
    """The epoch, and the one at which names changed last."""
    record = await store.cluster()
    assert record is not None and record.epoch == await store.epoch()
    return record.epoch, record.renamed


async def test_a_name_stands_for_its_index_and_then_for_another_one(store: Store) -> None:
    await two(store)
    made = await store.create_alias(LIVE, [BOOKS])
    assert (made.kind, made.targets, made.target) == (AliasKind.SINGLE, (BOOKS,), BOOKS)
    assert await store.alias(LIVE) == made and await store.aliases() == (made,)
    found = await store.resolve(LIVE)
    assert isinstance(found, IndexMap)
    assert found == replace(await store.map(BOOKS) or found, alias=LIVE)
    flipped = await store.flip_alias(made, [FILMS])
    assert flipped == await store.alias(LIVE) and flipped.targets == (FILMS,)
    assert await stands_for(store, LIVE) == FILMS and await stands_for(store, BOOKS) == BOOKS
    assert [turn.targets for turn in flipped.history] == [(FILMS,), (BOOKS,)]
    assert flipped.created_at == made.created_at == flipped.history[1].since <= flipped.history[0].since
    await store.delete_alias(flipped)
    assert await store.alias(LIVE) is None and await store.aliases() == () and await store.resolve(LIVE) is None
    assert await store.resolve("nothing") is None


async def test_every_change_of_a_name_is_seen_by_the_epoch(store: Store) -> None:
    await two(store)
    epoch, _ = await marks(store)
    made = await store.create_alias(LIVE, [BOOKS])
    assert await marks(store) == (epoch + 1, epoch + 1) and made.version == epoch + 1
    found = await store.resolve(LIVE)
    assert isinstance(found, IndexMap) and found.epoch == epoch + 1
    flipped = await store.flip_alias(made, [FILMS])
    assert await marks(store) == (epoch + 2, epoch + 2) and flipped.version == epoch + 2
    await store.delete_alias(flipped)
    assert await marks(store) == (epoch + 3, epoch + 3)


async def test_aliases_are_listed_by_name(store: Store) -> None:
    await two(store)
    for name in ("c", "a", "b"):
        await store.create_alias(name, [BOOKS])
    assert [alias.name for alias in await store.aliases()] == ["a", "b", "c"]


async def test_the_last_ten_targets_are_kept(store: Store) -> None:
    await two(store)
    alias = await store.create_alias(LIVE, [BOOKS])
    for number in range(KEPT_TARGETS + 3):
        alias = await store.flip_alias(alias, [FILMS if number % 2 == 0 else BOOKS])
    assert len(alias.history) == KEPT_TARGETS == 10
    assert [turn.targets[0] for turn in alias.history] == [FILMS, BOOKS] * 5
    assert alias.history[0].targets == alias.targets
    since = [turn.since for turn in alias.history]
    assert since == sorted(since, reverse=True)
    assert await store.alias(LIVE) == alias


async def test_one_of_several_stands_for_all_of_them(store: Store) -> None:
    await two(store)
    shelf = await store.create_alias("both", [FILMS, BOOKS, FILMS], kind=AliasKind.MULTI)
    assert (shelf.targets, shelf.target) == ((BOOKS, FILMS), None)
    assert await store.resolve("both") == shelf == await store.alias("both")
    fewer = await store.flip_alias(shelf, [FILMS])
    assert await store.resolve("both") == fewer and (fewer.kind, fewer.targets) == (AliasKind.MULTI, (FILMS,))


@pytest.mark.parametrize(
    ("name", "targets", "kind", "error", "words"),
    [
        (BOOKS, [FILMS], AliasKind.SINGLE, AlreadyExists, "`books` exists already: it is an index"),
        ("taken", [FILMS], AliasKind.SINGLE, AlreadyExists, "`taken` exists already: it is an alias of index `books`"),
        (LIVE, ["nothing"], AliasKind.SINGLE, IndexNotFound, "index `nothing` not found"),
        (LIVE, ["taken"], AliasKind.SINGLE, IndexNotFound, "index `taken` not found"),
        (LIVE, [BOOKS, "nothing"], AliasKind.MULTI, IndexNotFound, "index `nothing` not found"),
        (LIVE, [BOOKS, FILMS], AliasKind.SINGLE, UsageError, "stands for one index, and cannot for 2"),
        (LIVE, [], AliasKind.SINGLE, UsageError, "needs an index to stand for"),
        (LIVE, [], AliasKind.MULTI, UsageError, "needs an index to stand for"),
    ],
)
async def test_what_cannot_be_is_refused_and_changes_nothing(
    store: Store, name: str, targets: list[str], kind: AliasKind, error: type[MiroirError], words: str
) -> None:
    await two(store)
    taken = await store.create_alias("taken", [BOOKS])
    before = await marks(store)
    with pytest.raises(error, match=words):
        await store.create_alias(name, targets, kind=kind)
    if name == LIVE and kind is AliasKind.SINGLE:
        with pytest.raises(error, match=words):
            await store.flip_alias(taken, targets)
    assert await store.aliases() == (taken,) and await marks(store) == before


async def test_an_index_cannot_be_called_as_an_alias_is(store: Store) -> None:
    await two(store)
    await store.create_alias(LIVE, [BOOKS])
    live = replace(INDEX, uid=IndexUid(LIVE), stored_as=await store.free_name(LIVE))
    with pytest.raises(AlreadyExists, match="`live` exists already: it is an alias of index `books`"):
        await store.begin_creation(live, nodes={A: 0})
    with pytest.raises(AlreadyExists, match="it is an alias"):
        await rename(store, (BOOKS, IndexUid(LIVE)))
    assert [index.uid for index in await store.indexes()] == [BOOKS, FILMS]
    assert await stands_for(store, LIVE) == BOOKS


@pytest.mark.parametrize("state", ["creating", "deleting"])
async def test_an_index_on_its_way_has_its_name_and_is_nothing_to_stand_for(store: Store, state: str) -> None:
    await with_index(store)
    wanted = replace(INDEX, uid=SHELF, stored_as=await store.free_name(SHELF))
    index = await store.begin_creation(wanted, nodes={A: 0})
    if state == "deleting":
        await store.finish_creation(index, placement={}, bases={})
        await store.begin_deletion(index)
    with pytest.raises(AlreadyExists):
        await store.create_alias(SHELF, [BOOKS])
    with pytest.raises(IndexNotFound):
        await store.create_alias(LIVE, [SHELF])
    await store.forget_index(SHELF)
    assert (await store.create_alias(SHELF, [BOOKS])).target == BOOKS


async def test_an_index_that_an_alias_stands_for_is_not_deleted(store: Store) -> None:
    await two(store)
    live = await store.create_alias(LIVE, [BOOKS])
    both = await store.create_alias("both", [BOOKS, FILMS], kind=AliasKind.MULTI)
    books, films = await store.indexes()
    for index in (books, films):
        with pytest.raises(Refused, match=rf"alias `(live|both)` stands for index `{index.uid}`"):
            await store.begin_deletion(index)
    assert await store.deletion(BOOKS) is None and await store.indexes() == (books, films)
    await store.flip_alias(live, [FILMS])
    await store.flip_alias(both, [FILMS])
    await store.begin_deletion(books)
    assert await store.deletion(BOOKS) is not None


async def test_an_alias_goes_along_with_an_index_that_gets_another_name(store: Store) -> None:
    await two(store)
    live = await store.flip_alias(await store.create_alias(LIVE, [FILMS]), [BOOKS])
    await store.create_alias("both", [BOOKS, FILMS], kind=AliasKind.MULTI)
    epoch = await rename(store, (BOOKS, SHELF))
    moved = await store.alias(LIVE)
    assert moved is not None and (moved.targets, moved.version) == ((SHELF,), epoch)
    assert [turn.targets for turn in moved.history] == [(SHELF,), (FILMS,)]
    both = await store.alias("both")
    assert both is not None and both.targets == (FILMS, SHELF)
    with pytest.raises(AliasChanged):
        await store.flip_alias(live, [FILMS])
    assert await stands_for(store, LIVE) == SHELF


async def test_after_a_swap_an_alias_stands_for_what_has_the_name(store: Store) -> None:
    await two(store)
    live = await store.create_alias(LIVE, [BOOKS])
    await rename(store, (BOOKS, FILMS))
    assert await store.alias(LIVE) == live
    found = await store.resolve(LIVE)
    assert isinstance(found, IndexMap) and (found.index.uid, found.index.stored_as) == (BOOKS, "films")


async def test_who_looked_at_an_older_state_is_told(store: Store) -> None:
    await two(store)
    old = await store.create_alias(LIVE, [BOOKS])
    new = await store.flip_alias(old, [FILMS])
    before = await marks(store)
    with pytest.raises(AliasChanged, match="alias `live` was changed meanwhile: it stands for index `films` now"):
        await store.flip_alias(old, [BOOKS])
    with pytest.raises(AliasChanged):
        await store.delete_alias(old)
    assert await store.alias(LIVE) == new
    await store.delete_alias(new)
    with pytest.raises(AliasNotFound, match="deleted meanwhile"):
        await store.flip_alias(new, [BOOKS])
    with pytest.raises(AliasNotFound):
        await store.delete_alias(new)
    again = await store.create_alias(LIVE, [BOOKS])
    with pytest.raises(AliasChanged):
        await store.flip_alias(old, [FILMS])
    assert await store.alias(LIVE) == again and again.version > new.version > old.version
    assert (await marks(store))[0] == before[0] + 2


async def test_of_all_who_flip_at_once_one_wins_and_the_others_are_told(another: Open) -> None:
    stores: list[Store] = [await another() for _ in range(4)]
    await two(stores[0])
    await one_more(stores[0], SHELF)
    alias = await stores[0].create_alias(LIVE, [BOOKS])
    for _ in range(10):
        wanted = [FILMS if alias.target != FILMS else SHELF, BOOKS if alias.target != BOOKS else SHELF] * 2
        outcomes = await asyncio.gather(
            *(store.flip_alias(alias, [target]) for store, target in zip(stores, wanted, strict=True)),
            return_exceptions=True,
        )
        won = [each for each in outcomes if isinstance(each, Alias)]
        assert len(won) == 1 and all(isinstance(each, Alias | AliasChanged) for each in outcomes), outcomes
        assert {await store.alias(LIVE) for store in stores} == {won[0]}
        assert won[0].history[0].targets == won[0].targets and won[0].history[1].targets == alias.targets
        alias = won[0]


async def test_of_an_index_and_an_alias_of_one_name_made_at_once_one_is_there(another: Open) -> None:
    first: Store = await another()
    second: Store = await another()
    await with_index(first)
    for number in range(10):
        name = f"name{number}"
        wanted = replace(INDEX, uid=IndexUid(name), stored_as=await first.free_name(name))
        both: list[Awaitable[object]] = [first.begin_creation(wanted, nodes={A: 0}), second.create_alias(name, [BOOKS])]
        made, aliased = await asyncio.gather(*both, return_exceptions=True)
        assert isinstance(made, AlreadyExists) != isinstance(aliased, AlreadyExists), (made, aliased)
        is_alias = await first.alias(name) is not None
        assert is_alias is isinstance(made, AlreadyExists)
        assert (await first.creation(name) is None) is is_alias


async def test_an_alias_never_stands_for_an_index_that_is_deleted_at_the_same_time(another: Open) -> None:
    first: Store = await another()
    second: Store = await another()
    await with_index(first)
    alias = await first.create_alias(LIVE, [BOOKS])
    for number in range(10):
        index = (await one_more(first, IndexUid(f"next{number}"))).index
        both: list[Awaitable[object]] = [first.begin_deletion(index), second.flip_alias(alias, [index.uid])]
        deleted, flipped = await asyncio.gather(*both, return_exceptions=True)
        if isinstance(flipped, Alias):
            assert isinstance(deleted, Refused)
            alias = await second.flip_alias(flipped, [BOOKS])
        else:
            assert isinstance(flipped, IndexNotFound) and deleted is None
        assert await stands_for(first, LIVE) == BOOKS


async def test_a_new_store_is_given_the_aliases_that_the_copies_have(another: Open) -> None:
    store: Store = await another()
    await two(store)
    live = await store.flip_alias(await store.create_alias(LIVE, [FILMS]), [BOOKS])
    both = await store.create_alias("both", [BOOKS, FILMS], kind=AliasKind.MULTI)
    assert (await store.copies()).aliases == (both, live)
    await rename(store, (BOOKS, SHELF))
    assert [alias.targets for alias in (await store.copies()).aliases] == [(FILMS, SHELF), (SHELF,)]


async def test_a_rebuilt_store_has_them(store: Store) -> None:
    alias = Alias(name=LIVE, kind=AliasKind.SINGLE, targets=(BOOKS,), version=7, created_at=3)
    record = ClusterRecord(name="test", id="f00", epoch=9, renamed=9)
    await store.rebuild(Rebuilt(cluster=record, members=(), indexes=(), aliases=(alias,)))
    assert await store.aliases() == (alias,)


async def test_flips_are_counted_between_two_looks(store: Store) -> None:
    await two(store)
    seen: dict[str, Alias] = {}

    async def since_last() -> int:
        found = await store.aliases()
        flips = flips_since(seen, found)
        seen.clear()
        seen.update({alias.name: alias for alias in found})
        return flips

    live = await store.create_alias(LIVE, [BOOKS])
    assert await since_last() == 0
    live = await store.flip_alias(live, [FILMS])
    assert await since_last() == 1 and await since_last() == 0
    await rename(store, (BOOKS, FILMS))
    assert await since_last() == 0, "it stands for the same index, by another name"
    (live,) = await store.aliases()
    await store.delete_alias(live)
    await asyncio.sleep(0.002)
    live = await store.create_alias(LIVE, [BOOKS])
    live = await store.flip_alias(live, [FILMS])
    assert await since_last() == 1, "another alias of the name was made and has turned once"
    for number in range(2 * KEPT_TARGETS):
        await asyncio.sleep(0.002)
        live = await store.flip_alias(live, [(BOOKS, FILMS)[number % 2]])
    await since_last()
    for target in (BOOKS, FILMS):
        await asyncio.sleep(0.002)
        live = await store.flip_alias(live, [target])
    assert await since_last() == 2
