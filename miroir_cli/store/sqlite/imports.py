"""Imports and their batches as rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from miroir_cli.store.journal import KEPT_IMPORTS
from miroir_cli.store.records import BatchRecord, ImportRecord
from miroir_cli.store.sqlite.cluster import from_json, now, to_json

if TYPE_CHECKING:
    from sqlite_utils import Database

    from miroir_cli.model import Json

_COLUMNS = "id, uid, incarnation, fingerprint, options, state, started_at, finished_at, summary"


def _import_of(row: tuple[Any, ...]) -> ImportRecord:
    return ImportRecord(
        id=row[0],
        uid=row[1],
        incarnation=row[2],
        fingerprint=from_json(row[3]),
        options=from_json(row[4]),
        state=row[5],
        started_at=row[6],
        finished_at=row[7],
        summary=from_json(row[8]),
    )


def begin_import(db: Database, *, uid: str, incarnation: int, fingerprint: Json, options: Json) -> ImportRecord:
    """Record an import; the oldest finished ones are forgotten."""
    cursor = db.execute(
        "insert into imports (uid, incarnation, fingerprint, options, state, started_at) "
        "values (?, ?, ?, ?, 'running', ?)",
        [uid, incarnation, to_json(fingerprint), to_json(options), now()],
    )
    id = int(cursor.lastrowid or 0)
    db.execute("delete from imports where finished_at is not null and id <= ?", [id - KEPT_IMPORTS])
    row = db.conn.execute(f"select {_COLUMNS} from imports where id = ?", [id]).fetchone()
    return _import_of(row)


def read_unfinished(db: Database, uid: str | None) -> tuple[ImportRecord, ...]:
    rows = db.conn.execute(
        f"select {_COLUMNS} from imports where state = 'running' and (? is null or uid = ?) order by id",
        [uid, uid],
    )
    return tuple(_import_of(row) for row in rows)


def finish_import(db: Database, id: int, *, state: str, summary: Json) -> None:
    db.execute(
        "update imports set state = ?, finished_at = ?, summary = ? where id = ?",
        [state, now(), to_json(summary), id],
    )


_BATCH = 'import_id, number, source, start, "end", first_line, last_line, documents, rejected, intents, state'


def save_batch(db: Database, batch: BatchRecord) -> None:
    """Insert the batch, or replace what was recorded of it."""
    db.execute(
        f"insert or replace into batches ({_BATCH}) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            batch.import_id,
            batch.number,
            batch.source,
            batch.start,
            batch.end,
            batch.first_line,
            batch.last_line,
            batch.documents,
            batch.rejected,
            to_json({str(n): list(shards) for n, shards in batch.intents.items()}),
            batch.state,
        ],
    )


def read_batches(db: Database, import_id: int) -> tuple[BatchRecord, ...]:
    rows = db.conn.execute(f"select {_BATCH} from batches where import_id = ? order by number", [import_id])
    return tuple(
        BatchRecord(
            import_id=row[0],
            number=row[1],
            source=row[2],
            start=row[3],
            end=row[4],
            first_line=row[5],
            last_line=row[6],
            documents=row[7],
            rejected=row[8],
            intents={int(n): tuple(shards) for n, shards in from_json(row[9]).items()},
            state=row[10],
        )
        for row in rows
    )
