"""The order of facet values of equal counts: where it follows from the documents, a cluster has it as one server."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from miroir_cli.model import StoredUid
from miroir_cli.search.scatter import search
from tests.oracle.world import UID, real_nodes, real_server, refill, world

SETTINGS = {
    "filterableAttributes": ["few", "many", "n"],
    "faceting": {"sortFacetValuesBy": {"*": "count"}},
}


@pytest.mark.live
@pytest.mark.timeout(300)
async def test_from_twenty_values_on_it_depends_on_how_the_documents_came(tmp_path: Path) -> None:
    binary = real_server()
    if binary is None:
        pytest.skip("needs a Meilisearch binary on PATH or in MIROIR_MEILISEARCH")
    rng = random.Random("ties")
    documents = [
        {"id": key, "few": rng.randrange(19), "many": f"value {rng.randrange(80)}", "n": rng.randrange(20)}
        for key in range(600)
    ]
    apart = {"few": 0, "many": 0}
    with real_nodes(binary, 4) as urls:
        async with world(tmp_path / "cluster", urls[:3], documents=documents, settings=SETTINGS) as both:
            slowly = await refill(urls[3], UID, documents=documents, settings=SETTINGS, at_once=20)
            for n in range(20):
                query = {"filter": f"n = {n}", "facets": ["few", "many"], "limit": 0}
                at_once = (await both.single.search(StoredUid(UID), query))["facetDistribution"]
                in_pieces = (await slowly.search(StoredUid(UID), query))["facetDistribution"]
                cluster = (await search(both.cluster, UID, query))["facetDistribution"]
                assert at_once == in_pieces == cluster
                assert list(at_once["few"]) == list(cluster["few"])
                for name in apart:
                    apart[name] += list(at_once[name]) != list(in_pieces[name])
            await slowly.close()
    assert apart["few"] == 0
    assert apart["many"] > 0
