"""Opening Redis: the address with its secrets, and the version of what is stored there."""

from __future__ import annotations

import time
from inspect import signature
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit, urlunsplit

from redis import Redis as BlockingRedis
from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.retry import Retry as BlockingRetry

from miroir_cli.errors import ConfigurationError, MiroirError, StateTooNew
from miroir_cli.store.redis.access import ANSWER_TIMEOUT, CONNECT_TIMEOUT, Access
from miroir_cli.store.redis.keys import key, listing
from miroir_cli.store.redis.older_tasks import part_columns
from miroir_cli.store.standing import KeptAside, ServerStanding, standing_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from miroir_cli.store.redis.transaction import Transaction

SCHEMA: Final = "miroir:schema_version"

ASIDE: Final = listing("aside")
"""Old states that were replaced; `listing("aside", name)` has the keys of one (`replacement.py`)."""

OLDEST_SERVER: Final = (6, 2)
"""ZRANGE BYSCORE, and transactions that notice a watched key running out."""

QUESTIONS: Final = 5
"""Small ones, to see how quickly the server answers."""

MOST_CONNECTIONS: Final = 128
MOST_WAITING: Final = 1024
"""Of one process, for commands that are answered at once, and for those that wait for something; who wants one more
waits for one that is free."""


def connect(url: str, *, password: str | None = None) -> Access:
    """A client for `redis://[user@]host[:port][/db]` or `rediss://` (with TLS); nothing is asked yet.

    A command is sent once: whoever gets no answer must not believe that it had no effect.
    """
    common: dict[str, Any] = {
        "password": password,
        "decode_responses": True,
        "socket_connect_timeout": CONNECT_TIMEOUT,
        "health_check_interval": 0,
        **_no_announcements(),
    }

    def client(*, most: int) -> Redis:
        retry = Retry(NoBackoff(), 0)
        return Redis.from_pool(
            BlockingConnectionPool.from_url(
                url, **common, socket_timeout=ANSWER_TIMEOUT, retry=retry, max_connections=most, timeout=ANSWER_TIMEOUT
            )
        )

    def blocking() -> BlockingRedis:
        retry = BlockingRetry(NoBackoff(), 0)
        return BlockingRedis.from_url(url, **common, socket_timeout=CONNECT_TIMEOUT, retry=retry)

    return Access(
        client(most=MOST_CONNECTIONS), shown=shown(url), waiting=lambda: client(most=MOST_WAITING), blocking=blocking
    )


def _no_announcements() -> dict[str, Any]:
    """The option not to listen to what Redis's cloud announces, where the client does by itself: as long as it listens,
    it does not notice connections that have died, and uses them."""
    if "maint_notifications_config" not in signature(ConnectionPool.__init__).parameters:
        return {}
    from redis.maint_notifications import MaintNotificationsConfig  # noqa: PLC0415 - not in every release

    return {"maint_notifications_config": MaintNotificationsConfig(enabled=False)}


def shown(url: str) -> str:
    """An address without its password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


async def prepare(access: Access) -> None:
    """Bring what is stored to the newest version, once whoever comes first; refuse what a newer miroir has written."""
    version = await stored_version(access)
    if version == NEWEST_VERSION:
        return
    info = await access.ask("INFO", "server")
    found = info["redis_version"] if isinstance(info, dict) else "0"
    if tuple(map(int, str(found).split(".")[:2])) < OLDEST_SERVER:
        raise ConfigurationError(
            f"Redis at {access.shown} has version {found}, miroir needs {'.'.join(map(str, OLDEST_SERVER))} or newer",
            hint="upgrade it, or point `[state] url` at another one",
        )
    await access.write(_migrate)


async def stored_version(access: Access) -> int | None:
    """The version of what is stored; None where nothing is. Raises `StateTooNew`."""
    found = await access.ask("GET", SCHEMA)
    if found is not None and int(found) > NEWEST_VERSION:
        raise StateTooNew(
            f"the state in Redis at {access.shown} has schema version {found}, this miroir knows {NEWEST_VERSION}",
            hint="upgrade miroir, or point `[state] url` at another database",
        )
    return None if found is None else int(found)


async def standing(access: Access) -> ServerStanding:
    """What the server says of itself, and how quickly it answers."""
    latency = min([await _answer_time(access) for _ in range(QUESTIONS)])
    info = await access.ask("INFO")
    try:
        config = await access.ask("CONFIG", "GET", "appendfsync")
        config |= await access.ask("CONFIG", "GET", "maxmemory-policy")
    except MiroirError:  # managed servers do not tell
        config = {}
    return standing_of(info, config, latency=latency, aside=await access.read(_kept_aside))


async def _kept_aside(transaction: Transaction) -> list[KeptAside]:
    kept = await transaction.ranged(ASIDE, watch=False)
    sizes = await transaction.ask([("ZCARD", listing("aside", each.name)) for each in kept], watch=False)
    return [
        KeptAside(name=key("aside", each.name), keys=int(size), at=each.score / 1000)
        for each, size in zip(kept, sizes, strict=True)
    ]


async def _answer_time(access: Access) -> float:
    began = time.perf_counter()
    await access.ask("PING")
    return time.perf_counter() - began


async def _migrate(transaction: Transaction) -> None:
    (found,) = await transaction.ask([("GET", SCHEMA)])
    version = int(found or 0)
    for migration in MIGRATIONS[version:]:
        await migration(transaction)
    if version < NEWEST_VERSION:
        transaction.also("SET", SCHEMA, NEWEST_VERSION)


async def _m001(transaction: Transaction) -> None:
    """The first version: an empty database is one."""


async def _m002(transaction: Transaction) -> None:
    """What tasks are asked for by is kept column by column, and between which moments their times lie."""
    await part_columns(transaction)


MIGRATIONS: Final[tuple[Callable[[Transaction], Awaitable[None]], ...]] = (_m001, _m002)
"""A migration is never changed once it was released: add another one behind it."""

NEWEST_VERSION: Final = len(MIGRATIONS)
