"""Eight processes search while a shard moves and an alias flips: no answer is short, none rests on an old map once the
change has returned, and nothing is taken away that somebody who is cut off from Redis may still be reading."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from miroir_cli.cluster import Cluster
from miroir_cli.indexes.aliases import create_alias, flip_alias
from miroir_cli.migration.rebalance import Outcome
from miroir_cli.migration.run import RunOptions
from miroir_cli.model import Index
from tests.backends import state_at
from tests.faults.moving import CHANGE, REPAIR, run
from tests.faults.readers import Answer, Flip, allowed, reading
from tests.faults.relay import relay
from tests.faults.world import (
    N2,
    UID,
    Ledger,
    World,
    check,
    create,
    eventually,
    keys_of_every_shard,
    put,
    stale,
    world_of,
)
from tests.store.redis_server import RedisServer

PROCESSES = 8
HASTY = RunOptions(retry_for=60.0, max_pause=1.0)
STATE = "lease_renewal = 0.5\nlease_expiry = 2.0\nstale_reads = {stale_reads}\n\n[[nodes]]"


@pytest.fixture(autouse=True)
def redis(redis_server: RedisServer) -> Iterator[RedisServer]:
    redis_server.empty()
    with state_at(redis_server.url):
        yield redis_server


def limit_stale_reads(world: World, seconds: float) -> None:
    text = world.path.read_text()
    world.path.write_text(text.replace("[[nodes]]", STATE.format(stale_reads=seconds), 1))


async def filled(cluster: Cluster) -> tuple[Index, Ledger, list[str]]:
    """Indexes `books` and `films` with documents in each shard, and the alias `live` of `books`."""
    index, films, ledger = await create(cluster), await create(cluster, "films"), Ledger()
    keys = keys_of_every_shard(index, each=3)
    await put(cluster, index, dict.fromkeys(keys, 1), ledger)
    await put(cluster, films, dict.fromkeys(keys_of_every_shard(films, prefix="f"), 1), Ledger())
    await create_alias(cluster, "live", [UID])
    return index, ledger, sorted(keys)


def of(answers: Iterable[list[Answer]], name: str) -> list[Answer]:
    return [answer for each in answers for answer in each if answer.name == name]


async def test_no_answer_is_short_and_none_rests_on_an_old_map_once_a_change_has_returned(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=3, shards=3, replicas=1) as world:
        limit_stale_reads(world, 60.0)
        async with world.cluster(lock_timeout=60) as cluster:
            index, ledger, keys = await filled(cluster)
            with reading(tmp_path / "readers", [world.path] * PROCESSES, UID, "live") as readers:
                await readers.until_ready()
                world.drain(1)
                outcome, moved = await moved_by_another(world)
                assert outcome.result is not None and not outcome.result.unfinished
                await put(cluster, index, dict.fromkeys(keys, 2), ledger)
                written, flips = time.monotonic(), []
                for target in ("films", UID) * 3:
                    began = time.monotonic()
                    await flip_alias(cluster, "live", [target])
                    flips.append(Flip(target=target, began=began, ended=time.monotonic()))
                    await asyncio.sleep(0.2)
                answers = await readers.end()
            await check(cluster, index, ledger)
    assert len(answers) == PROCESSES and all(answers)
    assert {answer.status for each in answers for answer in each} == {200}
    assert {answer.degraded for each in answers for answer in each} == {""}
    assert all(answer.found == keys for answer in of(answers, UID)), "short"
    for each in answers:
        assert any(answer.began > moved for answer in each)
        assert all(answer.newest == 2 for answer in of([each], UID) if answer.began > written)
        seen = [answer for answer in of([each], "live") if answer.began > flips[0].ended]
        assert seen and all(target_of(answer, keys) in allowed(answer, flips) for answer in seen)


async def moved_by_another(world: World) -> tuple[Outcome, float]:
    """Make the cluster what its topology file says, as another process does: when that was done."""
    async with world.cluster(lock_timeout=60) as cluster:
        outcome = await run(cluster, CHANGE, options=HASTY)
    return outcome, time.monotonic()


def target_of(answer: Answer, keys: list[str]) -> str:
    return UID if answer.found == keys else "films"


async def test_what_somebody_cut_off_may_read_is_not_taken_away_before_its_time_is_over(
    tmp_path: Path, redis: RedisServer
) -> None:
    stale_reads = 5.0
    with world_of(tmp_path, nodes=2, spare=1, shards=6, replicas=1) as world:
        limit_stale_reads(world, stale_reads)
        async with world.cluster(lock_timeout=60) as cluster, relay(redis.port) as way:
            index, ledger, keys = await filled(cluster)
            behind = tmp_path / "behind.toml"
            behind.write_text(world.path.read_text().replace(f":{redis.port}/", f":{way.port}/"))
            paths = [behind, *[world.path] * (PROCESSES - 1)]
            with reading(tmp_path / "readers", paths, UID) as readers:
                await readers.until_ready()
                await until_all_know(cluster)
                await way.cut()
                cut = time.monotonic()
                world.add(3)  # the others keep some shards, so that they keep the index
                write_behind(behind, world, redis.port, way.port)
                outcome, moved = await moved_by_another(world)
                assert outcome.result is not None and not outcome.result.unfinished
                events = await cluster.store.events(outcome.result.run.id)
                await way.open()
                await asyncio.sleep(4)
                answers = await readers.end()
            await check(cluster, index, ledger)
    lonely, *others = answers
    assert all(answer.found == keys and not answer.degraded for each in others for answer in each)
    assert all(answer.found == keys for answer in lonely if answer.status == 200), "short"
    assert {answer.status for answer in lonely} == {200, 503}
    memory = [answer for answer in lonely if answer.degraded]
    assert memory and {answer.degraded for answer in memory} == {"state"}
    assert all(answer.ended <= cut + stale_reads + 1 for answer in memory)
    assert lonely[-1].status == 200 and not lonely[-1].degraded
    assert moved - cut > stale_reads, "it did not wait for who was cut off"
    assert any("knows the new state" in event.detail for event in events), "the journal does not say so"


async def test_a_lost_disk_is_not_filled_while_somebody_cut_off_may_read_it(tmp_path: Path, redis: RedisServer) -> None:
    stale_reads = 4.0
    with world_of(tmp_path, shards=2, replicas=2) as world:
        limit_stale_reads(world, stale_reads)
        async with world.cluster(lock_timeout=60) as cluster, relay(redis.port) as way:
            index, ledger, keys = await filled(cluster)
            behind = tmp_path / "behind.toml"
            write_behind(behind, world, redis.port, way.port)
            with reading(tmp_path / "readers", [behind], UID) as readers:
                await readers.until_ready()
                await until_all_know(cluster)
                await way.cut()
                cut = time.monotonic()
                world.engine(2).wipe()
                await put(cluster, index, dict.fromkeys(keys, 2), ledger)
                assert stale(await cluster.reload(UID)) == {N2}
                await run(cluster, REPAIR, options=HASTY)
                mended = time.monotonic()
                await asyncio.sleep(0.5)
                (answers,) = await readers.end()
            await check(cluster, index, ledger)
    assert all(answer.found == keys for answer in answers if answer.status == 200), "short"
    assert any(answer.degraded for answer in answers)
    assert mended - cut > stale_reads, "it did not wait for who was cut off"


def write_behind(path: Path, world: World, port: int, way: int) -> None:
    """The topology file as it is now, with another way to Redis."""
    path.write_text(world.path.read_text().replace(f":{port}/", f":{way}/"))


async def until_all_know(cluster: Cluster) -> None:
    """Wait until each process has said that it knows the state of now."""
    epoch = await cluster.store.epoch()

    async def all_know() -> bool:
        return not await cluster.locks.unaware(epoch)

    await eventually(all_know, timeout=60)
