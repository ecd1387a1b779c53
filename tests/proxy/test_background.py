"""What proxies do beside answering: once for all of them, spread, and taken over from one that dies."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from miroir_cli.cluster import open_cluster
from miroir_cli.dev.engine.testing import Engine
from miroir_cli.errors import Interrupted
from miroir_cli.proxy import background
from miroir_cli.proxy.background import CHORES, look_for_differences
from miroir_cli.proxy.shares import CHORE, PEER, chosen, peers_of
from miroir_cli.store.journal import RunKind
from miroir_cli.topology.file import load_topology
from tests.proxy.conftest import serving, write_topology
from tests.proxy.test_server import Process

if TYPE_CHECKING:
    from miroir_cli.proxy.service import Service

SHARED = {chore.name for chore in CHORES if not chore.everywhere}


def test_work_is_spread_and_moves_only_with_who_comes_and_goes() -> None:
    peers = [f"host-{number}:17.4" for number in range(5)]
    works = [f"work {number}" for number in range(1000)]
    before = {work: chosen(work, peers) for work in works}
    assert all(150 < count < 250 for count in Counter(before.values()).values())
    after = {work: chosen(work, peers[:-1]) for work in works}
    assert {work for work in works if before[work] != after[work]} == {
        work for work in works if before[work] == peers[-1]
    }
    assert chosen("work", []) is None


def test_peers_are_told_by_their_locks() -> None:
    assert peers_of([f"{PEER}a:1.2", "books.order", f"{CHORE}heal", f"{PEER}b:1.2"]) == ["a:1.2", "b:1.2"]


async def holders(path: Path) -> tuple[set[int], dict[str, int]]:
    """The processes that serve, and who does which of the work that is done once."""
    async with open_cluster(load_topology(path)) as cluster:
        held = {lock.name: lock.owner.pid for lock in await cluster.locks.held() if lock.owner is not None}
    serving = {pid for name, pid in held.items() if name.startswith(PEER)}
    chores = {name.removeprefix(CHORE): pid for name, pid in held.items() if name.startswith(CHORE)}
    return serving, {name: pid for name, pid in chores.items() if name in SHARED}


async def test_two_proxies_share_the_work_and_one_takes_over_that_of_the_other(
    tmp_path: Path, engines: list[Engine]
) -> None:
    path = write_topology(tmp_path, engines)
    running = [await asyncio.to_thread(Process, tmp_path) for _ in range(2)]
    first, second = (each.process.pid for each in running)
    try:
        await _until(path, serving={first, second})
        running[0].process.kill()
        await _until(path, serving={second})
    finally:
        for each in running:
            if each.process.poll() is None:
                each.process.kill()
            each.process.wait()
            assert each.process.stderr is not None
            each.process.stderr.close()


async def _until(path: Path, *, serving: set[int]) -> None:
    """Wait until these processes serve, and each chore is done by the one that is chosen among them."""
    deadline = time.monotonic() + 40
    while True:
        alive, chores = await holders(path)
        if alive == serving and set(chores) == SHARED and set(chores.values()) <= serving:
            return
        assert time.monotonic() < deadline, (alive, chores)
        await asyncio.sleep(0.2)


@pytest.mark.parametrize(("every", "verifications"), [(0, 0), (3600, 1)])
async def test_replicas_are_compared_when_nobody_has_for_long(
    tmp_path: Path, engines: list[Engine], every: int, verifications: int
) -> None:
    async with serving(write_topology(tmp_path, engines, more=f"[serve]\nverify_every = {every}\n")) as served:
        for _ in range(2):
            await look_for_differences(served.service)
        runs = [run for run in await served.service.cluster.store.runs() if run.kind is RunKind.VERIFY]
        assert len(runs) == verifications


async def test_a_chore_that_is_cancelled_in_the_middle_of_a_run_is_not_begun_again() -> None:
    begun = asyncio.Event()

    async def work(_: Service) -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise Interrupted("run 1 stopped at a clean place") from None

    chore = background.Chore(name="heal", every=0.0, work=work, everywhere=True)
    async with asyncio.timeout(30):
        task = asyncio.create_task(background._attempt(cast("Service", None), chore))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
