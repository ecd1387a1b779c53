"""A second process that has the store of a test open."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

_FRAME = """
import asyncio, json, sys
from pathlib import Path
from miroir_cli.store.redis.store import RedisStore
from miroir_cli.store.sqlite.store import SqliteStore

{code}

async def main(url, arguments):
    store = await RedisStore.open(url) if url.startswith("redis:") else SqliteStore.open(Path(url))
    try:
        return await {name}(store, *arguments)
    finally:
        await store.close()

print(json.dumps(asyncio.run(main(sys.argv[1], sys.argv[2:]))))
"""


@dataclass(frozen=True)
class Beside:
    """Opens the store of a test here, and in processes beside. `url`: a file's path, or Redis's address."""

    url: str
    open: Callable[[], Awaitable[Any]]

    async def run(self, code: str, name: str, *arguments: str) -> Any:
        """What the function of this name in the code returns, given the store; None when its process was killed."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _FRAME.format(code=code, name=name), self.url, *arguments,
            cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, wrong = await process.communicate()
        if process.returncode == -9:
            return None
        assert process.returncode == 0, wrong.decode()
        return json.loads(out)
