BEGIN TRANSACTION;
CREATE TABLE "_sqlite_migrations" (
   "id" INTEGER PRIMARY KEY,
   "migration_set" TEXT,
   "name" TEXT,
   "applied_at" TEXT
);
INSERT INTO "_sqlite_migrations" VALUES(1,'miroir','m001_cluster_and_writes','2025-01-01 00:00:00');
INSERT INTO "_sqlite_migrations" VALUES(2,'miroir','m002_moves_and_runs','2025-01-01 00:00:00');
INSERT INTO "_sqlite_migrations" VALUES(3,'miroir','m003_tasks_of_clients','2025-01-01 00:00:00');
INSERT INTO "_sqlite_migrations" VALUES(4,'miroir','m004_sessions','2025-01-01 00:00:00');
INSERT INTO "_sqlite_migrations" VALUES(5,'miroir','m005_keys_and_settings','2025-01-01 00:00:00');
INSERT INTO "_sqlite_migrations" VALUES(6,'miroir','m006_commands','2025-01-01 00:00:00');
INSERT INTO "_sqlite_migrations" VALUES(7,'miroir','m007_names_on_nodes','2025-01-01 00:00:00');
INSERT INTO "_sqlite_migrations" VALUES(8,'miroir','m008_several_hosts','2025-01-01 00:00:00');
CREATE TABLE admin_sessions (
        session_id text primary key, csrf_token text not null, admin_key_hash text not null,
        created_at integer not null, expires_at integer not null, revoked integer not null default 0,
        user_agent text, source_ip text) without rowid;
INSERT INTO "admin_sessions" VALUES('s1','t1','cdcd',1700000006000,99999999999999,0,'curl',NULL);
CREATE TABLE aliases (
        name text primary key, kind text not null check (kind in ('single', 'multi')), current_uid text,
        target_uids text not null, version integer not null, created_at integer not null,
        history text not null) without rowid;
INSERT INTO "aliases" VALUES('reading','single','books','["books"]',6,1700000007000,'[{"targets":["books"],"since":1700000007000}]');
CREATE TABLE api_keys (
        uid text primary key, name text, description text, actions text not null, indexes text not null,
        expires_at text, created_at text not null, updated_at text not null,
        deleted integer not null default 0) without rowid;
INSERT INTO "api_keys" VALUES('0b5e','Search',NULL,'["search"]','["*"]',NULL,'2025-01-01T00:00:00Z','2025-01-02T00:00:00Z',0);
CREATE TABLE batches (
        import_id integer not null references imports (id) on delete cascade, number integer not null,
        source integer not null, start integer not null, "end" integer not null, first_line integer not null,
        last_line integer not null, documents integer not null, rejected integer not null, intents text not null,
        state text not null, primary key (import_id, number)) without rowid;
INSERT INTO "batches" VALUES(1,1,0,0,512,1,7,7,0,'{"1":[0,1]}','done');
INSERT INTO "batches" VALUES(1,2,0,512,900,8,12,5,1,'{"2":[0,1]}','sending');
CREATE TABLE canaries (
        id text primary key, name text not null, index_uid text not null, interval_s integer not null,
        query text not null, assertions text not null, enabled integer not null,
        created_at integer not null) without rowid;
INSERT INTO "canaries" VALUES('c1','dune','books',60,'{"q":"dune"}','[{"min_hits":1}]',1,1700000005000);
CREATE TABLE canary_runs (
        canary_id text not null references canaries (id) on delete cascade, ran_at integer not null,
        status text not null check (status in ('pass', 'fail', 'error')), latency_ms integer not null,
        failed_assertions text not null default '[]', primary key (canary_id, ran_at)) without rowid;
INSERT INTO "canary_runs" VALUES('c1',1700000006000,'fail',7,'[{"n":1}]');
CREATE TABLE cdc_cursors (
        sink text not null, index_uid text not null, last_event_seq integer not null, updated_at integer not null,
        primary key (sink, index_uid)) without rowid;
INSERT INTO "cdc_cursors" VALUES('kafka','books',4,1700000006000);
CREATE TABLE changes (
        uid text not null, incarnation integer not null, n integer not null, shard integer not null, keys text,
        primary key (uid, incarnation, shard, n)) without rowid;
INSERT INTO "changes" VALUES('books',3,2,1,'["7","8"]');
CREATE TABLE "cluster" (
   "id" INTEGER PRIMARY KEY,
   "name" TEXT,
   "cluster_id" TEXT,
   "epoch" INTEGER
, renamed integer not null default 0);
INSERT INTO "cluster" VALUES(1,'old','c0ffee',9,4);
CREATE TABLE commands (
        id integer primary key autoincrement, mark text not null unique, words text not null, line text not null,
        cluster text not null, user text not null, host text not null, pid integer not null,
        started_at integer not null, born text, behind text, folder text, topology text, finished_at integer,
        status integer, code text, result text);
