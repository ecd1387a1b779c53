"""Trouble with the Redis that has the state: searches go on for a while and say so, writes stop before any node is
touched, and when it is back nothing has to be done."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from miroir_cli.dev.engine.testing import Engine
from miroir_cli.errors import StateUnavailable
from miroir_cli.indexes.catalog import create_index, plan_index
from miroir_cli.proxy.background import start
from miroir_cli.proxy.shares import PEER
from miroir_cli.replication.write import write
from miroir_cli.search.reading import Partial, SearchOptions
from miroir_cli.search.scatter import search
from miroir_cli.store.tasks import TaskStatus
from miroir_cli.tasks.finishing import FINISHER
from miroir_cli.topology.file import load_topology
from miroir_cli.topology.state import StateSettings
from tests.backends import state_at
from tests.cli.conftest import engines, nodes, ready
from tests.conftest import Miroir
from tests.faults.moving import hook
from tests.faults.world import addition, eventually, world_of
from tests.proxy.conftest import Served, serving, write_topology
from tests.store.redis_server import RedisServer, running_redis

__all__ = ["engines", "nodes", "ready"]

SEARCH = "/indexes/books/search"
DOCUMENTS = "/indexes/books/documents"


@asynccontextmanager
async def served_over(
    folder: Path, engines: list[Engine], *, stale_reads: float = 600.0
) -> AsyncIterator[tuple[Served, RedisServer]]:
    """A proxy over a Redis of its own, with an index `books` of ten documents."""
    with running_redis(folder / "redis") as redis, state_at(redis.url):
        path = write_topology(folder, engines)
        text = path.read_text().replace("[defaults]", f"stale_reads = {stale_reads}\n\n[defaults]")
        path.write_text(text)
        assert load_topology(path).state == StateSettings(url=redis.url, stale_reads=stale_reads)
        async with serving(path) as served:
            cluster = served.service.cluster
            await create_index(cluster, await plan_index(cluster, "books", primary_key="id"))
            await stored(served, [{"id": number} for number in range(10)])
            yield served, redis


async def stored(served: Served, documents: list[dict[str, Any]]) -> None:
    """Write, and wait until it is told as stored."""
    answer = await served.client.post(DOCUMENTS, json=documents)
    assert answer.status_code == 202, answer.text
    async with asyncio.timeout(60):
        while True:
            task = (await served.client.get(f"/tasks/{answer.json()['taskUid']}")).json()
            if task["status"] in ("succeeded", "failed"):
                assert task["status"] == "succeeded", task
                return
            await asyncio.sleep(0.05)


def tasks_of(engines: list[Engine]) -> list[int]:
    return [len(engine.node.queue.tasks) for engine in engines]


async def found(served: Served) -> tuple[int, int | None, str | None]:
    """The status of a search, how many documents it found, and what it says about its completeness."""
    answer = await served.client.post(SEARCH, json={"limit": 100})
    return (
        answer.status_code,
        len(answer.json()["hits"]) if answer.status_code == 200 else None,
        answer.headers.get("x-miroir-degraded"),
    )


# what can happen to a Redis, and how that ends


def down(redis: RedisServer) -> Callable[[], None]:
    redis.kill()
    return redis.start


def frozen(redis: RedisServer) -> Callable[[], None]:
    redis.stop()
    return redis.go_on


def replica(redis: RedisServer) -> Callable[[], None]:
    redis.tell("REPLICAOF", "127.0.0.1", "1")
    return lambda: redis.tell("REPLICAOF", "NO", "ONE")


def full(redis: RedisServer) -> Callable[[], None]:
    redis.tell("CONFIG", "SET", "maxmemory", "1mb")
    return lambda: redis.tell("CONFIG", "SET", "maxmemory", "0")


def emptied(redis: RedisServer) -> Callable[[], None]:
    """Started again without what it had; in the end with it."""
    redis.kill()
    kept, data = redis.folder / "kept", redis.folder / "appendonlydir"
    shutil.move(data, kept)
    redis.start()

    def put_back() -> None:
        redis.kill()
        shutil.rmtree(data)
        shutil.move(kept, data)
        redis.start()

    return put_back


TROUBLES = {each.__name__: each for each in (down, frozen, replica, full, emptied)}
SILENT = ("down", "frozen", "emptied")
"""Those in which the state cannot be read."""


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_searches_go_on_writes_stop_and_afterwards_nothing_has_to_be_done(
    tmp_path: Path, engines: list[Engine], trouble: str
) -> None:
    async with served_over(tmp_path, engines) as (served, redis):
        assert await found(served) == (200, 10, None)
        before = tasks_of(engines)
        mend = await asyncio.to_thread(TROUBLES[trouble], redis)
        for _ in range(3):
            assert await found(served) == (200, 10, "state" if trouble in SILENT else None)
        for _ in range(3):
            answer = await served.client.post(DOCUMENTS, json=[{"id": 99}])
            assert (answer.status_code, answer.json()["code"]) == (503, "miroir_state_unavailable"), answer.text
        assert (await served.client.delete(f"{DOCUMENTS}/1")).status_code == 503
        assert (await served.client.get("/_miroir/ready")).status_code == 200
        assert tasks_of(engines) == before
        await asyncio.to_thread(mend)

        async def writes() -> bool:
            return bool((await served.client.post(DOCUMENTS, json=[{"id": 11}])).status_code == 202)

        await eventually(writes, timeout=60)
        await stored(served, [{"id": 12}])
        status, _, degraded = await found(served)
        assert (status, degraded) == (200, None)
        hits = (await served.client.post(SEARCH, json={"limit": 100})).json()["hits"]
        assert sorted(hit["id"] for hit in hits) == [*range(10), 11, 12]


@pytest.mark.parametrize("trouble", ["down", "frozen", "full"])
async def test_what_a_proxy_does_beside_answering_goes_on_when_redis_is_back(
    tmp_path: Path, engines: list[Engine], trouble: str
) -> None:
    async with served_over(tmp_path, engines) as (served, redis):
        store = served.service.cluster.store
        mend = await asyncio.to_thread(TROUBLES[trouble], redis)
        start(served.service)
        await asyncio.sleep(3)
        await asyncio.to_thread(mend)
        taken: list[int] = []

        async def written() -> bool:
            answer = await served.client.post(DOCUMENTS, json=[{"id": 11}])
            taken.extend([answer.json()["taskUid"]] if answer.status_code == 202 else [])
            return bool(taken)

        async def ended() -> bool:
            task = await store.task(taken[0])
            return task is not None and task.status is TaskStatus.SUCCEEDED

        async def works() -> bool:
            names = [lock.name for lock in await served.service.cluster.locks.held()]
            return FINISHER in names and any(name.startswith(PEER) for name in names)

        await eventually(written, timeout=60)
        await eventually(ended, timeout=60)
        await eventually(works, timeout=60)


async def test_searches_end_when_the_time_for_it_is_over(tmp_path: Path, engines: list[Engine]) -> None:
    async with served_over(tmp_path, engines, stale_reads=2.0) as (served, redis):
        assert await found(served) == (200, 10, None)
        await asyncio.to_thread(redis.kill)

        async def refused() -> bool:
            return (await found(served))[0] == 503

        await eventually(refused, timeout=60)
        answer = await served.client.post(SEARCH, json={})
        assert answer.json()["code"] == "miroir_state_unavailable"
        assert (await served.client.get("/_miroir/ready")).status_code == 503
        await asyncio.to_thread(redis.start)

        async def answers() -> bool:
            return await found(served) == (200, 10, None)

        await eventually(answers, timeout=60)


async def test_a_silent_redis_does_not_hold_up_more_than_the_first_searches(
    tmp_path: Path, engines: list[Engine]
) -> None:
    async with served_over(tmp_path, engines) as (served, redis):
        assert await found(served) == (200, 10, None)
        redis.stop()
        try:
            began = time.monotonic()
            answers = [await found(served) for _ in range(50)]
            assert set(answers) == {(200, 10, "state")}
            assert time.monotonic() - began < 30
        finally:
            redis.go_on()


async def test_a_writer_whose_redis_goes_away_touches_no_node(tmp_path: Path) -> None:
    with running_redis(tmp_path / "redis") as redis, state_at(redis.url), world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            index = (await create_index(cluster, await plan_index(cluster, "books", primary_key="id"))).index
            redis.kill()
            before = tasks_of(list(world.engines.values()))
            with pytest.raises(StateUnavailable):
                await write(cluster, index, addition(index, {"k": 1}))
            assert tasks_of(list(world.engines.values())) == before
            redis.start()
            await write(cluster, index, addition(index, {"k": 1}))


def test_a_command_without_its_redis_says_what_is_wrong_and_ends_with_5(ready: Miroir, tmp_path: Path) -> None:
    path = tmp_path / "miroir.toml"
    path.write_text(path.read_text().replace("sqlite:.miroir/state.db", "redis://127.0.0.1:1/0"))
    for words in (("search", "books"), ("index", "create", "books", "-k", "id"), ("status",)):
        done = ready(*words)
        assert done.status == 5, done.err
        assert "error: Redis at redis://127.0.0.1:1/0 cannot be reached" in done.err
        assert "hint: start it" in done.err
    found = {each["check"] for each in ready("doctor", "--json").json["findings"]}
    assert "state.unreachable" in found and not {"node.down", "state.missing"} & found


@pytest.mark.parametrize("partial", ["error", "allow"])
async def test_an_answer_that_cannot_be_checked_in_the_end_is_none(tmp_path: Path, partial: Partial) -> None:
    with running_redis(tmp_path / "redis") as redis, state_at(redis.url), world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            index = (await create_index(cluster, await plan_index(cluster, "books", primary_key="id"))).index
            await write(cluster, index, addition(index, {"k": 1}))

            async def go_down(*_: object) -> None:
                redis.kill()

            hook(cluster, before_epoch=go_down)
            with pytest.raises(StateUnavailable):
                await search(cluster, "books", {"q": ""}, options=SearchOptions(partial=partial))
            redis.start()
