"""How long a search with a facet of many values takes: one node asked directly, and a cluster of three, in turns.

    python -m benchmarks.facets [--documents N] [--values N] [--queries N]

Real servers from MIROIR_MEILISEARCH or `meilisearch` on PATH, else embedded nodes (whose times mean little). Prints
medians for 100 values shown in either order, and whether all answers
showed the same counts.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from miroir_cli.model import StoredUid
from miroir_cli.search.scatter import search
from tests.oracle.corpus import WORDS
from tests.oracle.world import UID, World, embedded_nodes, real_nodes, real_server, world

QUERIES: dict[str, dict[str, Any]] = {
    "all documents": {},
    "those with a frequent word": {"q": "river"},
    "those with a rare word": {"q": "zephyr"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Facets of many values through miroir and past it.")
    parser.add_argument("--documents", type=int, default=30_000)
    parser.add_argument("--values", type=int, default=10_000)
    parser.add_argument("--queries", type=int, default=40)
    options = parser.parse_args()
    binary = real_server()
    say("engine: meilisearch" if binary else "engine: embedded (times mean little)")
    for order in ("alpha", "count"):
        with tempfile.TemporaryDirectory() as folder:
            with real_nodes(binary, 4) if binary else embedded_nodes(Path(folder), 4) as urls:
                asyncio.run(run(Path(folder), urls, order, options))


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def run(folder: Path, urls: Sequence[str], order: str, options: argparse.Namespace) -> None:
    rng = random.Random(7)
    documents = [make_document(rng, key, options.values) for key in range(options.documents)]
    settings = {"filterableAttributes": ["brand"], "faceting": {"sortFacetValuesBy": {"*": order}}}
    home = folder / "home"
    async with world(home, urls, documents=documents, settings=settings, shards=24, lean_reads=True) as both:
        for name, query in QUERIES.items():
            await measure(both, f"{order}, {name}", {**query, "facets": ["brand"]}, options.queries)


def make_document(rng: random.Random, key: int, values: int) -> dict[str, Any]:
    """The first documents have a brand each, the others one of those, some far more often than others."""
    title = " ".join(rng.choices(WORDS, weights=range(len(WORDS), 0, -1), k=5))
    chosen = key if key < values else min(int(rng.expovariate(6 / values)), values - 1)
    return {"id": key, "title": title, "brand": f"brand {chosen * 7919 % values:05d}"}


async def measure(both: World, name: str, query: dict[str, Any], times: int) -> None:
    took: dict[str, list[float]] = {"one node": [], "miroir": []}
    equal = True
    for _ in range(times + 2):
        begin = time.perf_counter()
        single = await both.single.search(StoredUid(UID), query)
        between = time.perf_counter()
        cluster = await search(both.cluster, UID, query)
        took["one node"].append(between - begin)
        took["miroir"].append(time.perf_counter() - between)
        equal = equal and shown(single) == shown(cluster)
    one, other = (median(took[side][2:]) * 1000 for side in took)
    say(f"{name}: one node {one:.1f} ms, miroir {other:.1f} ms, equal: {equal}")


def shown(body: dict[str, Any]) -> list[int]:
    """The counts in order; which of the values with equal counts come first is left to each side."""
    return list(body["facetDistribution"]["brand"].values())


if __name__ == "__main__":
    main()
