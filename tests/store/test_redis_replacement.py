"""Replacing the state in Redis: where the old one goes, key by key, and what stays."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from miroir_cli.errors import LeaseLost, StateTooNew
from miroir_cli.model import NodeName, WriteKind
from miroir_cli.store.fence import Lease, holding
from miroir_cli.store.journal import StepRecord
from miroir_cli.store.records import Found
from miroir_cli.store.redis.access import Access
from miroir_cli.store.redis.connection import SCHEMA, connect
from miroir_cli.store.redis.keys import listing
from miroir_cli.store.redis.replacement import CALLED, RedisReplacement
from miroir_cli.store.redis.store import RedisStore
from miroir_cli.store.tasks import NewTask, Webhook
from tests.store.contract.test_names import a_run
from tests.store.contract.test_rebuild import STATE
from tests.store.contract.world import BOOKS, ONE, ZERO, A, with_index
from tests.store.redis_server import RedisServer, running_redis


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running_redis(tmp_path_factory.mktemp("redis")) as found:
        yield found


@pytest.fixture
async def access(server: RedisServer) -> AsyncIterator[Access]:
    found = connect(server.url)
    await found.ask("FLUSHALL")
    yield found
    await found.client.aclose()


async def keys(access: Access) -> set[str]:
    return set(await access.ask("KEYS", "*"))


async def replace(access: Access) -> str | None:
    replacement = RedisReplacement(access)
    await replacement.build(STATE)
    aside = await replacement.set_aside()
    await replacement.take_place()
    return aside


async def test_a_server_without_a_state_is_told_from_one_with_an_empty_one(access: Access) -> None:
    assert await RedisReplacement(access).inspect() == Found(exists=False, called=CALLED)
    assert await replace(access) is None
    assert (await RedisReplacement(access).inspect()).cluster == STATE.cluster
    assert not {name for name in await keys(access) if name.startswith("miroir:aside")}


async def test_a_state_of_a_newer_miroir_is_not_taken_for_an_empty_one(access: Access) -> None:
    await access.ask("SET", SCHEMA, 99)
    with pytest.raises(StateTooNew):
        await RedisReplacement(access).inspect()


async def filled(server: RedisServer) -> int:
    """Something of many kinds, and when its index was created."""
    store: Any = await RedisStore.open(server.url)
    index = (await with_index(store)).index
    await store.note_settings(index, [A], 3)
    intent = await store.open_intent(
        index,
        kind=WriteKind.ADD,
        documents={ZERO: 1},
        nonce="x",
        min_in_sync=1,
        owner="test",
        task=NewTask(type="documentAdditionOrUpdate", index_uid=BOOKS),
    )
    await store.account(index, A, [77])
    await store.join(index, ONE, NodeName("c"), nonce="mover", top=5)
    await store.remember_session("s", BOOKS, intent.n)
    await store.begin_import(uid=BOOKS, incarnation=index.incarnation, fingerprint={}, options={})
    await store.begin_run(a_run(), [StepRecord(number=1, index=BOOKS, incarnation=1, shard=ZERO, target=A)])
    await store.save_webhook(Webhook(uuid="w", url="http://w", headers={}))
    await store.close()
    return int(index.created_at)


async def test_every_key_of_the_old_state_goes_aside_and_nothing_else(access: Access, server: RedisServer) -> None:
    created_at = await filled(server)
    await access.ask("SET", "miroir:lease:run", "held")
    await access.ask("SET", "another program's", "value")
    stays = {SCHEMA, "miroir:lease:run", "another program's"}
    before = {name for name in await keys(access) - stays if not name.startswith("miroir:sessions:")}
    aside = await replace(access)
    assert aside is not None and aside.startswith("miroir:aside:2")
    moved = {f"{aside}:{name.removeprefix('miroir:')}" for name in before}
    name = aside.removeprefix("miroir:aside:")
    assert set(await access.ask("ZRANGE", listing("aside", name), 0, -1)) == moved
    assert await access.ask("ZRANGE", listing("aside"), 0, -1) == [name]
    new = {name for name in await keys(access) if not name.startswith("miroir:aside")} - stays
    assert moved <= await keys(access) and stays <= await keys(access)
    assert new == {
        "miroir:cluster",
        "miroir:counters",
        "miroir:deleted",
        "miroir:indexes:_index",
        "miroir:indexes:books",
        "miroir:lanes:books",
        "miroir:members",
        "miroir:members:_index",
        "miroir:placements:books",
        "miroir:settings:books",
        "miroir:stored_names",
    }
    assert await access.ask("HGET", f"{aside}:indexes:books", "created_at") == str(created_at)


async def test_numbers_that_were_given_once_are_not_given_again(access: Access, server: RedisServer) -> None:
    await filled(server)
    await replace(access)
    store: Any = await RedisStore.open(server.url)
    assert await store.runs() == () and (await store.begin_run(a_run(), [])).id == 2
    assert await store.task(1) is None
    task = await store.add_task(NewTask(type="indexCreation", index_uid="films"))
    assert task.uid > 0
    await store.close()


async def test_who_is_not_alone_any_more_replaces_nothing(access: Access) -> None:
    await replace(access)
    before = await keys(access)
    lease = Lease(scope="state", key="miroir:lease:state", value="mine", token=1)
    with holding(lease), pytest.raises(LeaseLost):
        await replace(access)
    assert await keys(access) == before
