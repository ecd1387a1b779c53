"""Pages of tasks that are asked for by time, and their totals.

Triggers count the tasks of each block of uids by their kinds, and note between which moments their times lie
(`task_blocks`). Tasks are numbered as they come, and mostly end in that order: of nearly all blocks either every task
is within the limits or none is, and only the others are looked through.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from miroir_cli.store.encoding import to_json
from miroir_cli.store.tasks import SWAP

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlite_utils import Database

    from miroir_cli.store.tasks import TaskQuery

BLOCK: Final = 4096
"""Uids of a block, as the triggers have it."""

FEW: Final = 16
"""Kinds of tasks in a block that are rather looked up one after the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    """`sure`: tasks that are wanted, whatever their times are; `unsure`: those whose times have to be looked at."""

    number: int
    sure: int
    unsure: int
    kinds: int

    @property
    def first(self) -> int:
        """Its first uid."""
        return self.number * BLOCK

    @property
    def last(self) -> int:
        return self.first + BLOCK - 1


@dataclass(frozen=True, slots=True)
class _Condition:
    """A part of a statement, and the values for it."""

    text: str
    values: Sequence[Any]

    def __and__(self, other: _Condition) -> _Condition:
        return _Condition(f"{self.text} and {other.text}", [*self.values, *other.values])


def find_by_time(db: Database, query: TaskQuery, *, limit: int) -> tuple[list[int], int]:
    """The uids of a page, in their order, and how many tasks there are in all."""
    blocks = _read_blocks(db, query)
    total = sum(block.sure if not block.unsure else _count(db, query, block) for block in blocks)
    page: list[int] = []
    for block in blocks if query.reverse else reversed(blocks):
        if len(page) >= limit:
            break
        if query.from_ is None or (block.last >= query.from_ if query.reverse else block.first <= query.from_):
            page += _find(db, query, block, limit=limit - len(page))
    return page, total


def _read_blocks(db: Database, query: TaskQuery) -> list[_Block]:
    """The blocks in which a task may be wanted."""
    possible, certain = _limits(query)
    where = _kinds(query, nothing="''") & possible
    rows = db.conn.execute(
        f"select block, sum(tasks * ({certain.text})), sum(tasks * not ({certain.text})), count(*) from task_blocks "
        f"where {where.text} group by block order by block",
        [*certain.values, *certain.values, *where.values],
    )
    return [_Block(number=block, sure=sure, unsure=unsure, kinds=kinds) for block, sure, unsure, kinds in rows]


def _count(db: Database, query: TaskQuery, block: _Block) -> int:
    where = _tasks(query, block)
    return int(
        db.conn.execute(f"select count(*) from tasks not indexed where {where.text}", where.values).fetchone()[0]
    )


def _find(db: Database, query: TaskQuery, block: _Block, *, limit: int) -> list[int]:
    """The first tasks that are shown out of a block. As Meilisearch: who asks by indexes is shown no swap."""
    compared, order = (">=", "asc") if query.reverse else ("<=", "desc")
    where = _tasks(query, block)
    if query.from_ is not None:
        where &= _Condition(f"uid {compared} ?", [query.from_])
    if query.index_uids is not None:
        where &= _Condition("type <> ?", [SWAP])
    rest = f"order by uid {order} limit {int(limit)}"
    if block.kinds > FEW:
        found = db.conn.execute(f"select uid from tasks not indexed where {where.text} {rest}", where.values)
        return [row[0] for row in found]
    uids: list[int] = []
    for index_uid, type, status in _read_kinds(db, query, block):
        run = _Condition("index_uid is ? and type = ? and status = ?", [index_uid, type, status]) & where
        found = db.conn.execute(f"select uid from tasks indexed by tasks_by_index where {run.text} {rest}", run.values)
        uids += [row[0] for row in found]
    return sorted(uids, reverse=not query.reverse)[:limit]


def _read_kinds(db: Database, query: TaskQuery, block: _Block) -> list[tuple[str | None, str, str]]:
    """The indexes, types and statuses of tasks that may be wanted in a block."""
    where = _kinds(query, nothing="''") & _limits(query)[0] & _Condition("block = ?", [block.number])
    rows = db.conn.execute(
        f"select distinct nullif(index_uid, ''), type, status from task_blocks where {where.text}", where.values
    )
    return [(index_uid, type, status) for index_uid, type, status in rows]


# -- conditions


def _tasks(query: TaskQuery, block: _Block) -> _Condition:
    """Of a task of a block: that it is wanted."""
    found = _Condition("uid between ? and ?", [block.first, block.last]) & _kinds(query, nothing="null")
    if query.begun:
        found &= _Condition("started_at is not null", [])
    for compared, limits in (("<", query.before), (">", query.after)):
        for column, moment in limits.items():
            found &= _Condition(f"{_known(column)}_at {compared} ?", [moment])
    return found


def _kinds(query: TaskQuery, *, nothing: str) -> _Condition:
    """Of a task, or of a kind of them: what is asked but for times. `nothing`: what the column `touched` has of those
    that touch just their own index."""
    found = _Condition("1" if nothing == "null" else "begun >= ?", [] if nothing == "null" else [int(query.begun)])
    for column, wanted in (("status", query.statuses), ("type", query.types)):
        if wanted is not None:
            found &= _Condition(f"{column} in (select value from json_each(?))", [to_json(list(wanted))])
    if query.index_uids is not None:
        indexes = to_json(list(query.index_uids))
        found &= _Condition(
            f"case when touched is {nothing} then index_uid in (select value from json_each(?)) else exists "
            "(select 1 from json_each(touched) where value in (select value from json_each(?))) end",
            [indexes, indexes],
        )
    return found


def _limits(query: TaskQuery) -> tuple[_Condition, _Condition]:
    """Of a kind of tasks of a block: that one may be within all limits, and that every one is."""
    possible, certain = _Condition("1", []), _Condition("1", [])
    for column, moment in query.before.items():
        possible &= _Condition(f"{_known(column)}_first < ?", [moment])
        certain &= _Condition(f"{_known(column)}_last < ?", [moment])
    for column, moment in query.after.items():
        possible &= _Condition(f"{_known(column)}_last > ?", [moment])
        certain &= _Condition(f"{_known(column)}_first > ?", [moment])
    return possible, certain


def _known(column: str) -> str:
    """The name of a time without its ending."""
    assert column in ("enqueued_at", "started_at", "finished_at")
    return column.removesuffix("_at")
