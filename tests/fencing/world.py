"""Clusters whose state is in Redis and whose nodes have a master key: what is written there goes under slots."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from miroir_cli.cluster import Cluster
from miroir_cli.model import NodeName
from miroir_cli.store.redis.slots import read_slots
from miroir_cli.store.redis.store import RedisStore
from miroir_cli.store.slots import KEY_PREFIX, Slot
from tests.faults.servers import LIVE, servers_of
from tests.faults.world import HURRIED, World, world_of
from tests.fencing.relay import Relay, relay_to

MASTER = "a-master-key-for-tests"

CALM = replace(HURRIED, write=20.0, answer=10.0, silence=20.0, lag=60.0)
"""A node that is busy is no doubt: who is in doubt takes another slot."""

QUICK = "lease_renewal = 0.5\nlease_expiry = 3.0\n"
"""Leases that run out while a test waits."""


@contextmanager
def guarded_world(folder: Path, *, quick: bool = False, **options: Any) -> Iterator[World]:
    """Embedded nodes with a master key."""
    with world_of(folder, **{"master_key": MASTER, **options}) as world:
        if quick:
            hasten(world)
        yield world


@contextmanager
def guarded_servers(folder: Path, *, quick: bool = False, **options: Any) -> Iterator[World]:
    """The same with real servers."""
    with servers_of(folder, **{"master_key": MASTER, **options}) as (world, _):
        if quick:
            hasten(world)
        yield world


Kinds = Callable[..., AbstractContextManager[World]]

KINDS = (
    pytest.param(guarded_world, id="embedded"),
    pytest.param(guarded_servers, id="real", marks=LIVE),
)
"""What makes the world of a test that runs on both."""


@asynccontextmanager
async def slow_wire(world: World, node: NodeName) -> AsyncIterator[Relay]:
    """Have everything for a node go over a wire on which it can be held back."""
    url = next(each.url for each in world.topology.nodes if each.name == node)
    async with relay_to(url) as relay:
        world.path.write_text(world.path.read_text().replace(url, relay.url))
        yield relay


def hasten(world: World) -> None:
    """Let leases run out soon."""
    world.path.write_text(world.path.read_text().replace("[state]\n", f"[state]\n{QUICK}"))


async def slot_keys(cluster: Cluster) -> dict[str, list[str]]:
    """The names of miroir's own keys on each node."""
    found = await cluster.fleet.all(lambda client: client.get("keys", params={"limit": 1000}))
    return {
        str(name): sorted(key["name"] for key in page["results"] if str(key["name"]).startswith(KEY_PREFIX))
        for name, page in found.items()
    }


async def slots_of(cluster: Cluster) -> tuple[Slot, ...]:
    """What is recorded of slots."""
    assert isinstance(cluster.store, RedisStore)
    return await cluster.store.access.read(read_slots)
