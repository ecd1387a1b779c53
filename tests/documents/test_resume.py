"""`miroir import` in a process of its own, killed at random moments: the same command ends with exact counts."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import random
import signal
import sys
from pathlib import Path

import pytest

from miroir_cli.cluster import Cluster
from tests.conftest import clean_environment
from tests.documents.sample import as_ndjson
from tests.documents.test_import import check, numbered, write_ndjson
from tests.faults.world import UID, World, create, world_of


async def start(world: World, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "miroir_cli",
        "import",
        UID,
        *arguments,
        "--json",
        "--batch-bytes",
        "8000",
        cwd=world.path.parent,
        env=clean_environment(MIROIR_TOPOLOGY=str(world.path), HOME=str(world.path.parent)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def sent(cluster: Cluster, writes: int) -> None:
    """Wait until so many writes of the index were recorded."""
    async with asyncio.timeout(30):
        while True:
            newest = await cluster.store.newest_intent(UID)
            if newest is not None and newest.n >= writes:
                return
            await asyncio.sleep(0.002)


@pytest.mark.parametrize("replicas", [1, 2])
async def test_an_import_killed_at_any_moment_resumes_to_exact_counts(tmp_path: Path, replicas: int) -> None:
    chance = random.Random(replicas)
    found = numbered(3000)
    source = write_ndjson(tmp_path, [*found[:1500], {"no": "key"}, *found[1500:]])
    with world_of(tmp_path, nodes=3, shards=6, replicas=replicas) as world:
        async with world.cluster() as cluster:
            await create(cluster)
            for writes in (1, 6):
                process = await start(world, source)
                await sent(cluster, writes)
                await asyncio.sleep(chance.random() * 0.03)
                process.kill()
                await process.communicate()
                assert process.returncode == -signal.SIGKILL
            process = await start(world, source)
            out, err = await process.communicate()
            assert process.returncode == 3, err.decode()
            summary = json.loads(out)
            await check(cluster, found)
    assert (summary["documents"], summary["rejected"], summary["resumed"]) == (3000, 1, True)
    assert "stale" not in summary


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_the_import_with_its_status_and_how_to_go_on(
    tmp_path: Path, number: signal.Signals
) -> None:
    found = numbered(2000)
    source = write_ndjson(tmp_path, found)
    with world_of(tmp_path, nodes=2, shards=4, replicas=1) as world:
        async with world.cluster() as cluster:
            await create(cluster)
            process = await start(world, source)
            await sent(cluster, 2)
            process.send_signal(number)
            out, err = await process.communicate()
            assert process.returncode == 128 + number
            assert json.loads(out)["error"]["code"] == "miroir_interrupted"
            assert "run the same command again" in err.decode()
            process = await start(world, source)
            out, err = await process.communicate()
            assert process.returncode == 0, err.decode()
            await check(cluster, found)
    assert json.loads(out)["documents"] == 2000


async def test_standard_input_is_imported_and_an_interruption_does_not_wait_for_it(tmp_path: Path) -> None:
    found = numbered(500)
    with world_of(tmp_path, nodes=2, shards=4, replicas=1) as world:
        async with world.cluster() as cluster:
            await create(cluster)
            process = await start(world, "-")
            out, err = await process.communicate(as_ndjson(found))
            assert process.returncode == 0, err.decode()
            await check(cluster, found)
            assert json.loads(out)["documents"] == 500

            process = await start(world, "-")
            assert process.stdin is not None and process.stderr is not None
            process.stdin.write(as_ndjson(numbered(5000)))
            await process.stdin.drain()
            newest = await cluster.store.newest_intent(UID)
            assert newest is not None
            await sent(cluster, newest.n + 1)
            process.send_signal(signal.SIGINT)
            error = await process.stderr.read()
            assert await process.wait() == 130
            assert "standard input cannot be resumed" in error.decode()


async def test_named_pipes_and_standard_input_are_imported_beside_files(tmp_path: Path) -> None:
    """Each is opened once, looked at and read on: nothing of what the look has taken is lost."""
    found = numbered(800)
    pipes = [tmp_path / "one.pipe", tmp_path / "two.pipe"]
    for pipe in pipes:
        os.mkfifo(pipe)
    with world_of(tmp_path, nodes=2, shards=4, replicas=1) as world:
        async with world.cluster() as cluster:
            await create(cluster)
            source = write_ndjson(tmp_path, found[:200])
            process = await start(world, str(pipes[0]), source, "-", str(pipes[1]))
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.to_thread(pipes[0].write_bytes, as_ndjson(found[200:400])))
                group.create_task(asyncio.to_thread(pipes[1].write_bytes, gzip.compress(as_ndjson(found[600:]))))
                out, err = await process.communicate(as_ndjson(found[400:600]))
            assert process.returncode == 0, err.decode()
            assert json.loads(out)["documents"] == 800
            await check(cluster, found)


async def test_an_import_from_a_pipe_ends_when_told_and_says_that_it_cannot_be_resumed(tmp_path: Path) -> None:
    pipe = tmp_path / "documents.pipe"
    os.mkfifo(pipe)
    with world_of(tmp_path, nodes=2, shards=4, replicas=1) as world:
        async with world.cluster() as cluster:
            await create(cluster)
            process = await start(world, str(pipe))
            await asyncio.sleep(1.0)
            process.send_signal(signal.SIGINT)  # nobody writes yet
            await process.communicate()
            assert process.returncode == 130
            process = await start(world, str(pipe))
            writer = await asyncio.to_thread(pipe.open, "wb")
            with writer:
                await asyncio.to_thread(writer.write, as_ndjson(numbered(10_000)))
                await sent(cluster, 1)
                process.send_signal(signal.SIGINT)
                _, err = await process.communicate()
            assert process.returncode == 130
            assert f"{pipe} cannot be resumed: send all of it again" in err.decode()
            again = await start(world, str(pipe), str(pipe))
            _, err = await again.communicate()
            assert again.returncode == 2
            assert f"`{pipe}` can be read once only" in err.decode()
