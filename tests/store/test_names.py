"""New names of indexes in the state file: everything that is kept under a name goes with its index, or nothing does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from miroir_cli.model import Index
from miroir_cli.store.sqlite.names import NAMED
from miroir_cli.store.sqlite.schema import migrations
from miroir_cli.store.sqlite.store import SqliteStore
from tests.store.contract.test_names import fill, rename, two
from tests.store.contract.world import BOOKS, FILMS

OF_TASKS = (("tasks", "index_uid"), ("task_indexes", "index_uid"), ("task_counts", "index_uid"))


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[tuple[Any, Index, Index]]:
    """`books` with two shards on two nodes and `films` with one on one."""
    store: Any = SqliteStore.open(folder / "state.db")
    try:
        books, films = await two(store)
        yield store, books, films
    finally:
        await store.close()


def content(path: Path, *, without: str) -> dict[str, list[dict[str, object]]]:
    """Every row of every table that names an index, with `books` and `films` told apart by what they are."""
    db = Database(path)
    found = {}
    for table, column in (*((table, column) for table, column, _ in NAMED), *OF_TASKS):
        rows = [dict(row) for row in db[table].rows]
        found[table] = [row for row in rows if row[column] != without]
    db.close()
    return found


def named_columns() -> set[tuple[str, str]]:
    """The columns of a new state file that hold the uid of an index."""
    db = Database(memory=True)
    migrations.apply(db)
    apart = {
        ("tasks", "uid"),
        ("api_keys", "uid"),
        ("canaries", "index_uid"),  # it asks for a name, as clients do
        ("task_blocks", "index_uid"),  # triggers have it follow the tasks
    }
    found = {
        (table, column.name)
        for table in db.table_names()
        for column in db[table].columns
        if column.name in ("uid", "index_uid", "index")
    }
    db.close()
    return found - apart


def test_every_table_that_names_an_index_is_known_to_who_renames() -> None:
    assert named_columns() == {(table, column) for table, column, _ in NAMED} | set(OF_TASKS)


def test_every_such_table_with_an_incarnation_is_known_to_have_one() -> None:
    db = Database(memory=True)
    migrations.apply(db)
    for table, _, incarnation in NAMED:
        columns = {column.name for column in db[table].columns}
        assert ("incarnation" in columns) is incarnation, table
    db.close()


async def test_a_swap_takes_everything_along_that_is_kept_under_a_name(tmp_path: Path) -> None:
    async with opened(tmp_path) as (store, books, films):
        await fill(store, books)
        path = tmp_path / "state.db"
        before = content(path, without=FILMS)
        assert all(before.values()), [table for table, rows in before.items() if not rows]
        await rename(store, (BOOKS, FILMS))
        after = content(path, without=BOOKS)
        now = await store.map(FILMS)
        assert now is not None
        for table, rows in before.items():
            column = next((name for each, name, _ in NAMED if each == table), "index_uid")
            expected = [{**row, column: FILMS} for row in rows]
            for row in expected:
                if row.get("incarnation") == books.incarnation:
                    row["incarnation"] = now.index.incarnation
                if table == "indexes":
                    row["published"] = 0
            assert sorted(map(str, after[table])) == sorted(map(str, expected)), table
        assert now.index == replace(books, uid=FILMS, incarnation=now.index.incarnation)
        other = await store.map(BOOKS)
        assert other is not None and other.index.stored_as == "films" and other.index.primary_key == "name"


# -- files of an older miroir


async def test_in_a_file_of_an_older_miroir_every_index_is_called_on_the_nodes_as_by_clients(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    db = Database(path)
    migrations.apply(db, stop_before="m007_names_on_nodes")
    db.execute("insert into cluster (id, name, cluster_id, epoch) values (1, 'test', 'f00', 7)")
    row = "(uid, incarnation, primary_key, shards, replicas, tie_break, settings, created_at, state)"
    for uid, state in (("books", "active"), ("films", "deleted"), ("shelf", "creating")):
        db.execute(f"insert into indexes {row} values (?, 3, 'id', 1, 1, 1, '{{}}', 9, ?)", [uid, state])
    db.conn.execute("pragma user_version = 5")
    db.close()
    store: Any = SqliteStore.open(path)
    try:
        record = await store.cluster()
        assert record is not None and (record.epoch, record.renamed) == (7, 0)
        assert [(index.uid, index.stored_as) for index in await store.indexes()] == [(BOOKS, "books")]
        creation = await store.creation("shelf")
        assert creation is not None and creation.index.stored_as == "shelf"
        await rename(store, (BOOKS, FILMS))
        assert [(index.uid, index.stored_as) for index in await store.indexes()] == [(FILMS, "books")]
    finally:
        await store.close()
