"""What runs beside local nodes: a Redis that keeps the state, and proxies. Started, told of and ended as nodes are.

They live in `.miroir/dev` too, in a register of their own.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Literal

import msgspec

from miroir_cli.dev.engines import PACKAGE_ROOT, StateChoice
from miroir_cli.dev.nodes import check_ports
from miroir_cli.dev.process import LOOPBACK, POLL, Process, alive, end, listens, spawn
from miroir_cli.dev.register import LocalDirectory
from miroir_cli.errors import MiroirError, NodeUnavailable, NotFound, Refused, StateCorrupt, StateUnavailable
from miroir_cli.model import Node, NodeName
from miroir_cli.node.client import NodeClient
from miroir_cli.topology.file import load_topology

FIRST_PORT = 7601
"""Of proxies; Redis has the one before."""

REDIS = "redis"


class ServiceKind(StrEnum):
    """What a local service is."""

    REDIS = "redis"
    PROXY = "proxy"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalService:
    """One of them. `process` is None when it was stopped on purpose."""

    name: str
    kind: ServiceKind
    port: int
    process: Process | None = None

    @property
    def url(self) -> str:
        if self.kind is ServiceKind.REDIS:
            return f"redis://{LOOPBACK}:{self.port}/0"
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def runs(self) -> bool:
        return self.process is not None and alive(self.process)

    @property
    def listens(self) -> bool:
        """Whether its own process has its port."""
        return self.process is not None and listens(self.process, self.port)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceReport:
    """How a local service is; `state` as of a node."""

    name: str
    kind: str
    url: str
    state: Literal["started", "running", "stopped", "ended", "killed"]
    pid: int | None
    log: str


def plan_services(
    topology: Path, *, state: StateChoice | None, proxies: int | None, first_port: int | None
) -> tuple[LocalService, ...]:
    """The services that would have to be started: Redis first. None: what there was the last time.

    Raises UsageError that names each port in use, and Refused when the topology file keeps its state elsewhere.
    """
    known = _load(LocalDirectory.beside(topology))
    before = [each for each in known if each.kind is ServiceKind.PROXY]
    first = first_port or (before[0].port if before else FIRST_PORT)
    wanted = [_known(known, REDIS) or LocalService(name=REDIS, kind=ServiceKind.REDIS, port=first - 1)]
    if state is not StateChoice.REDIS and (state is StateChoice.SQLITE or _known(known, REDIS) is None):
        wanted = []
    _require_state(topology, wanted[0].url if wanted else None, chosen=state is not None)
    count = len(before) if proxies is None else proxies
    for number in range(1, count + 1):
        name = f"proxy{number}"
        found = _known(known, name)
        wanted.append(found or LocalService(name=name, kind=ServiceKind.PROXY, port=first + number - 1))
    missing = tuple(each for each in wanted if not each.runs)
    check_ports(each.port for each in missing)
    return missing


async def up_services(
    topology: Path, services: Iterable[LocalService], *, within: float, environ: Mapping[str, str]
) -> tuple[ServiceReport, ...]:
    """Start these, and wait until each answers; those that this call started are stopped when one does not.

    Raises NotFound when there is no Redis to start, NodeUnavailable or StateUnavailable for one that does not answer
    within so many seconds.
    """
    directory = LocalDirectory.beside(topology)
    with directory.locked():
        before = now = _load(directory)
        started: list[LocalService] = []
        try:
            for service in services:
                started.append(_start(service, topology, directory, environ))
                now = _put(now, started[-1])
                _save(directory, now)
            async with asyncio.TaskGroup() as group:
                for service in started:
                    group.create_task(_answers(service, directory, within=within))
        except BaseException as error:
            await asyncio.to_thread(end, started)
            _save(directory, before)
            if isinstance(error, BaseExceptionGroup):
                raise error.exceptions[0] from None
            raise
    return tuple(replace(_report(service, directory), state="started") for service in started)


async def down_services(topology: Path, kind: ServiceKind) -> tuple[ServiceReport, ...]:
    """End the services of a kind. Data and logs stay."""
    directory = LocalDirectory.beside(topology)
    if not directory.path.is_dir():
        return ()
    with directory.locked():
        known = _load(directory)
        running = [each for each in known if each.kind is kind and each.runs]
        killed = await asyncio.to_thread(end, running)
        for each in running:
            known = _put(known, replace(each, process=None))
        if running:
            _save(directory, known)
    return tuple(
        replace(_report(replace(each, process=None), directory), state="killed" if each.name in killed else "stopped")
        for each in running
    )


def services(topology: Path) -> tuple[ServiceReport, ...]:
    """How each local service is."""
    directory = LocalDirectory.beside(topology)
    return tuple(_report(each, directory) for each in _load(directory))


def state_url(topology: Path) -> str | None:
    """The url of the local Redis that runs; None when none does."""
    found = _known(_load(LocalDirectory.beside(topology)), REDIS)
    return found.url if found is not None and found.runs else None


def _require_state(topology: Path, wanted: str | None, *, chosen: bool) -> None:
    """Raise Refused when a topology file is there that keeps its state elsewhere than was asked for."""
    if not topology.exists():
        return
    try:
        state = load_topology(topology).state
    except MiroirError:
        return  # whoever reads it next says what is wrong with it
    if chosen and (state.url if state.shared else None) != wanted:
        there = state.address if state.shared else "a file"
        line = f'url = "{wanted}"' if wanted else 'url = "sqlite:.miroir/state.db"'
        raise Refused(
            f"`{topology}` keeps its state in {there}", hint=f"write `{line}` under `[state]`, or use another folder"
        )


def _start(
    service: LocalService, topology: Path, directory: LocalDirectory, environ: Mapping[str, str]
) -> LocalService:
    directory.data(service.name).mkdir(parents=True, exist_ok=True)
    command = _redis(service, directory, environ) if service.kind is ServiceKind.REDIS else _proxy(service, topology)
    path = os.pathsep.join([str(PACKAGE_ROOT), *filter(None, [environ.get("PYTHONPATH")])])
    process = spawn(command, environ={**environ, "PYTHONPATH": path}, log=directory.log(service.name))
    return replace(service, process=process)


def _redis(service: LocalService, directory: LocalDirectory, environ: Mapping[str, str]) -> list[str]:
    return [
        str(find_redis(environ)),
        *("--port", str(service.port)),
        *("--bind", LOOPBACK),
        *("--dir", str(directory.data(service.name))),
        *("--save", ""),
        *("--appendonly", "yes"),
        *("--appendfsync", "always"),
        *("--maxmemory-policy", "noeviction"),
    ]


def _proxy(service: LocalService, topology: Path) -> list[str]:
    module = [sys.executable, "-P", "-m", "miroir_cli", "--topology", str(topology.absolute())]
    return [*module, "serve", "--host", LOOPBACK, "--port", str(service.port)]


def find_redis(environ: Mapping[str, str]) -> Path:
    """`redis-server` or `valkey-server` of the PATH."""
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name, path=environ.get("PATH", os.defpath))
        if found is not None:
            return Path(found).absolute()
    raise NotFound(
        "no `redis-server` or `valkey-server` on the PATH",
        hint="install Redis or Valkey, or leave out `--state redis`: the state is in a file then",
    )


async def _answers(service: LocalService, directory: LocalDirectory, *, within: float) -> None:
    deadline = time.monotonic() + within
    while service.runs and time.monotonic() < deadline:
        if await _is_ready(service) and service.listens:
            return
        await asyncio.sleep(POLL)
    lines = directory.last_lines(service.name, 1)
    what = f"did not answer at {service.url} within {within:g} s" if service.runs else "ended while starting"
    message = f"local {service.kind} `{service.name}` {what}" + (f": {lines[0]}" if lines else "")
    hint = f"the whole log is `{directory.log(service.name)}`"
    if service.kind is ServiceKind.REDIS:
        raise StateUnavailable(message, hint=hint)
    raise NodeUnavailable(message, node=service.name, sent=False, hint=hint)


async def _is_ready(service: LocalService) -> bool:
    if service.kind is ServiceKind.REDIS:
        return await asyncio.to_thread(_pongs, service.port)
    async with NodeClient(Node(name=NodeName(service.name), url=service.url)) as client:
        with suppress(MiroirError):
            await client.health(timeout=2)
            return True
    return False


def _pongs(port: int) -> bool:
    """Whether a Redis on this port takes commands: it does not while it loads its data."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(7).startswith(b"+PONG")
    except OSError:
        return False


