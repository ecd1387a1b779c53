"""Aliases beside readers, writers, renames and kills: an answer is of one index, and of none that a name has left."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from miroir_cli.cluster import Cluster
from miroir_cli.documents.formats import Format
from miroir_cli.documents.load import ImportOptions, import_documents
from miroir_cli.documents.payload import read_payload
from miroir_cli.documents.read import get_document, locate_document
from miroir_cli.errors import (
    AliasChanged,
    AliasNotFound,
    AlreadyExists,
    IndexNotFound,
    IsAnAlias,
    MultiAlias,
    MultiAliasNotWritable,
    NodeRefusal,
    Refused,
    TemporaryError,
    UsageError,
)
from miroir_cli.indexes.aliases import check_alias, check_flip, create_alias, delete_alias, find_alias, flip_alias
from miroir_cli.indexes.catalog import create_index, delete_index, plan_index
from miroir_cli.indexes.configure import change_settings
from miroir_cli.indexes.names import Swap, swap_indexes
from miroir_cli.indexes.status import status
from miroir_cli.model import StoredUid
from miroir_cli.replication.members import call_roll
from miroir_cli.search.browse import browse
from miroir_cli.search.explain import explain
from miroir_cli.search.export import export_documents
from miroir_cli.search.facet_search import facet_search
from miroir_cli.search.multi import multi_search, search_named
from miroir_cli.search.scatter import search
from miroir_cli.store.aliases import AliasKind
from miroir_cli.tasks.finishing import finish, keep_finishing
from miroir_cli.tasks.writing import Asked, add_documents, delete_all
from tests.backends import both_backends, state_url
from tests.documents.test_import import write_ndjson
from tests.faults.loss import lose, recover
from tests.faults.moving import hook, once
from tests.faults.process import ROOT, Mortuary
from tests.faults.searcher import LIVE, TARGETS, Flips, target
from tests.faults.world import HURRIED, N1, UID, World, create, eventually, world_of

BOOKS, FILMS, SHELF = TARGETS
SETTINGS = {"filterableAttributes": ["of"]}
CALM = replace(HURRIED, write=30.0, answer=30.0, silence=30.0, lag=60.0)
"""Nothing here is about nodes that are slow."""


async def add(cluster: Cluster, name: str, *documents: Mapping[str, Any]) -> int:
    """Write as a client of the proxy does, and wait until it is stored; the task's uid."""
    payload = read_payload(msgspec.json.encode(documents), Format.JSON)
    task = await add_documents(cluster, Asked(uid=name), payload)
    await stored(cluster)
    return task.uid


async def stored(cluster: Cluster) -> None:
    async def is_over() -> bool:
        await finish(cluster)
        return not await cluster.store.any_unfinished()

    await eventually(is_over, timeout=30)


async def fill(cluster: Cluster) -> None:
    """Three indexes whose documents say whose they are, one of them of the same id."""
    for number, uid in enumerate(TARGETS):
        await create(cluster, uid, shards=number + 1, settings=SETTINGS)
        more = [{"id": f"{uid}{each}", "of": uid} for each in range(5)]
        await add(cluster, uid, {"id": "same", "title": "same", "of": uid}, *more)


@asynccontextmanager
async def three(folder: Path, *, alias: bool = True) -> AsyncIterator[tuple[World, Cluster]]:
    """These; `live` stands for `books`."""
    with world_of(folder) as world:
        async with world.cluster(patience=CALM) as cluster:
            await fill(cluster)
            if alias:
                await create_alias(cluster, LIVE, [BOOKS])
            yield world, cluster


async def found(cluster: Cluster, name: str) -> set[str]:
    answer = await search_named(cluster, name, {"q": "", "limit": 1000, "facets": ["of"]})
    of = {hit["of"] for hit in answer["hits"]}
    assert of == set(answer["facetDistribution"]["of"]), answer
    return of


async def ids(cluster: Cluster, uid: str) -> set[str]:
    return {hit["id"] for hit in (await search(cluster, uid, {"q": "", "limit": 1000}))["hits"]}


# -- what an alias is good for


