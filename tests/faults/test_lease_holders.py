"""Whoever holds a lease is killed on another host, at each step at which it can be: the same command, or the next one,
goes on here within 15 seconds. One that was only frozen is refused at its next step.

Nobody here can tell that the holder is dead, so that its leases have to run out. They last 10 s as a rule, which most
of these tests do not wait for: theirs last 2 s, and the time in which they must go on is 8 s shorter.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from miroir_cli.cluster import Cluster, Patience, open_site
from miroir_cli.dev.engine.faults import Kind
from miroir_cli.documents.load import ImportOptions, import_documents
from miroir_cli.errors import Locked
from miroir_cli.indexes.aliases import create_alias, flip_alias
from miroir_cli.indexes.catalog import delete_index
from miroir_cli.indexes.configure import change_settings
from miroir_cli.indexes.names import Swap, swap_indexes
from miroir_cli.migration.rebalance import RUN_LOCK, cancel
from miroir_cli.migration.verify import VerifyOptions, verify
from miroir_cli.proxy import background
from miroir_cli.proxy.service import open_service
from miroir_cli.proxy.shares import CHORE
from miroir_cli.replication.rebuild import recover_state
from miroir_cli.store.processes import is_stopped
from miroir_cli.store.tasks import TaskStatus
from miroir_cli.tasks.finishing import FINISHER
from tests.backends import state_at
from tests.documents.test_import import numbered, write_ndjson
from tests.faults.loss import with_writes
from tests.faults.moving import CHANGE, REPAIR, check_finished, run
from tests.faults.process import Mortuary, request, start
from tests.faults.world import (
    HURRIED,
    N2,
    UID,
    Ledger,
    World,
    check,
    create,
    eventually,
    keys_of_every_shard,
    put,
    stale,
    world_of,
)
from tests.store.redis_server import RedisServer

LOG = logging.getLogger(__name__)

USUAL, SHORT = 10.0, 2.0
"""Seconds that a lease lasts: as a rule, and here."""

LIMIT = 15.0
"""Seconds after which another process must have gone on, where leases last as long as usual."""

ORDER, MOVES = f"{UID}.order", f"{UID}.moves"
LEASES = "lease_renewal = {renewal}\nlease_expiry = {expiry}\n\n[[nodes]]"


@pytest.fixture(autouse=True)
def redis(redis_server: RedisServer) -> Iterator[RedisServer]:
    redis_server.empty()
    with state_at(redis_server.url):
        yield redis_server


@dataclass(kw_only=True)
class Scene:
    """One world, in which commands die elsewhere and are given again here."""

    world: World
    cluster: Cluster
    ledger: Ledger
    value: int = 0

    async def write(self) -> None:
        """Any later write."""
        self.value += 1
        index = (await self.cluster.reload(UID)).index
        assert await put(self.cluster, index, {"k0": self.value}, self.ledger) is not None

    async def correct(self) -> None:
        index = (await self.cluster.reload(UID)).index
        await check(self.cluster, index, self.ledger)


@asynccontextmanager
async def scene(folder: Path, *, nodes: int = 2, expiry: float = SHORT, **options: int) -> AsyncIterator[Scene]:
    with world_of(folder, nodes=nodes, **options) as world:
        shorten_leases(world, expiry=expiry)
        async with world.cluster(lock_timeout=60) as cluster:
            index, ledger = await create(cluster), Ledger()
            await put(cluster, index, dict.fromkeys(keys_of_every_shard(index, each=3), 0), ledger)
            yield Scene(world=world, cluster=cluster, ledger=ledger)


def shorten_leases(world: World, *, expiry: float = SHORT) -> None:
    text = world.path.read_text()
    world.path.write_text(text.replace("[[nodes]]", LEASES.format(expiry=expiry, renewal=0.3 * expiry), 1))


async def held_elsewhere(cluster: Cluster) -> set[str]:
    found = await cluster.locks.held()
    return {lock.name for lock in found if lock.owner is not None and lock.owner.host == "elsewhere"}


async def again(command: Callable[[], Awaitable[object]]) -> None:
    """Give a command until nobody is believed to be at work."""
    while True:
        try:
            await command()
            return
        except Locked as locked:
            assert "on host `elsewhere`" in locked.message
        await asyncio.sleep(0.2)


@contextmanager
def in_time(what: str, *, expiry: float = SHORT) -> Iterator[None]:
    began = time.monotonic()
    yield
    took = time.monotonic() - began
    LOG.warning("%s: gone on with after %.1f s", what, took)
    assert took < LIMIT - (USUAL - expiry), what


# -- the scopes


async def write_again(at: Scene) -> None:
    await at.write()


async def set_again(at: Scene) -> None:
    await change_settings(at.cluster, UID, {"stopWords": ["the"]})
    await at.write()


async def swap_again(at: Scene) -> None:
    await swap_indexes(at.cluster, [Swap(first=UID, second="films")])


async def flip_again(at: Scene) -> None:
    await flip_alias(at.cluster, "live", ["films"])
    await flip_alias(at.cluster, "live", [UID])
    await at.write()


async def verify_again(at: Scene) -> None:
    assert (await verify(at.cluster, options=VerifyOptions(restart=True))).clean


@dataclass(frozen=True, kw_only=True)
class Case:
    """A command, where it dies, the leases that it has there, and how it is given again."""

    verb: str
    points: Sequence[str]
    held: frozenset[str]
    command: Callable[[Scene], Awaitable[object]]


CASES = {
    "a write": Case(
        verb="write",
        points=("before:open_intent", "after:open_intent", "before:n2/documents", "before:close_intent"),
        held=frozenset({ORDER}),
        command=write_again,
    ),
    "settings": Case(
        verb="settings",
        points=("before:open_intent", "after:open_intent", "before:close_intent", "after:close_intent"),
        held=frozenset({ORDER}),
        command=set_again,
    ),
    "names": Case(
        verb="swap",
        points=("before:rename", "after:rename"),
        held=frozenset({ORDER, MOVES, "films.order", "films.moves"}),
        command=swap_again,
    ),
    "an alias": Case(
        verb="flip",
        points=("before:flip_alias", "after:flip_alias"),
        held=frozenset(),
        command=flip_again,
    ),
    "a comparison": Case(
        verb="verify",
        points=("before:begin_run", "after:begin_run", "after:save_step", "before:save_run"),
        held=frozenset({"verify"}),
        command=verify_again,
    ),
}


@pytest.mark.parametrize("name", CASES)
async def test_what_a_dead_holder_did_is_gone_on_with_here(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    async with scene(tmp_path) as at:
        await create(at.cluster, "films")
        await create_alias(at.cluster, "live", [UID])
        with Mortuary(at.world.path, elsewhere=True) as mortuary:
            for number, point in enumerate(case.points):
                documents = dict.fromkeys(keys_of_every_shard((await at.cluster.map(UID)).index), 100 + number)
                if case.verb == "write":
                    at.ledger.begun(documents)
                await mortuary.die(case.verb, point, *([str(100 + number)] if case.verb == "write" else []))
                with in_time(f"{name}, {point}"):
                    assert await held_elsewhere(at.cluster) == case.held, point
                    await again(lambda: case.command(at))
        if case.verb != "swap":
            await at.correct()


async def test_a_creation_and_a_deletion_are_gone_on_with_here(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        await delete_index(at.cluster, UID)
        with Mortuary(at.world.path, elsewhere=True) as mortuary:
            for point in ("before:begin_creation", "after:begin_creation", "before:finish_creation"):
                await mortuary.die("create", point)
                with in_time(f"create, {point}"):
                    assert await held_elsewhere(at.cluster) == {ORDER, MOVES}
                    await again(lambda: create(at.cluster))
                await delete_index(at.cluster, UID)
            for point in ("before:begin_deletion", "after:begin_deletion", "before:forget_index"):
                await create(at.cluster)
                await mortuary.die("delete", point)
                with in_time(f"delete, {point}"):
                    held = {ORDER, MOVES} if point == "before:forget_index" else {ORDER}
                    assert await held_elsewhere(at.cluster) == held
                    await again(lambda: delete_index(at.cluster, UID))


async def test_an_import_is_gone_on_with_here(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        with Mortuary(at.world.path, elsewhere=True) as mortuary:
            points = ("before:open_intent", "after:open_intent", "before:n2/documents", "after:close_intent")
            for number, point in enumerate((*points, "before:finish_import")):
                file = write_ndjson(tmp_path, numbered(40, start=100 * number), f"{number}.ndjson")
                same = partial(import_documents, at.cluster, UID, [file], options=ImportOptions())
                await mortuary.die("import", point, file)
                with in_time(f"import, {point}"):
                    own = {name for name in await held_elsewhere(at.cluster) if ".import." in name}
                    assert len(own) == 1
                    await again(same)
                assert await at.cluster.store.unfinished_imports(UID) == ()


RUN_POINTS = {
    "the beginning": ("before:begin_run", "after:begin_run", "before:join"),
    "the copy": ("after:join", "before:TARGET/documents", "after:TARGET/documents"),
    "the switch": ("before:switch", "after:switch"),
    "the end": ("after:begin_forgetting", "before:forget", "after:forget", "before:save_run"),
}


@pytest.mark.parametrize("part", RUN_POINTS)
async def test_a_run_is_gone_on_with_here(tmp_path: Path, part: str) -> None:
    async with scene(tmp_path, nodes=3, shards=1, replicas=1) as at:
        with Mortuary(at.world.path, elsewhere=True) as mortuary:
            for point in RUN_POINTS[part]:
                (source,) = (await at.cluster.reload(UID)).nodes()
                target = "n2" if source == "n1" else "n1"
                at.world.drain(*{1, 2, 3} - {int(target.removeprefix("n"))})
                await mortuary.die("rebalance", point.replace("TARGET", target))
                async with at.world.cluster(lock_timeout=60) as cluster:
                    here = Scene(world=at.world, cluster=cluster, ledger=at.ledger, value=at.value)
                    with in_time(f"run, {point}"):
                        assert RUN_LOCK in await held_elsewhere(cluster), point
                        await here.write()
                        await again(lambda: run(cluster, CHANGE))
                    at.value = here.value
                    index = (await cluster.reload(UID)).index
                    await check_finished(at.world, cluster, index, at.ledger)
                    assert (await cluster.reload(UID)).nodes() == (target,)


async def test_a_repair_is_gone_on_with_here(tmp_path: Path) -> None:
    async with scene(tmp_path) as at:
        index = (await at.cluster.map(UID)).index
        with Mortuary(at.world.path, elsewhere=True) as mortuary:
            for point in ("after:begin_run", "after:join", "before:switch"):
                at.world.engine(2).faults.add(Kind.FAIL_TASK, path=UID, count=1)
                await at.write()
                assert stale(await at.cluster.reload(UID)) == {N2}
                await mortuary.die("repair", point)
                with in_time(f"repair, {point}"):
                    assert RUN_LOCK in await held_elsewhere(at.cluster)
                    await again(lambda: run(at.cluster, REPAIR))
                assert stale(await at.cluster.reload(UID)) == set()
            await check_finished(at.world, at.cluster, index, at.ledger)


async def test_a_cancellation_is_gone_on_with_here(tmp_path: Path) -> None:
    async with scene(tmp_path, nodes=3, shards=1, replicas=1) as at:
        (source,) = (await at.cluster.reload(UID)).nodes()
        at.world.drain(int(source.removeprefix("n")))
        with Mortuary(at.world.path, elsewhere=True) as mortuary:
            for point in ("after:control_run", "before:unjoin", "before:save_run"):
                await mortuary.die("rebalance", "before:switch")
                await mortuary.die("cancel", point)
                async with at.world.cluster(lock_timeout=60) as cluster:
                    with in_time(f"cancel, {point}"):
                        if point != "after:control_run":
                            assert RUN_LOCK in await held_elsewhere(cluster)
                        await again(lambda: cancel(cluster))
                    index = (await cluster.reload(UID)).index
                    assert (await check(cluster, index, at.ledger)).nodes() == (source,)
        async with at.world.cluster(lock_timeout=60) as cluster:
            await again(lambda: run(cluster, CHANGE))
            await check_finished(at.world, cluster, index, at.ledger)


async def test_what_a_proxy_does_beside_is_gone_on_with_by_another(tmp_path: Path) -> None:
    async with scene(tmp_path) as at, open_service(at.world.topology) as service:
        with Mortuary(at.world.path, elsewhere=True) as mortuary:
            task = await request(at.cluster, 1)
            await mortuary.die("serve", "before:end_tasks")
            assert FINISHER in await held_elsewhere(at.cluster)
            at.world.engine(2).faults.add(Kind.FAIL_TASK, path=UID, count=1)
            await at.write()
            await mortuary.die("serve", "before:begin_run")
            assert {f"{CHORE}heal", RUN_LOCK} <= await held_elsewhere(at.cluster)
            with in_time("chores"):
                background.start(service)

                async def done() -> bool:
                    found = await at.cluster.store.task(task.uid)
                    assert found is not None
                    return found.status is TaskStatus.SUCCEEDED and not stale(await at.cluster.reload(UID))

                await eventually(done, timeout=60)


async def test_a_recovery_of_the_state_is_begun_again_here(tmp_path: Path, redis: RedisServer) -> None:
    with world_of(tmp_path) as world:
        shorten_leases(world)
        ledger, _ = await with_writes(world)
        redis.empty()
        with Mortuary(world.path, elsewhere=True) as mortuary:
            for point in ("after:inspect", "before:take_place"):
                await mortuary.die("recover", point)
                assert set(redis.ask("ZRANGE", "miroir:lease:_index", "0", "-1")) == {b"recover", b"state"}
        with in_time("recover"):
            async with open_site(world.topology, lock_timeout=60, patience=HURRIED) as site:
                await again(lambda: recover_state(site))
        async with world.cluster() as cluster:
            await check(cluster, (await cluster.reload(UID)).index, ledger)


# -- as it is outside of tests


async def test_a_write_is_gone_on_with_after_the_usual_time(tmp_path: Path) -> None:
    async with scene(tmp_path, expiry=USUAL) as at:
        with Mortuary(at.world.path, elsewhere=True) as mortuary:
            at.ledger.begun(dict.fromkeys(keys_of_every_shard((await at.cluster.map(UID)).index), 100))
            await mortuary.die("write", "before:close_intent", "100")
        with in_time("a write, usual leases and grace", expiry=USUAL):
            async with at.world.cluster(lock_timeout=60, patience=Patience()) as cluster:
                await Scene(world=at.world, cluster=cluster, ledger=at.ledger).write()
        await at.correct()


async def test_a_run_is_gone_on_with_after_the_usual_time(tmp_path: Path) -> None:
    async with scene(tmp_path, nodes=3, shards=1, replicas=1, expiry=USUAL) as at:
        (source,) = (await at.cluster.reload(UID)).nodes()
        at.world.drain(int(source.removeprefix("n")))
        with Mortuary(at.world.path, elsewhere=True) as mortuary:
            await mortuary.die("rebalance", "before:switch")
        async with at.world.cluster(lock_timeout=60, patience=Patience()) as cluster:
            with in_time("a run, usual leases and grace", expiry=USUAL):
                await again(lambda: run(cluster, CHANGE))
            await check_finished(at.world, cluster, (await cluster.reload(UID)).index, at.ledger)


# -- frozen


FROZEN = {
    "write": ("before:close_intent", "after:open_intent", "before:n2/documents"),
    "settings": ("before:open_intent",),
    "rebalance": ("before:join", "before:switch"),
    "verify": ("before:save_run",),
}


@pytest.mark.parametrize(("verb", "point"), [(verb, point) for verb, points in FROZEN.items() for point in points])
async def test_a_holder_that_was_frozen_is_refused_at_its_next_step(tmp_path: Path, verb: str, point: str) -> None:
    async with scene(tmp_path, nodes=3, shards=1, replicas=1) as at:
        (source,) = (await at.cluster.reload(UID)).nodes()
        if verb == "rebalance":
            at.world.drain(int(source.removeprefix("n")))
        place = point.replace("n2", source)
        documents = dict.fromkeys(keys_of_every_shard((await at.cluster.map(UID)).index), 100)
        if verb == "write":
            at.ledger.begun(documents)
        words = [verb, f"{place}!", *(["100"] if verb == "write" else [])]
        process = start(at.world.path, *words, elsewhere=True, stderr=subprocess.PIPE)
        try:
            await eventually(lambda: stopped(process), timeout=60)
            async with at.world.cluster(lock_timeout=60) as cluster:
                here = Scene(world=at.world, cluster=cluster, ledger=at.ledger)
                with in_time(f"frozen, {verb} {point}"):
                    await here.write()
                    await again(lambda: run(cluster, CHANGE))
                    if verb == "verify":
                        await again(lambda: verify_again(here))
                tops = {name: await client.top_task() for name, client in cluster.fleet.clients.items()}
                epoch = await cluster.store.epoch()
                process.send_signal(signal.SIGCONT)
                _, said = await asyncio.to_thread(process.communicate, timeout=60)
                assert process.returncode == 1 and "LeaseLost" in said, said
                assert await cluster.store.epoch() == epoch
                assert {name: await client.top_task() for name, client in cluster.fleet.clients.items()} == tops
                await check_finished(at.world, cluster, (await cluster.reload(UID)).index, at.ledger)
        finally:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGCONT)
            process.kill()
            process.communicate()


async def stopped(process: subprocess.Popen[str]) -> bool:
    assert process.poll() is None, process.communicate()
    return is_stopped(process.pid)
