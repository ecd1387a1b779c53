"""What each kind of record takes in Redis's memory: `python -m benchmarks.memory [--count N]`.

Writes records of each kind into a Redis of its own (`redis-server` on PATH) and adds up what MEMORY USAGE says of their
keys. Prints that, and how far off the formula of `docs/reference/memory.md` is.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
from pathlib import Path

from benchmarks import memory_records
from benchmarks.memory_kinds import KINDS, Kind
from benchmarks.search import say
from miroir_cli.store.redis.store import RedisStore
from tests.store.redis_server import running_redis


async def measure(url: str, kind: Kind, count: int) -> tuple[int, int]:
    """Bytes that records of a kind take in an empty database, and the characters of what varies in them."""
    store = await RedisStore.open(url)
    try:
        await store.access.ask("FLUSHALL")
        fill: memory_records.Fill = getattr(memory_records, kind.fill)
        characters = await fill(store, count, random.Random(7))
        taken = 0
        for key in await store.access.ask("KEYS", "*"):
            if key.removeprefix("miroir:").partition(":")[0] in kind.keys:
                taken += await store.access.ask("MEMORY", "USAGE", key, "SAMPLES", 0)
        return taken, characters
    finally:
        await store.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, help="of each kind, instead of its own number")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, running_redis(Path(name), "--appendonly", "no") as server:
        for kind in KINDS:
            count = options.count or kind.count
            taken, characters = asyncio.run(measure(server.url, kind, count))
            beside = f" and {kind.beside}" if kind.beside else ""
            say(
                f"{kind.of}: {(taken - characters) / count:.0f} bytes{beside}, {taken / count:.0f} together; "
                f"the formula says {kind.bytes(count, characters) / taken - 1:+.1%}"
            )


if __name__ == "__main__":
    main()
