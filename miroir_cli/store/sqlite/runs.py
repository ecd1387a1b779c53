"""Runs, their steps and the journal of both, as rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from miroir_cli.errors import NotFound
from miroir_cli.model import IndexUid, Json, NodeName, ShardId
from miroir_cli.store.journal import (
    KEPT_RUNS,
    Process,
    RunId,
    RunKind,
    RunRecord,
    RunState,
    StepEvent,
    StepRecord,
    StepState,
    Wanted,
)
from miroir_cli.store.processes import this_process
from miroir_cli.store.sqlite.cluster import from_json, now, to_json

if TYPE_CHECKING:
    from sqlite_utils import Database

_RUN = (
    "id, kind, title, state, wanted, parallel, rate, pid, command, fingerprint, started_at, finished_at, summary, "
    "host, born"
)
_STEP = "number, uid, incarnation, shard, target, leaving, repair, state, documents, copied, pause, error"


def begin_run(db: Database, run: RunRecord, steps: Sequence[StepRecord]) -> RunRecord:
    """Record a run with its steps before anything of it happens; returns it with its id."""
    cursor = db.execute(
        "insert into runs (kind, title, state, wanted, parallel, rate, pid, command, fingerprint, started_at, summary, "
        "host, born) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            run.kind.value,
            run.title,
            run.state.value,
            run.wanted.value,
            run.parallel,
            run.rate,
            run.process.pid,
            run.command,
            run.fingerprint,
            now(),
            to_json(run.summary),
            run.process.host,
            run.process.born,
        ],
    )
    id = RunId(int(cursor.lastrowid or 0))
    db.conn.executemany(
        f"insert into steps (run, {_STEP}) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [(id, *_step_row(step)) for step in steps],
    )
    _note(db, id, None, process=run.process, command=run.command, state="begun", detail=f"{len(steps)} steps")
    db.execute("delete from runs where finished_at is not null and id <= ?", [id - KEPT_RUNS])
    return require_run(db, id)


def _step_row(step: StepRecord) -> tuple[Any, ...]:
    return (
        step.number,
        step.index,
        step.incarnation,
        step.shard,
        step.target,
        step.leaving,
        int(step.repair),
        step.state.value,
        step.documents,
        step.copied,
        step.pause,
        step.error,
    )


def _run_of(row: tuple[Any, ...]) -> RunRecord:
    return RunRecord(
        id=RunId(row[0]),
        kind=RunKind(row[1]),
        title=row[2],
        state=RunState(row[3]),
        wanted=Wanted(row[4]),
        parallel=row[5],
        rate=row[6],
        process=Process(host=row[13], pid=row[7], born=row[14]),
        command=row[8],
        fingerprint=row[9],
        started_at=row[10],
        finished_at=row[11],
        summary=from_json(row[12]),
    )


def read_run(db: Database, id: RunId) -> RunRecord | None:
    row = db.conn.execute(f"select {_RUN} from runs where id = ?", [id]).fetchone()
    return _run_of(row) if row else None


def require_run(db: Database, id: RunId) -> RunRecord:
    found = read_run(db, id)
    if found is None:
        raise NotFound(f"run {id} not found", hint="run `miroir journal list`")
    return found


def read_runs(db: Database, *, limit: int) -> tuple[RunRecord, ...]:
    """The newest runs, newest first."""
    return tuple(map(_run_of, db.conn.execute(f"select {_RUN} from runs order by id desc limit ?", [limit])))


def read_unfinished(db: Database, *, kind: RunKind) -> RunRecord | None:
    """The oldest run of a kind that has not ended."""
    row = db.conn.execute(
        f"select {_RUN} from runs where finished_at is null and kind = ? order by id limit 1", [kind.value]
    ).fetchone()
    return _run_of(row) if row else None


def read_open_runs(db: Database, uid: str) -> tuple[RunRecord, ...]:
    """Unfinished runs with a step of an index that has not ended."""
    rows = db.conn.execute(
        f"select {_RUN} from runs where finished_at is null and id in "
        "(select run from steps where uid = ? and state not in ('done', 'cancelled')) order by id",
        [uid],
    )
    return tuple(map(_run_of, rows))


def adopt_run(db: Database, id: RunId, *, process: Process, command: str) -> RunRecord:
    """Another process drives the run from now on."""
    require_run(db, id)
    db.execute(
        "update runs set pid = ?, host = ?, born = ?, command = ?, state = 'running', wanted = 'go' where id = ?",
        [process.pid, process.host, process.born, command, id],
    )
    _note(db, id, None, process=process, command=command, state="resumed")
    return require_run(db, id)


def control_run(
    db: Database, id: RunId, *, wanted: Wanted | None, rate: int | None, parallel: int | None, command: str
) -> None:
    """Say what is wanted of a run; a number replaces its `rate` (0: none) or `parallel`."""
    require_run(db, id)
    if wanted is not None:
        db.execute("update runs set wanted = ? where id = ?", [wanted.value, id])
        _note(db, id, None, process=this_process(), command=command, state=f"asked: {wanted}")
    for name, value in (("rate", rate), ("parallel", parallel)):
        if value is not None:
            db.execute(f"update runs set {name} = ? where id = ?", [value or None, id])
            _note(db, id, None, process=this_process(), command=command, state=f"{name}: {value}")


def save_run(db: Database, id: RunId, *, state: RunState, summary: Json | None) -> None:
    run = require_run(db, id)
    db.execute(
        "update runs set state = ?, finished_at = ?, summary = ? where id = ?",
        [state.value, now() if state.ended else None, to_json(run.summary if summary is None else summary), id],
    )
    if state is not run.state:
        _note(db, id, None, process=run.process, command=run.command, state=state.value)
    if state.ended:
        db.execute(
            "delete from movers where created_at < ? and not exists (select 1 from runs where finished_at is null)",
            [now() - 7 * 24 * 3_600_000],
        )


def read_steps(db: Database, id: RunId) -> tuple[StepRecord, ...]:
    rows = db.conn.execute(f"select {_STEP} from steps where run = ? order by number", [id])
    return tuple(
        StepRecord(
            number=row[0],
            index=IndexUid(row[1]),
            incarnation=row[2],
            shard=ShardId(row[3]),
            target=None if row[4] is None else NodeName(row[4]),
            leaving=None if row[5] is None else NodeName(row[5]),
            repair=bool(row[6]),
            state=StepState(row[7]),
            documents=row[8],
            copied=row[9],
            pause=row[10],
            error=row[11],
        )
        for row in rows
    )


def read_switching(db: Database, uid: str) -> tuple[Process, ...]:
    rows = db.conn.execute(
        "select distinct host, pid, born from runs join steps on run = id "
        "where finished_at is null and wanted = 'go' and uid = ? and steps.state = 'switching' and error is null",
        [uid],
    )
    return tuple(Process(host=row[0], pid=row[1], born=row[2]) for row in rows)


def save_step(db: Database, id: RunId, step: StepRecord, *, detail: str) -> None:
    """Record how far a step is; a new state, or a detail, is a line of the journal."""
    run = require_run(db, id)
    before = db.conn.execute("select state from steps where run = ? and number = ?", [id, step.number]).fetchone()
    db.execute(
        f"insert or replace into steps (run, {_STEP}) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [id, *_step_row(step)],
    )
    if detail or before is None or before[0] != step.state:
        _note(db, id, step.number, process=run.process, command=run.command, state=step.state.value, detail=detail)


def _note(
    db: Database, id: RunId, step: int | None, *, process: Process, command: str, state: str, detail: str = ""
) -> None:
    db.execute(
        "insert into step_events (run, step, at, pid, host, command, state, detail) values (?, ?, ?, ?, ?, ?, ?, ?)",
        [id, step, now(), process.pid, process.host, command, state, detail],
    )


def read_events(db: Database, id: RunId) -> tuple[StepEvent, ...]:
    rows = db.conn.execute(
        "select step, at, pid, host, command, state, detail from step_events where run = ? order by rowid", [id]
    )
    return tuple(
        StepEvent(
            step=row[0],
            at=row[1],
            process=Process(host=row[3], pid=row[2]),
            command=row[4],
            state=row[5],
            detail=row[6],
        )
        for row in rows
    )
