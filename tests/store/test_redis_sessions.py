"""Sessions in Redis, where others write while the oldest are forgotten."""

from __future__ import annotations

from miroir_cli.store.redis.sessions import SESSIONS, forget_oldest
from miroir_cli.store.redis.store import RedisStore
from miroir_cli.store.redis.transaction import Transaction
from tests.store.contract.world import with_index


async def test_a_session_that_writes_again_while_the_oldest_go_is_kept(redis_store: RedisStore) -> None:
    store = redis_store
    await with_index(store)
    for number in range(3):
        await store.remember_session(f"s{number}", "books", 9)
        key = (await store.access.ask("ZRANGE", SESSIONS, -1, -1))[0]
        await store.access.ask("ZINCRBY", SESSIONS, number - 5000, key)
    attempts = 0

    async def forget_meanwhile(tx: Transaction) -> int:
        nonlocal attempts
        attempts += 1
        gone = await forget_oldest(tx, most=2)
        if attempts == 1:
            await store.remember_session("s0", "books", 10)
        return gone

    await store.access.write(forget_meanwhile)
    assert attempts == 2, "what was to go is looked at again before it does"
    left = [await store.session_waits_for(f"s{number}", "books") for number in range(3)]
    assert left == [10, None, 9]
