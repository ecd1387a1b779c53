"""`distinct`, facets and their like on real servers; `run.py` says how many requests."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.oracle.conftest import Record
from tests.oracle.run import SEED, Tally, share
from tests.oracle.variants import VARIANTS, make_variants
from tests.oracle.variants_run import compare_facet_searches, compare_fetches, compare_searches
from tests.oracle.world import real_nodes, real_server, world


@pytest.mark.live
@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("mixed", [False, True], ids=["tidy", "mixed"])
@pytest.mark.parametrize(("settings", "nodes"), list(zip(VARIANTS, (3, 2, 2, 3, 3), strict=True)))
async def test_a_cluster_answers_as_one_server(
    tmp_path: Path, record: Record, settings: str, nodes: int, mixed: bool
) -> None:
    binary = real_server()
    if binary is None:
        pytest.skip("needs a Meilisearch binary on PATH or in MIROIR_MEILISEARCH")
    rng = random.Random(f"{SEED} variants {settings} {mixed}")
    chosen, requests = VARIANTS[settings], share("variants", parts=len(VARIANTS), mixed=mixed)
    documents = make_variants(rng, 1200, mixed=mixed)
    tally = Tally()
    with real_nodes(binary, nodes + 1) as urls:
        async with world(tmp_path / "cluster", urls, documents=documents, settings=chosen) as both:
            await compare_searches(both, tally, rng, queries=requests // 2, settings=chosen)
            await compare_fetches(both, tally, rng, queries=requests // 4, settings=chosen, count=len(documents))
            await compare_facet_searches(both, tally, rng, queries=requests // 4, settings=chosen, mixed=mixed)
    record(f"variants, {'mixed' if mixed else 'tidy'}", tally)
    assert not tally.unnamed, str(tally)
