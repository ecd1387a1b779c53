"""What clients do while shards of real servers move, and what must be on the servers in the end."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import msgspec

from miroir_cli.cluster import Cluster
from miroir_cli.migration.rebalance import make_plan
from miroir_cli.migration.verify import VerifyOptions, verify
from miroir_cli.model import Index, IndexMap, ReplicaState
from miroir_cli.replication.settle import settle_until
from miroir_cli.search.scatter import search
from tests.faults.moving import CHANGE, delete, delete_with
from tests.faults.world import Ledger, check, put, shard_of

FIRST_EXTRA = 1_000_000
"""Documents that come and go have values from here on, the others lower ones."""

FEW = 6
"""Searches or writes that there are at least, however quickly the block ended."""


def keys_of(documents: int) -> list[str]:
    return [f"k{number}" for number in range(documents)]


async def begun(work: asyncio.Task[None], is_begun: Callable[[], bool]) -> None:
    """Wait until it is; raises what ended the work before."""
    while not is_begun():
        if work.done():
            await work
        await asyncio.sleep(0.01)


def write_file(folder: Path, ledger: Ledger, documents: int) -> Path:
    """An NDJSON file of documents with the value 0, entered into the ledger."""
    values = dict.fromkeys(keys_of(documents), 0)
    ledger.begun(values)
    ledger.acknowledged(values)
    file = folder / "documents.ndjson"
    file.write_bytes(b"".join(msgspec.json.encode({"id": key, "value": 0}) + b"\n" for key in values))
    return file


@dataclass(kw_only=True)
class Searches:
    """Searches every 20 ms until the block ends; each must find all the documents that are never deleted.
    The block begins after the first one; on a machine that was busy elsewhere they go on until there were a few."""

    cluster: Cluster
    documents: int
    made: int = 0
    _ending: bool = False
    _task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._search())
        await begun(self._task, lambda: self.made > 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ending = True
        assert self._task is not None
        await self._task

    async def _search(self) -> None:
        while not self._ending or self.made < FEW:
            found = await search(self.cluster, "books", {"q": "", "limit": 1, "filter": f"value < {FIRST_EXTRA}"})
            assert found["estimatedTotalHits"] == self.documents
            self.made += 1
            await asyncio.sleep(0.02)


@dataclass(kw_only=True)
class Writes:
    """Writes until the block ends: changes documents that stay, adds others, deletes those by ids and by a filter.
    The block begins after the first one; on a machine that was busy elsewhere they go on until there were a few."""

    cluster: Cluster
    index: Index
    ledger: Ledger
    documents: int
    made: int = 0
    _ending: bool = False
    _task: asyncio.Task[None] | None = None
    _chance: random.Random = field(default_factory=lambda: random.Random(1))

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._write())
        await begun(self._task, lambda: self.made > 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ending = True
        assert self._task is not None
        await self._task

    async def _write(self) -> None:
        while not self._ending or self.made < FEW:
            await self._one(self.made + 1)
            self.made += 1
            await asyncio.sleep(0.1)

    async def _one(self, number: int) -> None:
        extras = [f"x{self._chance.randrange(200)}" for _ in range(10)]
        if number % 5 == 3:
            await delete(self.cluster, self.index, self.ledger, sorted(set(extras)))
        elif number % 5 == 4:
            await delete_with(self.cluster, self.index, self.ledger, FIRST_EXTRA + number - 2)
        else:
            stay = {f"k{self._chance.randrange(self.documents)}": number for _ in range(10)}
            added = dict.fromkeys(extras, FIRST_EXTRA + number)
            await put(self.cluster, self.index, stay | added, self.ledger)


@dataclass(kw_only=True)
class Waits:
    """How long somebody who wants to write has to wait for the order lock, asked all the time."""

    longest: float = 0.0


@asynccontextmanager
async def waiting_for_the_lock(cluster: Cluster, index: Index) -> AsyncIterator[Waits]:
    """Take the order lock as a writer does, but send nothing, until the block ends."""
    waits = Waits()

    async def knock() -> None:
        while True:
            began = time.monotonic()
            async with cluster.locks.order(index.uid):
                waits.longest = max(waits.longest, time.monotonic() - began)
            await asyncio.sleep(0.05)

    task = asyncio.create_task(knock())
    try:
        yield waits
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def check_moved(cluster: Cluster, index: Index, ledger: Ledger, *, replicas: int) -> IndexMap:
    """After a run: every document is as often on the servers as it is to be, where its shard is in sync and nowhere
    else; the copies are equal and have what was acknowledged; and nothing is left to do."""
    pending = await cluster.store.pending(index.uid)
    await settle_until(cluster, index, pending.newest, timeout=20)
    map = await check(cluster, index, ledger)
    assert {replica.state for replica in map.replicas} == {ReplicaState.SERVING}, map.replicas
    in_sync = map.in_sync()
    copies: Counter[str] = Counter()
    for name in map.nodes():
        page = await cluster.fleet[name].fetch_documents(index.stored_as, {"fields": ["id"], "limit": 1_000_000})
        for document in page["results"]:
            copies[document["id"]] += 1
            assert name in in_sync[shard_of(document["id"], index)], f"{document['id']} is left on {name}"
    assert set(copies.values()) == {replicas}
    plan, _ = await make_plan(cluster, CHANGE)
    assert (plan.steps, plan.refusals) == ((), ())
    found = await verify(cluster, options=VerifyOptions(restart=True))
    assert found.clean and not found.skipped, found
    assert found.documents == len(copies)
    return map
