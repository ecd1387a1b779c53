"""Multi-searches of one Meilisearch server against those of clusters.

`MIROIR_ORACLE_QUERIES` sets another number of requests, `MIROIR_ORACLE_SEED` another corpus.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.oracle.corpus import SETTINGS, Kinds, make_documents
from tests.oracle.multi import OTHER, compare_multi
from tests.oracle.run import Tally
from tests.oracle.world import UID, fill, real_nodes, real_server, two_sides

REQUESTS = int(os.environ.get("MIROIR_ORACLE_QUERIES", "800"))
SEED = os.environ.get("MIROIR_ORACLE_SEED", "1")
APART = 0.003
PAIRS = (("default", "sorted first", 3, 1), ("ranked", "default", 2, 1), ("private", "private", 3, 2))


@pytest.mark.live
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("first", "second", "nodes", "replicas"), PAIRS)
async def test_a_cluster_answers_multi_searches_as_one_server(
    tmp_path: Path, first: str, second: str, nodes: int, replicas: int
) -> None:
    binary = real_server()
    if binary is None:
        pytest.skip("needs a Meilisearch binary on PATH or in MIROIR_MEILISEARCH")
    rng = random.Random(f"{SEED} {first} {second}")
    tally = Tally()
    with real_nodes(binary, nodes + 1) as urls:
        async with two_sides(tmp_path / "cluster", urls, replicas=replicas) as both:
            await fill(both, UID, documents=make_documents(rng, 1000), settings=SETTINGS[first], plain=True)
            await fill(both, OTHER, documents=make_documents(rng, 300), settings=SETTINGS[second], plain=True)
            await compare_multi(both, tally, rng, requests=REQUESTS // len(PAIRS), kinds=Kinds())
    (tmp_path / "tally.txt").write_text("\n".join([str(tally), *tally.unnamed]))
    assert len(tally.unnamed) <= APART * tally.asked, str(tally)
