"""Indexes are created on all nodes or on none, and deleted from all of them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from miroir_cli.cluster import Cluster
from miroir_cli.dev.engine.faults import Kind
from miroir_cli.errors import (
    AlreadyExists,
    IndexNotFound,
    MiroirError,
    NodeUnavailable,
    Refused,
    ReservedField,
    SettingsInvalid,
    TopologyInvalid,
    UsageError,
)
from miroir_cli.indexes.catalog import create_index, delete_index, list_indexes, plan_index, show_index
from miroir_cli.indexes.counts import count_documents, index_stats
from miroir_cli.indexes.status import status
from miroir_cli.model import StoredUid
from miroir_cli.node.answers import Accepted
from tests.backends import both_backends
from tests.faults.process import Mortuary
from tests.faults.world import (
    N1,
    N2,
    UID,
    Ledger,
    addition,
    check,
    create,
    keys_of_every_shard,
    put,
    shard_of,
    stale,
    world_of,
)


async def indexes_of(cluster: Cluster) -> dict[str, list[str]]:
    """The user's indexes that each node has."""
    found: dict[str, list[str]] = {}
    for name, client in cluster.fleet.clients.items():
        listed = await client.get("indexes", params={"limit": 1000})
        found[name] = sorted(index["uid"] for index in listed["results"] if index["uid"] != "_miroir")
    return found


async def requests_made(cluster: Cluster) -> dict[str, int]:
    return {name: await client.top_task() for name, client in cluster.fleet.clients.items()}


@both_backends
async def test_a_created_index_is_shown_without_anything_reserved(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=3, shards=6) as world:
        async with world.cluster() as cluster:
            await create(cluster, settings={"filterableAttributes": ["year"]})
            shown = await show_index(cluster, UID)
            assert shown["settings"] == {"filterableAttributes": ["year"]}
            assert (shown["shards"], shown["replicas"], shown["in_sync"], shown["stale"]) == (6, 2, 12, 0)
            assert [index["uid"] for index in await list_indexes(cluster)] == [UID]
            assert "_miroir" not in str(shown)


@pytest.mark.parametrize("uid", ["", "a b", "a/b", "ä", "x" * 401])
async def test_a_uid_that_nodes_refuse_is_refused_first(tmp_path: Path, uid: str) -> None:
    with world_of(tmp_path, nodes=1, replicas=1) as world:
        async with world.cluster() as cluster:
            with pytest.raises(UsageError):
                await plan_index(cluster, uid, primary_key="id")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"primary_key": "_miroir_shard"}, UsageError),
        ({"primary_key": ""}, UsageError),
        ({"primary_key": "id", "shards": 0}, UsageError),
        ({"primary_key": "id", "replicas": 5}, MiroirError),
        ({"primary_key": "id", "settings": {"sortableAttribute": []}}, SettingsInvalid),
        ({"primary_key": "id", "settings": {"filterableAttributes": ["_miroir_shard"]}}, ReservedField),
    ],
)
async def test_what_is_wrong_is_said_before_anything_is_sent(
    tmp_path: Path, options: dict[str, Any], error: type[MiroirError]
) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            with pytest.raises(error):
                await plan_index(cluster, UID, **options)
            assert await requests_made(cluster) == {"n1": -1, "n2": -1}


async def test_a_drained_node_gets_no_part_of_a_new_index(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=3, shards=6) as world:
        async with world.cluster() as cluster:
            first, *others = cluster.topology.nodes
            cluster.topology = replace(cluster.topology, nodes=(replace(first, drained=True), *others))
            planned = await plan_index(cluster, UID, primary_key="id")
            assert {name for names in planned.placement.values() for name in names} == {node.name for node in others}
            with pytest.raises(TopologyInvalid, match=rf"\(`{first.name}` is drained\), too few for 3 replicas"):
                await plan_index(cluster, UID, primary_key="id", replicas=3)


