"""What is asked of Redis: a cancellation ends it, whenever it comes."""

from __future__ import annotations

import asyncio
import random

from miroir_cli.store.redis.connection import connect
from tests.store.redis_server import RedisServer


async def test_whoever_is_cancelled_while_asking_is_cancelled(redis_server: RedisServer) -> None:
    access = connect(redis_server.url)
    went_on: list[int] = []

    async def ask(number: int) -> None:
        await access.ask("GET", "miroir:nothing")
        went_on.append(number)
        await asyncio.sleep(60)

    try:
        await access.ask("PING")
        for number in range(500):
            asking = asyncio.create_task(ask(number))
            await asyncio.sleep(random.uniform(0, 0.002))
            asking.cancel()
            async with asyncio.timeout(30):
                await asyncio.wait([asking])
            assert asking.cancelled()
    finally:
        await access.client.aclose()
