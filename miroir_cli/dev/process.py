"""Local processes, told apart by pid and start, so that a signal never reaches a stranger who got an old pid.

Owns what differs between Linux (`/proc`, pidfd) and macOS (`ps`): when a process began, whether it ended, and
who holds a port.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from miroir_cli.errors import MiroirError

LOOPBACK = "127.0.0.1"

TERMINATE_TIMEOUT = 10.0
KILL_TIMEOUT = 5.0
POLL = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process of this machine. `start` names the moment it began, in the system's own words."""

    pid: int
    start: str


def spawn(command: list[str], *, environ: Mapping[str, str], log: Path) -> Process:
    """Start a command in a session of its own (Ctrl-C does not reach it), its output appended to `log`.

    Raises OSError when the command cannot be executed.
    """
    descriptors = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    ignored_here = [signal.SIGPIPE, signal.SIGINT, signal.SIGTERM]
    pid = os.posix_spawn(command[0], command, environ, file_actions=descriptors, setsid=True, setsigdef=ignored_here)
    return Process(pid=pid, start=start_of(pid) or "")


def start_of(pid: int) -> str | None:
    """When the process with this pid began; None when there is none, or one that ended and is not reaped.

    On Linux the boot and the clock ticks since, else what `ps` calls the start, to the second.
    """
    if sys.platform == "linux":
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return None
        state, *fields = stat.rpartition(")")[2].split()
        return None if state in "ZX" else f"{boot} {fields[18]}"
    answer = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LC_ALL": "C", "TZ": "UTC"},
    )
    state, _, start = answer.stdout.strip().partition(" ")
    return None if not start or state.startswith("Z") else start.strip()


def alive(process: Process) -> bool:
    """Whether this very process still runs; a child of ours that ended is reaped on the way."""
    _reap(process.pid)
    return process.start != "" and start_of(process.pid) == process.start


def send(process: Process, number: signal.Signals) -> bool:
    """Signal this very process; False, and nothing sent, when it ended, even if its pid is in use."""
    if sys.platform != "linux":
        if not alive(process):
            return False
        os.kill(process.pid, number)
        return True
    try:
        descriptor = os.pidfd_open(process.pid)
    except (ProcessLookupError, PermissionError):
        return False
    try:
        if not alive(process):
            return False
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


class Local(Protocol):
    """Something that runs in a process of its own here, or has run."""

    @property
    def name(self) -> str: ...
    @property
    def process(self) -> Process | None: ...
    @property
    def runs(self) -> bool: ...


def end(processes: Iterable[Local]) -> frozenset[str]:
    """End these, with SIGTERM and after ten seconds with SIGKILL; the names of those that only that could end. Blocks.

    Raises `MiroirError` when one outlives it.
    """
    left = [each for each in processes if each.process is not None and send(each.process, signal.SIGTERM)]
    left = _wait_for_end(left, TERMINATE_TIMEOUT)
    stubborn = frozenset(each.name for each in left if each.process is not None and send(each.process, signal.SIGKILL))
    left = _wait_for_end(left, KILL_TIMEOUT)
    if left:
        named = ", ".join(f"`{each.name}` (pid {each.process.pid})" for each in left if each.process is not None)
        raise MiroirError(f"{named} did not end within {KILL_TIMEOUT:g} s of SIGKILL")
    return stubborn


def _wait_for_end(processes: list[Local], timeout: float) -> list[Local]:
    """Those that still run after at most `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while (left := [each for each in processes if each.runs]) and time.monotonic() < deadline:
        time.sleep(POLL)
    return left


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def port_in_use(port: int) -> bool:
    """Whether a server on loopback could not take this port now."""
    with closing(socket.socket()) as probe:
        probe.settimeout(1)
        if probe.connect_ex((LOOPBACK, port)) == 0:
            return True
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return True
    return False


def listens(process: Process, port: int) -> bool:
    """Whether it is this process that listens on a port; where `/proc` does not tell, whether it runs at all."""
    if not alive(process):
        return False
    sockets = _listening(port)
    return bool(sockets & _open_files(Path("/proc", str(process.pid)))) if sockets else True


def port_owner(port: int) -> str | None:
    """Name and pid of the process that listens on a port, as far as `/proc` shows it to us."""
    sockets = _listening(port)
    for directory in Path("/proc").glob("[0-9]*") if sockets else ():
        if sockets & _open_files(directory):
            with suppress(OSError):
                return f"`{(directory / 'comm').read_text().strip()}`, pid {directory.name}"
    return None


def _open_files(process: Path) -> set[str]:
    """What the open files of a process are called, as far as we may see them."""
    found: set[str] = set()
    with suppress(OSError):
        for descriptor in os.listdir(process / "fd"):
            with suppress(OSError):
                found.add(os.readlink(process / "fd" / descriptor))
    return found


def _listening(port: int) -> set[str]:
    """The sockets that listen on a port, spelled as the links of `/proc/<pid>/fd` spell them."""
    listening = "0A"
    found: set[str] = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = Path("/proc/net", table).read_text().splitlines()[1:]
        except OSError:
            continue
        rows = [line.split() for line in lines]
        found |= {f"socket:[{row[9]}]" for row in rows if row[3] == listening and int(row[1][-4:], 16) == port}
    return found
