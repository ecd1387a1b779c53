"""Reading the state for a check-up, whatever condition it is in; it is never changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from miroir_cli.checkup.facts import ImportFacts, IndexFacts, RunFacts, StateFacts, StateTrouble, Unfinished
from miroir_cli.errors import IndexNotFound, MiroirError, StateCorrupt, StateTooNew, StateUnavailable, TopologyInvalid
from miroir_cli.model import IntentState, ReplicaState
from miroir_cli.store.backend import backend_of
from miroir_cli.store.journal import RunState
from miroir_cli.store.locks import import_file, order_file, refuse_network_file_system
from miroir_cli.store.sqlite.store import SqliteStore

if TYPE_CHECKING:
    from pathlib import Path

    from miroir_cli.model import Index, IndexMap, NodeName, StoredUid
    from miroir_cli.store.backend import Backend
    from miroir_cli.store.journal import RunId
    from miroir_cli.store.locks import Held
    from miroir_cli.store.protocol import Locking, Store
    from miroir_cli.store.records import ClusterRecord, ImportRecord, Member, Pending
    from miroir_cli.topology.file import Topology

LATEST_RUNS = 100
"""Runs among which one that has not ended is looked for: the next of its kind goes on with it, so it is a late one."""

DAMAGED_HINT = (
    "put back your latest copy of it, or without one run `miroir state recover`; nothing on the nodes was touched"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The state file at one moment."""

    cluster: ClusterRecord | None
    members: Mapping[NodeName, Member]
    maps: Mapping[str, IndexMap]
    pending: Mapping[str, Pending]
    interrupted: Mapping[str, str]
    imports: Mapping[int, ImportRecord]
    frozen: Mapping[str, str] = field(default_factory=dict)
    runs: Mapping[RunId, RunFacts] = field(default_factory=dict)
    creations: Mapping[str, Index] = field(default_factory=dict)

    def held_by(self, name: NodeName) -> list[StoredUid]:
        """The indexes of which a node has any replica, as it calls them."""
        return [map.index.stored_as for map in self.maps.values() if name in map.nodes()]

    def stale(self) -> list[StoredUid]:
        """The indexes that have a stale replica somewhere, as nodes call them."""
        return [
            map.index.stored_as
            for map in self.maps.values()
            if any(replica.state is ReplicaState.STALE for replica in map.replicas)
        ]

    def open_write(self, uid: str) -> int | None:
        """The number of the write that was begun and has no outcome."""
        intents = self.pending[uid].intents if uid in self.pending else ()
        return next((intent.n for intent in intents if intent.state is IntentState.OPEN), None)

    def unsettled(self, uid: str) -> int:
        intents = self.pending[uid].intents if uid in self.pending else ()
        return sum(intent.state is IntentState.SENT for intent in intents)

    def changes_settings(self, uid: str) -> bool:
        intents = self.pending[uid].intents if uid in self.pending else ()
        return any(not intent.kind.changes_documents for intent in intents)


@dataclass(kw_only=True)
class OpenedState:
    """The state as far as it could be opened: `facts` says what is wrong with it. `path`: the file, when it is one."""

    path: Path | None
    facts: StateFacts
    backend: Backend | None = field(default=None)
    store: Store | None = field(default=None)

    async def read(self) -> Reading | None:
        """What the state is now; None when it cannot be read (`facts` says why)."""
        if self.store is None or self.backend is None or self.facts.trouble is not None:
            return None
        try:
            return await _read(self.store, self.backend.locks)
        except MiroirError as error:
            self.facts = replace(self.facts, trouble=_trouble(error, in_redis=self.facts.in_redis))
            return None

    async def held(self) -> tuple[Held, ...]:
        """The locks that somebody holds; none that can be known where the state's place does not answer."""
        if self.backend is None or self.facts.trouble is not None and self.facts.in_redis:
            return ()
        try:
            return await self.backend.locks.held()
        except MiroirError:
            return ()


@asynccontextmanager
async def opened_state(topology: Topology, *, limit: float) -> AsyncIterator[OpenedState]:
    """Open the state to read; `limit` bounds, in seconds, the look for damage and the wait for other processes."""
    shared = topology.state.shared
    async with AsyncExitStack() as stack:
        try:
            path = None if shared else topology.state_path
            backend = await backend_of(topology)
        except MiroirError as error:
            trouble = _trouble(error, in_redis=shared)
            yield OpenedState(path=None, facts=StateFacts(path=shown(topology), in_redis=shared, trouble=trouble))
            return
        stack.push_async_callback(backend.close)
        facts = StateFacts(
            path=shown(topology),
            in_redis=shared,
            network=None if path is None else _network(path.parent),
        )
        state = OpenedState(path=path, facts=facts, backend=backend)
        try:
            async with _in_time(limit if shared else None, topology):
                state.facts = replace(state.facts, server=await backend.standing())
                state.store = await backend.open_to_read(limit=limit)
            if state.store is None:
                state.facts = replace(state.facts, exists=False)
            else:
                stack.push_async_callback(state.store.close)
                state.facts = replace(state.facts, trouble=await _look_into(state.store, topology, limit=limit))
        except MiroirError as error:
            state.facts = replace(state.facts, trouble=_trouble(error, in_redis=shared))
        yield state


