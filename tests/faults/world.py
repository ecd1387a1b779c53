"""A cluster of embedded nodes for one test, and the invariants that must hold whatever happens to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import xxhash

from miroir_cli.cluster import Cluster, Patience, open_cluster
from miroir_cli.dev.engine.testing import Engine, running_engine
from miroir_cli.errors import TemporaryError, WriteUnknown
from miroir_cli.indexes.catalog import create_index, plan_index
from miroir_cli.model import (
    SHARD_FIELD,
    Index,
    IndexMap,
    IntentState,
    Node,
    NodeName,
    Secret,
    ShardId,
    StoredUid,
    WriteKind,
    spell_shard,
)
from miroir_cli.replication.settle import IntentOutcome, settle_until
from miroir_cli.replication.write import Outgoing, Written, write
from miroir_cli.topology.document import TopologyDocument
from miroir_cli.topology.file import Topology, load_topology
from tests.backends import state_lines

HURRIED = Patience(grace=0.15, write=0.6, lookup=0.3, busy=0.4, answer=3.0, silence=0.4, lag=1.5)
"""So short that a test sees each limit pass."""

UID = "books"
N1, N2, N3 = NodeName("n1"), NodeName("n2"), NodeName("n3")


@dataclass(kw_only=True)
class World:
    """The nodes and the topology file of one test."""

    path: Path
    engines: dict[NodeName, Engine]

    @property
    def topology(self) -> Topology:
        return load_topology(self.path)

    @asynccontextmanager
    async def cluster(self, *, patience: Patience = HURRIED, lock_timeout: float = 10.0) -> AsyncIterator[Cluster]:
        """The cluster as one process has it open."""
        async with open_cluster(self.topology, command="test", lock_timeout=lock_timeout, patience=patience) as cluster:
            yield cluster

    def engine(self, number: int) -> Engine:
        return self.engines[NodeName(f"n{number}")]

    # what an operator writes into the topology file

    def edit(self, change: Callable[[TopologyDocument], object]) -> None:
        document = TopologyDocument.load(self.path)
        change(document)
        document.save()

    def add(self, number: int) -> None:
        name = NodeName(f"n{number}")
        key = Secret(file="key") if (self.path.parent / "key").exists() else None
        self.edit(lambda document: document.add_node(Node(name=name, url=self.engines[name].url, key=key)))

    def drain(self, *numbers: int) -> None:
        """Drain these nodes and no others."""

        def change(document: TopologyDocument) -> None:
            for node in self.topology.nodes:
                document.change_node(node.name, drained=None)
            for number in numbers:
                document.change_node(f"n{number}", drained=True)

        self.edit(change)

    def set_replicas(self, replicas: int) -> None:
        self.edit(lambda document: document.set_cluster("replicas", replicas))


def write_topology(folder: Path, urls: Mapping[NodeName, str], *, key: str | None = None, **cluster: int) -> Path:
    """The topology file of a cluster named `test` with these nodes, and a file with the key of all."""
    lines = ["[cluster]", 'name = "test"', *(f"{name} = {value}" for name, value in cluster.items()), *state_lines()]
    if key is not None:
        (folder / "key").write_text(key)
        (folder / "key").chmod(0o600)
    for name, url in urls.items():
        lines += ["", "[[nodes]]", f'name = "{name}"', f'url = "{url}"']
        lines += [] if key is None else ['key_file = "key"']
    path = folder / "miroir.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


@contextmanager
def world_of(
    folder: Path,
    *,
    nodes: int = 2,
    spare: int = 0,
    shards: int = 2,
    replicas: int = 2,
    min_in_sync: int = 1,
    master_key: str | None = None,
) -> Iterator[World]:
    """Start the nodes and write the topology file that names them, but for the `spare` ones that come last."""
    with ExitStack() as stack:
        engines = {
            NodeName(f"n{number}"): stack.enter_context(running_engine(folder / f"disk{number}", master_key=master_key))
            for number in range(1, nodes + spare + 1)
        }
        urls = {name: engines[name].url for name in list(engines)[:nodes]}
        path = write_topology(folder, urls, key=master_key, shards=shards, replicas=replicas, min_in_sync=min_in_sync)
        yield World(path=path, engines=engines)


async def create(cluster: Cluster, uid: str = UID, **options: Any) -> Index:
    plan = await plan_index(cluster, uid, primary_key="id", **options)
    return (await create_index(cluster, plan)).index


def shard_of(key: str, index: Index) -> ShardId:
    return ShardId(xxhash.xxh64_intdigest(key.encode()) % index.shards)


def addition(index: Index, documents: Mapping[str, Any], *, kind: WriteKind = WriteKind.ADD) -> Outgoing:
    """A write of the documents {key: value}."""
    lines: dict[ShardId, list[bytes]] = {}
    for key, value in documents.items():
        shard = shard_of(key, index)
        document = {SHARD_FIELD: spell_shard(shard), "id": key, "value": value}
        lines.setdefault(shard, []).append(msgspec.json.encode(document))
    return Outgoing(
        kind=kind,
        documents={shard: len(bodies) for shard, bodies in lines.items()},
        payload=lambda shards: b"\n".join(body for shard in sorted(shards) for body in lines.get(shard, ())),
        keys=lambda shard: [key for key in documents if shard_of(key, index) == shard],
    )


def clearing(index: Index) -> Outgoing:
    """A deletion of every document, shard by shard."""

    def payload(shards: frozenset[ShardId]) -> bytes:
        spelled = ", ".join(f'"{spell_shard(shard)}"' for shard in sorted(shards))
        return msgspec.json.encode({"filter": f"{SHARD_FIELD} IN [{spelled}]"})

    return Outgoing(
        kind=WriteKind.DELETE_BY_FILTER,
        documents={ShardId(shard): None for shard in range(index.shards)},
        payload=payload,
        path="documents/delete",
        content_type="application/json",
    )


def keys_of_every_shard(index: Index, *, each: int = 2, prefix: str = "k") -> list[str]:
    """`each` keys for every shard of the index."""
    found: dict[ShardId, list[str]] = {ShardId(shard): [] for shard in range(index.shards)}
    number = 0
    while any(len(keys) < each for keys in found.values()):
        key = f"{prefix}{number}"
        number += 1
        keys = found[shard_of(key, index)]
        if len(keys) < each:
            keys.append(key)
    return [key for keys in found.values() for key in keys]


@dataclass(kw_only=True)
class Ledger:
    """What a client was told of its writes: for each key the values that may be seen now.

    The first value of a key is the one that was acknowledged last (None: no document); those after it belong to
    writes whose outcome nobody has told.
    """

    values: dict[str, list[Any]] = field(default_factory=dict)
    all_begun: dict[str, list[Any]] = field(default_factory=dict)

    def begun(self, documents: Mapping[str, Any]) -> None:
        for key, value in documents.items():
            self.values.setdefault(key, [None]).append(value)
            self.all_begun.setdefault(key, []).append(value)

    def acknowledged(self, documents: Mapping[str, Any]) -> None:
        for key, value in documents.items():
            known = self.values[key]
            self.values[key] = known[known.index(value) :]

    def failed(self, documents: Mapping[str, Any]) -> None:
        for key, value in documents.items():
            self.values[key].remove(value)


async def put(cluster: Cluster, index: Index, documents: Mapping[str, Any], ledger: Ledger) -> Written | None:
    """Write and wait, and enter what was said into the ledger; None when the outcome is unknown."""
    ledger.begun(documents)
    try:
        written = await write(cluster, index, addition(index, documents))
    except WriteUnknown:
        return None
    except TemporaryError:
        ledger.failed(documents)  # refused before anything was sent
        raise
    outcome = (await settle_until(cluster, index, written.n, timeout=20))[written.n]
    note(ledger, index, documents, written.refused, outcome)
    return written


def note(
    ledger: Ledger, index: Index, documents: Mapping[str, Any], refused: Iterable[ShardId], outcome: IntentOutcome
) -> None:
    lost = set(refused) | set(outcome.failed)
    if outcome.state in (IntentState.ABORTED, IntentState.FAILED):
        lost = {ShardId(shard) for shard in range(index.shards)}
    ledger.failed({key: value for key, value in documents.items() if shard_of(key, index) in lost})
    ledger.acknowledged({key: value for key, value in documents.items() if shard_of(key, index) not in lost})


async def contents(cluster: Cluster, node: NodeName, index: Index, shard: ShardId) -> dict[str, Any]:
    """The documents of a shard on one node: {key: value}."""
    body = {"filter": f'{SHARD_FIELD} = "{spell_shard(shard)}"', "limit": 100_000}
    found = await cluster.fleet[node].fetch_documents(index.stored_as, body)
    return {document["id"]: document["value"] for document in found["results"]}


async def check(cluster: Cluster, index: Index, ledger: Ledger) -> IndexMap:
    """The invariants: every shard has an in-sync replica, those of a shard are equal, and each has every
    acknowledged write, nothing that was said to have failed, and nothing older."""
    map = await cluster.reload(index.uid)
    for shard, nodes in map.in_sync().items():
        assert nodes, f"shard {shard} has no in-sync replica: {map.replicas}"
        copies = {node: await contents(cluster, node, index, shard) for node in nodes}
        first = next(iter(copies.values()))
        assert all(copy == first for copy in copies.values()), f"in-sync replicas of shard {shard} differ: {copies}"
        for key, allowed in ledger.values.items():
            if shard_of(key, index) == shard:
                assert first.get(key) in allowed, f"{key} is {first.get(key)!r}, allowed {allowed!r}"
        assert set(first) <= set(ledger.values)
    return map


async def eventually(condition: Callable[[], Awaitable[bool]], *, timeout: float = 10.0) -> None:
    """Wait until the condition holds."""
    async with asyncio.timeout(timeout):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.02)


def stale(map: IndexMap) -> set[NodeName]:
    """Nodes with a replica that is out of sync."""
    return {replica.node for replica in map.replicas if replica.state.value in ("stale", "lost")}


async def copies_are_kept_from_searches(cluster: Cluster) -> bool:
    """Whether the copy of an index with the stop word `hush` is on each node, and no search finds or shows it."""
    for client in cluster.fleet.clients.values():
        await client.wait_task(await client.top_task())
        kept = await client.get_document(StoredUid("_miroir"), f"index-{UID}")
        found = await client.search(StoredUid("_miroir"), {"q": "hush"})
        shown = await client.search(StoredUid("_miroir"), {"q": ""})
        keys = {key for hit in shown["hits"] for key in hit}
        if kept["settings"] != {"stopWords": ["hush"]} or found["hits"] or len(shown["hits"]) != 2 or keys != {"id"}:
            return False
    return True
