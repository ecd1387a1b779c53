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


@migrations()
def m003_tasks_of_clients(db: Database) -> None:
    for statement in _TASKS:
        db.execute(statement)


_TASKS = (
    """create table tasks (
        uid integer primary key autoincrement, index_uid text, type text not null, status text not null, details text,
        error text, enqueued_at integer not null, started_at integer, finished_at integer, custom_metadata text,
        canceled_by integer, incarnation integer, n integer, node_tasks text not null default '{}', owner text,
        documents integer, told integer not null default 0)""",
    "create unique index tasks_by_intent on tasks (index_uid, incarnation, n) where n is not null",
    "create index tasks_of_work on tasks (uid) where status in ('enqueued', 'processing') and n is null",
    "create index tasks_of_writes on tasks (index_uid, n) where status in ('enqueued', 'processing') and n is not null",
    "create index tasks_by_status on tasks (status)",
    "create index tasks_untold on tasks (uid) where told = 0",
    """create table task_indexes (
        index_uid text not null, task integer not null references tasks (uid) on delete cascade,
        primary key (index_uid, task)) without rowid""",
    "create index task_indexes_by_task on task_indexes (task)",
    """create table idempotency_cache (
        key text primary key, body_sha256 text not null, task_uid integer, owner text not null,
        reserved_at integer not null, expires_at integer not null) without rowid""",
    "create index idempotency_cache_by_task on idempotency_cache (task_uid)",
    "create index idempotency_cache_by_end on idempotency_cache (expires_at)",
    "create table webhooks (uuid text primary key, url text not null, headers text not null) without rowid",
)


@migrations()
def m004_sessions(db: Database) -> None:
    for statement in _SESSIONS:
        db.execute(statement)


_SESSIONS = (
    """create table sessions (
        session text not null, uid text not null, incarnation integer not null, n integer not null,
        expires_at integer not null, primary key (session, uid)) without rowid""",
    "create index sessions_by_end on sessions (expires_at)",
)


@migrations()
def m005_keys_and_settings(db: Database) -> None:
    for statement in _KEYS_AND_SETTINGS:
        db.execute(statement)


_KEYS_AND_SETTINGS = (
    """create table api_keys (
        uid text primary key, name text, description text, actions text not null, indexes text not null,
        expires_at text, created_at text not null, updated_at text not null,
        deleted integer not null default 0) without rowid""",
    """create table node_settings_version (
        index_uid text not null, node text not null, version integer not null, updated_at integer not null,
        primary key (index_uid, node)) without rowid""",
    "alter table indexes add column frozen text",
)


@migrations()
def m006_commands(db: Database) -> None:
    for statement in _COMMANDS:
        db.execute(statement)


_COMMANDS = (
    """create table commands (
        id integer primary key autoincrement, mark text not null unique, words text not null, line text not null,
        cluster text not null, user text not null, host text not null, pid integer not null,
        started_at integer not null, born text, behind text, folder text, topology text, finished_at integer,
        status integer, code text, result text)""",
    "create index commands_by_start on commands (started_at)",
    "create index step_events_of_runs on step_events (pid, at) where step is null",
)


@migrations()
def m007_names_on_nodes(db: Database) -> None:
    for statement in _NAMES_ON_NODES:
        db.execute(statement)


_NAMES_ON_NODES = (
    "alter table indexes add column stored_as text not null default ''",
    "update indexes set stored_as = uid",
    "create unique index indexes_by_stored_name on indexes (stored_as) where state != 'deleted'",
    "alter table cluster add column renamed integer not null default 0",
)


@migrations()
def m008_several_hosts(db: Database) -> None:
    for statement in (*_SEVERAL_HOSTS, *_COUNTED_TASKS):
        db.execute(statement)


_SEVERAL_HOSTS = (
    # which process drives a run, when it may run on another host: see `Process` in `store/journal.py`
    "alter table runs add column host text not null default ''",
    "alter table runs add column born text not null default ''",
    "alter table step_events add column host text not null default ''",
    """create table jobs (
        id integer primary key autoincrement, type text not null, params text not null, state text not null,
        claimed_by text, claim_expires_at integer, progress text not null default '{}')""",
    "create index jobs_by_state on jobs (state)",
    """create table canaries (
        id text primary key, name text not null, index_uid text not null, interval_s integer not null,
        query text not null, assertions text not null, enabled integer not null,
        created_at integer not null) without rowid""",
    """create table canary_runs (
        canary_id text not null references canaries (id) on delete cascade, ran_at integer not null,
        status text not null check (status in ('pass', 'fail', 'error')), latency_ms integer not null,
        failed_assertions text not null default '[]', primary key (canary_id, ran_at)) without rowid""",
    """create table cdc_cursors (
        sink text not null, index_uid text not null, last_event_seq integer not null, updated_at integer not null,
        primary key (sink, index_uid)) without rowid""",
    """create table tenant_map (
        api_key_hash text primary key, tenant_id text not null, "group" text) without rowid""",
    """create table rollover_policies (
        name text primary key, write_alias text not null, read_alias text not null, pattern text not null,
        triggers text not null, retention text not null, template text not null,
        enabled integer not null) without rowid""",
    """create table search_ui_config (
        index_uid text primary key, config text not null, updated_at integer not null) without rowid""",
    """create table admin_sessions (
        session_id text primary key, csrf_token text not null, admin_key_hash text not null,
        created_at integer not null, expires_at integer not null, revoked integer not null default 0,
        user_agent text, source_ip text) without rowid""",
    "create index admin_sessions_by_end on admin_sessions (expires_at)",
    """create table aliases (
        name text primary key, kind text not null check (kind in ('single', 'multi')), current_uid text,
        target_uids text not null, version integer not null, created_at integer not null,
        history text not null) without rowid""",
)

