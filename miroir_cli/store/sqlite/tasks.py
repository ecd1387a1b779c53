"""Tasks of clients, idempotency keys and webhooks as rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from miroir_cli.store.encoding import from_json, now, to_json
from miroir_cli.store.refusals import work_ahead
from miroir_cli.store.sqlite.task_queries import UNFINISHED, read_task
from miroir_cli.store.tasks import NewTask, Reservation, Task, TaskEnd, Webhook

if TYPE_CHECKING:
    from sqlite_utils import Database

_IDS_AT_ONCE = 10_000


def add_task(db: Database, task: NewTask, *, end: TaskEnd | None = None, intent: tuple[int, int] | None = None) -> Task:
    """Record a task under the next uid. `intent`: the incarnation and number of the one it stands for.

    `end`: it is final from the start; its `uid` does not count.
    """
    incarnation, n = intent or (None, None)
    row = db.conn.execute(
        "insert into tasks (uid, index_uid, touched, type, status, details, enqueued_at, custom_metadata, incarnation, "
        "n, owner, documents) "
        "values (case when exists (select 1 from sqlite_sequence where name = 'tasks') then null else 0 end, "
        "?, ?, ?, 'enqueued', ?, ?, ?, ?, ?, ?, ?) returning uid",
        [
            task.index_uid,
            None if task.indexes is None else to_json(task.touched),
            task.type,
            _json(task.details),
            now(),
            task.custom_metadata,
            incarnation,
            n,
            task.owner,
            task.documents,
        ],
    ).fetchone()
    uid = int(row[0])
    db.conn.executemany(
        "insert into task_indexes (index_uid, task) values (?, ?)", [(index, uid) for index in task.touched]
    )
    if task.key is not None:
        db.execute("update idempotency_cache set task_uid = ? where key = ?", [uid, task.key])
    if end is not None:
        _end(db, uid, end)
    found = read_task(db, uid)
    assert found is not None
    return found


def require_idle(db: Database, index_uid: str) -> None:
    """Raise `WorkAhead` when work of the index that is no intent has not ended: writes keep behind it."""
    row = db.conn.execute(
        f"select t.uid from task_indexes i join tasks t on t.uid = i.task where i.index_uid = ? and {UNFINISHED} "
        "and n is null limit 1",
        [index_uid],
    ).fetchone()
    if row is not None:
        raise work_ahead(index_uid, row[0])


def begin_task(db: Database, uid: int) -> bool:
    """Mark a task as being worked on; False when it is not waiting any more."""
    changed = db.conn.execute(
        "update tasks set status = 'processing', started_at = ? where uid = ? and status = 'enqueued'", [now(), uid]
    )
    return changed.rowcount == 1


def end_tasks(db: Database, ends: Iterable[TaskEnd]) -> int:
    """End tasks; one that has ended stays as it is. Returns how many did."""
    return sum(_end(db, end.uid, end) for end in ends)


def _end(db: Database, uid: int, end: TaskEnd) -> int:
    changed = db.conn.execute(
        "update tasks set status = ?, started_at = coalesce(?, started_at), finished_at = ?, "
        "details = coalesce(?, details), error = ?, canceled_by = ?, node_tasks = ? "
        f"where uid = ? and {UNFINISHED}",
        [
            end.status.value,
            end.started_at,
            end.finished_at,
            _json(end.details),
            _json(end.error),
            end.canceled_by,
            to_json({node: list(tasks) for node, tasks in end.node_tasks.items()}),
            uid,
        ],
    )
    return changed.rowcount


def cancel_tasks(db: Database, uids: Iterable[int], *, by: int) -> tuple[int, ...]:
    """Cancel those that nobody has begun and that are no write; which ones that were."""
    canceled = []
    for uid in uids:
        changed = db.conn.execute(
            "update tasks set status = 'canceled', finished_at = ?, canceled_by = ? "
            "where uid = ? and uid <> ? and status = 'enqueued' and n is null",
            [now(), by, uid, by],
        )
        if changed.rowcount:
            canceled.append(uid)
    return tuple(canceled)


def drop_task(db: Database, uid: int) -> None:
    """Forget a task whose request was refused after all: its client was told, and may use the key again."""
    db.execute("delete from idempotency_cache where task_uid = ?", [uid])
    db.execute("delete from tasks where uid = ?", [uid])


def delete_tasks(db: Database, uids: Iterable[int]) -> int:
    """Delete those that have ended; how many."""
    deleted = 0
    for chunk in _chunks(uids):
        marks = ",".join("?" * len(chunk))
        deleted += db.conn.execute(
            f"delete from tasks where uid in ({marks}) and not {UNFINISHED}", list(chunk)
        ).rowcount
    return deleted


def prune_tasks(db: Database, *, before: int, keep: int) -> int:
    """Delete what ended before a moment, and the oldest of more than `keep`; idempotency keys that have run out."""
    db.execute("delete from idempotency_cache where expires_at <= ?", [now()])
    return db.conn.execute(
        f"delete from tasks where not {UNFINISHED} and told = 1 and (finished_at < ? or uid < "
        "coalesce((select uid from tasks order by uid desc limit 1 offset ?), 0))",
        [before, max(0, keep - 1)],
    ).rowcount


def tell(db: Database, uids: Iterable[int]) -> None:
    db.conn.executemany("update tasks set told = 1 where uid = ?", [(uid,) for uid in uids])


def lowest_unfinished(db: Database, index_uid: str) -> int | None:
    """The lowest intent of an index whose task has not ended."""
    row = db.conn.execute(
        f"select min(n) from tasks where index_uid = ? and n is not null and {UNFINISHED}", [index_uid]
    ).fetchone()
    return None if row[0] is None else int(row[0])


# -- idempotency keys


def reserve(db: Database, reservation: Reservation, *, expires_at: int) -> Reservation | None:
    """Take a key for a request; None when that worked, otherwise what the key stands for."""
    db.execute("delete from idempotency_cache where key = ? and expires_at <= ?", [reservation.key, now()])
    row = db.conn.execute(
        "select key, body_sha256, task_uid, owner, reserved_at from idempotency_cache where key = ?", [reservation.key]
    ).fetchone()
    if row is not None:
        return Reservation(key=row[0], digest=row[1], task=row[2], owner=row[3], reserved_at=row[4])
    db.execute(
        "insert into idempotency_cache (key, body_sha256, task_uid, owner, reserved_at, expires_at) "
        "values (?, ?, ?, ?, ?, ?)",
        [reservation.key, reservation.digest, reservation.task, reservation.owner, now(), expires_at],
    )
    return None


def release(db: Database, reservation: Reservation) -> None:
    """Give a key back that stands for no task."""
    db.execute(
        "delete from idempotency_cache where key = ? and owner = ? and task_uid is null",
        [reservation.key, reservation.owner],
    )


# -- webhooks


def read_webhooks(db: Database) -> tuple[Webhook, ...]:
    rows = db.conn.execute("select uuid, url, headers from webhooks order by uuid")
    return tuple(Webhook(uuid=row[0], url=row[1], headers=from_json(row[2])) for row in rows)


def save_webhook(db: Database, webhook: Webhook) -> None:
    db.execute(
        "insert or replace into webhooks (uuid, url, headers) values (?, ?, ?)",
        [webhook.uuid, webhook.url, to_json(dict(webhook.headers))],
    )


def delete_webhook(db: Database, uuid: str) -> bool:
    return db.conn.execute("delete from webhooks where uuid = ?", [uuid]).rowcount == 1


# -- inside


def _chunks(uids: Iterable[int]) -> Iterable[list[int]]:
    ordered = list(uids)
    for start in range(0, len(ordered), _IDS_AT_ONCE):
        yield ordered[start : start + _IDS_AT_ONCE]


def _json(value: Any) -> str | None:
    return None if value is None else to_json(value)
