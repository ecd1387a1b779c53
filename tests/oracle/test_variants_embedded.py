"""`distinct`, facets and their like: one embedded node against clusters of them, in every run."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.oracle.run import Tally
from tests.oracle.variants import VARIANTS, make_variants
from tests.oracle.variants_run import compare_facet_searches, compare_fetches, compare_searches
from tests.oracle.world import embedded_nodes, world


@pytest.mark.parametrize(("settings", "nodes"), list(zip(VARIANTS, (3, 2, 2, 3, 3), strict=True)))
async def test_a_cluster_answers_as_one_node(tmp_path: Path, settings: str, nodes: int) -> None:
    rng = random.Random(f"variants {settings}")
    chosen = VARIANTS[settings]
    documents = make_variants(rng, 240)
    tally = Tally()
    with embedded_nodes(tmp_path, nodes + 1) as urls:
        async with world(tmp_path / "cluster", urls, documents=documents, settings=chosen) as both:
            await compare_searches(both, tally, rng, queries=60, settings=chosen)
            await compare_fetches(both, tally, rng, queries=40, settings=chosen, count=len(documents))
            await compare_facet_searches(both, tally, rng, queries=40, settings=chosen)
    assert not tally.unnamed, str(tally)
