"""A Redis that has lost what it had is noticed by whoever read it before: nothing is read from it, nothing written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from miroir_cli.errors import StateUnavailable
from miroir_cli.model import Index, IndexUid, NodeName, ShardId
from miroir_cli.store.records import Member
from miroir_cli.store.redis.keys import content_key
from miroir_cli.store.redis.known import Known
from miroir_cli.store.redis.store import RedisStore
from tests.store.contract.writing import all_of_it, begin, end
from tests.store.redis_server import RedisServer, running_redis

N1 = NodeName("n1")
ONE = {ShardId(0): 1}


@pytest.fixture
async def store(redis_server: RedisServer) -> AsyncIterator[RedisStore]:
    redis_server.empty()
    opened = await RedisStore.open(redis_server.url)
    await opened.found(name="test")
    await create(opened, "books")
    yield opened
    await opened.close()


async def create(store: RedisStore, uid: str) -> None:
    index = Index(uid=IndexUid(uid), incarnation=0, primary_key="id", shards=1, replicas=1)
    index = await store.begin_creation(index, nodes={N1: 0})
    await store.finish_creation(index, placement={ShardId(0): frozenset({N1})}, bases={N1: 0})


async def refuses(store: RedisStore, message: str) -> None:
    """Reading and writing are refused, and nothing is changed."""
    before = await store.access.ask("DBSIZE")
    with pytest.raises(StateUnavailable, match=message):
        await store.epoch()
    with pytest.raises(StateUnavailable, match=message):
        await store.map("books")
    with pytest.raises(StateUnavailable, match=message):
        await store.task(1)
    with pytest.raises(StateUnavailable, match=message):
        await store.found(name="test")
    with pytest.raises(StateUnavailable, match=message):
        await store.enrol(Member(name=N1, url="http://x", top_task=3))
    assert await store.access.ask("DBSIZE") == before


async def test_an_emptied_one_is_not_taken_for_a_new_one(store: RedisStore, redis_server: RedisServer) -> None:
    epoch = await store.epoch()
    redis_server.empty()
    await refuses(store, f"has lost the state of the cluster, which was at epoch {epoch}")
    other = await RedisStore.open(redis_server.url)
    await other.found(name="test")
    await other.close()
    await refuses(store, "has the state of another cluster by now")


async def test_one_that_forgot_changes_is_noticed(store: RedisStore, redis_server: RedisServer) -> None:
    before = await store.access.ask("HGETALL", "miroir:cluster")
    await create(store, "films")
    now = await store.epoch()
    await store.access.ask("HSET", "miroir:cluster", "epoch", before["epoch"])
    await refuses(store, f"has forgotten changes: the state was at epoch {now}, and is at {before['epoch']}")
    await store.access.ask("HSET", "miroir:cluster", "epoch", now + 5)
    assert await store.epoch() == now + 5


async def test_one_that_forgot_nothing_but_writes_is_noticed(store: RedisStore) -> None:
    index = (await store.indexes())[0]
    for task in (10, 11):
        last, _ = await end(store, await begin(store, index, documents=ONE), task=task, by=[N1])
    await store.remember_session("s", "books", last.n)
    order = f"miroir:order:{content_key(index)}"
    await store.access.ask("HSET", order, "newest", last.n - 1)
    said = f"has forgotten writes: of index `books` it had {last.n}, and has {last.n - 1}"
    epoch = await store.epoch()
    with pytest.raises(StateUnavailable, match=said) as refused:
        await begin(store, index, documents=ONE)
    assert "miroir state recover" in str(refused.value.hint)
    for look in (store.newest_intent, store.pending):
        with pytest.raises(StateUnavailable, match=said):
            await look("books")
    with pytest.raises(StateUnavailable, match=said):
        await store.settle_intents(index, all_of_it)
    with pytest.raises(StateUnavailable, match=said):
        await store.session_waits_for("s", "books")
    assert await store.access.ask("HGET", order, "newest") == str(last.n - 1) and await store.epoch() == epoch
    assert (await store.map("books")) is not None, "where the documents are was not forgotten"
    await store.access.ask("HSET", order, "newest", last.n)
    assert (await begin(store, index, documents=ONE)).n == last.n + 1


async def test_one_that_comes_back_with_what_it_had_goes_on(tmp_path: Path) -> None:
    with running_redis(tmp_path) as server:
        store = await RedisStore.open(server.url)
        await store.found(name="test")
        await create(store, "books")
        server.kill()
        with pytest.raises(StateUnavailable, match="cannot be reached"):
            await store.epoch()
        server.start()
        await create(store, "films")
        assert {index.uid for index in await store.indexes()} == {"books", "films"}
        await store.close()


async def test_who_opens_it_anew_takes_what_there_is(store: RedisStore, redis_server: RedisServer) -> None:
    redis_server.empty()
    other = await RedisStore.open(redis_server.url)
    assert await other.cluster() is None
    assert (await other.found(name="test")).epoch == 1
    await other.close()


async def test_beside_many_changes_no_reading_is_taken_for_an_old_one(store: RedisStore) -> None:
    async def change() -> None:
        for number in range(40):
            await create(store, f"index{number}")

    async def read() -> None:
        for _ in range(200):
            await store.epoch()

    async with asyncio.TaskGroup() as group:
        group.create_task(change())
        for _ in range(5):
            group.create_task(read())


def test_an_answer_is_compared_with_what_was_known_when_it_was_asked() -> None:
    known = Known("x")
    known.heed(["a", "7"], since=0)
    known.heed(["a", "6"], since=5)  # asked before the other one, and answered before it
    assert known.epoch == 7
    with pytest.raises(StateUnavailable):
        known.heed(["a", "6"], since=7)


def test_so_is_the_number_of_a_write() -> None:
    known = Known("x")
    before = known.numbers
    known.learn_number("books@1", 7)
    known.heed_number("books@1", 6, since=before)
    assert known.numbers == {"books@1": 7} and before == {}
    known.heed_number("films@2", 1, since=known.numbers)
    with pytest.raises(StateUnavailable, match="it had 7, and has 6"):
        known.heed_number("books@1", 6, since=known.numbers)
