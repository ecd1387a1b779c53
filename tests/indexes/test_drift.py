"""What somebody changed on a node is found and put back; what cannot be, stops writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from miroir_cli.cluster import Cluster, open_cluster
from miroir_cli.errors import IndexFrozen
from miroir_cli.indexes.configure import change_settings
from miroir_cli.indexes.drift import mend_drift, unfreeze
from miroir_cli.model import Node, NodeName, StoredUid
from miroir_cli.replication.settle import settle
from tests.faults.world import HURRIED, N1, N2, UID, Ledger, create, put, stale, world_of


async def meddle(cluster: Cluster, name: NodeName, settings: dict[str, Any]) -> None:
    """Change settings on one node as somebody would who speaks to it directly."""
    client = cluster.fleet[name]
    answer = await client.write("PATCH", f"indexes/{UID}/settings", content=msgspec.json.encode(settings))
    await client.wait_task(answer.task)  # type: ignore[union-attr]


async def found(cluster: Cluster, key: str) -> list[Any]:
    return [(await client.settings(StoredUid(UID)))[key] for client in cluster.fleet.clients.values()]


@pytest.mark.parametrize(
    "change",
    [{"filterableAttributes": []}, {"stopWords": ["a"]}, {"rankingRules": None}, {"searchableAttributes": ["x"]}],
)
async def test_a_change_on_a_node_is_put_back_and_its_replicas_stay(tmp_path: Path, change: dict[str, Any]) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            index = await create(cluster, settings={"stopWords": ["the"]})
            await put(cluster, index, {"k1": "x"}, Ledger())
            key = next(iter(change))
            right = await found(cluster, key)
            await meddle(cluster, N1, change)
            assert await found(cluster, key) != right
            assert await mend_drift(cluster) == {UID: (N1,)}
            assert await found(cluster, key) == right
            await settle(cluster, index)
            assert not stale(await cluster.reload(UID))
            assert await mend_drift(cluster) == {}
            await put(cluster, index, {"k2": "x"}, Ledger())
            assert not stale(await cluster.reload(UID))


async def test_the_keys_of_embedders_survive(tmp_path: Path) -> None:
    settings = {"embedders": {"e": {"source": "userProvided", "dimensions": 2}}}
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            await create(cluster, settings=settings)
            await meddle(
                cluster, N2, {"embedders": {"e": None, "foreign": {"source": "userProvided", "dimensions": 3}}}
            )
            assert await mend_drift(cluster) == {UID: (N2,)}
            assert [set(each) for each in await found(cluster, "embedders")] == [{"e"}, {"e"}]
            assert (await cluster.reload(UID)).index.settings == settings


async def test_versions_advance_with_what_was_read_back(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            await create(cluster)
            assert await cluster.store.settings_versions(UID) == {}
            await change_settings(cluster, UID, {"stopWords": ["the"]})
            first = await cluster.store.settings_versions(UID)
            assert set(first) == {N1, N2} and len(set(first.values())) == 1
            await meddle(cluster, N1, {"stopWords": []})
            await mend_drift(cluster)
            later = await cluster.store.settings_versions(UID)
            assert later[N1] > first[N1] and later[N1] == later[N2]


class Stubborn(httpx.AsyncHTTPTransport):
    """A node that shows other stop words than it was sent, as long as `stubborn` is set."""

    stubborn = True

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        if not (self.stubborn and request.method == "GET" and request.url.path == f"/indexes/{UID}/settings"):
            return response
        shown = msgspec.json.decode(await response.aread())
        return httpx.Response(response.status_code, json={**shown, "stopWords": ["never", "these"]})


@pytest.mark.parametrize("nodes", [1, 2])
async def test_what_all_nodes_spell_in_their_own_way_is_no_difference(tmp_path: Path, nodes: int) -> None:
    with world_of(tmp_path, nodes=nodes, replicas=nodes) as world:
        async with world.cluster() as cluster:
            index = await create(cluster)
        async with open_cluster(world.topology, patience=HURRIED, transport=lambda _: Stubborn()) as cluster:
            await change_settings(cluster, UID, {"stopWords": ["the"]})
            await put(cluster, index, {"k1": "x"}, Ledger())
            await mend_drift(cluster)
            newest = (await cluster.store.pending(UID)).newest
            assert await mend_drift(cluster) == {}
            assert (await cluster.store.pending(UID)).newest == newest


async def test_a_node_that_takes_settings_otherwise_freezes_the_index(tmp_path: Path) -> None:
    node = Stubborn()

    def transport(of: Node) -> httpx.AsyncBaseTransport:
        return node if of.name == N1 else httpx.AsyncHTTPTransport()

    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            index = await create(cluster)
        async with open_cluster(world.topology, patience=HURRIED, transport=transport) as cluster:
            for _ in range(2):
                with pytest.raises(
                    IndexFrozen, match="takes no writes: node `n1` does not take the setting `stopWords`"
                ):
                    await change_settings(cluster, UID, {"stopWords": ["the"]})
            with pytest.raises(IndexFrozen) as frozen:
                await put(cluster, index, {"k1": "x"}, Ledger())
            assert frozen.value.hint == f"run `miroir index unfreeze {UID}`"
            with pytest.raises(IndexFrozen):
                await unfreeze(cluster, UID)
            node.stubborn = False
            await unfreeze(cluster, UID)
            await put(cluster, index, {"k1": "x"}, Ledger())
            await change_settings(cluster, UID, {"stopWords": ["a"]})
