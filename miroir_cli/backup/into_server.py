"""Restoring into one Meilisearch, which no topology file names. What it has of an earlier process is told by its own
tasks, which carry the backup's mark; documents that are there as they should be are not sent again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from miroir_cli.backup.parts import lines_of
from miroir_cli.backup.restore import Destination, RestoredIndex, RestoreOptions, Wish, page_of
from miroir_cli.errors import TemporaryError
from miroir_cli.migration.compare import same

if TYPE_CHECKING:
    from miroir_cli.backup.plain import PlainServer
    from miroir_cli.documents.sources import Input

SEND_BYTES: Final = 8 << 20


class IntoServer(Destination):
    """A server."""

    def __init__(self, server: PlainServer) -> None:
        self.server = server
        self.into = server.url

    async def is_free(self, wish: Wish) -> bool:
        found = await self.server.index(wish.uid)
        if found is None:
            return True
        ours = await self._is_ours(wish)
        self.resumed |= ours
        return ours

    async def _is_ours(self, wish: Wish) -> bool:
        """Whether an earlier process has begun it, or it is empty."""
        found = await self.server.index(wish.uid)
        assert found is not None
        if found["primaryKey"] not in (None, wish.part.primary_key):
            return False
        return not await self.server.count(wish.uid) or await self.server.is_marked(wish.uid)

    async def make(self, wish: Wish, *, options: RestoreOptions) -> None:
        if await self.server.index(wish.uid) is not None and not await self._is_ours(wish):
            await self.server.delete(wish.uid)
        await self.server.create(wish.uid, wish.part.primary_key, wish.settings)

    async def fill(
        self, wish: Wish, files: Sequence[Input], *, options: RestoreOptions, report: Callable[[int], None]
    ) -> RestoredIndex:
        compare = bool(await self.server.count(wish.uid))
        waiting: list[bytes] = []
        size = done = 0
        for file in files:
            lines = lines_of(file)
            while page := await asyncio.to_thread(page_of, lines, wish.part.primary_key):
                found = await self.documents(wish, list(page)) if compare else {}
                fresh = [line for key, line in page.items() if key not in found or not same(line, found[key])]
                waiting += fresh
                size += sum(map(len, fresh))
                if size >= SEND_BYTES:
                    await self.server.add(wish.uid, waiting)
                    waiting, size = [], 0
                done += len(page)
                report(done)
        if waiting:
            await self.server.add(wish.uid, waiting)
        await self.server.stored()
        documents = await self.count(wish)
        if documents != wish.part.documents:
            raise TemporaryError(
                f"index `{wish.uid}` of `{self.into}` has {documents:,} documents, the backup {wish.part.documents:,}",
                hint="somebody may have written there meanwhile: run the same command again with `--replace`",
            )
        return RestoredIndex(index=wish.uid, documents=documents)

    async def count(self, wish: Wish) -> int:
        return await self.server.count(wish.uid)

    async def documents(self, wish: Wish, keys: Sequence[str]) -> Mapping[str, bytes]:
        return await self.server.documents(wish.uid, wish.part.primary_key, keys)

    async def end(self) -> None:
        await self.server.close()