@both_backends
async def test_everything_that_reads_or_writes_documents_takes_an_alias(tmp_path: Path) -> None:
    async with three(tmp_path) as (world, cluster):
        assert await found(cluster, LIVE) == {BOOKS}
        await add(cluster, LIVE, {"id": "new", "of": BOOKS})
        assert await ids(cluster, BOOKS) >= {"new"}
        assert (await get_document(cluster, LIVE, "new"))["of"] == BOOKS
        assert (await browse(cluster, LIVE, {}))["total"] == 7
        assert (await facet_search(cluster, LIVE, {"facetName": "of"}))["facetHits"][0]["value"] == BOOKS
        assert (await explain(cluster, LIVE, {})).index == BOOKS
        assert (await locate_document(cluster, LIVE, "new")).index == BOOKS
        several = await multi_search(cluster, {"queries": [{"indexUid": LIVE}, {"indexUid": FILMS}]})
        assert [(each["indexUid"], each["hits"][0]["of"]) for each in several["results"]] == [
            (LIVE, BOOKS),
            (FILMS, FILMS),
        ]
        joint = await multi_search(cluster, {"federation": {}, "queries": [{"indexUid": LIVE}, {"indexUid": FILMS}]})
        told = {(hit["_federation"]["indexUid"], hit["of"]) for hit in joint["hits"]}
        assert told == {(LIVE, BOOKS), (FILMS, FILMS)}
        shown = await status(cluster)
        assert [(alias["name"], alias["targets"]) for alias in shown["aliases"]] == [(LIVE, [BOOKS])]


async def test_a_task_is_that_of_the_index_and_found_by_the_alias_as_well(tmp_path: Path) -> None:
    async with three(tmp_path) as (_, cluster):
        uid = await add(cluster, LIVE, {"id": "new", "of": BOOKS})
        task = await cluster.store.task(uid)
        assert task is not None and task.index_uid == BOOKS
        assert LIVE in await cluster.store.task_indexes()


async def test_what_is_done_with_an_index_itself_names_it(tmp_path: Path) -> None:
    async with three(tmp_path) as (_, cluster):
        with pytest.raises(IsAnAlias, match="`live` is an alias of index `books`, and this is done with an index"):
            await delete_index(cluster, LIVE)
        with pytest.raises(IsAnAlias):
            await swap_indexes(cluster, [Swap(first=LIVE, second=FILMS)])
        with pytest.raises(IsAnAlias):
            await swap_indexes(cluster, [Swap(first=LIVE, second="other", rename=True)])
        with pytest.raises(AlreadyExists, match="it is an alias of index `books`"):
            await swap_indexes(cluster, [Swap(first=FILMS, second=LIVE, rename=True)])
        with pytest.raises(AlreadyExists, match="it is an alias of index `books`"):
            await create_index(cluster, await plan_index(cluster, LIVE, primary_key="id"))
        with pytest.raises(Refused, match="alias `live` stands for index `books`"):
            await delete_index(cluster, BOOKS)
        assert await found(cluster, LIVE) == {BOOKS}


@both_backends
async def test_a_new_index_takes_the_place_of_the_old_one_which_can_go_then(tmp_path: Path) -> None:
    async with three(tmp_path) as (world, cluster), world.cluster(patience=CALM) as other:
        assert await found(other, LIVE) == {BOOKS}
        await flip_alias(cluster, LIVE, [FILMS])
        await delete_index(cluster, BOOKS)
        assert await found(other, LIVE) == {FILMS}
        await add(other, LIVE, {"id": "new", "of": FILMS})
        assert "new" in await ids(cluster, FILMS)


async def test_names_that_stand_for_nothing_are_told_with_what_there_is(tmp_path: Path) -> None:
    async with three(tmp_path) as (_, cluster):
        with pytest.raises(AliasNotFound, match="alias `life` not found") as near:
            await flip_alias(cluster, "life", [FILMS])
        assert near.value.hint == "did you mean `live`?"
        with pytest.raises(IndexNotFound) as missing:
            await search_named(cluster, "life", {})
        assert missing.value.hint == "did you mean `live`?"
        with pytest.raises(IndexNotFound, match="index `filns` not found") as target:
            await flip_alias(cluster, LIVE, ["filns"])
        assert target.value.hint == "did you mean `films`?"
        with pytest.raises(IsAnAlias):
            await create_alias(cluster, "other", [LIVE])
        with pytest.raises(UsageError, match="cannot be the name of an alias"):
            await create_alias(cluster, "not one", [BOOKS])
        with pytest.raises(AlreadyExists):
            await create_alias(cluster, FILMS, [BOOKS])


