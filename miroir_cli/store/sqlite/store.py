"""`SqliteStore`: the state store in one file.

Writes run one after the other on a thread of their own, so that a durable commit never stops the event loop. Small
reads use a second connection on the caller's thread: with WAL they neither wait nor are waited for.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from miroir_cli.errors import StateUnavailable
from miroir_cli.store.journal import Changes, RunKind
from miroir_cli.store.sqlite import cluster, imports, intents, moves, runs
from miroir_cli.store.sqlite.database import (
    BUSY_TIMEOUT,
    connect,
    connect_to_read,
    find_damage,
    prepare,
    transaction,
    translated,
)

if TYPE_CHECKING:
    from sqlite_utils import Database

    from miroir_cli.model import Index, IndexMap, Intent, Json, NodeName, ReplicaState, ShardId, WriteKind
    from miroir_cli.store.journal import RunId, RunRecord, RunState, StepEvent, StepRecord, Wanted
    from miroir_cli.store.records import (
        BatchRecord,
        ClusterRecord,
        Creation,
        Deletion,
        ImportRecord,
        Judge,
        KeysOf,
        Marked,
        Member,
        Pending,
        Rebuilt,
        Settle,
    )

Result = TypeVar("Result")


class SqliteStore:
    """The protocol `miroir_cli.store.records.Store` over one SQLite file."""

    def __init__(self, path: Path, writer: Database, reader: Database) -> None:
        self.path = path
        self._writer = writer
        self._reader = reader
        self._file = _identity(path)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="miroir-state")

    @classmethod
    def open(cls, path: Path, *, busy_timeout: float = BUSY_TIMEOUT) -> Self:
        """Open or create the file and bring its tables up to date. `busy_timeout`: seconds to wait for another
        process's transaction.

        Raises `StateTooNew`, `StateCorrupt` or `StateUnavailable`.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StateUnavailable(
                f"folder `{path.parent}` of the state file cannot be made: {error.strerror}",
                hint="check `[state] url` in the topology file",
            ) from error
        writer = connect(path, busy_timeout=busy_timeout)
        try:
            prepare(writer, path)
            reader = connect(path, busy_timeout=busy_timeout)
        except BaseException:
            writer.conn.close()
            raise
        return cls(path, writer, reader)

    @classmethod
    def open_to_read(cls, path: Path, *, busy_timeout: float = BUSY_TIMEOUT) -> Self:
        """Open a file that is there and change nothing in it: every method that would raises `StateUnavailable`.

        Raises `StateTooNew`, `StateCorrupt` or `StateUnavailable`.
        """
        db = connect_to_read(path, busy_timeout=busy_timeout)
        return cls(path, db, db)

    async def find_damage(self, *, timeout: float) -> str | None:
        """What SQLite finds wrong with the file, in one line; None when nothing, or not within `timeout` seconds."""
        look = asyncio.get_running_loop().run_in_executor(self._thread, find_damage, self._reader, self.path)
        done, _ = await asyncio.wait([look], timeout=timeout)
        if not done:
            self._reader.conn.interrupt()
        return await look

    async def close(self) -> None:
        self._thread.shutdown(wait=True)
        self._writer.conn.close()
        self._reader.conn.close()

    async def _write(self, change: Callable[[Database], Result], *, durable: bool = True) -> Result:
        def run() -> Result:
            self._check_place()
            with transaction(self._writer, self.path, durable=durable) as db:
                return change(db)

        return await asyncio.get_running_loop().run_in_executor(self._thread, run)

    def _check_place(self) -> None:
        """What is written into a file that was removed or replaced would be lost without anybody noticing."""
        if _identity(self.path) != self._file:
            raise StateUnavailable(
                f"state file `{self.path}` was removed or replaced while this command ran",
                hint="run the same command again; if the file is lost, run `miroir state recover` first",
            )

    def _read(self, look: Callable[[Database], Result]) -> Result:
        """Several reads of one moment."""
        with translated(self.path):
            self._reader.conn.execute("begin")
            try:
                return look(self._reader)
            finally:
                self._reader.conn.execute("rollback")

    # -- the cluster and its nodes

    async def cluster(self) -> ClusterRecord | None:
        with translated(self.path):
            return cluster.read_cluster(self._reader)

    async def found(self, *, name: str) -> ClusterRecord:
        record = await self.cluster()
        return record if record is not None else await self._write(lambda db: cluster.found_cluster(db, name=name))

    async def epoch(self) -> int:
        with translated(self.path):
            return cluster.read_epoch(self._reader)

    async def members(self) -> dict[NodeName, Member]:
        with translated(self.path):
            return cluster.read_members(self._reader)

    async def enrol(self, member: Member) -> None:
        await self._write(lambda db: cluster.enrol(db, member))

    async def rebuild(self, state: Rebuilt) -> None:
        """Fill an empty store with a whole state."""
        await self._write(lambda db: cluster.rebuild(db, state))

    # -- indexes

    async def indexes(self) -> tuple[Index, ...]:
        with translated(self.path):
            return cluster.read_indexes(self._reader)

    async def map(self, uid: str) -> IndexMap | None:
        return self._read(lambda db: cluster.read_map(db, uid))

    async def begin_creation(self, index: Index, *, nodes: Mapping[NodeName, int]) -> Index:
        return await self._write(lambda db: cluster.begin_creation(db, index, nodes=nodes))

    async def creation(self, uid: str) -> Creation | None:
        return self._read(lambda db: cluster.read_creation(db, uid))

    async def finish_creation(
        self, index: Index, *, placement: Mapping[ShardId, frozenset[NodeName]], bases: Mapping[NodeName, int]
    ) -> IndexMap:
        return await self._write(lambda db: cluster.finish_creation(db, index, placement=placement, bases=bases))

    async def begin_deletion(self, index: Index) -> None:
        await self._write(lambda db: cluster.begin_deletion(db, index))

    async def deletion(self, uid: str) -> Deletion | None:
        return self._read(lambda db: cluster.read_deletion(db, uid))

    async def interrupted(self) -> dict[str, str]:
        return self._read(cluster.read_interrupted)

    async def forget_index(self, uid: str) -> None:
        await self._write(lambda db: cluster.forget_index(db, uid))

    async def set_replicas(self, uid: str, replicas: int) -> None:
        await self._write(lambda db: cluster.set_replicas(db, uid, replicas))

    async def note_published(self, uid: str, epoch: int) -> None:
        await self._write(lambda db: cluster.note_published(db, uid, epoch), durable=False)

    async def unpublished(self, uid: str) -> bool:
        return self._read(lambda db: cluster.read_unpublished(db, uid))

    async def mark(self, uid: str, replicas: Mapping[NodeName, Iterable[ShardId]], *, state: ReplicaState) -> Marked:
        return await self._write(lambda db: cluster.mark(db, uid, replicas, state=state))

    # -- writes

    async def open_intent(
        self,
        index: Index,
        *,
        kind: WriteKind,
        documents: Mapping[ShardId, int | None],
        nonce: str,
        min_in_sync: int,
        owner: str,
        body: Json | None = None,
        batch: BatchRecord | None = None,
        keys: KeysOf | None = None,
    ) -> Intent:
        return await self._write(
            lambda db: intents.open_intent(
                db,
                index,
                kind=kind,
                documents=documents,
                nonce=nonce,
                min_in_sync=min_in_sync,
                owner=owner,
                body=body,
                batch=batch,
                keys=keys,
            )
        )

    async def newest_intent(self, uid: str) -> Intent | None:
        return self._read(lambda db: intents.read_newest(db, uid))

    async def intents(self, uid: str, numbers: Iterable[int]) -> dict[int, Intent]:
        return self._read(lambda db: intents.read_intents(db, uid, numbers))

    async def close_intent(self, intent: Intent, judge: Judge) -> tuple[Intent, Marked]:
        """Durable: what is accepted may carry a stale mark, and a mark must outlast a power loss."""
        return await self._write(lambda db: intents.close_intent(db, intent, judge))

    async def pending(self, uid: str) -> Pending:
        return self._read(lambda db: intents.read_pending(db, uid))

    async def settle_intents(self, uid: str, judge: Settle) -> tuple[tuple[Intent, ...], Marked]:
        return await self._write(lambda db: intents.settle_intents(db, uid, judge))

    # -- moves of replicas

    async def join(
        self, index: Index, shard: ShardId, node: NodeName, *, nonce: str, top: int
    ) -> tuple[int, ReplicaState | None]:
        return await self._write(lambda db: moves.join(db, index, shard, node, nonce=nonce, top=top))

    async def switch(
        self,
        index: Index,
        shard: ShardId,
        node: NodeName,
        *,
        nonce: str,
        source: NodeName,
        leaving: NodeName | None,
        newest: int,
        base: int,
    ) -> Marked | None:
        return await self._write(
            lambda db: moves.switch(
                db, index, shard, node, nonce=nonce, source=source, leaving=leaving, newest=newest, base=base
            )
        )

    async def leave(self, index: Index, shard: ShardId, node: NodeName, *, keep: int) -> bool:
        return await self._write(lambda db: moves.leave(db, index, shard, node, keep=keep))

    async def unjoin(self, index: Index, shard: ShardId, node: NodeName) -> None:
        await self._write(lambda db: moves.unjoin(db, index, shard, node))

    async def served_until_they_left(self, index: Index, node: NodeName, shards: Iterable[ShardId]) -> bool:
        return self._read(lambda db: moves.served_until_they_left(db, index, node, shards))

    async def begin_forgetting(
        self, index: Index, node: NodeName, shards: Iterable[ShardId], *, nonce: str
    ) -> tuple[ShardId, ...]:
        return await self._write(lambda db: moves.begin_forgetting(db, index, node, shards, nonce=nonce))

    async def forget(self, index: Index, node: NodeName, shards: Iterable[ShardId]) -> None:
        await self._write(lambda db: moves.forget(db, index, node, shards))

    async def promote(self, index: Index, shard: ShardId, node: NodeName, *, top: int) -> None:
        await self._write(lambda db: moves.promote(db, index, shard, node, top=top))

    async def changes(self, uid: str, shard: ShardId, *, above: int, most: int | None = None) -> Changes:
        keys: set[str] = set()
        while True:
            page, read = self._changes_above(uid, shard, above)
            keys |= page.keys
            if page.sweep:
                return Changes(sweep=True)
            if read is None or (most is not None and len(keys) > most):
                return Changes(keys=frozenset(keys))
            above = read
            await asyncio.sleep(0)

    def _changes_above(self, uid: str, shard: ShardId, above: int) -> tuple[Changes, int | None]:
        return self._read(lambda db: moves.read_changes(db, uid, shard, above=above))

    async def account(self, uid: str, node: NodeName, tasks: Iterable[int]) -> None:
        await self._write(lambda db: moves.account(db, uid, node, tasks))

    async def accounted(self, uid: str, node: NodeName, *, above: int) -> frozenset[int]:
        return self._read(lambda db: moves.read_accounted(db, uid, node, above=above))

    async def was_addressed(self, uid: str, node: NodeName) -> bool:
        return self._read(lambda db: moves.was_addressed(db, uid, node))

    async def expel(self, node: NodeName) -> None:
        await self._write(lambda db: moves.expel(db, node))

    # -- runs

    async def begin_run(self, run: RunRecord, steps: Sequence[StepRecord]) -> RunRecord:
        return await self._write(lambda db: runs.begin_run(db, run, steps))

    async def adopt_run(self, id: RunId, *, pid: int, command: str) -> RunRecord:
        return await self._write(lambda db: runs.adopt_run(db, id, pid=pid, command=command))

    async def run(self, id: RunId) -> RunRecord | None:
        return self._read(lambda db: runs.read_run(db, id))

    async def runs(self, *, limit: int = 20) -> tuple[RunRecord, ...]:
        return self._read(lambda db: runs.read_runs(db, limit=limit))

    async def unfinished_run(self, kind: RunKind = RunKind.REBALANCE) -> RunRecord | None:
        return self._read(lambda db: runs.read_unfinished(db, kind=kind))

    async def control_run(
        self,
        id: RunId,
        *,
        command: str,
        wanted: Wanted | None = None,
        rate: int | None = None,
        parallel: int | None = None,
    ) -> None:
        await self._write(
            lambda db: runs.control_run(db, id, wanted=wanted, rate=rate, parallel=parallel, command=command)
        )

    async def save_run(self, id: RunId, *, state: RunState, summary: Json | None = None) -> None:
        await self._write(lambda db: runs.save_run(db, id, state=state, summary=summary))

    async def steps(self, id: RunId) -> tuple[StepRecord, ...]:
        return self._read(lambda db: runs.read_steps(db, id))

    async def save_step(self, id: RunId, step: StepRecord, *, detail: str = "") -> None:
        await self._write(lambda db: runs.save_step(db, id, step, detail=detail))

    async def switching(self, uid: str) -> tuple[int, ...]:
        """The processes whose runs are about to switch a shard of the index."""
        return self._read(lambda db: runs.read_switching(db, uid))

    async def events(self, id: RunId) -> tuple[StepEvent, ...]:
        return self._read(lambda db: runs.read_events(db, id))

    # -- imports

    async def begin_import(self, *, uid: str, incarnation: int, fingerprint: Json, options: Json) -> ImportRecord:
        return await self._write(
            lambda db: imports.begin_import(
                db, uid=uid, incarnation=incarnation, fingerprint=fingerprint, options=options
            )
        )

    async def unfinished_imports(self, uid: str | None = None) -> tuple[ImportRecord, ...]:
        with translated(self.path):
            return imports.read_unfinished(self._reader, uid)

    async def finish_import(self, id: int, *, state: str, summary: Json) -> None:
        await self._write(lambda db: imports.finish_import(db, id, state=state, summary=summary))

    async def save_batch(self, batch: BatchRecord) -> None:
        await self._write(lambda db: imports.save_batch(db, batch))

    async def batches(self, import_id: int) -> tuple[BatchRecord, ...]:
        with translated(self.path):
            return imports.read_batches(self._reader, import_id)


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file it is that has this name now; None when there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
