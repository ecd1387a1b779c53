"""Canaries as rows, and the part of the store that is about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from miroir_cli.store.encoding import from_json, to_json
from miroir_cli.store.records_canaries import KEPT_CANARY_RUNS, Canary, CanaryRun, CanaryStatus
from miroir_cli.store.sqlite.access import Access

if TYPE_CHECKING:
    from sqlite_utils import Database

_CANARY = "id, name, index_uid, interval_s, query, assertions, enabled, created_at"
_RUN = "canary_id, ran_at, status, latency_ms, failed_assertions"


class CanaryRows(Access):
    """Methods of the protocol `miroir_cli.store.protocol.Store`."""

    async def save_canary(self, canary: Canary) -> None:
        await self._write(lambda db: save_canary(db, canary))

    async def canary(self, id: str) -> Canary | None:
        rows = self._read(lambda db: db.conn.execute(f"select {_CANARY} from canaries where id = ?", [id]).fetchall())
        return _canary_of(rows[0]) if rows else None

    async def canaries(self) -> tuple[Canary, ...]:
        rows = self._read(lambda db: db.conn.execute(f"select {_CANARY} from canaries order by id").fetchall())
        return tuple(map(_canary_of, rows))

    async def delete_canary(self, id: str) -> bool:
        return await self._write(lambda db: db.execute("delete from canaries where id = ?", [id]).rowcount > 0)

    async def add_canary_run(self, run: CanaryRun) -> bool:
        return await self._write(lambda db: add_run(db, run))

    async def canary_runs(self, id: str, *, limit: int = KEPT_CANARY_RUNS) -> tuple[CanaryRun, ...]:
        return self._read(lambda db: read_runs(db, id, limit=limit))


def save_canary(db: Database, canary: Canary) -> None:
    db.execute(
        f"insert into canaries ({_CANARY}) values (?, ?, ?, ?, ?, ?, ?, ?) on conflict (id) do update set "
        "name = excluded.name, index_uid = excluded.index_uid, interval_s = excluded.interval_s, "
        "query = excluded.query, assertions = excluded.assertions, enabled = excluded.enabled, "
        "created_at = excluded.created_at",
        [
            canary.id,
            canary.name,
            canary.index_uid,
            canary.interval_s,
            to_json(canary.query),
            to_json(canary.assertions),
            int(canary.enabled),
            canary.created_at,
        ],
    )


def _canary_of(row: tuple[Any, ...]) -> Canary:
    return Canary(
        id=row[0],
        name=row[1],
        index_uid=row[2],
        interval_s=row[3],
        query=from_json(row[4]),
        assertions=tuple(from_json(row[5])),
        enabled=bool(row[6]),
        created_at=row[7],
    )


def add_run(db: Database, run: CanaryRun) -> bool:
    if not db.conn.execute("select 1 from canaries where id = ?", [run.canary_id]).fetchone():
        return False
    db.execute(
        f"insert or replace into canary_runs ({_RUN}) values (?, ?, ?, ?, ?)",
        [run.canary_id, run.ran_at, run.status.value, run.latency_ms, to_json(run.failed_assertions)],
    )
    db.execute(
        "delete from canary_runs where canary_id = ? and ran_at <= "
        "(select ran_at from canary_runs where canary_id = ? order by ran_at desc limit 1 offset ?)",
        [run.canary_id, run.canary_id, KEPT_CANARY_RUNS],
    )
    return True


def read_runs(db: Database, id: str, *, limit: int) -> tuple[CanaryRun, ...]:
    rows = db.conn.execute(
        f"select {_RUN} from canary_runs where canary_id = ? order by ran_at desc limit ?", [id, limit]
    )
    return tuple(
        CanaryRun(
            canary_id=row[0],
            ran_at=row[1],
            status=CanaryStatus(row[2]),
            latency_ms=row[3],
            failed_assertions=tuple(from_json(row[4])),
        )
        for row in rows
    )
