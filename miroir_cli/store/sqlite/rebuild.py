"""A whole state as rows, put together from the copies that the nodes keep."""

from __future__ import annotations

from typing import TYPE_CHECKING

from miroir_cli.store.sqlite import aliases
from miroir_cli.store.sqlite.cluster import INDEX_COLUMNS, enrol, index_row

if TYPE_CHECKING:
    from sqlite_utils import Database

    from miroir_cli.store.records import Rebuilt, RebuiltIndex


def rebuild(db: Database, state: Rebuilt) -> None:
    """Write a whole state into a store that is empty."""
    record = state.cluster
    db.execute(
        "insert into cluster (id, name, cluster_id, epoch, renamed) values (1, ?, ?, ?, ?)",
        [record.name, record.id, record.epoch, record.renamed],
    )
    for member in state.members:
        enrol(db, member)
    for found in state.indexes:
        _rebuild_index(db, found)
    db.conn.executemany(
        f"insert into indexes ({INDEX_COLUMNS}, state) values (?, ?, '', 0, 0, 0, 1, '{{}}', 0, ?, 'deleted')",
        [(uid, incarnation, uid) for uid, incarnation in sorted(state.deleted.items())],
    )
    for alias in state.aliases:
        aliases.save(db, alias)


def _rebuild_index(db: Database, found: RebuiltIndex) -> None:
    index = found.index
    db.execute(
        f"insert into indexes ({INDEX_COLUMNS}, state, settled) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'active', ?)",
        [*index_row(index), found.newest],
    )
    db.conn.executemany(
        "insert into placements (uid, shard, node, state, since) values (?, ?, ?, ?, ?)",
        [(index.uid, replica.shard, replica.node, replica.state.value, replica.since) for replica in found.replicas],
    )
    db.conn.executemany(
        "insert into lanes (uid, node, base, looked) values (?, ?, ?, ?)",
        [(index.uid, node, top + 1, top) for node, top in found.tops.items()],
    )
