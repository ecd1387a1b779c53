"""Losing what this host knows of a cluster, and getting it back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from miroir_cli.cluster import Cluster, open_site
from miroir_cli.model import IndexMap, NodeName, StoredUid
from miroir_cli.replication.rebuild import Recovery, recover_state
from tests.backends import lose_state
from tests.faults.world import HURRIED, UID, Ledger, World, create, eventually, keys_of_every_shard, put


def state_file(world: World) -> Path:
    return world.path.parent / ".miroir" / "state.db"


def lose(world: World) -> None:
    """Everything that this host knows, or Redis."""
    lose_state(world.path.parent)


async def recover(world: World, *accept_loss: str, **options: Any) -> Recovery:
    async with open_site(world.topology, command="state recover", lock_timeout=0.3, patience=HURRIED) as site:
        return await recover_state(site, accept_loss=accept_loss, **options)


def serving(map: IndexMap) -> dict[int, tuple[str, ...]]:
    return {int(shard): tuple(str(name) for name in names) for shard, names in map.in_sync().items()}


def kept(world: World) -> list[Path]:
    """The old files that were set aside."""
    return sorted(state_file(world).parent.glob("state.db.*.old"))


async def with_writes(world: World, *, writes: int = 3, **options: Any) -> tuple[Ledger, list[str]]:
    """An index with some acknowledged writes; what was told, and the keys."""
    async with world.cluster() as cluster:
        index, ledger = await create(cluster, **options), Ledger()
        keys = keys_of_every_shard(index)
        for value in range(writes):
            await put(cluster, index, dict.fromkeys(keys, value), ledger)
    return ledger, keys


async def told(cluster: Cluster, name: NodeName, epoch: int) -> None:
    """Wait until a node has the copy of an epoch."""

    async def arrived() -> bool:
        return int((await cluster.fleet[name].get_document(StoredUid("_miroir"), f"index-{UID}"))["epoch"]) >= epoch

    await eventually(arrived)
