"""Multi-searches of one embedded node against those of clusters of them, in every run."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.oracle.corpus import make_documents
from tests.oracle.multi import OTHER, compare_multi
from tests.oracle.run import Tally
from tests.oracle.test_embedded import EMBEDDED, KINDS
from tests.oracle.vectors import EMBEDDERS, with_vectors
from tests.oracle.world import UID, embedded_nodes, fill, two_sides


@pytest.mark.parametrize(
    ("first", "second", "nodes", "replicas"),
    [("default", "sorted first", 3, 1), ("ranked", "default", 2, 1), ("private", "private", 3, 2)],
)
async def test_a_cluster_answers_multi_searches_as_one_node(
    tmp_path: Path, first: str, second: str, nodes: int, replicas: int
) -> None:
    rng = random.Random(f"{first} {second}")
    tally = Tally()
    with embedded_nodes(tmp_path, nodes + 1) as urls:
        async with two_sides(tmp_path / "cluster", urls, replicas=replicas) as both:
            for uid, name, count in ((UID, first, 200), (OTHER, second, 80)):
                documents = with_vectors(rng, make_documents(rng, count))
                wanted = {**EMBEDDED[name], "embedders": EMBEDDERS}
                await fill(both, uid, documents=documents, settings=wanted, plain=True)
            await compare_multi(both, tally, rng, requests=50, kinds=KINDS, brief=True)
    assert not tally.unnamed, str(tally)
    assert tally.asked - sum(tally.named.values()) > 30
