"""Searches by vectors: one node against clusters, embedded in every run, real ones under `live` (see `run.py`)."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from miroir_cli.model import StoredUid
from miroir_cli.search.scatter import search
from tests.oracle.compare import difference, without_last_rule
from tests.oracle.conftest import Record
from tests.oracle.corpus import SETTINGS, WORDS, Kinds, make_documents
from tests.oracle.embedding import running_model, vector_of
from tests.oracle.run import APART, SEED, Tally, share
from tests.oracle.test_embedded import EMBEDDED
from tests.oracle.vectors import EMBEDDERS, compare_similar, compare_vectors, with_vectors
from tests.oracle.world import UID, embedded_nodes, real_nodes, real_server, world

ALLOWED = {"MEILI_EXPERIMENTAL_ALLOWED_IP_NETWORKS": "127.0.0.1/32"}
"""Meilisearch does not call its own neighbourhood unless it is told."""
ONE_OF_EACH = "one of each"
CLUSTERS = [("default", 3, 1), ("ranked", 2, 1), ("private", 3, 2), ("sorted first", 4, 2), (ONE_OF_EACH, 3, 1)]


def chosen(name: str, settings: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {**settings["default"], "distinctAttribute": "code"} if name == ONE_OF_EACH else settings[name]


async def tally_of(
    folder: Path,
    urls: list[str],
    settings: dict[str, Any],
    *,
    count: int,
    queries: int,
    replicas: int,
    seed: str,
    mixed: bool = True,
) -> Tally:
    """Ask `queries` searches by vectors and half as many for similar documents."""
    rng = random.Random(seed)
    documents = with_vectors(rng, make_documents(rng, count, mixed=mixed))
    tally = Tally()
    wanted = {**settings, "embedders": EMBEDDERS}
    async with world(folder, urls, documents=documents, settings=wanted, replicas=replicas) as both:
        kinds = Kinds(frequency=False, formatting=count > 500)
        await compare_vectors(both, tally, rng, queries=queries, kinds=kinds, settings=settings)
        await compare_similar(both, tally, rng, queries=queries // 2, documents=documents)
    return tally


@pytest.mark.parametrize(("settings", "nodes", "replicas"), CLUSTERS)
async def test_a_cluster_searches_vectors_as_one_node(tmp_path: Path, settings: str, nodes: int, replicas: int) -> None:
    with embedded_nodes(tmp_path, nodes + 1) as urls:
        tally = await tally_of(
            tmp_path / "cluster",
            urls,
            chosen(settings, EMBEDDED),
            count=200,
            queries=50,
            replicas=replicas,
            seed=settings,
        )
    assert not tally.unnamed, str(tally)


@pytest.mark.live
@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("mixed", [False, True], ids=["tidy", "mixed"])
@pytest.mark.parametrize(("settings", "nodes", "replicas"), CLUSTERS)
async def test_a_cluster_searches_vectors_as_one_server(
    tmp_path: Path, record: Record, settings: str, nodes: int, replicas: int, mixed: bool
) -> None:
    binary = real_server()
    if binary is None:
        pytest.skip("needs a Meilisearch binary on PATH or in MIROIR_MEILISEARCH")
    with real_nodes(binary, nodes + 1) as urls:
        tally = await tally_of(
            tmp_path / "cluster",
            urls,
            chosen(settings, SETTINGS),
            count=1500,
            queries=share("vectors", parts=len(CLUSTERS), mixed=mixed) * 2 // 3,
            replicas=replicas,
            seed=f"{SEED} {settings} {mixed}",
            mixed=mixed,
        )
    record(f"vectors, {'mixed' if mixed else 'tidy'}", tally)
    assert len(tally.unnamed) <= APART * tally.asked, str(tally)


@pytest.mark.live
@pytest.mark.timeout(120)
async def test_a_model_is_asked_once_for_a_query(tmp_path: Path) -> None:
    """The nodes have the vectors made, of documents and of queries; miroir hands one vector to all of them."""
    binary = real_server()
    if binary is None:
        pytest.skip("needs a Meilisearch binary on PATH or in MIROIR_MEILISEARCH")
    documents = [{"id": key, "title": title} for key, title in enumerate(WORDS[:60])]
    with running_model() as model, real_nodes(binary, 3, **ALLOWED) as urls:
        settings = {"embedders": {"model": model.embedder()}, "searchableAttributes": ["title"]}
        async with world(tmp_path / "cluster", urls, documents=documents, settings=settings) as both:
            for ratio in (1, 0.9, 0.5):
                query = {"q": "river", "hybrid": {"embedder": "model", "semanticRatio": ratio}, "retrieveVectors": True}
                single = without_last_rule(query, await both.single.search(StoredUid(UID), query))
                model.texts.clear()
                cluster = await search(both.cluster, UID, query)
                assert model.texts == ["river"]
                assert difference(query, single, cluster) is None
                assert cluster["queryVector"] == vector_of("river")
