"""The processes of this host, as its kernel knows them, and how they are named where other hosts read it."""

from __future__ import annotations

import hashlib
import os
import socket
from functools import cache
from pathlib import Path

from miroir_cli.store.journal import Process


def this_process() -> Process:
    """The process that asks."""
    pid = os.getpid()
    return Process(host=host_name(), pid=pid, born=born(pid) or "")


@cache
def host_name() -> str:
    """The name of this host."""
    return socket.gethostname()


def lives_here(process: Process) -> bool:
    """Whether this host has a process of this number, and it is that one as far as can be told."""
    return is_alive(process.pid) and (not process.born or born(process.pid) in (None, process.born))


def called(process: Process) -> str:
    """A process in words: its host is named when it is not this one."""
    where = "" if process.host in ("", host_name()) else f" on host `{process.host}`"
    return f"process {process.pid}{where}"


@cache
def kernel() -> str:
    """What processes have in common that see each other: the boot of their host, and their space of numbers."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
        seen = f"{boot}{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        seen = host_name()
    return hashlib.sha256(seen.encode()).hexdigest()[:16]


def is_alive(pid: int) -> bool:
    """Whether a process exists on this host."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def born(pid: int) -> str | None:
    """What tells a process from another one of the same number: when it began, as far as `/proc` tells."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 else None


def is_stopped(pid: int) -> bool:
    """Whether a process exists and is stopped (state T), as far as `/proc` tells."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[:1] in (["T"], ["t"])