async def test_a_preview_says_what_would_be_and_changes_nothing(tmp_path: Path) -> None:
    async with three(tmp_path) as (_, cluster):
        before = await find_alias(cluster, LIVE)
        assert (await check_flip(cluster, LIVE, [FILMS])).targets == (FILMS,)
        assert (await check_alias(cluster, "other", [FILMS], kind=AliasKind.SINGLE)).targets == (FILMS,)
        assert await cluster.store.aliases() == (before,)
        assert await flip_alias(cluster, LIVE, [BOOKS]) == before
        with pytest.raises(AliasChanged, match="it stands for index `books` now"):
            await flip_alias(cluster, LIVE, [FILMS], version=before.version - 1)
        with pytest.raises(AliasChanged):
            await delete_alias(cluster, LIVE, version=before.version - 1)


@both_backends
async def test_an_alias_goes_along_with_a_renamed_index_for_who_has_read_it_before(tmp_path: Path) -> None:
    async with three(tmp_path) as (world, cluster), world.cluster(patience=CALM) as other:
        assert await found(other, LIVE) == {BOOKS}
        await swap_indexes(cluster, [Swap(first=BOOKS, second="novels", rename=True)])
        assert await found(other, LIVE) == {BOOKS}
        await add(other, LIVE, {"id": "new", "of": BOOKS})
        assert "new" in await ids(cluster, "novels")
        await swap_indexes(cluster, [Swap(first="novels", second=FILMS)])
        assert await found(other, LIVE) == {FILMS}, "what has the name now"


async def test_once_it_is_gone_the_name_is_free(tmp_path: Path) -> None:
    async with three(tmp_path) as (world, cluster), world.cluster(patience=CALM) as other:
        assert await found(other, LIVE) == {BOOKS}
        await add(other, LIVE, {"id": "new", "of": BOOKS})
        await delete_alias(cluster, LIVE)
        with pytest.raises(IndexNotFound):
            await found(other, LIVE)
        await swap_indexes(cluster, [Swap(first=BOOKS, second=LIVE, rename=True)])
        assert await found(other, LIVE) == {BOOKS}


# -- several


@asynccontextmanager
async def both(folder: Path) -> AsyncIterator[tuple[World, Cluster]]:
    async with three(folder, alias=False) as (world, cluster):
        await create_alias(cluster, "both", [BOOKS, FILMS], kind=AliasKind.MULTI)
        yield world, cluster


async def test_a_search_in_several_is_one_list_of_all(tmp_path: Path) -> None:
    async with both(tmp_path) as (_, cluster):
        assert await found(cluster, "both") == {BOOKS, FILMS}
        answer = await search_named(cluster, "both", {"q": "same", "facets": ["of"]})
        assert {(hit["_federation"]["indexUid"], hit["id"]) for hit in answer["hits"]} >= {
            (BOOKS, "same"),
            (FILMS, "same"),
        }
        assert answer["query"] == "same" and answer["facetDistribution"]["of"] == {BOOKS: 1, FILMS: 1}
        page = await search_named(cluster, "both", {"q": "", "page": 2, "hitsPerPage": 5})
        assert (len(page["hits"]), page["totalHits"], page["totalPages"]) == (5, 12, 3)
        narrow = await search_named(cluster, "both", {"q": "", "filter": "of = films", "limit": 2, "offset": 1})
        assert (len(narrow["hits"]), narrow["estimatedTotalHits"], narrow["limit"], narrow["offset"]) == (2, 6, 2, 1)
        alone = await search_named(cluster, "both", {"q": "", "distinct": "of"})
        assert sorted(hit["of"] for hit in alone["hits"]) == [BOOKS, FILMS]


async def test_one_of_several_can_be_part_of_a_search_of_many(tmp_path: Path) -> None:
    async with both(tmp_path) as (_, cluster):
        answer = await multi_search(cluster, {"queries": [{"indexUid": "both", "limit": 100}, {"indexUid": SHELF}]})
        assert [each["indexUid"] for each in answer["results"]] == ["both", SHELF]
        assert {hit["of"] for hit in answer["results"][0]["hits"]} == {BOOKS, FILMS}
        queries = [{"indexUid": "both"}, {"indexUid": SHELF}]
        one_list = await multi_search(cluster, {"federation": {"limit": 100}, "queries": queries})
        assert {hit["_federation"]["indexUid"] for hit in one_list["hits"]} == {BOOKS, FILMS, SHELF}