INSERT INTO "commands" VALUES(9,'m','rebalance run','miroir rebalance run','old','me','here',4711,1700000002900,NULL,NULL,'/srv','miroir.toml',1700000004000,0,NULL,'nothing moved');
CREATE TABLE foreign_tasks (
        uid text not null, node text not null, task integer not null, own integer not null default 0,
        primary key (uid, node, task)) without rowid;
INSERT INTO "foreign_tasks" VALUES('books','a',39,0);
CREATE TABLE idempotency_cache (
        key text primary key, body_sha256 text not null, task_uid integer, owner text not null,
        reserved_at integer not null, expires_at integer not null) without rowid;
INSERT INTO "idempotency_cache" VALUES('key','e3b0',1,'p',1700000001000,99999999999999);
CREATE TABLE imports (
        id integer primary key, uid text not null, incarnation integer not null, fingerprint text not null,
        options text not null, state text not null, started_at integer not null, finished_at integer,
        summary text not null default '{}');
INSERT INTO "imports" VALUES(1,'books',3,'{"sources":[]}','{"format":"ndjson"}','running',1700000000500,NULL,'{}');
INSERT INTO "imports" VALUES(2,'books',3,'{"sources":[]}','{}','done',1700000000100,1700000000400,'{"documents":7}');
CREATE TABLE indexes (
        uid text primary key, incarnation integer not null, primary_key text not null, shards integer not null,
        replicas integer not null, tie_break integer not null, settings text not null, created_at integer not null,
        state text not null check (state in ('creating', 'active', 'deleting', 'deleted')),
        creating text not null default '{}', settled integer not null default 0, own_replicas integer not null default 0, published integer not null default 0, frozen text, stored_as text not null default '');
INSERT INTO "indexes" VALUES('books',3,'id',2,2,1,'{"searchableAttributes":["title"]}',1700000000000,'active','{}',1,0,0,'node `a` takes stop words otherwise','books-2');
INSERT INTO "indexes" VALUES('films',4,'id',1,1,1,'{}',1700000000001,'creating','{"a":40}',0,0,0,NULL,'films');
INSERT INTO "indexes" VALUES('gone',2,'id',1,1,1,'{}',1600000000000,'deleted','{}',0,0,0,NULL,'gone');
CREATE TABLE intents (
        uid text not null, incarnation integer not null, n integer not null, nonce text not null, kind text not null,
        state text not null, refused text not null default '[]', failed text not null default '[]', error text,
        body text, owner text not null, created_at integer not null,
        primary key (uid, incarnation, n)) without rowid;
INSERT INTO "intents" VALUES('books',3,1,'one','add','done','[]','[]',NULL,NULL,'miroir import',1700000001000);
INSERT INTO "intents" VALUES('books',3,2,'two','add','sent','[]','[]',NULL,NULL,'miroir import',1700000002000);
CREATE TABLE jobs (
        id integer primary key autoincrement, type text not null, params text not null, state text not null,
        claimed_by text, claim_expires_at integer, progress text not null default '{}');
INSERT INTO "jobs" VALUES(5,'verify','{"index":"books"}','queued',NULL,NULL,'{}');
CREATE TABLE lanes (
        uid text not null, node text not null, base integer not null, looked integer not null,
        primary key (uid, node)) without rowid;
INSERT INTO "lanes" VALUES('books','a',11,40);
INSERT INTO "lanes" VALUES('books','b',3,16);
CREATE TABLE members (name text primary key, url text not null, top_task integer not null);
INSERT INTO "members" VALUES('a','http://10.0.0.1:7700',41);
INSERT INTO "members" VALUES('b','http://10.0.0.2:7700',17);
CREATE TABLE movers (
        nonce text primary key, uid text not null, node text not null, shards text not null,
        created_at integer not null) without rowid;
INSERT INTO "movers" VALUES('mover','books','c','[1]',1700000003000);
CREATE TABLE node_settings_version (
        index_uid text not null, node text not null, version integer not null, updated_at integer not null,
        primary key (index_uid, node)) without rowid;
INSERT INTO "node_settings_version" VALUES('books','a',1,1700000001000);
CREATE TABLE pieces (
        uid text not null, node text not null, task integer not null, incarnation integer not null, n integer not null,
        shards text not null, documents integer,
        primary key (uid, node, task)) without rowid;
