"""What records take in Redis's memory is what `docs/reference/memory.md` says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.memory import measure
from benchmarks.memory_kinds import KINDS, Kind
from miroir_cli.store.redis.connection import connect
from tests.store.redis_server import RedisServer, running_redis


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running_redis(tmp_path_factory.mktemp("redis"), "--appendonly", "no") as found:
        yield found


@pytest.mark.parametrize("kind", KINDS, ids=[kind.fill for kind in KINDS])
async def test_the_formula_is_right_within_a_tenth(server: RedisServer, kind: Kind) -> None:
    access = connect(server.url)
    version = (await access.ask("INFO", "server"))["redis_version"]
    await access.client.aclose()
    if not version.startswith("7."):
        pytest.skip(f"the figures are those of Redis 7, this is {version}")
    taken, characters = await measure(server.url, kind, kind.count)
    assert abs(kind.bytes(kind.count, characters) / taken - 1) < 0.1, (taken - characters) / kind.count
