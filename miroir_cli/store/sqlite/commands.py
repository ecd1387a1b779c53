"""The journal of commands, as rows."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from miroir_cli.store.journal import KEPT_COMMANDS, KEPT_DAYS, CommandRecord, JournalQuery, RunId
from miroir_cli.store.sqlite.cluster import now

if TYPE_CHECKING:
    from sqlite_utils import Database

_FIELDS = (
    "mark, words, line, cluster, user, host, pid, started_at, born, behind, folder, topology, finished_at, status, "
    "code, result"
)
_NAMES = _FIELDS.split(", ")


def save_command(db: Database, record: CommandRecord) -> None:
    """Record a command, or how one that is recorded has ended. What is too old, or too much, is forgotten."""
    ended = db.execute(
        "update commands set finished_at = ?, status = ?, code = ?, result = ? where mark = ?",
        [record.finished_at, record.status, record.code, record.result, record.mark],
    )
    if not ended.rowcount:
        values = [getattr(record, name) for name in _NAMES]
        db.execute(f"insert into commands ({_FIELDS}) values ({', '.join('?' * len(_NAMES))})", values)
    if record.finished_at is None:
        db.execute(
            "delete from commands where id <= (select max(id) from commands) - ? or started_at < ?",
            [KEPT_COMMANDS, now() - KEPT_DAYS * 86_400_000],
        )


def read_commands(db: Database, query: JournalQuery) -> tuple[CommandRecord, ...]:
    """The newest commands that match, newest first."""
    rows = db.conn.execute(
        f"select id, {_FIELDS} from commands where started_at >= ? order by id desc", [query.since or 0]
    )
    wanted = filter(query.wants, map(_command_of, rows))
    return tuple(_with_runs(db, record) for record in islice(wanted, query.limit))


def read_command(db: Database, id: int) -> CommandRecord | None:
    row = db.conn.execute(f"select id, {_FIELDS} from commands where id = ?", [id]).fetchone()
    return _with_runs(db, _command_of(row)) if row else None


def _command_of(row: tuple[Any, ...]) -> CommandRecord:
    return CommandRecord(id=row[0], **dict(zip(_NAMES, row[1:], strict=True)))


def _with_runs(db: Database, record: CommandRecord) -> CommandRecord:
    """With the runs that its process began, went on with or steered while it was under way."""
    rows = db.conn.execute(
        "select distinct run from step_events "
        "where step is null and pid = ? and host in ('', ?) and at between ? and ? order by run",
        [record.pid, record.host, record.started_at, record.finished_at or now()],
    )
    return replace(record, runs=tuple(RunId(row[0]) for row in rows))
