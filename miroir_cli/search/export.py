"""`export`: every document of an index, in the order of primary keys, read from in-sync replicas a page at a time.

First the keys: those of a shard in one answer, which is one snapshot. Sorted, they go to temporary files; then pages of
documents are fetched by their keys, in order. What holds: a document that is there from the beginning to the end of the
export is in it exactly once, as it was when its page was read, wherever its shard moves meanwhile; one that is deleted
before its page is read is not; one that is added later may or may not be.
"""

from __future__ import annotations

import asyncio
import heapq
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import islice
from typing import IO, TYPE_CHECKING, Any, TypeVar

import msgspec

from miroir_cli.errors import TemporaryError
from miroir_cli.model import SHARD_FIELD, ShardId, shard_filter
from miroir_cli.node.client import path_of
from miroir_cli.search.browse import EVERYTHING, by_shard, key_order
from miroir_cli.search.filters import rewrite
from miroir_cli.search.rank import identity
from miroir_cli.search.reading import Reader, SearchOptions, read
from miroir_cli.search.view import VECTORS, select

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.model import StoredUid
    from miroir_cli.node.client import NodeClient

Result = TypeVar("Result")

RUNS = 32
"""Temporary files of keys at most; each has those of some of the shards."""

FIRST_PAGE = 200
LARGEST_PAGE = 5000
PAGE_BYTES = 4 << 20
"""Pages grow or shrink towards so many bytes of documents."""

WHOLE = SearchOptions(partial="error", timeout=120.0)


class _Keys(msgspec.Struct):
    results: list[dict[str, Any]]


class _Documents(msgspec.Struct):
    results: list[dict[str, msgspec.Raw]]


_read_keys = msgspec.json.Decoder(_Keys).decode
_read_documents = msgspec.json.Decoder(_Documents).decode
_encode = msgspec.json.Encoder().encode


