"""`RedisStore`: the state store in Redis, for several hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from miroir_cli.store.redis.admin_sessions import AdminSessions
from miroir_cli.store.redis.aliases import Aliases
from miroir_cli.store.redis.api_keys import ApiKeys
from miroir_cli.store.redis.canaries import Canaries
from miroir_cli.store.redis.commands import Commands
from miroir_cli.store.redis.connection import connect, prepare
from miroir_cli.store.redis.imports import Imports
from miroir_cli.store.redis.indexes import Indexes
from miroir_cli.store.redis.intents import Intents
from miroir_cli.store.redis.jobs import Jobs
from miroir_cli.store.redis.known import Known
from miroir_cli.store.redis.move_methods import Moves
from miroir_cli.store.redis.runs import Runs
from miroir_cli.store.redis.services import Cursors, Rollovers, SearchUi, Tenants
from miroir_cli.store.redis.sessions import Sessions
from miroir_cli.store.redis.task_part import Tasks

if TYPE_CHECKING:
    from miroir_cli.store.redis.access import Access


class RedisStore(
    Indexes,
    Aliases,
    Intents,
    Moves,
    Tasks,
    Sessions,
    Runs,
    Commands,
    ApiKeys,
    Imports,
    Jobs,
    Canaries,
    Cursors,
    Tenants,
    Rollovers,
    SearchUi,
    AdminSessions,
):
    """The protocol `miroir_cli.store.protocol.Store` over one database of Redis (or Valkey)."""

    _connected_here = False

    @classmethod
    async def open(cls, url: str, *, password: str | None = None) -> Self:
        """Connect, and bring what is stored there up to date.

        Raises `StateTooNew`, `AuthenticationFailed`, `ConfigurationError` or `StateUnavailable`.
        """
        access = connect(url, password=password)
        try:
            store = await cls.over(access)
        except BaseException:
            await access.client.aclose()
            raise
        store._connected_here = True
        return store

    @classmethod
    async def over(cls, access: Access) -> Self:
        """The same over a connection that somebody else closes."""
        await prepare(access)
        access.known = Known(access.shown)
        return cls(access)

    async def close(self) -> None:
        if self._connected_here:
            await self.access.client.aclose()
