"""All nodes of a cluster: their clients, and one call to many of them at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

from miroir_cli.errors import MiroirError

if TYPE_CHECKING:
    from miroir_cli.model import NodeName
    from miroir_cli.node.client import NodeClient

Result = TypeVar("Result")


class Fleet:
    """The clients of a topology's nodes, by name."""

    def __init__(self, clients: Iterable[NodeClient]) -> None:
        self.clients: dict[NodeName, NodeClient] = {client.name: client for client in clients}

    def __getitem__(self, name: NodeName) -> NodeClient:
        return self.clients[name]

    def __contains__(self, name: object) -> bool:
        return name in self.clients

    def __iter__(self) -> Iterator[NodeName]:
        return iter(self.clients)

    def add(self, client: NodeClient) -> None:
        """A node joins; one of its name stays."""
        self.clients.setdefault(client.name, client)

    async def close(self) -> None:
        for client in self.clients.values():
            await client.close()

    async def each(
        self, call: Callable[[NodeClient], Awaitable[Result]], *, names: Iterable[NodeName] | None = None
    ) -> dict[NodeName, Result | MiroirError]:
        """Call every named node at once (all by default); an error of one is its result, not the others' end."""

        async def one(client: NodeClient) -> Result | MiroirError:
            try:
                return await call(client)
            except MiroirError as error:
                return error

        chosen = [self.clients[name] for name in (names if names is not None else self.clients)]
        async with asyncio.TaskGroup() as group:
            tasks = {client.name: group.create_task(one(client)) for client in chosen}
        return {name: task.result() for name, task in tasks.items()}

    async def all(
        self, call: Callable[[NodeClient], Awaitable[Result]], *, names: Iterable[NodeName] | None = None
    ) -> dict[NodeName, Result]:
        """Like `each`, but the first error (in the order of the nodes) is raised once all have ended."""
        found = await self.each(call, names=names)
        good: dict[NodeName, Result] = {}
        for name, result in found.items():
            if isinstance(result, MiroirError):
                raise result
            good[name] = result
        return good
