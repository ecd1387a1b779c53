"""Sessions of admins, on every backend: they end, and can be revoked before."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest

from miroir_cli.store.records_services import AdminSession
from miroir_cli.store.redis.admin_sessions import REVOKED
from miroir_cli.store.redis.store import RedisStore
from tests.store.conftest import Open


def now() -> int:
    return time.time_ns() // 1_000_000


def a_session(id: str, *, ends_in: int = 600_000, **more: Any) -> AdminSession:
    return AdminSession(
        session_id=id,
        csrf_token=f"csrf-{id}",
        admin_key_hash="a" * 64,
        created_at=now(),
        expires_at=now() + ends_in,
        **more,
    )


async def test_sessions_are_found_until_they_end(store: Any) -> None:
    last = a_session("a", ends_in=900_000, user_agent="curl/8", source_ip="10.0.0.1")
    first, ended = a_session("b"), a_session("c", ends_in=-1)
    for each in (last, first, ended):
        await store.add_admin_session(each)
    assert await store.admin_session("a") == last
    assert await store.admin_session("c") is None and await store.admin_session("d") is None
    assert await store.admin_sessions() == (first, last)


async def test_a_session_ends_while_it_is_looked_at(store: Any) -> None:
    await store.add_admin_session(a_session("a", ends_in=50))
    end = time.monotonic() + 30
    while await store.admin_session("a") is not None:
        assert time.monotonic() < end
        await asyncio.sleep(0.01)
    assert await store.admin_sessions() == () and not await store.revoke_admin_session("a")


async def test_a_revoked_session_is_known_as_one(another: Open) -> None:
    here, there = await another(), await another()
    session = a_session("a")
    await here.add_admin_session(session)
    assert await there.revoke_admin_session("a") and await there.revoke_admin_session("a")
    assert await here.admin_session("a") == replace(session, revoked=True)
    assert not await here.revoke_admin_session("b")
    await here.add_admin_session(a_session("c"))
    assert [each.session_id for each in await there.admin_sessions() if not each.revoked] == ["c"]


async def test_everybody_is_told_of_a_revoked_session(store: Any) -> None:
    if not isinstance(store, RedisStore):
        pytest.skip("one host: whoever asks finds it in the file")
    async with store.access.client.pubsub() as channel:
        await channel.subscribe(REVOKED)
        await channel.get_message(timeout=30)
        await store.add_admin_session(a_session("a"))
        await store.revoke_admin_session("a")
        told = await channel.get_message(timeout=30)
    assert (told["channel"], told["data"]) == ("miroir:admin_session:revoked", "a")


async def test_redis_forgets_a_session_by_itself_at_its_end(store: Any) -> None:
    if not isinstance(store, RedisStore):
        pytest.skip("rows are deleted when the next session begins")
    await store.add_admin_session(a_session("a"))
    await store.revoke_admin_session("a")
    assert 0 < await store.access.ask("PTTL", "miroir:admin_session:a") <= 600_000
    await store.add_admin_session(a_session("b", ends_in=-1))
    assert await store.access.ask("EXISTS", "miroir:admin_session:b") == 0
    await store.add_admin_session(a_session("c"))
    assert await store.access.ask("ZRANGE", "miroir:admin_session:_index", 0, -1) == ["a", "c"]
