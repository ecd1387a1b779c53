"""Cursors, tenants, rollover policies and search pages, on every backend."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

from miroir_cli.store.records_services import CdcCursor, RolloverPolicy, Tenant
from tests.store.conftest import Open
from tests.store.process import Beside


async def test_a_cursor_is_advanced_by_who_knows_where_it_stands(store: Any) -> None:
    assert await store.cdc_cursor("kafka", "books") is None
    assert not await store.advance_cdc_cursor("kafka", "books", expected=3, to=4)
    before = time.time_ns() // 1_000_000
    assert await store.advance_cdc_cursor("kafka", "books", expected=None, to=4)
    assert not await store.advance_cdc_cursor("kafka", "books", expected=None, to=9)
    assert await store.advance_cdc_cursor("kafka", "books", expected=4, to=7)
    found = await store.cdc_cursor("kafka", "books")
    assert (found.sink, found.index_uid, found.last_event_seq) == ("kafka", "books", 7)
    assert found.updated_at >= before


async def test_cursors_of_any_sink_and_index_are_told_apart(store: Any) -> None:
    pairs = [("a:b", "c"), ("a", "c"), ("a", "b"), ("_index", "c"), ("ü [1]", "_index")]
    for number, (sink, uid) in enumerate(pairs):
        assert await store.advance_cdc_cursor(sink, uid, expected=None, to=number)
    assert [(found.sink, found.index_uid) for found in await store.cdc_cursors()] == sorted(pairs)
    assert await store.delete_cdc_cursor("a", "c") and not await store.delete_cdc_cursor("a", "c")
    assert await store.cdc_cursor("a", "c") is None
    assert {found.last_event_seq for found in await store.cdc_cursors()} == {0, 2, 3, 4}


ADVANCE = """
async def advance(store, times):
    won = 0
    while won < int(times):
        found = await store.cdc_cursor("kafka", "books")
        seq = found.last_event_seq if found else None
        won += await store.advance_cdc_cursor("kafka", "books", expected=seq, to=(seq or 0) + 1)
    return won
"""


async def test_two_processes_lose_no_advance_of_a_cursor(beside: Beside) -> None:
    assert await asyncio.gather(*(beside.run(ADVANCE, "advance", "30") for _ in range(2))) == [30, 30]
    found = await (await beside.open()).cdc_cursor("kafka", "books")
    assert isinstance(found, CdcCursor) and found.last_event_seq == 60


async def test_a_tenant_is_found_by_the_hash_of_its_key_alone(store: Any) -> None:
    one, two = Tenant(api_key_hash="a" * 64, tenant_id="one"), Tenant(api_key_hash="b" * 64, tenant_id="t", group="g")
    for each in (one, two, replace(one, tenant_id="other")):
        await store.save_tenant(each)
    assert await store.tenant("a" * 64) == replace(one, tenant_id="other") and await store.tenant("b" * 64) == two
    await store.save_tenant(replace(two, group=None))
    assert await store.tenant("b" * 64) == replace(two, group=None)
    assert await store.tenant("a" * 63) is None and await store.tenant("a" * 63 + "_") is None
    assert await store.delete_tenant("a" * 64) and not await store.delete_tenant("a" * 64)
    assert await store.tenant("a" * 64) is None


async def test_rollover_policies_are_saved_listed_and_deleted(store: Any) -> None:
    logs = RolloverPolicy(
        name="logs",
        write_alias="logs-write",
        read_alias="logs",
        pattern="logs-{date}",
        triggers={"max_documents": 1_000_000},
        retention={"max_indexes": 7},
        template={"primary_key": "id"},
    )
    audit = replace(logs, name="audit", enabled=False)
    for each in (logs, audit):
        await store.save_rollover_policy(each)
    assert await store.rollover_policies() == (audit, logs)
    await store.save_rollover_policy(replace(logs, retention={}))
    assert await store.rollover_policy("logs") == replace(logs, retention={})
    assert await store.delete_rollover_policy("logs") and not await store.delete_rollover_policy("logs")
    assert await store.rollover_policy("logs") is None and await store.rollover_policies() == (audit,)


async def test_search_pages_are_saved_listed_and_deleted(store: Any) -> None:
    books = await store.save_search_ui_config("books", {"title": "Books", "fields": ["title"]})
    films = await store.save_search_ui_config("Films", {})
    assert await store.search_ui_config("books") == books and await store.search_ui_configs() == (films, books)
    again = await store.save_search_ui_config("books", {"title": "All"})
    assert again.updated_at >= books.updated_at and await store.search_ui_config("books") == again
    assert await store.delete_search_ui_config("books") and not await store.delete_search_ui_config("books")
    assert await store.search_ui_config("books") is None and await store.search_ui_configs() == (films,)


async def test_what_several_processes_save_at_once_is_all_there(another: Open) -> None:
    stores = [await another() for _ in range(3)]
    await asyncio.gather(
        *(store.save_search_ui_config(f"i{number}", {}) for number, store in enumerate(stores * 4)),
        *(store.advance_cdc_cursor("s", f"i{number}", expected=None, to=1) for number, store in enumerate(stores * 4)),
    )
    assert len(await stores[0].search_ui_configs()) == len(await stores[1].cdc_cursors()) == 12
