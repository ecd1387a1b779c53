"""Processes of their own that write, and can be made to die at a named point.

    python -m tests.faults.process TOPOLOGY COMMAND...          run one command
    python -m tests.faults.process TOPOLOGY mother              run each line of standard input in a forked process

    write POINT VALUE     one write of VALUE to some keys of every shard
    loop NAME COUNT       COUNT writes, each acknowledged one on a line
    create POINT          create the index
    settings POINT        change its settings
    key POINT             name its primary key
    delete POINT          delete it
    recover POINT         make the state file anew
    rebalance POINT       make the cluster what its topology file says
    repair POINT          mend what is out of sync
    cancel POINT          cancel the unfinished run
    verify POINT          compare all replicas
    request POINT VALUE   a client's write of VALUE with the idempotency key VALUE
    finish POINT          end the tasks of clients
    swap POINT            let it change places with `films`
    rename POINT          rename it to `shelf`
    flip POINT            let the alias `live` stand for `films`
    import POINT FILE     import a file of NDJSON
    serve POINT           do what a proxy does beside answering

A point is `before:METHOD` or `after:METHOD` of the store (for `recover`: of what replaces it): there the process is
killed with SIGKILL. So is `before:NODE/PATH`, a request to a node that makes a task, with the end of its path. `*2`
behind it means the second time, and `any*7` the seventh call of any kind that changes something. With `!` at the end
the process is not killed there but frozen with SIGSTOP.
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

import msgspec

from miroir_cli.cluster import Cluster, open_cluster, open_site
from miroir_cli.documents.formats import Format
from miroir_cli.documents.load import ImportOptions, import_documents
from miroir_cli.documents.payload import read_payload
from miroir_cli.indexes.aliases import flip_alias
from miroir_cli.indexes.catalog import delete_index
from miroir_cli.indexes.configure import change_settings
from miroir_cli.indexes.names import Swap, swap_indexes
from miroir_cli.indexes.primary_key import set_primary_key
from miroir_cli.migration.rebalance import cancel
from miroir_cli.migration.repair import repair
from miroir_cli.migration.verify import verify
from miroir_cli.model import IntentState
from miroir_cli.node.fleet import Fleet
from miroir_cli.proxy import background
from miroir_cli.proxy.keyring import Keyring
from miroir_cli.proxy.service import Service
from miroir_cli.replication.rebuild import recover_state
from miroir_cli.replication.settle import settle_until
from miroir_cli.replication.write import write
from miroir_cli.store.tasks import Task
from miroir_cli.tasks.finishing import finish
from miroir_cli.tasks.idempotency import digest_of, once
from miroir_cli.tasks.writing import ADDITION, Asked, add_documents
from miroir_cli.topology.file import load_topology
from tests.faults.moving import HASTY, run
from tests.faults.world import HURRIED, UID, addition, create, keys_of_every_shard

if TYPE_CHECKING:
    from miroir_cli.node.client import NodeClient
    from miroir_cli.store.protocol import Replacement, Store

ROOT = Path(__file__).resolve().parents[2]


READS = (
    *("cluster", "epoch", "members", "indexes", "map", "creation", "deletion", "interrupted", "newest_intent"),
    *("intents", "pending", "changes", "accounted", "run", "runs", "unfinished_run", "steps", "switching", "events"),
    *("unfinished_imports", "batches", "close", "is_still", "maps", "copies", "require", "follow", "free_name"),
    *("task", "task_of", "tasks", "task_uids", "task_indexes", "count_tasks", "any_unfinished", "tasks_ahead"),
    *("alias", "aliases", "resolve"),
    *("unfinished_work", "unfinished_writes", "untold_tasks", "webhooks", "require_idle"),
)
"""Methods of the store that change nothing."""

Call = Callable[..., Awaitable[object]]


class Fate:
    """When a process dies: before or after a call of this name, the `turn`th time."""

    def __init__(self, point: str) -> None:
        self.signal = signal.SIGSTOP if point.endswith("!") else signal.SIGKILL
        point, _, turn = point.removesuffix("!").partition("*")
        self.when, _, self.name = point.rpartition(":")
        self.turn = int(turn or 1)

    def shared(self, name: str, call: Call) -> Call:
        """The call, which may be the last one."""
        if self.name not in (name, "any"):
            return call

        async def mortal(*arguments: object, **options: object) -> object:
            if self.when != "after":
                self._count()
            result = await call(*arguments, **options)
            if self.when == "after":
                self._count()
            return result

        return mortal

    def _count(self) -> None:
        self.turn -= 1
        if not self.turn:
            os.kill(os.getpid(), self.signal)


class MortalStore:
    """A store whose process is killed before or after a call of one of its methods."""

    def __init__(self, store: Store | Replacement, fate: Fate) -> None:
        self._store = store
        self._fate = fate

    def __getattr__(self, name: str) -> Any:
        found: Call = getattr(self._store, name)
        return found if name in READS else self._fate.shared(name, found)


class MortalClient:
    """A node's client whose process is killed before or after one of the requests that make a task."""

    def __init__(self, client: NodeClient, fate: Fate) -> None:
        self._client = client
        self._fate = fate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def write(self, method: str, path: str, **options: Any) -> object:
        end = path.partition(f"indexes/{UID}/")[2] or path
        return await self._fate.shared(f"{self._client.name}/{end}", self._client.write)(method, path, **options)


