"""One Meilisearch server against clusters of them: searches by words.

`python -m pytest -m live -rP tests/oracle` asks requests of all kinds; `run.py` says how many, and of which corpora.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.oracle.conftest import Record
from tests.oracle.corpus import SETTINGS, Kinds, make_documents
from tests.oracle.run import APART, SEED, Tally, compare, share
from tests.oracle.world import real_nodes, real_server, world

CLUSTERS = ((3, 1), (3, 2), (2, 1), (4, 2))


@pytest.mark.live
@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("mixed", [False, True], ids=["tidy", "mixed"])
@pytest.mark.parametrize(("settings", "cluster"), list(zip(SETTINGS, CLUSTERS, strict=True)))
async def test_a_cluster_answers_as_one_server(
    tmp_path: Path, record: Record, settings: str, cluster: tuple[int, int], mixed: bool
) -> None:
    binary = real_server()
    if binary is None:
        pytest.skip("needs a Meilisearch binary on PATH or in MIROIR_MEILISEARCH")
    nodes, replicas = cluster
    rng = random.Random(f"{SEED} {settings} {mixed}")
    documents = make_documents(rng, 1500, text_keys=nodes == 2, mixed=mixed)
    tally = Tally()
    with real_nodes(binary, nodes + 1) as urls:
        async with world(
            tmp_path / "cluster", urls, documents=documents, settings=SETTINGS[settings], replicas=replicas
        ) as both:
            queries = share("plain", parts=len(SETTINGS), mixed=mixed)
            await compare(both, tally, rng, queries=queries, kinds=Kinds())
    record(f"plain, {'mixed' if mixed else 'tidy'}", tally)
    assert len(tally.unnamed) <= APART * tally.asked, str(tally)
