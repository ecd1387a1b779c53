"""What is wrong with a request is said as one node says it: embedded nodes in every run, and real ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.oracle.errors import MULTI_SEARCHES, SEARCHES, SETTINGS, differently_refused
from tests.oracle.world import UID, embedded_nodes, fill, real_nodes, real_server, two_sides

DOCUMENTS: list[dict[str, Any]] = [
    {"id": key, "title": f"sun {key}", "color": "red", "price": key, "secret": key, "meta": {"x": key}}
    for key in range(20)
]


def test_there_are_many() -> None:
    assert len(SEARCHES) + len(MULTI_SEARCHES) > 100


async def test_a_cluster_of_embedded_nodes_refuses_as_one(tmp_path: Path) -> None:
    with embedded_nodes(tmp_path, 4) as urls:
        await _compare(tmp_path / "cluster", urls, embedded=True)


@pytest.mark.live
async def test_a_cluster_of_servers_refuses_as_one(tmp_path: Path) -> None:
    binary = real_server()
    if binary is None:
        pytest.skip("needs a Meilisearch binary on PATH or in MIROIR_MEILISEARCH")
    with real_nodes(binary, 4) as urls:
        await _compare(tmp_path / "cluster", urls, embedded=False)


async def _compare(folder: Path, urls: list[str], *, embedded: bool) -> None:
    settings = {**SETTINGS, "displayedAttributes": ["*"]} if embedded else SETTINGS
    async with two_sides(folder, urls) as both:
        await fill(both, UID, documents=DOCUMENTS, settings=settings, plain=True)
        wrong = await differently_refused(both, embedded=embedded)
    assert not wrong, "\n".join(wrong)
