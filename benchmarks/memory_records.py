"""Records of every kind, as many as wanted, as `benchmarks.memory` measures them.

Each function writes them and returns the number of characters of what varies most in them. Names have random lengths:
Redis rounds what it takes, and one length alone would show one step of that.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

from miroir_cli.model import Index, IndexUid, Intent, NodeName, ShardId, WriteKind
from miroir_cli.replication.verdict import Part, Sent, judge_sending
from miroir_cli.store.journal import (
    CommandRecord,
    Process,
    RunId,
    RunKind,
    RunRecord,
    RunState,
    StepRecord,
    StepState,
    Wanted,
)
from miroir_cli.store.records import ApiKey, BatchRecord, Member
from miroir_cli.store.records_canaries import Canary, CanaryRun, CanaryStatus
from miroir_cli.store.records_services import AdminSession, RolloverPolicy, Tenant
from miroir_cli.store.redis.keys import key
from miroir_cli.store.redis.slots import Slots
from miroir_cli.store.redis.store import RedisStore
from miroir_cli.store.tasks import NewTask, Reservation, TaskEnd, TaskStatus, Webhook
from tests.store.contract.clients import add_many, add_writes

AT_ONCE = 16
NOW = 1_760_000_000_000
LATER = 4_000_000_000_000
NODES = tuple(NodeName(f"node-{number}") for number in range(3))

Fill = Callable[[RedisStore, int, random.Random], Awaitable[int]]


def text(rng: random.Random, low: int, high: int) -> str:
    """Characters as names have them, from `low` to `high` of them."""
    return "".join(rng.choices("abcdefghijklmnopqrstuvwxyz0123456789-", k=rng.randint(low, high)))


async def together(work: Iterable[Awaitable[Any]]) -> None:
    room = asyncio.Semaphore(AT_ONCE)

    async def one(each: Awaitable[Any]) -> None:
        async with room:
            await each

    await asyncio.gather(*(one(each) for each in work))


async def index_of(store: RedisStore, uid: str, *, shards: int, **more: Any) -> Index:
    wanted = Index(uid=IndexUid(uid), incarnation=0, primary_key="id", shards=shards, replicas=2, **more)
    await store.found(name="measured")
    begun = await store.begin_creation(wanted, nodes={})
    placement = {ShardId(shard): frozenset(NODES[:2]) for shard in range(shards)}
    return (await store.finish_creation(begun, placement=placement, bases={NODES[0]: 1, NODES[1]: 1})).index


# -- the cluster


async def members(store: RedisStore, count: int, rng: random.Random) -> int:
    names = [f"{number:05}-{text(rng, 4, 40)}" for number in range(count)]
    for name in names:
        await store.enrol(Member(name=NodeName(name), url=f"http://{name}:7700", top_task=1))
    return 3 * sum(map(len, names))


async def indexes(store: RedisStore, count: int, rng: random.Random) -> int:
    """With one shard each; the settings vary, as JSON."""
    chars = 0
    for number in range(count):
        words = [text(rng, 6, 12) for _ in range(rng.randint(5, 60))]
        await index_of(store, f"index-{number:05}", shards=1, settings={"stopWords": words})
        chars += sum(len(word) + 3 for word in words)
    return chars


async def replicas(store: RedisStore, count: int, rng: random.Random) -> int:
    """All in one index with many shards."""
    await index_of(store, "wide", shards=count // 2)
    return 0


# -- writes


async def _sent(store: RedisStore, intent: Intent, *, task: int) -> None:
    """All nodes have accepted it."""
    part = Part(shards=intent.shards, sent=Sent.ACCEPTED, task=task, documents=100)
    answers = {target.node: (part,) for target in intent.targets}
    await store.close_intent(intent, lambda current, in_sync: judge_sending(current, in_sync, answers))


async def intents(store: RedisStore, count: int, rng: random.Random) -> int:
    """On their way: in all 24 shards of an index, on two nodes."""
    index = await index_of(store, "books", shards=24)
    slot = await Slots(store.access, command="miroir serve").take(NODES)
    for number in range(count):
        intent = await store.open_intent(
            index,
            kind=WriteKind.ADD,
            documents={ShardId(shard): 100 for shard in range(24)},
            nonce=text(rng, 12, 12),
            min_in_sync=1,
            owner="host:4711.123456",
            slot=slot,
        )
        await _sent(store, intent, task=10 + number)
    return 0


async def slots(store: RedisStore, count: int, rng: random.Random) -> int:
    """Each of a process, with a key on three nodes; the names of those vary."""
    await store.found(name="measured")
    names = [[NodeName(text(rng, 4, 24)) for _ in range(3)] for _ in range(count)]
    await together(Slots(store.access, command="miroir serve").take(each) for each in names)
    return sum(len(name) for each in names for name in each)


def _named(keys: list[str], shard: ShardId) -> list[str]:
    return keys


async def changes(store: RedisStore, count: int, rng: random.Random) -> int:
    """Primary keys that are written while a shard is copied, a hundred in each write."""
    index = await index_of(store, "moving", shards=1)
    await store.join(index, ShardId(0), NODES[2], nonce="mover", top=0)
    chars = 0
    for number in range(count // 100):
        keys = [text(rng, 4, 24) for _ in range(100)]
        chars += sum(map(len, keys))
        intent = await store.open_intent(
            index,
            kind=WriteKind.ADD,
            documents={ShardId(0): 100},
            nonce="x",
            min_in_sync=1,
            owner="host:4711.123456",
            keys=partial(_named, keys),
        )
        await _sent(store, intent, task=10 + number)
    return chars


# -- runs, commands, imports

RUN = RunRecord(
    id=RunId(0), kind=RunKind.REBALANCE, title="rebalance: 12 moves", state=RunState.RUNNING, wanted=Wanted.GO,
    parallel=2, rate=None, process=Process(host="host-1.example.org", pid=4711, born="123456"),
    command="miroir rebalance run", fingerprint="f" * 64, started_at=0,
)  # fmt: skip


async def runs(store: RedisStore, count: int, rng: random.Random) -> int:
    """Without steps, each with its first two events."""
    for _ in range(count):
        run = await store.begin_run(RUN, [])
        await store.save_run(run.id, state=RunState.DONE, summary={"moves": 12, "documents": 123456})
    return 0


async def steps(store: RedisStore, count: int, rng: random.Random) -> int:
    """All of one run; index and nodes have names."""
    uid, first, second = text(rng, 4, 30), text(rng, 4, 12), text(rng, 4, 12)
    step = StepRecord(
        number=0, index=IndexUid(uid), incarnation=1, shard=ShardId(12), target=NodeName(first),
        leaving=NodeName(second), state=StepState.DONE, documents=123456, copied=123456, pause=0.0123,
    )  # fmt: skip
    await store.begin_run(RUN, [replace(step, number=number) for number in range(count)])
    return count * len(uid + first + second)


async def events(store: RedisStore, count: int, rng: random.Random) -> int:
    run = await store.begin_run(RUN, [StepRecord(number=1, index=IndexUid("i"), incarnation=1, shard=ShardId(1))])
    step = (await store.steps(run.id))[0]
    details = [text(rng, 1, 60) for _ in range(count)]
    await together(store.save_step(run.id, step, detail=detail) for detail in details)
    return sum(map(len, details)) + count * len(RUN.process.host + RUN.command)


async def commands(store: RedisStore, count: int, rng: random.Random) -> int:
    """As people type them; the line varies."""
    lines = [f"miroir import books {text(rng, 1, 120)}" for _ in range(count)]
    await together(
        store.save_command(
            CommandRecord(
                mark=text(rng, 32, 32), words="import", line=line, cluster="production", user="alice",
                host="host-1.example.org", pid=4711, started_at=NOW + number, born="123456", folder="/srv/miroir",
                topology="/etc/miroir/miroir.toml", finished_at=NOW + number, status=0, result="imported 12 documents",
            ),
            durable=True,
        )
        for number, line in enumerate(lines)
    )  # fmt: skip
    return sum(map(len, lines))


async def imports(store: RedisStore, count: int, rng: random.Random) -> int:
    """Without batches; the sources vary."""
    chars = 0
    for _ in range(count):
        source = {"name": text(rng, 5, 120), "size": 123456789, "modified": NOW, "sha256": "a" * 64}
        chars += len(source["name"])  # type: ignore[arg-type]
        begun = await store.begin_import(
            uid="books", incarnation=1, fingerprint={"sources": [source]},
            options={"format": "ndjson", "primary_key": "id", "method": "put", "batch_bytes": 20_000_000},
        )  # fmt: skip
        await store.finish_import(begun.id, state="done", summary={"documents": 123456, "rejected": 0})
    return chars


async def batches(store: RedisStore, count: int, rng: random.Random) -> int:
    """All of one import, each with 24 shards."""
    shards = tuple(ShardId(shard) for shard in range(24))
    await together(
        store.save_batch(
            BatchRecord(
                import_id=1, number=number, source=0, start=number * 12_345_678, end=(number + 1) * 12_345_678,
                first_line=number * 50_000, last_line=(number + 1) * 50_000, documents=50_000, rejected=0,
                intents={number: shards}, state="done",
            )
        )
        for number in range(1, count + 1)
    )  # fmt: skip
    return 0


# -- clients


async def api_keys(store: RedisStore, count: int, rng: random.Random) -> int:
    names = [text(rng, 4, 60) for _ in range(count)]
    moment = "2026-01-01T00:00:00.000000000Z"
    await together(
        store.add_api_key(
            ApiKey(
                uid=text(rng, 36, 36), name=name, description=None, actions=("search",), indexes=("*",),
                expires_at=None, created_at=moment, updated_at=moment,
            )
        )
        for name in names
    )  # fmt: skip
    return sum(map(len, names))


async def tasks(store: RedisStore, count: int, rng: random.Random) -> int:
    """Half of them writes, on none to four nodes; all have ended and are told. Redis keeps columns of 4,096 of them."""
    work = (
        NewTask(type="settingsUpdate", index_uid="books", details={"text": text(rng, 0, 300)})
        for _ in range(count // 2)
    )
    await add_many(store, list(work))
    await add_writes(
        store, NewTask(type="documentAdditionOrUpdate", index_uid="books", documents=100), count - count // 2
    )
    ends = [
        TaskEnd(
            uid=uid,
            status=TaskStatus.SUCCEEDED,
            started_at=NOW,
            finished_at=NOW,
            node_tasks={NodeName(f"node-{number}"): (123_456,) for number in range(rng.randrange(5))},
        )
        for uid in range(count)
    ]
    await store.end_tasks(ends)
    await store.tell_tasks(range(count))
    return sum(map(len, await store.access.ask("MGET", *(key("tasks", uid) for uid in range(count)))))


async def sessions(store: RedisStore, count: int, rng: random.Random) -> int:
    """Of an index called `books`; the ids vary, and count twice."""
    await index_of(store, "books", shards=1)
    ids = [text(rng, 8, 64) for _ in range(count)]
    await together(store.remember_session(id, "books", 123_456) for id in ids)
    return 2 * sum(map(len, ids))


async def idempotency(store: RedisStore, count: int, rng: random.Random) -> int:
    keys = [text(rng, 8, 64) for _ in range(count)]
    await together(
        store.reserve(Reservation(key=key, digest="d" * 64, task=123456, owner="host:4711.123456"), expires_at=LATER)
        for key in keys
    )
    return sum(map(len, keys))


async def webhooks(store: RedisStore, count: int, rng: random.Random) -> int:
    urls = [f"https://example.org/{text(rng, 1, 40)}" for _ in range(count)]
    await together(store.save_webhook(Webhook(uuid=text(rng, 36, 36), url=url)) for url in urls)
    return sum(map(len, urls))


# -- services


async def jobs(store: RedisStore, count: int, rng: random.Random) -> int:
    """Queued; the parameters vary, as JSON."""
    params = [{"index": text(rng, 4, 50)} for _ in range(count)]
    await together(store.enqueue_job("settings_drift_check", each) for each in params)
    return sum(len(each["index"]) for each in params)


async def canaries(store: RedisStore, count: int, rng: random.Random) -> int:
    """The queries vary, as JSON."""
    queries = [text(rng, 70, 200) for _ in range(count)]
    await together(
        store.save_canary(
            Canary(
                id=f"canary-{number:05}", name="new titles are found", index_uid="books", interval_s=60,
                query={"q": query}, assertions=({"type": "min_hits", "value": 1},), created_at=NOW,
            )
        )
        for number, query in enumerate(queries)
    )  # fmt: skip
    return sum(map(len, queries))


async def canary_runs(store: RedisStore, count: int, rng: random.Random) -> int:
    for first in range(0, count, 100):
        id = f"canary-{first:06}"
        canary = Canary(id=id, name="n", index_uid="i", interval_s=60, query={}, assertions=(), created_at=NOW)
        await store.save_canary(canary)
        await together(
            store.add_canary_run(CanaryRun(canary_id=id, ran_at=NOW + number, status=CanaryStatus.PASS, latency_ms=12))
            for number in range(100)
        )
    return 0


async def cursors(store: RedisStore, count: int, rng: random.Random) -> int:
    """Names of sinks and indexes count twice."""
    pairs = [(text(rng, 4, 30), f"index-{number:06}") for number in range(count)]
    await together(store.advance_cdc_cursor(sink, uid, expected=None, to=123_456) for sink, uid in pairs)
    return 2 * sum(len(sink + uid) for sink, uid in pairs)


async def tenants(store: RedisStore, count: int, rng: random.Random) -> int:
    ids = [text(rng, 4, 60) for _ in range(count)]
    await together(store.save_tenant(Tenant(api_key_hash=rng.randbytes(32).hex(), tenant_id=id)) for id in ids)
    return sum(map(len, ids))


async def policies(store: RedisStore, count: int, rng: random.Random) -> int:
    """The template varies, as JSON."""
    templates = [text(rng, 100, 400) for _ in range(count)]
    await together(
        store.save_rollover_policy(
            RolloverPolicy(
                name=f"policy-{number:05}", write_alias="logs-write", read_alias="logs", pattern="logs-{date}",
                triggers={"max_documents": 10_000_000, "max_age_days": 1}, retention={"max_indexes": 30},
                template={"settings": template},
            )
        )
        for number, template in enumerate(templates)
    )  # fmt: skip
    return sum(map(len, templates))


async def pages(store: RedisStore, count: int, rng: random.Random) -> int:
    """The look varies, as JSON."""
    looks = [text(rng, 100, 600) for _ in range(count)]
    await together(
        store.save_search_ui_config(f"index-{number:05}", {"title": look}) for number, look in enumerate(looks)
    )
    return sum(map(len, looks))


async def admin_sessions(store: RedisStore, count: int, rng: random.Random) -> int:
    """The user agents vary."""
    agents = [text(rng, 70, 160) for _ in range(count)]
    await together(
        store.add_admin_session(
            AdminSession(
                session_id=text(rng, 43, 43), csrf_token=text(rng, 43, 43), admin_key_hash="a" * 64, created_at=NOW,
                expires_at=LATER, user_agent=agent, source_ip="10.0.0.123",
            )
        )
        for agent in agents
    )  # fmt: skip
    return sum(map(len, agents))
