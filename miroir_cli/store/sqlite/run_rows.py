"""The part of the store that is about runs and the journal of commands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from miroir_cli.store.journal import RunKind
from miroir_cli.store.sqlite import commands, runs
from miroir_cli.store.sqlite.access import Access

if TYPE_CHECKING:
    from miroir_cli.model import Json
    from miroir_cli.store.journal import (
        CommandRecord,
        JournalQuery,
        Process,
        RunId,
        RunRecord,
        RunState,
        StepEvent,
        StepRecord,
        Wanted,
    )


class RunRows(Access):
    """Methods of the protocol `miroir_cli.store.protocol.Store`."""

    # -- runs

    async def begin_run(self, run: RunRecord, steps: Sequence[StepRecord]) -> RunRecord:
        return await self._write(lambda db: runs.begin_run(db, run, steps))

    async def adopt_run(self, id: RunId, *, process: Process, command: str) -> RunRecord:
        return await self._write(lambda db: runs.adopt_run(db, id, process=process, command=command))

    async def run(self, id: RunId) -> RunRecord | None:
        return self._read(lambda db: runs.read_run(db, id))

    async def runs(self, *, limit: int = 20) -> tuple[RunRecord, ...]:
        return self._read(lambda db: runs.read_runs(db, limit=limit))

    async def unfinished_run(self, kind: RunKind = RunKind.REBALANCE) -> RunRecord | None:
        return self._read(lambda db: runs.read_unfinished(db, kind=kind))

    async def control_run(
        self,
        id: RunId,
        *,
        command: str,
        wanted: Wanted | None = None,
        rate: int | None = None,
        parallel: int | None = None,
    ) -> None:
        await self._write(
            lambda db: runs.control_run(db, id, wanted=wanted, rate=rate, parallel=parallel, command=command)
        )

    async def save_run(self, id: RunId, *, state: RunState, summary: Json | None = None) -> None:
        await self._write(lambda db: runs.save_run(db, id, state=state, summary=summary))

    async def steps(self, id: RunId) -> tuple[StepRecord, ...]:
        return self._read(lambda db: runs.read_steps(db, id))

    async def save_step(self, id: RunId, step: StepRecord, *, detail: str = "") -> None:
        await self._write(lambda db: runs.save_step(db, id, step, detail=detail))

    async def switching(self, uid: str) -> tuple[Process, ...]:
        """The processes whose runs are about to switch a shard of the index."""
        return self._read(lambda db: runs.read_switching(db, uid))

    async def events(self, id: RunId) -> tuple[StepEvent, ...]:
        return self._read(lambda db: runs.read_events(db, id))

    # -- commands

    async def save_command(self, record: CommandRecord, *, durable: bool) -> None:
        await self._write(lambda db: commands.save_command(db, record), durable=durable)

    async def commands(self, query: JournalQuery) -> tuple[CommandRecord, ...]:
        return self._read(lambda db: commands.read_commands(db, query))

    async def command(self, id: int) -> CommandRecord | None:
        return self._read(lambda db: commands.read_command(db, id))
