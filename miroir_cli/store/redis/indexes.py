"""Cluster, members, indexes, placements and names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from miroir_cli.store.redis import active, cluster, creation, maps, members, names, rebuild
from miroir_cli.store.redis.access import Part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from miroir_cli.model import Index, IndexMap, IndexUid, NodeName, ReplicaState, ShardId, StoredUid
    from miroir_cli.store.journal import RunRecord
    from miroir_cli.store.records import (
        ClusterRecord,
        Copies,
        Creation,
        Deletion,
        ImportRecord,
        Marked,
        Member,
        Progress,
        Rebuilt,
        Renaming,
    )


class Indexes(Part):
    """Methods of the protocol `miroir_cli.store.protocol.Store`."""

    # -- the cluster and its nodes

    async def cluster(self) -> ClusterRecord | None:
        return await self.access.read(members.read_cluster)

    async def found(self, *, name: str) -> ClusterRecord:
        record = await self.cluster()
        if record is not None:
            return record
        return await self.access.write(lambda tx: members.found_cluster(tx, name=name))

    async def epoch(self) -> int:
        return await self.access.epoch()

    async def members(self) -> dict[NodeName, Member]:
        return await self.access.read(members.read_members)

    async def enrol(self, member: Member) -> None:
        await self.access.write(lambda tx: members.enrol(tx, member))

    async def rebuild(self, state: Rebuilt) -> None:
        """Fill an empty store with a whole state."""
        await self.access.write(lambda tx: rebuild.rebuild(tx, state))

    # -- indexes

    async def indexes(self) -> tuple[Index, ...]:
        return await self.access.read(maps.read_indexes)

    async def map(self, uid: str) -> IndexMap | None:
        return await self.access.read(lambda tx: maps.read_map(tx, uid))

    async def maps(self) -> tuple[IndexMap, ...]:
        return await self.access.read(maps.read_maps)

    async def copies(self) -> Copies:
        return await self.access.read(maps.read_copies)

    async def progress(self, uid: str) -> Progress | None:
        return await self.access.read(lambda tx: maps.read_progress(tx, uid))

    async def begin_creation(self, index: Index, *, nodes: Mapping[NodeName, int]) -> Index:
        return await self.access.write(lambda tx: creation.begin_creation(tx, index, nodes=nodes))

    async def creation(self, uid: str) -> Creation | None:
        return await self.access.read(lambda tx: creation.read_creation(tx, uid))

    async def finish_creation(
        self, index: Index, *, placement: Mapping[ShardId, frozenset[NodeName]], bases: Mapping[NodeName, int]
    ) -> IndexMap:
        return await self.access.write(lambda tx: creation.finish_creation(tx, index, placement=placement, bases=bases))

    async def begin_deletion(self, index: Index) -> None:
        await self.access.write(lambda tx: creation.begin_deletion(tx, index))

    async def deletion(self, uid: str) -> Deletion | None:
        return await self.access.read(lambda tx: creation.read_deletion(tx, uid))

    async def interrupted(self) -> dict[str, str]:
        return await self.access.read(maps.read_interrupted)

    async def forget_index(self, uid: str) -> None:
        await self.access.write(lambda tx: creation.forget_index(tx, uid))

    async def set_replicas(self, index: Index, replicas: int) -> None:
        await self.access.write(lambda tx: maps.set_replicas(tx, index, replicas))

    async def note_published(self, index: Index, epoch: int) -> None:
        await self.access.write(lambda tx: maps.note_published(tx, index, epoch))

    async def unpublished(self, uid: str) -> bool:
        return await self.access.read(lambda tx: maps.read_unpublished(tx, uid))

    async def mark(
        self,
        uid: str,
        replicas: Mapping[NodeName, Iterable[ShardId]],
        *,
        state: ReplicaState,
        incarnation: int | None = None,
    ) -> Marked:
        wanted = {node: tuple(shards) for node, shards in replicas.items()}
        return await self.access.write(lambda tx: cluster.mark(tx, uid, wanted, state=state, incarnation=incarnation))

    async def lose(self, node: NodeName) -> tuple[IndexUid, ...]:
        """Mark all replicas of a node lost, whose disk is gone; the indexes that had one there."""
        return await self.access.write(lambda tx: maps.lose(tx, node))

    async def free_name(self, uid: str) -> StoredUid:
        return await self.access.read(lambda tx: creation.free_name(tx, uid))

    async def require(self, index: Index) -> None:
        """Raise `IndexNotFound` or `IndexRenamed` unless the name of an index still stands for it."""
        await self.access.read(lambda tx: active.require_active(tx, index))

    async def follow(self, index: Index) -> Index | None:
        """The same index by the name that it has now; None when it was deleted."""
        return await self.access.read(lambda tx: maps.read_by_content(tx, index))

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
        return await self.access.write(
            lambda tx: names.rename(tx, renaming, is_driven=is_driven, is_running=is_running)
        )

    # -- settings of the nodes

    async def freeze(self, index: Index, reason: str | None) -> None:
        await self.access.write(lambda tx: maps.freeze(tx, index, reason))

    async def frozen(self) -> dict[str, str]:
        return await self.access.read(maps.read_frozen)

    async def note_settings(self, index: Index, nodes: Iterable[NodeName], version: int) -> None:
        seen = tuple(nodes)
        await self.access.write(lambda tx: maps.note_settings(tx, index, seen, version))

    async def settings_versions(self, uid: str) -> dict[NodeName, int]:
        return await self.access.read(lambda tx: maps.read_settings_versions(tx, uid))
