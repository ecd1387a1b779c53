"""The journal's record of one command: begun once its state store is open, ended with what became of it."""

from __future__ import annotations

import os
import socket
import time
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from miroir_cli.cli.failure import as_miroir_error, one_line
from miroir_cli.errors import Interrupted, MiroirError
from miroir_cli.secrecy import secrets_of, text_without_secrets

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.store.journal import CommandRecord
    from miroir_cli.topology.file import Topology


@dataclass(slots=True, kw_only=True)
class Recorder:
    """What becomes the record of this process's command. `words`: its name; `line`: without secrets.

    The beginning is on the disk before the command's first effect. The end may be lost with the power, not with the
    process: then the command shows as one that was never finished.
    """

    words: str
    line: str
    result: str | None = None
    """What the command told first of its result."""
    record: CommandRecord | None = field(default=None, init=False)
    trouble: str | None = field(default=None, init=False)
    """Why the beginning could not be recorded: a command's own error says more, if it has one."""
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack, init=False)
    _cluster: Cluster | None = field(default=None, init=False)
    _topology: Topology | None = field(default=None, init=False)

    def describe(self, topology: Topology) -> CommandRecord:
        """Who gives the command and where, at this moment."""
        from miroir_cli.store.journal import CommandRecord
        from miroir_cli.store.processes import born

        pid, now = os.getpid(), time.time_ns()
        self.record = CommandRecord(
            mark=f"{socket.gethostname()}:{pid}:{now}",
            words=self.words,
            line=self.line,
            cluster=topology.cluster.name,
            user=user_name(),
            host=socket.gethostname(),
            pid=pid,
            started_at=now // 1_000_000,
            born=born(pid),
            behind=os.environ.get("SUDO_USER") or os.environ.get("DOAS_USER"),
            folder=_working_folder(),
            topology=str(topology.path.absolute()),
        )
        self._topology = topology
        return self.record

    async def open(self, opening: AbstractAsyncContextManager[Cluster]) -> Cluster:
        """Open the cluster, which stays open until `end`, and record that the command has begun.

        A state that cannot be written is the command's own trouble.
        """
        self._cluster = await self._stack.enter_async_context(opening)
        try:
            await self._cluster.store.save_command(self.describe(self._cluster.topology), durable=True)
        except MiroirError as error:
            self.trouble = error.message
        return self._cluster

    async def end(self, error: BaseException | None) -> None:
        """Record how the command ended, and close what it had open."""
        async with self._stack:
            if self.record is None or self.trouble is not None:
                return
            ended = self.ended(self.record, error)
            with suppress(MiroirError):
                if self._cluster is not None:
                    await self._cluster.store.save_command(ended, durable=False)
                else:
                    await _save_whole(self._topology, ended)

    def ended(self, record: CommandRecord, error: BaseException | None) -> CommandRecord:
        """The record with its end."""
        from miroir_cli.store.journal import INTERRUPTED

        known = as_miroir_error(error) if isinstance(error, Exception) else None
        if known is not None:
            status = 128 + known.signal_number if isinstance(known, Interrupted) else known.exit_status
        else:
            status = INTERRUPTED if error is not None else 0
        said = known.message if known is not None else self.result
        return replace(
            record,
            finished_at=time.time_ns() // 1_000_000,
            status=status,
            code=known.code if known is not None else None,
            result=None if said is None else _kept(said),
        )


async def _save_whole(topology: Topology | None, record: CommandRecord) -> None:
    """For a command that makes a new state: it is recorded there, once that is in its place."""
    import asyncio

    from miroir_cli.store.backend import backend_of

    if topology is None or not (topology.state.shared or await asyncio.to_thread(topology.state_path.exists)):
        return
    async with AsyncExitStack() as stack:
        backend = await backend_of(topology)
        stack.push_async_callback(backend.close)
        store = await backend.open()
        stack.push_async_callback(store.close)
        if not topology.state.shared or await store.cluster() is not None:
            await store.save_command(record, durable=True)


def _kept(text: str) -> str:
    from miroir_cli.store.journal import LONGEST_RESULT

    return one_line(text_without_secrets(text, known=secrets_of(os.environ)))[:LONGEST_RESULT]


def user_name() -> str:
    """The user that this process acts as; its number when it has no name."""
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _working_folder() -> str | None:
    try:
        return str(Path.cwd())
    except OSError:
        return None
