"""One store under contract, of each backend."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from miroir_cli.store.protocol import Replacement
from miroir_cli.store.redis.access import Access
from miroir_cli.store.redis.connection import connect, prepare
from miroir_cli.store.redis.inventory import fleeting_keys, possible_keys
from miroir_cli.store.redis.replacement import RedisReplacement
from miroir_cli.store.redis.store import RedisStore
from miroir_cli.store.sqlite.file import StateFile
from miroir_cli.store.sqlite.store import SqliteStore
from tests.store.process import Beside
from tests.store.redis_server import RedisServer

Open = Callable[[], Awaitable[Any]]
"""Open the store once more, as another process would."""


@pytest.fixture(params=["sqlite", "redis"])
async def another(request: pytest.FixtureRequest, tmp_path: Path, redis_server: RedisServer) -> AsyncIterator[Open]:
    """Opens the store of this test, as often as it is called; empty at first."""
    opened: list[Any] = []

    async def open_one() -> Any:
        if request.param == "sqlite":
            opened.append(SqliteStore.open(tmp_path / "state.db"))
        else:
            opened.append(await RedisStore.open(redis_server.url))
        return opened[-1]

    if request.param == "redis":
        first = await RedisStore.open(redis_server.url)
        await first.access.ask("FLUSHALL")
        await first.access.ask("CONFIG", "RESETSTAT")  # other tests may have looked for keys
        await first.close()
    yield open_one
    for store in opened:
        await store.close()
    if request.param == "redis":
        access = connect(redis_server.url)
        try:
            await nothing_was_looked_for(access)
            await every_key_is_known(access)
        finally:
            await access.client.aclose()


NO_STATE = (
    "miroir:schema_version",
    "miroir:lease",
    "miroir:peers",
    "miroir:listeners",
    "miroir:aside",
    "miroir:idemp",
)
"""How the keys begin that stay when a state is put aside."""

LOOKING = ("keys", "scan", "sscan", "hscan", "zscan", "randomkey")


async def nothing_was_looked_for(access: Access) -> None:
    """What is listed has a sorted set: a command that looks for keys takes longer, the more there is of all."""
    stats = await access.ask("INFO", "commandstats")
    assert {f"cmdstat_{command}" for command in LOOKING}.isdisjoint(stats)


async def every_key_is_known(access: Access) -> None:
    """Who puts a state aside finds all of it: a new kind of keys belongs into `store/redis/inventory.py`."""
    there = {key for key in await access.ask("KEYS", "*") if not key.startswith(NO_STATE)}
    assert there - {*await access.read(possible_keys), *await access.read(fleeting_keys)} == set()


@pytest.fixture
def replacement(request: pytest.FixtureRequest, another: Open, tmp_path: Path) -> Callable[[], Awaitable[Replacement]]:
    """What puts another state in the place of this test's; nobody has it open meanwhile."""

    async def make() -> Replacement:
        store = await another()
        if request.node.callspec.params["another"] == "redis":
            return RedisReplacement(store.access)
        await store.close()
        return StateFile(tmp_path / "state.db")

    return make


@pytest.fixture
def beside(request: pytest.FixtureRequest, another: Open, tmp_path: Path, redis_server: RedisServer) -> Beside:
    """The same, also for processes beside this one."""
    backend = request.node.callspec.params["another"]
    return Beside(redis_server.url if backend == "redis" else str(tmp_path / "state.db"), another)


@pytest.fixture
async def store(another: Open) -> Any:
    """One store, empty."""
    return await another()


@pytest.fixture
async def redis_store(redis_server: RedisServer) -> AsyncIterator[RedisStore]:
    """One store in Redis, empty."""
    found = await RedisStore.open(redis_server.url)
    await found.access.ask("FLUSHALL")
    await prepare(found.access)
    yield found
    await found.close()
