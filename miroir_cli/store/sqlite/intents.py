"""Intents and their targets as rows: the one order of an index's writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from miroir_cli.model import (
    Index,
    IndexUid,
    Intent,
    IntentState,
    IntentTarget,
    Json,
    NodeName,
    Piece,
    ReplicaState,
    ShardId,
    WriteKind,
)
from miroir_cli.store.records import InSync, Judge, KeysOf, Lane, Marked, Pending, Settle, Verdict
from miroir_cli.store.refusals import deleted
from miroir_cli.store.sqlite.active import newest_number, require_active
from miroir_cli.store.sqlite.changes import log_changes
from miroir_cli.store.sqlite.cluster import (
    from_json,
    mark,
    now,
    raise_top_task,
    read_epoch,
    read_in_sync,
    save_primary_key,
    save_settings,
    to_json,
)
from miroir_cli.store.sqlite.imports import save_batch
from miroir_cli.store.sqlite.moves import read_bases, read_movers
from miroir_cli.store.sqlite.tasks import add_task, lowest_unfinished, require_idle
from miroir_cli.store.writing import (
    doubtful,
    ended,
    gathered,
    pruned_below,
    require_next,
    require_writable,
    takes_effect,
    targets_of,
)

if TYPE_CHECKING:
    from sqlite_utils import Database

    from miroir_cli.store.records import BatchRecord
    from miroir_cli.store.tasks import NewTask


def open_intent(
    db: Database,
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
) -> Intent:
    """Record the next intent of the index, `open`, with its targets: the replicas in sync at this moment.

    With `batch`, the batch of an import that the intent carries is recorded with it, so that neither is known alone.
    `keys` names what it writes to a shard; it is asked for the shards of which a replica is joining. With `task`, the
    client's task that it stands for is recorded with it, behind all other work of the index: raises `WorkAhead` as
    long as some has not ended.
    """
    if task is not None:
        require_idle(db, index.uid)
    settled = require_active(db, index)
    if kind.changes_documents:
        row = db.conn.execute("select primary_key, frozen from indexes where uid = ?", [index.uid]).fetchone()
        require_writable(index, key=row[0], frozen=row[1])
    n = newest_number(db, index, settled) + 1
    targets = targets_of(index.uid, documents, read_in_sync(db, index.uid), min_in_sync=min_in_sync)
    db.execute(
        "insert into intents (uid, incarnation, n, nonce, kind, state, body, owner, created_at) "
        "values (?, ?, ?, ?, ?, 'open', ?, ?, ?)",
        [
            index.uid,
            index.incarnation,
            n,
            nonce,
            kind.value,
            None if body is None else to_json(body),
            owner,
            now(),
        ],
    )
    db.conn.executemany(
        "insert into targets (uid, incarnation, n, node, shards, documents) values (?, ?, ?, ?, ?, ?)",
        [
            (index.uid, index.incarnation, n, target.node, to_json(sorted(target.shards)), target.documents)
            for target in targets
        ],
    )
    if kind.changes_documents:
        log_changes(db, index, n, documents, keys)
    if batch is not None:
        save_batch(db, replace(batch, intents={**batch.intents, n: tuple(sorted(documents))}))
    if task is not None:
        add_task(db, task, intent=(index.incarnation, n))
    return Intent(
        uid=index.uid,
        incarnation=index.incarnation,
        n=n,
        nonce=nonce,
        kind=kind,
        state=IntentState.OPEN,
        targets=targets,
        body=body,
    )


def _read(db: Database, where: str, parameters: list[Any]) -> list[Intent]:
    rows = db.conn.execute(
        "select uid, incarnation, n, nonce, kind, state, refused, failed, error, body from intents i "
        f"where {where} order by n",
        parameters,
    ).fetchall()
    return [
        Intent(
            uid=IndexUid(row[0]),
            incarnation=row[1],
            n=row[2],
            nonce=row[3],
            kind=WriteKind(row[4]),
            state=IntentState(row[5]),
            targets=_read_targets(db, row[:3]),
            refused=frozenset(map(ShardId, from_json(row[6]))),
            failed=frozenset(map(ShardId, from_json(row[7]))),
            error=row[8],
            body=None if row[9] is None else from_json(row[9]),
        )
        for row in rows
    ]


def _read_targets(db: Database, intent: tuple[Any, ...]) -> tuple[IntentTarget, ...]:
    where = "where uid = ? and incarnation = ? and n = ?"
    pieces: dict[str, list[Piece]] = {}
    for row in db.conn.execute(f"select node, task, shards, documents from pieces {where} order by task", intent):
        piece = Piece(task=row[1], shards=frozenset(map(ShardId, from_json(row[2]))), documents=row[3])
        pieces.setdefault(row[0], []).append(piece)
    rows = db.conn.execute(f"select node, shards, documents from targets {where} order by node", intent)
    return tuple(
        IntentTarget(
            node=NodeName(row[0]),
            shards=frozenset(map(ShardId, from_json(row[1]))),
            documents=row[2],
            pieces=tuple(pieces.get(row[0], ())),
        )
        for row in rows
    )


_CURRENT = "uid = ? and incarnation = (select incarnation from indexes where uid = i.uid)"


def read_newest(db: Database, uid: str) -> Intent | None:
    found = _read(
        db,
        f"{_CURRENT} and n = (select max(n) from intents where uid = i.uid and incarnation = i.incarnation)",
        [uid],
    )
    return found[0] if found else None


def read_intents(db: Database, uid: str, numbers: Iterable[int]) -> dict[int, Intent]:
    wanted = sorted(set(numbers))
    if not wanted:
        return {}
    marks = ",".join("?" * len(wanted))
    return {intent.n: intent for intent in _read(db, f"{_CURRENT} and n in ({marks})", [uid, *wanted])}


def read_pending(db: Database, index: str | Index) -> Pending:
    if isinstance(index, Index):
        require_active(db, index)
        return read_pending(db, index.uid)
    uid = index
    row = db.conn.execute(
        "select incarnation, settled from indexes where uid = ? and state = 'active'", [uid]
    ).fetchone()
    if row is None:
        raise deleted(uid)
    incarnation, settled = row
    intents = tuple(_read(db, "uid = ? and incarnation = ? and n > ?", [uid, incarnation, settled]))
    rows = db.conn.execute("select node, base, looked from lanes where uid = ?", [uid])
    lanes = {NodeName(lane[0]): Lane(node=NodeName(lane[0]), base=lane[1], looked=lane[2]) for lane in rows}
    return Pending(
        incarnation=incarnation,
        settled=settled,
        newest=intents[-1].n if intents else settled,
        intents=intents,
        in_sync=read_in_sync(db, uid),
        lanes=lanes,
        known={node: _read_known(db, uid, lane) for node, lane in lanes.items()},
        movers=read_movers(db, uid),
        bases=read_bases(db, uid),
    )


def close_intent(db: Database, intent: Intent, judge: Judge) -> tuple[Intent, Marked]:
    """Record how sending an open intent went; the judge sees who is in sync in this very transaction."""
    current = _read(db, f"{_CURRENT} and n = ?", [intent.uid, intent.n])
    if not current or current[0].state is not IntentState.OPEN:
        return (current[0] if current else intent), Marked(epoch=read_epoch(db))
    verdict = judge(current[0], read_in_sync(db, intent.uid))
    marked = _apply(db, current[0], verdict)
    return _read(db, f"{_CURRENT} and n = ?", [intent.uid, intent.n])[0], marked


def _apply(db: Database, intent: Intent, verdict: Verdict) -> Marked:
    after = ended(intent, verdict)
    db.execute(
        "update intents set state = ?, refused = ?, failed = ?, error = ? where uid = ? and incarnation = ? and n = ?",
        [
            after.state.value,
            to_json(sorted(after.refused)),
            to_json(sorted(after.failed)),
            after.error,
            intent.uid,
            intent.incarnation,
            intent.n,
        ],
    )
    for node, pieces in verdict.pieces.items():
        for piece in pieces:
            db.execute(
                "insert or replace into pieces (uid, node, task, incarnation, n, shards, documents) "
                "values (?, ?, ?, ?, ?, ?, ?)",
                [
                    intent.uid,
                    node,
                    piece.task,
                    intent.incarnation,
                    intent.n,
                    to_json(sorted(piece.shards)),
                    piece.documents,
                ],
            )
            raise_top_task(db, node, piece.task)
    if takes_effect(intent, verdict) and intent.body is not None:
        if intent.kind is WriteKind.PRIMARY_KEY:
            save_primary_key(db, intent.uid, intent.body["primaryKey"])
        else:
            save_settings(db, intent.uid, intent.body)
    return mark(db, intent.uid, verdict.stale, state=ReplicaState.STALE)


def settle_intents(db: Database, index: Index, judge: Settle) -> tuple[tuple[Intent, ...], Marked]:
    """Settle, strictly in order, the intents that the judge can decide now, and record what nobody had recorded.

    Raises `IndexNotFound` or `IndexRenamed`: what was seen of one index says nothing about another one of its name.
    """
    require_active(db, index)
    uid = index.uid
    pending = read_pending(db, uid)
    settlement = judge(pending)
    marks: list[Marked] = []
    settled = pending.settled
    by_number = {intent.n: intent for intent in pending.intents}
    for verdict in settlement.verdicts:
        settled = require_next(verdict, settled)
        marks.append(_apply(db, by_number[verdict.n], verdict))
    done = read_intents(db, uid, range(pending.settled + 1, settled + 1))
    if settled > pending.settled:
        db.execute("update indexes set settled = ? where uid = ?", [settled, uid])
        below = pruned_below(settled, before=pending.settled)
        if below is not None:
            _prune(db, uid, below=below)
    marks.append(_record_foreign(db, uid, settlement.foreign, pending.in_sync))
    for node, task in settlement.looked.items():
        db.execute("update lanes set looked = max(looked, ?) where uid = ? and node = ?", [task, uid, node])
    return tuple(done[n] for n in sorted(done)), Marked(epoch=read_epoch(db), stale=gathered(marks))


def _prune(db: Database, uid: str, *, below: int) -> None:
    needed = lowest_unfinished(db, uid)
    below = below if needed is None else min(below, needed)
    for table in ("intents", "targets", "pieces"):
        db.execute(f"delete from {table} where uid = ? and n < ?", [uid, below])


def _read_known(db: Database, uid: str, lane: Lane) -> frozenset[int]:
    rows = db.conn.execute(
        "select task from pieces where uid = ? and node = ? and task > ? "
        "union select task from foreign_tasks where uid = ? and node = ? and task > ?",
        [uid, lane.node, lane.looked, uid, lane.node, lane.looked],
    )
    return frozenset(row[0] for row in rows)


def _record_foreign(
    db: Database,
    uid: str,
    foreign: Mapping[NodeName, Mapping[int, frozenset[ShardId] | None]],
    in_sync: InSync,
) -> Marked:
    """Replicas that a task nobody recorded may have changed are stale; on the last in-sync one it is accepted."""
    for node, tasks in foreign.items():
        for task in tasks:
            db.execute("insert or ignore into foreign_tasks (uid, node, task) values (?, ?, ?)", [uid, node, task])
            raise_top_task(db, node, task)
    return mark(db, uid, doubtful(foreign, in_sync), state=ReplicaState.STALE)