# -- the register


def _known(known: Iterable[LocalService], name: str) -> LocalService | None:
    return next((each for each in known if each.name == name), None)


def _put(known: tuple[LocalService, ...], changed: LocalService) -> tuple[LocalService, ...]:
    """These with one replaced, or added at the end."""
    if _known(known, changed.name) is None:
        return (*known, changed)
    return tuple(changed if each.name == changed.name else each for each in known)


def _file(directory: LocalDirectory) -> Path:
    return directory.path / "services.json"


def _load(directory: LocalDirectory) -> tuple[LocalService, ...]:
    file = _file(directory)
    try:
        return msgspec.json.decode(file.read_bytes(), type=tuple[LocalService, ...])
    except FileNotFoundError:
        return ()
    except msgspec.DecodeError as error:
        raise StateCorrupt(
            f"`{file}` cannot be understood: {error}",
            hint="end by hand what still runs, remove that file, then run `miroir dev up` again",
        ) from error


def _save(directory: LocalDirectory, known: tuple[LocalService, ...]) -> None:
    written = _file(directory).with_suffix(".new")
    written.write_bytes(msgspec.json.format(msgspec.json.encode(known)) + b"\n")
    written.replace(_file(directory))


def _report(service: LocalService, directory: LocalDirectory) -> ServiceReport:
    runs = service.runs
    stopped: Literal["stopped", "ended"] = "stopped" if service.process is None else "ended"
    return ServiceReport(
        name=service.name,
        kind=service.kind,
        url=service.url,
        state="running" if runs else stopped,
        pid=service.process.pid if runs and service.process is not None else None,
        log=str(directory.log(service.name)),
    )
