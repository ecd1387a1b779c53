"""Names of indexes as rows: two of them change places, or one gets a free one, in one transaction.

What the nodes hold keeps its name there (`stored_as`). Everything that the store knows of an index is kept under its
uid, and goes with it; its incarnation is a new one, so that whoever began something under the old name is refused as if
the index had been deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from miroir_cli.model import Index, IndexUid, StoredUid
from miroir_cli.store.naming import followers, renamed_swaps
from miroir_cli.store.records import Copies, ImportRecord, Renaming
from miroir_cli.store.refusals import exists_already, is_filled, is_moved, is_written
from miroir_cli.store.sqlite import aliases
from miroir_cli.store.sqlite.active import name_by_content, newest_number, require_active
from miroir_cli.store.sqlite.cluster import (
    from_json,
    next_incarnation,
    raise_epoch,
    read_cluster,
    read_index,
    read_maps,
    to_json,
)
from miroir_cli.store.sqlite.imports import read_unfinished
from miroir_cli.store.sqlite.runs import read_open_runs
from miroir_cli.store.sqlite.task_queries import UNFINISHED
from miroir_cli.store.tasks import SWAP

if TYPE_CHECKING:
    from sqlite_utils import Database

    from miroir_cli.store.journal import RunRecord

NAMED: Final = (
    ("indexes", "uid", True),
    ("placements", "uid", False),
    ("lanes", "uid", False),
    ("intents", "uid", True),
    ("targets", "uid", True),
    ("pieces", "uid", True),
    ("foreign_tasks", "uid", False),
    ("changes", "uid", True),
    ("movers", "uid", False),
    ("imports", "uid", True),
    ("steps", "uid", True),
    ("sessions", "uid", True),
    ("node_settings_version", "index_uid", False),
    ("cdc_cursors", "index_uid", False),
    ("search_ui_config", "index_uid", False),
)
"""Every table that knows indexes by their uid, the column, and whether it also holds their incarnation. Those of
clients' tasks are beside them: `_rename_tasks`. Canaries search by a name, as clients do: they keep it."""

ON_THE_WAY: Final = "/"
"""In front of a uid, which cannot begin so, while it changes."""


def rename(
    db: Database,
    renaming: Renaming,
    *,
    is_driven: Callable[[RunRecord], bool],
    is_running: Callable[[ImportRecord], bool],
) -> int:
    """Give indexes their new names, all or none; the epoch from which on they have them. What is raised, and who says
    whether somebody drives a run or an import: `SqliteStore.rename`."""
    for first, second in renaming.pairs:
        require_active(db, renaming.indexes[first])
        if second in renaming.indexes:
            require_active(db, renaming.indexes[second])
        else:
            _require_free(db, second)
    for index in renaming.indexes.values():
        _require_at_rest(db, index, is_driven=is_driven, is_running=is_running)
    incarnation = next_incarnation(db)
    fresh = {uid: incarnation + number for number, uid in enumerate(sorted(renaming.indexes))}
    follows = followers(renaming)
    _rename_tasks(db, renaming, follows, fresh)
    for table, column, incarnations in NAMED:
        _rename_rows(db, table, column, follows, fresh if incarnations else {}, renaming.indexes)
    for first, second in renaming.pairs:
        if second not in renaming.indexes:
            _leave_behind(db, first, incarnation=incarnation + len(fresh))
            incarnation += 1
    epoch = raise_epoch(db)
    db.execute("update cluster set renamed = ?", [epoch])
    db.conn.executemany("update indexes set published = 0 where uid = ?", [(uid,) for uid in follows])
    aliases.follow(db, renaming.moves, version=epoch)
    return epoch


# -- what must hold


def _require_free(db: Database, uid: IndexUid) -> None:
    row = db.conn.execute("select 1 from indexes where uid = ? and state != 'deleted'", [uid]).fetchone()
    if row is not None:
        raise exists_already(uid)
    aliases.require_no_alias(db, uid)


def _require_at_rest(
    db: Database, index: Index, *, is_driven: Callable[[RunRecord], bool], is_running: Callable[[ImportRecord], bool]
) -> None:
    """Raise `Locked` while anything is under way that was begun with the index by its name."""
    uid, settled = index.uid, require_active(db, index)
    if newest_number(db, index, settled) > settled:
        raise is_written(uid)
    for run in read_open_runs(db, uid):
        if is_driven(run):
            raise is_moved(uid, run)
    for record in read_unfinished(db, uid):
        if is_running(record):
            raise is_filled(uid, record)


# -- rows


