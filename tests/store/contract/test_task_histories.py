"""The same history of tasks, told to every backend: whatever is asked then is answered alike."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from miroir_cli.errors import WorkAhead
from miroir_cli.model import Index, IndexUid, NodeName
from miroir_cli.store.encoding import now
from miroir_cli.store.redis.connection import prepare
from miroir_cli.store.redis.store import RedisStore
from miroir_cli.store.sqlite.store import SqliteStore
from miroir_cli.store.tasks import NewTask, Reservation, Task, TaskEnd, TaskQuery, TaskStatus
from tests.store.contract.clients import ADDITION, SETTINGS, SWAP, add_write, rename
from tests.store.redis_server import RedisServer

NAMES = ("a", "b", "_index")
TYPES = (SETTINGS, ADDITION, SWAP)
KEYS = ("k", "l")
RECENT = 10**12
"""Times above this one are those at which the test ran."""

Do = Callable[[SqliteStore | RedisStore], Awaitable[Any]]


@dataclass
class World:
    """What both stores are told to be so: the incarnations of the indexes that there are."""

    incarnations: dict[str, int] = field(default_factory=lambda: {"a": 1, "b": 2})
    numbers: Any = field(default_factory=lambda: count(1))
    fresh: Any = field(default_factory=lambda: count(3))


uids = st.integers(0, 12)
final = st.sampled_from([status for status in TaskStatus if status.final])
details: st.SearchStrategy[Any] = st.none() | st.just({"swaps": [{"indexes": ["a", "x"]}], "n": [1, None, "é"]})
ends = st.builds(
    TaskEnd,
    uid=uids,
    status=final,
    finished_at=st.integers(0, 9),
    started_at=st.none() | st.integers(0, 9),
    details=details,
    error=st.none() | st.just({"code": "x"}),
    canceled_by=st.none() | uids,
    node_tasks=st.just({}) | st.just({NodeName("n1"): (1, 2)}),
)
new = st.builds(
    NewTask,
    type=st.sampled_from(TYPES[:2]),
    index_uid=st.none() | st.sampled_from(NAMES),
    indexes=st.none() | st.lists(st.sampled_from(NAMES), max_size=2).map(tuple),
    details=details,
    custom_metadata=st.none() | st.just("mine"),
    key=st.none() | st.sampled_from(KEYS),
    owner=st.none() | st.just("1.x"),
    documents=st.none() | st.integers(0, 3),
)
swaps = st.lists(st.sampled_from(NAMES), min_size=2, max_size=2).map(
    lambda names: NewTask(type=SWAP, indexes=tuple(names), details={"swaps": [{"indexes": names}]})
)
some = st.lists(uids, max_size=4)
limits = st.dictionaries(
    st.sampled_from(["enqueued_at", "started_at", "finished_at"]), st.sampled_from([0, 4, 4.5, 10, 10**15]), max_size=2
)
queries = st.builds(
    TaskQuery,
    uids=st.none() | some.map(tuple) | st.just(tuple(range(-600, 600))),
    statuses=st.none() | st.lists(st.sampled_from([status.value for status in TaskStatus]), max_size=2).map(tuple),
    types=st.none() | st.lists(st.sampled_from(TYPES), max_size=2).map(tuple),
    index_uids=st.none() | st.lists(st.sampled_from([*NAMES, "none"]), max_size=2).map(tuple),
    canceled_by=st.none() | some.map(tuple),
    before=limits,
    after=limits,
    begun=st.booleans(),
    limit=st.none() | st.integers(0, 5),
    from_=st.none() | uids,
    reverse=st.booleans(),
)
steps = st.one_of(
    st.tuples(st.just("add"), new | swaps, st.none() | ends),
    st.tuples(st.just("add"), new | swaps, st.none()),
    st.tuples(st.just("write"), st.sampled_from(NAMES), st.none() | st.sampled_from(KEYS)),
    st.tuples(st.just("begin"), uids),
    st.tuples(st.just("end"), st.lists(ends, max_size=4)),
    st.tuples(st.just("cancel"), some, uids),
    st.tuples(st.just("drop"), uids),
    st.tuples(st.just("delete"), some),
    st.tuples(st.just("tell"), some),
    st.tuples(st.just("prune"), st.sampled_from([0, 5, 10**15]), st.integers(0, 6)),
    st.tuples(st.just("rename"), st.permutations(NAMES)),
    st.tuples(st.just("reserve"), st.sampled_from(KEYS), st.sampled_from(["1.x", "2.y"])),
    st.tuples(st.just("release"), st.sampled_from(KEYS), st.sampled_from(["1.x", "2.y"])),
    st.tuples(st.just("ask"), queries),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(steps, max_size=25), st.lists(queries, min_size=1, max_size=6))
def test_both_stores_answer_alike(
    redis_server: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
    history: Sequence[tuple[Any, ...]],
    asked: Sequence[TaskQuery],
) -> None:
    asyncio.run(compare(redis_server.url, tmp_path_factory.mktemp("history"), history, asked))


async def compare(url: str, folder: Path, history: Sequence[tuple[Any, ...]], asked: Sequence[TaskQuery]) -> None:
    in_file = SqliteStore.open(folder / "state.db")
    in_redis = await RedisStore.open(url)
    try:
        await in_redis.access.ask("FLUSHALL")
        await prepare(in_redis.access)
        world = World()
        for step in history:
            do = doing(world, *step)
            assert await outcome(in_file, do) == await outcome(in_redis, do), step
        for query in asked:
            do = doing(world, "ask", query)
            assert await outcome(in_file, do) == await outcome(in_redis, do), query
        assert await outcome(in_file, everything) == await outcome(in_redis, everything)
        assert_counted(in_file)
    finally:
        await in_file.close()
        await in_redis.close()


def assert_counted(store: SqliteStore) -> None:
    """What triggers have counted is what counting finds, and no time is outside of where they say times are."""
    kinds = "coalesce(index_uid, ''), coalesce(touched, ''), type, status"
    counting = f"select {kinds}, started_at is not null, count(*) from tasks group by 1, 2, 3, 4, 5"
    counted = f"select {kinds}, begun, tasks from task_counts"
    read = store._reader.conn.execute
    assert sorted(read(counting).fetchall()) == sorted(read(counted).fetchall())
    times = "min(enqueued_at), max(enqueued_at), min(started_at), max(started_at), min(finished_at), max(finished_at)"
    counting = (
        f"select uid / 4096, {kinds}, started_at is not null, count(*), {times} from tasks group by 1, 2, 3, 4, 5, 6"
    )
    found = {row[:6]: row[6:] for row in read(counting)}
    noted = {row[:6]: row[6:] for row in read("select * from task_blocks")}
    assert {kind: tasks for kind, (tasks, *_) in found.items()} == {kind: tasks for kind, (tasks, *_) in noted.items()}
    for kind, (_, *moments) in found.items():
        for first, last, low, high in zip(
            moments[::2], moments[1::2], noted[kind][1::2], noted[kind][2::2], strict=True
        ):
            assert (low, high) == (None, None) if first is None else low <= first <= last <= high, kind


async def outcome(store: SqliteStore | RedisStore, do: Do) -> Any:
    """What comes of it, without the moments at which it was done."""
    try:
        return timeless(await do(store))
    except WorkAhead as error:
        return error.message


def timeless(found: Any) -> Any:
    if isinstance(found, Task):
        return replace(
            found,
            enqueued_at=min(found.enqueued_at, RECENT),
            started_at=None if found.started_at is None else min(found.started_at, RECENT),
            finished_at=None if found.finished_at is None else min(found.finished_at, RECENT),
        )
    if isinstance(found, Reservation):
        return replace(found, reserved_at=0)
    if isinstance(found, tuple | list):
        return tuple(map(timeless, found))
    return {key: timeless(value) for key, value in found.items()} if isinstance(found, dict) else found


def doing(world: World, verb: str, *given: Any) -> Do:
    """One step, the same for every store."""
    match verb, given:
        case "add", (task, end):
            return lambda store: store.add_task(task, end=end)
        case "write", (name, key):
            task = NewTask(type=ADDITION, index_uid=name, key=key)
            incarnation, n = world.incarnations.get(name, 1), next(world.numbers)
            return lambda store: add_write(store, task, incarnation=incarnation, n=n)
        case "begin", (uid,):
            return lambda store: store.begin_task(uid)
        case "end", (ends,):
            return lambda store: store.end_tasks(ends)
        case "cancel", (uids, by):
            return lambda store: store.cancel_tasks(uids, by=by)
        case "drop", (uid,):
            return lambda store: drop(store, uid)
        case "delete", (uids,):
            return lambda store: store.delete_tasks(uids)
        case "tell", (uids,):
            return lambda store: store.tell_tasks(uids)
        case "prune", (before, keep):
            return lambda store: store.prune_tasks(before=before, keep=keep)
        case "rename", ((first, second, _),):
            return renaming(world, first, second)
        case "reserve", (key, owner):
            wanted = Reservation(key=key, digest=owner, task=None, owner=owner)
            return lambda store: store.reserve(wanted, expires_at=now() + 600_000)
        case "release", (key, owner):
            return lambda store: store.release(Reservation(key=key, digest="", task=None, owner=owner))
        case "ask", (query,):
            return lambda store: answers(store, query)
    raise AssertionError(verb)


async def drop(store: SqliteStore | RedisStore, uid: int) -> None:
    """Only what is there is dropped: nobody drops a task that was deleted before."""
    if await store.task(uid) is not None:
        await store.drop_task(uid)


def renaming(world: World, first: str, second: str) -> Do:
    """The two change places; one of them is there at least, or nothing is done."""
    named = {uid: world.incarnations.pop(uid) for uid in (first, second) if uid in world.incarnations}
    fresh = {IndexUid(uid): next(world.fresh) for uid in sorted(named)}
    known = {
        IndexUid(uid): Index(uid=IndexUid(uid), incarnation=incarnation, primary_key="id", shards=1, replicas=1)
        for uid, incarnation in named.items()
    }
    follows = {IndexUid(first): IndexUid(second), IndexUid(second): IndexUid(first)}
    for uid, incarnation in fresh.items():
        world.incarnations[follows[uid]] = incarnation
    return (lambda store: rename(store, follows, fresh, known)) if known else nothing


async def nothing(_: SqliteStore | RedisStore) -> None:
    """No index of either name is there."""


async def answers(store: SqliteStore | RedisStore, query: TaskQuery) -> Any:
    return await store.tasks(query), await store.task_uids(query)


async def everything(store: SqliteStore | RedisStore) -> Any:
    """All that can be asked."""
    tasks, _ = await store.tasks(TaskQuery())
    return (
        tasks,
        [await store.task(uid) for uid in range(14)],
        [[await store.tasks_ahead(task, intents=intents) for task in tasks] for intents in (False, True)],
        [await store.task_of(task.index_uid or "", task.incarnation or 0, task.n or 0) for task in tasks],
        await store.count_tasks(),
        await store.task_indexes(),
        await store.any_unfinished(),
        await store.unfinished_work(),
        await store.unfinished_writes(limit=2),
        await store.untold_tasks(limit=3),
        [await idle(store, name) for name in NAMES],
        [await store.reserve(Reservation(key=key, digest="", task=None, owner=""), expires_at=0) for key in KEYS],
    )


async def idle(store: SqliteStore | RedisStore, name: str) -> str | None:
    try:
        await store.require_idle(name)
    except WorkAhead as error:
        return error.message
    return None
