"""Readers go on by what was read last while the store is silent: marked, for a bounded time, and nobody else does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from math import inf
from pathlib import Path
from typing import Any, cast

import pytest

from miroir_cli.errors import IndexNotFound, StateUnavailable
from miroir_cli.model import Index, IndexMap, IndexUid, NodeName, ShardId
from miroir_cli.store import last_known
from miroir_cli.store.aliases import AliasKind
from miroir_cli.store.last_known import LastKnown, is_stale, may_be_stale
from miroir_cli.store.sqlite.store import SqliteStore
from tests.faults.world import eventually

N1 = NodeName("n1")


class Switched:
    """A store that can be silenced: it refuses, or does not answer at all."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self.silence: str | None = None
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        async def call(*arguments: Any, **named: Any) -> Any:
            self.asked += 1
            if self.silence == "refuses":
                raise StateUnavailable("Redis at x cannot be reached")
            if self.silence == "hangs":
                await asyncio.sleep(60)
            return await getattr(self.store, name)(*arguments, **named)

        return call


@pytest.fixture
async def switched(tmp_path: Path) -> AsyncIterator[Switched]:
    store = SqliteStore.open(tmp_path / "state.db")
    await store.found(name="test")
    await create(store, "books")
    yield Switched(store)
    await store.close()


async def create(store: SqliteStore, uid: str) -> None:
    index = Index(uid=IndexUid(uid), incarnation=0, primary_key="id", shards=1, replicas=1)
    index = await store.begin_creation(index, nodes={N1: 0})
    await store.finish_creation(index, placement={ShardId(0): frozenset({N1})}, bases={N1: 0})


def holding(condition: Callable[[], bool]) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        return condition()

    return holds


def over(switched: Switched, *, limit: float = 60.0, listener: Others | None = None) -> Any:
    return LastKnown(switched, limit=limit, listener=listener)


class Others:
    """What others know of this process."""

    def __init__(self) -> None:
        self.until = 0.0
        self.said: int | None = None

    async def say(self, epoch: int) -> bool:
        known, self.until = self.said is not None, inf
        self.said = epoch if known else 0
        return known

    async def leave(self) -> None:
        self.said = None


async def test_an_alias_stands_for_what_it_stood_for_while_the_store_is_silent(switched: Switched) -> None:
    store = over(switched)
    await create(switched.store, "films")
    live = await switched.store.create_alias("live", ["books"])
    both = await switched.store.create_alias("both", ["books", "films"], kind=AliasKind.MULTI)
    with may_be_stale():
        await store.aliases()
        known = {name: await store.resolve(name) for name in ("live", "both", "books")}
        assert isinstance(known["live"], IndexMap) and known["live"].alias == "live"
    switched.silence = "refuses"
    with may_be_stale() as answer:
        assert {name: await store.resolve(name) for name in known} == known
        assert (await store.alias("live"), await store.alias("both")) == (live, both) and answer.stale
        assert await store.alias("nothing") is None
        with pytest.raises(StateUnavailable):
            await store.resolve("nothing")
    with pytest.raises(StateUnavailable):
        await store.resolve("live")


async def test_who_listens_knows_the_aliases(switched: Switched) -> None:
    store = over(switched)
    live = await switched.store.create_alias("live", ["books"])
    listening = asyncio.create_task(store.keep_listening())
    await eventually(holding(lambda: ("aliases",) in store._kept), timeout=30)
    switched.silence = "refuses"
    with may_be_stale() as answer:
        assert await store.alias("live") == live and answer.stale
        assert isinstance(await store.resolve("live"), IndexMap)
    listening.cancel()


@pytest.mark.parametrize("silence", ["refuses", "hangs"])
async def test_a_reader_gets_what_was_read_last_and_is_told(switched: Switched, silence: str) -> None:
    store = over(switched)
    with may_be_stale() as answer:
        before = (await store.map("books"), await store.epoch(), await store.cluster(), await store.progress("books"))
        assert not answer.stale and not store.silent
    switched.silence = silence
    with may_be_stale() as answer:
        after = (await store.map("books"), await store.epoch(), await store.cluster(), await store.progress("books"))
        assert after == before
        assert answer.stale and is_stale() and store.silent
    assert not is_stale()


async def test_only_the_first_reader_waits_for_a_store_that_hangs(switched: Switched) -> None:
    store = over(switched)
    await store.maps()
    switched.silence = "hangs"
    with may_be_stale():
        await store.map("books")
        asked = switched.asked
        began = time.monotonic()
        for _ in range(100):
            await store.map("books")
        assert switched.asked == asked
        assert time.monotonic() - began < 30


async def test_whoever_did_not_say_that_it_reads_gets_the_error(switched: Switched) -> None:
    store = over(switched)
    await store.maps()
    switched.silence = "refuses"
    with pytest.raises(StateUnavailable):
        await store.map("books")
    with may_be_stale(), pytest.raises(StateUnavailable):
        await store.found(name="test")
    with pytest.raises(StateUnavailable):
        store.require_heard()


