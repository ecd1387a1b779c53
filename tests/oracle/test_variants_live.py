"""`distinct`, facets and their like on real servers: 400 searches for each setting.

`MIROIR_ORACLE_VARIANTS` sets another number, `MIROIR_ORACLE_SEED` another catalogue.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.oracle.run import Tally
from tests.oracle.variants import VARIANTS, make_variants
from tests.oracle.variants_run import compare_facet_searches, compare_fetches, compare_searches
from tests.oracle.world import real_nodes, real_server, world

QUERIES = int(os.environ.get("MIROIR_ORACLE_VARIANTS", "400"))
SEED = os.environ.get("MIROIR_ORACLE_SEED", "1")


@pytest.mark.live
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("settings", "nodes"), list(zip(VARIANTS, (3, 2, 2, 3, 3), strict=True)))
async def test_a_cluster_answers_as_one_server(tmp_path: Path, settings: str, nodes: int) -> None:
    binary = real_server()
    if binary is None:
        pytest.skip("needs a Meilisearch binary on PATH or in MIROIR_MEILISEARCH")
    rng = random.Random(f"{SEED} variants {settings}")
    chosen = VARIANTS[settings]
    documents = make_variants(rng, 1200)
    tally = Tally()
    with real_nodes(binary, nodes + 1) as urls:
        async with world(tmp_path / "cluster", urls, documents=documents, settings=chosen) as both:
            await compare_searches(both, tally, rng, queries=QUERIES, settings=chosen)
            await compare_fetches(both, tally, rng, queries=QUERIES // 2, settings=chosen, count=len(documents))
            if "distinctAttribute" not in chosen:
                await compare_facet_searches(both, tally, rng, queries=QUERIES // 2, settings=chosen)
    (tmp_path / "tally.txt").write_text(str(tally))
    assert not tally.unnamed, str(tally)
