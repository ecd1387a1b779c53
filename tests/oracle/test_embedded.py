"""One embedded node against clusters of them, in every run."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.oracle.corpus import SETTINGS, Kinds, make_documents
from tests.oracle.run import Tally, compare
from tests.oracle.world import embedded_nodes, world

KINDS = Kinds(frequency=False, formatting=False)
"""What the embedded node answers as a real one does. `_formatted` is left to the real ones."""

EMBEDDED = {name: {**settings, "faceting": {"maxValuesPerFacet": 25}} for name, settings in SETTINGS.items()}
"""A limit that the numbers of a facet with texts do not reach: Meilisearch then lists all the texts, the embedded node
none."""


@pytest.mark.parametrize(
    ("settings", "nodes", "replicas"),
    [("default", 3, 1), ("ranked", 2, 1), ("private", 3, 2), ("sorted first", 4, 2)],
)
async def test_a_cluster_answers_as_one_node(tmp_path: Path, settings: str, nodes: int, replicas: int) -> None:
    rng = random.Random(f"{settings} {nodes}")
    documents = make_documents(rng, 250, text_keys=nodes == 2)
    tally = Tally()
    with embedded_nodes(tmp_path, nodes + 1) as urls:
        async with world(
            tmp_path / "cluster", urls, documents=documents, settings=EMBEDDED[settings], replicas=replicas
        ) as both:
            await compare(both, tally, rng, queries=60, kinds=KINDS)
    assert not tally.unnamed, str(tally)
