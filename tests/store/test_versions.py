"""State of every older version is opened, brought to the newest one, and all there. See `versions/`."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from miroir_cli.model import IndexMap, NodeName, ReplicaState, ShardId
from miroir_cli.store.journal import JournalQuery, Process
from miroir_cli.store.redis.columns import marks_of
from miroir_cli.store.redis.connection import NEWEST_VERSION as NEWEST_IN_REDIS
from miroir_cli.store.redis.connection import SCHEMA, connect
from miroir_cli.store.redis.older_tasks import part_columns
from miroir_cli.store.redis.store import RedisStore
from miroir_cli.store.sqlite.schema import NEWEST_VERSION
from miroir_cli.store.sqlite.store import SqliteStore
from miroir_cli.store.tasks import Reservation, TaskQuery, TaskStatus
from tests.store.redis_server import RedisServer
from tests.store.versions.content import TIMES, holds, told

FILES = Path(__file__).with_name("versions")
OLDER = range(1, NEWEST_VERSION)
"""The newest version becomes an older one, with a file of its own, when it was released and another one follows."""

Rows = dict[str, list[dict[str, Any]]]


def old_file(folder: Path, version: int) -> Path:
    path = folder / "state.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript((FILES / f"sqlite-{version}.sql").read_text())
    return path


def rows_of(path: Path) -> Rows:
    with closing(sqlite3.connect(path)) as db:
        db.row_factory = sqlite3.Row
        named = db.execute("select name from sqlite_master where type = 'table' and name not like '%sqlite_%'")
        return {name: [dict(row) for row in db.execute(f'select * from "{name}"')] for (name,) in named.fetchall()}


@asynccontextmanager
async def opened(folder: Path, version: int) -> AsyncIterator[SqliteStore]:
    store = SqliteStore.open(old_file(folder, version))
    try:
        yield store
    finally:
        await store.close()


@pytest.mark.parametrize("version", OLDER)
async def test_no_row_of_an_older_file_is_lost(tmp_path: Path, version: int) -> None:
    path = old_file(tmp_path, version)
    before = rows_of(path)
    assert all(before.values()), "every table has something in it"
    await SqliteStore.open(path).close()
    after = rows_of(path)
    for table, rows in before.items():
        kept = [{name: row[name] for name in rows[0]} for row in after[table]]
        assert kept == rows, table
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("pragma user_version").fetchone() == (NEWEST_VERSION,)


@pytest.mark.parametrize("version", OLDER)
async def test_an_older_file_is_read_without_changing_it(tmp_path: Path, version: int) -> None:
    path = old_file(tmp_path, version)
    store = SqliteStore.open_to_read(path)
    assert [index.uid for index in await store.indexes()] == ["books"]
    await store.close()
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("pragma user_version").fetchone() == (version,)


@pytest.mark.parametrize("version", OLDER)
async def test_the_cluster_and_its_writes_are_found(tmp_path: Path, version: int) -> None:
    async with opened(tmp_path, version) as store:
        record = await store.cluster()
        assert record is not None and (record.name, record.id, record.epoch) == ("old", "c0ffee", 9)
        assert {name: each.top_task for name, each in (await store.members()).items()} == {"a": 41, "b": 17}
        map = await store.map("books")
        assert map is not None and (map.index.incarnation, map.index.shards) == (3, 2)
        assert map.index.settings == {"searchableAttributes": ["title"]}
        assert map.index.stored_as == ("books-2" if version >= 7 else "books")
        assert (NodeName("a"), ShardId(1), ReplicaState.STALE) in {
            (each.node, each.shard, each.state) for each in map.replicas
        }
        assert await store.interrupted() == {"films": "creating"}
        pending = await store.pending("books")
        assert (pending.settled, pending.newest, [intent.n for intent in pending.intents]) == (1, 2, [2])
        (unsettled,) = pending.intents
        assert unsettled.nonce == "two" and {target.node for target in unsettled.targets} == {"a", "b"}
        (running,) = await store.unfinished_imports()
        assert (running.id, running.options) == (1, {"format": "ndjson"})
        assert [(batch.number, batch.state) for batch in await store.batches(1)] == [(1, "done"), (2, "sending")]


@pytest.mark.parametrize("version", [version for version in OLDER if version >= 2])
async def test_runs_and_what_moves_are_found(tmp_path: Path, version: int) -> None:
    async with opened(tmp_path, version) as store:
        run = await store.unfinished_run()
        assert run is not None and (run.id, run.rate, run.summary) == (6, 500, {"planned": 1})
        assert run.process == Process(host="", pid=4711)
        (step,) = await store.steps(run.id)
        assert (step.index, step.target, step.copied) == ("books", "c", 5)
        assert [event.state for event in await store.events(run.id)] == ["begun", "copying"]
        assert set((await store.pending("books")).movers) == {"mover"}
        assert (await store.changes("books", ShardId(1), above=1)).keys == {"7", "8"}


@pytest.mark.parametrize("version", [version for version in OLDER if version >= 3])
async def test_tasks_of_clients_are_found(tmp_path: Path, version: int) -> None:
    async with opened(tmp_path, version) as store:
        done, waits = await store.task(1), await store.task(2)
        assert done is not None and (done.status, done.custom_metadata) == (TaskStatus.SUCCEEDED, "mine")
        assert waits is not None and (waits.n, waits.node_tasks[NodeName("b")]) == (2, (17,))
        assert [each.uid for each in (await store.unfinished_writes(limit=5))["books"]] == [2]
        early = TaskQuery(before={"started_at": 1700000002001}, after={"finished_at": 1700000001899}, limit=5)
        (found,), total = await store.tasks(early)
        assert (found.uid, total) == (1, 1)
        (begun,), _ = await store.tasks(TaskQuery(after={"started_at": 1700000001001}, limit=5))
        assert begun.uid == 2
        asked = Reservation(key="key", digest="e3b0", task=None, owner="p", reserved_at=1)
        reserved = await store.reserve(asked, expires_at=99999999999999)
        assert reserved is not None and reserved.task == 1
        assert [webhook.url for webhook in await store.webhooks()] == ["https://example.org/hook"]
        if version >= 4:
            assert await store.session_waits_for("s", "books") == 2


@pytest.mark.parametrize("version", [version for version in OLDER if version >= 5])
async def test_keys_settings_and_commands_are_found(tmp_path: Path, version: int) -> None:
    async with opened(tmp_path, version) as store:
        assert [key.name for key in await store.api_keys()] == ["Search"]
        assert await store.settings_versions("books") == {"a": 1}
        assert await store.frozen() == {"books": "node `a` takes stop words otherwise"}
        if version >= 6:
            (command,) = await store.commands(JournalQuery())
            assert (command.id, command.result, command.runs) == (9, "nothing moved", (6,))


@pytest.mark.parametrize("version", [version for version in OLDER if version >= 8])
async def test_aliases_jobs_and_services_are_found(tmp_path: Path, version: int) -> None:
    async with opened(tmp_path, version) as store:
        (alias,) = await store.aliases()
        assert (alias.name, alias.targets, alias.version) == ("reading", ("books",), 6)
        resolved = await store.resolve("reading")
        assert isinstance(resolved, IndexMap) and (resolved.index.uid, resolved.alias) == ("books", "reading")
        assert [job.params for job in await store.jobs()] == [{"index": "books"}]
        assert [run.latency_ms for run in await store.canary_runs("c1")] == [7]
        (cursor,) = await store.cdc_cursors()
        assert cursor.last_event_seq == 4
        assert [policy.name for policy in await store.rollover_policies()] == ["logs"]
        assert [session.user_agent for session in await store.admin_sessions()] == ["curl"]


REDIS = range(1, NEWEST_IN_REDIS + 1)


@pytest.mark.parametrize("version", REDIS)
async def test_everything_in_redis_is_found(redis_server: RedisServer, version: int) -> None:
    file = json.loads((FILES / f"redis-{version}.json").read_text())
    access = connect(redis_server.url)
    await access.ask("FLUSHALL")
    for command in file["commands"]:
        await access.ask(*command)
    await access.client.aclose()
    store = await RedisStore.open(redis_server.url)
    try:
        now = await told(store)
        assert [name for name, then in file["told"].items() if not holds(now[name], then)] == []
        assert await store.access.ask("GET", SCHEMA) == str(NEWEST_IN_REDIS)
        assert set(now) == set(file["told"]), "what is new is in a file of the version that has it"
    finally:
        await store.access.ask("FLUSHALL")
        await store.close()


def test_every_version_has_its_file() -> None:
    files = {path.name for path in FILES.glob("*-*.*")}
    assert files == {f"sqlite-{version}.sql" for version in OLDER} | {f"redis-{version}.json" for version in REDIS}


async def test_marks_of_the_first_version_are_parted_into_columns(redis_server: RedisServer) -> None:
    access = connect(redis_server.url)
    await access.ask("FLUSHALL")
    subject = 5 * 128**2 + 3 * 128 + 1
    await access.ask("ZADD", "miroir:tasks:_index", 2, "2")
    await access.ask("SET", "miroir:task_marks:2", "S\0\5\3\1\7" + "\0" * 6 + "e\0\0\0\0\7")
    times = ["1".zfill(13), "\0" * 13, "9".zfill(13), "\0" * 39, "4".zfill(13), "\0" * 26]
    await access.ask("SET", "miroir:task_times:2", "".join(times))
    await access.write(part_columns)
    marks = marks_of(TaskStatus.SUCCEEDED, begun=True, subject=subject, type=7)
    assert marks["subject-4"] == "\0" and await access.ask("EXISTS", "miroir:task_marks:2:subject-4") == 0
    for column, mark in marks.items():
        text = await access.ask("GET", f"miroir:task_marks:2:{column}") or "\0"
        assert text[0] == mark, column
        assert text[1:] == {"status": "\0e", "type": "\0\7"}.get(column, "\0\0" if mark != "\0" else "")
    spans = {column: await access.ask("ZSCORE", f"miroir:task_last:{column}", "2") for column in TIMES}
    assert spans == {"enqueued_at": 4, "started_at": None, "finished_at": 9}
    assert await access.ask("ZSCORE", "miroir:task_first:enqueued_at", "2") == 1
    assert await access.ask("EXISTS", "miroir:task_marks:2", "miroir:task_times:2") == 0
    await access.ask("FLUSHALL")
    await access.client.aclose()
