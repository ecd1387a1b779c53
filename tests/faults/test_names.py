"""Names of indexes that change beside writers and readers, runs and kills: nobody sees a mixture, nothing is lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from miroir_cli.cluster import Cluster
from miroir_cli.documents.formats import Format
from miroir_cli.documents.load import ImportOptions, import_documents
from miroir_cli.documents.payload import read_payload
from miroir_cli.documents.read import get_document
from miroir_cli.documents.write import delete_documents
from miroir_cli.errors import AlreadyExists, IndexNotFound, IndexRenamed, Locked
from miroir_cli.indexes.catalog import delete_index
from miroir_cli.indexes.configure import change_settings, get_settings
from miroir_cli.indexes.drift import mend_drift
from miroir_cli.indexes.names import Swap, swap_indexes
from miroir_cli.indexes.status import status
from miroir_cli.migration.rebalance import rebalance
from miroir_cli.migration.repair import repair
from miroir_cli.migration.verify import verify
from miroir_cli.model import StoredUid
from miroir_cli.replication.members import call_roll, publish
from miroir_cli.search.browse import browse
from miroir_cli.search.export import export_documents
from miroir_cli.search.multi import multi_search
from miroir_cli.search.scatter import search
from miroir_cli.tasks.finishing import finish, keep_finishing
from miroir_cli.tasks.writing import Asked, add_documents
from tests.backends import both_backends
from tests.documents.test_import import write_ndjson
from tests.faults.loss import lose, recover
from tests.faults.moving import CHANGE, HASTY, hook, once
from tests.faults.process import Mortuary
from tests.faults.world import (
    N1,
    N2,
    N3,
    UID,
    Ledger,
    World,
    create,
    eventually,
    keys_of_every_shard,
    put,
    world_of,
)

FILMS, SHELF = "films", "shelf"
SETTINGS = {"filterableAttributes": ["of"]}


async def swap(cluster: Cluster, first: str = UID, second: str = FILMS) -> int:
    return await swap_indexes(cluster, [Swap(first=first, second=second)])


async def rename(cluster: Cluster, first: str = UID, second: str = SHELF) -> int:
    return await swap_indexes(cluster, [Swap(first=first, second=second, rename=True)])


async def add(cluster: Cluster, uid: str, *documents: Mapping[str, Any]) -> None:
    """Import documents as a client of the proxy sends them, and wait until they are stored."""
    payload = read_payload(msgspec.json.encode(documents), Format.JSON)
    task = await add_documents(cluster, Asked(uid=uid), payload)
    await stored(cluster, task.uid)


async def stored(cluster: Cluster, uid: int) -> None:
    async def is_over() -> bool:
        await finish(cluster)
        task = await cluster.store.task(uid)
        assert task is not None and task.error is None, task
        return task.status.final

    await eventually(is_over)


async def two(cluster: Cluster) -> None:
    """`books` with two shards and `films` with three, each with documents that say whose they are."""
    await create(cluster, settings=SETTINGS)
    await create(cluster, FILMS, shards=3, settings={**SETTINGS, "stopWords": ["the"]})
    for uid, count in ((UID, 9), (FILMS, 5)):
        await add(cluster, uid, *({"id": f"{uid}{number}", "of": uid} for number in range(count)))


async def found(cluster: Cluster, uid: str) -> set[str]:
    """Whose documents a search of an index finds."""
    answer = await search(cluster, uid, {"q": "", "limit": 1000, "facets": ["of"]})
    of = {hit["of"] for hit in answer["hits"]}
    assert of == set(answer["facetDistribution"]["of"]), answer
    return of


async def ids(cluster: Cluster, uid: str) -> set[str]:
    answer = await search(cluster, uid, {"q": "", "limit": 1000})
    return {hit["id"] for hit in answer["hits"]}


async def equal_on_all_nodes(cluster: Cluster) -> None:
    """Every replica is in sync, all copies are equal, and a comparison finds nothing."""
    for map in await cluster.maps():
        assert {replica.state.value for replica in map.replicas} == {"serving"}, map.replicas
    result = await verify(cluster)
    assert result.clean and not result.skipped, result


# -- what works on an index with another name


@both_backends
async def test_everything_works_on_indexes_that_have_changed_places(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=3) as world:
        async with world.cluster() as cluster:
            await two(cluster)
            await swap(cluster)
        async with world.cluster() as cluster:
            assert (await found(cluster, UID), await found(cluster, FILMS)) == ({FILMS}, {UID})
            await add(cluster, UID, {"id": "new", "of": FILMS})
            await delete_documents(cluster, FILMS, ids=["books0"])
            await change_settings(cluster, UID, {"stopWords": ["a"]})
            assert (await get_settings(cluster, UID))["stopWords"] == ["a"]
            assert (await get_settings(cluster, FILMS))["stopWords"] == []
            assert (await get_document(cluster, UID, "new"))["of"] == FILMS
            page = await browse(cluster, UID, {"limit": 100})
            assert page["total"] == 6 and {each["of"] for each in page["results"]} == {FILMS}
            exported = [line async for lines in export_documents(cluster, FILMS) for line in lines]
            assert len(exported) == 8
            shown = {index["uid"]: index["documents"] for index in (await status(cluster))["indexes"]}
            assert shown == {UID: 6, FILMS: 8}
            await equal_on_all_nodes(cluster)
            for client in cluster.fleet.clients.values():
                listed = (await client.get("indexes"))["results"]
                assert {index["uid"] for index in listed} <= {UID, FILMS, "_miroir"}, "nothing was renamed there"


async def test_a_copy_that_missed_a_write_is_mended_under_the_new_name(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=3, replicas=2) as world:
        async with world.cluster() as cluster:
            await two(cluster)
            await swap(cluster)
            world.engine(3).stop()
            await add(cluster, UID, *({"id": f"late{number}", "of": FILMS} for number in range(9)))
            await add(cluster, FILMS, *({"id": f"late{number}", "of": UID} for number in range(9)))
            world.engine(3).start()
            result = await repair(cluster, options=HASTY)
            assert result.result is not None and result.result.run.state.value == "done"
            await equal_on_all_nodes(cluster)
            assert (await found(cluster, UID), await found(cluster, FILMS)) == ({FILMS}, {UID})


async def test_shards_move_to_a_new_node_and_from_one_under_the_new_names(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=2, spare=1, replicas=2) as world:
        async with world.cluster() as cluster:
            await two(cluster)
            await swap(cluster)
        world.add(3)
        world.drain(1)
        async with world.cluster() as cluster:
            outcome = await rebalance(cluster, CHANGE, options=HASTY)
            assert outcome.result is not None and outcome.result.run.state.value == "done"
            assert {node for map in await cluster.maps() for node in map.nodes()} == {N2, N3}
            assert (await found(cluster, UID), await found(cluster, FILMS)) == ({FILMS}, {UID})
            await equal_on_all_nodes(cluster)
            listed = {index["uid"] for index in (await cluster.fleet[N1].get("indexes"))["results"]}
            assert listed == {"_miroir"}


async def test_settings_changed_on_a_node_are_put_back_under_the_new_name(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            await two(cluster)
            await swap(cluster)
            client = cluster.fleet[N1]
            answer = await client.write("PATCH", "indexes/films/settings", content=b'{"stopWords": ["other"]}')
            await client.wait_task(answer.task)  # type: ignore[union-attr]
            assert await mend_drift(cluster) == {UID: (N1,)}
            assert (await client.settings(StoredUid(FILMS)))["stopWords"] == ["the"]


async def test_a_name_that_became_free_can_be_used_and_its_index_be_deleted(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            await two(cluster)
            await rename(cluster)
            with pytest.raises(IndexNotFound):
                await search(cluster, UID, {"q": ""})
            made = await create(cluster, settings=SETTINGS)
            assert made.stored_as == "books-2"
            await add(cluster, UID, {"id": "x", "of": "new"})
            assert (await found(cluster, UID), await found(cluster, SHELF)) == ({"new"}, {UID})
            await delete_index(cluster, SHELF)
            assert await found(cluster, UID) == {"new"}
            again = await create(cluster, SHELF)
            assert again.stored_as == SHELF
            with pytest.raises(AlreadyExists, match="`books` cannot be renamed to `films`"):
                await rename(cluster, UID, FILMS)
            await equal_on_all_nodes(cluster)


# -- the state, lost


async def contents_by_name(world: World) -> dict[str, set[str]]:
    async with world.cluster() as cluster:
        return {index.uid: await ids(cluster, index.uid) for index in await cluster.store.indexes()}


@both_backends
async def test_a_lost_state_comes_back_with_the_newest_names(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            await two(cluster)
            await swap(cluster)
            await add(cluster, UID, {"id": "after", "of": FILMS})
            await rename(cluster, FILMS, SHELF)
            indexes = await cluster.store.indexes()
        before = await contents_by_name(world)
        lose(world)
        result = await recover(world)
        assert result.done and not result.election.unknown and not result.election.vanished
        assert await contents_by_name(world) == before == {UID: before[UID], SHELF: before[SHELF]}
        async with world.cluster() as cluster:
            assert await cluster.store.indexes() == indexes
            assert await cluster.store.free_name(UID) == "books-2"
            await add(cluster, UID, {"id": "again", "of": FILMS})
            with pytest.raises(IndexNotFound):
                await cluster.reload(FILMS)


@both_backends
async def test_a_node_that_was_away_for_the_swap_does_not_bring_the_old_names_back(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=3, replicas=2) as world:
        async with world.cluster() as cluster:
            await two(cluster)
            world.engine(3).stop()
            await swap(cluster)
            await rename(cluster, FILMS, SHELF)
            await add(cluster, UID, {"id": "after", "of": FILMS})
        world.engine(3).start()
        lose(world)
        await recover(world)
        found = await contents_by_name(world)
        assert set(found) == {UID, SHELF} and "after" in found[UID] and "books0" in found[SHELF]


async def test_a_node_that_hears_of_one_new_name_hears_of_all(tmp_path: Path) -> None:
    """n3 was away for the swap, and hears of a change of one of the two alone. Then it is all that is left."""
    with world_of(tmp_path, nodes=3, replicas=3) as world:
        async with world.cluster() as cluster:
            await two(cluster)
            world.engine(3).stop()
            await swap(cluster)
            world.engine(3).start()
            await publish(cluster, UID, names=[N3])
            await cluster.fleet[N3].wait_task(await cluster.fleet[N3].top_task())
        lose(world)
        for number in (1, 2):
            world.engine(number).stop()
        await recover(world, "n1", "n2")
        async with world.cluster() as cluster:
            assert {index.uid: index.stored_as for index in await cluster.store.indexes()} == {UID: FILMS, FILMS: UID}


# -- what is refused


async def test_a_swap_waits_for_writes_and_is_refused_while_they_are_in_doubt(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster(lock_timeout=1.0) as cluster:
            await two(cluster)
            world.engine(1).faults.pause()
            world.engine(2).faults.pause()
            payload = read_payload(b'[{"id": "slow", "of": "books"}]', Format.JSON)
            task = await add_documents(cluster, Asked(uid=UID), payload)
            swapping = asyncio.create_task(swap(cluster))
            await asyncio.sleep(0.3)
            assert not swapping.done() and await found(cluster, UID) == {UID}
            world.engine(1).faults.resume()
            world.engine(2).faults.resume()
            await swapping
            await stored(cluster, task.uid)
            assert "slow" in await ids(cluster, FILMS)


@both_backends
async def test_a_swap_is_refused_while_a_run_moves_shards_and_who_does_is_named(tmp_path: Path) -> None:
    with world_of(tmp_path, nodes=2, spare=1, replicas=2) as world:
        async with world.cluster() as cluster:
            await two(cluster)
        world.add(3)
        world.drain(1)
        async with world.cluster() as cluster, world.cluster(lock_timeout=0.3) as other:
            tried: list[Locked] = []

            async def try_it(*_: object, **__: object) -> None:
                if not tried:
                    with pytest.raises(Locked) as caught:
                        await swap(other)
                    tried.append(caught.value)

            hook(cluster, before_switch=try_it)
            await rebalance(cluster, CHANGE, options=HASTY)
            assert tried and "is locked by process" in tried[0].message
            await swap(other)
            assert await found(cluster, UID) == {FILMS}
            await equal_on_all_nodes(other)


async def test_a_swap_is_refused_while_an_import_runs_and_an_interrupted_one_goes_on_under_the_new_name(
    tmp_path: Path,
) -> None:
    with world_of(tmp_path) as world:
        file = write_ndjson(tmp_path, [{"id": f"n{n}", "of": UID} for n in range(400)])
        async with world.cluster() as cluster, world.cluster(lock_timeout=0.3) as other:
            await two(cluster)
            tried: list[Locked] = []

            async def try_it(*_: object, **__: object) -> None:
                if len(tried) < 1:
                    with pytest.raises(Locked) as caught:
                        await swap(other)
                    tried.append(caught.value)

            hook(cluster, after_close_intent=try_it)
            await import_documents(cluster, UID, [file], options=ImportOptions(batch_bytes=4000))
            assert tried
            assert "import" in tried[0].message or "is locked by process" in tried[0].message
            await swap(other)
            assert {"n0", "n399"} <= await ids(other, FILMS)


async def test_what_somebody_began_under_the_old_name_ends_with_a_word(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            await two(cluster)
            index = (await cluster.reload(UID)).index
            await swap(cluster)
            ledger = Ledger()
            with pytest.raises(IndexRenamed, match="index `books` was renamed to `films` meanwhile"):
                await put(cluster, index, dict.fromkeys(keys_of_every_shard(index), 1), ledger)
            with pytest.raises(IndexRenamed):
                await cluster.current(index)
            await equal_on_all_nodes(cluster)


# -- beside writers and readers


@pytest.mark.parametrize("federated", [False, True])
async def test_a_swap_between_two_searches_of_one_request_is_noticed(tmp_path: Path, federated: bool) -> None:
    """The end check of the first search has just found that nothing has changed."""
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster, world.cluster() as other:
            await two(other)
            hook(cluster, after_epoch=once(lambda: swap(other)))
            queries = [{"indexUid": uid, "q": ""} for uid in (UID, FILMS)]
            answer = await multi_search(cluster, {"queries": queries, **({"federation": {}} if federated else {})})
            if federated:
                told = {(hit["_federation"]["indexUid"], hit["of"]) for hit in answer["hits"]}
            else:
                told = {(each["indexUid"], hit["of"]) for each in answer["results"] for hit in each["hits"]}
            assert told == {(UID, FILMS), (FILMS, UID)}


async def test_a_refusal_of_what_a_name_stood_for_is_not_told(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster, world.cluster() as other:
            await two(other)
            await change_settings(other, FILMS, {"sortableAttributes": ["of"]})
            assert await found(cluster, UID) == {UID}
            await swap(other)
            answer = await search(cluster, UID, {"q": "", "sort": ["of:asc"]})
            assert {hit["of"] for hit in answer["hits"]} == {FILMS}


@dataclass(kw_only=True)
class Names:
    """What each name stood for, as the swaps were acknowledged: the owner of its documents."""

    now: dict[str, str] = field(default_factory=lambda: {UID: UID, FILMS: FILMS})
    swaps: int = 0
    swapping: bool = False

    def seen(self) -> tuple[int, bool]:
        return self.swaps, self.swapping


@dataclass(kw_only=True)
class Beside:
    """Writers and readers, each with a cluster of its own, until the swaps are through."""

    world: World
    names: Names
    ending: bool = False
    written: list[tuple[str, str | None]] = field(default_factory=list)
    """The ids that were acknowledged, with the index whose content must have them (None: a swap was under way)."""
    reads: int = 0

    async def write(self, cluster: Cluster, number: int) -> None:
        chance = random.Random(number)
        made = 0
        while not self.ending or made < 5:
            uid = chance.choice([UID, FILMS])
            id = f"w{number}-{made}"
            before, owner = self.names.seen(), self.names.now[uid]
            payload = read_payload(f'[{{"id": "{id}", "of": "x"}}]'.encode(), Format.JSON)
            task = await add_documents(cluster, Asked(uid=uid), payload)
            assert task.n is not None
            steady = before == self.names.seen() and not before[1]
            self.written.append((id, owner if steady else None))
            made += 1
            await asyncio.sleep(chance.random() * 0.05)

    async def read(self, cluster: Cluster, number: int) -> None:
        chance = random.Random(number)
        while not self.ending or self.reads < 20:
            before, owners = self.names.seen(), dict(self.names.now)
            if chance.random() < 0.5:
                uid = chance.choice([UID, FILMS])
                answer = await search(cluster, uid, {"q": "", "filter": "of != x", "limit": 100, "facets": ["of"]})
                of = {hit["of"] for hit in answer["hits"]} | set(answer["facetDistribution"]["of"])
                assert len(of) == 1, f"an answer of both: {answer}"
                told = {uid: of.pop()}
                assert len(answer["hits"]) == answer["estimatedTotalHits"] == {UID: 9, FILMS: 5}[told[uid]], answer
            else:
                queries = [{"indexUid": uid, "q": "", "filter": "of != x"} for uid in (UID, FILMS)]
                answer = await multi_search(cluster, {"queries": queries})
                told = {each["indexUid"]: each["hits"][0]["of"] for each in answer["results"]}
                assert len(set(told.values())) == 2, f"both names told of one index: {told}"
            if before == self.names.seen() and not before[1]:
                assert all(owners[uid] == owner for uid, owner in told.items()), "an answer from before the swap"
            self.reads += 1
            await asyncio.sleep(chance.random() * 0.02)


@pytest.mark.slow
async def test_beside_twenty_swaps_every_write_lands_where_its_name_led_and_no_answer_is_of_both(
    tmp_path: Path,
) -> None:
    with world_of(tmp_path, nodes=3, replicas=2) as world:
        async with AsyncExitStack() as stack:
            clusters = [await stack.enter_async_context(world.cluster(lock_timeout=30.0)) for _ in range(5)]
            await two(clusters[0])
            names = Names()
            beside = Beside(world=world, names=names)
            finisher = asyncio.create_task(keep_finishing(clusters[0]))
            async with asyncio.TaskGroup() as group:
                for number in (1, 2):
                    group.create_task(beside.write(clusters[number], number))
                    group.create_task(beside.read(clusters[number + 2], number))
                for _ in range(20):
                    await asyncio.sleep(0.1)
                    names.swapping = True
                    await swap(clusters[0])
                    names.now = {UID: names.now[FILMS], FILMS: names.now[UID]}
                    names.swaps += 1
                    names.swapping = False
                beside.ending = True
            await eventually(lambda: _ended(clusters[0]))
            finisher.cancel()
            cluster = clusters[0]
            holding = {names.now[uid]: await ids(cluster, uid) for uid in (UID, FILMS)}
            for id, owner in beside.written:
                holders = {name for name, held in holding.items() if id in held}
                assert len(holders) == 1, f"{id} is in {holders}"
                assert owner is None or holders == {owner}, f"{id} was written to {owner} and is in {holders}"
            assert sum(owner is not None for _, owner in beside.written) > 5
            await equal_on_all_nodes(cluster)


async def _ended(cluster: Cluster) -> bool:
    return not await cluster.store.any_unfinished()


# -- kills


POINTS = ("before:rename", "after:rename", "before:settle_intents", "before:n2/documents", "after:note_published")


@both_backends
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("verb", ["swap", "rename"])
async def test_a_kill_leaves_all_names_as_they_were_or_all_new_ones(tmp_path: Path, verb: str, point: str) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster() as cluster:
            await two(cluster)
        before = await contents_by_name(world)
        with Mortuary(world.path) as mortuary:
            await mortuary.killed(verb, point)
        after = await contents_by_name(world)
        names = {"swap": {UID: FILMS, FILMS: UID}, "rename": {UID: SHELF, FILMS: FILMS}}[verb]
        renamed = {names[uid]: held for uid, held in before.items()}
        assert after in (before, renamed)
        assert point != "before:rename" or after == before
        assert point != "after:rename" or after == renamed
        async with world.cluster() as cluster:
            for uid in after:
                await add(cluster, uid, {"id": "again", "of": "x"})
            await equal_on_all_nodes(cluster)
            await call_roll(cluster)
            for client in cluster.fleet.clients.values():
                await client.wait_task(await client.top_task())
            expected = await contents_by_name(world)
        lose(world)
        await recover(world)
        assert await contents_by_name(world) == expected
