"""Imports and their batches, on every backend."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from miroir_cli.model import ShardId
from miroir_cli.store import journal
from miroir_cli.store.records import BatchRecord, ImportRecord
from tests.store.conftest import Open

BATCH = BatchRecord(
    import_id=1,
    number=1,
    source=0,
    start=0,
    end=10,
    first_line=1,
    last_line=3,
    documents=3,
    rejected=1,
    intents={7: (ShardId(0), ShardId(2)), 12: (ShardId(1),)},
    state="sending",
)


async def begin(store: Any, uid: str = "books", *, incarnation: int = 1) -> ImportRecord:
    found: ImportRecord = await store.begin_import(
        uid=uid, incarnation=incarnation, fingerprint={"sources": [1]}, options={"format": None}
    )
    return found


async def test_an_import_is_unfinished_until_it_is_finished(store: Any) -> None:
    books, films = await begin(store), await begin(store, "films", incarnation=4)
    assert (films.uid, films.incarnation, films.state, films.finished_at) == ("films", 4, "running", None)
    assert (books.fingerprint, books.options, books.summary) == ({"sources": [1]}, {"format": None}, {})
    assert await store.unfinished_imports() == (books, films)
    assert await store.unfinished_imports("films") == (films,)
    await store.finish_import(books.id, state="done", summary={"documents": 3})
    assert await store.unfinished_imports() == (films,)
    assert await store.unfinished_imports("books") == ()
    await store.finish_import(9, state="done", summary={})
    assert await store.unfinished_imports() == (films,)


async def test_batches_are_kept_in_their_order_and_replaced(store: Any) -> None:
    id = (await begin(store)).id
    batches = [replace(BATCH, import_id=id, number=number, start=number) for number in (2, 10, 1)]
    for batch in batches:
        await store.save_batch(batch)
    ended = replace(batches[0], state="done", documents=2, rejected=2, intents={})
    await store.save_batch(ended)
    assert await store.batches(id) == (batches[2], ended, batches[1])
    assert await store.batches(id + 1) == ()


async def test_finished_imports_are_forgotten_when_there_are_too_many(store: Any, monkeypatch: Any) -> None:
    for module in ("miroir_cli.store.sqlite.imports", "miroir_cli.store.redis.imports"):
        monkeypatch.setattr(f"{module}.KEPT_IMPORTS", 3)
    assert journal.KEPT_IMPORTS > 100
    unfinished, finished = await begin(store), await begin(store)
    await store.save_batch(replace(BATCH, import_id=finished.id))
    await store.finish_import(finished.id, state="done", summary={})
    for number in range(3):
        assert len(await store.batches(finished.id)) == 1, number
        last = await begin(store)
        await store.finish_import(last.id, state="done", summary={})
    assert await store.batches(finished.id) == ()
    assert await store.unfinished_imports() == (unfinished,)


async def test_several_processes_begin_imports_and_save_batches_at_once(another: Open) -> None:
    stores = [await another() for _ in range(3)]
    begun = await asyncio.gather(*(begin(store, f"i{number}") for number, store in enumerate(stores * 3)))
    assert sorted(record.id for record in begun) == list(range(1, 10))
    assert {(record.id, record.uid) for record in await stores[0].unfinished_imports()} == {
        (record.id, record.uid) for record in begun
    }
    await asyncio.gather(*(store.save_batch(replace(BATCH, number=n)) for n, store in enumerate(stores * 4)))
    assert [batch.number for batch in await stores[1].batches(1)] == list(range(12))
    await asyncio.gather(
        *(
            store.finish_import(record.id, state="done", summary={})
            for store, record in zip(stores * 3, begun, strict=True)
        )
    )
    assert await stores[2].unfinished_imports() == ()
