"""`open_cluster`: the topology, the state store, the locks and the nodes of one cluster, wired together.

`open_site` is the same without the store, for who has to make a new one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

from miroir_cli.errors import (
    IndexNotFound,
    IsAnAlias,
    MiroirError,
    MultiAlias,
    MultiAliasNotWritable,
    TopologyInvalid,
    known_instead,
)
from miroir_cli.fencing.holder import Fencing
from miroir_cli.model import Index, IndexMap, Node, NodeName, ReplicaState, Secret, ShardId
from miroir_cli.node.client import NodeClient
from miroir_cli.node.fleet import Fleet
from miroir_cli.store.backend import backend_of
from miroir_cli.store.fence import in_time
from miroir_cli.store.last_known import LastKnown
from miroir_cli.store.locks import STATE
from miroir_cli.topology.file import Topology, load_topology, resolve_key

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from miroir_cli.node.features import Features
    from miroir_cli.node.watch import NodeWatch
    from miroir_cli.store.aliases import Alias
    from miroir_cli.store.backend import Backend
    from miroir_cli.store.protocol import Locking, Store

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
    """A cluster as far as it can be known without its state: what the topology file says, the nodes, the locks; and
    `backend`, where the state is."""

    topology: Topology
    fleet: Fleet
    locks: Locking
    command: str = "miroir"
    patience: Patience = Patience()
    backend: Backend | None = None
    fencing: Fencing | None = None
    """What shuts others out of the nodes, and this process where it was overtaken; None on one host."""


@dataclass(kw_only=True)
class Cluster(Site):
    """What every verb is given. `map` answers from a cached reading of the store; `still_valid` is how a reader
    makes sure afterwards that it was right."""

    store: Store
    rotation: int = 0
    watch: NodeWatch | None = None
    """What a process that lives long has learnt of the nodes; without it they are asked in turn."""
    features: Features | None = None
    """What such a process knows of the nodes' experimental features."""
    last_known: LastKnown | None = None
    """The same store, where such a process goes on reading while that is silent."""
    session: dict[str, object] = field(default_factory=dict)
    """What one process remembers between calls of the same verb (see `replication/settle.py`)."""
    _maps: dict[str, IndexMap] = field(default_factory=dict)
    _names: int = 0
    _follows: bool = True
    _file_read: tuple[int, int, int] | None = None

    async def map(self, uid: str) -> IndexMap:
        """The index of this uid and its replicas as this process read them last. Raises `IndexNotFound`, and
        `IsAnAlias` for the name of one."""
        found = self._maps.get(uid)
        return found if found is not None and found.alias is None else await self.reload(uid)

    async def reload(self, uid: str) -> IndexMap:
        """The same, read from the store now."""
        found = await self.store.map(uid)
        if found is None:
            self._maps.pop(uid, None)
            raise await self.not_found(uid)
        return await self._keep(found)

    async def named(self, name: str) -> IndexMap:
        """The index that a name stands for, which may be its own or an alias, as this process read it last.

        Raises `IndexNotFound`, and `MultiAlias` for the name of several indexes. `still_valid` tells afterwards whether
        the name still stands for it.
        """
        found = self._maps.get(name)
        return found if found is not None else await self.reload_named(name)

    async def reload_named(self, name: str) -> IndexMap:
        """The same, read from the store now: what the name stood for, and at which epoch, is one reading."""
        found = await self.store.resolve(name)
        if isinstance(found, IndexMap):
            return await self._keep(found)
        self._maps.pop(name, None)
        if found is None:
            raise await self.not_found(name)
        raise _several(found)

    async def target_of(self, name: str, *, written: bool = False) -> str:
        """The uid of the index that a name stands for now: for what is no alias the name itself, whether there is such
        an index or not. Raises `MultiAlias` for the name of several, for who writes `MultiAliasNotWritable`."""
        alias = await self.store.alias(name)
        if alias is None:
            return name
        if alias.target is None:
            raise _several(alias, written=written)
        return alias.target

    async def itself(self, uid: str) -> None:
        """Raise `IsAnAlias` for the name of one, where an index itself is needed."""
        alias = await self.store.alias(uid)
        if alias is not None:
            raise _is_an_alias(alias)

    async def _keep(self, found: IndexMap) -> IndexMap:
        self._maps[found.name] = found
        await self.meet(found.nodes())
        return found

    async def heed_names(self) -> int:
        """The epoch at which a name came to stand for another index last. Nothing that was read before it is answered
        from a cached reading from here on."""
        record = await self.store.cluster()
        renamed = 0 if record is None else record.renamed
        if renamed != self._names:
            self._maps.clear()
            self._names = renamed
        return renamed

    async def maps(self) -> tuple[IndexMap, ...]:
        """All indexes and their replicas, as the store has them at one moment, in the order of their uids."""
        found = await self.store.maps()
        await self.meet({name for map in found for name in map.nodes()})
        return found

    async def current(self, index: Index) -> IndexMap:
        """The same for an index in hand. Raises `IndexRenamed` or `IndexNotFound` when its name does not stand for it
        any more: what the name stands for now must not be mistaken for it."""
        await self.store.require(index)
        found = await self.reload(index.uid)
        if found.index.incarnation != index.incarnation:
            await self.store.require(index)
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
            client.carrier = self.fencing
            self.fleet.add(client)
        self.topology = replace(self.topology, nodes=(*self.topology.nodes, *joined))

    async def still_valid(self, map: IndexMap, used: Mapping[NodeName, Iterable[ShardId]]) -> bool:
        """The end check of a read: whether the name by which the index was asked for still stands for it, and every
        replica used has been in sync, uninterrupted, since `map` was read.

        Source: protocol rule E1; one small read of the store when nothing has changed.
        """
        if await self.store.epoch() == map.epoch:
            return True
        current = await self.store.resolve(map.name)
        if not isinstance(current, IndexMap) or current.index.incarnation != map.index.incarnation:
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
        _carry(fleet, self.fencing)
        try:
            yield replace(self, topology=topology, fleet=fleet, _maps={}, _follows=False)
        finally:
            await fleet.close()

    async def not_found(self, uid: str) -> IndexNotFound | IsAnAlias:
        """The error for a name that no index has, with one that does and looks like it."""
        alias = await self.store.alias(uid)
        if alias is not None:
            return _is_an_alias(alias)
        names = [str(index.uid) for index in await self.store.indexes()]
        names += [alias.name for alias in await self.store.aliases()]
        listing = "miroir index list" if names else f"miroir index create {uid} --primary-key FIELD"
        hint = known_instead(uid, names, listing=listing)
        if not names and await self.store.cluster() is None:
            hint += "; if there should be one, see whether `[state] url` is right, and run `miroir doctor`"
        return IndexNotFound(f"index `{uid}` not found", hint=hint)


