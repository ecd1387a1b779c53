"""Where the state of a cluster is kept, with the locks that belong there: a file on this host, or Redis."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from miroir_cli.errors import ConfigurationError
from miroir_cli.store.locks import Locks
from miroir_cli.store.sqlite.file import StateFile
from miroir_cli.store.sqlite.store import SqliteStore
from miroir_cli.topology.keys import resolve_key

if TYPE_CHECKING:
    from miroir_cli.store.protocol import Locking, Replacement, Store
    from miroir_cli.store.slots import SlotRegister
    from miroir_cli.store.standing import ServerStanding
    from miroir_cli.topology.file import Topology


class Backend(Protocol):
    """A place for the state, before it is opened. Its locks can be taken while there is no state there yet."""

    @property
    def locks(self) -> Locking: ...

    async def open(self) -> Store:
        """The state, brought up to date; whoever opens it closes it. Raises `StateUnavailable` or a
        `ConfigurationError` when it cannot be opened."""
        ...

    async def open_to_read(self, *, limit: float) -> Store | None:
        """The same without changing anything; None when there is none. `limit`: seconds to wait for others."""
        ...

    async def standing(self) -> ServerStanding | None:
        """What the server of the state says of itself; None where there is no server. Raises `StateUnavailable`."""
        ...

    def slots(self) -> SlotRegister | None:
        """The slots of the processes that write, where several hosts share the state; None where the kernel's locks
        are enough (rule F4)."""
        ...

    def replacement(self) -> Replacement:
        """What puts a new state in the place of a lost one."""
        ...

    async def close(self) -> None:
        """Let go of the place; the state is closed by then."""
        ...


class FileBackend:
    """A file of SQLite, with the kernel's locks in a folder beside it."""

    def __init__(self, topology: Topology, *, lock_timeout: float, command: str) -> None:
        self._path = topology.state_path
        self.locks: Locking = Locks(self._path.parent / "locks", timeout=lock_timeout, command=command)

    async def open(self) -> Store:
        return await asyncio.to_thread(SqliteStore.open, self._path)

    async def open_to_read(self, *, limit: float) -> Store | None:
        if not await asyncio.to_thread(self._path.exists):
            return None
        return await asyncio.to_thread(SqliteStore.open_to_read, self._path, busy_timeout=limit)

    async def standing(self) -> ServerStanding | None:
        return None

    def slots(self) -> SlotRegister | None:
        return None

    def replacement(self) -> Replacement:
        return StateFile(self._path)

    async def close(self) -> None:
        await self.locks.close()


async def backend_of(topology: Topology, *, lock_timeout: float = 60.0, command: str = "miroir") -> Backend:
    """The place that a topology file names; nothing is asked of it yet.

    Raises `AuthenticationFailed` when Redis's password cannot be had, and `ConfigurationError` when the library for it
    is not installed.
    """
    if not topology.state.shared:
        return FileBackend(topology, lock_timeout=lock_timeout, command=command)
    try:
        from miroir_cli.store.redis.backend import RedisBackend
    except ModuleNotFoundError as error:
        if error.name != "redis":
            raise
        raise ConfigurationError(
            "the state is in Redis (`[state] url`), which needs another package",
            hint="install it: `pip install 'miroir[redis]'`",
        ) from None
    password = await asyncio.to_thread(resolve_key, topology.state.password, base=topology.path.parent)
    return RedisBackend(topology.state, password=password, lock_timeout=lock_timeout, command=command)
