"""`SqliteStore`: the state store in one file.

Writes run one after the other on a thread of their own, so that a durable commit never stops the event loop. Small
reads use a second connection on the caller's thread: with WAL they neither wait nor are waited for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from miroir_cli.errors import StateUnavailable
from miroir_cli.store.sessions import LOOK_EVERY
from miroir_cli.store.sqlite import (
    active,
    aliases,
    api_keys,
    cluster,
    imports,
    intents,
    names,
    rebuild,
    sessions,
)
from miroir_cli.store.sqlite.admin_sessions import AdminSessionRows
from miroir_cli.store.sqlite.aliases import AliasRows
from miroir_cli.store.sqlite.canaries import CanaryRows
from miroir_cli.store.sqlite.database import (
    BUSY_TIMEOUT,
    connect,
    connect_to_read,
    find_damage,
    prepare,
    translated,
)
from miroir_cli.store.sqlite.jobs import JobRows
from miroir_cli.store.sqlite.move_rows import MoveRows
from miroir_cli.store.sqlite.run_rows import RunRows
from miroir_cli.store.sqlite.services import CursorRows, RolloverRows, SearchUiRows, TenantRows
from miroir_cli.store.sqlite.task_rows import TaskRows

if TYPE_CHECKING:
    from sqlite_utils import Database

    from miroir_cli.model import (
        Index,
        IndexMap,
        IndexUid,
        Intent,
        Json,
        NodeName,
        ReplicaState,
        ShardId,
        StoredUid,
        WriteKind,
    )
    from miroir_cli.store.journal import (
        RunRecord,
    )
    from miroir_cli.store.records import (
        ApiKey,
        BatchRecord,
        ClusterRecord,
        Copies,
        Creation,
        Deletion,
        ImportRecord,
        Judge,
        KeysOf,
        Marked,
        Member,
        Pending,
        Progress,
        Rebuilt,
        Renaming,
        Settle,
    )
    from miroir_cli.store.slots import Slot
    from miroir_cli.store.tasks import NewTask


class SqliteStore(
    AliasRows,
    MoveRows,
    RunRows,
    TaskRows,
    JobRows,
    CanaryRows,
    CursorRows,
    TenantRows,
    RolloverRows,
    SearchUiRows,
    AdminSessionRows,
):
    """The protocol `miroir_cli.store.protocol.Store` over one SQLite file."""

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
        await self._write(lambda db: rebuild.rebuild(db, state))

    # -- indexes

    async def indexes(self) -> tuple[Index, ...]:
        with translated(self.path):
            return cluster.read_indexes(self._reader)

    async def map(self, uid: str) -> IndexMap | None:
        return self._read(lambda db: cluster.read_map(db, uid))

    async def begin_creation(self, index: Index, *, nodes: Mapping[NodeName, int]) -> Index:
        def begin(db: Database) -> Index:
            aliases.require_no_alias(db, index.uid)
            return cluster.begin_creation(db, index, nodes=nodes)

        return await self._write(begin)

    async def creation(self, uid: str) -> Creation | None:
        return self._read(lambda db: cluster.read_creation(db, uid))

    async def finish_creation(
        self, index: Index, *, placement: Mapping[ShardId, frozenset[NodeName]], bases: Mapping[NodeName, int]
    ) -> IndexMap:
        return await self._write(lambda db: cluster.finish_creation(db, index, placement=placement, bases=bases))

    async def begin_deletion(self, index: Index) -> None:
        def begin(db: Database) -> None:
            aliases.require_unused(db, index.uid)
            cluster.begin_deletion(db, index)

        await self._write(begin)

    async def deletion(self, uid: str) -> Deletion | None:
        return self._read(lambda db: cluster.read_deletion(db, uid))

    async def interrupted(self) -> dict[str, str]:
        return self._read(cluster.read_interrupted)

    async def forget_index(self, uid: str) -> None:
        await self._write(lambda db: cluster.forget_index(db, uid))

    async def set_replicas(self, index: Index, replicas: int) -> None:
        await self._write(lambda db: cluster.set_replicas(db, index, replicas))

    async def note_published(self, index: Index, epoch: int) -> None:
        await self._write(lambda db: cluster.note_published(db, index, epoch), durable=False)

    async def unpublished(self, uid: str) -> bool:
        return self._read(lambda db: cluster.read_unpublished(db, uid))

    async def mark(
        self,
        uid: str,
        replicas: Mapping[NodeName, Iterable[ShardId]],
        *,
        state: ReplicaState,
        incarnation: int | None = None,
    ) -> Marked:
        return await self._write(lambda db: cluster.mark(db, uid, replicas, state=state, incarnation=incarnation))

    async def lose(self, node: NodeName) -> tuple[IndexUid, ...]:
        return await self._write(lambda db: cluster.lose(db, node))

    # -- names

    async def free_name(self, uid: str) -> StoredUid:
        return self._read(lambda db: cluster.free_name(db, uid))

    async def require(self, index: Index) -> None:
        """Raise `IndexNotFound` or `IndexRenamed` unless the name of an index still stands for it."""
        self._read(lambda db: active.require_active(db, index))

    async def follow(self, index: Index) -> Index | None:
        """The same index by the name that it has now; None when it was deleted."""
        return self._read(lambda db: names.read_by_content(db, index))

    async def rename(
        self,
        renaming: Renaming,
        *,
        is_driven: Callable[[RunRecord], bool],
        is_running: Callable[[ImportRecord], bool],
    ) -> int:
        """Give indexes their new names, all or none of them; the epoch from which on they have them.

        Raises `IndexNotFound`, `AlreadyExists`, `IndexRenamed` when somebody else was quicker, and `Locked` while a
        write of one is on its way, a run that somebody drives moves its shards, or an import writes to it.
        """
        return await self._write(lambda db: names.rename(db, renaming, is_driven=is_driven, is_running=is_running))

    async def maps(self) -> tuple[IndexMap, ...]:
        return self._read(cluster.read_maps)

    async def copies(self) -> Copies:
        return self._read(names.read_copies)

    async def progress(self, uid: str) -> Progress | None:
        with translated(self.path):
            return cluster.read_progress(self._reader, uid)

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
        task: NewTask | None = None,
        slot: Slot | None = None,
    ) -> Intent:
        del slot  # on one host there are none
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
                task=task,
            )
        )

    async def newest_intent(self, uid: str) -> Intent | None:
        return self._read(lambda db: intents.read_newest(db, uid))

    async def intents(self, uid: str, numbers: Iterable[int]) -> dict[int, Intent]:
        return self._read(lambda db: intents.read_intents(db, uid, numbers))

    async def close_intent(self, intent: Intent, judge: Judge) -> tuple[Intent, Marked]:
        """Durable: what is accepted may carry a stale mark, and a mark must outlast a power loss."""
        return await self._write(lambda db: intents.close_intent(db, intent, judge))

    async def pending(self, index: str | Index) -> Pending:
        return self._read(lambda db: intents.read_pending(db, index))

    async def settle_intents(self, index: Index, judge: Settle) -> tuple[tuple[Intent, ...], Marked]:
        return await self._write(lambda db: intents.settle_intents(db, index, judge))

    # -- sessions

    async def remember_session(self, session: str, uid: str, n: int, *, incarnation: int | None = None) -> None:
        self._sessions += 1
        crowded = self._sessions % LOOK_EVERY == 1

        def remember(db: Database) -> None:
            sessions.remember(db, session, uid, n, incarnation=incarnation)
            if crowded:
                sessions.forget_oldest(db)

        await self._write(remember, durable=False)

    async def session_waits_for(self, session: str, uid: str) -> int | None:
        with translated(self.path):
            return sessions.read_unsettled(self._reader, session, uid)

    # -- settings of the nodes

    async def freeze(self, index: Index, reason: str | None) -> None:
        await self._write(lambda db: cluster.freeze(db, index, reason))

    async def frozen(self) -> dict[str, str]:
        return self._read(cluster.read_frozen)

    async def note_settings(self, index: Index, nodes: Iterable[NodeName], version: int) -> None:
        await self._write(lambda db: cluster.note_settings(db, index, nodes, version))

    async def settings_versions(self, uid: str) -> dict[NodeName, int]:
        return self._read(lambda db: cluster.read_settings_versions(db, uid))

    # -- the clients' keys

    async def api_keys(self) -> tuple[ApiKey, ...]:
        return self._read(api_keys.read_keys)

    async def begin_api_keys(self, keys: Sequence[ApiKey]) -> None:
        await self._write(lambda db: api_keys.begin_keys(db, keys))

    async def add_api_key(self, key: ApiKey) -> bool:
        return await self._write(lambda db: api_keys.add_key(db, key))

    async def save_api_key(self, key: ApiKey) -> bool:
        return await self._write(lambda db: api_keys.save_key(db, key))

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
