"""The state file: what it keeps, what it refuses, and what it says when the disk or another process is in the way."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from miroir_cli.errors import (
    MiroirError,
    StateCorrupt,
    StateTooNew,
    StateUnavailable,
)
from miroir_cli.model import Index, IndexMap, IndexUid, NodeName, ReplicaState, ShardId, WriteKind
from miroir_cli.replication.verdict import Part, Sent, judge_sending
from miroir_cli.store.records import Member
from miroir_cli.store.sqlite.schema import NEWEST_VERSION
from miroir_cli.store.sqlite.store import SqliteStore

A, B = NodeName("a"), NodeName("b")
ZERO, ONE = ShardId(0), ShardId(1)
INDEX = Index(uid=IndexUid("books"), incarnation=0, primary_key="id", shards=2, replicas=2)


async def with_index(store: SqliteStore) -> IndexMap:
    """Two shards, each on both nodes."""
    await store.found(name="test")
    for name in (A, B):
        await store.enrol(Member(name=name, url="http://x", top_task=0))
    index = await store.begin_creation(INDEX, nodes={A: 0, B: 0})
    placement = {ZERO: frozenset({A, B}), ONE: frozenset({A, B})}
    return await store.finish_creation(index, placement=placement, bases={A: 3, B: 4})


async def write(store: SqliteStore, index: Index, *, task: int = 10, only: NodeName | None = None) -> int:
    """One write that both nodes accept, or only one."""
    intent = await store.open_intent(
        index, kind=WriteKind.ADD, documents={ZERO: 1, ONE: 2}, nonce="x", min_in_sync=1, owner="test"
    )
    answers = {
        name: (
            Part(
                shards=frozenset({ZERO, ONE}),
                sent=Sent.ACCEPTED if only in (None, name) else Sent.REFUSED,
                task=task if only in (None, name) else None,
                documents=3,
            ),
        )
        for name in (A, B)
    }
    closed, _ = await store.close_intent(intent, lambda intent, in_sync: judge_sending(intent, in_sync, answers))
    return closed.n


async def test_the_file_is_for_its_owner_alone_and_durable(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = SqliteStore.open(path)
    await with_index(store)
    for name in ("state.db", "state.db-wal"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600, name
    with sqlite3.connect(path) as connection:
        assert connection.execute("pragma journal_mode").fetchone() == ("wal",)
        assert connection.execute("pragma user_version").fetchone() == (NEWEST_VERSION,)
    connection.close()
    assert store._writer.conn.execute("pragma synchronous").fetchone() == (2,)
    await store.close()


async def test_a_file_of_a_newer_miroir_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    await SqliteStore.open(path).close()
    connection = sqlite3.connect(path)
    connection.execute(f"pragma user_version = {NEWEST_VERSION + 1}")
    connection.close()
    with pytest.raises(StateTooNew, match="schema version"):
        SqliteStore.open(path)


async def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(StateCorrupt) as caught:
        SqliteStore.open(path)
    assert str(path) in caught.value.message and caught.value.hint
    assert path.read_bytes() == b"not a database" * 100


async def everything(path: Path) -> None:
    """Read all and write something."""
    store = SqliteStore.open(path)
    try:
        await store.found(name="test")
        await store.members()
        for index in await store.indexes():
            await store.map(index.uid)
            await store.pending(index.uid)
            await store.intents(index.uid, range(1, 200))
            await store.unfinished_imports()
            await write(store, index, task=5000)
        await store.begin_creation(
            Index(uid=IndexUid("more"), incarnation=0, primary_key="id", shards=1, replicas=1), nodes={}
        )
    finally:
        await store.close()


@pytest.mark.parametrize("part", range(4))
async def test_a_truncated_file_is_damaged_or_works_never_something_else(tmp_path: Path, part: int) -> None:
    whole = tmp_path / "whole.db"
    store = SqliteStore.open(whole)
    made = await with_index(store)
    for task in range(10, 60):
        await write(store, made.index, task=task)
    await store.close()
    size = whole.stat().st_size
    assert not (tmp_path / "whole.db-wal").exists()
    outcomes = set()
    offsets = [1, 15, 50, 99, 100, 101, 500, *range(1024, size, size // 40), size - 1]
    for offset in offsets[part::4]:
        path = tmp_path / f"cut{offset}.db"
        shutil.copy(whole, path)
        os.truncate(path, offset)
        try:
            await everything(path)
            outcomes.add("works")
        except StateCorrupt:
            outcomes.add("damaged")
    assert "damaged" in outcomes


async def test_a_file_with_overwritten_pages_is_damaged_or_works(tmp_path: Path) -> None:
    whole = tmp_path / "whole.db"
    store = SqliteStore.open(whole)
    made = await with_index(store)
    for task in range(10, 40):
        await write(store, made.index, task=task)
    await store.close()
    content = whole.read_bytes()
    for page in range(0, len(content), 4096):
        path = tmp_path / f"page{page}.db"
        path.write_bytes(content[:page] + b"\x5a" * 4096 + content[page + 4096 :])
        try:
            await everything(path)
        except StateCorrupt:
            continue


async def test_a_full_disk_is_said_so_and_what_was_there_stays(tmp_path: Path) -> None:
    store = SqliteStore.open(tmp_path / "state.db")
    made = await with_index(store)
    pages = store._writer.conn.execute("pragma page_count").fetchone()[0]
    store._writer.conn.execute(f"pragma max_page_count = {pages}")
    done = 0
    with pytest.raises(StateUnavailable, match="no space left"):
        for task in range(10, 1000):
            await write(store, made.index, task=task)
            done += 1
    store._writer.conn.execute("pragma max_page_count = 100000")
    newest = await store.newest_intent("books")
    assert newest is not None and newest.n in (done, done + 1)
    await store.close()


async def test_a_transaction_of_another_process_is_waited_for_only_so_long(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = SqliteStore.open(path, busy_timeout=0.1)
    await with_index(store)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("begin immediate")
    with pytest.raises(StateUnavailable, match="held by another process"):
        await store.mark("books", {A: [ZERO]}, state=ReplicaState.STALE)
    assert await store.map("books") is not None, "reading never waits"
    other.execute("rollback")
    assert (await store.mark("books", {A: [ZERO]}, state=ReplicaState.STALE)).stale
    other.close()
    await store.close()


async def test_a_folder_in_the_way_or_missing_rights_are_named(tmp_path: Path) -> None:
    (tmp_path / "state.db").mkdir()
    with pytest.raises(StateUnavailable, match=r"state\.db"):
        SqliteStore.open(tmp_path / "state.db")
    (tmp_path / "file").write_text("")
    with pytest.raises(StateUnavailable, match="cannot be made"):
        SqliteStore.open(tmp_path / "file" / "state.db")


READ_ONLY = """
import asyncio, os, sys
from pathlib import Path
from miroir_cli.errors import StateUnavailable
from miroir_cli.store.sqlite.store import SqliteStore
if os.getuid() == 0:
    os.setuid(65534)
