"""How a change reaches processes that search meanwhile: `python -m benchmarks.epochs`.

    python -m benchmarks.epochs [--processes N] [--flips N]

Proxies in processes of their own, without sockets before them, over one Redis. An alias flips again and again, a node
joins and is drained again. Prints the time from each change until each process has said in Redis that it remembers
nothing older, and counts the answers that were short or rested on an old map: both must be 0. Real servers from
MIROIR_MEILISEARCH or `meilisearch` on PATH, else embedded nodes; a `redis-server` or `valkey-server` has to be there.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from benchmarks.search import say
from miroir_cli.cluster import Cluster, open_cluster
from miroir_cli.indexes.aliases import create_alias, flip_alias
from miroir_cli.migration.rebalance import Change, rebalance
from miroir_cli.migration.run import RunOptions
from miroir_cli.model import Index, Node, NodeName
from miroir_cli.topology.document import TopologyDocument
from miroir_cli.topology.file import load_topology, render_topology
from tests.faults.moving import hook
from tests.faults.readers import Answer, Flip, allowed, reading
from tests.faults.world import Ledger, create, keys_of_every_shard, put
from tests.oracle.world import embedded_nodes, real_nodes, real_server
from tests.store.redis_server import running_redis

SHARDS = 8
POLL = 0.01


def main() -> None:
    parser = argparse.ArgumentParser(description="Change the cluster while many processes read.")
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--flips", type=int, default=20)
    options = parser.parse_args()
    binary = real_server()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        urls = stack.enter_context(real_nodes(binary, 4) if binary else embedded_nodes(folder, 4))
        redis = stack.enter_context(running_redis(folder / "redis"))
        nodes = tuple(Node(name=NodeName(f"n{number}"), url=url) for number, url in enumerate(urls, 1))
        path = folder / "miroir.toml"
        path.write_text(render_topology(name="epochs", nodes=nodes[:3], shards=SHARDS, replicas=2, state_url=redis.url))
        say(f"engine: {'meilisearch' if binary else 'embedded'}, {options.processes} processes, one Redis")
        sys.exit(asyncio.run(measure(path, nodes[3], folder / "readers", options.processes, options.flips)))


async def measure(path: Path, spare: Node, folder: Path, processes: int, flips: int) -> int:
    """Print what was measured; how many answers were wrong."""
    async with open_cluster(load_topology(path), command="benchmark") as cluster:
        books, films = await create(cluster, "books"), await create(cluster, "films")
        keys, others = keys_of_every_shard(books, each=5), keys_of_every_shard(films, each=5, prefix="f")
        await put(cluster, books, dict.fromkeys(keys, 1), Ledger())
        await put(cluster, films, dict.fromkeys(others, 1), Ledger())
        await create_alias(cluster, "live", ["films"])
        with reading(folder, [path] * processes, "books", "live") as readers:
            await readers.until_ready()
            flipped, reached = await flip(cluster, flips)
            tell("an alias flips", reached)
            written = [await move(path, spare, books, keys, drained=drained) for drained in (False, True)]
            answers = await readers.end()
    return judge(answers, sorted(keys), sorted(others), flipped, written)


async def flip(cluster: Cluster, times: int) -> tuple[list[Flip], list[float]]:
    """Each flip, and how long after it each process knew of it."""
    flips: list[Flip] = []
    reached: list[float] = []
    for number in range(times):
        target = ("books", "films")[number % 2]
        began = time.monotonic()
        await flip_alias(cluster, "live", [target])
        flips.append(Flip(target=target, began=began, ended=time.monotonic()))
        reached += await known_after(cluster, await cluster.store.epoch())
        await asyncio.sleep(0.13)  # out of step with those that look once a second
    return flips, reached


async def known_after(cluster: Cluster, epoch: int) -> list[float]:
    """Seconds until each process that reads has said that it knows this epoch."""
    began, seconds = time.monotonic(), []
    waiting = {each.process for each in await cluster.locks.unaware(epoch)}
    while waiting:
        await asyncio.sleep(POLL)
        left = {each.process for each in await cluster.locks.unaware(epoch)}
        seconds += [time.monotonic() - began] * len(waiting - left)
        waiting &= left
    return seconds


async def move(path: Path, spare: Node, index: Index, keys: Sequence[str], *, drained: bool) -> tuple[float, int]:
    """Let a node join, or be drained: when a write after that was acknowledged, and its value."""
    document = TopologyDocument.load(path)
    if drained:
        document.change_node(spare.name, drained=True)
    else:
        document.add_node(spare)
    document.save()
    async with open_cluster(load_topology(path), command="benchmark") as cluster:
        looks: list[asyncio.Task[list[float]]] = []

        async def switched(*_: object, **__: object) -> None:
            looks.append(asyncio.create_task(known_after(cluster, await cluster.store.epoch())))

        hook(cluster, after_switch=switched)
        began = time.monotonic()
        await rebalance(cluster, Change(title="benchmark"), options=RunOptions())
        took = time.monotonic() - began
        tell(f"a shard moves ({len(looks)} in {took:.1f} s)", [each for look in looks for each in await look])
        value = 3 if drained else 2
        await put(cluster, index, dict.fromkeys(keys, value), Ledger())
        return time.monotonic(), value


def judge(
    answers: Sequence[Sequence[Answer]],
    keys: Sequence[str],
    others: Sequence[str],
    flips: list[Flip],
    written: Sequence[tuple[float, int]],
) -> int:
    whole = {"books": list(keys), "films": list(others)}
    every = [answer for each in answers for answer in each]
    good = [answer for answer in every if answer.status == 200]
    short = [answer for answer in good if answer.found not in whole.values()]
    old = [answer for answer in good if answer.name == "books" and answer.newest < _oldest_allowed(answer, written)]
    for answer in good:
        if answer.name == "live" and answer.began > flips[0].ended:
            stood_for = [whole[target] for target in allowed(answer, flips)]
            old += [answer] * (answer.found not in stood_for)
    marked = sum(bool(answer.degraded) for answer in good)
    say(
        f"{len(every)} searches, {len(every) - len(good)} refused, {marked} marked as from memory; "
        f"short: {len(short)}, resting on an old map: {len(old)}"
    )
    return min(len(short) + len(old), 1)


def _oldest_allowed(answer: Answer, written: Sequence[tuple[float, int]]) -> int:
    return max((value for moment, value in written if moment < answer.began), default=1)


def tell(what: str, seconds: Sequence[float]) -> None:
    if seconds:
        say(f"{what}: known to a process after p50 {median(seconds):.2f} s, at most {max(seconds):.2f} s")
    else:
        say(f"{what}: known to all at once")


if __name__ == "__main__":
    main()
