"""The state file and Redis are given the same random sequences of operations: they answer the same, with the same
errors, and hold the same afterwards. Only what a clock says and the cluster's random id may differ.

In the middle of it the stores are opened anew, and Redis is ended at once and started again.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from miroir_cli.model import Index, IndexUid, Intent, IntentState, NodeName, Piece, ReplicaState, ShardId, WriteKind
from miroir_cli.store import writing
from miroir_cli.store.protocol import Store
from miroir_cli.store.records import ClusterRecord, Member, Pending, Renaming, Settlement, Verdict
from miroir_cli.store.redis.store import RedisStore
from miroir_cli.store.sqlite.store import SqliteStore
from tests.store.redis_server import RedisServer, running_redis

UIDS = [IndexUid(uid) for uid in ("books", "films", "shelf")]
NODES = [NodeName(node) for node in ("a", "b", "c")]
SHARDS = [ShardId(0), ShardId(1)]

uids, nodes, shards = st.sampled_from(UIDS), st.sampled_from(NODES), st.sampled_from(SHARDS)
some_shards = st.sets(shards, min_size=1)
choices = st.sampled_from([0, 0, 0, 0, 0, 1, 1, 2, 9])
"""Which index in hand is meant: mostly the newest one, now and then one that is not there any more."""
placements = st.dictionaries(shards, st.sets(nodes, min_size=1), min_size=2)
marks = st.dictionaries(nodes, some_shards, min_size=1)
numbers = st.integers(0, 3)

Placement = dict[ShardId, set[NodeName]]
Do = Callable[["Side"], Awaitable[Any]]


@dataclass
class Side:
    """One of the two stores, and what was read of it that later operations are called with."""

    open: Callable[[], Awaitable[Store]]
    store: Store
    indexes: list[Index] = field(default_factory=list)
    intents: list[Intent] = field(default_factory=list)

    async def again(self) -> None:
        await self.store.close()
        self.store = await self.open()


def shown(value: Any) -> Any:
    """A value without what may differ."""
    if isinstance(value, Index):
        value = replace(value, created_at=0)
    if isinstance(value, ClusterRecord):
        value = replace(value, id="")
    if isinstance(value, Mapping):
        return {key: shown(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [shown(each) for each in value]
    if is_dataclass(value):
        return type(value).__name__, {each.name: shown(getattr(value, each.name)) for each in fields(value)}
    return value


async def outcome(work: Awaitable[Any]) -> Any:
    """What came of it, or how it was refused."""
    try:
        return await work
    except Exception as error:  # whatever it is: the other store must say the same
        return error


def compared(found: Any) -> Any:
    if isinstance(found, Exception):
        return type(found).__name__, str(found), getattr(found, "hint", None)
    return shown(found)


class BothStores(RuleBasedStateMachine):
    """Each step is made in one store, then in the other."""

    server: RedisServer

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="miroir-stores-"))
        self.loop = asyncio.new_event_loop()
        self.sides = self.run(self._sides())
        self.task = 100
        self.nonces = 0
        self.watched = ""
        self.touched = UIDS[0]

    def run(self, work: Awaitable[Any]) -> Any:
        return self.loop.run_until_complete(work)

    async def _sides(self) -> list[Side]:
        async def a_file() -> Store:
            return SqliteStore.open(self.folder / "state.db")

        async def a_server() -> Store:
            return await RedisStore.open(self.server.url)

        redis = cast(RedisStore, await a_server())
        await redis.access.ask("FLUSHALL")
        await redis.close()
        return [Side(open=opens, store=await opens()) for opens in (a_file, a_server)]

    def both(self, do: Do) -> list[Any]:
        """What came of an operation in each; the same, but for clocks."""
        found = [self.run(outcome(do(side))) for side in self.sides]
        assert compared(found[0]) == compared(found[1])
        return found

    def keep(self, found: list[Any]) -> None:
        """Later operations may be called with what these have answered."""
        for side, value in zip(self.sides, found, strict=True):
            if isinstance(value, Index):
                side.indexes.append(value)
            elif isinstance(value, Intent):
                side.intents.append(value)

    def position(self, ago: int) -> int:
        return -1 - ago % len(self.sides[0].indexes)

    def at(self, ago: int) -> Callable[[Side], Index]:
        position = self.position(ago)
        self.touched = self.sides[0].indexes[position].uid
        return lambda side: side.indexes[position]

    def nonce(self) -> str:
        self.nonces += 1
        return f"n{self.nonces}"

    def tasks(self) -> int:
        """One that no node has had."""
        self.task += 1
        return self.task

    def teardown(self) -> None:
        if self.sides[0].indexes:
            self.both(self.read_all)
        for side in self.sides:
            self.run(side.store.close())
        self.run(self.loop.shutdown_default_executor())
        self.loop.close()
        shutil.rmtree(self.folder)

    # -- the cluster and its indexes

    @initialize(placement=placements, more=placements)
    def begin(self, placement: Placement, more: Placement) -> None:
        self.both(lambda side: side.store.found(name="test"))
        for node in NODES:
            self.change_node(node, "enrol")
        self.create(UIDS[1], more)
        self.create(UIDS[0], placement)

    def create(self, uid: IndexUid, placement: Placement) -> None:
        self.touched = uid

        async def begin(side: Side) -> Index:
            name = await side.store.free_name(uid)
            index = Index(uid=uid, incarnation=0, primary_key="id", shards=2, replicas=2, stored_as=name)
            return await side.store.begin_creation(index, nodes={NODES[0]: 1})

        begun = self.both(begin)
        self.keep(begun)
        if isinstance(begun[0], Index):
            places = {shard: frozenset(names) for shard, names in placement.items()}
            bases = {node: 50 for names in placement.values() for node in sorted(names)}
            self.both(lambda side: side.store.finish_creation(side.indexes[-1], placement=places, bases=bases))

    def delete(self, ago: int, ends: bool) -> None:
        at = self.at(ago)
        self.both(lambda side: side.store.begin_deletion(at(side)))
        if ends:
            self.both(lambda side: side.store.forget_index(at(side).uid))
        for side in self.sides:
            side.indexes.insert(0, side.indexes.pop(self.position(ago)))

    def rename(self, first: IndexUid, second: IndexUid) -> None:
        async def change(side: Side) -> int:
            existing = {index.uid: index for index in await side.store.indexes() if index.uid in (first, second)}
            if first == second or first not in existing:
                return 0
            renaming = Renaming(pairs=((first, second),), indexes=existing)
            return await side.store.rename(renaming, is_driven=lambda _: False, is_running=lambda _: False)

        self.both(change)
        for uid in (first, second):
            self.learn(uid)

    def learn(self, uid: IndexUid) -> None:
        """Later operations know the index as it is now."""
        self.touched = uid

        async def look(side: Side) -> Index | None:
            map = await side.store.map(uid)
            return None if map is None else map.index

        self.keep(self.both(look))

    def change_node(self, node: NodeName, how: str) -> None:
        if how == "lose":
            self.both(lambda side: side.store.lose(node))
        elif how == "expel":
            self.both(lambda side: side.store.expel(node))
        else:
            self.both(lambda side: side.store.enrol(Member(name=node, url="http://x", top_task=self.task)))

    def publish(self, ago: int, back: int) -> None:
        at = self.at(ago)

        async def note(side: Side) -> None:
            await side.store.note_published(at(side), await side.store.epoch() - back)

        self.both(note)

    @rule(
        what=st.sampled_from(["create", "delete", "rename", "rename", "learn", "node", "freeze", "publish"]),
        ago=choices,
        uids=st.tuples(uids, uids),
        placement=placements,
        ends=st.booleans(),
        node=nodes,
        how=st.sampled_from(["lose", "expel", "enrol"]),
        back=numbers,
    )
    def disturb(
        self,
        what: str,
        ago: int,
        uids: tuple[IndexUid, IndexUid],
        placement: Placement,
        ends: bool,
        node: NodeName,
        how: str,
        back: int,
    ) -> None:
        if what == "create":
            self.create(uids[0], placement)
        elif what == "delete":
            self.delete(ago, ends)
        elif what == "rename":
            self.rename(*uids)
        elif what == "learn":
            self.learn(uids[0])
        elif what == "node":
            self.change_node(node, how)
        elif what == "publish":
            self.publish(ago, back)
        else:
            at = self.at(ago)
            self.both(lambda side: side.store.freeze(at(side), "differs" if ends else None))

    @rule(uid=uids, which=marks, state=st.sampled_from([ReplicaState.STALE, ReplicaState.STALE, ReplicaState.LOST]))
    def mark(self, uid: IndexUid, which: dict[NodeName, set[ShardId]], state: ReplicaState) -> None:
        self.touched = uid
        self.both(lambda side: side.store.mark(uid, which, state=state))

    # -- writes

    @rule(
        ago=choices,
        kind=st.sampled_from([WriteKind.ADD, WriteKind.ADD, WriteKind.ADD, *WriteKind]),
        documents=st.dictionaries(shards, st.sampled_from([None, 1, 2]), min_size=1),
        min_in_sync=st.sampled_from([1, 1, 1, 1, 2]),
        named=st.sampled_from([True, True, True, False]),
        closes=st.sampled_from([True, True, False]),
        missing=st.sets(nodes, max_size=1),
    )
    def write(
        self,
        ago: int,
        kind: WriteKind,
        documents: dict[ShardId, int | None],
        min_in_sync: int,
        named: bool,
        closes: bool,
        missing: set[NodeName],
    ) -> None:
        at, nonce = self.at(ago), self.nonce()
        bodies: dict[WriteKind, dict[str, object]] = {
            WriteKind.SETTINGS: {"stopWords": [nonce]},
            WriteKind.PRIMARY_KEY: {"primaryKey": "id" if named else "key"},
        }

        def keys(shard: ShardId) -> Iterable[str]:
            return [f"{nonce}-{shard}", "again", "again"]

        opened = self.both(
            lambda side: side.store.open_intent(
                at(side),
                kind=kind,
                documents=documents,
                nonce=nonce,
                min_in_sync=min_in_sync,
                owner="test",
                body=bodies.get(kind),
                keys=keys if named else None,
            )
        )
        self.keep(opened)
        if closes and isinstance(opened[0], Intent):
            self.close(0, set(NODES) - missing, IntentState.SENT, refused=set(), error=None)

    write_more = write

    @precondition(lambda self: self.sides[0].intents)
    @rule(
        ago=choices,
        by=st.sets(nodes),
        state=st.sampled_from([IntentState.SENT, IntentState.SENT, IntentState.OPEN, IntentState.ABORTED]),
        refused=st.sets(shards),
        error=st.sampled_from([None, "slow", "full"]),
    )
    def close(self, ago: int, by: set[NodeName], state: IntentState, refused: set[ShardId], error: str | None) -> None:
        pieces = {node: self.tasks() for node in sorted(by)}

        def judge(current: Intent, in_sync: Mapping[ShardId, frozenset[NodeName]]) -> Verdict:
            counted = {node for names in in_sync.values() for node in names}
            return Verdict(
                n=current.n,
                state=state,
                pieces={
                    target.node: (Piece(task=pieces[target.node], shards=target.shards, documents=1),)
                    for target in current.targets
                    if target.node in by
                },
                stale=dict.fromkeys(sorted(counted - by), current.shards),
                refused=frozenset(refused),
                error=error,
            )

        position = -1 - ago % len(self.sides[0].intents)
        self.touched = self.sides[0].intents[position].uid
        self.both(lambda side: side.store.close_intent(side.intents[position], judge))

    @rule(
        ago=choices,
        most=st.integers(0, 3),
        state=st.sampled_from([IntentState.DONE, IntentState.DONE, IntentState.FAILED]),
        patient=st.sampled_from([True, True, False]),
        skips=st.sampled_from([0, 0, 0, 0, 0, 1]),
        stale=st.dictionaries(nodes, some_shards, max_size=1),
        foreign=st.dictionaries(nodes, st.sampled_from([None, *map(frozenset, ([], SHARDS[:1], SHARDS))]), max_size=1),
        looked=st.sets(nodes),
    )
    def settle(
        self,
        ago: int,
        most: int,
        state: IntentState,
        patient: bool,
        skips: int,
        stale: dict[NodeName, set[ShardId]],
        foreign: dict[NodeName, frozenset[ShardId] | None],
        looked: set[NodeName],
    ) -> None:
        at, stranger = self.at(ago), self.tasks()
        missed = {node: frozenset(which) for node, which in stale.items()}

        def judge(pending: Pending) -> Settlement:
            verdicts = []
            for intent in pending.intents[:most]:
                if patient and intent.state is IntentState.OPEN:
                    break
                failed = frozenset(SHARDS) if state is IntentState.FAILED else frozenset[ShardId]()
                verdicts.append(Verdict(n=intent.n + skips, state=state, stale=missed, failed=failed))
            strangers = {node: {stranger: which, stranger - 3: which} for node, which in foreign.items()}
            return Settlement(verdicts=verdicts, foreign=strangers, looked=dict.fromkeys(looked, stranger - 2))

        self.both(lambda side: side.store.settle_intents(at(side), judge))

    settle_more = settle

    # -- moves

    @rule(
        ago=choices,
        shard=shards,
        node=nodes,
        back=numbers,
        meanwhile=st.booleans(),
        settles=st.booleans(),
        leaving=st.none() | nodes,
    )
    def move(
        self,
        ago: int,
        shard: ShardId,
        node: NodeName,
        back: int,
        meanwhile: bool,
        settles: bool,
        leaving: NodeName | None,
    ) -> None:
        """Join, as far as the rest is not left to others."""
        at, nonce = self.at(ago), self.nonce()
        self.both(lambda side: side.store.join(at(side), shard, node, nonce=nonce, top=self.task - back))
        if meanwhile:
            self.write(ago, WriteKind.ADD, {shard: 1}, 1, named=True, closes=True, missing=set())
        if settles:
            self.settle(ago, 99, IntentState.DONE, patient=False, skips=0, stale={}, foreign={}, looked=set())
            self.switch(ago, shard, back=0, base=1, leaving=leaving)

    @rule(ago=choices, shard=shards, back=st.sampled_from([0, 0, 0, 1]), base=numbers, leaving=st.none() | nodes)
    def switch(self, ago: int, shard: ShardId, back: int, base: int, leaving: NodeName | None) -> None:
        """Whatever joins, if anything does, by the newest attempt that concerns it."""
        at = self.at(ago)

        async def change(side: Side) -> Any:
            index = at(side)
            map = await side.store.map(index.uid)
            newest = await side.store.newest_intent(index.uid)
            attempts = (await side.store.pending(index)).movers
            of_shard = [] if map is None else [each for each in map.replicas if each.shard == shard]
            for joining in (each for each in of_shard if each.state is ReplicaState.JOINING):
                nonces = [
                    nonce for nonce, each in attempts.items() if each.node == joining.node and shard in each.shards
                ]
                return await side.store.switch(
                    index,
                    shard,
                    joining.node,
                    nonce=max(nonces, key=lambda nonce: int(nonce[1:])),
                    source=next((each.node for each in of_shard if each.in_sync), NODES[0]),
                    leaving=leaving,
                    newest=(newest.n if newest else 0) - back,
                    base=self.task - base,
                )
            return None

        self.both(change)

    @rule(
        ago=choices,
        which=some_shards,
        node=nodes,
        what=st.sampled_from(["leave", "unjoin", "forget", "forget", "promote"]),
        keep=st.sampled_from([0, 1, 1, 2]),
        begins=st.booleans(),
    )
    def part(self, ago: int, which: set[ShardId], node: NodeName, what: str, keep: int, begins: bool) -> None:
        at, nonce, shard = self.at(ago), self.nonce(), min(which)
        if what == "leave":
            self.both(lambda side: side.store.leave(at(side), shard, node, keep=keep))
        elif what == "unjoin":
            self.both(lambda side: side.store.unjoin(at(side), shard, node))
        elif what == "promote":
            self.both(lambda side: side.store.promote(at(side), shard, node, top=self.task - keep))
        else:
            self.both(lambda side: side.store.served_until_they_left(at(side), node, sorted(which)))
            if begins:
                self.both(lambda side: side.store.begin_forgetting(at(side), node, sorted(which), nonce=nonce))
            self.both(lambda side: side.store.forget(at(side), node, sorted(which)))

    @rule(
        ago=choices,
        shard=shards,
        node=nodes,
        what=st.sampled_from(["watch", "watch", "renew", "is_still", "is_still", "unwatch"]),
    )
    def watch(self, ago: int, shard: ShardId, node: NodeName, what: str) -> None:
        at = self.at(ago)
        if what == "watch":
            self.watched = self.nonce()
            self.both(lambda side: side.store.watch(at(side), shard, nonce=self.watched))
        elif what == "renew":
            self.both(lambda side: side.store.renew_watch(self.watched))
        elif what == "unwatch":
            self.both(lambda side: side.store.unwatch(at(side), shard, nonce=self.watched))
        else:
            newest = self.run(self.sides[0].store.newest_intent(self.touched))
            n = newest.n if newest else 0
            self.both(lambda side: side.store.is_still(at(side), shard, nonce=self.watched, source=node, newest=n))

    @rule(ago=choices, node=nodes, back=numbers)
    def account(self, ago: int, node: NodeName, back: int) -> None:
        at, task = self.at(ago), self.tasks()
        self.both(lambda side: side.store.account(at(side), node, [task, task - back]))

    # -- processes and servers that end

    @rule(what=st.sampled_from(["a process", "a process", "all processes", "the server"]))
    def begin_again(self, what: str) -> None:
        """What was answered is there when Redis is back, and connections from before are no obstacle."""
        if what == "the server":
            self.server.kill()
            self.server.start()
        for side in self.sides if what == "all processes" else self.sides[1:] if what == "a process" else []:
            self.run(side.again())

    # -- what they hold

    @invariant()
    def they_hold_the_same(self) -> None:
        self.both(lambda side: self.read(side, self.touched))

    async def read(self, side: Side, uid: IndexUid) -> Any:
        """What most operations change."""
        store = side.store
        found: list[Any] = [await store.cluster(), await store.map(uid), await outcome(store.pending(uid))]
        return [*map(compared, found), compared(await store.intents(uid, range(1, 12)))]

    async def read_all(self, side: Side) -> Any:
        store = side.store
        found: list[Any] = [await store.members(), await store.maps(), await store.copies(), await store.frozen()]
        found.append(await store.interrupted())
        for uid in UIDS:
            found += [await outcome(store.pending(uid)), await store.progress(uid), await store.unpublished(uid)]
            found += [await store.newest_intent(uid), await store.intents(uid, range(1, 40))]
            found += [await store.changes(uid, shard, above=above) for shard in SHARDS for above in (0, 3)]
            found += [await store.accounted(uid, node, above=105) for node in NODES]
        found += [await store.follow(index) for index in side.indexes]
        return [compared(each) for each in found]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with running_redis(tmp_path_factory.mktemp("redis")) as found:
        yield found


def test_both_stores_answer_the_same_and_hold_the_same(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "KEPT_SETTLED", 3)
    monkeypatch.setattr(writing, "PRUNE_EVERY", 2)
    machine = type("BothStores", (BothStores,), {"server": server})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=12,
            stateful_step_count=40,
            deadline=None,
            phases=[Phase.reuse, Phase.generate],  # to shorten a sequence takes minutes
            suppress_health_check=list(HealthCheck),
        ),
    )
