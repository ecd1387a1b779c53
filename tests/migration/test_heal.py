"""A node that comes back is caught up with while something else goes on."""

from __future__ import annotations

from pathlib import Path

from miroir_cli.migration.heal import healing, out_of_sync
from miroir_cli.migration.rebalance import Outcome
from tests.faults.world import N2, Ledger, check, create, eventually, keys_of_every_shard, put, stale, world_of


async def test_a_node_that_missed_writes_is_mended_as_soon_as_it_answers(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=2) as world:
        async with world.cluster() as cluster:
            index, ledger, told = await create(cluster), Ledger(), list[Outcome]()
            async with healing(cluster, index.uid, every=0.1, told=told.append):
                world.engine(2).stop()
                await put(cluster, index, dict.fromkeys(keys_of_every_shard(index), 1), ledger)
                assert set(await out_of_sync(cluster, index.uid)) == {N2}
                world.engine(2).start()

                async def mended() -> bool:
                    return not await out_of_sync(cluster, index.uid)

                await eventually(mended)
                await put(cluster, index, dict.fromkeys(keys_of_every_shard(index), 2), ledger)
            assert not stale(await check(cluster, index, ledger))
            assert len(told) == 1


async def test_what_is_stale_when_the_work_ends_is_mended_before_it_returns(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=2) as world:
        async with world.cluster() as cluster:
            index, ledger = await create(cluster), Ledger()
            async with healing(cluster, index.uid, every=3600.0):
                world.engine(2).stop()
                await put(cluster, index, dict.fromkeys(keys_of_every_shard(index), 1), ledger)
                world.engine(2).start()
            assert not stale(await check(cluster, index, ledger))


async def test_a_node_that_stays_away_holds_nobody_up(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=2) as world:
        async with world.cluster() as cluster:
            index, ledger = await create(cluster), Ledger()
            async with healing(cluster, index.uid, every=0.05):
                world.engine(2).stop()
                await put(cluster, index, dict.fromkeys(keys_of_every_shard(index), 1), ledger)
            assert stale(await check(cluster, index, ledger)) == {N2}