async def test_a_search_in_several_that_is_wrong_is_refused_as_one_in_each_would_be(tmp_path: Path) -> None:
    async with both(tmp_path) as (_, cluster):
        for request in ({"filter": "year = 1"}, {"limit": "many"}, {"facets": ["year"]}, {"q": "", "unknown": 1}):
            with pytest.raises(NodeRefusal) as alone:
                await search(cluster, BOOKS, request)
            with pytest.raises(NodeRefusal) as together:
                await search_named(cluster, "both", request)
            assert together.value.message == alone.value.message


async def test_what_needs_one_index_is_refused_for_several(tmp_path: Path) -> None:
    async with both(tmp_path) as (_, cluster):
        for reading in (
            get_document(cluster, "both", "same"),
            browse(cluster, "both", {}),
            facet_search(cluster, "both", {"facetName": "of"}),
            explain(cluster, "both", {}),
            cluster.target_of("both"),
        ):
            with pytest.raises(MultiAlias, match="and this needs one"):
                await reading
        with pytest.raises(MultiAliasNotWritable, match="it can be searched, not written to"):
            await add(cluster, "both", {"id": "new", "of": "x"})
        with pytest.raises(MultiAliasNotWritable):
            await delete_all(cluster, Asked(uid="both"))


@both_backends
async def test_a_search_in_several_is_of_one_moment(tmp_path: Path) -> None:
    async with both(tmp_path) as (world, cluster), world.cluster(patience=CALM) as other:
        hook(cluster, after_epoch=once(lambda: flip_alias(other, "both", [FILMS, SHELF])))
        assert await found(cluster, "both") == {FILMS, SHELF}


# -- beside readers and writers


@both_backends
async def test_a_flip_between_the_nodes_answers_and_the_end_of_a_read_is_noticed(tmp_path: Path) -> None:
    async with three(tmp_path) as (world, cluster), world.cluster(patience=CALM) as other:
        assert await found(cluster, LIVE) == {BOOKS}
        hook(cluster, before_epoch=once(lambda: flip_alias(other, LIVE, [FILMS])))
        assert await found(cluster, LIVE) == {FILMS}
        hook(cluster, before_epoch=once(lambda: flip_alias(other, LIVE, [SHELF])))
        assert (await get_document(cluster, LIVE, "same"))["of"] == SHELF


async def test_what_is_wrong_with_the_old_index_alone_is_not_told(tmp_path: Path) -> None:
    async with three(tmp_path) as (world, cluster), world.cluster(patience=CALM) as other:
        await change_settings(other, FILMS, {"sortableAttributes": ["of"]})
        assert await found(cluster, LIVE) == {BOOKS}
        await flip_alias(other, LIVE, [FILMS])
        answer = await search_named(cluster, LIVE, {"q": "", "sort": ["of:asc"]})
        assert {hit["of"] for hit in answer["hits"]} == {FILMS}
        await flip_alias(other, LIVE, [SHELF])
        with pytest.raises(NodeRefusal, match="not sortable"):
            await search_named(cluster, LIVE, {"q": "", "sort": ["of:asc"]})


async def test_an_export_begun_by_an_alias_is_of_the_index_that_it_stood_for(tmp_path: Path) -> None:
    async with three(tmp_path) as (world, cluster), world.cluster(patience=CALM) as other:
        pages = export_documents(cluster, await cluster.target_of(LIVE))
        first = await anext(pages)
        await flip_alias(other, LIVE, [FILMS])
        rest = [line async for lines in pages for line in lines]
        assert {msgspec.json.decode(line)["of"] for line in [*first, *rest]} == {BOOKS}


