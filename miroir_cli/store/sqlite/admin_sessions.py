"""Sessions of admins as rows, and the part of the store that is about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from miroir_cli.store.encoding import now
from miroir_cli.store.records_services import AdminSession
from miroir_cli.store.sqlite.access import Access

if TYPE_CHECKING:
    from sqlite_utils import Database

_NAMES = (
    "session_id", "csrf_token", "admin_key_hash", "created_at", "expires_at", "revoked", "user_agent", "source_ip"
)  # fmt: skip
_COLUMNS = ", ".join(_NAMES)


class AdminSessionRows(Access):
    """Methods of the protocol `miroir_cli.store.protocol.Store`."""

    async def add_admin_session(self, session: AdminSession) -> None:
        await self._write(lambda db: add_session(db, session))

    async def admin_session(self, session_id: str) -> AdminSession | None:
        return next(iter(self._read(lambda db: read_sessions(db, session_id))), None)

    async def admin_sessions(self) -> tuple[AdminSession, ...]:
        return self._read(lambda db: read_sessions(db, None))

    async def revoke_admin_session(self, session_id: str) -> bool:
        statement = "update admin_sessions set revoked = 1 where session_id = ? and expires_at > ?"
        return await self._write(lambda db: db.execute(statement, [session_id, now()]).rowcount > 0)


def add_session(db: Database, session: AdminSession) -> None:
    """Record a session; those that have ended are forgotten."""
    db.execute("delete from admin_sessions where expires_at <= ?", [now()])
    db.execute(
        f"insert or replace into admin_sessions ({_COLUMNS}) values (?, ?, ?, ?, ?, ?, ?, ?)",
        [getattr(session, name) for name in _NAMES],
    )


def read_sessions(db: Database, session_id: str | None) -> tuple[AdminSession, ...]:
    rows = db.conn.execute(
        f"select {_COLUMNS} from admin_sessions where (? is null or session_id = ?) and expires_at > ? "
        "order by expires_at, session_id",
        [session_id, session_id, now()],
    )
    return tuple(map(_session_of, rows))


def _session_of(row: Sequence[Any]) -> AdminSession:
    fields = dict(zip(_NAMES, row, strict=True))
    return AdminSession(**{**fields, "revoked": bool(fields["revoked"])})