def shown(topology: Topology) -> str:
    """Where the state is: the path of the file, or the address of Redis."""
    if topology.state.shared:
        return topology.state.address
    try:
        return str(topology.state_path)
    except TopologyInvalid:
        return topology.state.url


@asynccontextmanager
async def _in_time(limit: float | None, topology: Topology) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(limit):
            yield
    except TimeoutError:
        raise StateUnavailable(
            f"{topology.state_place} does not answer within {limit or 0:g} s",
            hint="look at its load and its log; searches of a running `miroir serve` go on for a while",
        ) from None


def _network(folder: Path) -> str | None:
    try:
        refuse_network_file_system(folder)
    except StateUnavailable as error:
        return error.message
    return None


async def _look_into(store: Store, topology: Topology, *, limit: float) -> StateTrouble | None:
    damage = await store.find_damage(timeout=limit) if isinstance(store, SqliteStore) else None
    if damage is not None:
        return StateTrouble(check="state.damaged", message=damage, hint=DAMAGED_HINT)
    try:
        record = await store.cluster()
    except MiroirError as error:
        return _trouble(error, in_redis=topology.state.shared)
    if record is not None and record.name != topology.cluster.name:
        return StateTrouble(
            check="state.other-cluster",
            message=f"{topology.state_place} belongs to cluster `{record.name}`, the topology file names "
            f"`{topology.cluster.name}`",
            hint=f"set `[cluster] name` back, or point `[state] url` at the right {topology.state_kind}",
        )
    return None


def _trouble(error: MiroirError, *, in_redis: bool = False) -> StateTrouble:
    if isinstance(error, StateCorrupt):
        return StateTrouble(check="state.damaged", message=error.message, hint=DAMAGED_HINT)
    check = "state.too-new" if isinstance(error, StateTooNew) else "state.unreadable"
    if in_redis and isinstance(error, StateUnavailable):
        check = "state.unreachable"
    return StateTrouble(check=check, message=error.message, hint=error.hint or "check the file")


async def _read(store: Store, locks: Locking) -> Reading:
    maps, pending = {}, {}
    for index in await store.indexes():
        try:
            found = await store.map(index.uid)
            pending[str(index.uid)] = await store.pending(index.uid)
        except IndexNotFound:  # deleted just now
            continue
        if found is not None:
            maps[str(index.uid)] = found
    interrupted = await store.interrupted()
    begun = {uid: await store.creation(uid) for uid in interrupted}
    return Reading(
        cluster=await store.cluster(),
        members=await store.members(),
        maps=maps,
        pending=pending,
        interrupted=interrupted,
        creations={uid: creation.index for uid, creation in begun.items() if creation is not None},
        imports={record.id: record for record in await store.unfinished_imports()},
        frozen=await store.frozen(),
        runs={
            run.id: RunFacts(
                record=run,
                alive=run.state is RunState.RUNNING and await locks.lives(run.process),
                steps=await store.steps(run.id),
            )
            for run in await store.runs(limit=LATEST_RUNS)
            if run.finished_at is None
        },
    )


def describe_state(
    state: OpenedState, before: Reading | None, after: Reading | None, *, held: frozenset[str]
) -> StateFacts:
    """The state as two readings show it; `held` are the locks that were held between them, by their files' names."""
    if before is None or after is None:
        return state.facts
    return replace(
        state.facts,
        cluster=after.cluster,
        members=before.members,
        indexes=tuple(_index(uid, before, after, busy=order_file(uid) in held) for uid in after.maps),
        unfinished=tuple(
            Unfinished(uid=uid, state=stage, busy=order_file(uid) in held, index=after.creations.get(uid))
            for uid, stage in after.interrupted.items()
            if before.interrupted.get(uid) == stage
        ),
        imports=tuple(
            ImportFacts(record=record, running=import_file(record.uid, number) in held)
            for number, record in after.imports.items()
            if number in before.imports
        ),
        runs=tuple(run for id, run in sorted(after.runs.items()) if id in before.runs),
    )


def _index(uid: str, before: Reading, after: Reading, *, busy: bool) -> IndexFacts:
    was = before.maps.get(uid)
    same = was is not None and was.index == after.maps[uid].index
    open_write = after.open_write(uid)
    return IndexFacts(
        map=after.maps[uid],
        busy=busy,
        steady=same and not (before.changes_settings(uid) or after.changes_settings(uid)),
        in_doubt=open_write if open_write == before.open_write(uid) else None,
        unsettled=after.unsettled(uid),
        frozen=after.frozen.get(uid) if uid in before.frozen else None,
    )
