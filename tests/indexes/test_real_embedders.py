"""Embedders that go again, on real servers: the embedded node has none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from miroir_cli.cluster import Cluster
from miroir_cli.indexes.configure import change_settings
from miroir_cli.migration.repair import mend_settings, repair
from miroir_cli.migration.verify import VerifyOptions, verify
from miroir_cli.model import ReplicaState, StoredUid
from miroir_cli.node.answers import Accepted
from tests.faults.servers import LIVE, PATIENCE, servers_of
from tests.faults.world import N1, N2, UID, create

pytestmark = LIVE

ONE = {"source": "userProvided", "dimensions": 3}
REST = {
    "source": "rest",
    "url": "http://127.0.0.1:9",
    "dimensions": 3,
    "response": "{{embedding}}",
    "request": "{{text}}",
}


async def embedders(cluster: Cluster) -> list[dict[str, Any]]:
    """Those of each node."""
    return [(await client.settings(StoredUid(UID))).get("embedders", {}) for client in cluster.fleet.clients.values()]


async def names(cluster: Cluster) -> list[list[str]]:
    return [sorted(found) for found in await embedders(cluster)]


async def test_an_embedder_that_is_taken_away_leaves_every_node(tmp_path: Path) -> None:
    with servers_of(tmp_path) as (world, _):
        async with world.cluster(patience=PATIENCE) as cluster:
            await create(cluster)
            await change_settings(cluster, UID, {"embedders": {"a": ONE, "b": ONE, "c": REST}})
            assert await names(cluster) == [["a", "b", "c"]] * 2
            await change_settings(cluster, UID, {"embedders": {"a": None}})
            assert await names(cluster) == [["b", "c"]] * 2
            await change_settings(cluster, UID, {"embedders": {"c": {"documentTemplate": "{{doc.k}}"}}})
            assert [found["c"]["documentTemplate"] for found in await embedders(cluster)] == ["{{doc.k}}"] * 2
            await change_settings(cluster, UID, {"embedders": {"c": {"documentTemplate": None}}})
            shown = await embedders(cluster)
            assert all(found["c"]["url"] == REST["url"] for found in shown)
            assert all("{{doc.k}}" not in str(found["c"]) for found in shown)
            await change_settings(cluster, UID, {"embedders": {"b": None, "c": None}})
            assert await names(cluster) == [[], []]
            await change_settings(cluster, UID, {"embedders": {"b": ONE}})
            await change_settings(cluster, UID, {"embedders": None})
            assert await names(cluster) == [[], []]


async def test_an_embedder_that_only_one_node_has_is_found_and_taken_away(tmp_path: Path) -> None:
    with servers_of(tmp_path) as (world, _):
        async with world.cluster(patience=PATIENCE) as cluster:
            await create(cluster)
            await change_settings(cluster, UID, {"embedders": {"a": ONE}})
            client = cluster.fleet[N2]
            body = b'{"embedders": {"b": {"source": "userProvided", "dimensions": 3}}}'
            answer = await client.write("PATCH", f"indexes/{UID}/settings", content=body)
            assert isinstance(answer, Accepted)
            await client.wait_task(answer.task)
            await cluster.store.account(
                (await cluster.map(UID)).index, N2, [answer.task]
            )  # else it makes the replicas stale
            found = await verify(cluster)
            assert found.settings == {UID: {N2: ("embedders",)}}
            await mend_settings(cluster, found)
            assert await names(cluster) == [["a"], ["a"]]
            assert (await verify(cluster, options=VerifyOptions(restart=True))).clean


async def test_a_stale_node_loses_the_embedder_when_it_is_mended(tmp_path: Path) -> None:
    with servers_of(tmp_path) as (world, _):
        async with world.cluster(patience=PATIENCE) as cluster:
            await create(cluster)
            await change_settings(cluster, UID, {"embedders": {"a": ONE, "b": ONE}})
            everything = set((await cluster.reload(UID)).in_sync())
            await cluster.store.mark(UID, {N2: everything}, state=ReplicaState.STALE)
            await change_settings(cluster, UID, {"embedders": {"b": None}})
            assert await names(cluster) == [["a"], ["a", "b"]]
            await repair(cluster)
            assert await names(cluster) == [["a"], ["a"]]
            assert set((await cluster.reload(UID)).in_sync().values()) == {(N1, N2)}
