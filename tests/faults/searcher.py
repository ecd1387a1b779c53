"""A process of its own that reads by an alias until it is stopped, and sees whose documents it is given.

    python -m tests.faults.searcher TOPOLOGY LEDGER NUMBER

The ledger says how many flips were begun and how many have returned; the alias stands for one index after the other
(`TARGETS`). A read that lies between two looks at it must be of one target: of the one that the last flip has led to
that had returned before, or of one of a flip that was begun by the end. The process writes how many reads it has made
beside the ledger.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from miroir_cli.cluster import Patience, open_cluster
from miroir_cli.documents.read import get_document
from miroir_cli.search.browse import browse
from miroir_cli.search.multi import multi_search, search_named
from miroir_cli.topology.file import load_topology

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster

LIVE = "live"
TARGETS = ("books", "films", "shelf")
STOPPED = "stopped"


@dataclass(kw_only=True)
class Flips:
    """The ledger: a file that is replaced with every change of it."""

    path: Path

    def tell(self, text: str) -> None:
        fresh = self.path.with_suffix(".new")
        fresh.write_text(text)
        os.replace(fresh, self.path)

    def begin(self, number: int) -> None:
        """Flip `number` is about to be made; those before it have returned."""
        self.tell(f"{number} {number - 1}")

    def returned(self, number: int) -> None:
        self.tell(f"{number} {number}")

    def stop(self) -> None:
        self.tell(STOPPED)

    def read(self) -> tuple[int, int] | None:
        """How many were begun, and how many have returned; None: it is time to stop."""
        text = self.path.read_text()
        if text == STOPPED:
            return None
        begun, returned = text.split()
        return int(begun), int(returned)

    def reads_of(self, number: int) -> Path:
        """Where a searcher writes how many reads it has made."""
        return self.path.with_name(f"searcher{number}")


def target(number: int) -> str:
    """What the alias stands for once so many flips were made."""
    return TARGETS[number % len(TARGETS)]


async def _search(cluster: Cluster) -> Iterator[str]:
    answer = await search_named(cluster, LIVE, {"q": "", "limit": 100, "facets": ["of"]})
    assert len(answer["hits"]) == answer["estimatedTotalHits"] == sum(answer["facetDistribution"]["of"].values())
    return iter([*(hit["of"] for hit in answer["hits"]), *answer["facetDistribution"]["of"]])


async def _get(cluster: Cluster) -> Iterator[str]:
    return iter([(await get_document(cluster, LIVE, "same"))["of"]])


async def _browse(cluster: Cluster) -> Iterator[str]:
    return (each["of"] for each in (await browse(cluster, LIVE, {"limit": 100}))["results"])


async def _several(cluster: Cluster) -> Iterator[str]:
    answer = await multi_search(cluster, {"queries": [{"indexUid": LIVE, "q": ""}, {"indexUid": LIVE, "q": "same"}]})
    return (hit["of"] for each in answer["results"] for hit in each["hits"])


async def _main(topology: Path, flips: Flips, number: int) -> None:
    chance, made = random.Random(number), 0
    async with open_cluster(load_topology(topology), command="searcher", patience=Patience(answer=30.0)) as cluster:
        while (before := flips.read()) is not None:
            of = set(await chance.choice((_search, _get, _browse, _several))(cluster))
            after = flips.read() or before
            assert len(of) == 1, f"an answer of several targets: {of}"
            allowed = {target(flip) for flip in range(before[1], after[0] + 1)}
            assert of <= allowed, f"an answer of {of} between flips {before} and {after}"
            made += 1
            flips.reads_of(number).write_text(str(made))


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), Flips(path=Path(sys.argv[2])), int(sys.argv[3])))
