"""`open_cluster`: the topology, the state store, the locks and the nodes of one cluster, wired together.

`open_site` is the same without the store, for who has to make a new one.
"""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from miroir_cli.errors import IndexNotFound, MiroirError, TopologyInvalid
from miroir_cli.model import IndexMap, Node, NodeName, ReplicaState, Secret, ShardId
from miroir_cli.node.client import NodeClient
from miroir_cli.node.fleet import Fleet
from miroir_cli.store.locks import STATE, Locks
from miroir_cli.store.sqlite.store import SqliteStore
from miroir_cli.topology.file import Topology, load_topology, resolve_key

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from miroir_cli.store.records import Store

TransportFactory = Callable[[Node], "httpx.AsyncBaseTransport"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long the write protocol waits for nodes, in seconds.

    `grace`: after which no request of a dead process can still be taken in by a node that answers (the fence on one
    host; the longest lateness measured was 0.07 s). `write`: for the answer to one write. `lookup`: for which a write
    without an answer is looked up among its node's tasks. `busy`: for which a node that says it is busy is asked again
    while the other replicas wait. `answer`: for one question about tasks. `silence` and `lag`: without an answer, or
    without progress in its queue, after which a node that others are ahead of is left behind.
    """

    grace: float = 2.0
    write: float = 120.0
    lookup: float = 1.0
    busy: float = 10.0
    answer: float = 5.0
    silence: float = 10.0
    lag: float = 60.0


@dataclass(kw_only=True)
class Site:
    """A cluster as far as it can be known without its state: what the topology file says, the nodes, the locks."""

    topology: Topology
    fleet: Fleet
    locks: Locks
    command: str = "miroir"
    patience: Patience = Patience()


@dataclass(kw_only=True)
class Cluster(Site):
    """What every verb is given. `map` answers from a cached reading of the store; `still_valid` is how a reader
    makes sure afterwards that it was right."""

    store: Store
    rotation: int = 0
    session: dict[str, object] = field(default_factory=dict)
    """What one process remembers between calls of the same verb (see `replication/settle.py`)."""
    _maps: dict[str, IndexMap] = field(default_factory=dict)
    _follows: bool = True
    _file_read: tuple[int, int, int] | None = None

    async def map(self, uid: str) -> IndexMap:
        """The index and its replicas as this process read them last. Raises `IndexNotFound`."""
        found = self._maps.get(uid)
        return found if found is not None else await self.reload(uid)

    async def reload(self, uid: str) -> IndexMap:
        """The same, read from the store now."""
        found = await self.store.map(uid)
        if found is None:
            self._maps.pop(uid, None)
            raise await self._not_found(uid)
        self._maps[uid] = found
        await self.meet(found.nodes())
        return found

    async def meet(self, names: Iterable[NodeName]) -> None:
        """Have clients for these nodes: another process may have added some since the topology file was read.

        The file is read again when a node is not known, once for each version of it. What it does not name stays
        unknown, and so does everything while it cannot be read.
        """
        if not self._follows or all(name in self.fleet for name in names):
            return
        try:
            version = await asyncio.to_thread(_version_of, self.topology.path)
            if version == self._file_read:
                return
            topology = await asyncio.to_thread(load_topology, self.topology.path)
            joined = [node for node in topology.nodes if node.name not in self.fleet]
            newcomers = await _open_fleet(replace(topology, nodes=tuple(joined)))
        except (OSError, MiroirError):
            return
        self._file_read = version
        for client in newcomers.clients.values():
            self.fleet.add(client)
        self.topology = replace(self.topology, nodes=(*self.topology.nodes, *joined))

    async def still_valid(self, map: IndexMap, used: Mapping[NodeName, Iterable[ShardId]]) -> bool:
        """The end check of a read: whether every replica used has been in sync, uninterrupted, since `map` was read.

        Source: protocol rule E1; one small read of the store when nothing has changed.
        """
        if await self.store.epoch() == map.epoch:
            return True
        current = await self.store.map(map.index.uid)
        if current is None or current.index.incarnation != map.index.incarnation:
            return False
        serving = {
            (replica.node, replica.shard)
            for replica in current.replicas
            if replica.state is ReplicaState.SERVING and replica.since <= map.epoch
        }
        return all((node, shard) in serving for node, shards in used.items() for shard in shards)

    @asynccontextmanager
    async def with_topology(self, topology: Topology) -> AsyncIterator[Cluster]:
        """This cluster as another topology file describes it, which need not be written yet: the same store and locks,
        clients for its nodes."""
        fleet = await _open_fleet(topology)
        try:
            yield replace(self, topology=topology, fleet=fleet, _maps={}, _follows=False)
        finally:
            await fleet.close()

    async def _not_found(self, uid: str) -> IndexNotFound:
        names = [str(index.uid) for index in await self.store.indexes()]
        near = difflib.get_close_matches(uid, names, n=1)
        if near:
            return IndexNotFound(f"index `{uid}` not found", hint=f"did you mean `{near[0]}`?")
        hint = "run `miroir index list`" if names else f"run `miroir index create {uid} --primary-key KEY`"
        return IndexNotFound(f"index `{uid}` not found", hint=hint)


@asynccontextmanager
async def open_cluster(
    topology: Topology,
    *,
    command: str = "miroir",
    lock_timeout: float = 60.0,
    transport: TransportFactory | None = None,
    lean_reads: bool = False,
    patience: Patience | None = None,
    rotation: int = 0,
) -> AsyncIterator[Cluster]:
    """Open everything a verb needs and close it afterwards.

    `transport` replaces httpx's own for reads. `lean_reads`: they go over a pool that costs less where there are many,
    as in a process that lives long. `rotation` is where the choice among equal replicas starts.
    """
    opening = open_site(
        topology,
        command=command,
        lock_timeout=lock_timeout,
        transport=transport,
        lean_reads=lean_reads,
        patience=patience,
    )
    async with opening as site, with_state(site, rotation=rotation) as cluster:
        yield cluster


@asynccontextmanager
async def open_site(
    topology: Topology,
    *,
    command: str = "miroir",
    lock_timeout: float = 60.0,
    transport: TransportFactory | None = None,
    lean_reads: bool = False,
    patience: Patience | None = None,
) -> AsyncIterator[Site]:
    """The same without the state store."""
    fleet = await _open_fleet(topology, transport=transport, lean=lean_reads)
    try:
        yield Site(
            topology=topology,
            fleet=fleet,
            locks=Locks(topology.state_path.parent / "locks", timeout=lock_timeout, command=command),
            command=command,
            patience=patience or Patience(),
        )
    finally:
        await fleet.close()


@asynccontextmanager
async def with_state(site: Site, *, rotation: int = 0) -> AsyncIterator[Cluster]:
    """Open the state store of a site as well. Nobody can replace the store meanwhile."""
    topology = site.topology
    async with site.locks.shared(STATE):
        store = await asyncio.to_thread(SqliteStore.open, topology.state_path)
        try:
            record = await store.cluster()
            if record is not None and record.name != topology.cluster.name:
                raise TopologyInvalid(
                    f"state file `{topology.state_path}` belongs to cluster `{record.name}`, "
                    f"`{topology.path}` names `{topology.cluster.name}`",
                    hint="set `[cluster] name` back, or point `[state] url` at another file",
                )
            yield Cluster(
                topology=topology,
                store=store,
                fleet=site.fleet,
                locks=site.locks,
                command=site.command,
                patience=site.patience,
                rotation=rotation,
            )
        finally:
            await store.close()


def _version_of(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


async def _open_fleet(topology: Topology, *, transport: TransportFactory | None = None, lean: bool = False) -> Fleet:
    """A client for each node with its key; one look-up for nodes that name the same source of it."""
    keys: dict[Secret | None, str | None] = {}
    for node in topology.nodes:
        if node.key not in keys:
            keys[node.key] = await asyncio.to_thread(resolve_key, node.key, base=topology.path.parent)
    return Fleet(
        NodeClient(node, key=keys[node.key], transport=transport(node) if transport else None, lean=lean)
        for node in topology.nodes
    )
