"""Locks between the processes of one host: `flock` on files under `.miroir/locks`.

The kernel frees a lock when its holder dies and only then, so nobody ever takes one from a live process. The owner
is written inside the file for those who wait. A second file, the turnstile, is held only while waiting: it hands the
lock on in turn, so that an import, which takes the lock again at once, does not starve the others.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from miroir_cli.errors import Locked, StateUnavailable
from miroir_cli.store.processes import is_alive, is_stopped, lives_here

if TYPE_CHECKING:
    from miroir_cli.store.journal import Process

POLL = 0.01

STATE = "state"
"""The lock that every command shares while it has the state store open, and that who replaces the store has alone."""

NETWORK_FILE_SYSTEMS = (
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "fuse.sshfs",
    "9p",
    "afs",
    "glusterfs",
    "ceph",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Who holds a lock. `since` is seconds since 1970; `host` is named where several may hold it."""

    pid: int
    command: str
    since: float
    host: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A lock that somebody holds at this moment, by the name of its file. `owner` is None when it has not signed."""

    name: str
    owner: Owner | None
    stopped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Unaware:
    """A process that may answer by an older state: that of `epoch` (0: it has not said which), for so many seconds if
    nothing more is heard of it."""

    process: Process
    epoch: int
    seconds: float


class Locks:
    """The locks of a state file: the protocol `miroir_cli.store.protocol.Locking` for one host.

    `timeout` is how long a command waits for one, in seconds.
    """

    def __init__(self, folder: Path, *, timeout: float = 60.0, command: str = "miroir") -> None:
        self.folder = folder
        self.timeout = timeout
        self.command = command
        self._inside: dict[str, asyncio.Lock] = {}
        self._folder_ready = False

    @asynccontextmanager
    async def order(self, uid: str) -> AsyncIterator[None]:
        """The order lock of an index: whoever sends a write to its replicas holds it.

        Raises `Locked` naming the owner when it is not free in time.
        """
        async with self._held(order_file(uid), turnstile=f"{file_name(uid)}.turn"):
            yield

    @asynccontextmanager
    async def moves(self, uid: str) -> AsyncIterator[None]:
        """Held by whoever moves replicas of an index; a deletion waits for it. Raises `Locked` as `order` does."""
        async with self._held(moves_file(uid), turnstile=None):
            yield

    @asynccontextmanager
    async def once(self, name: str) -> AsyncIterator[None]:
        """A lock that is not waited for: `Locked` at once when somebody has it."""
        async with self._held(name, turnstile=None, timeout=0.0):
            yield

    @asynccontextmanager
    async def shared(self, name: str) -> AsyncIterator[None]:
        """A lock that any number may have together, but none beside `alone`. `Locked` when it is not free in time.

        Where no lock file can be made nobody can have it alone either: then there is nothing to wait for.
        """
        try:
            lock = self._open(name)
        except StateUnavailable:
            yield
            return
        try:
            await self._take(lock, name, deadline=time.monotonic() + self.timeout, mode=fcntl.LOCK_SH)
            with suppress(OSError):
                os.ftruncate(lock, 0)  # whoever signed it had it alone, and is gone
            yield
        finally:
            os.close(lock)

    @asynccontextmanager
    async def alone(self, name: str) -> AsyncIterator[None]:
        """The same lock with nobody beside: waits until all others have given it back."""
        async with self._held(name, turnstile=None):
            yield

    @asynccontextmanager
    async def _held(self, name: str, *, turnstile: str | None, timeout: float | None = None) -> AsyncIterator[None]:
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        mutex = self._inside.setdefault(name, asyncio.Lock())
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                await mutex.acquire()
        except TimeoutError:
            raise self._locked(name) from None
        try:
            lock = await self._wait(name, turnstile=turnstile, deadline=deadline)
            try:
                self._sign(lock)
                yield
            finally:
                with suppress(OSError):
                    os.ftruncate(lock, 0)
                os.close(lock)
        finally:
            mutex.release()

    async def _wait(self, name: str, *, turnstile: str | None, deadline: float) -> int:
        """The descriptor of the lock file once it is locked; the turnstile is held meanwhile."""
        gate = self._open(turnstile) if turnstile else None
        try:
            if gate is not None:
                await self._take(gate, name, deadline=deadline)
            lock = self._open(name)
            try:
                await self._take(lock, name, deadline=deadline)
            except BaseException:
                os.close(lock)
                raise
            return lock
        finally:
            if gate is not None:
                os.close(gate)

    def _open(self, name: str) -> int:
        try:
            if not self._folder_ready:
                self.folder.mkdir(parents=True, exist_ok=True)
                refuse_network_file_system(self.folder)
                self._folder_ready = True
            return os.open(self.folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StateUnavailable(
                f"lock file `{self.folder / name}` cannot be opened: {error.strerror}",
                hint="check the owner, the mode and the free space of the folder",
            ) from error

    async def _take(self, descriptor: int, name: str, *, deadline: float, mode: int = fcntl.LOCK_EX) -> None:
        while True:
            try:
                fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise self._locked(name) from None
            await asyncio.sleep(POLL)

    def _sign(self, descriptor: int) -> None:
        signature = json.dumps({"pid": os.getpid(), "command": self.command, "since": time.time()}).encode()
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, signature, 0)
        except OSError:
            return  # a full disk must not stop a write that holds the lock: the signature is only for those who wait

    def owner(self, name: str) -> Owner | None:
        """Who wrote itself into a lock file last; None when it is free or unreadable."""
        try:
            found = json.loads((self.folder / name).read_text())
            return Owner(pid=int(found["pid"]), command=str(found["command"]), since=float(found["since"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    async def held(self) -> tuple[Held, ...]:
        """The locks that are held now, by the names of their files. Takes none and changes no file.

        The kernel says so where it tells (`/proc/locks`); elsewhere a lock is held while its signer lives.
        """
        return await asyncio.to_thread(self._held_now)

    async def lives(self, process: Process) -> bool:
        """Whether this host has that process; who uses a state file is on the host of the file."""
        return lives_here(process)

    def listener(self, *, limit: float) -> None:
        """A state file is never silent for some and not for others: nobody answers from memory."""

    async def unaware(self, epoch: int) -> tuple[Unaware, ...]:
        """Nobody: see `listener`."""
        return ()

    async def close(self) -> None:
        """Nothing is kept between two locks."""

    def _held_now(self) -> tuple[Held, ...]:
        try:
            files = sorted(file for file in self.folder.iterdir() if file.suffix != ".turn" and file.name != STATE)
            inodes = {file.name: file.stat().st_ino for file in files}
        except OSError:
            return ()
        locked = _locked_inodes()
        found = []
        for name, inode in inodes.items():
            owner = self.owner(name)
            if inode in locked if locked is not None else owner is not None and is_alive(owner.pid):
                found.append(Held(name=name, owner=owner, stopped=owner is not None and is_stopped(owner.pid)))
        return tuple(found)

    def _locked(self, name: str) -> Locked:
        owner = self.owner(name)
        return locked(name, owner, stopped=owner is not None and is_stopped(owner.pid))


def locked(name: str, owner: Owner | None, *, stopped: bool = False) -> Locked:
    """The error for who has waited long enough for a lock."""
    what = "the state is in use" if name == STATE else f"`{name.removesuffix('.order')}` is locked"
    if owner is None:
        return Locked(f"{what} by another process", hint="run the command again when it has ended")
    since = time.strftime("%H:%M:%S", time.localtime(owner.since))
    where = "" if owner.host is None else f" on host `{owner.host}`"
    paused = " (it is stopped: continue it with SIGCONT or kill it)" if stopped else ""
    return Locked(
        f"{what} by process {owner.pid}{where} (`{owner.command}`) since {since}{paused}",
        hint="wait for it and run the command again, or end that process: nothing is lost",
    )


def file_name(uid: str) -> str:
    """A uid as part of a file's name: those too long for a file system are cut and told apart by their hash."""
    return uid if len(uid) <= 200 else f"{uid[:150]}~{hashlib.sha256(uid.encode()).hexdigest()[:32]}"