async def test_an_import_goes_on_where_it_began_and_is_remembered_by_the_index(tmp_path: Path) -> None:
    async with three(tmp_path) as (world, cluster), world.cluster(patience=CALM) as other:
        file = write_ndjson(tmp_path, [{"id": f"n{n}", "of": BOOKS} for n in range(400)])
        uid = await cluster.target_of(LIVE, written=True)
        options = ImportOptions(batch_bytes=4000)

        async def flip_and_break(*_: object, **__: object) -> None:
            await flip_alias(other, LIVE, [FILMS])
            raise TemporaryError("the process is stopped here")

        hook(cluster, after_close_intent=once(lambda: flip_and_break()))
        with pytest.raises(TemporaryError):
            await import_documents(cluster, uid, [file], options=options)
        assert [record.uid for record in await other.store.unfinished_imports()] == [BOOKS]
        summary = await import_documents(other, BOOKS, [file], options=options)
        assert summary.resumed and summary.index == BOOKS
        assert {"n0", "n399"} <= await ids(other, BOOKS)
        assert not {"n0", "n399"} & await ids(other, FILMS)


@both_backends
async def test_every_write_lands_where_the_name_led_when_it_was_made(tmp_path: Path) -> None:
    async with three(tmp_path) as (world, cluster), world.cluster(patience=CALM) as other:
        finisher = asyncio.create_task(keep_finishing(cluster))
        owners: dict[str, set[str]] = {}
        begun = returned = 0
        ending = False

        async def write(number: int) -> None:
            made = 0
            while not ending or made < 5:
                id, first = f"w{number}-{made}", returned
                payload = read_payload(f'[{{"id": "{id}", "of": "x"}}]'.encode(), Format.JSON)
                await add_documents(other, Asked(uid=LIVE), payload)
                owners[id] = {target(flip) for flip in range(first, begun + 1)}
                made += 1

        async with asyncio.TaskGroup() as group:
            for number in (1, 2):
                group.create_task(write(number))
            for number in range(1, 13):
                known = len(owners)
                await eventually(lambda known=known: _more(owners, known), timeout=30)  # type: ignore[misc]
                begun = number
                await flip_alias(cluster, LIVE, [target(number)])
                returned = number
            ending = True
        await stored(cluster)
        finisher.cancel()
        holding = {uid: await ids(cluster, uid) for uid in TARGETS}
        for id, allowed in owners.items():
            assert len(holders := {uid for uid, held in holding.items() if id in held}) == 1, (id, holders)
            assert holders <= allowed, f"{id} is in {holders}, allowed {allowed}"


async def _more(owners: Mapping[str, object], known: int) -> bool:
    return len(owners) > known


