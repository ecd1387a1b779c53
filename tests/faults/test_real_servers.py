"""The protocol on real servers: frozen, killed and emptied ones."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import pytest

from miroir_cli.cluster import Patience, open_site
from miroir_cli.dev.engine.testing import Engine
from miroir_cli.indexes.catalog import delete_index
from miroir_cli.indexes.configure import change_settings, get_settings
from miroir_cli.model import IntentState, NodeName, ReplicaState
from miroir_cli.replication.rebuild import recover_state
from miroir_cli.replication.settle import settle
from tests.faults.world import (
    N2,
    UID,
    Ledger,
    World,
    check,
    copies_are_kept_from_searches,
    create,
    eventually,
    keys_of_every_shard,
    put,
    stale,
    write_topology,
)

BINARY = os.environ.get("MIROIR_MEILISEARCH") or shutil.which("meilisearch")

pytestmark = [
    pytest.mark.live,
    pytest.mark.timeout(240),
    pytest.mark.skipif(BINARY is None, reason="no `meilisearch` on PATH and MIROIR_MEILISEARCH is not set"),
]

PATIENCE = Patience(grace=0.5, write=1.5, lookup=0.5, busy=1.0, answer=2.0, silence=2.0, lag=10.0)


@dataclass(kw_only=True)
class Server:
    """One Meilisearch process and its disk."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        arguments = ["--db-path", str(self.folder / "db"), "--http-addr", f"127.0.0.1:{self.port}", "--no-analytics"]
        self.process = subprocess.Popen(
            [str(BINARY), *arguments, "--max-indexing-threads", "1"],
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(400):
            try:
                with urlopen(f"{self.url}/health", timeout=1):
                    return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError(f"the server on port {self.port} did not start")

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def servers_of(folder: Path, *, nodes: int = 2, replicas: int = 2) -> Iterator[tuple[World, list[Server]]]:
    """Real servers, and the world that names them."""
    with ExitStack() as stack:
        servers = [Server(folder=folder / f"server{number}", port=_free_port()) for number in range(nodes)]
        for server in servers:
            stack.callback(server.kill)
            server.start()
        urls = {NodeName(f"n{number}"): server.url for number, server in enumerate(servers, start=1)}
        engines: dict[NodeName, Engine] = {}
        yield World(path=write_topology(folder, urls, shards=2, replicas=replicas), engines=engines), servers


async def test_create_configure_write_and_delete(tmp_path: Path) -> None:
    with servers_of(tmp_path) as (world, _):
        async with world.cluster(patience=PATIENCE) as cluster:
            index, ledger = await create(cluster, settings={"sortableAttributes": ["value"]}), Ledger()
            for value in range(3):
                await put(cluster, index, dict.fromkeys(keys_of_every_shard(index), value), ledger)
            patch = {"displayedAttributes": ["value"], "faceting": {"maxValuesPerFacet": 5}}
            assert (await change_settings(cluster, UID, patch)).stale == ()
            shown = await get_settings(cluster, UID)
            assert shown["displayedAttributes"] == ["value"] and "_miroir" not in str(shown)
            await change_settings(cluster, UID, {"displayedAttributes": None})
            assert stale(await check(cluster, index, ledger)) == set()
            await delete_index(cluster, UID)
            for client in cluster.fleet.clients.values():
                assert [found["uid"] for found in (await client.get("indexes"))["results"]] == ["_miroir"]


async def test_a_frozen_server_is_left_behind_and_its_late_task_noticed(tmp_path: Path) -> None:
    with servers_of(tmp_path) as (world, servers):
        async with world.cluster(patience=PATIENCE) as cluster:
            index, ledger = await create(cluster), Ledger()
            keys = keys_of_every_shard(index)
            await put(cluster, index, dict.fromkeys(keys, 1), ledger)
            servers[1].signal(signal.SIGSTOP)
            try:
                await put(cluster, index, dict.fromkeys(keys, 2), ledger)
            finally:
                servers[1].signal(signal.SIGCONT)
            assert stale(await check(cluster, index, ledger)) == {"n2"}

            async def arrived() -> bool:
                await settle(cluster, index)
                tasks = await cluster.fleet[N2].tasks(indexUids=UID, types="documentAdditionOrUpdate")
                return len(tasks["results"]) == 2

            await eventually(arrived)
            await put(cluster, index, dict.fromkeys(keys, 3), ledger)
            assert stale(await check(cluster, index, ledger)) == {"n2"}


async def test_a_write_to_a_frozen_sole_replica_is_found_when_it_goes_on(tmp_path: Path) -> None:
    with servers_of(tmp_path, nodes=1, replicas=1) as (world, servers):
        async with world.cluster(patience=PATIENCE) as cluster:
            index, ledger = await create(cluster), Ledger()
            keys = keys_of_every_shard(index)
            servers[0].signal(signal.SIGSTOP)
            try:
                assert await put(cluster, index, dict.fromkeys(keys, 1), ledger) is None
            finally:
                servers[0].signal(signal.SIGCONT)
            await put(cluster, index, {"other": 2}, ledger)
            assert (await cluster.store.intents(UID, [1]))[1].state is IntentState.DONE
            ledger.acknowledged(dict.fromkeys(keys, 1))
            assert stale(await check(cluster, index, ledger)) == set()


async def test_a_killed_server_is_left_behind_and_an_emptied_one_lost(tmp_path: Path) -> None:
    with servers_of(tmp_path) as (world, servers):
        async with world.cluster(patience=PATIENCE) as cluster:
            index, ledger = await create(cluster), Ledger()
            keys = keys_of_every_shard(index)
            await put(cluster, index, dict.fromkeys(keys, 1), ledger)
            servers[1].kill()
            await put(cluster, index, dict.fromkeys(keys, 2), ledger)
            assert stale(await check(cluster, index, ledger)) == {"n2"}
            shutil.rmtree(servers[1].folder)
            servers[1].start()
            await change_settings(cluster, UID, {"stopWords": ["the"]})
            map = await check(cluster, index, ledger)
            assert {r.node for r in map.replicas if r.state is ReplicaState.LOST} == {"n2"}


async def test_a_lost_state_file_comes_back_from_the_copies_and_the_tasks(tmp_path: Path) -> None:
    """The first server missed a write and the mark of that, so only the second one knows who is out of date."""
    with servers_of(tmp_path) as (world, servers):
        async with world.cluster(patience=PATIENCE) as cluster:
            index, ledger = await create(cluster, settings={"stopWords": ["the"]}), Ledger()
            keys = keys_of_every_shard(index)
            await put(cluster, index, dict.fromkeys(keys, 1), ledger)
            servers[0].kill()
            await put(cluster, index, dict.fromkeys(keys, 2), ledger)
            servers[0].start()
        shutil.rmtree(tmp_path / ".miroir")
        async with open_site(world.topology, patience=PATIENCE) as site:
            found = await recover_state(site)
        assert found.done and not found.election.uncovered
        async with world.cluster(patience=PATIENCE) as cluster:
            map = await cluster.reload(UID)
            assert map.index == index and stale(map) == {"n1"}
            written = await put(cluster, index, dict.fromkeys(keys, 3), ledger)
            assert written is not None and written.n == 3
            await check(cluster, index, ledger)


async def test_what_nodes_keep_of_the_state_is_not_for_searches(tmp_path: Path) -> None:
    with servers_of(tmp_path) as (world, _):
        async with world.cluster(patience=PATIENCE) as cluster:
            await create(cluster, settings={"stopWords": ["hush"]})
            assert await copies_are_kept_from_searches(cluster)
