"""Something of every kind of record, and everything that a store then tells, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import Any

from miroir_cli.model import NodeName, ReplicaState
from miroir_cli.store.aliases import AliasKind
from miroir_cli.store.journal import CommandRecord, JournalQuery, RunId, RunKind, StepState
from miroir_cli.store.protocol import Store
from miroir_cli.store.records import ApiKey
from miroir_cli.store.records_canaries import Canary, CanaryRun, CanaryStatus
from miroir_cli.store.records_services import AdminSession, RolloverPolicy, Tenant
from miroir_cli.store.tasks import NewTask, Reservation, TaskEnd, TaskQuery, TaskStatus, Webhook
from tests.store.contract.test_imports import BATCH
from tests.store.contract.test_runs import STEP, a_run
from tests.store.contract.world import BOOKS, FILMS, INDEX, ONE, SHELF, ZERO, A, B, one_more, with_index
from tests.store.contract.writing import begin, settle, write

C = NodeName("c")
TIMES = ("enqueued_at", "started_at", "finished_at")
FOR_EVER = 99_999_999_999_999


async def fill(store: Store) -> None:
    """A cluster in the middle of everything."""
    books = (await with_index(store)).index
    films = (await one_more(store, FILMS)).index
    await store.begin_creation(replace(INDEX, uid=SHELF, stored_as=await store.free_name(SHELF)), nodes={A: 7})
    await write(store, books, task=10)
    await settle(store, books)
    await store.join(books, ONE, C, nonce="mover", top=5)
    await store.account(books, A, [11])
    task = NewTask(type="documentDeletion", index_uid="books", documents=3)
    await begin(store, books, keys=lambda shard: [f"{shard}-key"], task=task)
    await store.mark("books", {B: [ZERO]}, state=ReplicaState.STALE)
    await store.note_settings(books, [A, B], 1)
    await store.remember_session("me", "books", 2)
    await begin(store, films, documents={ZERO: 3})
    await store.freeze(films, "a reason")
    await _aliases(store)
    await _clients(store)
    await _work(store)
    await _services(store)


async def _aliases(store: Store) -> None:
    reading = await store.create_alias("reading", ["films"])
    await store.flip_alias(reading, ["books"])
    await store.create_alias("everything", ["books", "films"], kind=AliasKind.MULTI)


async def _clients(store: Store) -> None:
    done = await store.add_task(NewTask(type="settingsUpdate", index_uid="books", custom_metadata="mine"))
    await store.end_tasks([TaskEnd(uid=done.uid, status=TaskStatus.SUCCEEDED, finished_at=FOR_EVER)])
    swap = NewTask(type="indexSwap", indexes=("books", "films"), details={"swaps": [{"indexes": ["books", "films"]}]})
    await store.add_task(swap)
    reservation = Reservation(key="key", digest="d1", task=None, owner="me")
    await store.reserve(reservation, expires_at=FOR_EVER)
    await store.save_webhook(Webhook(uuid="7f1c", url="https://example.org/hook", headers={"a": "b"}))
    key = ApiKey(
        uid="0b5e", name="Search", description=None, actions=("search",), indexes=("*",), expires_at=None,
        created_at="2026-01-01T00:00:00Z", updated_at="2026-01-02T00:00:00Z",
    )  # fmt: skip
    await store.add_api_key(key)


async def _work(store: Store) -> None:
    run = await store.begin_run(a_run(summary={"planned": 2}), [STEP, replace(STEP, number=2, leaving=B, pause=0.5)])
    await store.save_step(run.id, replace(STEP, state=StepState.SWITCHING), detail="soon")
    await store.begin_run(a_run(kind=RunKind.VERIFY), [])
    begun = await store.begin_import(uid=BOOKS, incarnation=1, fingerprint={"sources": [1]}, options={"a": None})
    await store.save_batch(replace(BATCH, import_id=begun.id))
    command = CommandRecord(
        mark="m", words="import", line="miroir import books", cluster="test", user="me", host="here", pid=11,
        started_at=1, born="4711", finished_at=FOR_EVER, status=3, code="miroir_partial", result="some",
    )  # fmt: skip
    await store.save_command(command, durable=True)
    await store.enqueue_job("verify", {"index": "books"})
    await store.enqueue_job("prune", {})
    claimed = await store.claim_job(by="here:11", wants=lambda job: job.type == "prune", lasts=1000)
    assert claimed is not None
    await store.heartbeat_job(claimed, progress={"done": 3})


async def _services(store: Store) -> None:
    canary = Canary(
        id="c1", name="dune", index_uid="books", interval_s=60, query={"q": "dune"}, assertions=({"min_hits": 1},),
        created_at=1,
    )  # fmt: skip
    await store.save_canary(canary)
    run = CanaryRun(canary_id="c1", ran_at=5, status=CanaryStatus.FAIL, latency_ms=7, failed_assertions=({"n": 1},))
    await store.add_canary_run(run)
    await store.advance_cdc_cursor("kafka", "books", expected=None, to=4)
    await store.save_tenant(Tenant(api_key_hash="ab" * 32, tenant_id="t", group="g"))
    policy = RolloverPolicy(
        name="logs", write_alias="w", read_alias="r", pattern="logs-{date}", triggers={"max_documents": 9},
        retention={"max_indexes": 7}, template={},
    )  # fmt: skip
    await store.save_rollover_policy(policy)
    await store.save_search_ui_config("books", {"title": "Books"})
    session = AdminSession(
        session_id="s1", csrf_token="t1", admin_key_hash="cd" * 32, created_at=1, expires_at=FOR_EVER, user_agent="curl"
    )
    await store.add_admin_session(session)
    await store.revoke_admin_session("s1")


async def told(store: Store) -> dict[str, Any]:
    """Everything that there is, read by all methods that read."""
    indexes = {index.uid: index for index in await store.indexes()}
    books = indexes[BOOKS]
    found: dict[str, Any] = {
        "cluster": await store.cluster(),
        "members": await store.members(),
        "maps": await store.maps(),
        "copies": await store.copies(),
        "creation": await store.creation("shelf"),
        "interrupted": await store.interrupted(),
        "unpublished": [await store.unpublished(uid) for uid in sorted(indexes)],
        "progress": [await store.progress(uid) for uid in sorted(indexes)],
        "frozen": await store.frozen(),
        "aliases": await store.aliases(),
        "resolved": [await store.resolve(name) for name in ("reading", "everything", "none")],
        "settings_versions": await store.settings_versions("books"),
        "newest": await store.newest_intent("films"),
        "intents": await store.intents("books", range(5)),
        "pending": [await store.pending(uid) for uid in sorted(indexes)],
        "changes": await store.changes("books", ONE, above=1),
        "accounted": await store.accounted("books", A, above=0),
        "addressed": [await store.was_addressed("books", node) for node in (A, B, C, NodeName("d"))],
        "session": await store.session_waits_for("me", "books"),
        "tasks": await store.tasks(TaskQuery()),
        "by_time": [
            await store.task_uids(TaskQuery(after={column: 1}))
            for column in ("enqueued_at", "started_at", "finished_at")
        ],
        "task_of": await store.task_of("books", books.incarnation, 2),
        "task_counts": await store.count_tasks(),
        "task_indexes": await store.task_indexes(),
        "work": await store.unfinished_work(),
        "writes": await store.unfinished_writes(limit=9),
        "untold": await store.untold_tasks(limit=9),
        "webhooks": await store.webhooks(),
        "api_keys": await store.api_keys(),
        "runs": await store.runs(),
        "steps": await store.steps(RunId(1)),
        "switching": await store.switching("books"),
        "events": [await store.events(run.id) for run in await store.runs()],
        "commands": await store.commands(JournalQuery()),
        "imports": await store.unfinished_imports(),
        "batches": await store.batches(1),
        "jobs": await store.jobs(),
        "job_counts": await store.count_jobs(),
        "canaries": await store.canaries(),
        "canary_runs": await store.canary_runs("c1"),
        "cursors": await store.cdc_cursors(),
        "tenant": await store.tenant("ab" * 32),
        "policies": await store.rollover_policies(),
        "pages": await store.search_ui_configs(),
        "admin_sessions": await store.admin_sessions(),
    }
    return {name: plain(value) for name, value in found.items()}


def plain(value: Any) -> Any:
    """A value as JSON has it: a mapping is a list of pairs, a set is in order."""
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return sorted(([plain(key), plain(each)] for key, each in value.items()), key=repr)
    if isinstance(value, frozenset | set):
        return sorted(map(plain, value), key=repr)
    if isinstance(value, tuple | list):
        return [plain(each) for each in value]
    return value


def holds(now: Any, then: Any) -> bool:
    """Whether all that was told then is told now; a record may have more fields by now."""
    if isinstance(then, dict):
        return isinstance(now, dict) and all(name in now and holds(now[name], then[name]) for name in then)
    if isinstance(then, list):
        return isinstance(now, list) and len(now) == len(then) and all(map(holds, now, then))
    return bool(now == then)
