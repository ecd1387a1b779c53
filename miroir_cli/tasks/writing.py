"""Clients' writes of documents: each is one task and one intent, and answered once the nodes have it in their queues.

What Meilisearch would take and then fail becomes a task that has failed, and nothing is sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec

from miroir_cli.documents.load import router_for
from miroir_cli.documents.refusals import KEY_TEXT
from miroir_cli.documents.route import Batch, Router, shard_of
from miroir_cli.documents.verdicts import infer_primary_key, judge, judge_values, primary_key_changed
from miroir_cli.documents.write import by_filter, of_ids, raise_refused
from miroir_cli.errors import (
    AlreadyExists,
    ApiError,
    IndexNotFound,
    IndexRenamed,
    MiroirError,
    NodeRefusal,
    NodeUnavailable,
    WorkAhead,
    WriteUnknown,
)
from miroir_cli.indexes.catalog import create_index, plan_index
from miroir_cli.indexes.primary_key import set_primary_key
from miroir_cli.model import RESERVED_INDEX, Index, IntentState, ShardId, WriteKind
from miroir_cli.node.wording import clean_message
from miroir_cli.replication.write import Outgoing, write
from miroir_cli.search.filters import rewrite
from miroir_cli.store.tasks import NewTask, Task, TaskEnd, TaskStatus
from miroir_cli.tasks.counting import portions
from miroir_cli.tasks.registry import POLL_FIRST, POLL_LONGEST, alarm, bury, now
from miroir_cli.wire import wire_error

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.documents.payload import Payload
    from miroir_cli.model import Json

ADDITION = "documentAdditionOrUpdate"
DELETION = "documentDeletion"
AT_ONCE = 256 << 10
"""Bytes of documents that are routed on the event loop: about a millisecond."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a client says beside the documents. `key`: its idempotency key, if that is reserved for this request.

    `uid` is the name that it gave; where that is an alias, each attempt is about the index that it stands for then, and
    has the name as `alias`.
    """

    uid: str
    custom_metadata: str | None = None
    key: str | None = None
    alias: str | None = None

    def task(self, type: str, details: Json) -> NewTask:
        """The task of the write. It is found under the alias as well."""
        return NewTask(
            type=type,
            index_uid=self.uid,
            details=details,
            custom_metadata=self.custom_metadata,
            indexes=None if self.alias is None else (self.uid, self.alias),
            key=self.key,
        )


async def add_documents(
    cluster: Cluster,
    asked: Asked,
    payload: Payload,
    *,
    update: bool = False,
    primary_key: str | None = None,
    skip_creation: bool = False,
    may_create: bool = True,
) -> Task:
    """Add or replace documents, or update them; a missing index is made first. The task as it is once it is queued.

    Raises `miroir_reserved_field`, `MultiAliasNotWritable`, and whatever keeps the write from being taken; nothing of
    it is stored then.
    """
    details = {"receivedDocuments": payload.count, "indexedDocuments": None}
    params = {"skipCreation": "true"} if skip_creation else {}

    async def attempt(asked: Asked, task: NewTask) -> Task:
        index = await _find(cluster, asked.uid)
        if index is None:
            if not may_create:
                raise _Failing(IndexNotFound(f"index `{asked.uid}` not found"))
            index = await _create_for(cluster, asked.uid, payload, primary_key)
        if payload.count == 0:
            return await _ended(cluster, task, {"indexedDocuments": 0})
        key = _primary_key(index, primary_key, payload)
        if not index.primary_key:
            await _routed(Router(primary_key=key, shards=1), payload, asked.uid)
            index = await set_primary_key(cluster, asked.uid, key, replace=False)
        router = router_for(index)
        batch = await _routed(router, payload, asked.uid)
        outgoing = Outgoing(
            kind=WriteKind.UPDATE if update else WriteKind.ADD,
            method="PUT" if update else "POST",
            documents=batch.distinct(),
            payload=batch.payload,
            params=params,
            keys=lambda shard: router.keys(batch, shard),
            task=replace(task, documents=len(batch.hashes)),
        )
        return await _send(cluster, index, outgoing)

    return await _turn_by_turn(cluster, asked, ADDITION, details, attempt, zero="indexedDocuments")


async def delete_documents(cluster: Cluster, asked: Asked, ids: Sequence[str]) -> Task:
    """Delete documents by their ids."""
    details = {"providedIds": len(ids), "deletedDocuments": None, "originalFilter": None}

    async def attempt(asked: Asked, task: NewTask) -> Task:
        index = await _require(cluster, asked.uid)
        by_shard: dict[ShardId, list[str]] = {}
        for id in dict.fromkeys(ids):
            if KEY_TEXT.fullmatch(id):
                by_shard.setdefault(shard_of(id, index.shards), []).append(id)
        if not by_shard:
            return await _ended(cluster, task, {"deletedDocuments": 0})
        return await _send(cluster, index, replace(of_ids(by_shard), task=task, portions=portions))

    return await _turn_by_turn(cluster, asked, DELETION, details, attempt, zero="deletedDocuments")


async def delete_by_filter(cluster: Cluster, asked: Asked, filter: Any) -> Task:
    """Delete what a filter finds. Raises Meilisearch's refusal of one that cannot be read."""
    original = msgspec.json.encode(filter).decode()
    details = {"providedIds": 0, "deletedDocuments": None, "originalFilter": original}
    elements = rewrite(filter)

    async def attempt(asked: Asked, task: NewTask) -> Task:
        index = await _find(cluster, asked.uid)
        refusal = await _filter_refusal(cluster, index, filter)
        if index is None:
            raise _Failing(IndexNotFound(f"index `{asked.uid}` not found"))
        if refusal is not None:
            refusal.message = f"Index `{asked.uid}`: {refusal.message}"
            raise _Failing(refusal)
        return await _send(cluster, index, replace(by_filter(index, elements), task=task, portions=portions))

    return await _turn_by_turn(cluster, asked, DELETION, details, attempt, zero="deletedDocuments")


