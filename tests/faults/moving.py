"""Runs for tests: a store that stops at named points, and what must hold once a run is through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import msgspec

from miroir_cli.documents.write import delete_documents
from miroir_cli.indexes.configure import change_settings
from miroir_cli.migration.facts import gather_facts
from miroir_cli.migration.plan import plan_moves
from miroir_cli.migration.rebalance import Change, rebalance
from miroir_cli.migration.run import RunOptions
from miroir_cli.migration.verify import VerifyOptions, verify
from miroir_cli.model import SHARD_FIELD, ReplicaState
from miroir_cli.replication.settle import settle_until
from miroir_cli.search.scatter import search
from tests.faults.world import Ledger, World, check, create, keys_of_every_shard, put, shard_of, world_of

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.migration.rebalance import Outcome
    from miroir_cli.migration.run import RunProgress
    from miroir_cli.model import Index
    from miroir_cli.store.journal import StepRecord, StepState
    from miroir_cli.store.protocol import Store

HASTY = RunOptions(retry_for=4.0, max_pause=1.0)
"""Time enough to get over what a test does to a node, and no more."""

CHANGE = Change(title="test")
REPAIR = Change(title="repair", only_repair=True)

FILTERABLE = {"filterableAttributes": ["value"]}
"""Settings that a `Client` needs."""

Hook = Callable[..., Awaitable[object]]


class HookedStore:
    """A store at whose named points (`before:METHOD`, `after:METHOD`) something else happens first.

    A hook is given the arguments of the call, one that comes after it first its result. It may raise: then the caller
    sees the store fail.
    """

    def __init__(self, store: Store, hooks: Mapping[str, Hook]) -> None:
        self._store = store
        self._hooks = dict(hooks)

    def __getattr__(self, name: str) -> Any:
        found: Callable[..., Awaitable[object]] = getattr(self._store, name)
        before, after = self._hooks.get(f"before:{name}"), self._hooks.get(f"after:{name}")
        if before is None and after is None:
            return found

        async def call(*arguments: object, **options: object) -> object:
            if before is not None:
                await before(*arguments, **options)
            result = await found(*arguments, **options)
            if after is not None:
                await after(result, *arguments, **options)
            return result

        return call


def hook(cluster: Cluster, **hooks: Hook) -> None:
    """Have these called by what the cluster does to its store: `hook(cluster, before_switch=..., after_join=...)`."""
    points = {f"{when}:{method}": call for name, call in hooks.items() for when, method in [name.split("_", 1)]}
    cluster.store = cast("Store", HookedStore(cluster.store, points))


def once(call: Callable[[], Awaitable[object]]) -> Hook:
    """A hook for the first time only."""
    called: list[bool] = []

    async def first(*_: object, **__: object) -> None:
        if not called:
            called.append(True)
            await call()

    return first


def at(state: StepState, do: Callable[[], object]) -> Callable[[RunProgress], None]:
    """Do something when the first step of a run gets to a state: `rebalance(..., report=at(...))`."""
    done: list[bool] = []

    def report(progress: RunProgress) -> None:
        if not done and any(step.state is state for step in progress.active):
            done.append(True)
            do()

    return report


@asynccontextmanager
async def moving(
    tmp_path: Path, *, nodes: int = 1, shards: int = 1, replicas: int = 1, each: int = 2
) -> AsyncIterator[tuple[World, Cluster, Index, Ledger]]:
    """`each` documents in each shard, and a topology file that asks for the first node's replicas on a new one."""
    with world_of(tmp_path, nodes=nodes, spare=1, shards=shards, replicas=replicas) as world:
        async with world.cluster() as cluster:
            index, ledger = await create(cluster, settings=FILTERABLE), Ledger()
            await put(cluster, index, dict.fromkeys(keys_of_every_shard(index, each=each), 1), ledger)
        world.add(nodes + 1)
        world.drain(1)
        async with world.cluster() as cluster:
            yield world, cluster, index, ledger


async def run(cluster: Cluster, change: Change = CHANGE, **options: Any) -> Outcome:
    """What `miroir rebalance run` does, or `miroir repair` with `REPAIR`."""
    return await rebalance(cluster, change, **{"options": HASTY, **options})


# -- what must hold


async def check_search(cluster: Cluster, index: Index, ledger: Ledger) -> None:
    """A search sees every document that was known to be there when it began and none that was known not to be, but for
    what has been written since."""
    known = {key: list(values) for key, values in ledger.values.items()}
    before = {key: len(values) for key, values in ledger.all_begun.items()}
    found = await search(cluster, index.uid, {"q": "", "limit": 1000})
    seen = {hit["id"]: hit["value"] for hit in found["hits"]}
    assert found["estimatedTotalHits"] == len(seen) == len(found["hits"])
    for key, begun in ledger.all_begun.items():
        allowed = [*known.get(key, [None]), *begun[before.get(key, 0) :]]
        assert seen.get(key) in allowed, f"a search shows {key} as {seen.get(key)!r}, allowed {allowed!r}"
    assert set(seen) <= set(ledger.values)


