"""How long a move holds up those who write: only for the last keys of a switch, whatever else slows the run down."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from miroir_cli.cluster import Cluster, Patience
from miroir_cli.migration.repair import repair
from miroir_cli.migration.run import RunOptions
from miroir_cli.model import Index, ReplicaState, ShardId
from miroir_cli.replication.settle import settle_until
from miroir_cli.replication.write import write
from tests.faults.world import N2, UID, Ledger, World, addition, check, create, stale, world_of

CALM = Patience(grace=0.15)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with world_of(tmp_path, nodes=2, shards=1, replicas=2) as found:
        yield found


async def write_named(cluster: Cluster, index: Index, documents: dict[str, int], ledger: Ledger) -> float:
    """A write that names its keys, as an import's batch does; the seconds until it was taken."""
    began = time.monotonic()
    ledger.begun(documents)
    keys = [*documents]
    written = await write(cluster, index, replace(addition(index, documents), keys=lambda shard: keys))
    taken = time.monotonic() - began
    await settle_until(cluster, index, written.n)
    ledger.acknowledged(documents)
    return taken


async def test_a_slow_rate_does_not_hold_up_writers(world: World) -> None:
    ledger, waited, keys = Ledger(), [0.0], [f"book{number}" for number in range(60)]
    async with world.cluster(patience=CALM, lock_timeout=30.0) as writing, world.cluster(patience=CALM) as mending:
        index = await create(writing, UID)
        await write_named(writing, index, dict.fromkeys(keys, 0), ledger)
        await writing.store.mark(UID, {N2: [ShardId(0)]}, state=ReplicaState.STALE)
        mended = asyncio.create_task(repair(mending, options=RunOptions(rate=10)))
        value = 0
        while not mended.done():
            value += 1
            waited.append(await write_named(writing, index, dict.fromkeys(keys, value), ledger))
            await asyncio.sleep(0.1)
        outcome = await mended
        assert outcome.result is not None and not outcome.result.unfinished
        assert stale(await check(writing, index, ledger)) == set()
    assert max(waited) < 4, f"a write waited for {max(waited):.1f} s"