async def test_what_was_never_read_is_not_made_up(switched: Switched) -> None:
    store = over(switched)
    await store.maps()
    switched.silence = "refuses"
    with may_be_stale() as answer:
        with pytest.raises(StateUnavailable):
            await store.map("films")
        with pytest.raises(StateUnavailable):
            await store.api_keys()
        assert not answer.stale


async def test_the_time_is_bounded_and_counts_from_the_last_answer(switched: Switched) -> None:
    store = over(switched, limit=0.3)
    await store.maps()
    switched.silence = "refuses"
    with may_be_stale():
        await asyncio.sleep(0.35)
        with pytest.raises(StateUnavailable, match="cannot be reached"):
            await store.map("books")


async def test_when_the_store_is_back_nothing_has_to_be_done(
    switched: Switched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(last_known, "LISTENING", 0.02)
    store = over(switched)
    listening = asyncio.create_task(store.keep_listening())
    try:
        await eventually(holding(lambda: ("map", "books") in store._kept), timeout=30)
        switched.silence = "refuses"
        await eventually(holding(lambda: store.silent), timeout=30)
        await create(switched.store, "films")
        switched.silence = None
        await eventually(holding(lambda: not store.silent), timeout=30)
        store.require_heard()
        await eventually(holding(lambda: ("map", "films") in store._kept), timeout=30)
        switched.silence = "refuses"
        with may_be_stale():
            assert {index.uid for index in await store.indexes()} == {"books", "films"}
    finally:
        listening.cancel()


async def test_an_error_that_is_an_answer_stays_one(switched: Switched) -> None:
    store = over(switched)
    unknown = Index(uid=IndexUid("films"), incarnation=9, primary_key="id", shards=1, replicas=1)
    with may_be_stale() as answer:
        with pytest.raises(IndexNotFound):
            await store.require(unknown)
        assert await store.map("films") is None
        assert not answer.stale and not store.silent


async def test_tasks_begun_by_a_reader_mark_its_answer(switched: Switched) -> None:
    store = over(switched)
    await store.maps()
    switched.silence = "refuses"
    with may_be_stale() as answer:
        await asyncio.gather(store.map("books"), store.epoch(), return_exceptions=True)
        assert answer.stale


async def test_others_are_told_what_it_knows_once_it_remembers_nothing_older(
    switched: Switched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(last_known, "LISTENING", 0.02)
    others = Others()
    store = over(switched, listener=others)
    listening = asyncio.create_task(store.keep_listening())
    try:
        first = await switched.store.epoch()
        await eventually(holding(lambda: others.said == first), timeout=30)
        await create(switched.store, "films")
        second = await switched.store.epoch()
        await eventually(holding(lambda: others.said == second), timeout=30)
        assert second > first and store._kept["map", "books"].epoch == second
    finally:
        listening.cancel()


async def test_who_is_not_waited_for_answers_nothing_from_memory(switched: Switched) -> None:
    others = Others()
    store = over(switched, listener=others)
    await store.maps()
    switched.silence = "refuses"
    with may_be_stale(), pytest.raises(StateUnavailable):
        await store.map("books")


async def test_what_was_remembered_before_others_went_on_without_it_is_forgotten(switched: Switched) -> None:
    others = Others()
    store = over(switched, listener=others)
    epoch = await store._listen(-1)
    assert others.said == epoch == await switched.store.epoch()
    others.said = None
    switched.store, real = cast("SqliteStore", OnlyEpoch(switched.store)), switched.store
    with pytest.raises(StateUnavailable):
        await store._listen(epoch)
    switched.store, switched.silence = real, "refuses"
    with may_be_stale(), pytest.raises(StateUnavailable):
        await store.map("books")


class OnlyEpoch:
    """A store that falls silent right after it has said how far it is."""

    def __init__(self, store: SqliteStore) -> None:
        self.epoch = store.epoch

    async def maps(self) -> None:
        raise StateUnavailable("Redis at x cannot be reached")


async def test_an_answer_that_was_overtaken_by_a_newer_one_is_not_remembered(switched: Switched) -> None:
    store = over(switched)
    go = asyncio.Event()
    switched.store, real = cast("SqliteStore", Slow(switched.store, go)), switched.store
    slow = asyncio.create_task(store.map("books"))
    await asyncio.sleep(0.05)
    switched.store = real
    await create(real, "films")
    newer = (await store.maps())[0].epoch
    go.set()
    assert (await slow).epoch < newer
    switched.silence = "refuses"
    with may_be_stale():
        assert (await store.map("books")).epoch == newer


class Slow:
    """A store whose answer is a while on its way."""

    def __init__(self, store: SqliteStore, go: asyncio.Event) -> None:
        self._store = store
        self._go = go

    async def map(self, uid: str) -> IndexMap | None:
        found = await self._store.map(uid)
        await self._go.wait()
        return found
