"""The clients' API keys, on every backend."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from miroir_cli.store.records import ApiKey
from tests.store.conftest import Open


def a_key(uid: str, *, created_at: str = "2026-01-01T00:00:00Z", **more: Any) -> ApiKey:
    fields: dict[str, Any] = {"name": None, "description": None, "expires_at": None, **more}
    return ApiKey(
        uid=uid,
        actions=("search", "documents.*"),
        indexes=("books", "b*"),
        created_at=created_at,
        updated_at=created_at,
        **fields,
    )


async def test_keys_are_listed_newest_first_with_the_deleted_ones(store: Any) -> None:
    assert await store.api_keys() == ()
    old = a_key("z", name="old", description="some", expires_at="2030-01-01T00:00:00Z")
    new, same = a_key("m", created_at="2026-02-01T00:00:00Z"), a_key("a")
    for each in (old, new, same):
        assert await store.add_api_key(each)
    assert await store.api_keys() == (new, same, old)
    gone = replace(same, deleted=True)
    assert await store.save_api_key(gone)
    assert await store.api_keys() == (new, gone, old)


async def test_a_key_is_added_once_and_changed_only_while_it_is_there(store: Any) -> None:
    first = a_key("a", name="first", description="some")
    assert await store.add_api_key(first) and not await store.add_api_key(replace(first, name="second"))
    changed = replace(first, name=None)
    assert await store.save_api_key(changed) and await store.api_keys() == (changed,)
    assert not await store.save_api_key(a_key("b"))
    assert await store.save_api_key(replace(changed, deleted=True))
    assert not await store.save_api_key(changed)
    assert await store.add_api_key(replace(first, name="again"))
    assert await store.api_keys() == (replace(first, name="again"),)


async def test_the_first_keys_are_written_by_one_process(another: Open) -> None:
    stores = [await another() for _ in range(3)]
    await stores[0].add_api_key(a_key("gone"))
    await stores[0].save_api_key(a_key("gone", deleted=True))
    await asyncio.gather(
        *(store.begin_api_keys([a_key(f"{n}-search"), a_key(f"{n}-admin")]) for n, store in enumerate(stores))
    )
    found = [key for key in await stores[1].api_keys() if not key.deleted]
    assert len(found) == 2 and len({key.uid[0] for key in found}) == 1


async def test_one_of_many_adds_a_key(another: Open) -> None:
    stores = [await another() for _ in range(4)]
    added = await asyncio.gather(*(store.add_api_key(a_key("a", name=f"{n}")) for n, store in enumerate(stores)))
    assert sorted(added) == [False, False, False, True]
    assert [key.name for key in await stores[0].api_keys()] == [f"{added.index(True)}"]
