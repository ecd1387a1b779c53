"""Asking one node everything that a check-up wants to know: every question is bounded, and none changes anything."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from miroir_cli.checkup.facts import (
    Disk,
    FailedTask,
    IndexStats,
    Marker,
    NodeFacts,
    NodeStats,
    Standing,
    Trouble,
    TroubleKind,
)
from miroir_cli.errors import AuthenticationFailed, MiroirError, NodeRefusal, NodeUnavailable, NodeUnsupported
from miroir_cli.fencing.disk import read_disk
from miroir_cli.fencing.keys import has_no_keys, is_own, reason, unfenced_by
from miroir_cli.indexes.differences import defaults_from
from miroir_cli.indexes.settings import NODE_FIRST_VALUES
from miroir_cli.model import RESERVED_INDEX, SHARD_FIELD, ShardId, StoredUid, read_shard
from miroir_cli.node.client import path_of

if TYPE_CHECKING:
    from miroir_cli.model import Json
    from miroir_cli.node.client import NodeClient

Answer = TypeVar("Answer")

WATCHED = 1.0
"""Seconds for which a queue that seems to stand is watched."""

FAILED_TASKS = 50
"""How many of the newest failed tasks are looked at."""


DOCUMENT_TASKS = "documentAdditionOrUpdate,documentDeletion"
MOST_KEYS = 1000
OWN_KEYS = "Default "
"""How the names of the keys begin that every server makes for itself, each with another uid."""


class Interview:
    """The questions to one node. After one that it did not answer as it should, none is asked."""

    def __init__(self, client: NodeClient, *, limit: float) -> None:
        self.client = client
        self.limit = limit
        self.trouble: Trouble | None = None
        self.slowest = 0.0

    async def ask(self, question: Callable[[NodeClient], Awaitable[Answer]]) -> Answer | None:
        """The answer, or None with `trouble` set."""
        if self.trouble is not None:
            return None
        began = time.monotonic()
        try:
            async with asyncio.timeout(self.limit):
                return await question(self.client)
        except TimeoutError:
            self.stop(TroubleKind.HANGING, f"node `{self.client.name}` did not answer within {self.limit:g} s")
        except MiroirError as error:
            self.stop(_kind_of(error), error.message)
        finally:
            self.slowest = max(self.slowest, time.monotonic() - began)
        return None

    def stop(self, kind: TroubleKind, message: str) -> None:
        """Ask nothing more; what came first stays the reason."""
        if self.trouble is None:
            self.trouble = Trouble(kind=kind, message=message)


def _kind_of(error: MiroirError) -> TroubleKind:
    if isinstance(error, AuthenticationFailed):
        return TroubleKind.KEY
    if isinstance(error, NodeUnsupported):
        return TroubleKind.UNSUPPORTED
    return TroubleKind.DOWN if isinstance(error, NodeUnavailable) and not error.sent else TroubleKind.FAILING


async def interview(
    client: NodeClient,
    *,
    uids: Iterable[StoredUid],
    stale: Iterable[StoredUid],
    no_key: str | None,
    limit: float,
    lag: float,
) -> NodeFacts:
    """Ask a node; `uids` are the indexes that it holds, `stale` those that have a stale replica on any node, by the
    nodes' own names. Never raises for what a node does.

    `no_key`: why its key is not known; it is asked only for a sign of life then. `limit` bounds each question, `lag` is
    after how many seconds an unfinished task makes its queue worth watching.
    """
    questions = Interview(client, limit=limit)
    facts = NodeFacts(node=client.node)
    began = time.time()
    greeting = await questions.ask(lambda client: client.greet())
    if greeting is not None and greeting.clock is not None:
        facts = replace(facts, clock=ahead(greeting.clock, began=began, ended=time.time()))
    if no_key is not None:
        questions.stop(TroubleKind.KEY, no_key)
    version = await questions.ask(lambda client: client.version())
    disk = await questions.ask(_disk)
    facts = replace(facts, version=version, disk=disk, slowest=questions.slowest)
    if questions.trouble is None:
        facts = await _ask_the_rest(questions, facts, uids=uids, lag=lag)
        facts = await _count_stale(questions, facts, uids={*uids} & {*stale})
    return replace(facts, trouble=questions.trouble)


async def _ask_the_rest(questions: Interview, facts: NodeFacts, *, uids: Iterable[StoredUid], lag: float) -> NodeFacts:
    node_now = time.time() + (facts.clock or 0.0)
    async with asyncio.TaskGroup() as group:
        standing = group.create_task(_watch(questions, node_now=node_now, lag=lag))
        failed = group.create_task(questions.ask(_failed))
        newest_success = group.create_task(questions.ask(_newest_success))
        settings = [group.create_task(questions.ask(partial(_settings, uid))) for uid in uids]
        hidden = group.create_task(questions.ask(partial(_settings, RESERVED_INDEX)))
        keys = group.create_task(questions.ask(_keys))
        stats = group.create_task(questions.ask(_stats))
    known = keys.result() or Keys()
    reserved = (hidden.result() or {}).get(RESERVED_INDEX)
    return replace(
        facts,
        standing=standing.result().standing,
        waiting=standing.result().waiting,
        oldest_wait=standing.result().age,
        stats=stats.result(),
        failed=tuple(_failed_task(task, node_now) for task in failed.result() or ()),
        newest_success=-1 if (success := newest_success.result()) is None else success,
        key_proof=known.proof,
        api_keys=known.made,
        unguarded=known.unguarded,
        unfenced=known.unfenced,
        defaults=defaults_from(reserved) if reserved is not None else None,
        settings={uid: found for task in settings for uid, found in (task.result() or {}).items()},
    )


async def _count_stale(questions: Interview, facts: NodeFacts, *, uids: Iterable[StoredUid]) -> NodeFacts:
    """How many documents each shard has here of indexes that are stale somewhere, and when they were written last."""
    counted, last_writes = {}, {}
    node_now = time.time() + (facts.clock or 0.0)
    for uid in sorted(uids):
        shards = await questions.ask(partial(_count_shards, uid))
        if shards is not None:
            counted[uid] = shards
        written = await questions.ask(partial(_last_write, uid))
        if written is not None:
            last_writes[uid] = _age(written, node_now)
    return replace(facts, counted=counted, last_writes=last_writes)


def ahead(clock: float, *, began: float, ended: float) -> float:
    """Seconds by which a clock that was read between two moments of ours is ahead at least; negative when behind.

    `clock` is cut to whole seconds.
    """
    if clock > ended:
        return clock - ended
    return min(0.0, clock + 1.0 - began)


# The questions


async def _disk(client: NodeClient) -> Disk:
    disk = await read_disk(client)
    if disk.marker is None:
        return Disk(marker=None, top_task=disk.top_task)
    marker = Marker(
        cluster=str(disk.marker.get("name")),
        cluster_id=str(disk.marker["cluster_id"]),
        node=str(disk.marker.get("node")),
        epoch=int(disk.marker.get("epoch", 0)),
    )
    return Disk(marker=marker, top_task=disk.top_task)


async def _settings(uid: StoredUid, client: NodeClient) -> dict[StoredUid, Json | None]:
    """The settings of an index by its uid; None when the node has no such index."""
    try:
        return {uid: await client.settings(uid)}
    except NodeRefusal as error:
        if error.status != 404:
            raise
        return {uid: None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Uid and value of one API key of a node, and the uids of those that somebody made. A node without a master key is
    `unguarded` and has none; one whose key in hand may not see them shows none. `unfenced`: why there can be no keys of
    slots on it."""

    proof: tuple[str, str] | None = field(default=None, repr=False)
    made: frozenset[str] = frozenset()
    unguarded: bool = False
    unfenced: str | None = None


