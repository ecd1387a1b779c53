"""The keys of everything that a state consists of, found by what lists them.

For who puts a whole state aside: what is not named here would be taken for a part of the next one. What a test of the
contract has written and is not named fails that test (`tests/store/conftest.py`). Idempotency keys are not listed, and
stay: they stand for uids of tasks, which are never given again, and run out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from miroir_cli.store.encoding import from_json
from miroir_cli.store.redis.admin_sessions import SESSIONS as ADMIN_SESSIONS
from miroir_cli.store.redis.alias_hashes import ALIASES
from miroir_cli.store.redis.api_keys import API_KEYS
from miroir_cli.store.redis.canaries import CANARIES
from miroir_cli.store.redis.changes import WATCHES
from miroir_cli.store.redis.cluster import DELETED, STORED_NAMES
from miroir_cli.store.redis.columns import BLOCK
from miroir_cli.store.redis.commands import COMMANDS, STARTED, mark_key
from miroir_cli.store.redis.content import content_keys
from miroir_cli.store.redis.creation import UNDER_NAME
from miroir_cli.store.redis.imports import IMPORTS, RUNNING
from miroir_cli.store.redis.jobs import CLAIMED, JOBS, QUEUED
from miroir_cli.store.redis.keys import CLUSTER, content_of, key, listing
from miroir_cli.store.redis.maps import INDEXES
from miroir_cli.store.redis.members import MEMBERS
from miroir_cli.store.redis.order import addressed_key, order_key
from miroir_cli.store.redis.run_events import events_by_process
from miroir_cli.store.redis.runs import RUNS, UNFINISHED, switching_key
from miroir_cli.store.redis.services import CURSORS, PAGES, POLICIES, TENANTS, cursor_names
from miroir_cli.store.redis.sessions import SESSIONS
from miroir_cli.store.redis.slots import SLOTS
from miroir_cli.store.redis.spans import SPANS
from miroir_cli.store.redis.subjects import SUBJECTS, names_key, subject_of, touched_key
from miroir_cli.store.redis.task_changes import BLOCKS, STATUSES, TYPE_COUNTS, TYPES, block_keys, intents_key
from miroir_cli.store.redis.task_record import CANCELED, SWAPS, UNTOLD, WORK, WRITES, record_of
from miroir_cli.store.redis.transaction import COUNTERS
from miroir_cli.store.redis.webhooks import WEBHOOKS

if TYPE_CHECKING:
    from miroir_cli.store.redis.transaction import Transaction

NAMED: Final = (
    CLUSTER, COUNTERS, MEMBERS, listing("members"), INDEXES, STORED_NAMES, DELETED, RUNS, UNFINISHED, IMPORTS, RUNNING,
    COMMANDS, STARTED, API_KEYS, ALIASES, JOBS, QUEUED, CLAIMED, CANARIES, CURSORS, TENANTS, POLICIES, PAGES, WATCHES,
    WEBHOOKS, BLOCKS, *SPANS, TYPES, TYPE_COUNTS, STATUSES, SUBJECTS, WORK, WRITES, SWAPS, UNTOLD, CANCELED,
    SLOTS,
)  # fmt: skip
"""Those that every state has, or may have."""


AT_ONCE: Final = 1_000
"""Tasks that are read at once."""


async def possible_keys(tx: Transaction) -> list[str]:
    """Every key that the state may have and that stays until somebody deletes it, each once; some of them may not be
    there."""
    found: list[str] = [*NAMED]
    for look in (_of_indexes, _of_runs, _of_imports, _of_commands, _of_listed, _of_cursors, _of_tasks, _of_subjects):
        found += await look(tx)
    return list(dict.fromkeys(found))


async def _of_indexes(tx: Transaction) -> Iterable[str]:
    uids = await tx.names(INDEXES)
    found = [key(kind, uid) for kind in UNDER_NAME for uid in uids]
    indexes = [fields for fields in await tx.hashes(key("indexes", uid) for uid in uids) if fields]
    contents = {content_of(fields): int(fields["shards"]) for fields in indexes}
    await tx.ahead(hashes=map(order_key, contents), sets=map(addressed_key, contents))
    for content, shards in contents.items():
        found += await content_keys(tx, content, shards=shards)
    return found


async def _of_runs(tx: Transaction) -> Iterable[str]:
    ids = await tx.names(RUNS)
    indexes = await tx.ask([("HGET", key("runs", id), "indexes") for id in ids], watch=False)
    named = {uid for found in indexes for uid in from_json(found or "[]")}
    events = await tx.ask([("LRANGE", key("events", id), 0, -1) for id in ids], watch=False)
    processes = {(each["host"], each["pid"]) for found in events for each in map(from_json, found)}
    beside = [*(events_by_process(host, pid) for host, pid in processes), *map(switching_key, named)]
    return [*(key(kind, id) for kind in ("runs", "steps", "events") for id in ids), *beside]


async def _of_imports(tx: Transaction) -> Iterable[str]:
    ids = await tx.names(IMPORTS)
    return [key(kind, id) for kind in ("imports", "batches") for id in ids]


async def _of_commands(tx: Transaction) -> Iterable[str]:
    ids = await tx.names(COMMANDS)
    marks = await tx.ask([("HGET", key("commands", id), "mark") for id in ids], watch=False)
    return [*(key("commands", id) for id in ids), *(mark_key(mark) for mark in marks if mark is not None)]


LISTED: Final = (
    ("api_keys", API_KEYS),
    ("aliases", ALIASES),
    ("jobs", JOBS),
    ("canary", CANARIES),
    ("canary_runs", CANARIES),
    ("tenant_map", TENANTS),
    ("rollover", POLICIES),
    ("search_ui_config", PAGES),
    ("webhooks", WEBHOOKS),
    ("slots", SLOTS),
)
"""Kinds of which each record is one key, named by a set."""


async def _of_listed(tx: Transaction) -> Iterable[str]:
    return [key(kind, id) for kind, names in LISTED for id in await tx.names(names)]


async def fleeting_keys(tx: Transaction) -> list[str]:
    """Every key that runs out by itself, and what lists them."""
    sessions, admins = await tx.ask([("ZRANGE", each, 0, -1) for each in (SESSIONS, ADMIN_SESSIONS)], watch=False)
    return [SESSIONS, ADMIN_SESSIONS, *sessions, *(key("admin_session", id) for id in admins)]


async def _of_cursors(tx: Transaction) -> Iterable[str]:
    return [key("cdc_cursor", *each) for each in await cursor_names(tx)]


async def _of_tasks(tx: Transaction) -> Iterable[str]:
    blocks = [int(block) for block in await tx.names(BLOCKS)]
    found = [each for block in blocks for each in block_keys(block)]
    for block in blocks:
        for start in range(block * BLOCK, (block + 1) * BLOCK, AT_ONCE):
            keys = [key("tasks", uid) for uid in range(start, min(start + AT_ONCE, (block + 1) * BLOCK))]
            (texts,) = await tx.ask([("MGET", *keys)], watch=False)
            for each, text in zip(keys, texts, strict=True):
                if text is not None:
                    record = record_of(text)
                    found += [each] if record.n is None else [each, intents_key(record.subject, record.n)]
    return found


async def _of_subjects(tx: Transaction) -> Iterable[str]:
    found: list[str] = []
    for number, text in (await tx.hash(SUBJECTS)).items():
        found += [touched_key(int(number)), listing("task_writes", number)]
        for name in subject_of(text).names:
            found += [names_key(name), listing("task_work", name)]
    return found
