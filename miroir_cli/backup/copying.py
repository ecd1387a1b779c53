"""Copying documents between a plain Meilisearch and an index of the cluster while both work.

First the keys of the origin, in one answer; then pages of documents by their keys, in order. What the destination has
already is compared and only what differs is written, so that the same call once more copies what was written at the
origin meanwhile. How far an interrupted copy came is remembered.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Protocol

from miroir_cli.backup.pace import Pace
from miroir_cli.backup.present import count_present, present_documents
from miroir_cli.documents.batches import MOST_DOCUMENTS
from miroir_cli.documents.formats import Format
from miroir_cli.documents.load import ImportOptions, import_documents
from miroir_cli.documents.sources import Input, Streamed
from miroir_cli.documents.write import delete_documents
from miroir_cli.errors import Interrupted
from miroir_cli.migration.compare import same
from miroir_cli.migration.heal import healing
from miroir_cli.migration.side import together
from miroir_cli.search.export import all_keys

if TYPE_CHECKING:
    from miroir_cli.backup.journal import Remembered
    from miroir_cli.backup.plain import PlainServer
    from miroir_cli.cluster import Cluster
    from miroir_cli.documents.importing import ImportProgress

FIRST_PAGE: Final = 200
LARGEST_PAGE: Final = 5000
PAGE_BYTES: Final = 4 << 20
SEND_BYTES: Final = 8 << 20
SAVE_EVERY: Final = 2.0
"""Seconds after which how far it came is remembered again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyProgress:
    """How far a copy is: documents looked at of all, and written of those."""

    compared: int = 0
    total: int = 0
    stored: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """What a copy did. `unchanged` documents were there already as they should be, `extra` ones are at the destination
    alone; `origin` and `there` are how many documents both had in the end."""

    index: str
    copied: int
    unchanged: int
    deleted: int
    extra: int
    rejected: int
    origin: int
    there: int
    seconds: float
    resumed: bool = False
    reasons: tuple[str, ...] = ()

    @property
    def equal(self) -> bool:
        return self.origin == self.there and not self.rejected

    def json(self) -> dict[str, Any]:
        """The contract with scripts."""
        return {
            "index": self.index,
            "copied": self.copied,
            "unchanged": self.unchanged,
            "deleted": self.deleted,
            "extra": self.extra,
            "rejected": self.rejected,
            "documents": {"from": self.origin, "to": self.there},
            "seconds": round(self.seconds, 3),
            "resumed": self.resumed,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a destination took, and documents that it did not, with reasons."""

    documents: int
    rejected: int = 0
    reasons: tuple[str, ...] = ()


class Place(Protocol):
    """An index at either end of a copy."""

    async def keys(self) -> Sequence[str]:
        """All primary keys as text."""

    async def documents(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        """Those of these documents that exist, as they are written elsewhere."""

    async def count(self) -> int: ...


class Destination(Place, Protocol):
    """Where documents are written to."""

    async def write(self, documents: AsyncIterator[Sequence[bytes]], stored: Callable[[int], None]) -> Written:
        """Write all of them and see them stored; `stored` is told how many are, in the order in which they came."""

    async def delete(self, keys: Sequence[str]) -> None: ...


class ServerIndex:
    """An index of a plain Meilisearch."""

    def __init__(self, server: PlainServer, uid: str, primary_key: str) -> None:
        self.server, self.uid, self.primary_key = server, uid, primary_key

    async def keys(self) -> Sequence[str]:
        return await self.server.keys(self.uid, self.primary_key)

    async def documents(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        return await self.server.documents(self.uid, self.primary_key, keys)

    async def count(self) -> int:
        return await self.server.count(self.uid)

    async def write(self, documents: AsyncIterator[Sequence[bytes]], stored: Callable[[int], None]) -> Written:
        waiting: list[bytes] = []
        size = sent = 0
        async for page in documents:
            waiting += page
            size += sum(map(len, page))
            if size >= SEND_BYTES:
                await self.server.add(self.uid, waiting)
                sent += len(waiting)
                waiting, size = [], 0
        if waiting:
            await self.server.add(self.uid, waiting)
        await self.server.stored()
        stored(sent + len(waiting))
        return Written(documents=sent + len(waiting))

    async def delete(self, keys: Sequence[str]) -> None:
        await self.server.remove(self.uid, keys)
        await self.server.stored()


class ClusterIndex:
    """An index of the cluster. What is written to it is imported, through a pipe, as if from standard input."""

    def __init__(self, cluster: Cluster, uid: str, *, name: str, retry_for: float = 60.0) -> None:
        self.cluster, self.uid, self.name, self.retry_for = cluster, uid, name, retry_for

    async def keys(self) -> Sequence[str]:
        return [str(key) for key in await all_keys(self.cluster, self.uid)]

    async def documents(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        return await present_documents(self.cluster, self.uid, keys)

    async def count(self) -> int:
        return await count_present(self.cluster, self.uid)

    async def write(self, documents: AsyncIterator[Sequence[bytes]], stored: Callable[[int], None]) -> Written:
        first = await anext(documents, None)
        if first is None:
            return Written(documents=0)
        receiving, sending = os.pipe()
        source = Input(name=self.name, streamed=Streamed(receiving, owned=True))
        pump = asyncio.create_task(_pump(first, documents, sending))

        def tell(progress: ImportProgress) -> None:
            stored(progress.indexed)

        try:
            async with healing(self.cluster, self.uid):
                options = ImportOptions(retry_for=self.retry_for, format=Format.NDJSON)
                summary = await import_documents(self.cluster, self.uid, [source], options=options, report=tell)
        except Interrupted as error:
            raise Interrupted(
                error.message,
                signal_number=error.signal_number,
                hint="run the same command again: it compares, and copies what is missing",
            ) from None
        finally:
            assert source.streamed is not None
            source.streamed.close()  # who still pumps finds the pipe broken
            pump.cancel()
            await asyncio.wait([pump])
        if not pump.cancelled():
            pump.result()
        return Written(
            documents=summary.documents,
            rejected=summary.rejected,
            reasons=(*summary.reasons, *summary.failures),
        )

    async def delete(self, keys: Sequence[str]) -> None:
        await delete_documents(self.cluster, self.uid, ids=list(keys))


async def _pump(first: Sequence[bytes], documents: AsyncIterator[Sequence[bytes]], sending: int) -> None:
    """Everything into a pipe; its end is closed whatever happens, and then who reads it has read all."""
    os.set_blocking(sending, False)
    try:
        await _into_pipe(sending, first)
        async for page in documents:
            await _into_pipe(sending, page)
    finally:
        os.close(sending)


async def _into_pipe(sending: int, documents: Sequence[bytes]) -> None:
    rest = memoryview(b"".join(document.rstrip(b"\n") + b"\n" for document in documents))
    while rest:
        try:
            rest = rest[os.write(sending, rest) :]
        except BlockingIOError:
            await asyncio.sleep(0.002)
        except BrokenPipeError:
            return  # the import has ended with an error of its own


@dataclass(kw_only=True)
class Copy:
    """One copy on its way. `delete`: what only the destination has is deleted. `memory` keeps how far it came."""

    origin: Place
    destination: Destination
    memory: Remembered
    uid: str
    rate: int | None = None
    delete: bool = False
    restart: bool = False
    report: Callable[[CopyProgress], None] = lambda progress: None

    def __post_init__(self) -> None:
        self._pace = Pace(self.rate)
        self._keys: list[str] = []
        self._compared = self._unchanged = self._stored = 0
        self._sent: deque[tuple[int, str]] = deque()
        """How many documents were sent up to which key, where a page ended."""
        self._there = False
        self._after: str | None = None

    async def run(self) -> Copied:
        """Copy everything that differs. Raises what either end raises; the same call goes on then."""
        began = time.monotonic()
        if self.restart:
            await asyncio.to_thread(self.memory.forget)
        kept = await asyncio.to_thread(self.memory.read)
        keys, self._there = sorted(await self.origin.keys()), bool(await self.destination.count())
        after: str | None = kept.get("after") if self._there else None
        resumed = after is not None
        self._keys = keys if after is None else [key for key in keys if key > after]
        written = await self._write()
        there = await self.destination.keys() if self._there else keys
        extra = sorted(set(there) - set(keys))
        gone = await self._really_gone(extra) if self.delete else []
        if gone:
            await self.destination.delete(gone)
        await asyncio.to_thread(self.memory.forget)
        origin, count = await self.origin.count(), await self.destination.count()
        return Copied(
            index=self.uid,
            copied=written.documents,
            unchanged=self._unchanged + len(keys) - len(self._keys),
            deleted=len(gone),
            extra=0 if self.delete else len(extra),
            rejected=written.rejected,
            origin=origin,
            there=count,
            seconds=time.monotonic() - began,
            resumed=resumed,
            reasons=written.reasons,
        )

    async def _write(self) -> Written:
        """Write what differs; how far it is comes into the memory as it goes, whatever ends it."""
        saving = asyncio.create_task(self._keep_saving())
        differing = self._differing()
        try:
            return await self.destination.write(differing, self._note)
        finally:
            await differing.aclose()
            saving.cancel()
            await asyncio.wait([saving])
            await self._save()

    async def _keep_saving(self) -> None:
        while True:
            await asyncio.sleep(SAVE_EVERY)
            await self._save()

    async def _save(self) -> None:
        if self._after is not None:
            await asyncio.to_thread(self.memory.save, {"after": self._after})

    async def _really_gone(self, extra: Sequence[str]) -> list[str]:
        """Of these keys those that the origin has not got since."""
        gone: list[str] = []
        rest = iter(extra)
        while page := list(islice(rest, LARGEST_PAGE)):
            found = await self.origin.documents(page)
            gone += [key for key in page if key not in found]
        return gone

    async def _differing(self) -> AsyncGenerator[Sequence[bytes], None]:
        """The documents that the destination lacks or has otherwise, a page at a time."""
        rest, size, sent = iter(self._keys), FIRST_PAGE, 0
        upcoming = asyncio.create_task(self._both(list(islice(rest, size))))
        try:
            while (read := await upcoming)[0]:
                page, documents, found = read
                average = max(1, sum(map(len, documents.values())) // max(1, len(documents)))
                size = max(1, min(LARGEST_PAGE, PAGE_BYTES // average))
                upcoming = asyncio.create_task(self._both(list(islice(rest, size))))
                differing = await asyncio.to_thread(_differing, documents, found)
                self._compared += len(page)
                self._unchanged += len(documents) - len(differing)
                sent += len(differing)
                self._sent.append((sent, page[-1]))
                self._tell()
                if differing:
                    yield differing
        finally:
            upcoming.cancel()
            await asyncio.gather(upcoming, return_exceptions=True)

    async def _both(self, page: Sequence[str]) -> tuple[Sequence[str], Mapping[str, bytes], Mapping[str, bytes]]:
        """A page of keys with its documents at the origin and at the destination; nothing behind the last page."""
        if not page:
            return page, {}, {}
        await self._pace.keep(len(page))
        if not self._there:
            return page, await self.origin.documents(page), {}
        documents, found = await together([self.origin.documents(page), self.destination.documents(page)])
        return page, documents, found

    def _note(self, stored: int) -> None:
        """So many documents are stored: the copy goes on behind the last page that is certainly among them, should this
        process end. Those of the batch in hand may be stored in any order."""
        self._stored = stored
        self._tell()
        while self._sent and self._sent[0][0] <= stored - MOST_DOCUMENTS:
            self._after = self._sent.popleft()[1]

    def _tell(self) -> None:
        self.report(CopyProgress(compared=self._compared, total=len(self._keys), stored=self._stored))


def _differing(documents: Mapping[str, bytes], found: Mapping[str, bytes]) -> list[bytes]:
    return [each for key, each in documents.items() if key not in found or not same(each, found[key])]
