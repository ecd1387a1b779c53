"""How long searches take: one node asked directly, three at once, and these through miroir, in turns, in one process.

    python -m benchmarks.search [--documents N] [--queries N] [--replicas R]

Real servers from MIROIR_MEILISEARCH or `meilisearch` on PATH, else embedded nodes (whose times mean little). Prints
medians with one client and with eight, queries a second, miroir's own processor time a query, and the time to merge
three answers of 1,000 hits.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from miroir_cli.model import Index, IndexUid, NodeName, ShardId, StoredUid
from miroir_cli.search.merge import NodeAnswer, merge
from miroir_cli.search.reading import planner_of
from miroir_cli.search.request import prepare
from miroir_cli.search.scatter import search
from miroir_cli.search.window import enough
from tests.oracle.corpus import SETTINGS, Kinds, make_documents, make_query
from tests.oracle.world import UID, World, embedded_nodes, real_nodes, real_server, world

Ask = Callable[[dict[str, Any]], Awaitable[Any]]
CLIENTS = (1, 8)


def main() -> None:
    parser = argparse.ArgumentParser(description="Search through miroir and past it.")
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--queries", type=int, default=400)
    parser.add_argument("--replicas", type=int, default=1)
    options = parser.parse_args()
    for hits in (1000, enough(1000, 1 / 3)):
        say(f"merge of 3 x {hits:,} hits into 1,000: {merge_seconds(hits) * 1000:.1f} ms")
    binary = real_server()
    with tempfile.TemporaryDirectory() as folder:
        nodes = real_nodes(binary, 4) if binary else embedded_nodes(Path(folder), 4)
        say("engine: meilisearch" if binary else "engine: embedded (times mean little)")
        with nodes as urls:
            asyncio.run(run(Path(folder), urls, options))


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def run(folder: Path, urls: Sequence[str], options: argparse.Namespace) -> None:
    rng = random.Random(7)
    documents = make_documents(rng, options.documents)
    async with world(
        folder / "home",
        urls,
        documents=documents,
        settings=SETTINGS["default"],
        shards=24,
        replicas=options.replicas,
        lean_reads=True,
    ) as both:
        queries = [plain_query(rng) for _ in range(options.queries)]
        for clients in CLIENTS:
            await measure(both, queries, clients)


def plain_query(rng: random.Random) -> dict[str, Any]:
    """A query as a search box sends it: words, perhaps a filter, 20 hits."""
    query = make_query(rng, Kinds(distinct=False, frequency=False))
    return {key: query[key] for key in ("q", "filter", "sort") if key in query}


async def measure(both: World, queries: Sequence[dict[str, Any]], clients: int) -> None:
    whole = replace(both.cluster, features=None)
    asks: dict[str, Ask] = {
        "one node": lambda query: both.single.search(StoredUid(UID), query),
        "the nodes, unmerged": await unmerged(both),
        "miroir": lambda query: search(both.cluster, UID, query),
        "miroir, all hits of every node": lambda query: search(whole, UID, query),
    }
    for ask in asks.values():
        await asyncio.gather(*(ask(query) for query in queries[:clients]))
    took: dict[str, list[float]] = {name: [] for name in asks}
    wall, processor = dict.fromkeys(asks, 0.0), dict.fromkeys(asks, 0.0)
    rounds = [queries[begin : begin + 10 * clients] for begin in range(0, len(queries), 10 * clients)]
    for batch in rounds:
        for name, ask in asks.items():
            begin, used = time.perf_counter(), time.process_time()
            await together(ask, batch, clients, took[name])
            wall[name] += time.perf_counter() - begin
            processor[name] += time.process_time() - used
    for name in asks:
        say(
            f"{clients} client{'s' if clients > 1 else ''}, {name}: p50 {median(took[name]) * 1000:.1f} ms, "
            f"{len(queries) / wall[name]:.0f} queries/s, own CPU {processor[name] / len(queries) * 1000:.2f} ms a query"
        )


async def unmerged(both: World) -> Ask:
    """Send what miroir sends first, and read the answers as bytes: what any merge over these nodes takes at least."""
    index_map = await both.cluster.map(UID)
    asks = planner_of(both.cluster, index_map).plan(rotation=0).asks

    async def ask(query: dict[str, Any]) -> None:
        prepared = prepare(query, index_map.index)
        assert prepared is not None
        async with asyncio.TaskGroup() as group:
            for node, shards in asks.items():
                client = both.cluster.fleet[node]
                group.create_task(client.read_raw(f"indexes/{UID}/search", prepared.for_shards(shards)))

    return ask


async def together(ask: Ask, queries: Sequence[dict[str, Any]], clients: int, took: list[float]) -> None:
    waiting = iter(queries)

    async def client() -> None:
        for query in waiting:
            begin = time.perf_counter()
            await ask(query)
            took.append(time.perf_counter() - begin)

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(client())


def merge_seconds(hits: int) -> float:
    """The best of five merges of three answers with so many hits each."""
    index = Index(uid=IndexUid("books"), incarnation=1, primary_key="id", shards=3, replicas=1)
    prepared = prepare({"q": "sea", "limit": 1000, "sort": ["price:asc"]}, index)
    assert prepared is not None
    best = float("inf")
    for _ in range(5):
        answers = [made_answer(random.Random(shard), shard, hits) for shard in range(3)]
        begin = time.perf_counter()
        merge(prepared, answers, index)
        best = min(best, time.perf_counter() - begin)
    return best


def made_answer(rng: random.Random, shard: int, count: int) -> NodeAnswer:
    rows = sorted(
        (-rng.randint(1, 3), rng.randint(0, 2), round(rng.random() * 90, 2), rng.random()) for _ in range(count)
    )
    hits = [
        {
            "id": place * 3 + shard,
            "title": "a title of some words",
            "_rankingScoreDetails": {
                "words": {"order": 0, "matchingWords": -words, "maxMatchingWords": 3, "score": -words / 3},
                "typo": {"order": 1, "typoCount": typos, "maxTypoCount": 2, "score": 1.0},
                "price:asc": {"order": 2, "value": price},
                "proximity": {"order": 3, "score": 1 - proximity},
                "attributeRank": {"order": 4, "score": 1.0},
                "wordPosition": {"order": 5, "score": 1.0},
                "exactness": {"order": 6, "matchType": "noExactMatch", "matchingWords": 1, "maxMatchingWords": 3},
                "id:asc": {"order": 7, "value": float(place * 3 + shard)},
            },
        }
        for place, (words, typos, price, proximity) in enumerate(rows)
    ]
    body = {"hits": hits, "query": "sea", "processingTimeMs": 1, "limit": 1000, "offset": 0, "estimatedTotalHits": 1000}
    return NodeAnswer(node=NodeName(f"n{shard}"), shards=(ShardId(shard),), body=body)


if __name__ == "__main__":
    main()