async def _keys(client: NodeClient) -> Keys:
    try:
        found = (await client.get("keys", params={"limit": MOST_KEYS}))["results"]
    except AuthenticationFailed as error:
        return Keys(unguarded=has_no_keys(error), unfenced=reason(error))
    except NodeRefusal as error:
        if error.status != 404:
            raise
        return Keys(unfenced="shows no API keys")
    proof = (str(found[0]["uid"]), str(found[0]["key"])) if found else None
    made = frozenset(
        str(key["uid"])
        for key in found
        if not str(key.get("name")).startswith(OWN_KEYS) and not is_own(key.get("name"))
    )
    return Keys(proof=proof, made=made, unfenced=unfenced_by(client, found))


async def _stats(client: NodeClient) -> NodeStats | None:
    try:
        found = await client.get("stats")
    except NodeRefusal:
        return None
    return NodeStats(
        size=int(found["databaseSize"]),
        used=int(found.get("usedDatabaseSize", found["databaseSize"])),
        indexes={
            StoredUid(uid): IndexStats(
                documents=int(each["numberOfDocuments"]), fields=len(each.get("fieldDistribution", {}))
            )
            for uid, each in found["indexes"].items()
        },
    )


async def _count_shards(uid: StoredUid, client: NodeClient) -> dict[ShardId, int] | None:
    """The documents of each shard of an index; None where they cannot all be told apart by one question."""
    try:
        found = await client.get(path_of(uid, "search"), params={"q": "", "limit": 0, "facets": SHARD_FIELD})
    except NodeRefusal:
        return None
    counts = found.get("facetDistribution", {}).get(SHARD_FIELD, {})
    if len(counts) >= NODE_FIRST_VALUES:
        return None
    return {ShardId(read_shard(spelled)): int(count) for spelled, count in counts.items()}


