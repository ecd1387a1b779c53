"""An index may be made before anybody knows its primary key."""

from __future__ import annotations

from pathlib import Path

import pytest

from miroir_cli.cluster import Cluster
from miroir_cli.errors import PrimaryKeyFixed, TemporaryError, UsageError
from miroir_cli.indexes.catalog import create_index, plan_index
from miroir_cli.indexes.configure import change_settings, get_settings
from miroir_cli.indexes.primary_key import set_primary_key
from miroir_cli.migration.verify import verify
from miroir_cli.model import Index, StoredUid
from miroir_cli.search.scatter import search
from tests.faults.moving import check_finished, run
from tests.faults.process import Mortuary
from tests.faults.world import UID, Ledger, check, keys_of_every_shard, put, stale, world_of


async def keyless(cluster: Cluster) -> Index:
    return (await create_index(cluster, await plan_index(cluster, UID, primary_key=None))).index


async def on_nodes(cluster: Cluster) -> set[tuple[object, str]]:
    """The primary key and the last ranking rule of every node."""
    return {
        (
            (await client.index(StoredUid(UID)))["primaryKey"],
            (await client.settings(StoredUid(UID)))["rankingRules"][-1],
        )
        for client in cluster.fleet.clients.values()
    }


async def test_an_index_without_a_key_is_there_keeps_settings_and_gets_its_key_later(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=3) as world:
        async with world.cluster() as cluster:
            index = await keyless(cluster)
            assert index.primary_key == "" and (await search(cluster, UID, {"q": "x"}))["hits"] == []
            await change_settings(cluster, UID, {"stopWords": ["the"], "displayedAttributes": ["value"]})
            assert {key for key, _ in await on_nodes(cluster)} == {None}
            named = await set_primary_key(cluster, UID, "id")
            assert named.primary_key == "id" and named.incarnation == index.incarnation
            assert await on_nodes(cluster) == {("id", "id:asc")}
            shown = await get_settings(cluster, UID)
            assert shown["stopWords"] == ["the"] and shown["displayedAttributes"] == ["value"]
            ledger = Ledger()
            await put(cluster, named, dict.fromkeys(keys_of_every_shard(named), "x"), ledger)
            await check(cluster, named, ledger)
        async with world.cluster() as cluster:
            assert (await cluster.reload(UID)).index.primary_key == "id"


async def test_a_key_changes_only_while_there_is_no_document(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            await keyless(cluster)
            await set_primary_key(cluster, UID, "sku")
            index = await set_primary_key(cluster, UID, "id")
            assert await on_nodes(cluster) == {("id", "id:asc")}
            await put(cluster, index, {"k1": "x"}, Ledger())
            with pytest.raises(PrimaryKeyFixed, match="already has a primary key: `id`"):
                await set_primary_key(cluster, UID, "sku")
            assert await on_nodes(cluster) == {("id", "id:asc")}
            assert (await set_primary_key(cluster, UID, "id")) == index
            for name in ("", "_miroir_shard", "a.b"):
                with pytest.raises(UsageError):
                    await set_primary_key(cluster, UID, name)


@pytest.mark.parametrize(
    "point",
    [
        f"{when}:{what}"
        for when in ("before", "after")
        for what in (
            "open_intent",
            "close_intent",
            "settle_intents",
            "open_intent*2",
            "close_intent*2",
            "settle_intents*2",
        )
    ],
)
async def test_who_dies_while_naming_the_key_leaves_nothing_half_named(tmp_path: Path, point: str) -> None:
    with world_of(tmp_path) as world, Mortuary(world.path) as mortuary:
        async with world.cluster() as cluster:
            await keyless(cluster)
        await mortuary.die("key", point)
        async with world.cluster() as cluster:
            assert (await cluster.reload(UID)).index.primary_key in ("", "id")
            index, ledger = await set_primary_key(cluster, UID, "id"), Ledger()
            assert await on_nodes(cluster) == {("id", "id:asc")}
            await put(cluster, index, dict.fromkeys(keys_of_every_shard(index), "x"), ledger)
            assert stale(await check(cluster, index, ledger)) == set()


async def test_a_keyless_index_moves_and_is_compared_like_others(tmp_path: Path) -> None:
    with world_of(tmp_path, spare=1) as world:
        async with world.cluster() as cluster:
            await keyless(cluster)
            assert (await verify(cluster)).clean
        world.add(3)
        async with world.cluster() as cluster:
            await run(cluster)
            assert "n3" in (await cluster.reload(UID)).nodes()
            index, ledger = await set_primary_key(cluster, UID, "id"), Ledger()
            await put(cluster, index, dict.fromkeys(keys_of_every_shard(index), "x"), ledger)
            await check_finished(world, cluster, index, ledger)


async def test_who_placed_documents_by_the_key_before_writes_nothing(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            await keyless(cluster)
            before = await set_primary_key(cluster, UID, "id")
            await set_primary_key(cluster, UID, "sku")
            with pytest.raises(TemporaryError, match="was changed meanwhile"):
                await put(cluster, before, {"k1": "x"}, Ledger())
            assert (await search(cluster, UID, {}))["hits"] == []
