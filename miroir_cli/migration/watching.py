"""The cluster looked at again and again, for a live view: every node at its own pace, so that a slow one holds up
nothing, and how old each figure is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from miroir_cli.errors import MiroirError, NodeUnavailable
from miroir_cli.indexes.counts import count_documents
from miroir_cli.migration.history import open_runs

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.model import IndexMap, IndexUid, NodeName, Replica
    from miroir_cli.node.client import NodeClient
    from miroir_cli.store.records import BatchRecord, ImportRecord

SENDING: Final = "sending"
"""The state of a batch of an import that has not ended."""

PATIENT: Final = 30.0
"""Seconds without a new document after which an import counts as waiting: nobody may be at it any more."""

IN_BYTES: Final = (".ndjson", ".jsonl", ".json", ".csv")
"""Sources whose batches are counted in the bytes of the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """A node as it was when it last answered, `age` seconds ago (None: it never did). `state`: `up`, `down`, or
    `asking` before the first answer. `queue` are tasks that it has not done."""

    name: str
    state: str
    age: float | None = None
    documents: int | None = None
    queue: int | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexView:
    """An index and where its replicas are. `documents` were counted `age` seconds ago."""

    uid: str
    shards: int
    replicas: tuple[Replica, ...]
    documents: int | None = None
    age: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkView:
    """A run or an import that has not ended. `share` is how much of it is done (0 to 1, None: not known), `rate` its
    documents a second while it was looked at, `left` about how many seconds the rest takes."""

    name: str
    state: str
    documents: int
    total: int | None = None
    share: float | None = None
    rate: float | None = None
    left: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The whole cluster at a moment. `warnings` are what to worry about, in words."""

    cluster: str
    epoch: int
    nodes: tuple[NodeView, ...]
    indexes: tuple[IndexView, ...] = ()
    work: tuple[WorkView, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(kw_only=True)
class Watching:
    """What is known so far. `view` reads the state file, which is here, and takes from the nodes what there is."""

    cluster: Cluster
    interval: float
    _nodes: dict[NodeName, NodeView] = field(default_factory=dict)
    _answered: dict[NodeName, float] = field(default_factory=dict)
    _counts: dict[IndexUid, tuple[int | None, float]] = field(default_factory=dict)
    _first: dict[str, tuple[float, float]] = field(default_factory=dict)
    _last: dict[str, float] = field(default_factory=dict)
    _moved: dict[str, float] = field(default_factory=dict)

    async def view(self) -> View:
        """The cluster as it is known now."""
        store, now = self.cluster.store, time.monotonic()
        maps = await store.maps()
        names = [*self.cluster.fleet, *_others(maps, self.cluster.fleet.clients)]
        runs, imports = await open_runs(self.cluster), await store.unfinished_imports()
        work = [self._run(run, now) for run in runs] + [await self._import(record, now) for record in imports]
        return View(
            cluster=self.cluster.topology.cluster.name,
            epoch=await store.epoch(),
            nodes=tuple(self._node(name, now) for name in names),
            indexes=tuple(self._index(map, now) for map in maps),
            work=tuple(work),
            warnings=tuple(await self._warnings(maps)),
        )

    def _node(self, name: NodeName, now: float) -> NodeView:
        if name not in self.cluster.fleet:
            return NodeView(name=name, state="gone")
        found = self._nodes.get(name, NodeView(name=name, state="asking"))
        return replace(found, age=now - self._answered[name] if name in self._answered else None)

    def _index(self, map: IndexMap, now: float) -> IndexView:
        documents, at = self._counts.get(map.index.uid, (None, None))
        return IndexView(
            uid=map.index.uid,
            shards=map.index.shards,
            replicas=map.replicas,
            documents=documents,
            age=None if at is None else now - at,
        )

    def _run(self, run: Mapping[str, Any], now: float) -> WorkView:
        state = "running" if run["alive"] else "interrupted" if run["state"] == "running" else str(run["state"])
        if run["alive"] and run["wanted"] == "pause":
            state = "paused"
        done, total = run["documents_moved"], run["documents"]
        share = done / total if total else (run["switched"] / run["moves"] if run["moves"] else None)
        rate = self._rate(f"run {run['run']}", done, now)
        return WorkView(
            name=f"run {run['run']}: {run['title']}",
            state=state,
            documents=done,
            total=total,
            share=None if share is None else min(1.0, share),
            rate=rate,
            left=(total - done) / rate if rate and total and total > done and state == "running" else None,
        )

    async def _import(self, record: ImportRecord, now: float) -> WorkView:
        batches = await self.cluster.store.batches(record.id)
        done = sum(batch.documents for batch in batches if batch.state != SENDING)
        name = f"import {record.id}"
        rate = self._rate(name, done, now)
        share = share_read(record.fingerprint["sources"], batches)
        total = round(sum(batch.documents for batch in batches) / share) if share else None
        return WorkView(
            name=f"import {record.uid}",
            state="running" if now - self._moved[name] < PATIENT else "waits",
            documents=done,
            total=total,
            share=None if not total else min(1.0, done / total),
            rate=rate,
            left=(total - done) / rate if rate and total and total > done else None,
        )

    def _rate(self, name: str, done: float, now: float) -> float | None:
        """Documents a second since it was first seen; what was done before says nothing."""
        at, before = self._first.setdefault(name, (now, done))
        if self._last.get(name) != done:
            self._last[name], self._moved[name] = done, now
        return (done - before) / (now - at) if now > at and done > before else None

    async def _warnings(self, maps: Sequence[IndexMap]) -> list[str]:
        """What a picture does not show by itself."""
        told = []
        for map in maps:
            pending = await self.cluster.store.pending(map.index)
            doubt = sum(intent.state.value == "open" for intent in pending.intents)
            if doubt:
                told.append(f"index `{map.index.uid}`: {doubt} writes whose outcome is not known yet")
        frozen = await self.cluster.store.frozen()
        return told + [f"index `{uid}` is frozen: {reason}" for uid, reason in frozen.items()]

    # What is asked again and again

    async def follow(self, client: NodeClient) -> None:
        """Ask a node, wait, ask again. While it does not answer its last figures stay."""
        while True:
            try:
                async with asyncio.timeout(self.cluster.patience.answer):
                    self._nodes[client.name] = await self._ask(client)
                self._answered[client.name] = time.monotonic()
            except (MiroirError, TimeoutError) as error:
                last = self._nodes.get(client.name, NodeView(name=client.name, state="down"))
                self._nodes[client.name] = replace(last, state="down", error=_why(client.name, error))
            await asyncio.sleep(self.interval)

    async def _ask(self, client: NodeClient) -> NodeView:
        stats = await client.get("stats")
        stored = {map.index.stored_as for map in await self.cluster.store.maps() if client.name in map.nodes()}
        queue = await client.tasks(statuses="enqueued,processing", limit=1)
        indexes: Mapping[str, Mapping[str, Any]] = stats["indexes"]
        return NodeView(
            name=client.name,
            state="up",
            documents=sum(int(each["numberOfDocuments"]) for uid, each in indexes.items() if uid in stored),
            queue=int(queue["total"]),
        )

    async def count(self) -> None:
        """Count the documents of every index, wait, count again."""
        while True:
            for map in await self.cluster.store.maps():
                with suppress(MiroirError):
                    count = await count_documents(self.cluster, map)
                    if not count.missing:
                        self._counts[map.index.uid] = (count.documents, time.monotonic())
            await asyncio.sleep(self.interval)


def share_read(sources: Sequence[Mapping[str, Any]], batches: Sequence[BatchRecord]) -> float | None:
    """How much of the files of an import its batches reach into, 0 to 1; None where that cannot be told: standard
    input, compressed files, formats that do not count in bytes. Pure."""
    sizes = [source["size"] for source in sources]
    if not batches or None in sizes or not all(str(source["name"]).endswith(IN_BYTES) for source in sources):
        return None
    read = sum(sizes[: batches[-1].source]) + batches[-1].end
    return min(1.0, read / sum(sizes)) if sum(sizes) else None


def _why(name: NodeName, error: Exception) -> str:
    if isinstance(error, NodeUnavailable):
        return error.message
    return f"node `{name}` did not answer in time" if isinstance(error, TimeoutError) else str(error)


async def view_of(cluster: Cluster, found: Mapping[str, Any]) -> View:
    """The nodes and indexes of one look, from the document of `miroir status`."""
    documents = {index["uid"]: index["documents"] for index in found["indexes"]}
    maps = [map for map in await cluster.store.maps() if map.index.uid in documents]
    nodes = [NodeView(name=node["name"], state=node["state"]) for node in found["nodes"]]
    nodes += [NodeView(name=name, state="gone") for name in _others(maps, {node.name for node in nodes})]
    return View(
        cluster=found["cluster"]["name"],
        epoch=found["cluster"]["epoch"],
        nodes=tuple(nodes),
        indexes=tuple(
            IndexView(
                uid=map.index.uid,
                shards=map.index.shards,
                replicas=map.replicas,
                documents=documents[map.index.uid],
            )
            for map in maps
        ),
    )


def _others(maps: Sequence[IndexMap], known: Collection[str]) -> list[NodeName]:
    """Nodes with replicas that the topology file does not name."""
    return sorted({name for map in maps for name in map.nodes() if name not in known})


@asynccontextmanager
async def watching(cluster: Cluster, *, interval: float) -> AsyncIterator[Watching]:
    """Look at the cluster every `interval` seconds for as long as the context is open."""
    found = Watching(cluster=cluster, interval=interval)
    tasks = [asyncio.create_task(found.follow(client)) for client in cluster.fleet.clients.values()]
    tasks.append(asyncio.create_task(found.count()))
    try:
        yield found
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
