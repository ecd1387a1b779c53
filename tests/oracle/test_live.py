"""One Meilisearch server against clusters of them: 3,000 queries, at most 0.3 % apart without a known name.

`MIROIR_ORACLE_QUERIES` sets another number of queries, `MIROIR_ORACLE_SEED` another corpus.
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import pytest

from tests.oracle.corpus import SETTINGS, Kinds, make_documents
from tests.oracle.run import Tally, compare
from tests.oracle.world import real_nodes, real_server, world

QUERIES = int(os.environ.get("MIROIR_ORACLE_QUERIES", "3000"))
SEED = os.environ.get("MIROIR_ORACLE_SEED", "1")
APART = 0.003
CLUSTERS = ((3, 1), (3, 2), (2, 1), (4, 2))


@pytest.mark.live
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("settings", "cluster"), list(zip(SETTINGS, CLUSTERS, strict=True)))
async def test_a_cluster_answers_as_one_server(tmp_path: Path, settings: str, cluster: tuple[int, int]) -> None:
    binary = real_server()
    if binary is None:
        pytest.skip("needs a Meilisearch binary on PATH or in MIROIR_MEILISEARCH")
    nodes, replicas = cluster
    rng = random.Random(f"{SEED} {settings}")
    documents = make_documents(rng, 1500, text_keys=nodes == 2)
    tally = Tally()
    with real_nodes(binary, nodes + 1) as urls:
        async with world(
            tmp_path / "cluster", urls, documents=documents, settings=SETTINGS[settings], replicas=replicas
        ) as both:
            await compare(both, tally, rng, queries=QUERIES // len(SETTINGS), kinds=Kinds())
    sys.stdout.write(f"{settings}: {tally}\n")  # shown with `-rP`
    assert len(tally.unnamed) <= APART * tally.asked, str(tally)
