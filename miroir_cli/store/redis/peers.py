"""The register of the processes that take part in a cluster, on all its hosts."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Final

from miroir_cli.store.processes import host_name, kernel, lives_here, this_process
from miroir_cli.store.redis.keys import key, listing
from miroir_cli.store.redis.lease_scripts import REGISTER
from miroir_cli.store.redis.renewal import Renewed

if TYPE_CHECKING:
    from miroir_cli.store.journal import Process
    from miroir_cli.store.redis.access import Access
    from miroir_cli.store.redis.renewal import Renewal

PEERS: Final = listing("peers")

_JOINED: Final = Counter[str]()
"""How often this process takes part in what is at an address."""


class Peers:
    """Who takes part: this process does from `join` to `leave`, or until nothing was heard of it for `term` seconds."""

    def __init__(self, access: Access, renewal: Renewal, *, term: float) -> None:
        self._access = access
        self._renewal = renewal
        self._term = term
        self._registered: Renewed | None = None
        self._joining = asyncio.Lock()

    async def join(self) -> None:
        """Register this process, once."""
        async with self._joining:
            if self._registered is not None:
                return
            name = str(this_process())
            arguments = (name, kernel(), round(self._term * 1000))
            renewed = Renewed(script=REGISTER, keys=(key("peers", name), PEERS), arguments=arguments)
            await self._access.run(REGISTER, keys=renewed.keys, arguments=renewed.arguments)
            self._registered = renewed
            _JOINED[self._access.shown] += 1
            self._renewal.keep(renewed)
            self._renewal.start()

    async def leave(self) -> None:
        """Take this process out; nothing renews it any more."""
        if self._registered is not None:
            self._registered = None
            _JOINED[self._access.shown] -= 1
            if _JOINED[self._access.shown]:
                return
            name = str(this_process())
            await self._access.ask("DEL", key("peers", name))
            await self._access.ask("ZREM", PEERS, name)

    async def lives(self, process: Process) -> bool:
        """Whether a process takes part. One of this host is asked for of the kernel, unless it lives in another
        container that has the same name.

        While Redis, or the way to it, has not been there for long, nobody is called dead.
        """
        here = process.host in ("", host_name())
        if here and lives_here(process):
            return True
        found = await self._access.ask("GET", key("peers", process))
        if found is not None:
            return not (here and found == kernel())
        return not here and await self._is_new()

    async def _is_new(self) -> bool:
        """Whether the processes that live may not have been able to say so yet."""
        if self._renewal.failed_within(self._term):
            return True
        info = await self._access.ask("INFO", "server")
        return isinstance(info, dict) and float(info.get("uptime_in_seconds", self._term)) < self._term
