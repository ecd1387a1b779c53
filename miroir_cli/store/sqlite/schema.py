"""The tables of the state file and the migrations that make them.

A migration is never changed once it was released: add another one below it.
"""

from __future__ import annotations

from sqlite_utils import Database, Migrations

migrations = Migrations("miroir")


@migrations()
def m001_cluster_and_writes(db: Database) -> None:
    db["cluster"].create({"id": int, "name": str, "cluster_id": str, "epoch": int}, pk="id")  # type: ignore[union-attr]
    for statement in _TABLES:
        db.execute(statement)


_TABLES = (
    "create table members (name text primary key, url text not null, top_task integer not null)",
    """create table indexes (
        uid text primary key, incarnation integer not null, primary_key text not null, shards integer not null,
        replicas integer not null, tie_break integer not null, settings text not null, created_at integer not null,
        state text not null check (state in ('creating', 'active', 'deleting', 'deleted')),
        creating text not null default '{}', settled integer not null default 0)""",
    """create table placements (
        uid text not null, shard integer not null, node text not null, state text not null, since integer not null,
        primary key (uid, shard, node)) without rowid""",
    """create table lanes (
        uid text not null, node text not null, base integer not null, looked integer not null,
        primary key (uid, node)) without rowid""",
    """create table intents (
        uid text not null, incarnation integer not null, n integer not null, nonce text not null, kind text not null,
        state text not null, refused text not null default '[]', failed text not null default '[]', error text,
        body text, owner text not null, created_at integer not null,
        primary key (uid, incarnation, n)) without rowid""",
    """create table targets (
        uid text not null, incarnation integer not null, n integer not null, node text not null,
        shards text not null, documents integer,
        primary key (uid, incarnation, n, node)) without rowid""",
    """create table pieces (
        uid text not null, node text not null, task integer not null, incarnation integer not null, n integer not null,
        shards text not null, documents integer,
        primary key (uid, node, task)) without rowid""",
    "create index pieces_by_intent on pieces (uid, incarnation, n)",
    """create table foreign_tasks (
        uid text not null, node text not null, task integer not null,
        primary key (uid, node, task)) without rowid""",
    """create table imports (
        id integer primary key, uid text not null, incarnation integer not null, fingerprint text not null,
        options text not null, state text not null, started_at integer not null, finished_at integer,
        summary text not null default '{}')""",
    """create table batches (
        import_id integer not null references imports (id) on delete cascade, number integer not null,
        source integer not null, start integer not null, "end" integer not null, first_line integer not null,
        last_line integer not null, documents integer not null, rejected integer not null, intents text not null,
        state text not null, primary key (import_id, number)) without rowid""",
)


@migrations()
def m002_moves_and_runs(db: Database) -> None:
    for statement in _MOVES:
        db.execute(statement)


_MOVES = (
    "alter table placements add column base integer not null default 0",
    "alter table placements add column was text",
    "alter table placements add column nonce text",
    "alter table foreign_tasks add column own integer not null default 0",
    "alter table indexes add column own_replicas integer not null default 0",
    "alter table indexes add column published integer not null default 0",
    """create table changes (
        uid text not null, incarnation integer not null, n integer not null, shard integer not null, keys text,
        primary key (uid, incarnation, shard, n)) without rowid""",
    """create table movers (
        nonce text primary key, uid text not null, node text not null, shards text not null,
        created_at integer not null) without rowid""",
    """create table runs (
        id integer primary key autoincrement, kind text not null, title text not null, state text not null,
        wanted text not null, parallel integer not null, rate integer, pid integer not null, command text not null,
        fingerprint text not null, started_at integer not null, finished_at integer, summary text not null)""",
    """create table steps (
        run integer not null references runs (id) on delete cascade, number integer not null, uid text not null,
        incarnation integer not null, shard integer not null, target text, leaving text, repair integer not null,
        state text not null, documents integer, copied integer not null, pause real, error text,
        primary key (run, number)) without rowid""",
    "create index steps_by_state on steps (uid, state)",
    """create table step_events (
        run integer not null references runs (id) on delete cascade, step integer, at integer not null,
        pid integer not null, command text not null, state text not null, detail text not null)""",
    "create index step_events_by_run on step_events (run)",
)

NEWEST_VERSION = 2
"""Number of the newest migration; the state file carries it as its `user_version`."""
