"""Random histories of writes, faults, crashes and looks against the real protocol, over simulated nodes.

The invariants are checked after every step: each shard has an in-sync replica, and every in-sync replica has applied
each acknowledged write and nothing older. When everything is up again and the queues are empty, the in-sync replicas
are equal.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from miroir_cli.cluster import Cluster, Patience
from miroir_cli.errors import MiroirError, ShardUnavailable, WriteUnknown
from miroir_cli.model import Index, IndexUid, IntentState, NodeName, ShardId
from miroir_cli.node.fleet import Fleet
from miroir_cli.replication.settle import Settled, settle
from miroir_cli.replication.write import Written, write
from miroir_cli.store.locks import Locks
from miroir_cli.store.protocol import Store
from miroir_cli.store.records import Member
from miroir_cli.store.redis.store import RedisStore
from miroir_cli.store.sqlite.store import SqliteStore
from miroir_cli.topology.file import Topology
from tests.faults.world import Ledger, addition, keys_of_every_shard, note, shard_of
from tests.replication.simulated import Delivery, Killed, SimulatedNode
from tests.store.redis_server import RedisServer, running_redis

NAMES = [NodeName("n1"), NodeName("n2"), NodeName("n3")]
PLACEMENTS = {
    1: {ShardId(0): frozenset(NAMES[:1]), ShardId(1): frozenset(NAMES[1:2])},
    2: {ShardId(0): frozenset(NAMES[:2]), ShardId(1): frozenset(NAMES[1:])},
    3: {ShardId(0): frozenset(NAMES), ShardId(1): frozenset(NAMES)},
}
HASTY = Patience(grace=0.0, lookup=0.0, busy=0.0, silence=0.0, lag=0.0)
NEW = Index(uid=IndexUid("books"), incarnation=0, primary_key="id", shards=2, replicas=2)

deliveries: st.SearchStrategy[list[Delivery]] = st.one_of(
    st.just([]), st.just([]), st.just([]), st.lists(st.sampled_from(list(Delivery)), max_size=2)
)
outcomes = st.lists(st.sampled_from(["succeeded", "succeeded", "failed", "truncated"]), max_size=3)
nodes = st.sampled_from(range(3))


class Histories(RuleBasedStateMachine):
    """Two processes (`clusters`) over one store and three nodes."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="miroir-history-"))
        self.loop = asyncio.new_event_loop()
        self.nodes = [SimulatedNode(name) for name in NAMES]
        self.store: Store = self.run(self.open_store())
        self.clusters = [self._process() for _ in range(2)]
        self.ledger = Ledger()
        self.sent: dict[int, tuple[dict[str, int], Written]] = {}
        self.value = 0

    def _process(self) -> Cluster:
        topology = SimpleNamespace(cluster=SimpleNamespace(min_in_sync=1, name="simulated"), state_called="the store")
        return Cluster(
            topology=cast("Topology", topology),
            store=self.store,
            fleet=Fleet(self.nodes),
            locks=Locks(self.folder / "locks", timeout=5.0),
            patience=HASTY,
        )

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    async def open_store(self) -> Store:
        """An empty one."""
        return SqliteStore.open(self.folder / "state.db")

    @initialize(replicas=st.sampled_from([1, 2, 2, 3]))
    def create(self, replicas: int) -> None:
        self.run(self._create(replicas))

    async def _create(self, replicas: int) -> None:
        record = await self.store.found(name="simulated")
        for node in self.nodes:
            node.cluster_id = record.id
        for name in NAMES:
            await self.store.enrol(Member(name=name, url="", top_task=-1))
        index = await self.store.begin_creation(NEW, nodes=dict.fromkeys(NAMES, -1))
        map = await self.store.finish_creation(index, placement=PLACEMENTS[replicas], bases=dict.fromkeys(NAMES, 0))
        self.index = map.index
        self.keys = keys_of_every_shard(self.index)

    # -- steps

    @rule(
        process=st.sampled_from([0, 1]),
        fates=st.tuples(deliveries, deliveries, deliveries),
        which=st.lists(st.sampled_from(range(4)), min_size=1, max_size=4, unique=True),
        looking=st.booleans(),
    )
    def write(self, process: int, fates: tuple[list[Delivery], ...], which: list[int], looking: bool) -> None:
        for node, fate in zip(self.nodes, fates, strict=True):
            node.deliveries.extend(fate)
        self.value += 1
        documents = {self.keys[number]: self.value for number in which}
        self.run(self._write(self.clusters[process], self.clusters[1 - process], documents, looking))
        for node in self.nodes:
            node.deliveries.clear()

    async def _write(self, cluster: Cluster, other: Cluster, documents: dict[str, int], looking: bool) -> None:
        self.ledger.begun(documents)
        watching = asyncio.create_task(self._look(other)) if looking else None
        try:
            written = await write(cluster, self.index, addition(self.index, documents))
        except WriteUnknown:
            return
        except ShardUnavailable:
            self.ledger.failed(documents)
        except BaseException as error:
            if not _is_killed(error):
                raise
            cluster.session.clear()
        else:
            self.sent[written.n] = (documents, written)
        finally:
            if watching is not None:
                await watching

    def look(self, process: int) -> None:
        self.run(self._look(self.clusters[process]))

    async def _look(self, cluster: Cluster) -> Settled:
        found = await settle(cluster, self.index)
        for outcome in found.done:
            if outcome.n in self.sent:
                documents, written = self.sent.pop(outcome.n)
                note(self.ledger, self.index, documents, written.refused, outcome)
            assert outcome.state is not IntentState.OPEN
        return found

    @rule(outcomes=st.tuples(outcomes, outcomes, outcomes), process=st.sampled_from([0, 1]), looking=st.booleans())
    def run_tasks(self, outcomes: tuple[list[str], ...], process: int, looking: bool) -> None:
        for node, ends in zip(self.nodes, outcomes, strict=True):
            for outcome in ends if node.up else ():
                node.run_task(outcome=outcome)
        if looking:
            self.look(process)

    @rule()
    def run_all(self) -> None:
        for node in self.nodes:
            for _ in node.all_tasks if node.up else ():
                node.run_task()
        self.look(0)

    @rule(node=nodes)
    def take_in(self, node: int) -> None:
        if self.nodes[node].up:
            self.nodes[node].take_in()

    @rule(node=nodes)
    def stop_or_start(self, node: int) -> None:
        self.nodes[node].up = not self.nodes[node].up

    # -- invariants

    @invariant()
    def acknowledged_writes_are_on_every_in_sync_replica(self) -> None:
        if not hasattr(self, "index"):
            return
        for shard, names in self._in_sync().items():
            assert names, f"shard {shard} has no in-sync replica"
            for key, allowed in self.ledger.values.items():
                if shard_of(key, self.index) == shard:
                    for name in names:
                        value = self.nodes[NAMES.index(name)].documents.get(key)
                        assert value in allowed, f"{key} on {name} is {value}, allowed {allowed}"

    def _in_sync(self) -> dict[ShardId, tuple[NodeName, ...]]:
        map = self.run(self.store.map("books"))
        return cast("dict[ShardId, tuple[NodeName, ...]]", map.in_sync())

    def teardown(self) -> None:
        try:
            if hasattr(self, "index"):
                self._come_to_rest()
        finally:
            self.run(self.store.close())
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()
            shutil.rmtree(self.folder)

    def _come_to_rest(self) -> None:
        """All nodes are back: one more write, the queues run empty, everything settles, replicas are equal."""
        for node in self.nodes:
            node.up = True
        self.value += 1
        last = dict.fromkeys(self.keys, self.value)
        self.run(self._write(self.clusters[0], self.clusters[1], last, looking=False))
        for _ in range(8):
            for node in self.nodes:
                node.take_in()
                for _ in node.all_tasks:
                    node.run_task()
            found = self.run(self._look(self.clusters[0]))
        assert found.outstanding == 0, f"something stays unsettled for ever: {self.run(self.store.pending('books'))}"
        assert all(self.ledger.values[key] == [self.value] for key in last)
        self.acknowledged_writes_are_on_every_in_sync_replica()


def _is_killed(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return any(map(_is_killed, error.exceptions))
    return isinstance(error, Killed) and not isinstance(error, MiroirError)


class HistoriesInRedis(Histories):
    """The same with the state in Redis."""

    server: RedisServer

    async def open_store(self) -> Store:
        store = await RedisStore.open(self.server.url)
        await store.access.ask("FLUSHALL")
        return store


HOW_MANY = settings(
    max_examples=100,
    stateful_step_count=15,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)

TestHistories = Histories.TestCase
TestHistories.settings = HOW_MANY


def test_histories_in_redis(tmp_path: Path) -> None:
    with running_redis(tmp_path) as server:
        machine = type("HistoriesInRedis", (HistoriesInRedis,), {"server": server})
        run_state_machine_as_test(machine, settings=settings(HOW_MANY, max_examples=30))