async def check_finished(world: World, cluster: Cluster, index: Index, ledger: Ledger) -> None:
    """After a run: the placement is what the topology asks for, every document is on the nodes of its shard and on no
    other, replicas are equal, and nothing is on its way."""
    pending = await cluster.store.pending(index.uid)
    await settle_until(cluster, index, pending.newest, timeout=20)
    map = await check(cluster, index, ledger)
    assert {replica.state for replica in map.replicas} == {ReplicaState.SERVING}, map.replicas
    plan = plan_moves([map], cluster.topology, await gather_facts(cluster, [map]))
    assert (plan.steps, plan.refusals) == ((), ())
    copies: dict[str, set[str]] = {}
    for name in cluster.fleet:
        for key in stored(world, name, index.uid):
            copies.setdefault(key, set()).add(name)
    in_sync = map.in_sync()
    for key, where in copies.items():
        assert where == set(in_sync[shard_of(key, index)]), f"{key} is on {sorted(where)}"
    await check_search(cluster, index, ledger)
    found = await verify(cluster, options=VerifyOptions(restart=True))
    assert found.clean and not found.skipped, found


def stored(world: World, name: Any, uid: str) -> dict[str, dict[str, Any]]:
    """The documents of an index that are on a node's disk, whatever the cluster thinks of them."""
    index = world.engines[name].node.indexes.get(uid)
    bodies = [] if index is None else [msgspec.json.decode(body) for body in index.bodies.values()]
    return {body["id"]: body for body in bodies if SHARD_FIELD in body}


# -- what clients do meanwhile


async def clear(cluster: Cluster, index: Index, ledger: Ledger) -> None:
    """Delete every document, as `miroir delete --all` does."""
    await _delete(cluster, index, ledger, list(ledger.values))


async def delete(cluster: Cluster, index: Index, ledger: Ledger, keys: list[str]) -> None:
    """Delete documents by their keys."""
    await _delete(cluster, index, ledger, keys, ids=keys)


async def delete_with(cluster: Cluster, index: Index, ledger: Ledger, value: object) -> None:
    """Delete the documents that have this value, by a filter."""
    keys = [key for key, values in ledger.values.items() if value in values]
    await _delete(cluster, index, ledger, keys, filter=[f"value = {value}"])


async def _delete(cluster: Cluster, index: Index, ledger: Ledger, keys: list[str], **how: Any) -> None:
    ledger.begun(dict.fromkeys(keys, None))
    await delete_documents(cluster, index.uid, **how)
    ledger.values |= {key: [None] for key in keys}


@dataclass(kw_only=True)
class Client:
    """Writes and searches, one after the other and each of every kind, until told to stop. `turn` is held for each
    write: whoever takes it finds nothing on its way."""

    cluster: Cluster
    index: Index
    ledger: Ledger
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    writes: int = 0
    searches: int = 0
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _ending: bool = False

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._write()), asyncio.create_task(self._search())]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ending = True
        await asyncio.gather(*self._tasks)
        assert self.writes and self.searches

    async def _write(self) -> None:
        keys = keys_of_every_shard(self.index, each=4)
        while not self._ending:
            async with self.turn:
                self.writes += 1
                await self._one_of_every_kind(self.writes, keys)
            await asyncio.sleep(0.02)

    async def _one_of_every_kind(self, number: int, keys: list[str]) -> None:
        cluster, index, ledger = self.cluster, self.index, self.ledger
        some = keys[number % 3 :: 3]
        if number % 7 == 5:
            await delete_with(cluster, index, ledger, number - 1)
        elif number % 5 == 4:
            await delete(cluster, index, ledger, some)
        elif number % 16 == 12:
            await clear(cluster, index, ledger)
        elif number % 11 == 10:
            await change_settings(cluster, index.uid, {"stopWords": [f"w{number}"]})
        else:
            await put(cluster, index, dict.fromkeys(some, number), ledger)

    async def _search(self) -> None:
        while not self._ending:
            self.searches += 1
            await check_search(self.cluster, self.index, self.ledger)
            await asyncio.sleep(0.01)


def checking(client: Client) -> Hook:
    """An `after_save_step` hook: the invariants hold whenever a step gets to another state."""
    states: dict[int, StepState] = {}

    async def look(_: None, __: int, step: StepRecord, **___: object) -> None:
        if states.get(step.number) is not step.state:
            states[step.number] = step.state
            async with client.turn:
                await check(client.cluster, client.index, client.ledger)

    return look