_COUNT = """insert into task_counts (index_uid, touched, type, status, begun, tasks)
    values (coalesce(new.index_uid, ''), coalesce(new.touched, ''), new.type, new.status, new.started_at is not null, 1)
    on conflict (index_uid, touched, type, status, begun) do update set tasks = tasks + 1;"""

_ALIKE = """index_uid = coalesce(old.index_uid, '') and touched = coalesce(old.touched, '') and type = old.type
    and status = old.status and begun = (old.started_at is not null)"""

_DISCOUNT = f"""update task_counts set tasks = tasks - 1 where {_ALIKE};
    delete from task_counts where {_ALIKE} and tasks = 0;"""

_COUNTED_TASKS = (
    # the indexes that a task touches, as JSON, where that is not just its own
    "alter table tasks add column touched text",
    """update tasks set touched = (select json_group_array(i.index_uid) from task_indexes i where i.task = tasks.uid)
        where (select count(*) from task_indexes i where i.task = tasks.uid) <> (index_uid is not null)
        or (select count(*) from task_indexes i where i.task = tasks.uid and i.index_uid = tasks.index_uid)
        <> (index_uid is not null)""",
    """create table task_counts (
        index_uid text not null, touched text not null, type text not null, status text not null,
        begun integer not null, tasks integer not null,
        primary key (index_uid, touched, type, status, begun)) without rowid""",
    """insert into task_counts select coalesce(index_uid, ''), coalesce(touched, ''), type, status,
        started_at is not null, count(*) from tasks group by 1, 2, 3, 4, 5""",
    f"create trigger tasks_added after insert on tasks begin {_COUNT} end",
    f"create trigger tasks_deleted after delete on tasks begin {_DISCOUNT} end",
    f"""create trigger tasks_changed after update of index_uid, touched, type, status, started_at on tasks
        begin {_DISCOUNT} {_COUNT} end""",
    "create index tasks_by_type on tasks (type, status)",
    "create index tasks_by_index on tasks (index_uid, type, status)",
)


@migrations()
def m009_tasks_by_time(db: Database) -> None:
    for statement in _TASKS_BY_TIME:
        db.execute(statement)


_TIMES = ("enqueued", "started", "finished")
_WIDER = ", ".join(
    f"{time}_first = min({time}_first, excluded.{time}_first), {time}_last = max({time}_last, excluded.{time}_last)"
    for time in _TIMES
)

_COUNT_IN_BLOCK = f"""insert into task_blocks values (
    new.uid / 4096, coalesce(new.index_uid, ''), coalesce(new.touched, ''), new.type, new.status,
    new.started_at is not null, 1, {", ".join(f"new.{time}_at, new.{time}_at" for time in _TIMES)})
    on conflict (block, index_uid, touched, type, status, begun) do update set tasks = tasks + 1, {_WIDER};"""

_DISCOUNT_IN_BLOCK = f"""update task_blocks set tasks = tasks - 1 where block = old.uid / 4096 and {_ALIKE};
    delete from task_blocks where block = old.uid / 4096 and {_ALIKE} and tasks = 0;"""

_TASKS_BY_TIME = (
    # the tasks of each 4096 uids: how many of each kind, and between which moments their times lie
    f"""create table task_blocks (
        block integer not null, index_uid text not null, touched text not null, type text not null,
        status text not null, begun integer not null, tasks integer not null,
        {", ".join(f"{time}_first integer, {time}_last integer" for time in _TIMES)},
        primary key (block, index_uid, touched, type, status, begun)) without rowid""",
    f"""insert into task_blocks select uid / 4096, coalesce(index_uid, ''), coalesce(touched, ''), type, status,
        started_at is not null, count(*), {", ".join(f"min({time}_at), max({time}_at)" for time in _TIMES)}
        from tasks group by 1, 2, 3, 4, 5, 6""",
    f"create trigger tasks_added_to_block after insert on tasks begin {_COUNT_IN_BLOCK} end",
    f"create trigger tasks_deleted_from_block after delete on tasks begin {_DISCOUNT_IN_BLOCK} end",
    f"""create trigger tasks_changed_in_block after update of index_uid, touched, type, status, enqueued_at, started_at,
        finished_at on tasks begin {_DISCOUNT_IN_BLOCK} {_COUNT_IN_BLOCK} end""",
    "create index tasks_by_canceler on tasks (canceled_by) where canceled_by is not null",
)

NEWEST_VERSION = 9
"""Number of the newest migration; the state file carries it as its `user_version`."""
