"""The connection to Redis: attempts of transactions, and Redis's failures in miroir's words."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from socket import gaierror
from ssl import SSLCertVerificationError, SSLError
from typing import TYPE_CHECKING, Any, TypeVar

from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    InvalidResponse,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from miroir_cli.errors import AuthenticationFailed, ConfigurationError, MiroirError, StateUnavailable
from miroir_cli.store.fence import held_leases, lost
from miroir_cli.store.redis.known import QUESTION, Known
from miroir_cli.store.redis.line import Line
from miroir_cli.store.redis.transaction import Conflict, Full, Lapsed, Transaction

if TYPE_CHECKING:
    from redis import Redis as BlockingRedis
    from redis.asyncio import Redis

    from miroir_cli.store.fence import Lease
    from miroir_cli.store.redis.script import Argument, Script

Result = TypeVar("Result")

CONNECT_TIMEOUT = 2.0
ANSWER_TIMEOUT = 5.0
"""Seconds to wait for a connection, and for one answer."""

AT_ONCE = 32
"""Transactions that a process writes at once; each has a connection of its own, and may need another one."""

PATIENCE = 10.0
"""Seconds for which a transaction is begun again when others are quicker, as long as SQLite waits for a lock."""


class Part:
    """What every part of the store is built on."""

    def __init__(self, access: Access) -> None:
        self.access = access


class Access:
    """One Redis. `shown`: its address without the password. `waiting` makes a client for commands that wait for
    something, `blocking` one for a thread.

    `everywhere`: leases under which this process makes all its changes, whichever task makes them. `renew` has one
    that ran out again, if nobody else had it since.
    """

    def __init__(
        self,
        client: Redis,
        *,
        shown: str,
        waiting: Callable[[], Redis],
        blocking: Callable[[], BlockingRedis],
    ) -> None:
        self.client = client
        self.shown = shown
        self.known = Known(shown)
        self.waiting = waiting
        self.blocking = blocking
        self.everywhere: list[Lease] = []
        self.renew: Callable[[Lease], Awaitable[bool]] | None = None
        self._room = asyncio.Semaphore(AT_ONCE)
        self._queue = asyncio.Lock()

    async def write(self, change: Callable[[Transaction], Awaitable[Result]]) -> Result:
        """Decide and write: `change` is called again as long as what it has read changes under it.

        The first attempt is made at once. Those of this process that were disturbed go one after the other then: each
        attempt disturbs all others that want the same.

        The leases that the caller holds are looked at in the same transaction: raises `LeaseLost` when one is not
        its any more. Raises `StateUnavailable` when Redis cannot be reached, and then it is not known whether the
        changes were made; `change` itself must have no effect but through the transaction.
        """
        async with self._room:
            try:
                return await self._attempt(change)
            except Conflict:
                pass
            async with self._queue:
                end = asyncio.get_running_loop().time() + PATIENCE
                while True:
                    try:
                        return await self._attempt(change)
                    except Conflict:
                        if asyncio.get_running_loop().time() >= end:
                            raise StateUnavailable(
                                f"Redis at {self.shown} is written by too many at once",
                                hint="run the same command again",
                            ) from None
                        await asyncio.sleep(random.uniform(0, 0.005))

    async def _attempt(self, change: Callable[[Transaction], Awaitable[Result]]) -> Result:
        with translated(self.shown):
            async with Line(self.client) as line:
                leases = (*self.everywhere, *held_leases())
                transaction = Transaction(self.client, watching=line, leases=leases, known=self.known)
                try:
                    result = await change(transaction)
                    await transaction.commit()
                    return result
                except Lapsed as lapsed:
                    if lapsed.taken or self.renew is None or not await self.renew(lapsed.lease):
                        raise lost(lapsed.lease) from None
                    raise
                except (RedisError, Conflict):
                    raise
                except Exception:
                    await transaction.confirm()
                    raise

    async def read(self, look: Callable[[Transaction], Awaitable[Result]]) -> Result:
        """Several reads of one moment."""
        end = asyncio.get_running_loop().time() + PATIENCE
        full = False
        while True:
            try:
                with translated(self.shown):
                    return await look(Transaction(self.client, watching=None, known=self.known, full=full))
            except Conflict as conflict:
                full = full or isinstance(conflict, Full)
                if asyncio.get_running_loop().time() >= end:
                    raise StateUnavailable(
                        f"Redis at {self.shown} changes too quickly to be read", hint="run the same command again"
                    ) from None

    async def ask(self, *command: str | int | float) -> Any:
        """What Redis answers to one command."""
        with translated(self.shown):
            return await self.client.execute_command(*command)  # type: ignore[no-untyped-call]

    async def epoch(self) -> int:
        """How far the state is; 0 where there is none. Raises `StateUnavailable` for one that is not what it was."""
        since = self.known.epoch
        answer = await self.ask(*QUESTION)
        self.known.heed(answer, since=since)
        return int(answer[1] or 0)

    async def run(self, script: Script, *, keys: Iterable[str], arguments: Iterable[Argument]) -> Any:
        """What a script answers."""
        keys, arguments = tuple(keys), tuple(arguments)
        with translated(self.shown):
            try:
                return await self.client.execute_command(*script.by_hash(keys, arguments))  # type: ignore[no-untyped-call]
            except NoScriptError:
                return await self.client.execute_command(*script.whole(keys, arguments))  # type: ignore[no-untyped-call]


@contextmanager
def translated(shown: str) -> Iterator[None]:
    """Redis's failures as errors of miroir; those of miroir, and what makes a transaction begin again, pass.

    And a cancellation stays one: redis-py sends with `asyncio.wait_for`, which loses one before Python 3.12 when it
    comes at the moment at which the sending is done.
    """
    task = asyncio.current_task()
    before = 0 if task is None else task.cancelling()
    try:
        yield
        if task is not None and task.cancelling() > before:
            raise asyncio.CancelledError
    except (MiroirError, Conflict):
        raise
    except (AuthenticationError, NoPermissionError) as error:
        raise AuthenticationFailed(
            f"Redis at {shown} refuses miroir: {_refusal(error)}",
            hint="check `[state] password_env` (or password_file, password_command) and the user in the url",
        ) from error
    except OutOfMemoryError as error:
        raise StateUnavailable(
            f"Redis at {shown} is out of memory",
            hint="raise its `maxmemory` (`maxmemory-policy` must be `noeviction`), then run the same command again",
        ) from error
    except ReadOnlyError as error:
        raise StateUnavailable(
            f"Redis at {shown} is a replica and takes no writes",
            hint="wait for the failover to end, or name the primary in `[state] url`",
        ) from error
    except (BusyLoadingError, RedisConnectionError, RedisTimeoutError, OSError, RuntimeError) as error:
        raise StateUnavailable(
            f"Redis at {shown} cannot be reached: {_reason(error)}",
            hint="start it, or check `[state] url`; then run the same command again",
        ) from error
    except InvalidResponse as error:
        raise StateUnavailable(
            f"what answers at {shown} is not Redis", hint="check the host and the port in `[state] url`"
        ) from error
    except (ResponseError, RedisError) as error:
        if "DB index is out of range" in str(error):
            raise ConfigurationError(
                f"Redis at {shown} has no database of this number",
                hint="name another one in `[state] url` (0 to 15 as Redis comes), or raise its `databases`",
            ) from error
        raise StateUnavailable(
            f"Redis at {shown} refused a command: {error}", hint="check Redis's log, then run the same command again"
        ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, RedisTimeoutError | TimeoutError):
        return "no answer in time"
    if isinstance(error, BusyLoadingError):
        return "it is loading its data"
    cause = error.__cause__ or error.__context__
    if isinstance(cause, SSLCertVerificationError):
        return f"its certificate is not trusted: {cause.verify_message}"
    if isinstance(cause, SSLError):
        return "it does not speak TLS at this port"
    if isinstance(cause, gaierror):
        return "no host of this name"
    for each in (error, cause):
        if isinstance(each, OSError) and each.errno:
            return os.strerror(each.errno).lower()
    return str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__


def _refusal(error: Exception) -> str:
    text = str(error).rstrip(".")
    return "it wants a password" if text.startswith(("HELLO must", "Authentication required", "NOAUTH")) else text