def _is_an_alias(alias: Alias) -> IsAnAlias:
    return IsAnAlias(
        f"`{alias.name}` is an alias of {alias.described}, and this is done with an index itself",
        hint=f"name the index, or see `miroir alias show {alias.name}`",
    )


def _several(alias: Alias, *, written: bool = False) -> MultiAlias:
    if written:
        return MultiAliasNotWritable(
            f"alias `{alias.name}` stands for {alias.described}: it can be searched, not written to",
            hint="write to one of them by its own name",
        )
    return MultiAlias(
        f"alias `{alias.name}` stands for {alias.described}, and this needs one",
        hint="name one of them; only a search is made in all of them",
    )


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
    watch: NodeWatch | None = None,
    lasting: bool = False,
) -> AsyncIterator[Cluster]:
    """Open everything a verb needs and close it afterwards.

    `transport` replaces httpx's own for reads. `lean_reads`: they go over a pool that costs less where there are many,
    as in a process that lives long. `rotation` is where the choice among equal replicas starts; `watch` makes a better
    one. `lasting`: see `with_state`.
    """
    opening = open_site(
        topology,
        command=command,
        lock_timeout=lock_timeout,
        transport=transport,
        lean_reads=lean_reads,
        patience=patience,
    )
    async with opening as site, with_state(site, rotation=rotation, watch=watch, lasting=lasting) as cluster:
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
    async with AsyncExitStack() as stack:
        fleet = await _open_fleet(topology, transport=transport, lean=lean_reads)
        stack.push_async_callback(fleet.close)
        backend = await backend_of(topology, lock_timeout=lock_timeout, command=command)
        stack.push_async_callback(backend.close)
        yield Site(
            topology=topology,
            fleet=fleet,
            locks=backend.locks,
            command=command,
            patience=patience or Patience(),
            backend=backend,
        )


@asynccontextmanager
async def with_state(
    site: Site, *, rotation: int = 0, watch: NodeWatch | None = None, lasting: bool = False
) -> AsyncIterator[Cluster]:
    """Open the state store of a site as well. Nobody can replace the store meanwhile.

    `lasting`: reads go on for a while (`[state] stale_reads`) when a shared store falls silent, once the caller has
    let `last_known.keep_listening` go on beside.
    """
    topology = site.topology
    assert site.backend is not None, "opened by `open_site`"
    async with site.locks.shared(STATE):
        store = await site.backend.open()
        last_known: LastKnown | None = None
        try:
            record = await store.cluster()
            if record is not None and record.name != topology.cluster.name:
                raise TopologyInvalid(
                    f"{topology.state_place} belongs to cluster `{record.name}`, "
                    f"`{topology.path}` names `{topology.cluster.name}`",
                    hint=f"set `[cluster] name` back, or point `[state] url` at another {topology.state_kind}",
                )
            last_known = _remembering(site, store) if lasting else None
            async with _fenced(site, store) as fencing:
                yield Cluster(
                    topology=topology,
                    store=cast("Store", last_known) if last_known is not None else store,
                    last_known=last_known,
                    fleet=site.fleet,
                    locks=site.locks,
                    command=site.command,
                    patience=site.patience,
                    backend=site.backend,
                    fencing=fencing,
                    rotation=rotation,
                    watch=watch,
                )
        finally:
            if last_known is not None:
                await last_known.leave()
            await store.close()


@asynccontextmanager
async def _fenced(site: Site, store: Store) -> AsyncIterator[Fencing | None]:
    """Have what is sent to the nodes meanwhile go under slots of this process, where there are such."""
    assert site.backend is not None
    register = site.backend.slots()
    fencing = None if register is None else Fencing(register, store, site.fleet, answer=site.patience.answer)
    _carry(site.fleet, fencing)
    try:
        yield fencing
    finally:
        _carry(site.fleet, None)
        if fencing is not None:
            await fencing.close()


def _carry(fleet: Fleet, fencing: Fencing | None) -> None:
    for client in fleet.clients.values():
        client.carrier = fencing


def _remembering(site: Site, store: Store) -> LastKnown | None:
    """The store for a process that goes on reading while it is silent, where it can be."""
    limit = site.topology.state.stale_reads
    listener = site.locks.listener(limit=limit)
    return None if listener is None else LastKnown(store, limit=limit, listener=listener)


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
        NodeClient(
            node,
            key=keys[node.key],
            transport=transport(node) if transport else None,
            lean=lean,
            in_time=in_time,
        )
        for node in topology.nodes
    )