def _rename_rows(
    db: Database,
    table: str,
    column: str,
    follows: Mapping[IndexUid, IndexUid],
    fresh: Mapping[IndexUid, int],
    known: Mapping[IndexUid, Index],
    *,
    only: str = "1",
) -> None:
    """Every row of a name, `only` those for which that holds, gets the name that follows it. Rows of the incarnation
    that a name stands for get the `fresh` one; those of its predecessors keep theirs."""
    marks = ",".join("?" * len(follows))
    db.execute(
        f"update {table} set {column} = ? || {column} where {column} in ({marks}) and {only}", [ON_THE_WAY, *follows]
    )
    for old, new in follows.items():
        left = f"{ON_THE_WAY}{old}"
        if old in fresh:
            db.execute(
                f"update {table} set incarnation = ? where {column} = ? and incarnation = ?",
                [fresh[old], left, known[old].incarnation],
            )
        db.execute(f"update {table} set {column} = ? where {column} = ?", [new, left])


def _leave_behind(db: Database, uid: IndexUid, *, incarnation: int) -> None:
    """A name that stands for nothing any more; its successor must exceed this incarnation."""
    db.execute(
        "insert into indexes (uid, incarnation, primary_key, shards, replicas, tie_break, settings, created_at, state, "
        "stored_as) values (?, ?, '', 0, 0, 1, '{}', 0, 'deleted', ?) "
        "on conflict (uid) do update set incarnation = excluded.incarnation, stored_as = excluded.stored_as",
        [uid, incarnation, uid],
    )


def _rename_tasks(
    db: Database, renaming: Renaming, follows: Mapping[IndexUid, IndexUid], fresh: Mapping[IndexUid, int]
) -> None:
    """As Meilisearch does it: earlier tasks are told as those of the index by its new name, also the swaps among them.

    Work that has not ended is about the names, whatever they stand for when its turn comes.
    """
    earlier = f"(n is not null or not {UNFINISHED})"
    marks = ",".join("?" * len(follows))
    swaps = db.conn.execute(
        f"select uid, details from tasks where type = '{SWAP}' and {earlier} and details is not null and uid in "
        f"(select task from task_indexes where index_uid in ({marks}))",
        list(follows),
    ).fetchall()
    for uid, details in swaps:
        db.execute(
            "update tasks set details = ? where uid = ?", [to_json(renamed_swaps(from_json(details), follows)), uid]
        )
    _rename_rows(
        db, "task_indexes", "index_uid", follows, {}, {}, only=f"task in (select uid from tasks where {earlier})"
    )
    db.execute(
        "update tasks set touched = (select json_group_array(index_uid) from task_indexes where task = tasks.uid) "
        f"where touched is not null and {earlier} and uid in "
        f"(select task from task_indexes where index_uid in ({marks}))",
        list(follows),
    )
    _rename_task_rows(db, follows, fresh, renaming.indexes, only=earlier)


def _rename_task_rows(
    db: Database,
    follows: Mapping[IndexUid, IndexUid],
    fresh: Mapping[IndexUid, int],
    known: Mapping[IndexUid, Index],
    *,
    only: str,
) -> None:
    """As `_rename_rows`, with as few changes as can be: there may be very many of these, and each is counted."""
    names = " ".join("when ? then ?" for _ in follows)
    incarnations = " ".join("when index_uid = ? and incarnation = ? then ?" for _ in fresh)
    db.execute(
        f"update tasks set index_uid = ? || case index_uid {names} end, incarnation = case {incarnations} "
        f"else incarnation end where index_uid in ({','.join('?' * len(follows))}) and {only}",
        [
            ON_THE_WAY,
            *(name for pair in follows.items() for name in pair),
            *(value for old, number in fresh.items() for value in (old, known[old].incarnation, number)),
            *follows,
        ],
    )
    arrived = [f"{ON_THE_WAY}{name}" for name in follows]
    db.execute(
        f"update tasks set index_uid = substr(index_uid, 2) where index_uid in ({','.join('?' * len(arrived))})",
        arrived,
    )


# -- reading


def read_by_content(db: Database, index: Index) -> Index | None:
    """The same index by the name that it has now."""
    uid = name_by_content(db, index)
    return None if uid is None else read_index(db, uid)


def read_copies(db: Database) -> Copies:
    record = read_cluster(db)
    assert record is not None
    rows = db.conn.execute(
        "select uid, incarnation, stored_as from indexes where state = 'deleted' order by incarnation desc"
    )
    return Copies(
        cluster=record,
        maps=read_maps(db),
        aliases=aliases.read_aliases(db),
        deleted=tuple(
            Index(
                uid=IndexUid(row[0]),
                incarnation=row[1],
                primary_key="",
                shards=0,
                replicas=0,
                stored_as=StoredUid(row[2]),
            )
            for row in rows
        ),
    )
