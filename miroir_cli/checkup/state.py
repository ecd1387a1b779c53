"""Reading the state file for a check-up, whatever condition it is in; it is never changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from miroir_cli.checkup.facts import ImportFacts, IndexFacts, StateFacts, StateTrouble, Unfinished
from miroir_cli.errors import IndexNotFound, MiroirError, StateCorrupt, StateTooNew, StateUnavailable, TopologyInvalid
from miroir_cli.model import IntentState, WriteKind
from miroir_cli.store.locks import import_file, order_file, refuse_network_file_system
from miroir_cli.store.sqlite.store import SqliteStore

if TYPE_CHECKING:
    from pathlib import Path

    from miroir_cli.model import IndexMap, NodeName
    from miroir_cli.store.records import ClusterRecord, ImportRecord, Member, Pending
    from miroir_cli.topology.file import Topology

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

    def held_by(self, name: NodeName) -> list[str]:
        """The indexes of which a node has any replica."""
        return [uid for uid, map in self.maps.items() if name in map.nodes()]

    def open_write(self, uid: str) -> int | None:
        """The number of the write that was begun and has no outcome."""
        intents = self.pending[uid].intents if uid in self.pending else ()
        return next((intent.n for intent in intents if intent.state is IntentState.OPEN), None)

    def unsettled(self, uid: str) -> int:
        intents = self.pending[uid].intents if uid in self.pending else ()
        return sum(intent.state is IntentState.SENT for intent in intents)

    def changes_settings(self, uid: str) -> bool:
        intents = self.pending[uid].intents if uid in self.pending else ()
        return any(intent.kind is WriteKind.SETTINGS for intent in intents)


@dataclass(kw_only=True)
class OpenedState:
    """The state file as far as it could be opened: `facts` says what is wrong with it."""

    path: Path | None
    facts: StateFacts
    store: SqliteStore | None = field(default=None)

    async def read(self) -> Reading | None:
        """What the file says now; None when it cannot be read (`facts` says why)."""
        if self.store is None or self.facts.trouble is not None:
            return None
        try:
            return await _read(self.store)
        except MiroirError as error:
            self.facts = replace(self.facts, trouble=_trouble(error))
            return None


@asynccontextmanager
async def opened_state(topology: Topology, *, limit: float) -> AsyncIterator[OpenedState]:
    """Open the state file to read; `limit` bounds, in seconds, the look for damage and the wait for other processes."""
    try:
        path = topology.state_path
    except TopologyInvalid as error:
        yield OpenedState(path=None, facts=StateFacts(path=topology.state_url, trouble=_trouble(error)))
        return
    state = OpenedState(path=path, facts=StateFacts(path=str(path), network=_network(path.parent)))
    if not path.exists():
        state.facts = replace(state.facts, exists=False)
        yield state
        return
    try:
        state.store = await asyncio.to_thread(SqliteStore.open_to_read, path, busy_timeout=limit)
    except MiroirError as error:
        state.facts = replace(state.facts, trouble=_trouble(error))
        yield state
        return
    try:
        state.facts = replace(state.facts, trouble=await _look_into(state.store, topology, limit=limit))
        yield state
    finally:
        await state.store.close()


def _network(folder: Path) -> str | None:
    try:
        refuse_network_file_system(folder)
    except StateUnavailable as error:
        return error.message
    return None


async def _look_into(store: SqliteStore, topology: Topology, *, limit: float) -> StateTrouble | None:
    damage = await store.find_damage(timeout=limit)
    if damage is not None:
        return StateTrouble(check="state.damaged", message=damage, hint=DAMAGED_HINT)
    try:
        record = await store.cluster()
    except MiroirError as error:
        return _trouble(error)
    if record is not None and record.name != topology.cluster.name:
        return StateTrouble(
            check="state.other-cluster",
            message=f"state file `{store.path}` belongs to cluster `{record.name}`, the topology file names "
            f"`{topology.cluster.name}`",
            hint="set `[cluster] name` back, or point `[state] url` at the right file",
        )
    return None


def _trouble(error: MiroirError) -> StateTrouble:
    if isinstance(error, StateCorrupt):
        return StateTrouble(check="state.damaged", message=error.message, hint=DAMAGED_HINT)
    check = "state.too-new" if isinstance(error, StateTooNew) else "state.unreadable"
    return StateTrouble(check=check, message=error.message, hint=error.hint or "check the file")


async def _read(store: SqliteStore) -> Reading:
    maps, pending = {}, {}
    for index in await store.indexes():
        try:
            found = await store.map(index.uid)
            pending[str(index.uid)] = await store.pending(index.uid)
        except IndexNotFound:  # deleted just now
            continue
        if found is not None:
            maps[str(index.uid)] = found
    return Reading(
        cluster=await store.cluster(),
        members=await store.members(),
        maps=maps,
        pending=pending,
        interrupted=await store.interrupted(),
        imports={record.id: record for record in await store.unfinished_imports()},
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
            Unfinished(uid=uid, state=stage, busy=order_file(uid) in held)
            for uid, stage in after.interrupted.items()
            if before.interrupted.get(uid) == stage
        ),
        imports=tuple(
            ImportFacts(record=record, running=import_file(record.uid, number) in held)
            for number, record in after.imports.items()
            if number in before.imports
        ),
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
    )
