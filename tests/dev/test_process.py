"""Processes are told apart by pid and start, and ports by who listens on them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from miroir_cli.dev.process import Process, alive, port_in_use, port_owner, send, spawn, start_of

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Process]:
    process = spawn(SLEEPER, environ=os.environ, log=tmp_path / "log")
    yield process
    send(process, signal.SIGKILL)
    assert ends(process)


def ends(process: Process) -> bool:
    deadline = time.monotonic() + 10
    while alive(process) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not alive(process)


def test_a_process_is_alive_until_it_is_told_to_end(sleeper: Process) -> None:
    assert alive(sleeper)
    assert send(sleeper, signal.SIGTERM)
    assert ends(sleeper)
    assert not send(sleeper, signal.SIGTERM)


def test_a_pid_with_another_start_is_not_signalled(sleeper: Process) -> None:
    stranger = replace(sleeper, start="some earlier boot 12345")
    assert not alive(stranger)
    assert not send(stranger, signal.SIGKILL)
    assert alive(sleeper)


def test_a_process_whose_start_was_never_learned_is_not_signalled(sleeper: Process) -> None:
    assert not send(replace(sleeper, start=""), signal.SIGKILL)
    assert alive(sleeper)


def test_an_ended_process_that_its_parent_did_not_reap_counts_as_ended() -> None:
    with subprocess.Popen([sys.executable, "-c", "pass"]) as child:
        deadline = time.monotonic() + 10
        while start_of(child.pid) is not None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert start_of(child.pid) is None
        assert child.wait() == 0


def test_ctrl_c_in_the_terminal_does_not_reach_it(sleeper: Process) -> None:
    assert os.getsid(sleeper.pid) == sleeper.pid != os.getsid(0)


def test_output_goes_to_the_log_after_what_was_there(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    script = "import sys; print('out', flush=True); print('err', file=sys.stderr)"
    assert ends(spawn([sys.executable, "-c", script], environ=os.environ, log=log))
    assert log.read_text() == "before\nout\nerr\n"


def test_a_program_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        spawn([str(tmp_path / "nothing")], environ={}, log=tmp_path / "log")


def test_a_port_that_somebody_listens_on_is_in_use_and_has_an_owner() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert port_in_use(port)
        if sys.platform == "linux":
            assert str(os.getpid()) in (port_owner(port) or "")
    assert not port_in_use(port)
    assert port_owner(port) is None