ELSEWHERE = """
import runpy, sys
from miroir_cli.store import processes
processes.host_name = processes.kernel = lambda: "elsewhere"
sys.argv = ["process", *sys.argv[1:]]
runpy.run_module("tests.faults.process", run_name="__main__")
"""
"""This program on another host: nobody here can tell whether its processes live."""


def start(topology: Path, *arguments: str, elsewhere: bool = False, stderr: int | None = None) -> subprocess.Popen[str]:
    """Start this program; its standard input and output are pipes."""
    program = ["-c", ELSEWHERE] if elsewhere else ["-m", "tests.faults.process"]
    return subprocess.Popen(
        [sys.executable, *program, str(topology), *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )


class Mortuary:
    """Runs commands that end by being killed. One process loads everything and forks for each of them."""

    def __init__(self, topology: Path, *, elsewhere: bool = False) -> None:
        self._mother = start(topology, "mother", elsewhere=elsewhere)

    async def die(self, *arguments: str) -> None:
        """Run a command and make sure that it was killed, not that it ended."""
        assert await self.killed(*arguments)

    async def killed(self, *arguments: str) -> bool:
        """Run a command; whether it was killed. It must not fail otherwise."""
        status = await asyncio.to_thread(self._ask, " ".join(arguments))
        assert status in (0, -signal.SIGKILL)
        return status != 0

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
            fate = Fate(arguments[0])
            cluster.store = cast("Store", MortalStore(cluster.store, fate))
            cluster.fleet = Fleet(
                cast("NodeClient", MortalClient(client, fate)) for client in cluster.fleet.clients.values()
            )
        if verb == "write":
            await _write_once(cluster, int(arguments[1]))
        elif verb == "loop":
            await _write_many(cluster, arguments[0], int(arguments[1]))
        elif verb == "create":
            await create(cluster, settings={"stopWords": ["a"]})
        elif verb == "delete":
            await delete_index(cluster, UID)
        elif verb == "rebalance":
            await run(cluster)
        elif verb == "repair":
            await repair(cluster, options=HASTY)
        elif verb == "verify":
            await verify(cluster)
        elif verb == "cancel":
            await cancel(cluster)
        elif verb == "request":
            await request(cluster, int(arguments[1]))
        elif verb == "finish":
            while await cluster.store.any_unfinished():
                await finish(cluster)
        elif verb == "swap":
            await swap_indexes(cluster, [Swap(first=UID, second="films")])
        elif verb == "rename":
            await swap_indexes(cluster, [Swap(first=UID, second="shelf", rename=True)])
        elif verb == "flip":
            await flip_alias(cluster, "live", ["films"])
        elif verb == "import":
            await import_documents(cluster, UID, [arguments[1]], options=ImportOptions())
        elif verb == "serve":
            await _serve(cluster)
        elif verb == "key":
            await set_primary_key(cluster, UID, "id")
        else:
            await change_settings(cluster, UID, {"stopWords": ["the"]})


async def _serve(cluster: Cluster) -> None:
    """Until somebody ends it."""
    service = Service(cluster=cluster, settings=cluster.topology.serve, keyring=Keyring(cluster, own=None))
    background.start(service)
    await asyncio.Event().wait()


async def _recover(path: Path, point: str) -> None:
    async with open_site(load_topology(path), command="recover", patience=HURRIED) as site:
        assert site.backend is not None
        mortal = cast("Replacement", MortalStore(site.backend.replacement(), Fate(point)))
        await recover_state(site, replacement=mortal)


async def _write_once(cluster: Cluster, value: int) -> None:
    index = (await cluster.map(UID)).index
    written = await write(cluster, index, addition(index, dict.fromkeys(keys_of_every_shard(index), value)))
    await settle_until(cluster, index, written.n)


async def request(cluster: Cluster, value: int) -> Task:
    """A client's request to write the value to some keys of every shard, sent again or not."""
    documents = [{"id": key, "value": value} for key in keys_of_every_shard((await cluster.map(UID)).index)]
    body = msgspec.json.encode(documents)
    payload = read_payload(body, Format.JSON)
    return await once(
        cluster,
        str(value),
        digest_of("POST", f"/indexes/{UID}/documents", "application/json", body),
        type=ADDITION,
        uid=UID,
        act=lambda key: add_documents(cluster, Asked(uid=UID, key=key), payload),
    )


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