async def delete_all(cluster: Cluster, asked: Asked) -> Task:
    """Delete every document of an index."""
    details = {"deletedDocuments": None}

    async def attempt(asked: Asked, task: NewTask) -> Task:
        index = await _require(cluster, asked.uid)
        return await _send(cluster, index, replace(by_filter(index, None), task=task, portions=portions))

    return await _turn_by_turn(cluster, asked, DELETION, details, attempt, zero="deletedDocuments")


class _Failing(Exception):
    """What Meilisearch takes, and fails when it comes to it: the error of the task."""

    def __init__(self, error: MiroirError) -> None:
        super().__init__(error.message)
        self.error = error


async def _turn_by_turn(
    cluster: Cluster,
    asked: Asked,
    type: str,
    details: Json,
    attempt: Callable[[Asked, NewTask], Awaitable[Task]],
    *,
    zero: str,
) -> Task:
    """Try until no other work of the index is ahead; what is bound to fail is recorded as a task that has failed.

    What the name stands for is looked up anew for each attempt.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + cluster.locks.timeout
    pause = POLL_FIRST
    while True:
        meant = await _meant(cluster, asked)
        task = meant.task(type, details)
        try:
            await cluster.store.require_idle(meant.uid)
            return await attempt(meant, task)
        except WorkAhead:
            if loop.time() > deadline:
                raise
            if pause >= POLL_LONGEST:
                await bury(cluster, await cluster.store.unfinished_work())
        except (IndexRenamed, IndexNotFound):  # what the name stands for has changed since it was looked up
            if loop.time() > deadline:
                raise
        except _Failing as failing:
            return await _ended(cluster, task, {zero: 0}, error=failing.error)
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, POLL_LONGEST)


async def _meant(cluster: Cluster, asked: Asked) -> Asked:
    """The same about the index that the name stands for now."""
    uid = await cluster.target_of(asked.uid, written=True)
    return asked if uid == asked.uid else replace(asked, uid=uid, alias=asked.uid)


async def _ended(cluster: Cluster, task: NewTask, counted: dict[str, int], *, error: MiroirError | None = None) -> Task:
    """Record a task that has ended already."""
    moment = now()
    end = TaskEnd(
        uid=-1,
        status=TaskStatus.SUCCEEDED if error is None else TaskStatus.FAILED,
        started_at=moment,
        finished_at=moment,
        details={**(task.details or {}), **counted},
        error=None if error is None else wire_error(error),
    )
    return await cluster.store.add_task(task, end=end)


async def _send(cluster: Cluster, index: Index, outgoing: Outgoing) -> Task:
    """Send a write, and give its task. One that all nodes refuse leaves no task behind, only the reason."""
    try:
        written = await write(cluster, index, outgoing)
    except WriteUnknown as error:
        alarm(cluster).set()
        raise await _with_task(cluster, index, error) from None
    task = written.task
    assert task is not None
    if written.refused == frozenset(outgoing.documents):
        await cluster.store.drop_task(task.uid)
        raise_refused(written, what="the write")
    alarm(cluster).set()
    return task


async def _with_task(cluster: Cluster, index: Index, error: WriteUnknown) -> WriteUnknown:
    """The same error, with the task that will say what became of the write."""
    newest = await cluster.store.newest_intent(index.uid)
    task = await cluster.store.task_of(index.uid, index.incarnation, newest.n) if newest is not None else None
    if task is None or newest is None or newest.state is not IntentState.OPEN:
        return error
    return WriteUnknown(error.message, hint=f"`GET /tasks/{task.uid}` will say what became of it")


async def _find(cluster: Cluster, uid: str) -> Index | None:
    try:
        return (await cluster.reload(uid)).index
    except IndexNotFound:
        return None


async def _require(cluster: Cluster, uid: str) -> Index:
    index = await _find(cluster, uid)
    if index is None:
        raise _Failing(IndexNotFound(f"index `{uid}` not found"))
    return index


def _primary_key(index: Index | None, asked: str | None, payload: Payload) -> str:
    """The primary key that the documents are to have."""
    if index is not None and index.primary_key:
        if asked not in (None, index.primary_key):
            raise _Failing(primary_key_changed(index.primary_key))
        return index.primary_key
    if asked is not None:
        return asked
    try:
        return infer_primary_key(payload.first_fields() or ())
    except ApiError as error:
        raise _Failing(error) from None


async def _routed(router: Router, payload: Payload, uid: str) -> Batch:
    """The same for a request: what is small is done at once, so that requests keep their order."""
    if sum(len(chunk.data) for chunk in payload.chunks) <= AT_ONCE:
        return _route(router, payload, uid)
    return await asyncio.to_thread(_route, router, payload, uid)


def _route(router: Router, payload: Payload, uid: str) -> Batch:
    """The documents by their shards. A document that Meilisearch does not take fails all of them."""
    batch = Batch(router.shards)
    for chunk in payload.chunks:
        router.route(chunk, batch)
    if not batch.rejects:
        refused = judge_values((line for chunk in payload.chunks for line in chunk.lines), uid=uid)
        if refused is not None:
            raise _Failing(refused)
        return batch
    reject = batch.rejects[0]
    error = judge(
        reject.document or b"{}",
        uid=uid,
        primary_key=router.primary_key,
        geo=router.geo,
        embedders=router.embedders,
        reason=reject.reason,
    )
    if error.api_code == "miroir_reserved_field":
        raise error
    raise _Failing(error)


async def _create_for(cluster: Cluster, uid: str, payload: Payload, asked: str | None) -> Index:
    """Make the index that these documents are for. When they are none, or bound to fail, it has no primary key yet."""
    if payload.count == 0:
        return await _create(cluster, uid, primary_key=None)
    try:
        key = _primary_key(None, asked, payload)
        await _routed(Router(primary_key=key, shards=1), payload, uid)
    except _Failing:
        await _create(cluster, uid, primary_key=None)
        raise
    return await _create(cluster, uid, primary_key=key)


async def _create(cluster: Cluster, uid: str, *, primary_key: str | None) -> Index:
    """Make the index that a write is for, unless another one does at the same time."""
    lock = cluster.session.setdefault(f"creating:{uid}", asyncio.Lock())
    assert isinstance(lock, asyncio.Lock)
    async with lock:
        found = await _find(cluster, uid)
        if found is not None:
            return found
        try:
            plan = await plan_index(cluster, uid, primary_key=primary_key)
            return (await create_index(cluster, plan)).index
        except AlreadyExists:
            found = await _find(cluster, uid)
            if found is None:
                raise
            return found


async def _filter_refusal(cluster: Cluster, index: Index | None, filter: Any) -> NodeRefusal | None:
    """What a node says against a filter that can be read but not be applied. Raises what cannot be read at all."""
    uid, settings = (RESERVED_INDEX, {}) if index is None else (index.stored_as, index.settings)
    nodes = list(cluster.fleet)
    if index is not None:
        nodes = sorted({node for names in (await cluster.map(index.uid)).in_sync().values() for node in names})
    silent: MiroirError | None = None
    for name in nodes:
        if name not in cluster.fleet:
            continue
        try:
            await cluster.fleet[name].fetch_documents(uid, {"filter": filter, "limit": 0})
        except NodeUnavailable as error:
            silent = error
            continue
        except NodeRefusal as error:
            message = clean_message(error.message, settings)
            message = message if index is None else index.worded(message)
            if _is_about_the_settings(error.message):
                return NodeRefusal(message, status=400, node_code=error.node_code, node=error.node)
            raise NodeRefusal(message, status=error.status, node_code=error.node_code, node=error.node) from None
        return None
    raise silent or NodeUnavailable("no node answers", node="", sent=False)


def _is_about_the_settings(message: str) -> bool:
    return "is not filterable" in message or "is not allowed for the attribute" in message
