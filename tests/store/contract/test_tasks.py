"""Tasks of clients, on every backend."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from miroir_cli.errors import WorkAhead
from miroir_cli.model import Index, IndexUid, NodeName
from miroir_cli.store.encoding import now
from miroir_cli.store.tasks import NewTask, Task, TaskEnd, TaskQuery, TaskStatus, Webhook
from tests.store.conftest import Open
from tests.store.contract.clients import (
    ADDITION,
    SETTINGS,
    SWAP,
    add_many,
    add_write,
    end,
    rename,
    uids_of,
    work,
    write,
)

BOOKS, FILMS, SHELF = IndexUid("books"), IndexUid("films"), IndexUid("shelf")


# -- one task


async def test_a_task_is_what_was_recorded(store: Any) -> None:
    before = now()
    new = NewTask(
        type=SETTINGS,
        index_uid="books",
        details={"stopWords": ["é", "the"], "n": 1.5, "none": None},
        custom_metadata="mine",
        owner="12.now",
        documents=4,
    )
    added = await store.add_task(new)
    assert added == Task(
        uid=0,
        type=SETTINGS,
        status=TaskStatus.ENQUEUED,
        enqueued_at=added.enqueued_at,
        index_uid="books",
        details={"stopWords": ["é", "the"], "n": 1.5, "none": None},
        custom_metadata="mine",
        owner="12.now",
        documents=4,
    )
    assert before <= added.enqueued_at <= now()
    assert await store.task(0) == added
    assert await store.task(1) is None and await store.task(-1) is None and await store.task(10**12) is None


async def test_a_task_is_begun_once_and_ends_once(store: Any) -> None:
    uid = await work(store, details={"primaryKey": "id"})
    assert await store.begin_task(uid) and not await store.begin_task(uid)
    begun = await store.task(uid)
    assert begun.status is TaskStatus.PROCESSING and begun.started_at >= begun.enqueued_at
    done = TaskEnd(
        uid=uid,
        status=TaskStatus.FAILED,
        finished_at=77,
        error={"code": "x"},
        node_tasks={NodeName("n1"): (4, 5)},
    )
    assert await store.end_tasks([done, done]) == 1 and await store.end_tasks([done]) == 0
    ended = await store.task(uid)
    assert (ended.status, ended.finished_at, ended.error) == (TaskStatus.FAILED, 77, {"code": "x"})
    assert (ended.details, ended.started_at) == ({"primaryKey": "id"}, begun.started_at)
    assert ended.node_tasks == {"n1": (4, 5)}
    assert not await store.begin_task(uid) and not await store.begin_task(99)
    assert await store.end_tasks([]) == 0 and await end(store, 99) == 0


async def test_how_it_ends_takes_the_place_of_what_was_known(store: Any) -> None:
    uid = await work(store, details={"old": 1})
    done = TaskEnd(uid=uid, status=TaskStatus.SUCCEEDED, started_at=3, finished_at=9, details={"new": 2})
    await store.end_tasks([done])
    ended = await store.task(uid)
    assert (ended.details, ended.started_at, ended.finished_at) == ({"new": 2}, 3, 9)


async def test_a_task_may_be_final_from_the_start(store: Any) -> None:
    done = TaskEnd(uid=-1, status=TaskStatus.FAILED, finished_at=5, error={"code": "x"})
    task = await store.add_task(NewTask(type=ADDITION, index_uid="books"), end=done)
    assert (task.uid, task.status, task.error, task.finished_at) == (0, TaskStatus.FAILED, {"code": "x"}, 5)
    assert await store.task(0) == task
    assert not await store.any_unfinished() and [each.uid for each in await store.untold_tasks(limit=9)] == [0]


async def test_a_task_stands_for_the_write_that_it_was_recorded_with(store: Any) -> None:
    task = await add_write(store, NewTask(type=ADDITION, index_uid="books"), incarnation=2, n=7)
    assert (task.incarnation, task.n) == (2, 7)
    assert await store.task_of("books", 2, 7) == task
    for other in (("books", 2, 8), ("books", 1, 7), ("films", 2, 7)):
        assert await store.task_of(*other) is None
    await end(store, task.uid)
    assert (await store.task_of("books", 2, 7)).status is TaskStatus.SUCCEEDED
    await store.delete_tasks([task.uid])
    assert await store.task_of("books", 2, 7) is None


# -- uids


async def test_uids_begin_with_zero_and_are_never_given_twice(store: Any) -> None:
    assert [await work(store) for _ in range(3)] == [0, 1, 2]
    await end(store, 1, 2)
    assert await store.delete_tasks([1, 2]) == 2
    assert await work(store) == 3


async def test_uids_have_no_gaps_when_two_processes_record_at_once(another: Open) -> None:
    stores = [await another(), await another()]
    uids = await asyncio.gather(*(work(store, f"index{number % 3}") for number in range(100) for store in stores))
    assert sorted(uids) == list(range(200))
    page, total = await stores[0].tasks(TaskQuery(limit=20))
    assert [task.uid for task in page] == list(range(199, 179, -1)) and total == 200
    assert await stores[1].count_tasks() == {TaskStatus.ENQUEUED: 200}


async def test_of_two_that_begin_a_task_at_once_one_does(another: Open) -> None:
    stores = [await another(), await another()]
    uids = [await work(stores[0]) for _ in range(10)]
    begun = await asyncio.gather(*(store.begin_task(uid) for uid in uids for store in stores))
    assert [sum(begun[place : place + 2]) for place in range(0, 20, 2)] == [1] * 10
    assert await stores[0].count_tasks() == {TaskStatus.PROCESSING: 10}


async def test_of_two_that_end_tasks_at_once_each_is_ended_by_one(another: Open) -> None:
    stores = [await another(), await another()]
    uids = [await work(stores[0]) for _ in range(30)]
    assert sum(await asyncio.gather(*(end(store, *uids) for store in stores))) == 30
    assert await stores[1].count_tasks() == {TaskStatus.SUCCEEDED: 30}


# -- the order of work


async def test_writes_keep_behind_work_of_their_index(store: Any) -> None:
    await write(store, n=1)
    await store.require_idle("books")
    swap = await work(store, None, type=SWAP, indexes=("films", "books"))
    for uid in ("books", "films"):
        with pytest.raises(WorkAhead, match=f"`{uid}` waits for task {swap}"):
            await store.require_idle(uid)
    await store.require_idle("shelf")
    await store.begin_task(swap)
    with pytest.raises(WorkAhead):
        await store.require_idle("books")
    await end(store, swap)
    await store.require_idle("books")


async def test_work_waits_for_what_is_ahead_of_it(store: Any) -> None:
    first = await work(store)
    written = await write(store, n=1)
    swap = await work(store, None, type=SWAP, indexes=("films", "books"))
    of_films = await work(store, "films")
    elsewhere = await work(store, "shelf")
    last = await work(store)

    async def ahead(uid: int, *, intents: bool) -> list[int]:
        return [task.uid for task in await store.tasks_ahead(await store.task(uid), intents=intents)]

    assert await ahead(last, intents=False) == [first, swap]
    assert await ahead(last, intents=True) == [first, written, swap]
    assert await ahead(of_films, intents=True) == [swap]
    assert await ahead(elsewhere, intents=True) == [] == await ahead(first, intents=True)
    await end(store, first, written)
    assert await ahead(last, intents=True) == [swap]
    gone = await store.task(last)
    await end(store, last)
    await store.delete_tasks([last])
    assert await store.tasks_ahead(gone, intents=True) == ()


async def test_what_has_not_ended(store: Any) -> None:
    assert not await store.any_unfinished()
    assert await store.unfinished_work() == () and await store.unfinished_writes(limit=5) == {}
    books = [await write(store, n=n) for n in (1, 2, 3)]
    films = await write(store, "films", n=4)
    waiting = await work(store)

    async def writes(limit: int) -> dict[str, list[int]]:
        found = await store.unfinished_writes(limit=limit)
        return {uid: [task.uid for task in tasks] for uid, tasks in found.items()}

    assert [task.uid for task in await store.unfinished_work()] == [waiting]
    assert await writes(2) == {"books": books[:2], "films": [films]}
    await store.begin_task(books[0])
    assert await writes(5) == {"books": books, "films": [films]}
    await end(store, books[0], films)
    assert await writes(5) == {"books": books[1:]}
    await end(store, waiting, *books)
    assert await writes(5) == {} and not await store.any_unfinished()


async def test_writes_of_an_index_of_the_past_are_told_with_those_of_its_successor(store: Any) -> None:
    old = await write(store, incarnation=1, n=5)
    new = await write(store, incarnation=2, n=1)
    found = await store.unfinished_writes(limit=9)
    assert [(task.uid, task.incarnation) for task in found["books"]] == [(new, 2), (old, 1)]
    assert len((await store.unfinished_writes(limit=1))["books"]) == 1


# -- queries


async def test_tasks_are_found_by_what_they_are(store: Any) -> None:
    swap = await work(store, None, type=SWAP, indexes=("books", "films"), details={"swaps": []})
    one = await work(store, "books")
    other = await work(store, "films", type=ADDITION)
    nothing = await work(store, None, type="dumpCreation")
    rules = await work(store, "rules", type="featuresUpdate", indexes=())
    await end(store, one, other, status=TaskStatus.FAILED)
    everything = [rules, nothing, other, one, swap]
    assert await uids_of(store) == everything and await uids_of(store, reverse=True) == everything[::-1]
    for query, expected in (
        ({"statuses": ("failed",)}, [other, one]),
        ({"statuses": ("enqueued", "nonsense")}, [rules, nothing, swap]),
        ({"statuses": ()}, []),
        ({"types": (SWAP, ADDITION)}, [other, swap]),
        ({"types": ("nonsense",)}, []),
        ({"index_uids": ("books",)}, [one]),
        ({"index_uids": ("books", "films", "shelf")}, [other, one]),
        ({"index_uids": ("rules",)}, []),
        ({"index_uids": ("books",), "types": (ADDITION,)}, []),
        ({"index_uids": ("films",), "types": (ADDITION,), "statuses": ("failed",)}, [other]),
        ({"uids": (one, rules, 99, -5)}, [rules, one]),
        ({"uids": (one, swap), "statuses": ("failed",)}, [one]),
        ({"uids": ()}, []),
    ):
        page, total = await store.tasks(TaskQuery(**query))
        swaps = int(swap not in expected and query.get("index_uids", ("",))[0] == "books" and "types" not in query)
        assert ([task.uid for task in page], total) == (expected, len(expected) + swaps), query
        assert await store.task_uids(TaskQuery(**query)) == tuple(sorted(expected)), query


async def test_who_asks_by_indexes_is_shown_no_swap_although_it_counts(store: Any) -> None:
    swap = await work(store, None, type=SWAP, indexes=("books", "films"))
    assert await store.tasks(TaskQuery(index_uids=("books", "films"))) == ((), 1)
    assert await store.task_uids(TaskQuery(index_uids=("films",))) == ()
    assert await uids_of(store, types=(SWAP,)) == [swap]


async def test_tasks_are_found_by_when_they_were(store: Any) -> None:
    for finished_at in (5, 7, 9):
        await end(store, await work(store), finished_at=finished_at)
    waiting = await work(store)
    begun = await work(store)
    await store.begin_task(begun)
    soon = now() + 100_000
    for query, expected in (
        ({"after": {"finished_at": 5}}, [2, 1]),
        ({"after": {"finished_at": 4.5}}, [2, 1, 0]),
        ({"before": {"finished_at": 7}}, [0]),
        ({"before": {"finished_at": 7.5}, "after": {"finished_at": 5}}, [1]),
        ({"after": {"finished_at": -1}}, [2, 1, 0]),
        ({"before": {"finished_at": 0}}, []),
        ({"before": {"enqueued_at": soon}}, [begun, waiting, 2, 1, 0]),
        ({"after": {"enqueued_at": soon}}, []),
        ({"before": {"started_at": soon}}, [begun]),
        ({"begun": True}, [begun]),
        ({"begun": True, "statuses": ("enqueued",)}, []),
    ):
        assert await uids_of(store, **query) == expected, query


async def test_pages_follow_each_other(store: Any) -> None:
    for number in range(10):
        await work(store, "books" if number % 2 else "films")
    await end(store, 4)
    await store.delete_tasks([4])
    for query, expected in (
        ({"limit": 3}, [9, 8, 7]),
        ({"limit": 3, "from_": 6}, [6, 5, 3]),
        ({"limit": 2, "from_": 4}, [3, 2]),
        ({"limit": 2, "from_": 4, "reverse": True}, [5, 6]),
        ({"limit": 9, "from_": 8, "reverse": True}, [8, 9]),
        ({"limit": 2, "from_": 6, "index_uids": ("books",)}, [5, 3]),
        ({"limit": 0}, []),
        ({"from_": 1}, [1, 0]),
        ({"from_": 50, "limit": 1}, [9]),
    ):
        page, total = await store.tasks(TaskQuery(**query))
        assert [task.uid for task in page] == expected, query
        assert total == (5 if "index_uids" in query else 9), "what a page is cut out of is counted as a whole"


async def test_tasks_beyond_one_block_are_found(store: Any) -> None:
    """Redis keeps the columns of 4,096 tasks together."""
    done = TaskEnd(uid=-1, status=TaskStatus.SUCCEEDED, finished_at=3)
    await add_many(store, [NewTask(type="a", index_uid="books")] * 4200, end=done)
    await store.tell_tasks(range(4200))
    assert await uids_of(store, limit=3, from_=4097) == [4097, 4096, 4095]
    assert await uids_of(store, uids=(5, 4095, 4096, 9999)) == [4096, 4095, 5]
    assert (await store.tasks(TaskQuery(limit=1, index_uids=("books",))))[1] == 4200
    assert await uids_of(store, limit=2, before={"finished_at": 4}, reverse=True, from_=4095) == [4095, 4096]
    assert await store.prune_tasks(before=0, keep=50) == 4150
    assert await uids_of(store, limit=60, reverse=True) == list(range(4150, 4200))
    assert await work(store) == 4200
    assert await uids_of(store, limit=2) == [4200, 4199]
    assert await store.prune_tasks(before=4, keep=50) == 50
    assert await uids_of(store) == [4200] and await store.task_indexes() == ("books",)


async def test_tasks_and_indexes_are_counted(store: Any) -> None:
    assert await store.count_tasks() == {} and await store.task_indexes() == ()
    books, films = await work(store), await work(store, "films")
    swap = await work(store, None, type=SWAP, indexes=("shelf", "books"))
    await store.begin_task(films)
    await end(store, swap)
    assert await store.count_tasks() == {
        TaskStatus.ENQUEUED: 1,
        TaskStatus.PROCESSING: 1,
        TaskStatus.SUCCEEDED: 1,
    }
    assert await store.task_indexes() == ("books", "films", "shelf")
    await end(store, books, films)
    await store.delete_tasks([swap, films])
    assert await store.count_tasks() == {TaskStatus.SUCCEEDED: 1} and await store.task_indexes() == ("books",)


# -- canceling and forgetting


async def test_only_work_that_nobody_has_begun_is_canceled(store: Any) -> None:
    begun, waiting, written = await work(store), await work(store), await write(store, n=1)
    await store.begin_task(begun)
    by = await work(store, None, type="taskCancelation")
    assert await store.cancel_tasks([begun, waiting, written, by, 99], by=by) == (waiting,)
    canceled = await store.task(waiting)
    assert (canceled.status, canceled.canceled_by) == (TaskStatus.CANCELED, by) and canceled.finished_at > 0
    assert await uids_of(store, canceled_by=(by,)) == [waiting] and await uids_of(store, canceled_by=(7,)) == []
    assert await store.cancel_tasks([waiting], by=by) == ()
    await store.delete_tasks([waiting])
    assert await uids_of(store, canceled_by=(by,)) == []


async def test_only_what_has_ended_is_deleted(store: Any) -> None:
    ended, waiting, written = await work(store), await work(store), await write(store, n=1)
    await end(store, ended)
    assert await store.delete_tasks([ended, ended, waiting, written, 99]) == 1
    assert await store.task(ended) is None and await uids_of(store) == [written, waiting]


async def test_a_dropped_task_leaves_no_trace(store: Any) -> None:
    dropped, kept = await write(store, n=1), await write(store, n=2)
    await store.drop_task(dropped)
    await store.drop_task(99)
    assert await uids_of(store) == [kept] and await store.task_of("books", 1, 1) is None
    assert await store.count_tasks() == {TaskStatus.ENQUEUED: 1}
    await store.drop_task(kept)
    assert not await store.any_unfinished() and await store.unfinished_writes(limit=5) == {}
    assert await store.task_indexes() == ()


async def test_webhooks_are_told_once(store: Any) -> None:
    first, second, third, waiting = [await work(store) for _ in range(4)]
    await end(store, second, first, third)
    assert [task.uid for task in await store.untold_tasks(limit=2)] == [first, second]
    await store.tell_tasks([first, second, waiting, 99])
    assert [task.uid for task in await store.untold_tasks(limit=9)] == [third]
    await end(store, waiting)
    assert [task.uid for task in await store.untold_tasks(limit=9)] == [third]


# -- pruning


async def test_what_is_old_or_too_much_is_pruned_once_it_was_told(store: Any) -> None:
    for _ in range(6):
        await work(store)
    for uid in range(5):
        await end(store, uid, finished_at=1 if uid == 3 else 900)
    assert await store.prune_tasks(before=500, keep=4) == 0
    await store.tell_tasks(range(6))
    assert await store.prune_tasks(before=500, keep=4) == 3
    assert await uids_of(store, reverse=True) == [2, 4, 5]
    assert await store.prune_tasks(before=0, keep=1) == 2
    assert await store.prune_tasks(before=0, keep=0) == 0 and await uids_of(store) == [5]


async def test_two_that_prune_at_once_delete_each_task_once(another: Open) -> None:
    stores = [await another(), await another()]
    uids = [await work(stores[0], f"index{number % 7}") for number in range(60)]
    await end(stores[0], *uids)
    await stores[0].tell_tasks(uids)
    pruned = await asyncio.gather(*(store.prune_tasks(before=500, keep=100) for store in stores))
    assert sum(pruned) == 60 and await uids_of(stores[1]) == []
    assert await stores[1].count_tasks() == {} and await stores[1].task_indexes() == ()


async def test_tasks_are_recorded_while_others_are_pruned(another: Open) -> None:
    first, second = await another(), await another()
    for round in range(5):
        uids = [await work(first, f"index{round}") for _ in range(8)]
        await end(first, *uids)
        await first.tell_tasks(uids)
        pruned, *added = await asyncio.gather(
            second.prune_tasks(before=500, keep=1000), *(work(first, f"index{round}") for _ in range(8))
        )
        assert pruned == 8
        assert await uids_of(second, index_uids=(f"index{round}",), reverse=True) == sorted(added)


# -- names


def an_index(uid: IndexUid, incarnation: int) -> Index:
    return Index(uid=uid, incarnation=incarnation, primary_key="id", shards=1, replicas=1)


async def test_earlier_tasks_are_told_by_the_new_names_and_work_that_waits_by_its_own(store: Any) -> None:
    done = TaskEnd(uid=-1, status=TaskStatus.SUCCEEDED, finished_at=1)
    for uid in (BOOKS, FILMS):
        await store.add_task(NewTask(type="indexCreation", index_uid=uid), end=done)
    swaps = [{"indexes": ["books", "films"]}, {"indexes": ["x", "shelf"]}]
    touched = ("books", "films", "x", "shelf")
    swap = NewTask(type=SWAP, indexes=touched, details={"swaps": swaps})
    told = (await store.add_task(swap, end=done)).uid
    waiting = await work(store, None, type=SWAP, indexes=touched, details={"swaps": swaps})
    written = [await write(store, incarnation=incarnation, n=incarnation) for incarnation in (1, 2)]
    pending = await work(store)
    follows = {BOOKS: FILMS, FILMS: BOOKS}
    known = {BOOKS: an_index(BOOKS, 2), FILMS: an_index(FILMS, 3)}
    await rename(store, follows, {BOOKS: 8, FILMS: 9}, known)
    assert await uids_of(store, index_uids=("films",)) == [*written[::-1], 0]
    assert await uids_of(store, index_uids=("books",)) == [pending, 1]
    assert (await store.task(told)).details == {"swaps": [{"indexes": ["films", "books"]}, {"indexes": ["x", "shelf"]}]}
    assert (await store.task(waiting)).details == {"swaps": swaps}
    assert [(await store.task(uid)).incarnation for uid in written] == [1, 8]
    assert (await store.task_of("films", 8, 2)).uid == written[1] and await store.task_of("books", 2, 2) is None
    assert [task.uid for task in (await store.unfinished_writes(limit=9))["films"]] == written
    with pytest.raises(WorkAhead):
        await store.require_idle("books")
    await end(store, pending, waiting)
    assert (await store.task(pending)).index_uid == "books"
    assert await store.task_indexes() == ("books", "films", "shelf", "x")
    await rename(store, {FILMS: SHELF, SHELF: FILMS}, {FILMS: 10}, {FILMS: an_index(FILMS, 8)})
    assert await uids_of(store, index_uids=("shelf",)) == [*written[::-1], 0]
    assert (await store.task(told)).details == {"swaps": [{"indexes": ["shelf", "books"]}, {"indexes": ["x", "films"]}]}
    assert await uids_of(store, index_uids=("films",)) == []
    assert await store.tasks(TaskQuery(index_uids=("films",))) == ((), 2)
    new = await write(store, "shelf", incarnation=10, n=3)
    assert [task.uid for task in (await store.unfinished_writes(limit=9))["shelf"]] == [*written, new]


async def test_an_index_may_have_any_name_that_is_one(store: Any) -> None:
    for name in ("_index", "__index", "a" * 400):
        uid = await work(store, name)
        with pytest.raises(WorkAhead):
            await store.require_idle(name)
        assert await uids_of(store, index_uids=(name,)) == [uid]
        await end(store, uid)
        assert await uids_of(store, index_uids=(name,)) == [uid] and (await store.task(uid)).index_uid == name


# -- webhooks


async def test_webhooks_are_kept_in_the_order_of_their_ids(store: Any) -> None:
    one = Webhook(uuid="b", url="http://x", headers={"A": "é"})
    other = Webhook(uuid="a", url="http://y")
    for webhook in (one, other):
        await store.save_webhook(webhook)
    assert await store.webhooks() == (other, one)
    changed = Webhook(uuid="b", url="http://z")
    await store.save_webhook(changed)
    assert await store.webhooks() == (other, changed)
    assert await store.delete_webhook("a") and not await store.delete_webhook("a")
    assert await store.webhooks() == (changed,)
