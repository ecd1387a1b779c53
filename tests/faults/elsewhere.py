"""One world in which commands are cut off on another host and given again here.

Nobody here can tell that a holder of leases there is dead, so that they have to run out. They last 10 s as a rule,
which most of these tests do not wait for: theirs last 2 s, and the time in which somebody must go on is 8 s shorter.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from miroir_cli.cluster import Cluster
from miroir_cli.errors import Locked
from miroir_cli.migration.verify import VerifyOptions, verify
from tests.faults.world import UID, Ledger, World, check, create, keys_of_every_shard, put, world_of

LOG = logging.getLogger(__name__)

USUAL, SHORT = 10.0, 2.0
"""Seconds that a lease lasts: as a rule, and here."""

LIMIT = 15.0
"""Seconds after which another process must have gone on, where leases last as long as usual."""

BUSY = 15.0
"""Seconds more that a machine may take which does other things as well; what was taken is logged."""

LEASES = "lease_renewal = {renewal}\nlease_expiry = {expiry}\n\n[[nodes]]"


@dataclass(kw_only=True)
class Scene:
    """One world, in which commands die elsewhere and are given again here."""

    world: World
    cluster: Cluster
    ledger: Ledger
    value: int = 0

    async def write(self) -> None:
        """Any later write."""
        self.value += 1
        index = (await self.cluster.reload(UID)).index
        assert await put(self.cluster, index, {"k0": self.value}, self.ledger) is not None

    async def correct(self) -> None:
        index = (await self.cluster.reload(UID)).index
        await check(self.cluster, index, self.ledger)


@asynccontextmanager
async def scene(
    folder: Path, *, nodes: int = 2, expiry: float = SHORT, shards: int = 2, replicas: int = 2
) -> AsyncIterator[Scene]:
    with world_of(folder, nodes=nodes, shards=shards, replicas=replicas) as world:
        shorten_leases(world, expiry=expiry)
        async with world.cluster(lock_timeout=60) as cluster:
            index, ledger = await create(cluster), Ledger()
            await put(cluster, index, dict.fromkeys(keys_of_every_shard(index, each=3), 0), ledger)
            yield Scene(world=world, cluster=cluster, ledger=ledger)


def shorten_leases(world: World, *, expiry: float = SHORT) -> None:
    text = world.path.read_text()
    world.path.write_text(text.replace("[[nodes]]", LEASES.format(expiry=expiry, renewal=0.3 * expiry), 1))


async def held_elsewhere(cluster: Cluster) -> set[str]:
    found = await cluster.locks.held()
    return {lock.name for lock in found if lock.owner is not None and lock.owner.host == "elsewhere"}


async def again(command: Callable[[], Awaitable[object]]) -> None:
    """Give a command until nobody is believed to be at work."""
    while True:
        try:
            await command()
            return
        except Locked as locked:
            assert "on host `elsewhere`" in locked.message
        await asyncio.sleep(0.2)


@contextmanager
def in_time(what: str, *, expiry: float = SHORT) -> Iterator[None]:
    began = time.monotonic()
    yield
    took = time.monotonic() - began
    LOG.warning("%s: gone on with after %.1f s", what, took)
    assert took < LIMIT - (USUAL - expiry) + BUSY, what


async def verify_again(at: Scene) -> None:
    assert (await verify(at.cluster, options=VerifyOptions(restart=True))).clean
