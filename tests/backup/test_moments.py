"""A shard is read exactly as it was at the moment that is stated, whatever writers, moves and faults do meanwhile.

Random histories in virtual time (see `tests/migration/test_histories.py`): every finished reading is compared with what
all writes up to its intent, and no other, make of the documents.
"""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Mapping, Set
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from shutil import rmtree

import msgspec
import pytest

from miroir_cli.backup.moment import Moment, ShardReading, stripper
from miroir_cli.backup.pace import Pace
from miroir_cli.cluster import Cluster
from miroir_cli.model import SHARD_FIELD, IntentState, ShardId, spell_shard
from miroir_cli.store.sqlite.store import SqliteStore
from tests.faults.world import UID, shard_of
from tests.migration.clients import command
from tests.migration.course import everything_at_once
from tests.migration.history import History, play, state_of
from tests.migration.ledger import Effect, Ledger, State
from tests.migration.rest import come_to_rest
from tests.migration.weather import Climate, climate_of

EACH = 30
ENOUGH = 20.0
"""Seconds after which a busy machine has seen enough of one lot."""


@dataclass(kw_only=True)
class Remembering(Ledger):
    """Also what every write does, by the number of its intent."""

    writes: dict[int, dict[str, Effect]] = field(default_factory=dict)

    def begun(self, n: int, effects: dict[str, Effect]) -> None:
        self.writes[n] = effects
        Ledger.begun(self, n, effects)


@dataclass(kw_only=True)
class Memory:
    """A sink that keeps what counts."""

    documents: dict[str, bytes] = field(default_factory=dict)

    async def begin(self) -> None:
        self.documents.clear()

    async def add(self, documents: Mapping[str, bytes]) -> None:
        assert not documents.keys() & self.documents.keys()
        self.documents.update(documents)

    async def drop(self, keys: Set[str]) -> None:
        for key in keys:
            del self.documents[key]


Taken = tuple[ShardId, Moment, dict[str, bytes]]


async def backups(history: History, taken: list[Taken], ends: asyncio.Event) -> None:
    """Read one shard after the other, again and again."""
    while not ends.is_set():
        shard = ShardId(history.random.randrange(history.index.shards))

        async def read(cluster: Cluster, shard: ShardId = shard) -> None:
            sink = Memory()
            moment = await ShardReading(cluster, history.index, shard, sink, pace=Pace(), retry_for=3.0).run()
            taken.append((shard, moment, sink.documents))
            history.tell(f"shard {shard} was read as of {moment.intent}")

        await command(history, "backup", read)
        await asyncio.sleep(history.random.choice((0.0, 0.1, 1.0)))


async def course(history: History, taken: list[Taken]) -> None:
    history.ledger = Remembering()
    await everything_at_once(history, lambda history, ends: backups(history, taken, ends))
    await the_lease_of_killed_backups_ends(history)
    await come_to_rest(history)
    await check(history, taken)


async def the_lease_of_killed_backups_ends(history: History) -> None:
    """Ten minutes later the next backup takes away what they have left."""
    with closing(sqlite3.connect(history.folder / "state.db")) as db, db:
        db.execute("update movers set created_at = created_at - 600001 where node = ''")
    await history.store.watch(history.index, ShardId(0), nonce="next")
    await history.store.unwatch(history.index, ShardId(0), nonce="next")


async def check(history: History, taken: list[Taken]) -> None:
    """Each reading has what the writes up to its moment have made, and nothing else."""
    assert isinstance(history.ledger, Remembering)
    writes = history.ledger.writes
    intents = await history.store.intents(UID, writes)
    for shard, moment, documents in taken:
        expected: dict[str, State] = {key: None for key in history.keys if shard_of(key, history.index) == shard}
        for n in sorted(number for number in writes if number <= moment.intent):
            intent = intents[n]
            if intent.state is not IntentState.DONE or shard in intent.failed | intent.refused:
                continue
            for key in writes[n].keys() & expected.keys():
                expected[key] = writes[n][key](expected[key])
        found = dict.fromkeys(expected) | {key: state_of(msgspec.json.decode(raw)) for key, raw in documents.items()}
        if found != expected:
            history.violated(f"shard {shard} as of {moment.intent} is {found}, expected {expected}")
        assert not any(SHARD_FIELD.encode() in raw for raw in documents.values())


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory where that is possible."""
    memory = Path("/dev/shm")
    path = Path(tempfile.mkdtemp(prefix="miroir-moments-", dir=memory if memory.is_dir() else None))
    yield path
    rmtree(path)


@pytest.fixture
def template(folder: Path) -> Path:
    path = folder / "empty.db"
    asyncio.run(SqliteStore.open(path).close())
    return path


def climate(random: Random) -> Climate:
    return replace(climate_of(random), loses_disk=False, healer=False)


def run(seed: int, folder: Path, template: Path) -> list[Taken]:
    taken: list[Taken] = []
    random = Random(seed)
    play(lambda history: course(history, taken), folder, random=random, climate=climate(random), template=template)
    return taken


@pytest.mark.parametrize("lot", range(4))
def test_a_shard_is_read_as_it_was_at_the_moment_that_is_stated(folder: Path, template: Path, lot: int) -> None:
    began, shards, full = time.monotonic(), 0, 0
    for seed in range(lot * EACH, (lot + 1) * EACH):
        taken = run(seed, folder / str(seed), template)
        shards, full = shards + len(taken), full + sum(bool(documents) for _, _, documents in taken)
        if time.monotonic() - began > ENOUGH:
            break
    assert shards > full > 0


@pytest.mark.parametrize(
    "document",
    [
        b'{"_miroir_shard":"%s","id":1,"a":"x"}',
        b'{"id":1,"_miroir_shard":"%s","a":"x"}',
        b'{"id":1,"a":"x","_miroir_shard":"%s"}',
        b'{"id":1,"inner":{"b":1,"_miroir_shard":"%s"},"_miroir_shard":"%s","a":"x"}',
    ],
)
def test_the_reserved_field_is_taken_out_wherever_it_stands(document: bytes) -> None:
    spelled = spell_shard(7).encode()
    expected = msgspec.json.decode(document.replace(b"%s", spelled))
    del expected[SHARD_FIELD]
    assert msgspec.json.decode(stripper(ShardId(7))(document.replace(b"%s", spelled))) == expected
