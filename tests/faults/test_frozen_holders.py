"""A holder of leases that was frozen, and for which somebody else has gone on, is refused at its next step."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from miroir_cli.documents.load import ImportOptions, import_documents
from miroir_cli.migration.verify import VerifyOptions, verify
from miroir_cli.store.processes import is_stopped
from tests.backends import state_at
from tests.documents.test_import import write_ndjson
from tests.faults.elsewhere import (
    Scene,
    again,
    in_time,
    scene,
    verify_again,
)
from tests.faults.moving import CHANGE, run
from tests.faults.process import start
from tests.faults.world import (
    UID,
    check,
    create,
    eventually,
    keys_of_every_shard,
)
from tests.store.redis_server import RedisServer


@pytest.fixture(autouse=True)
def redis(redis_server: RedisServer) -> Iterator[RedisServer]:
    redis_server.empty()
    with state_at(redis_server.url):
        yield redis_server


FROZEN = {
    "write": ("before:close_intent", "after:open_intent", "before:n2/documents"),
    "settings": ("before:open_intent",),
    "rebalance": ("before:join", "before:switch"),
    "verify": ("before:save_run",),
    "swap": ("before:rename",),
    "import": ("before:open_intent",),
}


@pytest.mark.parametrize(("verb", "point"), [(verb, point) for verb, points in FROZEN.items() for point in points])
async def test_a_holder_that_was_frozen_is_refused_at_its_next_step(tmp_path: Path, verb: str, point: str) -> None:
    async with scene(tmp_path, nodes=3, shards=1, replicas=1) as at:
        (source,) = (await at.cluster.reload(UID)).nodes()
        if verb == "rebalance":
            at.world.drain(int(source.removeprefix("n")))
        place = point.replace("n2", source)
        documents = dict.fromkeys(keys_of_every_shard((await at.cluster.map(UID)).index), 100)
        if verb == "write":
            at.ledger.begun(documents)
        if verb == "swap":
            await create(at.cluster, "films")
        file = write_ndjson(tmp_path, [{"id": "imported", "value": 5}])
        words = [verb, f"{place}!", *{"write": ["100"], "import": [file]}.get(verb, [])]
        process = start(at.world.path, *words, elsewhere=True, stderr=subprocess.PIPE)
        try:
            await eventually(lambda: stopped(process), timeout=60)
            async with at.world.cluster(lock_timeout=60) as cluster:
                here = Scene(world=at.world, cluster=cluster, ledger=at.ledger)
                with in_time(f"frozen, {verb} {point}"):
                    await here.write()
                    await again(lambda: run(cluster, CHANGE))
                    if verb == "verify":
                        await again(lambda: verify_again(here))
                    if verb == "import":
                        await again(lambda: import_documents(cluster, UID, [file], options=ImportOptions()))
                        at.ledger.values["imported"] = [5]
                tops = {name: await client.top_task() for name, client in cluster.fleet.clients.items()}
                epoch = await cluster.store.epoch()
                process.send_signal(signal.SIGCONT)
                _, said = await asyncio.to_thread(process.communicate, timeout=60)
                assert process.returncode == 1 and "LeaseLost" in said, said
                assert await cluster.store.epoch() == epoch
                assert {name: await client.top_task() for name, client in cluster.fleet.clients.items()} == tops
                await check(cluster, (await cluster.reload(UID)).index, at.ledger)
                assert (await verify(cluster, options=VerifyOptions(restart=True))).clean
        finally:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGCONT)
            process.kill()
            process.communicate()


async def stopped(process: subprocess.Popen[str]) -> bool:
    assert process.poll() is None, process.communicate()
    return is_stopped(process.pid)
