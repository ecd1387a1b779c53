"""Writes a state file of a schema version as SQL: `python -m tests.store.versions.make_sqlite 8 > sqlite-8.sql`.

Once a version was released its file stays as it is. The next one gets its own, with rows for what is new.
"""

from __future__ import annotations

import sys

from sqlite_utils import Database

from miroir_cli.store.sqlite.schema import migrations

ROWS = {
    1: """
insert into cluster (id, name, cluster_id, epoch) values
(1, 'old', 'c0ffee', 9);
insert into members values
('a', 'http://10.0.0.1:7700', 41),
('b', 'http://10.0.0.2:7700', 17);
insert into indexes (uid, incarnation, primary_key, shards, replicas, tie_break, settings, created_at, state, creating,
settled) values
('books', 3, 'id', 2, 2, 1, '{"searchableAttributes":["title"]}', 1700000000000, 'active', '{}', 1),
('films', 4, 'id', 1, 1, 1, '{}', 1700000000001, 'creating', '{"a":40}', 0),
('gone', 2, 'id', 1, 1, 1, '{}', 1600000000000, 'deleted', '{}', 0);
insert into placements (uid, shard, node, state, since) values
('books', 0, 'a', 'serving', 5),
('books', 0, 'b', 'serving', 5),
('books', 1, 'a', 'stale', 9),
('books', 1, 'b', 'serving', 5);
insert into lanes values
('books', 'a', 11, 40),
('books', 'b', 3, 16);
insert into intents values
('books', 3, 1, 'one', 'add', 'done', '[]', '[]', null, null, 'miroir import', 1700000001000),
('books', 3, 2, 'two', 'add', 'sent', '[]', '[]', null, null, 'miroir import', 1700000002000);
insert into targets values
('books', 3, 1, 'a', '[0,1]', 7),
('books', 3, 1, 'b', '[0,1]', 7),
('books', 3, 2, 'a', '[0]', 2),
('books', 3, 2, 'b', '[0,1]', 5);
insert into pieces values
('books', 'a', 40, 3, 1, '[0,1]', 7),
('books', 'b', 16, 3, 1, '[0,1]', 7),
('books', 'a', 41, 3, 2, '[0]', 2),
('books', 'b', 17, 3, 2, '[0,1]', 5);
insert into foreign_tasks (uid, node, task) values
('books', 'a', 39);
insert into imports values
(1, 'books', 3, '{"sources":[]}', '{"format":"ndjson"}', 'running', 1700000000500, null, '{}'),
(2, 'books', 3, '{"sources":[]}', '{}', 'done', 1700000000100, 1700000000400, '{"documents":7}');
insert into batches values
(1, 1, 0, 0, 512, 1, 7, 7, 0, '{"1":[0,1]}', 'done'),
(1, 2, 0, 512, 900, 8, 12, 5, 1, '{"2":[0,1]}', 'sending');
""",
    2: """
insert into placements (uid, shard, node, state, since, base, was, nonce) values
('books', 1, 'c', 'joining', 8, 0, null, 'mover');
insert into changes values
('books', 3, 2, 1, '["7","8"]');
insert into movers values
('mover', 'books', 'c', '[1]', 1700000003000);
insert into runs (id, kind, title, state, wanted, parallel, rate, pid, command, fingerprint, started_at, summary) values
(6, 'rebalance', 'add c', 'running', 'go', 2, 500, 4711, 'miroir rebalance run', 'f', 1700000003000, '{"planned":1}');
insert into steps values
(6, 1, 'books', 3, 1, 'c', 'b', 0, 'copying', 12, 5, null, null);
insert into step_events (run, step, at, pid, command, state, detail) values
(6, null, 1700000003000, 4711, 'miroir rebalance run', 'begun', '1 steps'),
(6, 1, 1700000003500, 4711, 'miroir rebalance run', 'copying', '');
""",
    3: """
insert into tasks (uid, index_uid, type, status, details, error, enqueued_at, started_at, finished_at,
custom_metadata, incarnation, n, node_tasks, documents, told) values
(1, 'books', 'documentAdditionOrUpdate', 'succeeded', '{"receivedDocuments":7}', null,
1700000001000, 1700000001001, 1700000001900, 'mine', 3, 1, '{"a":[40],"b":[16]}', 7, 1),
(2, 'books', 'documentAdditionOrUpdate', 'processing', '{"receivedDocuments":5}', null,
1700000002000, 1700000002001, null, null, 3, 2, '{"a":[41],"b":[17]}', 5, 0);
insert into task_indexes values
('books', 1),
('books', 2);
insert into idempotency_cache values
('key', 'e3b0', 1, 'p', 1700000001000, 99999999999999);
insert into webhooks values
('7f1c', 'https://example.org/hook', '{"authorization":"x"}');
""",
    4: """
insert into sessions values
('s', 'books', 3, 2, 99999999999999);
""",
    5: """
insert into api_keys values
('0b5e', 'Search', null, '["search"]', '["*"]', null, '2025-01-01T00:00:00Z', '2025-01-02T00:00:00Z', 0);
insert into node_settings_version values
('books', 'a', 1, 1700000001000);
update indexes set frozen = 'node `a` takes stop words otherwise' where uid = 'books';
""",
    6: """
insert into commands values
(9, 'm', 'rebalance run', 'miroir rebalance run', 'old', 'me', 'here', 4711,
1700000002900, null, null, '/srv', 'miroir.toml', 1700000004000, 0, null, 'nothing moved');
""",
    7: """
update indexes set stored_as = 'books-2' where uid = 'books';
update cluster set renamed = 4;
""",
    8: """
insert into jobs (id, type, params, state) values
(5, 'verify', '{"index":"books"}', 'queued');
insert into canaries values
('c1', 'dune', 'books', 60, '{"q":"dune"}', '[{"min_hits":1}]', 1, 1700000005000);
insert into canary_runs values
('c1', 1700000006000, 'fail', 7, '[{"n":1}]');
insert into cdc_cursors values
('kafka', 'books', 4, 1700000006000);
insert into tenant_map values
('abab', 't', 'g');
insert into rollover_policies values
('logs', 'w', 'r', 'logs-{date}', '{"max_documents":9}', '{"max_indexes":7}', '{}', 1);
insert into search_ui_config values
('books', '{"title":"Books"}', 1700000006000);
insert into admin_sessions values
('s1', 't1', 'cdcd', 1700000006000, 99999999999999, 0, 'curl', null);
insert into aliases values
('reading', 'single', 'books', '["books"]', 6, 1700000007000, '[{"targets":["books"],"since":1700000007000}]');
""",
}
"""What is new in a version, and something for it. The version that a file is of is older than all that follow."""


def sql(version: int) -> str:
    """A whole state file of a version, as text."""
    db = Database(memory=True)
    names = [each.name for each in migrations.pending(db)]
    for number in range(1, version + 1):
        migrations.apply(db, stop_before=names[number] if number < len(names) else None)
        db.conn.executescript(ROWS.get(number, ""))
    db.execute("update _sqlite_migrations set applied_at = '2025-01-01 00:00:00'")
    lines = [*db.conn.iterdump(), f"PRAGMA user_version = {version};"]
    db.conn.close()
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(sql(int(sys.argv[1])))
