"""Which tasks of clients there are: pages, totals, and what has not ended."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from miroir_cli.model import NodeName
from miroir_cli.store.encoding import from_json, to_json
from miroir_cli.store.sqlite.task_times import find_by_time
from miroir_cli.store.tasks import SWAP, Task, TaskQuery, TaskStatus

if TYPE_CHECKING:
    from sqlite_utils import Database

_COLUMNS = (
    "uid, index_uid, type, status, details, error, enqueued_at, started_at, finished_at, custom_metadata, "
    "canceled_by, incarnation, n, node_tasks, owner, documents"
)
UNFINISHED = "status in ('enqueued', 'processing')"

MOST_RUNS = 200
"""Runs of tasks out of which a page is put together, at most."""


def read_task(db: Database, uid: int) -> Task | None:
    found = _read(db, "where uid = ?", [uid])
    return found[0] if found else None


def read_task_of(db: Database, index_uid: str, incarnation: int, n: int) -> Task | None:
    """The task that stands for an intent."""
    found = _read(db, "where index_uid = ? and incarnation = ? and n = ?", [index_uid, incarnation, n])
    return found[0] if found else None


def read_tasks(db: Database, query: TaskQuery) -> tuple[tuple[Task, ...], int]:
    """A page of the tasks asked for, and how many there are in all."""
    if _is_by_time(query) and query.limit is not None:
        page, total = find_by_time(db, query, limit=query.limit)
        return _of_uids(db, page, _cut(query)), total
    where, values = _where(query)
    kinds = _read_kinds(db, query) if _is_by_kind(query) else None
    if kinds is None:
        total = int(db.conn.execute(f"select count(*) from tasks where {where}", values).fetchone()[0])
    else:
        total = sum(kind.tasks for kind in kinds)
        runs = _runs(query, kinds)
        if query.limit is not None and len(runs) <= MOST_RUNS:
            return _read_runs(db, query, runs, limit=query.limit), total
    rest, more = _cut(query)
    return tuple(_read(db, f"where {_without_swaps(where, query)} {rest}", [*values, *more])), total


def _cut(query: TaskQuery) -> tuple[str, list[Any]]:
    """What cuts a page out of the tasks found."""
    order, compared = ("asc", ">=") if query.reverse else ("desc", "<=")
    begin, values = ("", []) if query.from_ is None else (f"and uid {compared} ? ", [query.from_])
    limit = "" if query.limit is None else f" limit {int(query.limit)}"
    return f"{begin}order by uid {order}{limit}", values


def read_task_uids(db: Database, query: TaskQuery) -> tuple[int, ...]:
    where, values = _where(query)
    where = _without_swaps(where, query)
    return tuple(row[0] for row in db.conn.execute(f"select uid from tasks where {where} order by uid", values))


def count_tasks(db: Database) -> dict[TaskStatus, int]:
    """How many tasks have each status."""
    rows = db.conn.execute("select status, sum(tasks) from task_counts group by status")
    return {TaskStatus(row[0]): row[1] for row in rows}


def read_task_indexes(db: Database) -> tuple[str, ...]:
    """The indexes that any task touches."""
    kinds = _read_kinds(db, TaskQuery())
    return tuple(sorted({index for kind in kinds for index in kind.touched}))


# -- tasks of a kind


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """Tasks that are alike, and how many: triggers count them. `others`: the column `touched`, with the indexes that
    they touch; None: just their own."""

    index_uid: str | None
    others: str | None
    type: str
    status: str
    tasks: int

    @property
    def touched(self) -> Sequence[str]:
        if self.others is not None:
            return tuple(from_json(self.others))
        return () if self.index_uid is None else (self.index_uid,)


Run = tuple[tuple[str, Any], ...]
"""Columns and their values: tasks that have these are found one behind the other, the newest first."""


def _is_by_kind(query: TaskQuery) -> bool:
    """Whether a query asks for nothing but what tasks are counted by."""
    return query.uids is None and query.canceled_by is None and not query.before and not query.after


def _is_by_time(query: TaskQuery) -> bool:
    """Whether it asks for times as well, and nothing else."""
    return query.uids is None and query.canceled_by is None and bool(query.before or query.after)


def _read_kinds(db: Database, query: TaskQuery) -> list[_Kind]:
    """The kinds of tasks that a query asks for."""
    rows = db.conn.execute(
        "select index_uid, touched, type, status, sum(tasks) from task_counts where begun >= ? "
        "group by index_uid, touched, type, status",
        [int(query.begun)],
    )
    kinds = [
        _Kind(
            index_uid=index_uid or None,
            others=others or None,
            type=type,
            status=status,
            tasks=tasks,
        )
        for index_uid, others, type, status, tasks in rows
    ]
    return [
        kind
        for kind in kinds
        if (query.statuses is None or kind.status in query.statuses)
        and (query.types is None or kind.type in query.types)
        and (query.index_uids is None or not set(query.index_uids).isdisjoint(kind.touched))
    ]


def _runs(query: TaskQuery, kinds: Iterable[_Kind]) -> list[Run]:
    """What to look up, each in an index of the table: together these are all tasks of the kinds."""
    runs: dict[Run, None] = {}
    for kind in kinds:
        if query.index_uids is not None:
            if kind.type != SWAP:
                index = (("index_uid", kind.index_uid), ("touched", kind.others))
                runs[*index, ("type", kind.type), ("status", kind.status)] = None
        elif query.types is not None:
            runs[("type", kind.type), ("status", kind.status)] = None
        elif query.statuses is not None:
            runs[(("status", kind.status),)] = None
        else:
            runs[()] = None
    return list(runs)


def _read_runs(db: Database, query: TaskQuery, runs: Iterable[Run], *, limit: int) -> tuple[Task, ...]:
    """The first tasks out of several runs."""
    rest, more = _cut(query)
    begun = "started_at is not null" if query.begun else "1"
    uids: list[int] = []
    for run in runs:
        columns = "".join(f"{column} is ? and " for column, _ in run)
        values = [value for _, value in run]
        found = db.conn.execute(f"select uid from tasks where {columns}{begun} {rest}", [*values, *more])
        uids += [row[0] for row in found]
    return _of_uids(db, sorted(uids, reverse=not query.reverse)[:limit], (rest, more))


def _of_uids(db: Database, uids: Sequence[int], cut: tuple[str, list[Any]]) -> tuple[Task, ...]:
    rest, more = cut
    return tuple(_read(db, f"where uid in (select value from json_each(?)) {rest}", [to_json(uids), *more]))


# -- what has not ended


def read_work(db: Database) -> tuple[Task, ...]:
    """Work that is no write and has not ended, oldest first."""
    return tuple(_read(db, f"where {UNFINISHED} and n is null order by uid", []))


def read_writes(db: Database, *, limit: int) -> dict[str, tuple[Task, ...]]:
    """For each index the first writes that have not ended, in their order, `limit` of them at most."""
    rows = db.conn.execute(f"select distinct index_uid from tasks where {UNFINISHED} and n is not null").fetchall()
    where = f"where {UNFINISHED} and n is not null and index_uid = ? order by n limit ?"
    return {row[0]: tuple(_read(db, where, [row[0], limit])) for row in rows}


def any_unfinished(db: Database) -> bool:
    """Whether any task has not ended."""
    work = f"exists (select 1 from tasks where {UNFINISHED} and n is null)"
    writes = f"exists (select 1 from tasks where {UNFINISHED} and n is not null)"
    return bool(db.conn.execute(f"select {work} or {writes}").fetchone()[0])


def read_ahead(db: Database, task: Task, *, intents: bool) -> tuple[Task, ...]:
    """Earlier tasks of the same indexes that have not ended; with `intents` those that are a write as well."""
    rest = "" if intents else "and n is null"
    return tuple(
        _read(
            db,
            f"where {UNFINISHED} and uid < ? {rest} and uid in (select other.task from task_indexes own "
            "join task_indexes other on other.index_uid = own.index_uid where own.task = ?) order by uid",
            [task.uid, task.uid],
        )
    )


def read_untold(db: Database, *, limit: int) -> tuple[Task, ...]:
    """Tasks that have ended and of which no webhook was told, oldest first."""
    return tuple(_read(db, f"where told = 0 and not {UNFINISHED} order by uid limit ?", [limit]))


# -- inside


def _read(db: Database, rest: str, values: list[Any]) -> list[Task]:
    return [_task(row) for row in db.conn.execute(f"select {_COLUMNS} from tasks {rest}", values).fetchall()]


def _task(row: tuple[Any, ...]) -> Task:
    return Task(
        uid=row[0],
        index_uid=row[1],
        type=row[2],
        status=TaskStatus(row[3]),
        details=None if row[4] is None else from_json(row[4]),
        error=None if row[5] is None else from_json(row[5]),
        enqueued_at=row[6],
        started_at=row[7],
        finished_at=row[8],
        custom_metadata=row[9],
        canceled_by=row[10],
        incarnation=row[11],
        n=row[12],
        node_tasks={NodeName(node): tuple(tasks) for node, tasks in from_json(row[13]).items()},
        owner=row[14],
        documents=row[15],
    )


def _without_swaps(where: str, query: TaskQuery) -> str:
    """As Meilisearch: who asks by indexes is shown no swap, although its total counts those that touch them."""
    return where if query.index_uids is None else f"{where} and type != '{SWAP}'"


def _where(query: TaskQuery) -> tuple[str, list[Any]]:
    conditions = ["1"]
    values: list[Any] = []
    for column, wanted in (
        ("uid", query.uids),
        ("status", query.statuses),
        ("type", query.types),
        ("canceled_by", query.canceled_by),
    ):
        if wanted is not None:
            conditions.append(f"{column} in (select value from json_each(?))")
            values.append(to_json(list(wanted)))
    if query.index_uids is not None:
        conditions.append("uid in (select task from task_indexes where index_uid in (select value from json_each(?)))")
        values.append(to_json(list(query.index_uids)))
    if query.begun:
        conditions.append("started_at is not null")
    for compared, limits in (("<", query.before), (">", query.after)):
        for column, moment in limits.items():
            assert column in ("enqueued_at", "started_at", "finished_at")
            conditions.append(f"{column} {compared} ?")
            values.append(moment)
    return " and ".join(conditions), values
