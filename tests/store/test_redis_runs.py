"""What the parts of the Redis store about runs and services do for others: names change, indexes go, Redis dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from miroir_cli.errors import StateUnavailable
from miroir_cli.model import Index, IndexUid
from miroir_cli.store.journal import RunRecord, RunState, StepState
from miroir_cli.store.records_jobs import JobState
from miroir_cli.store.redis.belongings import forget_belongings, rename_belongings
from miroir_cli.store.redis.runs import read_open_runs
from miroir_cli.store.redis.store import RedisStore
from tests.store.contract.test_imports import BATCH, begin
from tests.store.contract.test_runs import STEP, a_run, process
from tests.store.redis_server import RedisServer, running_redis

BOOKS, FILMS, SHELF = IndexUid("books"), IndexUid("films"), IndexUid("shelf")


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[RedisStore]:
    store = await RedisStore.open(redis_server.url)
    await store.access.ask("FLUSHALL")
    yield store
    await store.close()


def an_index(uid: IndexUid, incarnation: int) -> Index:
    return Index(uid=uid, incarnation=incarnation, primary_key="id", shards=1, replicas=1)


async def test_what_is_kept_under_a_name_goes_with_its_index(redis: RedisStore) -> None:
    old = await begin(redis, "books", incarnation=1)
    new, films = await begin(redis, "books", incarnation=4), await begin(redis, "films", incarnation=5)
    steps = [
        replace(STEP, number=1, incarnation=4, state=StepState.SWITCHING),
        replace(STEP, number=2, incarnation=1, state=StepState.DONE),
        replace(STEP, number=3, index=FILMS, incarnation=5),
        replace(STEP, number=4, index=SHELF, incarnation=2),
    ]
    run = await redis.begin_run(a_run(), steps)
    await redis.advance_cdc_cursor("s", "books", expected=None, to=4)
    await redis.advance_cdc_cursor("s", "films", expected=None, to=5)
    await redis.advance_cdc_cursor("t", "shelf", expected=None, to=6)
    await redis.save_search_ui_config("books", {"title": "Books"})
    await redis.access.write(
        lambda transaction: rename_belongings(
            transaction,
            {BOOKS: FILMS, FILMS: BOOKS},
            {BOOKS: 7, FILMS: 8},
            {BOOKS: an_index(BOOKS, 4), FILMS: an_index(FILMS, 5)},
        )
    )
    assert [(each.id, each.uid, each.incarnation) for each in await redis.unfinished_imports()] == [
        (old.id, "films", 1),
        (new.id, "films", 7),
        (films.id, "books", 8),
    ]
    assert [(step.index, step.incarnation) for step in await redis.steps(run.id)] == [
        (FILMS, 7),
        (FILMS, 1),
        (BOOKS, 8),
        (SHELF, 2),
    ]
    assert await redis.switching("films") == (process(11),) and await redis.switching("books") == ()
    assert [(each.sink, each.index_uid, each.last_event_seq) for each in await redis.cdc_cursors()] == [
        ("s", "books", 5),
        ("s", "films", 4),
        ("t", "shelf", 6),
    ]
    assert [(page.index_uid, page.config) for page in await redis.search_ui_configs()] == [
        ("films", {"title": "Books"})
    ]
    await redis.access.write(
        lambda transaction: rename_belongings(
            transaction, {FILMS: IndexUid("new"), IndexUid("new"): FILMS}, {FILMS: 9}, {FILMS: an_index(FILMS, 7)}
        )
    )
    assert await redis.switching("new") == (process(11),)
    assert [(step.index, step.incarnation) for step in (await redis.steps(run.id))[:2]] == [("new", 9), ("new", 1)]


async def test_everything_of_an_index_that_is_gone_is_forgotten(redis: RedisStore) -> None:
    gone, kept = await begin(redis), await begin(redis, "films")
    await redis.save_batch(replace(BATCH, import_id=gone.id))
    await redis.advance_cdc_cursor("s", "books", expected=None, to=4)
    await redis.save_search_ui_config("books", {})
    await redis.access.write(lambda transaction: forget_belongings(transaction, "books"))
    assert await redis.unfinished_imports() == (kept,) and await redis.batches(gone.id) == ()
    assert await redis.cdc_cursors() == () and await redis.search_ui_configs() == ()


async def test_open_runs_are_those_with_a_step_of_the_index_that_has_not_ended(redis: RedisStore) -> None:
    ended = await redis.begin_run(a_run(), [replace(STEP, number=1)])
    await redis.save_run(ended.id, state=RunState.CANCELLED)
    run = await redis.begin_run(a_run(), [replace(STEP, number=1), replace(STEP, number=2, index=FILMS)])

    async def open_runs(uid: str) -> tuple[RunRecord, ...]:
        return await redis.access.read(lambda transaction: read_open_runs(transaction, uid))

    assert await open_runs("books") == await open_runs("films") == (run,)
    await redis.save_step(run.id, replace(STEP, number=1, state=StepState.DONE))
    assert await open_runs("books") == () and await open_runs("films") == (run,)


async def test_old_attempts_of_moves_are_forgotten_when_the_last_run_ends(redis: RedisStore) -> None:
    await redis.access.ask("ZADD", "miroir:indexes:_index", 0, "books")
    old, young = '{"node":"a","shards":[0],"created_at":5}', '{"node":"a","shards":[0],"created_at":99999999999999}'
    await redis.access.ask("HSET", "miroir:movers:books", "x", old, "y", young)
    first, second = await redis.begin_run(a_run(), []), await redis.begin_run(a_run(), [])
    await redis.save_run(first.id, state=RunState.DONE)
    assert len(await redis.access.ask("HGETALL", "miroir:movers:books")) == 2
    await redis.save_run(second.id, state=RunState.DONE)
    assert await redis.access.ask("HGETALL", "miroir:movers:books") == {"y": young}


async def test_what_was_recorded_is_there_after_redis_was_killed(tmp_path: Path) -> None:
    with running_redis(tmp_path / "redis") as server:
        store = await RedisStore.open(server.url)
        done: list[int] = []
        told = asyncio.Event()

        async def work(name: str) -> None:
            while True:
                job = await store.enqueue_job("work", {"by": name})
                claimed = await store.claim_job(by=name)
                if claimed is not None and await store.complete_job(claimed):
                    done.append(claimed.id)
                await store.save_step(run.id, replace(STEP, copied=job.id))
                if len(done) >= 10:
                    told.set()

        run = await store.begin_run(a_run(), [STEP])
        workers = [asyncio.create_task(work(name)) for name in "ab"]
        async with asyncio.timeout(60):
            await told.wait()
        await asyncio.to_thread(server.kill)
        for outcome in await asyncio.gather(*workers, return_exceptions=True):
            assert isinstance(outcome, StateUnavailable)
        recorded = set(done)
        await asyncio.to_thread(server.start)
        ended = await store.jobs(state=JobState.COMPLETED, limit=10_000)
        assert recorded <= {job.id for job in ended}
        assert await store.run(run.id) == run and len(await store.steps(run.id)) == 1
        left = await store.jobs(state=JobState.QUEUED, limit=100)
        while (claimed := await store.claim_job(by="later")) is not None:
            assert claimed in left or claimed.id in {job.id for job in left}
            assert await store.complete_job(claimed)
        assert (await store.count_jobs())[JobState.QUEUED] == 0
        await store.close()