def order_file(uid: str) -> str:
    """The name of an index's order lock."""
    return f"{file_name(uid)}.order"


def moves_file(uid: str) -> str:
    """The name of the lock of who moves replicas of an index."""
    return f"{file_name(uid)}.moves"


def import_file(uid: str, number: int) -> str:
    """The name of the lock that a running import holds."""
    return f"{file_name(uid)}.import.{number}"


def _locked_inodes() -> frozenset[int] | None:
    """Files on which any process holds a `flock`; None where the kernel does not tell."""
    try:
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return None
    rows = [line.split() for line in lines if " FLOCK " in line and "->" not in line]
    return frozenset(int(row[5].rpartition(":")[2]) for row in rows if len(row) > 5)


def refuse_network_file_system(folder: Path) -> None:
    """`flock` is not kept between hosts on network file systems: refuse one (as far as Linux tells)."""
    if not sys.platform.startswith("linux"):
        return
    try:
        kind = file_system_of(folder, mounts=Path("/proc/self/mounts").read_text())
    except OSError:
        return
    if kind in NETWORK_FILE_SYSTEMS:
        raise StateUnavailable(
            f"folder `{folder}` is on a network file system ({kind}), where locks cannot be trusted",
            hint="put the state file on a local disk (`[state] url` in the topology file)",
        )


def file_system_of(folder: Path, *, mounts: str) -> str:
    """The kind of file system that a folder is on; `mounts` as `/proc/self/mounts` has them."""
    here = folder.resolve()
    best: tuple[int, str] = (-1, "")
    for mount in map(str.split, mounts.splitlines()):
        point = Path(mount[1].replace("\\040", " "))
        if here == point or point in here.parents:
            best = max(best, (len(point.parts), mount[2]))
    return best[1]
