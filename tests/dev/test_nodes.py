"""`up`, `down` and `status` of local nodes, and what they leave alone."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from miroir_cli.dev.engines import EngineChoice, EngineKind
from miroir_cli.dev.nodes import NodeReport, down, kill, plan_up, status, up
from miroir_cli.dev.process import Process, alive, send, spawn
from miroir_cli.dev.register import LocalDirectory, LocalNode, Register
from miroir_cli.errors import Locked, NodeUnavailable, Refused, StateCorrupt, UsageError
from tests.dev.engine_choices import ENGINES

Up = Callable[..., Awaitable[tuple[NodeReport, ...]]]


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def start(topology: Path, first_port: int, said: list[str]) -> Up:
    """`up` with embedded nodes on free ports, unless said otherwise."""

    def call(**options: Any) -> Awaitable[tuple[NodeReport, ...]]:
        standard = {"choice": EngineChoice.EMBEDDED, "first_port": first_port, "environ": os.environ}
        return up(topology, say=said.append, **{**standard, **options})

    return call


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[Process]:
    """A process that miroir did not start."""
    process = spawn(
        [sys.executable, "-c", "import time; time.sleep(60)"], environ=os.environ, log=tmp_path / "stranger"
    )
    yield process
    send(process, signal.SIGKILL)
    while alive(process):
        time.sleep(0.01)


def states(nodes: tuple[NodeReport, ...]) -> dict[str, str]:
    return {node.name: node.state for node in nodes}


def wait_for_end(node: LocalNode) -> None:
    while node.runs:
        time.sleep(0.01)


def register_of(topology: Path) -> Register:
    return LocalDirectory.beside(topology).load()


@pytest.mark.parametrize("engine", ENGINES)
async def test_nodes_come_up_answer_and_go_down(
    topology: Path, first_port: int, start: Up, engine: EngineChoice
) -> None:
    nodes = await start(choice=engine)
    assert states(nodes) == {"n1": "started", "n2": "started", "n3": "started"}
    assert [node.url for node in nodes] == [f"http://127.0.0.1:{first_port + more}" for more in range(3)]
    assert all(node.version and node.pid for node in nodes)
    assert states(await status(topology)) == {"n1": "running", "n2": "running", "n3": "running"}

    assert states(await down(topology)) == {"n1": "stopped", "n2": "stopped", "n3": "stopped"}
    assert states(await status(topology)) == {"n1": "stopped", "n2": "stopped", "n3": "stopped"}
    assert not any(node.runs for node in register_of(topology).nodes)
    assert await down(topology) == ()


async def test_the_engine_is_said_plainly(start: Up, said: list[str]) -> None:
    await start(count=1)
    assert said == ["engine: the embedded node, for development only"]


async def test_a_second_up_changes_nothing(topology: Path, start: Up) -> None:
    first = await start(count=2)
    again = await start(count=2)
    assert states(again) == {"n1": "running", "n2": "running"}
    assert [node.pid for node in again] == [node.pid for node in first]


async def test_up_starts_what_ended_and_what_is_missing(topology: Path, start: Up) -> None:
    first = await start(count=2)
    killed = kill(topology, "n1")
    assert killed == first[0].pid
    await asyncio.to_thread(wait_for_end, register_of(topology).nodes[0])
    assert states(await status(topology)) == {"n1": "ended", "n2": "running"}
    again = await start(count=3)
    assert states(again) == {"n1": "started", "n2": "running", "n3": "started"}
    assert again[0].url == first[0].url
    assert again[1].pid == first[1].pid


async def test_fewer_nodes_than_run_stops_none(topology: Path, start: Up) -> None:
    await start(count=2)
    assert states(await start(count=1)) == {"n1": "running", "n2": "running"}


async def test_new_nodes_follow_the_port_of_the_first(topology: Path, start: Up, first_port: int) -> None:
    await start(count=1)
    plan = plan_up(topology, count=2, environ=os.environ)
    assert [(node.name, node.port) for node in plan.missing] == [("n2", first_port + 1)]
    assert plan.engine.kind is EngineKind.EMBEDDED


async def test_known_nodes_keep_their_engine(topology: Path, tmp_path: Path, start: Up) -> None:
    await start(count=1)
    binary = tmp_path / "meilisearch"
    binary.write_text("#!/bin/sh\necho meilisearch 1.50.0\n")
    binary.chmod(0o755)
    environ = {**os.environ, "MIROIR_MEILISEARCH": str(binary)}
    assert plan_up(topology, count=1, environ=environ).engine.kind is EngineKind.EMBEDDED
    with pytest.raises(Refused, match="the data of `n1` belongs to the engine `miroir-embedded`"):
        plan_up(topology, count=1, choice=EngineChoice.MEILISEARCH, environ=environ)


async def test_ports_in_use_are_named_with_their_owner_and_nothing_starts(
    topology: Path, start: Up, first_port: int
) -> None:
    with socket.create_server(("127.0.0.1", first_port + 1)), pytest.raises(UsageError) as caught:
        await start()
    assert caught.value.message.startswith(f"port in use: {first_port + 1}")
    if sys.platform == "linux":
        assert f"pid {os.getpid()}" in caught.value.message
    assert register_of(topology).nodes == ()


async def test_a_node_that_ends_while_starting_shows_its_log_and_takes_the_others_down(
    topology: Path, tmp_path: Path, first_port: int, start: Up, said: list[str]
) -> None:
    broken = tmp_path / "meilisearch"
    broken.write_text(
        "#!/bin/sh\n"
        '[ "$1" = --version ] && { echo meilisearch 1.50.0; exit; }\n'
        f'case "$*" in *:{first_port + 1}*) echo "Error: no space left" >&2; exit 1; esac\n'
        "exec sleep 60\n"
    )
    broken.chmod(0o755)
    environ = {**os.environ, "MIROIR_MEILISEARCH": str(broken)}
    with pytest.raises(NodeUnavailable, match="node `n2` ended while starting: Error: no space left") as caught:
        await start(count=2, choice=EngineChoice.MEILISEARCH, environ=environ, within=30)
    log = LocalDirectory.beside(topology).log("n2")
    assert str(log) in (caught.value.hint or "")
    assert said[-2:] == [f"the end of {log}:", "  Error: no space left"]
    assert register_of(topology).nodes == ()


async def test_a_node_that_never_answers_is_given_up_in_time(topology: Path, tmp_path: Path, start: Up) -> None:
    mute = tmp_path / "meilisearch"
    mute.write_text('#!/bin/sh\n[ "$1" = --version ] && { echo meilisearch 1.50.0; exit; }\nexec sleep 60\n')
    mute.chmod(0o755)
    environ = {**os.environ, "MIROIR_MEILISEARCH": str(mute)}
    with pytest.raises(NodeUnavailable, match="node `n1` did not answer at http://127.0.0.1:"):
        await start(count=1, choice=EngineChoice.MEILISEARCH, environ=environ, within=1)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who has a port")
async def test_a_server_that_was_faster_to_take_the_port_is_not_taken_for_the_node(
    topology: Path, tmp_path: Path, start: Up, first_port: int
) -> None:
    """Here the node hands its port to a process that it starts, and goes on without it."""
    other = f"{sys.executable} -m http.server --bind 127.0.0.1 --directory {tmp_path} {first_port}"
    (tmp_path / "health").write_text("{}")
    program = tmp_path / "meilisearch"
    program.write_text(
        "#!/bin/sh\n"
        '[ "$1" = --version ] && { echo meilisearch 1.50.0; exit; }\n'
        f'{other} & sleep 2; kill $!; echo "Error: address in use"; exit 1\n'
    )
    program.chmod(0o755)
    environ = {**os.environ, "MIROIR_MEILISEARCH": str(program)}
    with pytest.raises(NodeUnavailable, match="node `n1` ended while starting"):
        await start(count=1, choice=EngineChoice.MEILISEARCH, environ=environ)


async def test_down_spares_a_stranger_that_got_an_old_pid(topology: Path, stranger: Process) -> None:
    directory = LocalDirectory.beside(topology)
    directory.path.mkdir(parents=True)
    recycled = Process(pid=stranger.pid, start="an earlier boot 4711")
    directory.save(Register(nodes=(LocalNode(name="n1", port=7701, engine=EngineKind.EMBEDDED, process=recycled),)))
    assert states(await status(topology)) == {"n1": "ended"}
    assert await down(topology) == ()
    assert alive(stranger)
    with pytest.raises(UsageError, match="no local node `n1` runs here"):
        kill(topology, "n1")


async def test_up_after_a_reboot_starts_what_the_register_only_remembers(
    topology: Path, start: Up, first_port: int
) -> None:
    directory = LocalDirectory.beside(topology)
    directory.path.mkdir(parents=True)
    gone = Process(pid=2**22 + 1, start="an earlier boot 4711")
    directory.save(Register(nodes=(LocalNode(name="n1", port=first_port, engine=EngineKind.EMBEDDED, process=gone),)))
    assert states(await start(count=1)) == {"n1": "started"}


@pytest.mark.parametrize("content", [b"", b"{not json", b'{"nodes": [{"name": 3}]}', b"\xff\xfe"])
async def test_a_register_that_cannot_be_understood_is_an_error_that_says_how_to_go_on(
    topology: Path, start: Up, content: bytes
) -> None:
    directory = LocalDirectory.beside(topology)
    directory.path.mkdir(parents=True)
    directory.file.write_bytes(content)
    for verb in (start(), status(topology), down(topology)):
        with pytest.raises(StateCorrupt) as caught:
            await verb
        assert str(directory.file) in caught.value.message
        assert "remove that file" in (caught.value.hint or "")
    assert directory.file.read_bytes() == content
    directory.file.unlink()


async def test_two_at_once_do_not_mix(topology: Path, start: Up) -> None:
    with LocalDirectory.beside(topology).locked():
        with pytest.raises(Locked, match="another `miroir dev` command is at work"):
            await start()


async def test_the_register_holds_a_pid_and_a_start_for_each_node(topology: Path, start: Up) -> None:
    nodes = await start(count=1)
    written = json.loads(LocalDirectory.beside(topology).file.read_text())
    assert written["nodes"][0]["process"]["pid"] == nodes[0].pid
    assert written["nodes"][0]["process"]["start"]


async def test_without_any_node_there_is_nothing_to_show_or_to_stop(topology: Path) -> None:
    assert await status(topology) == ()
    assert await down(topology) == ()
    assert not (topology.parent / ".miroir").exists()
