"""Those who write and read, each in a process of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from miroir_cli.cluster import Cluster
from miroir_cli.documents.read import get_document
from miroir_cli.errors import (
    DocumentNotFound,
    Interrupted,
    Locked,
    MiroirError,
    NodeRefusal,
    NotFound,
    Refused,
    TemporaryError,
    WriteUnknown,
)
from miroir_cli.model import IntentState, NodeName, ShardId, StoredUid
from miroir_cli.replication.settle import settle_until
from miroir_cli.replication.write import Written, write
from tests.faults.world import UID, shard_of
from tests.migration.history import WRITING, History, state_of
from tests.migration.ledger import State
from tests.migration.process import Process
from tests.migration.writes import Writing, any_write, in_shards
from tests.replication.simulated import Killed

EXPECTED = (TemporaryError, Refused, Locked, NotFound, NodeRefusal)


async def command(
    history: History, name: str, work: Callable[[Cluster], Coroutine[Any, Any, Any]], cluster: Cluster | None = None
) -> bool:
    """One command in a process of its own, which may be killed or interrupted; whether it came to its end, be it
    with an error that a user is told to expect."""
    random, kills = history.random, history.climate.kills
    calls = int(random.choice((5, 30, 100, 300)) * random.random()) if random.random() < kills else None
    process = Process(name=name, calls_left=calls)
    if random.random() < kills / 5:
        history.loop.call_later(random.uniform(0.0, 2.0), process.interrupt)
    try:
        await process.run(work(cluster or history.cluster(name)))
        history.tell(f"{name}: done")
        return True
    except Killed:
        history.tell(f"{name}: killed")
    except (Interrupted, asyncio.CancelledError):
        if not process.interrupted:
            raise
        history.tell(f"{name}: interrupted")
    except EXPECTED as error:
        history.tell(f"{name}: {type(error).__name__} {error.message}")
        return True
    return False


async def writer(history: History, number: int, ends: asyncio.Event) -> None:
    random, left = history.random, history.climate.writes
    cluster = history.cluster(f"writer {number}")
    while left > 0 and not ends.is_set():
        await asyncio.sleep(random.choice((0.0, 0.0, 0.02, 0.1) if history.climate.haste else (0.0, 0.1, 0.3, 1.0)))
        burst = random.choice((1, 1, 1, 2, 4))
        left -= burst
        lives = await command(history, f"writer {number}", lambda cluster: _write(history, cluster, burst), cluster)  # noqa: B023
        if not lives or random.random() < 0.3:
            cluster = history.cluster(f"writer {number}")


async def _write(history: History, cluster: Cluster, burst: int) -> None:
    """Some writes one after the other, then wait for all of them."""
    sent: list[tuple[Writing, Written]] = []
    for _ in range(burst):
        writing = any_write(history.random, history.index, history.keys, history.next_value())
        WRITING.set(writing)
        try:
            sent.append((writing, await write(cluster, history.index, writing.outgoing)))
        except WriteUnknown:
            history.tell(f"intent {writing.n}: unknown")
            break
        finally:
            WRITING.set(None)
    for writing, written in sent:
        outcome = (await settle_until(cluster, history.index, written.n, timeout=20))[written.n]
        lost = set(written.refused) | set(outcome.failed)
        if outcome.state in (IntentState.ABORTED, IntentState.FAILED):
            lost = {ShardId(shard) for shard in range(history.index.shards)}
        gone = [key for key in writing.effects if shard_of(key, history.index) in lost]
        history.ledger.failed(written.n, gone)
        history.ledger.acknowledged(written.n, writing.effects.keys() - set(gone))
        history.tell(f"intent {written.n}: {outcome.state.value}{f', not {gone}' if gone else ''}")
        history.check()


async def reader(history: History, ends: asyncio.Event) -> None:
    cluster = history.cluster("reader")
    while not ends.is_set():
        await asyncio.sleep(history.random.choice((0.01, 0.05, 0.2)))
        if history.random.random() < 0.1:
            cluster = history.cluster("reader")
        cluster.rotation += 1
        read = _read_one if history.random.random() < 0.7 else _read_all
        blind = history.has_blind_nodes()
        moments = {key: history.ledger.moment(key) for key in history.keys}
        try:
            found = await read(history, cluster)
        except MiroirError:
            continue
        if blind or history.has_blind_nodes():
            continue
        history.reads += 1
        for key, state in found.items():
            if not history.ledger.allows(key, state, since=moments[key]):
                history.violated(f"{key} was read as {state}, possible {history.ledger.seen[key][moments[key] :]}")


async def _read_one(history: History, cluster: Cluster) -> dict[str, State]:
    key = history.random.choice(history.keys)
    try:
        return {key: state_of(await get_document(cluster, UID, key))}
    except DocumentNotFound:
        return {key: None}


async def _read_all(history: History, cluster: Cluster) -> dict[str, State]:
    """A reading of all shards from the cached map, as a search makes it; nothing when it does not count."""
    map = await cluster.map(UID)
    used: dict[NodeName, list[ShardId]] = {}
    for shard, names in map.in_sync().items():
        present = [name for name in names if name in cluster.fleet]
        if not present:
            await cluster.reload(UID)
            return {}
        used.setdefault(history.random.choice(present), []).append(shard)
    found: dict[str, State] = dict.fromkeys(history.keys)
    answers = await cluster.fleet.all(
        lambda client: client.fetch_documents(StoredUid(UID), {"filter": in_shards(used[client.name]), "limit": 1000}),
        names=used,
    )
    if not await cluster.still_valid(map, used):
        await cluster.reload(UID)
        return {}
    for answer in answers.values():
        found |= {document["id"]: state_of(document) for document in answer["results"]}
    return found
