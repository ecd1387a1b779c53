"""Processes of their own that write, and can be made to die at a named point.

    python -m tests.faults.process TOPOLOGY COMMAND...          run one command
    python -m tests.faults.process TOPOLOGY mother              run each line of standard input in a forked process

    write POINT VALUE     one write of VALUE to some keys of every shard
    loop NAME COUNT       COUNT writes, each acknowledged one on a line
    create POINT          create the index
    settings POINT        change its settings
    delete POINT          delete it
    recover POINT         make the state file anew

A point is `before:METHOD` or `after:METHOD` of the store (for `recover`: of what replaces it): there the process is
killed with SIGKILL.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from miroir_cli.cluster import Cluster, open_cluster, open_site
from miroir_cli.indexes.catalog import delete_index
from miroir_cli.indexes.configure import change_settings
from miroir_cli.model import IntentState
from miroir_cli.replication.rebuild import recover_state
from miroir_cli.replication.settle import settle_until
from miroir_cli.replication.write import write
from miroir_cli.store.sqlite.file import StateFile
from miroir_cli.topology.file import load_topology
from tests.faults.world import HURRIED, UID, addition, create, keys_of_every_shard

if TYPE_CHECKING:
    from miroir_cli.store.records import Replacement, Store

ROOT = Path(__file__).resolve().parents[2]


class MortalStore:
    """A store whose process is killed before or after a call of one of its methods."""

    def __init__(self, store: Store | Replacement, point: str) -> None:
        self._store = store
        self._when, _, self._method = point.partition(":")

    def __getattr__(self, name: str) -> Any:
        found: Callable[..., Awaitable[object]] = getattr(self._store, name)
        if name != self._method:
            return found

        async def call(*arguments: object, **options: object) -> object:
            if self._when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            result = await found(*arguments, **options)
            os.kill(os.getpid(), signal.SIGKILL)
            return result

        return call


def start(topology: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start this program; its standard input and output are pipes."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.faults.process", str(topology), *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


class Mortuary:
    """Runs commands that end by being killed. One process loads everything and forks for each of them."""

    def __init__(self, topology: Path) -> None:
        self._mother = start(topology, "mother")

    async def die(self, *arguments: str) -> None:
        """Run a command and make sure that it was killed, not that it ended."""
        assert await asyncio.to_thread(self._ask, " ".join(arguments)) == -signal.SIGKILL

    def _ask(self, line: str) -> int:
        assert self._mother.stdin is not None and self._mother.stdout is not None
        self._mother.stdin.write(line + "\n")
        self._mother.stdin.flush()
        return int(self._mother.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._mother.communicate(timeout=30)


def _mother(topology: Path) -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            asyncio.run(_main(topology, *line.split()))
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        sys.stdout.write(f"{status}\n")
        sys.stdout.flush()


async def _main(topology: Path, verb: str, *arguments: str) -> None:
    if verb == "recover":
        await _recover(topology, arguments[0])
        return
    async with open_cluster(load_topology(topology), command=verb, patience=HURRIED, lock_timeout=30) as cluster:
        if verb != "loop":
            cluster.store = cast("Store", MortalStore(cluster.store, arguments[0]))
        if verb == "write":
            await _write_once(cluster, int(arguments[1]))
        elif verb == "loop":
            await _write_many(cluster, arguments[0], int(arguments[1]))
        elif verb == "create":
            await create(cluster, settings={"stopWords": ["a"]})
        elif verb == "delete":
            await delete_index(cluster, UID)
        else:
            await change_settings(cluster, UID, {"stopWords": ["the"]})


async def _recover(path: Path, point: str) -> None:
    topology = load_topology(path)
    mortal = cast("Replacement", MortalStore(StateFile(topology.state_path), point))
    async with open_site(topology, command="recover", patience=HURRIED) as site:
        await recover_state(site, replacement=mortal)


async def _write_once(cluster: Cluster, value: int) -> None:
    index = (await cluster.map(UID)).index
    written = await write(cluster, index, addition(index, dict.fromkeys(keys_of_every_shard(index), value)))
    await settle_until(cluster, index, written.n)


async def _write_many(cluster: Cluster, name: str, count: int) -> None:
    """Each write sets keys that all writers share, and one of its own; told once it is stored."""
    index = (await cluster.map(UID)).index
    for number in range(count):
        documents = dict.fromkeys(keys_of_every_shard(index), f"{name}{number}") | {f"{name}-{number}": number}
        written = await write(cluster, index, addition(index, documents))
        outcome = (await settle_until(cluster, index, written.n))[written.n]
        if outcome.state is IntentState.DONE:
            sys.stdout.write(f"{name}-{number}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[2] == "mother":
        _mother(Path(sys.argv[1]))
    else:
        asyncio.run(_main(Path(sys.argv[1]), *sys.argv[2:]))
