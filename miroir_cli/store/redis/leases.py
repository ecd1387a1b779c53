"""Locks between the processes of several hosts: leases in Redis, the protocol `miroir_cli.store.protocol.Locking`.

A lease runs out when its holder does not renew it, so a dead host holds nothing up for long. A holder that was only
stopped may not know that it has lost one: whatever it changes afterwards is refused (`store/fence.py`). Waiters are
served in the order of their coming. Their names are those of the locks on one host.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from miroir_cli.errors import MiroirError
from miroir_cli.store.fence import Lease, Term, clock, holding
from miroir_cli.store.locks import STATE, Held, Owner, Unaware, locked, moves_file, order_file
from miroir_cli.store.redis.access import translated
from miroir_cli.store.redis.keys import key, listing
from miroir_cli.store.redis.lease_scripts import ALONE, FREE, LEAVE, RENEW, SHARE, TAKE
from miroir_cli.store.redis.listeners import Listening, read_unaware
from miroir_cli.store.redis.peers import Peers
from miroir_cli.store.redis.renewal import Renewal, Renewed
from miroir_cli.store.redis.signature import read_signature, sign
from miroir_cli.topology.state import StateSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from redis.asyncio import Redis

    from miroir_cli.store.journal import Process
    from miroir_cli.store.redis.access import Access

USUAL: Final = StateSettings()
"""How long a lease lasts, and after what time it is renewed, when the topology file does not say it."""

POLL: Final = 0.2
"""Seconds after which a waiter that nobody has woken looks again."""

PATIENCE: Final = 1.0
"""Seconds for which a waiter that does not look keeps its place."""

MEMORY: Final = 3600.0
"""Seconds for which a lease that ran out can be had again by the same holder, if nobody else wanted it."""


class Leases:
    """The leases of one cluster, for one process. `timeout` is how long a command waits for one, in seconds.

    Nothing is asked, and no thread begun, before the first one is taken.
    """

    def __init__(
        self,
        access: Access,
        *,
        timeout: float = 60.0,
        command: str = "miroir",
        term: float = USUAL.lease_expiry,
        every: float = USUAL.lease_renewal,
    ) -> None:
        self.timeout = timeout
        self.command = command
        self._access = access
        self._term = term
        self._every = every
        self._inside: dict[str, asyncio.Lock] = {}
        self._renewal = Renewal(access.blocking, every=every, lasting=term)
        self._peers = Peers(access, self._renewal, term=term)
        self._waiting: Redis | None = None
        self._later: set[asyncio.Task[Any]] = set()
        access.renew = self._renew

    @asynccontextmanager
    async def order(self, uid: str) -> AsyncIterator[None]:
        """The order lock of an index: whoever sends a write to its replicas holds it.

        Raises `Locked` naming the owner when it is not free in time.
        """
        async with self._held(order_file(uid)):
            yield

    @asynccontextmanager
    async def moves(self, uid: str) -> AsyncIterator[None]:
        """Held by whoever moves replicas of an index; a deletion waits for it. Raises `Locked` as `order` does."""
        async with self._held(moves_file(uid)):
            yield

    @asynccontextmanager
    async def once(self, name: str) -> AsyncIterator[None]:
        """A lock that is not waited for: `Locked` at once when somebody has it."""
        async with self._held(name, timeout=0.0):
            yield

    @asynccontextmanager
    async def shared(self, name: str) -> AsyncIterator[None]:
        """A lock that any number may have together, but none beside `alone`. `Locked` when it is not free in time.

        All changes that this process makes meanwhile depend on it.
        """
        await self._peers.join()
        keys, signature = _Keys.of(name), sign(self.command)
        deadline = time.monotonic() + self.timeout
        arguments = (signature, _ms(self._term), _ms(MEMORY))
        while True:
            began = clock()
            mine, told = await self._access.run(SHARE, keys=keys.sharing, arguments=(*arguments, ""))
            if mine:
                break
            if await self._bury(name, _signature_in(told)):
                continue
            if time.monotonic() >= deadline:
                raise _locked(name, _signature_in(told))
            await asyncio.sleep(POLL)
        term = Term(until=began + self._term)
        lease = Lease(scope=name, key=keys.turn, value=str(told), token=int(told), term=term)
        renewed = Renewed(script=SHARE, keys=keys.sharing, arguments=(*arguments, str(told)), term=term)
        self._renewal.keep(renewed)
        self._access.everywhere.append(lease)
        try:
            yield
        finally:
            self._access.everywhere.remove(lease)
            term.over = True
            self._renewal.drop(renewed)
            await self._done(self._unshare(keys, signature))

    @asynccontextmanager
    async def alone(self, name: str) -> AsyncIterator[None]:
        """The same lock with nobody beside: waits until all others have given it back."""
        deadline = time.monotonic() + self.timeout
        async with self._held(name) as lease:
            keys = _Keys.of(name)
            while True:
                alone, other = await self._access.run(ALONE, keys=keys.sharing, arguments=(lease.value,))
                if alone:
                    break
                if _is_gone(other):
                    await self._access.ask("ZREM", keys.shared, other)
                    continue
                if time.monotonic() >= deadline:
                    raise _locked(name, other)
                await asyncio.sleep(POLL)
            yield

    async def held(self) -> tuple[Held, ...]:
        """The leases that somebody has now, but for those that any number may share, in the order of their names."""
        names = sorted(set(await self._access.ask("ZRANGE", listing("lease"), 0, -1)) - {STATE})
        if not names:
            return ()
        values = await self._access.ask("MGET", *(_Keys.of(name).lease for name in names))
        found = [(name, read_signature(_signature_in(value or ""))) for name, value in zip(names, values, strict=True)]
        return tuple(
            Held(name=name, owner=who.owner, stopped=who.stopped) for name, who in found if who and not who.gone
        )

    async def owner(self, name: str) -> Owner | None:
        """Who has a lease; None when it is free."""
        value = await self._access.ask("GET", _Keys.of(name).lease)
        who = read_signature(_signature_in(value or ""))
        return None if who is None else who.owner

    async def lives(self, process: Process) -> bool:
        """Whether a process still takes part in this cluster: it may be on another host."""
        return await self._peers.lives(process)

    def listener(self, *, limit: float) -> Listening:
        """For a process that answers from memory for `limit` seconds at most; others learn that it is gone as they do
        of leases."""
        return Listening(self._access, term=limit + self._term)

    async def unaware(self, epoch: int) -> tuple[Unaware, ...]:
        """The processes, on whichever host, that may answer from a memory older than this epoch."""
        return await read_unaware(self._access, epoch)

    async def close(self) -> None:
        """Give back what is held for the sake of asking: connections, and that this process lives."""
        while self._later:
            await asyncio.wait(self._later)
        await asyncio.to_thread(self._renewal.end)
        with suppress(MiroirError):
            await self._peers.leave()
        if self._waiting is not None:
            await self._waiting.aclose()

    # -- one holder

    @asynccontextmanager
    async def _held(self, name: str, *, timeout: float | None = None) -> AsyncIterator[Lease]:
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        mutex = self._inside.setdefault(name, asyncio.Lock())
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                await mutex.acquire()
        except TimeoutError:
            value = await self._access.ask("GET", _Keys.of(name).lease)
            raise _locked(name, _signature_in(value or "")) from None
        try:
            await self._peers.join()
            signature = sign(self.command)
            lease = await self._wait(name, signature, deadline=deadline)
            renewed = self._renewed(lease)
            self._renewal.keep(renewed)
            try:
                with holding(lease):
                    yield lease
            finally:
                lease.term.over = True
                self._renewal.drop(renewed)
                await self._done(self._free(name, signature))
        finally:
            mutex.release()

    async def _wait(self, name: str, signature: str, *, deadline: float) -> Lease:
        """The lease, once it is this process's turn to have it.

        One that its holder ought to have renewed is waited for in any case: it runs out soon.
        """
        waiter = secrets.token_hex(8) if deadline > time.monotonic() else ""
        try:
            while True:
                lease, told, lasting = await self._take(name, signature, waiter)
                if lease is not None:
                    return lease
                if await self._bury(name, told):
                    continue
                left = deadline - time.monotonic()
                if left <= 0 and not 0 < lasting < self._term - 2 * self._every:
                    raise _locked(name, told)
                await self._sleep(waiter, min(POLL, left) if left > 0 else POLL)
        except BaseException:
            if waiter:
                keys = _Keys.of(name)
                self._do_later(self._access.run(LEAVE, keys=(keys.queue, keys.seen), arguments=(waiter,)))
            raise

    async def _take(self, name: str, signature: str, waiter: str) -> tuple[Lease | None, str, float]:
        """The lease, or who has it, and for how many seconds if nobody renews it."""
        keys, began = _Keys.of(name), clock()
        asked = asyncio.create_task(
            self._access.run(
                TAKE,
                keys=(keys.lease, keys.last, keys.queue, keys.seen, listing("lease"), TOKENS),
                arguments=(name, signature, _ms(self._term), waiter, _ms(PATIENCE), _ms(MEMORY)),
            )
        )
        try:
            token, told, lasting = await asyncio.shield(asked)
        except asyncio.CancelledError:
            self._do_later(self._give_up(asked, name, signature))
            raise
        if not token:
            return None, _signature_in(told), int(lasting) / 1000
        term = Term(until=began + self._term)
        lease = Lease(scope=name, key=keys.lease, value=f"{token}:{signature}", token=int(token), term=term)
        return lease, "", self._term

    async def _bury(self, name: str, signature: str) -> bool:
        """Free a lease whose holder is dead, as the kernel would; only that of its host can tell."""
        if not _is_gone(signature):
            return False
        await self._free(name, signature)
        return True

    async def _give_up(self, asked: asyncio.Task[Any], name: str, signature: str) -> None:
        """Give back what somebody asked for who did not wait for the answer."""
        await asyncio.wait([asked])
        asked.exception()
        await self._free(name, signature)

    async def _renew(self, lease: Lease) -> bool:
        began, renewed = clock(), self._renewed(lease)
        if not await self._access.run(RENEW, keys=renewed.keys, arguments=renewed.arguments):
            return False
        lease.term.until = began + self._term
        return True

    def _renewed(self, lease: Lease) -> Renewed:
        keys = _Keys.of(lease.scope)
        return Renewed(
            script=RENEW,
            keys=(keys.lease, keys.last, listing("lease")),
            arguments=(lease.scope, lease.value, _ms(self._term), _ms(MEMORY)),
            term=lease.term,
        )

    async def _sleep(self, waiter: str, seconds: float) -> None:
        """Until the lease is given back, or for so long."""
        if not waiter:
            await asyncio.sleep(seconds)
            return
        if self._waiting is None:
            self._waiting = self._access.waiting()
        with translated(self._access.shown):
            await self._waiting.blpop([key("lease_wake", waiter)], timeout=seconds)

    # -- ending

    async def _free(self, name: str, signature: str) -> None:
        keys = _Keys.of(name)
        await self._access.run(
            FREE,
            keys=(keys.lease, keys.last, keys.queue, keys.seen, listing("lease")),
            arguments=(name, signature, key("lease_wake", "")),
        )

    async def _unshare(self, keys: _Keys, signature: str) -> None:
        await asyncio.to_thread(self._renewal.pause)
        await self._access.ask("ZREM", keys.shared, signature)

    async def _done(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it also when the task is cancelled meanwhile; where Redis does not answer the term runs out."""
        await asyncio.shield(self._do_later(work))

    def _do_later(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[None]:
        async def quietly() -> None:
            with suppress(MiroirError):
                await work

        task = asyncio.create_task(quietly())
        self._later.add(task)
        task.add_done_callback(self._later.discard)
        return task


TOKENS: Final = key("lease_tokens")
"""Counts all leases: a later one of a scope has a higher number."""


@dataclass(frozen=True, slots=True)
class _Keys:
    """The keys of one scope (see `lease_scripts`)."""

    lease: str
    last: str
    queue: str
    seen: str
    shared: str
    turn: str

    @classmethod
    def of(cls, scope: str) -> _Keys:
        return cls(
            lease=key("lease", scope),
            last=key("lease_last", scope),
            queue=key("lease_queue", scope),
            seen=key("lease_seen", scope),
            shared=key("lease_shared", scope),
            turn=key("lease_turn", scope),
        )

    @property
    def sharing(self) -> tuple[str, str, str]:
        return self.lease, self.shared, self.turn


def _signature_in(value: str) -> str:
    """The signature in the value of a lease: the token stands before it."""
    return value.partition(":")[2]


def _is_gone(signature: str) -> bool:
    who = read_signature(signature)
    return who is not None and who.gone


def _locked(name: str, signature: str) -> MiroirError:
    who = read_signature(signature)
    return locked(name, None) if who is None else locked(name, who.owner, stopped=who.stopped)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
