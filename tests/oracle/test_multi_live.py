"""Multi-searches of one Meilisearch server against those of clusters; `run.py` says how many."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.oracle.conftest import Record
from tests.oracle.corpus import SETTINGS, Kinds, make_documents
from tests.oracle.multi import OTHER, compare_multi
from tests.oracle.run import APART, SEED, Tally, share
from tests.oracle.vectors import EMBEDDERS, with_vectors
from tests.oracle.world import UID, fill, real_nodes, real_server, two_sides

PAIRS = (("default", "sorted first", 3, 1), ("ranked", "default", 2, 1), ("private", "private", 3, 2))


@pytest.mark.live
@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("mixed", [False, True], ids=["tidy", "mixed"])
@pytest.mark.parametrize(("first", "second", "nodes", "replicas"), PAIRS)
async def test_a_cluster_answers_multi_searches_as_one_server(
    tmp_path: Path, record: Record, first: str, second: str, nodes: int, replicas: int, mixed: bool
) -> None:
    binary = real_server()
    if binary is None:
        pytest.skip("needs a Meilisearch binary on PATH or in MIROIR_MEILISEARCH")
    rng = random.Random(f"{SEED} {first} {second} {mixed}")
    tally = Tally()
    with real_nodes(binary, nodes + 1) as urls:
        async with two_sides(tmp_path / "cluster", urls, replicas=replicas) as both:
            for uid, name, count in ((UID, first, 1000), (OTHER, second, 300)):
                documents = with_vectors(rng, make_documents(rng, count, mixed=mixed))
                wanted = {**SETTINGS[name], "embedders": EMBEDDERS}
                await fill(both, uid, documents=documents, settings=wanted, plain=True)
            requests = share("multi", parts=len(PAIRS), mixed=mixed)
            sorts_first = "ranked" in (first, second)
            await compare_multi(both, tally, rng, requests=requests, kinds=Kinds(), sorts_first=sorts_first)
    record(f"multi, {'mixed' if mixed else 'tidy'}", tally)
    assert len(tally.unnamed) <= APART * tally.asked, str(tally)