@contextmanager
def searchers(world: World, flips: Flips, count: int) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that read by the alias until the ledger says to stop; none of them has seen anything wrong."""
    command = [sys.executable, "-m", "tests.faults.searcher", str(world.path), str(flips.path)]
    started = [
        subprocess.Popen([*command, str(number)], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for number in range(count)
    ]
    try:
        yield started
        flips.stop()
        for each in started:
            _, said = each.communicate(timeout=60)
            assert each.returncode == 0, said
    finally:
        for each in started:
            each.kill()
            each.communicate()


@both_backends
@pytest.mark.slow
async def test_beside_fifty_flips_no_process_is_answered_by_two_or_by_one_that_the_name_has_left(
    tmp_path: Path,
) -> None:
    async with three(tmp_path) as (world, cluster):
        flips = Flips(path=tmp_path / "flips")
        flips.tell("0 0")
        with searchers(world, flips, 3) as processes:
            for number in range(1, 51):
                await eventually(_each_has_read(flips, processes), timeout=30)
                flips.begin(number)
                await flip_alias(cluster, LIVE, [target(number)])
                flips.returned(number)
            await eventually(_each_has_read(flips, processes), timeout=30)
        history = (await find_alias(cluster, LIVE)).history
        assert [turn.targets[0] for turn in history] == [target(number) for number in range(50, 40, -1)]


def _each_has_read(flips: Flips, processes: list[subprocess.Popen[str]]) -> Any:
    """Whether every searcher has made another read since this was called, or one of them has ended."""

    def reads() -> list[int]:
        files = [flips.reads_of(number) for number in range(len(processes))]
        return [int(file.read_text() or 0) if file.exists() else 0 for file in files]

    before = reads()

    async def have() -> bool:
        ended = any(each.poll() is not None for each in processes)
        return ended or all(now > then for now, then in zip(reads(), before, strict=True))

    return have


# -- kills, and a state that is lost

POINTS = ("before:flip_alias", "after:flip_alias", "before:n2/indexes/_miroir/documents")


@both_backends
@pytest.mark.parametrize("point", POINTS)
async def test_a_kill_leaves_the_old_target_or_the_new_one_and_the_same_again_ends_it(
    tmp_path: Path, point: str
) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster(patience=CALM) as cluster:
            await fill(cluster)
            await create_alias(cluster, LIVE, [BOOKS])
            assert await found(cluster, LIVE) == {BOOKS}
            with Mortuary(world.path) as mortuary:
                await mortuary.die("flip", point)
            assert await found(cluster, LIVE) == ({BOOKS} if point == "before:flip_alias" else {FILMS})
        async with world.cluster(patience=CALM) as cluster:
            await flip_alias(cluster, LIVE, [FILMS])
            await call_roll(cluster)
            assert await found(cluster, LIVE) == {FILMS}
            expected = await cluster.store.aliases()
            await told_everybody(cluster)
        if state_url() is None:
            await come_back(world, expected)


async def told_everybody(cluster: Cluster) -> None:
    for client in cluster.fleet.clients.values():
        await client.wait_task(await client.top_task())


async def come_back(world: World, expected: object) -> None:
    """Lose the state file and make it anew: the aliases are as they were."""
    lose(world)
    recovery = await recover(world)
    assert recovery.election.dangling == ()
    async with world.cluster(patience=CALM) as cluster:
        assert await cluster.store.aliases() == expected


async def test_aliases_outlive_the_state_file(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster(patience=CALM) as cluster:
            await fill(cluster)
            await create_alias(cluster, LIVE, [BOOKS])
            await create_alias(cluster, "both", [BOOKS, FILMS], kind=AliasKind.MULTI)
            await create_alias(cluster, "gone", [FILMS])
            await flip_alias(cluster, LIVE, [SHELF])
            await delete_alias(cluster, "gone")
            expected = await cluster.store.aliases()
            assert [alias.name for alias in expected] == ["both", LIVE]
            await told_everybody(cluster)
        await come_back(world, expected)
        async with world.cluster(patience=CALM) as cluster:
            assert await found(cluster, "both") == {BOOKS, FILMS}
            await flip_alias(cluster, LIVE, [BOOKS])


async def test_a_node_that_was_away_does_not_bring_an_old_target_back(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster(patience=CALM) as cluster:
            await fill(cluster)
            await create_alias(cluster, LIVE, [BOOKS])
            await told_everybody(cluster)
            world.engine(2).stop()
            await flip_alias(cluster, LIVE, [FILMS])
            expected = await cluster.store.aliases()
            await cluster.fleet[N1].wait_task(await cluster.fleet[N1].top_task())
            world.engine(2).start()
        await come_back(world, expected)


async def test_an_alias_of_an_index_that_is_on_no_node_any_more_is_not_recovered(tmp_path: Path) -> None:
    with world_of(tmp_path) as world:
        async with world.cluster(patience=CALM) as cluster:
            await fill(cluster)
            await create_alias(cluster, LIVE, [BOOKS])
            await create_alias(cluster, "both", [BOOKS, FILMS], kind=AliasKind.MULTI)
            await told_everybody(cluster)
            for client in cluster.fleet.clients.values():
                answer = await client.write("DELETE", f"indexes/{BOOKS}")
                await client.wait_task(answer.task)  # type: ignore[union-attr]
        lose(world)
        recovery = await recover(world)
        assert recovery.election.vanished == (BOOKS,) and recovery.election.dangling == (LIVE,)
        async with world.cluster(patience=CALM) as cluster:
            assert [(alias.name, alias.targets) for alias in await cluster.store.aliases()] == [("both", (FILMS,))]


async def test_an_older_miroir_takes_the_aliases_on_a_node_for_nothing_of_its_own(tmp_path: Path) -> None:
    """It reads every document that names its cluster by `cluster_id` as the copy of an index."""
    async with three(tmp_path) as (_, cluster):
        await told_everybody(cluster)
        for client in cluster.fleet.clients.values():
            kept = await client.get_document(StoredUid("_miroir"), "aliases")
            assert "cluster_id" not in kept and "deleted" not in kept and kept["aliases"][0]["name"] == LIVE


def test_the_index_of_the_process_that_dies_is_the_one_of_the_alias() -> None:
    assert UID == BOOKS