async def test_an_index_knows_whether_its_number_of_replicas_is_its_own(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=3, shards=6) as world:
        async with world.cluster() as cluster:
            own = await plan_index(cluster, UID, primary_key="id", replicas=2)
            follows = await plan_index(cluster, UID, primary_key="id")
            assert (own.index.own_replicas, follows.index.own_replicas) == (True, False)


async def test_an_index_is_created_once(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            await create(cluster)
            with pytest.raises(AlreadyExists, match="exists already"):
                await create(cluster)


@pytest.mark.parametrize("task_type", ["indexCreation", "settingsUpdate"])
async def test_a_node_that_fails_leaves_nothing_on_the_others(tmp_path: Path, task_type: str) -> None:
    with world_of(tmp_path, nodes=3, shards=3) as world:
        async with world.cluster() as cluster:
            world.engine(2).faults.add(Kind.FAIL_TASK, task_type=task_type, path=UID)
            with pytest.raises(MiroirError):
                await create(cluster)
            assert await indexes_of(cluster) == {"n1": [], "n2": [], "n3": []}
            assert await cluster.store.interrupted() == {}
            await create(cluster)


async def test_an_index_that_was_there_before_is_never_touched(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            client = cluster.fleet[N2]
            answer = await client.write("POST", "indexes/books/documents", content=b'{"id": 1, "title": "kept"}')
            assert isinstance(answer, Accepted)
            await client.wait_task(answer.task)
            with pytest.raises(AlreadyExists, match="`n2` already has an index"):
                await create(cluster)
            assert await indexes_of(cluster) == {"n1": [], "n2": [UID]}
            assert (await client.get_document(StoredUid(UID), "1"))["title"] == "kept"


async def test_an_index_created_by_hand_at_the_same_time_is_not_deleted_with_its_documents(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            world.engine(1).faults.add(Kind.FAIL_TASK, task_type="settingsUpdate", path=UID)
            world.engine(2).faults.add(Kind.DELAY, method="POST", path="^/indexes$", seconds=0.5)
            creating = asyncio.create_task(create(cluster))
            await asyncio.sleep(0.3)
            await cluster.fleet[N2].write("POST", "indexes/books/documents", content=b'{"id": 1}')
            with pytest.raises(MiroirError):
                await creating
            assert (await cluster.fleet[N2].get_document(StoredUid(UID), "1")) == {"id": 1}


async def test_while_a_node_is_down_nothing_is_created(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            world.engine(2).stop()
            with pytest.raises(NodeUnavailable, match="`n2`"):
                await create(cluster)
            assert await cluster.store.interrupted() == {}
            world.engine(2).start()
            assert (await indexes_of(cluster))["n1"] == []


@both_backends
async def test_a_creation_that_was_killed_is_ended_by_the_same_command(tmp_path: Path) -> None:
    with world_of(tmp_path) as world, Mortuary(world.path) as mortuary:
        async with world.cluster() as cluster:
            for point in ("before:begin_creation", "after:begin_creation", "before:finish_creation"):
                await mortuary.die("create", point)
            assert UID in str((await status(cluster))["warnings"])
            index = await create(cluster)
            ledger = Ledger()
            await put(cluster, index, dict.fromkeys(keys_of_every_shard(index), 1), ledger)
            assert stale(await check(cluster, index, ledger)) == set()
            assert await indexes_of(cluster) == {"n1": [UID], "n2": [UID]}


async def test_a_deletion_that_was_killed_serves_nobody_and_is_ended_by_the_next_command(tmp_path: Path) -> None:
    with world_of(tmp_path) as world, Mortuary(world.path) as mortuary:
        async with world.cluster() as cluster:
            for following in (delete_index, None):
                await create(cluster)
                await mortuary.die("delete", "after:begin_deletion")
                with pytest.raises(IndexNotFound):
                    await cluster.reload(UID)
                if following is not None:
                    assert await following(cluster, UID) == ["n1", "n2"]
                    assert await indexes_of(cluster) == {"n1": [], "n2": []}
            index = await create(cluster)
            assert index.incarnation == 3
            await mortuary.die("delete", "before:forget_index")
            await delete_index(cluster, UID)
            assert await cluster.store.interrupted() == {}


@both_backends
async def test_a_deleted_index_and_its_successor_share_nothing(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster, world.cluster() as other:
            index, ledger = await create(cluster), Ledger()
            old = await other.map(UID)
            await put(cluster, index, dict.fromkeys(keys_of_every_shard(index), 1), ledger)
            await delete_index(cluster, UID)
            again, fresh = await create(cluster), Ledger()
            assert not await other.still_valid(old, {N1: [0]})  # type: ignore[list-item]
            with pytest.raises(IndexNotFound, match="deleted meanwhile"):
                await put(other, old.index, {"k0": 2}, Ledger())
            await put(cluster, again, {"k1": 3}, fresh)
            assert stale(await check(cluster, again, fresh)) == set()


async def test_a_late_write_to_the_deleted_index_is_noticed_in_its_successor(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            index, ledger = await create(cluster), Ledger()
            await put(cluster, index, dict.fromkeys(keys_of_every_shard(index), 1), ledger)
            before = await cluster.store.newest_intent(UID)
            assert before is not None
            await delete_index(cluster, UID)
            again, fresh = await create(cluster), Ledger()
            late = addition(index, {"k0": 1}).payload(frozenset({shard_of("k0", index)}))
            await cluster.fleet[N2].write(
                "POST",
                "indexes/books/documents",
                content=late,
                content_type="application/x-ndjson",
                params={"customMetadata": before.metadata},
            )
            await put(cluster, again, {"k1": 3}, fresh)
            assert stale(await check(cluster, again, fresh)) == {"n2"}


async def test_an_index_is_not_deleted_while_a_node_is_down(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            index, ledger = await create(cluster), Ledger()
            await put(cluster, index, dict.fromkeys(keys_of_every_shard(index), 1), ledger)
            world.engine(2).stop()
            with pytest.raises(NodeUnavailable):
                await delete_index(cluster, UID)
            world.engine(2).start()
            assert stale(await check(cluster, index, ledger)) == set()
            await delete_index(cluster, UID)
            assert await indexes_of(cluster) == {"n1": [], "n2": []}


async def test_a_node_outside_the_topology_keeps_its_index(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            await create(cluster)
        text = world.path.read_text()
        world.path.write_text(text[: text.index('[[nodes]]\nname = "n2"')].replace("replicas = 2", "replicas = 1"))
        async with world.cluster() as cluster:
            with pytest.raises(Refused, match="`n2` holds a part"):
                await delete_index(cluster, UID)


async def test_documents_are_counted_once_whatever_the_replicas(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=3, shards=5) as world:
        async with world.cluster() as cluster:
            index, ledger = await create(cluster), Ledger()
            keys = keys_of_every_shard(index, each=7)
            await put(cluster, index, dict.fromkeys(keys, 1), ledger)
            stats = await index_stats(cluster, UID)
            assert stats["numberOfDocuments"] == 35
            assert stats["fieldDistribution"] == {"id": 35, "value": 35}
            assert sum(node["documents"] for node in stats["nodes"]) == 70
            world.engine(3).stop()
            assert (await count_documents(cluster, await cluster.reload(UID))).documents == 35
            assert (await index_stats(cluster, UID))["fieldDistribution"] is None
            shown = await status(cluster)
            assert [node["state"] for node in shown["nodes"]] == ["up", "up", "down"]
            assert shown["indexes"][0]["documents"] == 35
            world.engine(2).stop()
            count = await count_documents(cluster, await cluster.reload(UID))
            assert count.missing and count.documents < 35
            assert (await status(cluster))["indexes"][0]["documents"] is None


async def test_creating_again_what_another_command_creates_now_waits_for_it(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster, world.cluster() as other:
            plans = [await plan_index(each, UID, primary_key="id") for each in (cluster, other)]
            found = await asyncio.gather(
                create_index(cluster, plans[0]), create_index(other, plans[1]), return_exceptions=True
            )
            assert sorted(type(result).__name__ for result in found) == ["AlreadyExists", "IndexMap"]
            assert await indexes_of(cluster) == {"n1": [UID], "n2": [UID]}
