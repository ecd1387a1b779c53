"""Tasks of clients in the state file: how they are counted and looked up there."""

from __future__ import annotations

from pathlib import Path

from sqlite_utils import Database

from miroir_cli.store.sqlite.schema import migrations
from miroir_cli.store.sqlite.store import SqliteStore
from miroir_cli.store.tasks import NewTask, TaskQuery, TaskStatus
from tests.store.contract.clients import SWAP, uids_of, work


async def test_tasks_of_a_file_of_an_older_miroir_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    db = Database(path)
    migrations.apply(db, stop_before="m008_several_hosts")
    rows = [
        (0, "books", "a", "succeeded", 5, ["books"]),
        (1, "books", "a", "enqueued", None, ["books"]),
        (2, None, SWAP, "failed", None, ["books", "films"]),
        (3, "rules", "b", "enqueued", None, []),
        (4, None, "c", "enqueued", None, []),
        (5, "books", "a", "enqueued", None, ["films"]),
    ]
    for uid, index, type, status, begun, touched in rows:
        columns = "(uid, index_uid, type, status, started_at, enqueued_at) values (?, ?, ?, ?, ?, 1)"
        db.execute(f"insert into tasks {columns}", [uid, index, type, status, begun])
        for name in touched:
            db.execute("insert into task_indexes (index_uid, task) values (?, ?)", [name, uid])
    db.conn.commit()
    db.close()
    store = SqliteStore.open(path)
    try:
        assert await store.count_tasks() == {
            TaskStatus.SUCCEEDED: 1,
            TaskStatus.ENQUEUED: 4,
            TaskStatus.FAILED: 1,
        }
        assert await store.task_indexes() == ("books", "films")
        assert await uids_of(store, index_uids=("books",), limit=9) == [1, 0]
        assert await uids_of(store, index_uids=("films",), limit=9) == [5]
        assert (await store.tasks(TaskQuery(index_uids=("films",), limit=1)))[1] == 2
        assert await uids_of(store, begun=True, limit=9) == [0]
        assert await work(store) == 6
        assert await uids_of(store, index_uids=("books",), limit=2) == [6, 1]
    finally:
        await store.close()


async def test_pages_out_of_more_kinds_of_tasks_than_are_looked_up_one_by_one(tmp_path: Path) -> None:
    store = SqliteStore.open(tmp_path / "state.db")
    try:
        names = tuple(f"index{number}" for number in range(250))
        for name in names:
            await store.add_task(NewTask(type="a", index_uid=name))
        assert await uids_of(store, index_uids=names, limit=3, from_=200) == [200, 199, 198]
        assert await uids_of(store, index_uids=names[:50], limit=2) == [49, 48]
    finally:
        await store.close()
