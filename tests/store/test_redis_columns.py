"""Tasks in columns: what is found there is what a look at each task would find."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from miroir_cli.store.redis.columns import BLOCK, MARKS, STATUS, SUBJECT, TIME, TYPE, Columns, Wanted, marks_of, time
from miroir_cli.store.redis.spans import TIMES, Limit, possible, undecided
from miroir_cli.store.tasks import TaskStatus


@dataclass(frozen=True)
class Marked:
    """A task, as far as columns know it."""

    uid: int
    status: TaskStatus
    type: int
    subject: int
    times: tuple[int | None, int | None, int | None]


moments = st.none() | st.integers(0, 3) | st.integers(0, 2_000_000_000_000)


def marked(*, times: tuple[int | None, int | None, int | None], **more: Any) -> Marked:
    """A task as there is one: it was enqueued at some moment, and has ended at one if it has ended."""
    enqueued, started, finished = times
    ended = (finished or 0) if more["status"].final else None
    return Marked(times=(enqueued or 0, started, ended), **more)


tasks = st.lists(
    st.builds(
        marked,
        uid=st.integers(0, 5) | st.integers(BLOCK - 2, BLOCK + 2) | st.integers(5 * BLOCK, 5 * BLOCK + 3),
        status=st.sampled_from(TaskStatus),
        type=st.integers(1, 3) | st.integers(1, 127),
        subject=st.integers(0, 3) | st.integers(120, 140) | st.integers(0, 128**4 - 1),
        times=st.tuples(moments, moments, moments),
    ),
    max_size=12,
    unique_by=lambda task: task.uid,
)
limits = st.dictionaries(st.sampled_from(TIMES), st.floats(-5, 3e13) | st.integers(-1, 4), max_size=2)


def columns(found: Sequence[Marked], limits: Sequence[Limit] = ()) -> Columns:
    """Their columns; the last block is cut off behind its last task, as it is in a growing string. As they are read for
    a query with these limits."""
    spans = spans_in(found)
    blocks = possible(sorted({task.uid // BLOCK for task in found} | {7}), limits, spans)
    texts: dict[str, list[str | None]] = {column: [] for column in MARKS}
    times: dict[tuple[str, int], str | None] = {}
    for block in blocks:
        here = {task.uid % BLOCK: task for task in found if task.uid // BLOCK == block}
        size = max(here, default=-1) + 1
        marks = {place: marked_as(task) for place, task in here.items()}
        for column in MARKS:
            text = "".join(marks[place][column] if place in here else "\0" for place in range(size))
            texts[column].append(text if text.strip("\0") else None)
        for number, column in enumerate(TIMES):
            moments = [time(here[place].times[number] if place in here else None) for place in range(size)]
            times[column, block] = "".join(moments) if here else None
    unsure = undecided(blocks, limits, spans)
    return Columns.of(blocks, texts, {key: times[key] for key in unsure}, spans)


def marked_as(task: Marked) -> dict[str, str]:
    return marks_of(task.status, begun=task.times[1] is not None, subject=task.subject, type=task.type)


def spans_in(found: Sequence[Marked]) -> dict[tuple[str, int], tuple[float, float]]:
    known: dict[tuple[str, int], list[int]] = {}
    for task in found:
        for column, moment in zip(TIMES, task.times, strict=True):
            if moment is not None:
                known.setdefault((column, task.uid // BLOCK), []).append(moment)
    return {name: (min(moments), max(moments)) for name, moments in known.items()}


def is_wanted(task: Marked, wanted: Wanted) -> bool:
    times = dict(zip(TIMES, task.times, strict=True))

    def within(column: str, low: float | None, high: float | None) -> bool:
        moment = times[column]
        return moment is not None and (low is None or moment > low) and (high is None or moment < high)

    return (
        (wanted.uids is None or task.uid in wanted.uids)
        and (wanted.statuses is None or task.status in wanted.statuses)
        and (not wanted.begun or times["started_at"] is not None)
        and (wanted.types is None or task.type in wanted.types)
        and task.type != wanted.without
        and (wanted.subjects is None or task.subject in wanted.subjects)
        and all(within(column, None, limit) for column, limit in wanted.before.items())
        and all(within(column, limit, None) for column, limit in wanted.after.items())
    )


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[Marked], Wanted]:
    found = draw(tasks)
    of = {name: sorted({getattr(task, name) for task in found}) or [0] for name in ("uid", "type", "subject")}
    wanted = Wanted(
        uids=draw(st.none() | st.lists(st.sampled_from(of["uid"]) | st.integers(-3, 9 * BLOCK))),
        statuses=draw(st.none() | st.lists(st.sampled_from(["enqueued", "processing", "failed", "nonsense"]))),
        begun=draw(st.booleans()),
        types=draw(st.none() | st.lists(st.sampled_from(of["type"]))),
        without=draw(st.none() | st.integers(1, 3)),
        subjects=draw(st.none() | st.lists(st.sampled_from(of["subject"]) | st.integers(0, 128**4 - 1))),
        before=draw(limits),
        after=draw(limits),
    )
    return found, wanted


@given(cases())
def test_those_are_found_that_fulfil_every_condition(case: tuple[list[Marked], Wanted]) -> None:
    tasks, wanted = case
    found = columns(tasks, wanted.limits).find(wanted)
    expected = sorted(task.uid for task in tasks if is_wanted(task, wanted))
    assert found.uids() == expected and found.count == len(expected)
    others = [task.uid for task in tasks if task.type != 1]
    assert columns(tasks, wanted.limits).without(found, 1).uids() == [uid for uid in expected if uid in others]


@given(tasks, st.none() | st.integers(0, 4), st.none() | st.integers(-2, 9 * BLOCK) | st.integers(0, 5), st.booleans())
def test_a_page_is_cut_out_of_what_is_found(
    tasks: list[Marked], limit: int | None, begin: int | None, reverse: bool
) -> None:
    uids = sorted((task.uid for task in tasks), reverse=not reverse)
    behind = [uid for uid in uids if begin is None or (uid >= begin if reverse else uid <= begin)]
    page = columns(tasks).find(Wanted()).page(limit=limit, begin=begin, reverse=reverse)
    assert page == behind[:limit]


@given(tasks, st.integers(0, 8))
def test_what_is_behind_the_newest_ones(tasks: list[Marked], newest: int) -> None:
    uids = sorted((task.uid for task in tasks), reverse=True)
    assert columns(tasks).find(Wanted()).skip(newest) == (uids[newest] if newest < len(uids) else 0)


def test_nothing_is_found_where_there_is_nothing() -> None:
    nothing: dict[str, list[str | None]] = {column: [] for column in MARKS}
    empty = Columns.of([], nothing).find(Wanted(statuses=["failed"], subjects=[], after={"started_at": 1.5}))
    assert empty.uids() == [] and empty.page(limit=3, begin=9, reverse=False) == [] and empty.skip(0) == 0


def test_a_block_is_within_a_limit_outside_of_it_or_has_to_be_looked_at() -> None:
    task = Marked(uid=1, status=TaskStatus.FAILED, type=1, subject=0, times=(10, None, 30))
    other = Marked(uid=BLOCK, status=TaskStatus.FAILED, type=1, subject=0, times=(20, None, 40))
    spans = spans_in([task, other])
    for before, possibly in ((10, []), (11, [0]), (20, [0]), (20.5, [0, 1])):
        limits = Wanted(before={"enqueued_at": before}).limits
        assert (possible([0, 1, 2], limits, spans), undecided([0, 1, 2], limits, spans)) == (possibly, [])
    spans = spans_in([task, Marked(uid=2, status=TaskStatus.FAILED, type=1, subject=0, times=(15, None, 35)), other])
    limits = Wanted(before={"enqueued_at": 15}, after={"finished_at": 1}).limits
    assert (possible([0, 1], limits, spans), undecided([0, 1], limits, spans)) == ([0], [("enqueued_at", 0)])
    assert possible([0, 1], Wanted(after={"started_at": -1}).limits, spans) == []


def test_only_the_columns_are_read_by_which_tasks_are_asked_for() -> None:
    assert Wanted(statuses=["failed"], before={"finished_at": 1}).marks == (STATUS,)
    assert Wanted(types=[1]).marks == Wanted(without=1).marks == (STATUS, TYPE)
    assert Wanted(subjects=[1]).marks == (STATUS, *SUBJECT)


def test_a_time_that_does_not_fit_is_the_nearest_that_does() -> None:
    assert (time(-4), time(10**14), time(None)) == ("0" * TIME, "9" * TIME, "\0" * TIME)
