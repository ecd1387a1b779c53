"""`search` over embedded nodes that fail, are late, lag behind, or change hands in the middle of a query."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from miroir_cli.cluster import Cluster
from miroir_cli.dev.engine.testing import Engine, running_engine
from miroir_cli.documents.route import shard_of
from miroir_cli.errors import IndexNotFound, NodeRefusal, ReservedField, ShardUnavailable, UsageError
from miroir_cli.indexes.configure import change_settings
from miroir_cli.model import NodeName, ReplicaState, ShardId, StoredUid
from miroir_cli.node.client import NodeClient
from miroir_cli.search.explain import explain
from miroir_cli.search.reading import SearchOptions
from miroir_cli.search.scatter import search
from tests.oracle.world import UID, world

SETTINGS = {"filterableAttributes": ["genre"], "sortableAttributes": ["pages"]}
DOCUMENTS = [{"id": key, "title": f"sea {key}", "genre": "ab"[key % 2], "pages": key % 7} for key in range(60)]
ALL_IDS = list(range(60))
N1, N2, N3 = NodeName("n1"), NodeName("n2"), NodeName("n3")


@dataclass(frozen=True, kw_only=True)
class Nodes:
    """Three nodes of a cluster, and one that has all documents."""

    cluster: Cluster
    single: NodeClient
    engines: dict[NodeName, Engine]


@asynccontextmanager
async def three_nodes(folder: Path, *, replicas: int) -> AsyncIterator[Nodes]:
    with ExitStack() as stack:
        engines = [stack.enter_context(running_engine(folder / f"disk{number}")) for number in range(4)]
        urls = [engine.url for engine in engines]
        async with world(folder / "home", urls, documents=DOCUMENTS, settings=SETTINGS, replicas=replicas) as made:
            yield Nodes(
                cluster=made.cluster, single=made.single, engines=dict(zip((N1, N2, N3), engines[1:], strict=True))
            )


async def ids(cluster: Cluster, **request: Any) -> list[int]:
    body = await search(cluster, UID, {"limit": 100, **request}, options=SearchOptions(late_after=0.3))
    assert body["estimatedTotalHits"] == len(body["hits"])
    assert "partial" not in body
    return [hit["id"] for hit in body["hits"]]


async def test_queries_take_turns_over_the_nodes_and_say_the_same(tmp_path: Path) -> None:
    async with three_nodes(tmp_path, replicas=2) as nodes:
        for _ in range(4):
            assert await ids(nodes.cluster) == ALL_IDS
        expected = await nodes.single.search(StoredUid(UID), {"q": "sea", "sort": ["pages:desc"], "facets": ["genre"]})
        found = await search(nodes.cluster, UID, {"q": "sea", "sort": ["pages:desc"], "facets": ["genre"]})
        assert list(found) == list(expected)
        assert {**found, "processingTimeMs": 0, "requestUid": 0} == {**expected, "processingTimeMs": 0, "requestUid": 0}


@pytest.mark.parametrize("fault", [{"kind": "refuse", "status": 503}, {"kind": "drop_before", "count": 2}])
async def test_a_node_that_fails_is_replaced_within_the_query(tmp_path: Path, fault: dict[str, Any]) -> None:
    async with three_nodes(tmp_path, replicas=2) as nodes:
        for engine in nodes.engines.values():
            armed = engine.faults.add(**{"path": "/search", **fault})
            while not armed.spent():
                assert await ids(nodes.cluster) == ALL_IDS


async def test_a_node_that_is_down_is_replaced(tmp_path: Path) -> None:
    async with three_nodes(tmp_path, replicas=2) as nodes:
        nodes.engines[N2].stop()
        for _ in range(3):
            assert await ids(nodes.cluster) == ALL_IDS


async def test_a_late_node_is_not_waited_for(tmp_path: Path) -> None:
    async with three_nodes(tmp_path, replicas=2) as nodes:
        nodes.engines[N1].faults.add("delay", path="/search", seconds=15.0, count=None)
        begin = time.monotonic()
        for _ in range(3):
            assert await ids(nodes.cluster) == ALL_IDS
        assert time.monotonic() - begin < 14.0


async def test_a_node_that_lost_its_index_or_its_settings_is_replaced(tmp_path: Path) -> None:
    async with three_nodes(tmp_path, replicas=2) as nodes:
        client = nodes.cluster.fleet[N1]
        task = await client.write("DELETE", f"indexes/{UID}/settings/filterable-attributes")
        await client.wait_task(task.task)  # type: ignore[union-attr]
        for _ in range(3):
            assert await ids(nodes.cluster) == ALL_IDS
        nodes.engines[N1].wipe()
        for _ in range(3):
            assert await ids(nodes.cluster) == ALL_IDS


async def test_a_shard_that_nobody_answers_for_is_an_error_that_names_it(tmp_path: Path) -> None:
    async with three_nodes(tmp_path, replicas=1) as nodes:
        lost = (await nodes.cluster.map(UID)).in_sync()
        missing = [shard for shard, holders in lost.items() if holders == (N3,)]
        nodes.engines[N3].stop()
        with pytest.raises(ShardUnavailable) as raised:
            await search(nodes.cluster, UID, {})
        assert f"shards {', '.join(map(str, missing))} (node `n3`" in raised.value.message

        body = await search(nodes.cluster, UID, {"limit": 100}, options=SearchOptions(partial="allow"))
        assert body["partial"] is True
        assert body["missingShards"] == missing
        assert 0 < body["estimatedTotalHits"] == len(body["hits"]) < 60


async def test_with_nobody_at_all_even_a_partial_answer_is_an_error(tmp_path: Path) -> None:
    async with three_nodes(tmp_path, replicas=1) as nodes:
        for engine in nodes.engines.values():
            engine.stop()
        with pytest.raises(ShardUnavailable):
            await search(nodes.cluster, UID, {}, options=SearchOptions(partial="allow"))


WRONG_REQUESTS: list[dict[str, Any]] = [
    {"filter": "colour = red"},
    {"filter": "genre = "},
    {"filter": ["genre = a", 5]},
    {"sort": ["title:asc"]},
    {"facets": ["title"]},
    {"limit": -1},
    {"attributesToRetrieve": "title"},
    {"matchingStrategy": "some"},
    {"unknown": 1},
]


async def test_a_wrong_request_gets_the_words_of_one_node(tmp_path: Path) -> None:
    async with three_nodes(tmp_path, replicas=1) as nodes:
        for request in WRONG_REQUESTS:
            with pytest.raises(NodeRefusal) as single:
                await nodes.single.search(StoredUid(UID), request)
            with pytest.raises(NodeRefusal) as cluster:
                await search(nodes.cluster, UID, request)
            assert cluster.value.message == single.value.message
            assert (cluster.value.status, cluster.value.node_code) == (single.value.status, single.value.node_code)


async def test_an_answer_from_a_replica_that_fell_behind_meanwhile_is_asked_again(tmp_path: Path) -> None:
    async with three_nodes(tmp_path, replicas=2) as nodes:
        cached = await nodes.cluster.map(UID)
        behind = frozenset(shard for shard, holders in cached.in_sync().items() if N1 in holders)
        await nodes.cluster.store.mark(UID, {N1: behind}, state=ReplicaState.STALE)
        client = nodes.cluster.fleet[N1]
        task = await client.write("DELETE", f"indexes/{UID}/documents")
        await client.wait_task(task.task)  # type: ignore[union-attr]
        for _ in range(3):
            assert await ids(nodes.cluster) == ALL_IDS
        asks = (await explain(nodes.cluster, UID, {})).asks
        assert N1 not in {ask.node for ask in asks}


async def test_counts_below_a_score_are_those_of_one_node(tmp_path: Path) -> None:
    async with three_nodes(tmp_path, replicas=1) as nodes:
        for limit in (0, 1, 20, 100):
            request = {"q": "sea 3", "rankingScoreThreshold": 0.9, "limit": limit}
            expected = await nodes.single.search(StoredUid(UID), request)
            found = await search(nodes.cluster, UID, request)
            assert found["estimatedTotalHits"] == expected["estimatedTotalHits"], limit


async def test_what_cannot_be_asked_is_refused_before_any_node_is(tmp_path: Path) -> None:
    async with three_nodes(tmp_path, replicas=1) as nodes:
        for engine in nodes.engines.values():
            engine.stop()
        with pytest.raises(ReservedField):
            await search(nodes.cluster, UID, {"filter": "_miroir_shard EXISTS"})
        with pytest.raises(UsageError, match="media"):
            await search(nodes.cluster, UID, {"media": {"image": "x"}})
        with pytest.raises(IndexNotFound):
            await search(nodes.cluster, "nothing", {})


async def test_a_filter_that_names_keys_asks_fewer_nodes(tmp_path: Path) -> None:
    async with three_nodes(tmp_path, replicas=1) as nodes:
        settings = {"filterableAttributes": ["id", "genre"]}
        await change_settings(nodes.cluster, UID, settings)
        shard = shard_of("17", 8)
        found = await explain(nodes.cluster, UID, {"filter": "id = 17 AND genre = b"})
        assert (found.narrowed, [ask.shards for ask in found.asks]) == ((shard,), [(shard,)])
        assert {idle.reason for idle in found.idle} == {
            "it has none of the shards of the primary keys that the filter names"
        }
        asked = found.asks[0].node
        for name, engine in nodes.engines.items():
            if name != asked:
                engine.stop()
        body = await search(nodes.cluster, UID, {"filter": ["id = 17", "genre = b"]})
        assert [hit["id"] for hit in body["hits"]] == [17]
        with pytest.raises(ShardUnavailable):
            await search(nodes.cluster, UID, {"filter": "id = 17 OR genre = c"})
        with pytest.raises(ShardUnavailable):  # which facets there are is for all nodes to say
            await search(nodes.cluster, UID, {"filter": "id = 17", "facets": ["genre"]})


async def test_explain_names_who_is_asked_and_who_is_not(tmp_path: Path) -> None:
    async with three_nodes(tmp_path, replicas=2) as nodes:
        found = await explain(nodes.cluster, UID, {"q": "sea", "limit": 5})
        assert sorted(shard for ask in found.asks for shard in ask.shards) == [ShardId(shard) for shard in range(8)]
        assert len(found.asks) == 2
        assert [idle.reason for idle in found.idle] == ["the others have all shards already; fewer nodes answer sooner"]
        assert (found.hits_per_node, found.missing, found.group) == (5, (), "main")
