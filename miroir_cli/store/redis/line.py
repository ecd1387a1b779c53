"""One connection to Redis for as long as a transaction lasts: what is watched is bound to it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.asyncio.connection import AbstractConnection

    from miroir_cli.store.redis.fields import Command


class Line:
    """Sends several commands in one round trip. One that broke is not mended: what it watched is watched no more, and
    whether its last commands had an effect is not known."""

    def __init__(self, client: Redis) -> None:
        self._pool = client.connection_pool
        self._connection: AbstractConnection | None = None
        self._watching = False
        self._broken = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._watching and not self._broken:
                await self._send([("UNWATCH",)])
        except RedisConnectionError:
            pass  # then it watches nothing either
        finally:
            connection, self._connection = self._connection, None
            if connection is not None:
                await asyncio.shield(self._give_back(connection))

    async def _give_back(self, connection: AbstractConnection) -> None:
        if self._broken:
            await connection.disconnect(nowait=True)
        await self._pool.release(connection)

    async def watch(self, keys: Iterable[str], commands: Sequence[Command]) -> list[Any]:
        """Watch keys, then read: what of them has changed since is noticed by `change`. The answers are not of one
        moment."""
        watched = tuple(keys)
        before: list[Command] = [("WATCH", *watched)] if watched else []
        self._watching = self._watching or bool(watched)
        return (await self._send([*before, *commands]))[len(before) :]

    async def change(self, commands: Sequence[Command]) -> bool:
        """Make changes, all of them or none; False when something that is watched has changed."""
        *_, done = await self._send([("MULTI",), *commands, ("EXEC",)])
        self._watching = False
        if done is not None:
            _raise_first(done)
        return done is not None

    async def _send(self, commands: Sequence[Command]) -> list[Any]:
        if self._broken:
            raise RedisConnectionError("the connection broke")
        if not commands:
            return []
        connection = self._connection
        if connection is None:
            connection = self._connection = await self._pool.get_connection()  # type: ignore[no-untyped-call]
        self._broken = True
        await connection.send_packed_command(connection.pack_commands(commands))
        answers: list[Any] = []
        for _ in commands:
            try:
                answers.append(await connection.read_response())
            except ResponseError as refused:
                answers.append(refused)
        self._broken = False
        _raise_first(answers)
        return answers


def _raise_first(answers: Iterable[Any]) -> None:
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
