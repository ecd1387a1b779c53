"""Canaries and how they went, on every backend."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from miroir_cli.store.records_canaries import KEPT_CANARY_RUNS, Canary, CanaryRun, CanaryStatus
from tests.store.conftest import Open


def a_canary(id: str, **more: Any) -> Canary:
    fields: dict[str, Any] = {"name": f"canary {id}", "index_uid": "books", "interval_s": 60, **more}
    return Canary(id=id, query={"q": "dune"}, assertions=({"min_hits": 1},), created_at=7, **fields)


def a_run(at: int, *, id: str = "a", **more: Any) -> CanaryRun:
    fields: dict[str, Any] = {"status": CanaryStatus.PASS, "latency_ms": 12, **more}
    return CanaryRun(canary_id=id, ran_at=at, **fields)


async def test_canaries_are_saved_changed_listed_and_deleted(store: Any) -> None:
    assert await store.canaries() == () and await store.canary("a") is None
    second, first = a_canary("b"), a_canary("a", enabled=False)
    for each in (second, first):
        await store.save_canary(each)
    assert await store.canaries() == (first, second) and await store.canary("b") == second
    await store.add_canary_run(a_run(1, id="b"))
    changed = replace(second, interval_s=5, index_uid="films")
    await store.save_canary(changed)
    assert await store.canary("b") == changed and len(await store.canary_runs("b")) == 1
    assert await store.delete_canary("b") and not await store.delete_canary("b")
    assert await store.canaries() == (first,) and await store.canary_runs("b") == ()


async def test_runs_are_listed_newest_first_and_bounded(store: Any) -> None:
    await store.save_canary(a_canary("a"))
    failed = a_run(5, status=CanaryStatus.FAIL, failed_assertions=({"min_hits": 1},))
    assert await store.add_canary_run(failed) and await store.add_canary_run(a_run(9))
    assert await store.add_canary_run(a_run(7, status=CanaryStatus.ERROR))
    assert await store.canary_runs("a") == (a_run(9), a_run(7, status=CanaryStatus.ERROR), failed)
    assert await store.add_canary_run(a_run(7)), "what it had at that moment is replaced"
    assert await store.canary_runs("a", limit=2) == (a_run(9), a_run(7))
    for at in range(10, 10 + KEPT_CANARY_RUNS):
        await store.add_canary_run(a_run(at))
    kept = await store.canary_runs("a", limit=1000)
    assert [run.ran_at for run in kept] == list(range(9 + KEPT_CANARY_RUNS, 9, -1))
    await store.add_canary_run(a_run(3))
    assert await store.canary_runs("a") == kept, "older than all that are kept"


async def test_nothing_is_recorded_of_a_canary_that_is_not_there(another: Open) -> None:
    stores = [await another() for _ in range(2)]
    await stores[0].save_canary(a_canary("a"))
    await asyncio.gather(
        *(store.add_canary_run(a_run(at)) for at, store in enumerate(stores * 5)), stores[1].delete_canary("a")
    )
    assert not await stores[0].add_canary_run(a_run(99))
    assert await stores[0].canary_runs("a") == ()
