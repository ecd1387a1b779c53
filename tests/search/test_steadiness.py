"""Whichever replicas answer, a request has one answer, and pages continue each other."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from miroir_cli.cluster import Cluster
from miroir_cli.errors import MiroirError
from miroir_cli.model import StoredUid
from miroir_cli.search.explain import explain
from miroir_cli.search.multi import multi_search
from miroir_cli.search.scatter import search
from tests.oracle.compare import SCORES
from tests.oracle.corpus import Kinds, make_documents, make_query
from tests.oracle.multi import OTHER, make_multi
from tests.oracle.test_embedded import EMBEDDED
from tests.oracle.world import UID, embedded_nodes, fill, real_nodes, real_server, two_sides

CHANGING = ("processingTimeMs", "requestUid")
ROTATIONS = 12
"""More than there are choices of nodes in these clusters."""


def as_bytes(body: dict[str, Any]) -> bytes:
    """An answer without what tells about the asking, and without scores: their base is another on every node."""
    results = body.get("results", [body])
    return msgspec.json.encode(
        [
            {name: without_scores(value) if name == "hits" else value for name, value in each.items()}
            for each in ({key: each[key] for key in each if key not in CHANGING} for each in results)
        ]
    )


def without_scores(hits: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = [{name: value for name, value in hit.items() if name not in SCORES} for hit in hits]
    for hit in found:
        if "_federation" in hit:
            hit["_federation"] = {**hit["_federation"], "weightedRankingScore": 0}
    return found


async def every_answer(cluster: Cluster, ask: Callable[[], Awaitable[dict[str, Any]]]) -> set[bytes]:
    found = set()
    for rotation in range(ROTATIONS):
        cluster.rotation = rotation
        found.add(as_bytes(await ask()))
    return found


CLUSTERS = [(3, 2, 1), (4, 3, 1), (4, 1, 2)]
"""Nodes, replicas, groups."""


@pytest.mark.parametrize(("nodes", "replicas", "groups"), CLUSTERS)
async def test_every_choice_of_replicas_gives_the_same_answer(
    tmp_path: Path, nodes: int, replicas: int, groups: int
) -> None:
    rng = random.Random(f"{nodes} {replicas} {groups}")
    with embedded_nodes(tmp_path, nodes + 1) as urls:
        await compare_choices(tmp_path / "cluster", urls, rng, replicas=replicas, groups=groups, documents=150, asked=8)


@pytest.mark.live
@pytest.mark.slow
@pytest.mark.parametrize(("nodes", "replicas", "groups"), CLUSTERS)
async def test_every_choice_of_servers_gives_the_same_answer(
    tmp_path: Path, nodes: int, replicas: int, groups: int
) -> None:
    binary = real_server()
    if binary is None:
        pytest.skip("needs a Meilisearch binary on PATH or in MIROIR_MEILISEARCH")
    rng = random.Random(f"{nodes} {replicas} {groups}")
    with real_nodes(binary, nodes + 1) as urls:
        await compare_choices(tmp_path, urls, rng, replicas=replicas, groups=groups, documents=600, asked=60)


async def compare_choices(
    folder: Path, urls: list[str], rng: random.Random, *, replicas: int, groups: int, documents: int, asked: int
) -> None:
    kinds = Kinds(frequency=False, distinct=False, formatting=False)
    async with two_sides(folder, urls, replicas=replicas, groups=groups) as both:
        for uid, count, settings in ((UID, documents, "default"), (OTHER, documents // 3, "private")):
            made = make_documents(
                rng, count, mixed=False
            )  # which spelling of a facet value is shown depends on the node
            await fill(both, uid, documents=made, settings=EMBEDDED[settings], shuffled=True)
        choices = set()
        for rotation in range(ROTATIONS):
            both.cluster.rotation = rotation
            choices.add(tuple((ask.node, ask.shards) for ask in (await explain(both.cluster, UID, {})).asks))
        assert len(choices) > 1
        for _ in range(asked):
            request = make_query(rng, kinds)
            answers = await every_answer(both.cluster, lambda request=request: search(both.cluster, UID, request))  # type: ignore[misc]
            assert len(answers) == 1, f"{request}\n{differing(answers)}"
            many = make_multi(rng, kinds)
            try:
                answers = await every_answer(both.cluster, lambda many=many: multi_search(both.cluster, many))  # type: ignore[misc]
            except MiroirError:
                continue
            assert len(answers) == 1, f"{many}\n{differing(answers)}"


def differing(answers: set[bytes]) -> str:
    """Two of the answers from a little before they part."""
    one, other = sorted(answers)[:2]
    place = next(place for place, (left, right) in enumerate(zip(one, other, strict=False)) if left != right)
    return f"{one[max(place - 300, 0) : place + 200]!r}\n{other[max(place - 300, 0) : place + 200]!r}"


async def test_pages_from_alternating_replicas_continue_each_other(tmp_path: Path) -> None:
    with embedded_nodes(tmp_path, 4) as urls:
        await walk(tmp_path / "cluster", urls, hits=210)


@pytest.mark.live
@pytest.mark.slow
@pytest.mark.timeout(180)  # 572 searches of three servers
async def test_pages_of_2000_hits_from_alternating_servers_continue_each_other(tmp_path: Path) -> None:
    binary = real_server()
    if binary is None:
        pytest.skip("needs a Meilisearch binary on PATH or in MIROIR_MEILISEARCH")
    with real_nodes(binary, 4) as urls:
        await walk(tmp_path, urls, hits=2000)


async def walk(folder: Path, urls: list[str], *, hits: int) -> None:
    """All hits in pages of 7, each from another choice of replicas, by offsets and by page numbers.

    Many hits are equal but for their keys; on no two nodes do the documents stand in one order.
    """
    documents = [{"id": key * 7919 % 10_007, "title": ["sea", "sea shore", "the sea"][key % 3]} for key in range(hits)]
    settings = {"pagination": {"maxTotalHits": hits}}
    async with two_sides(folder, urls, replicas=2) as both:
        await fill(both, UID, documents=documents, settings=settings, shuffled=True)
        expected = [
            hit["id"] for hit in (await both.single.search(StoredUid(UID), {"q": "sea", "limit": hits}))["hits"]
        ]
        assert len(set(expected)) == hits
        by_offset = [{"offset": offset, "limit": 7} for offset in range(0, hits, 7)]
        by_page = [{"page": page, "hitsPerPage": 7} for page in range(1, hits // 7 + 2)]
        for pages in (by_offset, by_page):
            found: list[int] = []
            for page in pages:
                body = await search(both.cluster, UID, {"q": "sea", "attributesToRetrieve": ["id"], **page})
                found += [hit["id"] for hit in body["hits"]]
            assert found == expected