INSERT INTO "pieces" VALUES('books','a',40,3,1,'[0,1]',7);
INSERT INTO "pieces" VALUES('books','a',41,3,2,'[0]',2);
INSERT INTO "pieces" VALUES('books','b',16,3,1,'[0,1]',7);
INSERT INTO "pieces" VALUES('books','b',17,3,2,'[0,1]',5);
CREATE TABLE placements (
        uid text not null, shard integer not null, node text not null, state text not null, since integer not null, base integer not null default 0, was text, nonce text,
        primary key (uid, shard, node)) without rowid;
INSERT INTO "placements" VALUES('books',0,'a','serving',5,0,NULL,NULL);
INSERT INTO "placements" VALUES('books',0,'b','serving',5,0,NULL,NULL);
INSERT INTO "placements" VALUES('books',1,'a','stale',9,0,NULL,NULL);
INSERT INTO "placements" VALUES('books',1,'b','serving',5,0,NULL,NULL);
INSERT INTO "placements" VALUES('books',1,'c','joining',8,0,NULL,'mover');
CREATE TABLE rollover_policies (
        name text primary key, write_alias text not null, read_alias text not null, pattern text not null,
        triggers text not null, retention text not null, template text not null,
        enabled integer not null) without rowid;
INSERT INTO "rollover_policies" VALUES('logs','w','r','logs-{date}','{"max_documents":9}','{"max_indexes":7}','{}',1);
CREATE TABLE runs (
        id integer primary key autoincrement, kind text not null, title text not null, state text not null,
        wanted text not null, parallel integer not null, rate integer, pid integer not null, command text not null,
        fingerprint text not null, started_at integer not null, finished_at integer, summary text not null, host text not null default '', born text not null default '');
INSERT INTO "runs" VALUES(6,'rebalance','add c','running','go',2,500,4711,'miroir rebalance run','f',1700000003000,NULL,'{"planned":1}','','');
CREATE TABLE search_ui_config (
        index_uid text primary key, config text not null, updated_at integer not null) without rowid;
INSERT INTO "search_ui_config" VALUES('books','{"title":"Books"}',1700000006000);
CREATE TABLE sessions (
        session text not null, uid text not null, incarnation integer not null, n integer not null,
        expires_at integer not null, primary key (session, uid)) without rowid;
INSERT INTO "sessions" VALUES('s','books',3,2,99999999999999);
CREATE TABLE step_events (
        run integer not null references runs (id) on delete cascade, step integer, at integer not null,
        pid integer not null, command text not null, state text not null, detail text not null, host text not null default '');
INSERT INTO "step_events" VALUES(6,NULL,1700000003000,4711,'miroir rebalance run','begun','1 steps','');
INSERT INTO "step_events" VALUES(6,1,1700000003500,4711,'miroir rebalance run','copying','','');
CREATE TABLE steps (
        run integer not null references runs (id) on delete cascade, number integer not null, uid text not null,
        incarnation integer not null, shard integer not null, target text, leaving text, repair integer not null,
        state text not null, documents integer, copied integer not null, pause real, error text,
        primary key (run, number)) without rowid;
INSERT INTO "steps" VALUES(6,1,'books',3,1,'c','b',0,'copying',12,5,NULL,NULL);
CREATE TABLE targets (
        uid text not null, incarnation integer not null, n integer not null, node text not null,
        shards text not null, documents integer,
        primary key (uid, incarnation, n, node)) without rowid;
INSERT INTO "targets" VALUES('books',3,1,'a','[0,1]',7);
INSERT INTO "targets" VALUES('books',3,1,'b','[0,1]',7);
INSERT INTO "targets" VALUES('books',3,2,'a','[0]',2);
INSERT INTO "targets" VALUES('books',3,2,'b','[0,1]',5);
CREATE TABLE task_counts (
        index_uid text not null, touched text not null, type text not null, status text not null,
        begun integer not null, tasks integer not null,
        primary key (index_uid, touched, type, status, begun)) without rowid;
INSERT INTO "task_counts" VALUES('books','','documentAdditionOrUpdate','processing',1,1);
INSERT INTO "task_counts" VALUES('books','','documentAdditionOrUpdate','succeeded',1,1);
CREATE TABLE task_indexes (
        index_uid text not null, task integer not null references tasks (uid) on delete cascade,
        primary key (index_uid, task)) without rowid;
INSERT INTO "task_indexes" VALUES('books',1);
INSERT INTO "task_indexes" VALUES('books',2);
CREATE TABLE tasks (
        uid integer primary key autoincrement, index_uid text, type text not null, status text not null, details text,
        error text, enqueued_at integer not null, started_at integer, finished_at integer, custom_metadata text,
        canceled_by integer, incarnation integer, n integer, node_tasks text not null default '{}', owner text,
        documents integer, told integer not null default 0, touched text);
