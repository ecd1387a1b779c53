"""A cluster of simulated nodes in virtual time, and what must hold in it at every moment.

The invariants are checked after every task of a node and every call of the store: each shard has an in-sync replica
unless a disk was lost, and every in-sync replica has what the clients were told, and nothing else.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, cast

from miroir_cli.cluster import Cluster, Patience
from miroir_cli.model import (
    Index,
    IndexMap,
    Node,
    NodeName,
    ShardId,
)
from miroir_cli.node.fleet import Fleet
from miroir_cli.store.locks import Locks
from miroir_cli.store.sqlite.store import SqliteStore
from miroir_cli.topology.file import ClusterSettings, Topology
from miroir_cli.topology.state import StateSettings
from tests.faults.world import UID, create, keys_of_every_shard, shard_of
from tests.migration.ledger import Ledger, State
from tests.migration.process import Doors, make_task, store_behind
from tests.migration.simulated import MovingNode
from tests.migration.virtual_clock import virtual_time
from tests.migration.weather import Climate, Weather
from tests.migration.wishes import with_node
from tests.migration.writes import Writing

PATIENCE = Patience(grace=0.3, write=1.0, lookup=0.1, busy=0.3, answer=0.5, silence=1.0, lag=3.0)

SHOWN_LINES = 150
"""Of the course of a history that fails."""


class Violation(AssertionError):
    """An invariant does not hold."""


WRITING: ContextVar[Writing | None] = ContextVar("writing", default=None)


@dataclass(kw_only=True)
class History:
    """A history on its way."""

    folder: Path
    loop: asyncio.AbstractEventLoop
    store: SqliteStore
    random: Random
    climate: Climate
    trace: list[str] = field(default_factory=list)
    index: Index = field(init=False)
    keys: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.weather = Weather(random=self.random, grace=PATIENCE.grace)
        self.nodes: dict[NodeName, MovingNode] = {}
        self.topology = Topology(
            path=self.folder / "miroir.toml",
            cluster=ClusterSettings(name="simulated", shards=self.climate.shards, replicas=self.climate.replicas),
            state=StateSettings(url="sqlite:state.db"),
            nodes=(),
        )
        for _ in range(self.climate.nodes):
            self.topology = with_node(self.topology, self.new_node())
        self.doors = Doors(self.store, self.weather, stepped=self.check, begun=self._begun)
        self.ledger = Ledger()
        self.violation: asyncio.Future[None] = self.loop.create_future()
        self.value = 0
        self.lost: dict[NodeName, int] = {}
        """The epoch at which a node lost its disk."""
        self._map: IndexMap | None = None
        self.checks = 0
        self._checked: object = None
        self.reads = 0

    def tell(self, text: str) -> None:
        self.trace.append(f"{self.loop.time():8.3f} {text}")

    def new_node(self) -> Node:
        node = MovingNode(NodeName(f"n{len(self.nodes) + 1}"), self.weather, stepped=self.check, told=self.tell)
        self.nodes[node.name] = node
        return node.node

    def cluster(self, command: str) -> Cluster:
        """The cluster as a process that begins now has it open."""
        return Cluster(
            topology=self.topology,
            store=store_behind(self.doors),
            fleet=Fleet(self.nodes[node.name] for node in self.topology.nodes),
            locks=Locks(self.folder / "locks", timeout=10.0, command=command),
            command=command,
            patience=PATIENCE,
        )

    # -- its course

    async def run(self, doing: Coroutine[Any, Any, None]) -> None:
        """Until it has ended, or something does not hold."""
        course = asyncio.create_task(doing)
        await asyncio.wait([course, self.violation], return_when=asyncio.FIRST_COMPLETED)
        if self.violation.done():
            course.cancel()
            await asyncio.wait([course])
            self.violation.result()
        course.result()

    async def begin(self) -> None:
        """Create the index on the nodes."""
        self.index = await create(self.cluster("create"))
        self.keys = keys_of_every_shard(self.index, each=self.climate.keys)
        self.ledger.add_keys(self.keys)
        self.tell(f"{self.climate}")
        self.placement()

    def next_value(self) -> int:
        self.value += 1
        return self.value

    def _begun(self, n: int) -> None:
        writing = WRITING.get()
        if writing is not None:
            writing.n = n
            self.ledger.begun(n, writing.effects)
            self.tell(f"intent {n}: {writing.outgoing.kind.value} {self.value} {sorted(writing.effects)}")

    # -- what must hold

    def violated(self, text: str) -> None:
        if not self.violation.done():
            self.tell(f"VIOLATION {text}")
            self.violation.set_exception(Violation(text))

    def placement(self) -> IndexMap:
        if self._map is None or self._map.epoch != _now(self.store.epoch()):
            self._map = _now(self.store.map(UID))
            assert self._map is not None
            self.show_map()
        return self._map

    def show_map(self) -> None:
        if self._map is not None:
            shown = " ".join(f"{each.shard}@{each.node}:{each.state.value}" for each in self._map.replicas)
            self.tell(f"epoch {self._map.epoch}: {shown}")

    def check(self) -> None:
        """Every shard has an in-sync replica, and each of those has what the clients were told, and nothing else."""
        moment = (_now(self.store.epoch()), self.ledger.version, sum(node.changes for node in self.nodes.values()))
        if not self.keys or self.violation.done() or moment == self._checked:
            return
        self._checked = moment
        self.checks += 1
        map = self.placement()
        for shard, names in map.in_sync().items():
            if not names and not self.lost:
                self.violated(f"shard {shard} has no in-sync replica")
            for name in names:
                if self._is_blind(map, shard, name):
                    continue
                documents = self.nodes[name].documents_of(UID)
                for key in self.keys:
                    if shard_of(key, self.index) != shard:
                        continue
                    state = state_of(documents.get(key))
                    if not self.ledger.allows(key, state):
                        self.violated(f"{key} on {name} is {state}, possible {set(self.ledger.possible(key))}")

    def _is_blind(self, map: IndexMap, shard: ShardId, name: NodeName) -> bool:
        """Whether the node has lost its disk since the replica came to serve, and nobody knows it yet."""
        replica = map.replica(shard, name)
        return name in self.lost and replica is not None and replica.since <= self.lost[name]

    def has_blind_nodes(self) -> bool:
        map = self.placement()
        return any(self._is_blind(map, shard, name) for shard, names in map.in_sync().items() for name in names)


def state_of(document: dict[str, Any] | None) -> State:
    return None if document is None else (document.get("value"), document.get("extra"))


def _now(reading: Coroutine[Any, Any, Any]) -> Any:
    """The result of a call of the store that does not wait for anything."""
    try:
        reading.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits")


def play(
    course: Callable[[History], Coroutine[Any, Any, None]],
    folder: Path,
    *,
    random: Random,
    climate: Climate,
    template: Path | None = None,
) -> History:
    """Let something happen in virtual time, while the invariants are checked."""
    folder.mkdir(parents=True)
    if template is not None:
        shutil.copyfile(template, folder / "state.db")
    with virtual_time() as loop:
        loop.set_task_factory(cast("Any", make_task))
        loop.set_exception_handler(lambda loop, context: None)  # of tasks that were killed
        store = SqliteStore.open(folder / "state.db")
        history = History(folder=folder, loop=loop, store=store, random=random, climate=climate)
        try:
            loop.run_until_complete(history.run(course(history)))
        except BaseException as error:
            error.add_note("\n".join(history.trace[-SHOWN_LINES:]))
            raise
        finally:
            loop.run_until_complete(store.close())
    return history