try:
    store = SqliteStore.open(Path(sys.argv[1]))
    asyncio.run(store.found(name="test"))
except StateUnavailable as error:
    print(error.message)
"""


def test_a_file_that_may_not_be_written_is_said_so() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "state.db"
        asyncio.run(SqliteStore.open(path).close())
        path.chmod(0o444)
        folder.chmod(0o555)
        done = subprocess.run([sys.executable, "-c", READ_ONLY, str(path)], capture_output=True, text=True, check=False)
        folder.chmod(0o755)
    assert f"state file `{path}` cannot be" in done.stdout, done


WRITER = """
import asyncio, sys
from pathlib import Path
from miroir_cli.store.sqlite.store import SqliteStore

async def main(path, name):
    store = SqliteStore.open(Path(path))
    for number in range(100):
        record = await store.begin_import(uid=name, incarnation=1, fingerprint={"n": number}, options={})
        await store.finish_import(record.id, state="done", summary={})
    await store.close()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_processes_that_open_a_new_file_and_write_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    processes = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", WRITER, str(path), f"w{number}")
        for number in range(3)
    ]
    assert [await process.wait() for process in processes] == [0, 0, 0]
    connection = sqlite3.connect(path)
    assert connection.execute("select uid, count(*) from imports where state = 'done' group by uid").fetchall() == [
        ("w0", 100),
        ("w1", 100),
        ("w2", 100),
    ]
    connection.close()


def test_every_error_of_the_state_has_a_next_step(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x" * 5000)
    with pytest.raises(MiroirError) as caught:
        SqliteStore.open(tmp_path / "x")
    assert caught.value.hint


async def test_a_file_opened_to_read_shows_everything_and_takes_no_change(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = SqliteStore.open(path)
    map = await with_index(store)
    await write(store, map.index)
    content = path.read_bytes()
    reader = SqliteStore.open_to_read(path)
    try:
        assert await reader.map("books") == await store.map("books")
        assert await reader.pending("books") == await store.pending("books")
        with pytest.raises(StateUnavailable, match="cannot be written"):
            await reader.forget_index("books")
        await store.mark("books", {NodeName("n1"): [ShardId(0)]}, state=ReplicaState.STALE)
        assert await reader.epoch() == await store.epoch()
        assert await reader.find_damage(timeout=5.0) is None
    finally:
        await reader.close()
    assert path.read_bytes() == content
    await store.close()


async def test_only_a_file_that_is_there_can_be_opened_to_read(tmp_path: Path) -> None:
    with pytest.raises(StateUnavailable, match="cannot be opened"):
        SqliteStore.open_to_read(tmp_path / "state.db")
    assert os.listdir(tmp_path) == []


async def test_a_file_of_an_older_miroir_is_read_without_bringing_it_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "state #1?.db"
    connection = sqlite3.connect(path)
    connection.execute("create table strange (x)")
    connection.close()
    content = path.read_bytes()
    reader = SqliteStore.open_to_read(path)
    assert await reader.indexes() == ()
    with pytest.raises(StateUnavailable, match="cannot be written"):
        await reader.found(name="x")
    await reader.close()
    assert path.read_bytes() == content


async def test_damage_that_no_read_has_met_is_found(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = SqliteStore.open(path)
    await with_index(store)
    await store.close()
    content = bytearray(path.read_bytes())
    content[-4096 * 2 : -4096] = b"\xff" * 4096
    path.write_bytes(content)
    reader = SqliteStore.open_to_read(path)
    found = await reader.find_damage(timeout=5.0)
    assert found is not None and f"state file `{path}` is damaged: " in found
    await reader.close()
