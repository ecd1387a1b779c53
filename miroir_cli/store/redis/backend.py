"""Redis as the place of a cluster's state: one connection pool for the store and the leases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from miroir_cli.store.redis.connection import connect, standing, stored_version
from miroir_cli.store.redis.leases import Leases
from miroir_cli.store.redis.replacement import RedisReplacement
from miroir_cli.store.redis.slots import Slots
from miroir_cli.store.redis.store import RedisStore

if TYPE_CHECKING:
    from miroir_cli.store.protocol import Locking, Replacement, Store
    from miroir_cli.store.slots import SlotRegister
    from miroir_cli.store.standing import ServerStanding
    from miroir_cli.topology.state import StateSettings


class RedisBackend:
    """The protocol `miroir_cli.store.backend.Backend` over one database of Redis or Valkey."""

    def __init__(self, state: StateSettings, *, password: str | None, lock_timeout: float, command: str) -> None:
        self._command = command
        self._access = connect(state.url, password=password)
        self.locks: Locking = Leases(
            self._access,
            timeout=lock_timeout,
            command=command,
            term=state.lease_expiry,
            every=state.lease_renewal,
        )

    async def open(self) -> Store:
        return await RedisStore.over(self._access)

    async def open_to_read(self, *, limit: float) -> Store | None:
        if await stored_version(self._access) is None:
            return None
        return RedisStore(self._access)

    async def standing(self) -> ServerStanding | None:
        return await standing(self._access)

    def slots(self) -> SlotRegister | None:
        return Slots(self._access, command=self._command)

    def replacement(self) -> Replacement:
        return RedisReplacement(self._access)

    async def close(self) -> None:
        try:
            await self.locks.close()
        finally:
            await self._access.client.aclose()
