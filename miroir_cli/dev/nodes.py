"""Local nodes for development: start them, say how they are, and end exactly those that were started.

`up` can be repeated: it starts what is missing and leaves the rest alone. A node that fails to start takes those
of the same call down with it. `down` keeps the data, so that the next `up` goes on where the last one ended.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from miroir_cli.dev.engines import Engine, EngineChoice, EngineKind, find_engine
from miroir_cli.dev.process import POLL, end, port_in_use, port_owner, send, spawn
from miroir_cli.dev.register import LocalDirectory, LocalNode, Register
from miroir_cli.errors import MiroirError, NodeUnavailable, Refused, UsageError
from miroir_cli.model import Node, NodeName
from miroir_cli.node.client import NodeClient

FIRST_PORT = 7701
LAST_PORT = 65535
START_TIMEOUT = 60.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeReport:
    """How one local node is. `pid` and `version` are None when it does not run or does not answer.

    `state`: `started` (by this call), `running`, `silent` (runs, does not answer), `stopped` (on purpose or
    never started), `ended` (without being asked to), `killed` (did not stop in time).
    """

    name: str
    url: str
    engine: str
    state: Literal["started", "running", "silent", "stopped", "ended", "killed"]
    pid: int | None
    version: str | None
    data: str
    log: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UpPlan:
    """What `up` would do: run these nodes, which do not run, with this engine."""

    engine: Engine
    missing: tuple[LocalNode, ...]


def plan_up(
    topology: Path,
    *,
    count: int = 3,
    choice: EngineChoice = EngineChoice.AUTO,
    first_port: int | None = None,
    environ: Mapping[str, str],
) -> UpPlan:
    """What is missing for the local nodes `n1` to `n<count>` to run.

    Known nodes keep their port and engine. The port of `n<i>` is `first_port` + i - 1, counted from where `n1` is
    when no port is given.

    Raises UsageError that names each port in use, Refused when known nodes have another engine than asked for.
    """
    register = LocalDirectory.beside(topology).load()
    engine = _engine_for(register, choice, environ)
    missing = _missing(register, count=count, first_port=first_port, kind=engine.kind)
    check_ports(node.port for node in missing)
    return UpPlan(engine=engine, missing=tuple(missing))


async def up(
    topology: Path,
    *,
    count: int = 3,
    choice: EngineChoice = EngineChoice.AUTO,
    first_port: int | None = None,
    within: float = START_TIMEOUT,
    environ: Mapping[str, str],
    say: Say,
) -> tuple[NodeReport, ...]:
    """See to it that the local nodes `n1` to `n<count>` run and answer; those that run are left alone.

    The nodes live in `.miroir/dev` beside `topology`. Raises what `plan_up` raises, and NodeUnavailable when a
    node ends or does not answer within `within` seconds, after `say` was given the end of its log; the nodes that
    this call started are stopped then.
    """
    directory = LocalDirectory.beside(topology)
    with directory.locked():
        register = now = directory.load()
        plan = plan_up(topology, count=count, choice=choice, first_port=first_port, environ=environ)
        say(f"engine: {plan.engine.said}")
        started: list[LocalNode] = []
        try:
            for node in plan.missing:
                started.append(_start(node, plan.engine, directory, environ))
                now = now.put(started[-1])
                directory.save(now)
            await _all_answer(started, directory, within=within, say=say)
        except BaseException:
            await asyncio.to_thread(end, started)
            directory.save(register)
            raise
        reports = await status(topology)
    fresh = {node.name for node in started}
    return tuple(replace(report, state="started") if report.name in fresh else report for report in reports)


async def down(topology: Path) -> tuple[NodeReport, ...]:
    """Stop the local nodes that `up` started: SIGTERM, and SIGKILL after ten seconds. Data and logs stay."""
    directory = LocalDirectory.beside(topology)
    if not directory.path.is_dir():
        return ()
    with directory.locked():
        register = directory.load()
        before = await status(topology)
        killed = await asyncio.to_thread(end, register.nodes)
        directory.save(Register(nodes=tuple(replace(node, process=None) for node in register.nodes)))
    return tuple(
        replace(report, state="killed" if report.name in killed else "stopped", pid=None, version=None)
        for report in before
        if report.pid is not None
    )


async def status(topology: Path) -> tuple[NodeReport, ...]:
    """How each local node is."""
    directory = LocalDirectory.beside(topology)
    nodes = directory.load().nodes
    async with asyncio.TaskGroup() as group:
        versions = [group.create_task(_version(node)) for node in nodes]
    return tuple(_report(node, directory, version.result()) for node, version in zip(nodes, versions, strict=True))


def kill(topology: Path, name: str) -> int:
    """End a local node as a power cut would (SIGKILL); returns the pid it had.

    Raises UsageError when it does not run.
    """
    node = LocalDirectory.beside(topology).load().find(name)
    if node is None or node.process is None or not send(node.process, signal.SIGKILL):
        raise UsageError(f"no local node `{name}` runs here", hint="run `miroir dev status` to see them")
    return node.process.pid


def _engine_for(register: Register, choice: EngineChoice, environ: Mapping[str, str]) -> Engine:
    """The engine asked for, which is the one that known nodes have: their data is of no use to another."""
    known = {node.engine for node in register.nodes}
    if choice is EngineChoice.AUTO and known:
        choice = EngineChoice.EMBEDDED if EngineKind.EMBEDDED in known else EngineChoice.MEILISEARCH
    engine = find_engine(choice, environ)
    if known - {engine.kind}:
        names = ", ".join(f"`{node.name}`" for node in register.nodes)
        raise Refused(
            f"the data of {names} belongs to the engine `{', '.join(sorted(known))}`",
            hint="leave out `--engine`, or use another directory for another engine",
        )
    return engine


def _missing(register: Register, *, count: int, first_port: int | None, kind: EngineKind) -> list[LocalNode]:
    """The nodes among `n1` to `n<count>` that do not run; new ones get ports from `first_port` on."""
    if first_port is None:
        first = register.find("n1")
        first_port = first.port if first is not None else FIRST_PORT
    if not 1 <= first_port <= LAST_PORT - count + 1:
        raise UsageError(f"{count} ports from {first_port} on do not fit below {LAST_PORT + 1}")
    wanted = [
        register.find(f"n{number}") or LocalNode(name=f"n{number}", port=first_port + number - 1, engine=kind)
        for number in range(1, count + 1)
    ]
    return [node for node in wanted if not node.runs]


def check_ports(ports: Iterable[int]) -> None:
    """Raises UsageError that names each of these ports which is in use, and by whom when the system tells."""
    taken = {port: port_owner(port) for port in ports if port_in_use(port)}
    if taken:
        named = ", ".join(f"{port} ({owner})" if owner else str(port) for port, owner in taken.items())
        raise UsageError(
            f"{'ports' if len(taken) > 1 else 'port'} in use: {named}",
            hint="end what uses them, or choose others with `--port`",
        )


def _start(node: LocalNode, engine: Engine, directory: LocalDirectory, environ: Mapping[str, str]) -> LocalNode:
    engine.prepare(directory.data(node.name))
    process = spawn(
        engine.command(port=node.port, directory=directory.data(node.name)),
        environ=engine.environ(environ),
        log=directory.log(node.name),
    )
    return replace(node, process=process)


async def _all_answer(nodes: Iterable[LocalNode], directory: LocalDirectory, *, within: float, say: Say) -> None:
    """Wait until all of them answer; the first that fails to is the error."""
    try:
        async with asyncio.TaskGroup() as group:
            for node in nodes:
                group.create_task(_answers(node, directory, within=within, say=say))
    except* MiroirError as failures:
        first = failures
    else:
        return
    raise first.exceptions[0]


async def _answers(node: LocalNode, directory: LocalDirectory, *, within: float, say: Say) -> None:
    """Wait until a node answers, and not another server that was faster to take its port.

    Raises NodeUnavailable when it ends before, or does not within that time.
    """
    deadline = time.monotonic() + within
    async with _client(node) as client:
        while node.runs and time.monotonic() < deadline:
            with suppress(MiroirError):
                await client.health(timeout=1)
                if node.listens:
                    return
            await asyncio.sleep(POLL)
    lines = directory.last_lines(node.name)
    if node.runs:
        message = f"node `{node.name}` did not answer at {node.url} within {within:g} s"
    else:
        message = f"node `{node.name}` ended while starting" + (f": {lines[-1]}" if lines else "")
    log = directory.log(node.name)
    for line in [f"the end of {log}:", *(f"  {line}" for line in lines)] if lines else ():
        say(line)
    raise NodeUnavailable(message, node=node.name, sent=False, hint=f"the whole log is `{log}`")


def _client(node: LocalNode) -> NodeClient:
    return NodeClient(Node(name=NodeName(node.name), url=node.url))


async def _version(node: LocalNode) -> str | None:
    if not node.runs:
        return None
    async with _client(node) as client:
        try:
            await client.health(timeout=2)
            return (await client.version()).package
        except MiroirError:
            return None


def _report(node: LocalNode, directory: LocalDirectory, version: str | None) -> NodeReport:
    running: Literal["running", "silent"] = "running" if version else "silent"
    ended: Literal["stopped", "ended"] = "stopped" if node.process is None else "ended"
    runs = node.runs
    return NodeReport(
        name=node.name,
        url=node.url,
        engine=node.engine,
        state=running if runs else ended,
        pid=node.process.pid if runs and node.process else None,
        version=version,
        data=str(directory.data(node.name)),
        log=str(directory.log(node.name)),
    )