INSERT INTO "tasks" VALUES(1,'books','documentAdditionOrUpdate','succeeded','{"receivedDocuments":7}',NULL,1700000001000,1700000001001,1700000001900,'mine',NULL,3,1,'{"a":[40],"b":[16]}',NULL,7,1,NULL);
INSERT INTO "tasks" VALUES(2,'books','documentAdditionOrUpdate','processing','{"receivedDocuments":5}',NULL,1700000002000,1700000002001,NULL,NULL,NULL,3,2,'{"a":[41],"b":[17]}',NULL,5,0,NULL);
CREATE TABLE tenant_map (
        api_key_hash text primary key, tenant_id text not null, "group" text) without rowid;
INSERT INTO "tenant_map" VALUES('abab','t','g');
CREATE TABLE webhooks (uuid text primary key, url text not null, headers text not null) without rowid;
INSERT INTO "webhooks" VALUES('7f1c','https://example.org/hook','{"authorization":"x"}');
CREATE UNIQUE INDEX "idx__sqlite_migrations_migration_set_name"
    ON "_sqlite_migrations" ("migration_set", "name");
CREATE INDEX pieces_by_intent on pieces (uid, incarnation, n);
CREATE INDEX steps_by_state on steps (uid, state);
CREATE INDEX step_events_by_run on step_events (run);
CREATE UNIQUE INDEX tasks_by_intent on tasks (index_uid, incarnation, n) where n is not null;
CREATE INDEX tasks_of_work on tasks (uid) where status in ('enqueued', 'processing') and n is null;
CREATE INDEX tasks_of_writes on tasks (index_uid, n) where status in ('enqueued', 'processing') and n is not null;
CREATE INDEX tasks_by_status on tasks (status);
CREATE INDEX tasks_untold on tasks (uid) where told = 0;
CREATE INDEX task_indexes_by_task on task_indexes (task);
CREATE INDEX idempotency_cache_by_task on idempotency_cache (task_uid);
CREATE INDEX idempotency_cache_by_end on idempotency_cache (expires_at);
CREATE INDEX sessions_by_end on sessions (expires_at);
CREATE INDEX commands_by_start on commands (started_at);
CREATE INDEX step_events_of_runs on step_events (pid, at) where step is null;
CREATE UNIQUE INDEX indexes_by_stored_name on indexes (stored_as) where state != 'deleted';
CREATE INDEX jobs_by_state on jobs (state);
CREATE INDEX admin_sessions_by_end on admin_sessions (expires_at);
CREATE TRIGGER tasks_added after insert on tasks begin insert into task_counts (index_uid, touched, type, status, begun, tasks)
    values (coalesce(new.index_uid, ''), coalesce(new.touched, ''), new.type, new.status, new.started_at is not null, 1)
    on conflict (index_uid, touched, type, status, begun) do update set tasks = tasks + 1; end;
CREATE TRIGGER tasks_deleted after delete on tasks begin update task_counts set tasks = tasks - 1 where index_uid = coalesce(old.index_uid, '') and touched = coalesce(old.touched, '') and type = old.type
    and status = old.status and begun = (old.started_at is not null);
    delete from task_counts where index_uid = coalesce(old.index_uid, '') and touched = coalesce(old.touched, '') and type = old.type
    and status = old.status and begun = (old.started_at is not null) and tasks = 0; end;
CREATE TRIGGER tasks_changed after update of index_uid, touched, type, status, started_at on tasks
        begin update task_counts set tasks = tasks - 1 where index_uid = coalesce(old.index_uid, '') and touched = coalesce(old.touched, '') and type = old.type
    and status = old.status and begun = (old.started_at is not null);
    delete from task_counts where index_uid = coalesce(old.index_uid, '') and touched = coalesce(old.touched, '') and type = old.type
    and status = old.status and begun = (old.started_at is not null) and tasks = 0; insert into task_counts (index_uid, touched, type, status, begun, tasks)
    values (coalesce(new.index_uid, ''), coalesce(new.touched, ''), new.type, new.status, new.started_at is not null, 1)
    on conflict (index_uid, touched, type, status, begun) do update set tasks = tasks + 1; end;
CREATE INDEX tasks_by_type on tasks (type, status);
CREATE INDEX tasks_by_index on tasks (index_uid, type, status);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('runs',6);
INSERT INTO "sqlite_sequence" VALUES('tasks',2);
INSERT INTO "sqlite_sequence" VALUES('commands',9);
INSERT INTO "sqlite_sequence" VALUES('jobs',5);
COMMIT;
PRAGMA user_version = 8;
