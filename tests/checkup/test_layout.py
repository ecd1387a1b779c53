"""What the doctor says of copies, zones and shares; and of indexes near the limits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from miroir_cli.checkup.facts import Facts, IndexStats, NodeFacts, NodeStats
from miroir_cli.checkup.finding import Severity
from miroir_cli.checkup.layout_rules import few_zones, no_margin, uneven, zones_crowded
from miroir_cli.checkup.limit_rules import many_documents, many_fields
from miroir_cli.model import SHARD_DIGITS, StoredUid, read_shard, spell_shard
from miroir_cli.topology.schema import ClusterSettings
from tests.checkup.staged import findings, type_in, type_words
from tests.checkup.test_rules import facts, index, node
from tests.faults.world import UID, create, world_of


async def test_documents_on_one_node_only(tmp_path: Path) -> None:
    with world_of(tmp_path, replicas=1) as world:
        assert "cluster.replicas" not in await findings(world)
        async with world.cluster() as cluster:
            await create(cluster)
        found = await findings(world)
        assert set(found) == {"cluster.replicas"}
        assert found["cluster.replicas"].severity is Severity.INFO
        world.set_replicas(2)
        await type_in(world, found["cluster.replicas"])
        assert await findings(world) == {}


async def test_writes_that_need_every_node(tmp_path: Path) -> None:
    with world_of(tmp_path, min_in_sync=2) as world:
        async with world.cluster() as cluster:
            await create(cluster)
        found = await findings(world)
        assert set(found) == {"cluster.margin"}
        assert found["cluster.margin"].hint.startswith("set `min_in_sync = 1`")
        world.edit(lambda document: document.set_cluster("min_in_sync", 1))
        assert await findings(world) == {}


async def test_copies_that_stand_in_one_zone_are_spread(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=3, shards=3) as world:
        async with world.cluster() as cluster:
            await create(cluster)
        assert await findings(world) == {}
        for number, zone in ((1, "a"), (2, "a"), (3, "b")):
            world.edit(lambda document, n=number, z=zone: document.change_node(f"n{n}", zone=z))  # type: ignore[misc]
        found = await findings(world)
        assert set(found) == {"index.zones", "index.placement"}
        assert found["index.zones"].message.endswith("more copies in one zone than need be")
        await type_in(world, found["index.zones"])
        assert await findings(world) == {}


async def test_fewer_zones_than_copies_and_nodes_without_one(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            await create(cluster)
        world.edit(lambda document: document.change_node("n1", zone="a"))
        found = await findings(world)
        assert (set(found), found["cluster.zones"].severity) == ({"cluster.zones"}, Severity.INFO)
        assert found["cluster.zones"].message.startswith("`n2` has no zone and others of group `main` have")
        world.edit(lambda document: document.change_node("n2", zone="a"))
        found = await findings(world)
        assert (set(found), found["cluster.zones"].severity) == ({"cluster.zones"}, Severity.WARNING)
        assert "has 1 zone for 2 copies" in found["cluster.zones"].message
        world.edit(lambda document: document.change_node("n2", zone="b"))
        assert await findings(world) == {}


async def test_an_index_with_too_few_shards_for_its_nodes(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=3, shards=1) as world:
        async with world.cluster() as cluster:
            await create(cluster)
            found = await findings(world)
            assert set(found) == {"index.narrow"}
            assert "has 2 replicas for 3 nodes of a group" in found["index.narrow"].message
            await create(cluster, "films", shards=24)
        assert [finding.where for finding in (await findings(world)).values()] == [UID]


def test_groups_and_drained_nodes_are_counted_as_they_hold_copies() -> None:
    two = [replace(node("n1"), node=replace(node("n1").node, group="a")), node("n2")]
    needs_all = replace(facts(*two), cluster=ClusterSettings(name="t", min_in_sync=2))
    assert len(list(no_margin(needs_all))) == 1
    drained = replace(two[0], node=replace(two[0].node, drained=True))
    assert list(no_margin(replace(needs_all, nodes=(drained, two[1])))) == []
    assert list(few_zones(needs_all)) == []


def test_zones_are_not_crowded_where_there_is_no_other_zone() -> None:
    states = index([["n1 serving", "n2 serving"]])
    same = [replace(node(name), node=replace(node(name).node, zone="a")) for name in ("n1", "n2")]
    assert list(zones_crowded(facts(*same, indexes=[states]))) == []
    other = replace(node("n3"), node=replace(node("n3").node, zone="b"))
    (found,) = zones_crowded(facts(*same, other, indexes=[states]))
    assert found.message == "index `books`: shard 0 has more copies in one zone than need be"


def telling(name: str, documents: int, *, fields: int = 3, weight: float = 1.0) -> NodeFacts:
    stats = NodeStats(size=1, used=1, indexes={StoredUid("books"): IndexStats(documents=documents, fields=fields)})
    return replace(node(name), stats=stats, node=replace(node(name).node, weight=weight))


def even(*nodes: NodeFacts) -> Facts:
    return facts(*nodes, indexes=[index([["n1 serving"], ["n2 serving"], ["n1 serving"], ["n2 serving"]])])


@pytest.mark.parametrize(
    ("first", "second", "weight", "blamed"),
    [
        (500_000, 500_000, 1.0, []),
        (800_000, 200_000, 1.0, ["n1"]),
        (800, 200, 1.0, []),
        (800_000, 200_000, 3.0, []),
        (500_000, 500_000, 3.0, ["n2"]),
    ],
)
def test_a_node_with_more_than_its_weight_asks_for(first: int, second: int, weight: float, blamed: list[str]) -> None:
    known = even(telling("n1", first, weight=weight), telling("n2", second))
    assert [finding.where for finding in uneven(known)] == blamed


def test_shares_are_not_judged_while_a_node_does_not_tell() -> None:
    assert list(uneven(even(telling("n1", 800_000), node("n2")))) == []


@pytest.mark.parametrize(("fields", "told"), [(32_768, False), (32_769, True)])
def test_an_index_with_many_fields(fields: int, told: bool) -> None:
    assert bool(list(many_fields(even(telling("n1", 1, fields=fields), node("n2"))))) is told


@pytest.mark.parametrize(
    ("documents", "checks"),
    [(20_000_000, []), (20_000_002, ["index.heavy"]), (3 * 10**9, ["index.documents", "index.heavy"])],
)
def test_an_index_with_many_documents(documents: int, checks: list[str]) -> None:
    known = even(telling("n1", documents), telling("n2", 10))
    assert [finding.check for finding in many_documents(known)] == checks


async def test_the_fields_and_documents_are_those_that_nodes_tell(tmp_path: Path) -> None:
    with world_of(tmp_path, shards=1) as world:
        async with world.cluster() as cluster:
            await create(cluster)
        many = ", ".join(f'"field{number}": 1' for number in range(33_000))
        (tmp_path / "books.ndjson").write_text(f'{{"id": 1, {many}}}\n')
        assert await findings(world) == {}
        await type_words(world, f"miroir import {UID} books.ndjson")
        found = await findings(world)
        assert set(found) == {"index.fields"}
        assert f"index `{UID}` has 33,002 different fields" in found["index.fields"].message


@pytest.mark.parametrize(
    ("settings", "check"),
    [
        ({"pagination": {"maxTotalHits": 10_001}}, "index.hits"),
        ({"pagination": {"maxTotalHits": 10_000}}, None),
        ({"faceting": {"maxValuesPerFacet": 1001}}, "index.facets"),
        ({"faceting": {"maxValuesPerFacet": 1000, "sortFacetValuesBy": {"*": "count"}}}, None),
        ({"filterableAttributes": ["*"]}, "index.filters"),
        ({"filterableAttributes": ["author", {"attributePatterns": ["*"]}]}, "index.filters"),
        ({"filterableAttributes": ["author", {"attributePatterns": ["genre*"]}]}, None),
    ],
)
async def test_settings_that_make_searches_dear(tmp_path: Path, settings: dict[str, Any], check: str | None) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            await create(cluster, settings=settings)
        found = await findings(world)
        assert set(found) == ({check} if check else set())
        if check in ("index.hits", "index.facets"):
            await type_in(world, found[check])
            assert await findings(world) == {}


async def test_a_proxy_that_takes_more_at_once_than_a_server(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            await create(cluster)
        text = world.path.read_text()
        for limit, told in ((100, False), (101, True)):
            world.path.write_text(f"{text}\n[serve]\nbody_limit_mb = {limit}\n")
            assert set(await findings(world)) == ({"serve.body"} if told else set())


@pytest.mark.parametrize("shard", [0, 1, 5, 6, 35, 36, 65_535])
def test_a_shard_number_is_read_as_it_was_spelled(shard: int) -> None:
    assert read_shard(spell_shard(shard)) == shard
    assert set(spell_shard(shard)) <= set(SHARD_DIGITS)
