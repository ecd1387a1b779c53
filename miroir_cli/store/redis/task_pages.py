"""Pages of tasks, and their totals.

Tasks are chosen by their columns, and only those of a page are read themselves. Between the two some of them may have
changed: a page on which one is not wanted any more is looked for again. Where tasks are counted by what is asked for,
only as many columns are read as the page needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from miroir_cli.store.redis.columns import Columns, Wanted, letters_of, place
from miroir_cli.store.redis.spans import limits_of, possible, questions, spans_of, undecided
from miroir_cli.store.redis.subjects import names_key, subjects_in, touched_key
from miroir_cli.store.redis.task_changes import BLOCKS, STATUSES, TYPE_COUNTS, TYPES, marks_key, times_key
from miroir_cli.store.redis.task_queries import look_at, tasks_of, texts_of, touching
from miroir_cli.store.redis.task_record import CANCELED, is_wanted
from miroir_cli.store.redis.transaction import Conflict, members_in
from miroir_cli.store.redis.values import answered
from miroir_cli.store.tasks import SWAP

if TYPE_CHECKING:
    from miroir_cli.store.redis.fields import Command
    from miroir_cli.store.redis.transaction import Transaction
    from miroir_cli.store.tasks import Task, TaskQuery

FIRST: Final = 2
"""Blocks in which a page is looked for first; then in twice as many, until it is full."""

FEW: Final = 500
"""Tasks that are rather looked at themselves when they are named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a query asks for, in terms of columns, and the blocks that there are. As Meilisearch: who asks by indexes is
    shown no swap, although the total counts those that touch them. `total`: None where it is not counted."""

    blocks: Sequence[int]
    wanted: Wanted
    shown: Wanted
    total: int | None


async def read_tasks(tx: Transaction, query: TaskQuery) -> tuple[tuple[Task, ...], int]:
    """A page of the tasks asked for, and how many there are in all."""
    choice = await _choose(tx, query)
    if choice.wanted.uids is not None and len(choice.wanted.uids) <= FEW:
        return await _few(tx, choice, query)
    if choice.total is None or query.limit is None:
        columns = await _columns(tx, choice.blocks, choice.shown)
        found = columns.find(choice.wanted)
        total = found.count
        shown = found if choice.shown.without is None else columns.without(found, choice.shown.without)
        page = shown.page(limit=query.limit, begin=query.from_, reverse=query.reverse)
    else:
        total = choice.total
        page = await _first(tx, choice, query, limit=min(query.limit, total))
    records = await look_at(tx, page)
    if not all(uid in records and is_wanted(records[uid], choice.wanted) for uid in page):
        raise Conflict
    return tuple((await tasks_of(tx, records)).values()), total


async def read_task_uids(tx: Transaction, query: TaskQuery) -> tuple[int, ...]:
    choice = await _choose(tx, query)
    columns = await _columns(tx, choice.blocks, choice.shown)
    return tuple(columns.find(choice.shown).uids())


async def _few(tx: Transaction, choice: Choice, query: TaskQuery) -> tuple[tuple[Task, ...], int]:
    """The page and the total out of tasks that are named: they are looked at themselves."""
    records = {
        uid: record
        for uid, record in (await look_at(tx, sorted(choice.wanted.uids or (), reverse=not query.reverse))).items()
        if is_wanted(record, choice.wanted) and (query.types is None or record.type in query.types)
    }
    page = [
        uid
        for uid, record in records.items()
        if (query.index_uids is None or record.type != SWAP)
        and (query.from_ is None or (uid >= query.from_ if query.reverse else uid <= query.from_))
    ]
    shown = {uid: records[uid] for uid in page[: query.limit]}
    return tuple((await tasks_of(tx, shown)).values()), len(records)


async def _first(tx: Transaction, choice: Choice, query: TaskQuery, *, limit: int) -> list[int]:
    """The first uids of a page, out of as few blocks as will do."""
    blocks = sorted(choice.blocks, reverse=not query.reverse)
    if query.from_ is not None:
        begin, _ = place(query.from_)
        blocks = [block for block in blocks if (block >= begin if query.reverse else block <= begin)]
    page: list[int] = []
    size = FIRST
    while blocks and len(page) < limit:
        columns = await _columns(tx, sorted(blocks[:size]), choice.shown)
        found = columns.find(choice.shown)
        page += found.page(limit=limit - len(page), begin=query.from_, reverse=query.reverse)
        blocks, size = blocks[size:], 2 * size
    return page


async def _choose(tx: Transaction, query: TaskQuery) -> Choice:
    cancelers, indexes = query.canceled_by or (), query.index_uids or ()
    limits = limits_of(query.before, query.after)
    blocks, types, statuses, type_counts, *more = await tx.ask(
        [
            ("ZRANGE", BLOCKS, 0, -1),
            ("HGETALL", TYPES),
            ("HGETALL", STATUSES),
            ("HGETALL", TYPE_COUNTS),
            *(("ZRANGEBYSCORE", CANCELED, by, by) for by in cancelers),
            *(("HGETALL", names_key(name)) for name in indexes),
            *questions(limits),
        ],
        watch=False,
    )
    numbers = {name: int(number) for name, number in answered(types).items()}
    canceled = {int(uid) for uids in more[: len(cancelers)] for uid in uids}
    about_names, about_times = more[len(cancelers) :][: len(indexes)], more[len(cancelers) + len(indexes) :]
    named = [subjects_in(answered(fields)) for fields in about_names]
    wanted = Wanted(
        uids=_both(query.uids, None if query.canceled_by is None else canceled),
        statuses=query.statuses,
        begun=query.begun,
        types=None if query.types is None else {numbers[name] for name in query.types if name in numbers},
        subjects=None if query.index_uids is None else touching(indexes, named),
        before=query.before,
        after=query.after,
    )
    within = {place(uid)[0] for uid in wanted.uids} if wanted.uids is not None else None
    there = sorted(block for block in map(int, blocks) if within is None or block in within)
    return Choice(
        blocks=possible(there, limits, spans_of(limits, [members_in(each) for each in about_times])),
        wanted=wanted,
        shown=wanted if query.index_uids is None else replace(wanted, without=numbers.get(SWAP)),
        total=await _count(tx, query, wanted, answered(statuses), answered(type_counts)),
    )


async def _count(
    tx: Transaction, query: TaskQuery, wanted: Wanted, statuses: Mapping[str, str], types: Mapping[str, str]
) -> int | None:
    """How many tasks are wanted, if they are counted by that."""
    if not wanted.is_counted:
        return None
    if wanted.subjects is not None:
        counts = await texts_of(tx, [touched_key(number) for number in wanted.subjects])
        return sum(int(count or 0) for count in counts)
    if query.types is not None:
        return sum(int(types.get(name, 0)) for name in set(query.types))
    return sum(int(statuses.get(letter, 0)) for letter in letters_of(wanted))


async def _columns(tx: Transaction, blocks: Sequence[int], wanted: Wanted) -> Columns:
    """The columns by which the tasks wanted are found."""
    size = len(blocks)
    keys = [marks_key(block, column) for column in wanted.marks for block in blocks]
    marking: list[Command] = [("MGET", *keys)] if keys else []
    texts, *found = await tx.ask([*marking, *questions(wanted.limits)], watch=False) if keys else [[]]
    marks = {column: texts[at * size : (at + 1) * size] for at, column in enumerate(wanted.marks)}
    if not found:
        return Columns.of(blocks, marks)
    spans = spans_of(wanted.limits, [members_in(each) for each in found])
    unsure = undecided(blocks, wanted.limits, spans)
    times = await texts_of(tx, [times_key(block, column) for column, block in unsure])
    return Columns.of(blocks, marks, dict(zip(unsure, times, strict=True)), spans)


def _both(uids: Iterable[int] | None, others: set[int] | None) -> set[int] | None:
    if uids is None or others is None:
        return others if uids is None else set(uids)
    return others & set(uids)