async def export_documents(
    cluster: Cluster,
    uid: str,
    *,
    filter: Any = None,
    fields: Sequence[str] | None = None,
    vectors: bool = False,
) -> AsyncIterator[list[bytes]]:
    """Pages of documents, each document as JSON without line breaks.

    Raises what `browse` raises, never leaves a shard out, and `TemporaryError` when the index is deleted meanwhile.
    """
    reading = _Export(cluster, uid, filter=filter, fields=fields, vectors=vectors)
    with ExitStack() as stack:
        runs = [stack.enter_context(tempfile.TemporaryFile(prefix="miroir-export-")) for _ in range(RUNS)]
        await reading.list_keys(runs)
        keys = heapq.merge(*map(_keys_of, runs), key=key_order)
        size = FIRST_PAGE
        while page := await asyncio.to_thread(list, islice(keys, size)):
            documents = await reading.page(page)
            yield documents
            average = max(1, sum(map(len, documents)) // max(1, len(documents)))
            size = max(1, min(LARGEST_PAGE, PAGE_BYTES // average))


async def documents_by_key(cluster: Cluster, uid: str, keys: Sequence[Any]) -> dict[str, bytes]:
    """Those of these documents that exist, by their keys as text, with their vectors and without what is miroir's own.

    Raises what `export_documents` raises.
    """
    reading = _Export(cluster, uid, filter=None, fields=None, vectors=True)
    return dict(await reading.found(keys))


async def all_keys(cluster: Cluster, uid: str) -> list[Any]:
    """The primary keys of all documents; those of a shard are of one moment."""
    reading = _Export(cluster, uid, filter=None, fields=None, vectors=False)
    shards = [ShardId(shard) for shard in range((await cluster.reload(uid)).index.shards)]
    return await reading.keys(shards)


def _write(run: IO[bytes], keys: list[Any]) -> None:
    run.writelines(_encode(key) + b"\n" for key in sorted(keys, key=key_order))


def _keys_of(run: IO[bytes]) -> Iterator[Any]:
    run.seek(0)
    return map(msgspec.json.decode, run)


class _Export:
    def __init__(self, cluster: Cluster, uid: str, *, filter: Any, fields: Sequence[str] | None, vectors: bool) -> None:
        self.cluster = cluster
        self.uid = uid
        self.fields = fields
        self.vectors = vectors
        self.request = {} if filter is None else {"filter": filter}
        self.filters = rewrite(filter)
        self.incarnation: int | None = None

    async def list_keys(self, runs: Sequence[IO[bytes]]) -> None:
        """Write the sorted keys of some of the shards into each of the runs."""
        shards = range((await self.cluster.map(self.uid)).index.shards)
        for number, run in enumerate(runs):
            wanted = [ShardId(shard) for shard in shards[number :: len(runs)]]
            if wanted:
                await asyncio.to_thread(_write, run, await self.keys(wanted))

    async def keys(self, shards: Sequence[ShardId]) -> list[Any]:
        """The keys of some of the shards, in no order."""
        return await self._read(partial(self._keys, shards=shards))

    async def page(self, keys: Sequence[Any]) -> list[bytes]:
        return [document for _, document in await self.found(keys)]

    async def found(self, keys: Sequence[Any]) -> list[tuple[str, bytes]]:
        """Those of these documents that exist, with their keys as text, in the order of the keys."""
        return await self._read(lambda reader: self._documents(reader, keys))

    async def _read(self, work: Callable[[Reader], Awaitable[Result]]) -> Result:
        async def replay(client: NodeClient, stored_as: StoredUid, _: float) -> object:
            return await client.fetch_documents(stored_as, {**self.request, "limit": 0})

        async def checked(reader: Reader) -> Result:
            if self.incarnation not in (None, reader.map.index.incarnation):
                raise TemporaryError(
                    f"index `{self.uid}` was deleted and created anew while it was exported", hint="export it again"
                )
            self.incarnation = reader.map.index.incarnation
            return await work(reader)

        return await read(self.cluster, self.uid, checked, replay=replay, options=WHOLE)

    async def _keys(self, reader: Reader, *, shards: Sequence[ShardId]) -> list[Any]:
        primary_key = reader.map.index.primary_key

        async def listed(client: NodeClient, asked: tuple[ShardId, ...]) -> dict[str, Any]:
            filters = [*self.filters, shard_filter(asked)]
            body = {"fields": [primary_key], "filter": filters, "limit": EVERYTHING}
            answer = await self._raw(reader, client, body)
            with client.understood():
                return {"results": _read_keys(answer).results}

        answers = await reader.ask_all(listed, shards)
        return [identity(found, primary_key)[1] for answer in answers for found in answer.body["results"]]

    async def _documents(self, reader: Reader, keys: Sequence[Any]) -> list[tuple[str, bytes]]:
        primary_key = reader.map.index.primary_key
        wanted = by_shard(keys, reader.map.index.shards)
        fields = {} if self.fields is None else {"fields": [*self.fields, primary_key]}

        async def fetched(client: NodeClient, shards: tuple[ShardId, ...]) -> dict[str, Any]:
            ids = [key for shard in shards for key in wanted[shard]]
            body = {**fields, "ids": ids, "filter": shard_filter(shards), "limit": len(ids)}
            if self.vectors:
                body["retrieveVectors"] = True
            answer = await self._raw(reader, client, body)
            with client.understood():
                return {"results": _read_documents(answer).results}

        answers = await reader.ask_all(fetched, sorted(wanted))
        found = {self._key(each, primary_key): each for answer in answers for each in answer.body["results"]}
        return [(str(key), self._shown(found[str(key)])) for key in keys if str(key) in found]

    def _key(self, document: dict[str, msgspec.Raw], primary_key: str) -> str:
        names = {primary_key, primary_key.partition(".")[0]}.intersection(document)
        return str(identity({name: msgspec.json.decode(document[name]) for name in names}, primary_key)[1])

    def _shown(self, document: dict[str, msgspec.Raw]) -> bytes:
        document.pop(SHARD_FIELD, None)
        if self.fields is None:
            return _encode(document)
        kept = {VECTORS: document.pop(VECTORS)} if self.vectors and VECTORS in document else {}
        return _encode(select(msgspec.json.decode(_encode(document)), self.fields) | kept)

    async def _raw(self, reader: Reader, client: NodeClient, body: dict[str, Any]) -> bytes:
        path = path_of(reader.stored_as, "documents/fetch")
        return await client.read_raw(path, body, timeout=reader.options.timeout)
