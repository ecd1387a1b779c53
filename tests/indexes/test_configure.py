"""Settings are the same on every node, or the change says that they are not."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from miroir_cli.cluster import Cluster
from miroir_cli.dev.engine.faults import Kind
from miroir_cli.errors import MiroirError, NodeTaskFailed, ReservedField, SettingsInvalid, ShardUnavailable
from miroir_cli.indexes.configure import change_settings, diff_settings, get_settings, plan_settings
from miroir_cli.indexes.differences import differences
from miroir_cli.indexes.settings import KEYS, from_node
from miroir_cli.model import IntentState, StoredUid
from miroir_cli.replication.settle import settle
from tests.backends import both_backends
from tests.faults.process import Mortuary
from tests.faults.world import N1, UID, Ledger, check, create, keys_of_every_shard, put, stale, world_of


async def on_nodes(cluster: Cluster, key: str) -> dict[str, Any]:
    return {name: (await client.settings(StoredUid(UID)))[key] for name, client in cluster.fleet.clients.items()}


async def test_a_change_is_on_every_node_and_shows_nothing_reserved(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=3, shards=3) as world:
        async with world.cluster() as cluster:
            await create(cluster)
            before = await get_settings(cluster, UID)
            patch = {
                "filterableAttributes": ["year"],
                "displayedAttributes": ["title"],
                "rankingRules": ["words", "year:desc"],
                "faceting": {"maxValuesPerFacet": 7},
            }
            planned = await plan_settings(cluster, UID, patch)
            change = await change_settings(cluster, UID, patch)
            assert change.changed == planned.changed and set(change.changed) == set(patch)
            assert change.nodes == ("n1", "n2", "n3") and change.stale == ()
            shown = await get_settings(cluster, UID)
            assert {key: shown[key] for key in patch if key != "faceting"} == {
                key: value for key, value in patch.items() if key != "faceting"
            }
            assert shown["faceting"]["maxValuesPerFacet"] == 7
            assert "_miroir" not in str(shown) and "id:asc" not in str(shown)
            assert await diff_settings(cluster, UID, patch, source="file") == {}
            await change_settings(cluster, UID, dict.fromkeys(KEYS))
            assert await get_settings(cluster, UID) == before


@pytest.mark.parametrize(
    ("patch", "error"),
    [
        ({"stopWord": ["the"]}, SettingsInvalid),
        ({"stopWords": "the"}, SettingsInvalid),
        ({"typoTolerance": {"enabeld": True}}, SettingsInvalid),
        ({"rankingRules": ["wrods"]}, SettingsInvalid),
        ({"filterableAttributes": ["_miroir_shard"]}, ReservedField),
        ({"nonSeparatorTokens": ["§"]}, SettingsInvalid),
    ],
)
async def test_what_is_wrong_reaches_no_node(tmp_path: Path, patch: dict[str, Any], error: type[MiroirError]) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            await create(cluster)
            before = [await client.top_task() for client in cluster.fleet.clients.values()]
            with pytest.raises(error):
                await change_settings(cluster, UID, patch)
            assert [await client.top_task() for client in cluster.fleet.clients.values()] == before


@pytest.mark.parametrize("dead", [1, 2])
async def test_with_a_replica_left_a_dead_node_is_left_behind(tmp_path: Path, dead: int) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            index, ledger = await create(cluster), Ledger()
            world.engine(dead).stop()
            change = await change_settings(cluster, UID, {"stopWords": ["the"]})
            assert change.stale == (f"n{dead}",) and len(change.nodes) == 1
            world.engine(dead).start()
            await put(cluster, index, {"k": 1}, ledger)
            assert stale(await check(cluster, index, ledger)) == {f"n{dead}"}


async def test_a_node_that_fails_to_apply_it_is_left_behind(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            await create(cluster)
            world.engine(1).faults.add(Kind.FAIL_TASK, task_type="settingsUpdate", path=UID)
            assert (await change_settings(cluster, UID, {"stopWords": ["the"]})).stale == ("n1",)


async def test_without_a_replica_for_every_shard_nothing_is_sent(tmp_path: Path) -> None:
    with world_of(tmp_path, replicas=1) as world:
        async with world.cluster() as cluster:
            await create(cluster)
            world.engine(2).stop()
            top = await cluster.fleet[N1].top_task()
            with pytest.raises(ShardUnavailable, match="no replica of shard"):
                await change_settings(cluster, UID, {"stopWords": ["the"]})
            assert await cluster.fleet[N1].top_task() == top
            world.engine(2).start()
            assert await on_nodes(cluster, "stopWords") == {"n1": [], "n2": []}


@pytest.mark.parametrize("status", [503, 400])
async def test_a_change_that_reached_only_some_shards_is_not_recorded_and_can_be_repeated(
    tmp_path: Path, status: int
) -> None:
    with world_of(tmp_path, replicas=1) as world:
        async with world.cluster() as cluster:
            await create(cluster)
            world.engine(2).faults.add(Kind.REFUSE, method="PATCH", path="/settings$", status=status, count=9)
            with pytest.raises(NodeTaskFailed if status == 503 else SettingsInvalid, match="not changed everywhere"):
                await change_settings(cluster, UID, {"stopWords": ["the"]})
            assert (await cluster.reload(UID)).index.settings == {}
            world.engine(2).faults.clear()
            await change_settings(cluster, UID, {"stopWords": ["the"]})
            assert await on_nodes(cluster, "stopWords") == {"n1": ["the"], "n2": ["the"]}
            assert (await cluster.reload(UID)).index.settings == {"stopWords": ["the"]}


@both_backends
async def test_changes_made_at_the_same_time_all_hold(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster, world.cluster() as other:
            await create(cluster)
            for engine in world.engines.values():
                engine.faults.add(Kind.DELAY_TASK, task_type="settingsUpdate", seconds=0.3, count=2)
            await asyncio.gather(
                change_settings(cluster, UID, {"stopWords": ["the"]}),
                change_settings(other, UID, {"sortableAttributes": ["year"]}),
                change_settings(cluster, UID, {"dictionary": ["J. R. R."]}),
            )
            expected = {"stopWords": ["the"], "sortableAttributes": ["year"], "dictionary": ["J. R. R."]}
            assert (await cluster.reload(UID)).index.settings == expected
            for client in cluster.fleet.clients.values():
                assert differences(expected, await client.settings(StoredUid(UID))) == []


@pytest.mark.parametrize("replicas", [1, 2])
async def test_a_change_that_was_killed_ends_one_way_on_all_nodes(tmp_path: Path, replicas: int) -> None:
    with world_of(tmp_path, replicas=replicas) as world, Mortuary(world.path) as mortuary:
        async with world.cluster() as cluster:
            index, ledger = await create(cluster), Ledger()
            films = await create(cluster, "films")
            for point, words in (
                ("after:open_intent", []),
                ("before:close_intent", ["the"]),
                ("after:close_intent", ["the"]),
            ):
                await mortuary.die("settings", point)
                await put(cluster, films, dict.fromkeys(keys_of_every_shard(films), point), Ledger())
                await put(cluster, index, dict.fromkeys(keys_of_every_shard(index), point), ledger)
                assert await on_nodes(cluster, "stopWords") == {"n1": words, "n2": words}, point
                assert (await cluster.reload(UID)).index.settings == ({"stopWords": words} if words else {}), point
                assert stale(await check(cluster, index, ledger)) == set(), point
                await change_settings(cluster, UID, {"stopWords": None})


async def test_a_part_that_is_reset_is_reset_on_the_nodes(tmp_path: Path) -> None:
    first = {
        "typoTolerance": {"enabled": False, "minWordSizeForTypos": {"oneTypo": 3, "twoTypos": 4}},
        "faceting": {"sortFacetValuesBy": {"genre": "count"}, "maxValuesPerFacet": 5},
        "pagination": {"maxTotalHits": 50},
    }
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            await create(cluster, settings=first)
            patch = {"typoTolerance": {"enabled": None, "minWordSizeForTypos": {"twoTypos": None}}}
            await change_settings(cluster, UID, {**patch, "faceting": {"sortFacetValuesBy": None}})
            for typos in (await on_nodes(cluster, "typoTolerance")).values():
                assert typos["enabled"] is True
                assert typos["minWordSizeForTypos"] == {"oneTypo": 3, "twoTypos": 9}
            for faceting in (await on_nodes(cluster, "faceting")).values():
                assert faceting["sortFacetValuesBy"] == {"*": "alpha"}
            await change_settings(cluster, UID, {"faceting": None, "pagination": {"maxTotalHits": None}})
            assert [each["maxTotalHits"] for each in (await on_nodes(cluster, "pagination")).values()] == [
                1_000_000,
                1_000_000,
            ]


async def test_a_change_by_hand_makes_its_node_stale(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            index = await create(cluster)
            await cluster.fleet[N1].write("PATCH", "indexes/books/settings", content=b'{"stopWords": ["a"]}')
            await settle(cluster, index)
            assert stale(await cluster.reload(UID)) == {"n1"}


async def test_settings_are_read_from_another_node_when_one_is_dead(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            await create(cluster, settings={"stopWords": ["the"]})
            world.engine(1).stop()
            assert (await get_settings(cluster, UID))["stopWords"] == ["the"]
            world.engine(2).stop()
            with pytest.raises(MiroirError):
                await get_settings(cluster, UID)


async def test_a_change_whose_answers_are_all_lost_is_found_again(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            await create(cluster)
            for engine in world.engines.values():
                engine.faults.add(Kind.DROP_AFTER, method="PATCH", path="/settings$")
            await change_settings(cluster, UID, {"stopWords": ["the"]})
            newest = await cluster.store.newest_intent(UID)
            assert newest is not None and newest.state is IntentState.DONE
            assert await on_nodes(cluster, "stopWords") == {"n1": ["the"], "n2": ["the"]}


def test_a_complete_answer_of_a_node_loses_what_is_reserved() -> None:
    found = {
        "filterableAttributes": [{"attributePatterns": ["_miroir_shard"]}, "year"],
        "rankingRules": ["words", "id:asc"],
        "faceting": {"maxValuesPerFacet": 1_000_000, "sortFacetValuesBy": {"*": "alpha"}},
        "pagination": {"maxTotalHits": 1_000_000},
        "displayedAttributes": ["title", "id"],
        "stopWords": [],
    }
    user = {"filterableAttributes": ["year"], "displayedAttributes": ["title"]}
    assert from_node(found, user, primary_key="id", tie_break=True) == {
        "filterableAttributes": ["year"],
        "rankingRules": ["words"],
        "faceting": {"maxValuesPerFacet": 100, "sortFacetValuesBy": {"*": "alpha"}},
        "pagination": {"maxTotalHits": 1000},
        "displayedAttributes": ["title"],
        "stopWords": [],
    }
