"""Writes what is in Redis at a schema version: `python -m tests.store.versions.make_redis > redis-1.json`.

`commands` rebuild it, `told` is what a store then says. Once a version was released its file stays as it is.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from miroir_cli.store.redis.access import Access
from miroir_cli.store.redis.store import RedisStore
from tests.store.redis_server import running_redis
from tests.store.versions.content import fill, told

NOTHING = re.compile("\0{64,}")
"""What is skipped of a long text that is mostly empty."""


async def _rebuilding(access: Access, key: str) -> list[list[Any]]:
    """The commands that make a key as it is, but that it does not expire."""
    match await access.ask("TYPE", key):
        case "string":
            text = await access.ask("GET", key)
            return _rebuilding_text(key, text) if NOTHING.search(text) else [["SET", key, text]]
        case "hash":
            pairs = sorted((await access.ask("HGETALL", key)).items())
            return [["HSET", key, *(part for pair in pairs for part in pair)]]
        case "zset":
            flat = await access.ask("ZRANGE", key, 0, -1, "WITHSCORES")
            return [["ZADD", key, *(part for name, score in flat for part in (score, name))]]
        case "list":
            return [["RPUSH", key, *await access.ask("LRANGE", key, 0, -1)]]
        case other:
            raise AssertionError(f"{key} is a {other}")


def _rebuilding_text(key: str, text: str) -> list[list[Any]]:
    assert text.isascii(), "one byte each"
    gaps = list(NOTHING.finditer(text))
    starts, ends = [0, *(gap.end() for gap in gaps)], [*(gap.start() for gap in gaps), len(text)]
    written = [["SETRANGE", key, start, text[start:end]] for start, end in zip(starts, ends, strict=True)]
    return [*(command for command in written if command[3]), ["SETRANGE", key, len(text) - 1, text[-1]]]


async def written(url: str) -> dict[str, Any]:
    store = await RedisStore.open(url)
    await fill(store)
    keys = sorted(await store.access.ask("KEYS", "*"))
    commands = [command for key in keys for command in await _rebuilding(store.access, key)]
    found = {"commands": commands, "told": await told(store)}
    await store.close()
    return found


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, running_redis(Path(folder)) as server:
        found = asyncio.run(written(server.url))
    commands = ",\n".join(json.dumps(command, ensure_ascii=False) for command in found["commands"])
    told = ",\n".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in found["told"].items())
    sys.stdout.write(f'{{"commands": [\n{commands}\n],\n"told": {{\n{told}\n}}}}\n')


if __name__ == "__main__":
    main()
