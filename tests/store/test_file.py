"""Replacing the state file: what is found, what is written anew, and that nothing old is lost or mixed in."""

from __future__ import annotations

import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from miroir_cli.errors import StateTooNew, StateUnavailable
from miroir_cli.model import Index, IndexUid, NodeName, Replica, ReplicaState, ShardId, StoredUid, WriteKind
from miroir_cli.store.records import ClusterRecord, Found, Lane, Member, Newest, Rebuilt, RebuiltIndex
from miroir_cli.store.sqlite.file import StateFile
from miroir_cli.store.sqlite.schema import NEWEST_VERSION
from miroir_cli.store.sqlite.store import SqliteStore

A, B = NodeName("a"), NodeName("b")
BOOKS = Index(
    uid=IndexUid("books"),
    incarnation=3,
    primary_key="id",
    shards=1,
    replicas=2,
    tie_break=False,
    settings={"stopWords": ["the"]},
    created_at=5,
)
REPLICAS = (
    Replica(shard=ShardId(0), node=A, state=ReplicaState.SERVING, since=9),
    Replica(shard=ShardId(0), node=B, state=ReplicaState.LOST, since=9),
)
STATE = Rebuilt(
    cluster=ClusterRecord(name="test", id="f00", epoch=9),
    members=(Member(name=A, url="http://a", top_task=40),),
    indexes=(RebuiltIndex(index=BOOKS, replicas=REPLICAS, newest=12, tops={A: 40}),),
    deleted={"films": 4},
)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


async def replace(file: StateFile) -> Path | None:
    await file.build(STATE)
    aside = await file.set_aside()
    await file.take_place()
    return None if aside is None else Path(aside)


async def test_a_whole_state_is_what_was_given(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    assert await replace(StateFile(path)) is None
    store = SqliteStore.open(path)
    assert await store.cluster() == STATE.cluster
    assert await store.members() == {A: STATE.members[0]}
    map = await store.map("books")
    assert map is not None and (map.index, map.replicas, map.epoch) == (BOOKS, REPLICAS, 9)
    pending = await store.pending("books")
    assert (pending.settled, pending.newest, pending.lanes) == (12, 12, {A: Lane(node=A, base=41, looked=40)})
    intent = await store.open_intent(
        BOOKS, kind=WriteKind.ADD, documents={ShardId(0): 1}, nonce="x", min_in_sync=1, owner="test"
    )
    assert intent.n == 13
    film = Index(uid=IndexUid("films"), incarnation=0, primary_key="id", shards=1, replicas=1)
    assert (await store.begin_creation(film, nodes={})).incarnation == 5
    await store.close()
    assert names(tmp_path) == ["state.db"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_second_state_cannot_be_written_over_the_first(tmp_path: Path) -> None:
    store = SqliteStore.open(tmp_path / "state.db")
    await store.rebuild(STATE)
    with pytest.raises(StateUnavailable):
        await store.rebuild(STATE)
    await store.close()


async def test_what_is_found_of_a_file_in_use_is_its_newest_state_and_ends_up_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = SqliteStore.open(path)
    await store.rebuild(STATE)
    for suffix in ("", "-wal"):  # as a process that was killed leaves it
        shutil.copy(f"{path}{suffix}", tmp_path / f"killed.db{suffix}")
    await store.close()
    found = await StateFile(tmp_path / "killed.db").inspect()
    newest = Newest(uid=IndexUid("books"), stored_as=StoredUid("books"), incarnation=3, n=12)
    assert found == Found(cluster=STATE.cluster, blank=False, newest=(newest,))
    assert not (tmp_path / "killed.db-wal").exists()


async def test_a_missing_an_empty_and_a_blank_file_are_told_apart_from_one_with_content(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    assert await StateFile(path).inspect() == Found(exists=False)
    path.write_bytes(b"")
    assert await StateFile(path).inspect() == Found()
    store = SqliteStore.open(path)
    record = await store.found(name="test")
    await store.close()
    assert await StateFile(path).inspect() == Found(cluster=record)


async def test_a_file_of_a_newer_miroir_is_not_taken_for_damaged(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    await SqliteStore.open(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"pragma user_version = {NEWEST_VERSION + 1}")
    with pytest.raises(StateTooNew):
        await StateFile(path).inspect()


async def test_the_old_file_is_kept_with_what_was_beside_it_and_nothing_of_it_meets_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    store = SqliteStore.open(tmp_path / "old.db")
    await store.found(name="old")
    for suffix in ("", "-wal", "-shm"):
        shutil.copy(tmp_path / f"old.db{suffix}", f"{path}{suffix}")
    await store.close()
    aside = await replace(StateFile(path))
    assert aside is not None and aside.name.startswith("state.db.2") and aside.name.endswith("Z.old")
    assert {"state.db-wal", "state.db-shm"}.isdisjoint(names(tmp_path))
    assert (await StateFile(path).inspect()).cluster == STATE.cluster
    old = (await StateFile(aside).inspect()).cluster
    assert old is not None and old.name == "old"


async def test_two_old_files_of_the_same_second_are_both_kept(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    names = set()
    for content in (b"first", b"second", b"third"):
        path.write_bytes(content)
        aside = await replace(StateFile(path))
        assert aside is not None and aside.read_bytes() == content
        names.add(aside)
    assert len(names) == 3


async def test_what_a_killed_attempt_left_is_thrown_away(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    for suffix in ("", "-wal", "-shm"):
        (tmp_path / f"state.db.new{suffix}").write_bytes(b"half of something")
    await replace(StateFile(path))
    assert (await StateFile(path).inspect()).cluster == STATE.cluster


async def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "state.db.new").mkdir()
    with pytest.raises(StateUnavailable, match="cannot be replaced"):
        await StateFile(tmp_path / "state.db").build(STATE)
