"""Sessions as rows: for each index that a session wrote to, its newest write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from miroir_cli.store.encoding import now
from miroir_cli.store.sessions import KEPT_FOR, MOST_KEPT

if TYPE_CHECKING:
    from sqlite_utils import Database


def remember(db: Database, session: str, uid: str, n: int, *, incarnation: int | None = None) -> None:
    """Note a write of a session to an index, of this incarnation if one is given; nothing when there is none. What was
    written to one that is called otherwise now was searchable before it got that name."""
    db.execute("delete from sessions where expires_at <= ?", [now()])
    db.execute(
        "insert into sessions (session, uid, incarnation, n, expires_at) "
        "select ?, uid, incarnation, ?, ? from indexes where uid = ? and state = 'active' "
        "and (? is null or incarnation = ?) on conflict (session, uid) do update set expires_at = excluded.expires_at, "
        "n = case when incarnation = excluded.incarnation then max(n, excluded.n) else excluded.n end, "
        "incarnation = excluded.incarnation",
        [session, n, now() + KEPT_FOR, uid, incarnation, incarnation],
    )


def forget_oldest(db: Database, *, most: int = MOST_KEPT) -> None:
    """Leave no more than `most`, the newest."""
    row = db.conn.execute(
        "select expires_at from sessions order by expires_at desc limit 1 offset ?", [most]
    ).fetchone()
    if row:
        db.execute("delete from sessions where expires_at <= ?", [row[0]])


def read_unsettled(db: Database, session: str, uid: str) -> int | None:
    """The newest write of a session to the index as it is now, while it is not settled."""
    row = db.conn.execute(
        "select s.n from sessions s join indexes i on i.uid = s.uid and i.incarnation = s.incarnation "
        "where s.session = ? and s.uid = ? and s.expires_at > ? and i.state = 'active' and s.n > i.settled",
        [session, uid, now()],
    ).fetchone()
    return int(row[0]) if row else None