async def _last_write(uid: StoredUid, client: NodeClient) -> str | None:
    """When a change of documents of an index succeeded last."""
    found = await client.tasks(index=uid, statuses="succeeded", types=DOCUMENT_TASKS, limit=1)
    return str(found["results"][0]["finishedAt"]) if found["results"] else None


async def _failed(client: NodeClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await client.tasks(statuses="failed", limit=FAILED_TASKS))["results"]
    return found


async def _newest_success(client: NodeClient) -> int | None:
    found = (await client.tasks(statuses="succeeded", limit=1))["results"]
    return int(found[0]["uid"]) if found else None


def _failed_task(task: Mapping[str, Any], node_now: float) -> FailedTask:
    error = task.get("error") or {}
    return FailedTask(
        uid=task["uid"],
        index=task.get("indexUid"),
        code=str(error.get("code")),
        kind=str(error.get("type")),
        message=str(error.get("message")),
        age=_age(task.get("finishedAt"), node_now),
    )


# The queue


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The oldest unfinished task of a node, and how far the batch in hand is."""

    task: Json
    waiting: int
    progress: object


async def _head(client: NodeClient) -> Head | None:
    page = await client.tasks(statuses="enqueued,processing", reverse="true", limit=1)
    if not page["results"]:
        return None
    try:
        found = await client.get("batches", params={"statuses": "processing", "limit": 1})
        progress = [(batch.get("uid"), batch.get("progress")) for batch in found["results"]]
    except (MiroirError, KeyError, TypeError, AttributeError):
        progress = []
    return Head(task=page["results"][0], waiting=int(page.get("total", 1)), progress=progress)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """How many tasks wait, the first of them for `age` seconds; `standing`: nothing moved while that was watched."""

    waiting: int = 0
    age: float = 0.0
    standing: Standing | None = None


async def _watch(questions: Interview, *, node_now: float, lag: float) -> Waiting:
    """The queue, which is watched when its head is older than `lag` seconds."""
    before = await questions.ask(_head)
    if before is None:
        return Waiting()
    age = _age(before.task.get("enqueuedAt"), node_now)
    seen = Waiting(waiting=before.waiting, age=age)
    if age < lag:
        return seen
    await asyncio.sleep(WATCHED)
    after = await questions.ask(_head)
    if after is None or (after.task, after.progress) != (before.task, before.progress):
        return seen
    task = after.task
    standing = Standing(uid=task["uid"], index=task.get("indexUid"), type=task["type"], age=age, waiting=after.waiting)
    return replace(seen, standing=standing)


def _age(moment: object, node_now: float) -> float:
    """Seconds since a moment that a node told; 0 when it told none that can be read."""
    try:
        return max(0.0, node_now - datetime.fromisoformat(str(moment)).timestamp())
    except ValueError:
        return 0.0
