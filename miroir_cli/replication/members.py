"""Which disks belong to the cluster: a marker on every node, a copy of the map beside it, and doubts about both.

Every node carries the index `_miroir` (see `copies`), so that a lost state store can be rebuilt and a foreign or empty
disk is recognised.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from miroir_cli.errors import (
    EpochStale,
    ForeignNode,
    MiroirError,
    NodeRefusal,
    NodeTaskFailed,
    NodeUnavailable,
    Refused,
)
from miroir_cli.fencing.disk import Disk, read_disk
from miroir_cli.model import MARKER, RESERVED_INDEX, Index, NodeName, StoredUid
from miroir_cli.node.answers import Accepted, Answer
from miroir_cli.node.client import path_of
from miroir_cli.replication.copies import (
    copy_document,
    copy_documents,
    marker_document,
    surplus_tombstones,
    tombstone_document,
)
from miroir_cli.store.records import ClusterRecord, Member

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.node.client import NodeClient

Answered = TypeVar("Answered")

ROLL = "roll"
"""Under this name a process remembers that it has called the roll."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Roll:
    """Who answered the roll call: members with the right disk, and nodes that did not answer with their errors."""

    present: tuple[NodeName, ...]
    absent: dict[NodeName, MiroirError] = field(default_factory=dict)


async def roll_once(cluster: Cluster) -> None:
    """Call the roll before this process changes anything: who holds an older state must not touch a node."""
    lock = cluster.session.setdefault(f"{ROLL}:lock", asyncio.Lock())
    assert isinstance(lock, asyncio.Lock)
    async with lock:
        if ROLL not in cluster.session:
            await call_roll(cluster)


async def call_roll(cluster: Cluster, *, required: Iterable[NodeName] | None = None) -> Roll:
    """Check every node's marker before writing; new nodes get one, and those that missed something the newest state.

    A member whose disk is not the one we knew (no marker, or fewer tasks than it has had) has all its replicas marked
    `lost`. Raises `ForeignNode` for a node of another cluster, `EpochStale` when a node knows a newer state than this
    store or belongs to a cluster of this name while there is no state, and the node's own error when one of `required`
    does not answer.
    """
    await refuse_lost_state(cluster)
    await cluster.store.found(name=cluster.topology.cluster.name)
    known = await cluster.store.members()
    disks = await cluster.fleet.each(lambda client: _in_time(client, read_disk(client), limit=cluster.patience.answer))
    record = await cluster.store.found(name=cluster.topology.cluster.name)
    absent = {name: disk for name, disk in disks.items() if isinstance(disk, MiroirError)}
    present = {name: disk for name, disk in disks.items() if isinstance(disk, Disk)}
    for name, disk in present.items():
        if disk.marker is not None:
            _check_marker(cluster, cluster.fleet[name], disk.marker, record)
    for name, disk in present.items():
        member = known.get(name)
        if member is None or not disk.is_of(member):
            if member is not None:
                await _lose(cluster, cluster.fleet[name])
            try:
                await _welcome(cluster, cluster.fleet[name])
            except MiroirError as error:
                absent[name] = error
    present = {name: disk for name, disk in present.items() if name not in absent}
    behind = [name for name, disk in present.items() if disk.epoch < record.epoch]
    if behind:
        for index in await cluster.store.indexes():
            await publish(cluster, index.uid, names=behind)
    for name in required or ():
        if name in absent:
            raise absent[name]
    cluster.session[ROLL] = True
    return Roll(present=tuple(present), absent=absent)


async def refuse_lost_state(cluster: Cluster) -> None:
    """Raise `EpochStale` when there is no state, and a node that answers belongs to a cluster of this name already: who
    answered by it would say of everything that it does not exist."""
    if await cluster.store.cluster() is not None:
        return
    name = cluster.topology.cluster.name
    disks = await cluster.fleet.each(lambda client: _in_time(client, read_disk(client), limit=cluster.patience.answer))
    for node, disk in disks.items():
        if isinstance(disk, Disk) and disk.marker is not None and disk.marker.get("name") == name:
            raise EpochStale(
                f"{cluster.topology.state_place} is empty, but node `{node}` belongs to a cluster `{name}` already",
                hint="see whether `[state] url` is right, put the state back, or run `miroir state recover` to rebuild "
                "it from the nodes",
            )


async def check_newcomer(cluster: Cluster, client: NodeClient) -> None:
    """Make sure that a node can join: it answers, is Meilisearch, is no other cluster's and no other node of this one,
    and has no index of a name that the cluster uses unless it was a member before. Changes nothing.

    Raises what `call_roll` raises, the node's own error, and `Refused` naming the index.
    """
    record = await cluster.store.cluster() or ClusterRecord(name=cluster.topology.cluster.name, id="", epoch=0)
    try:
        disk = await read_disk(client)
    except NodeUnavailable as error:
        error.hint = "check that Meilisearch runs at this address and port, and that this machine can reach it"
        raise
    if disk.marker is not None:
        _check_marker(cluster, client, disk.marker, record)
        return
    for index in await cluster.store.indexes():
        if await _has_index(client, index.stored_as):
            raise Refused(
                f"node `{client.name}` at {client.node.url} has an index `{index.stored_as}` that is not the cluster's",
                hint="delete it on the node if nobody needs it, or give the node's documents another index",
            )


async def _has_index(client: NodeClient, uid: StoredUid) -> bool:
    try:
        await client.index(uid)
    except NodeRefusal as error:
        if error.status == 404:
            return False
        raise
    return True


async def _in_time(client: NodeClient, question: Awaitable[Answered], *, limit: float) -> Answered:
    """What a node answers within so many seconds: one that is slow, or hangs, does not hold up the others' writes."""
    try:
        async with asyncio.timeout(limit):
            return await question
    except TimeoutError:
        raise NodeUnavailable(
            f"node `{client.name}` did not answer within {limit:g} s", node=client.name, sent=True
        ) from None


def _check_marker(cluster: Cluster, client: NodeClient, marker: dict[str, Any], record: ClusterRecord) -> None:
    called = cluster.topology.state_called
    if marker.get("cluster_id") != record.id:
        same = marker.get("name") == record.name
        raise ForeignNode(
            f"node `{client.name}` at {client.node.url} belongs to another cluster"
            f"{', also called' if same else ':'} `{marker.get('name')}`",
            hint=f"if this is a new {called} because the old one was lost, run `miroir state recover`"
            if same
            else f"take it out of the topology file, or use the {called} of its cluster",
        )
    if marker.get("node") != client.name:
        raise ForeignNode(
            f"the server at {client.node.url} is node `{marker.get('node')}`, not `{client.name}`",
            hint="correct the name or the url of the node in the topology file",
        )
    if int(marker.get("epoch", 0)) > record.epoch:
        raise EpochStale(
            f"node `{client.name}` knows state {marker.get('epoch')}, this {called} is at {record.epoch}",
            hint=f"this is an older copy of the {called}: use the newest one (`[state] url` in the topology file), or "
            "run `miroir state recover` when there is none",
        )


HIDDEN = {"displayedAttributes": ["id"], "searchableAttributes": ["id"]}
"""Settings of `_miroir`: a key that may search every index must not find the secrets of embedders in it."""


async def _welcome(cluster: Cluster, client: NodeClient) -> None:
    """Write the marker and wait for it; the node is a member from then on."""
    record = await cluster.store.found(name=cluster.topology.cluster.name)
    answer = await client.write(
        "PATCH", path_of(RESERVED_INDEX, "settings"), content=msgspec.json.encode(HIDDEN), timeout=10.0, as_admin=True
    )
    if isinstance(answer, Accepted):
        answer = await _put(client, [marker_document(record, client.name)], as_admin=True)
    if not isinstance(answer, Accepted):
        raise answer.error
    task = await client.wait_task(answer.task, timeout=60.0)
    if task["status"] != "succeeded":
        raise NodeTaskFailed(
            f"node `{client.name}` could not store its marker: {(task.get('error') or {}).get('message')}"
        )
    await cluster.store.enrol(Member(name=client.name, url=client.node.url, top_task=answer.task))


async def take_in(cluster: Cluster, client: NodeClient) -> None:
    """Make a node a member that the roll call could not make one: nothing may be kept on a disk that nobody would know
    again. Raises as `call_roll` does."""
    if client.name in await cluster.store.members():
        return
    disk = await read_disk(client)
    if disk.marker is not None:
        record = await cluster.store.found(name=cluster.topology.cluster.name)
        _check_marker(cluster, client, disk.marker, record)
    await _welcome(cluster, client)


async def suspect(cluster: Cluster, client: NodeClient) -> bool:
    """A node behaved as if its disk were another one (rule N1): confirm, and mark its replicas `lost` if so."""
    try:
        return not await confirm(cluster, client)
    except MiroirError:
        return False


async def confirm(cluster: Cluster, client: NodeClient) -> bool:
    """Whether a node's disk is the one that was enrolled; its replicas are marked `lost` if not. Raises the node's own
    error when it does not tell."""
    member = (await cluster.store.members()).get(client.name)
    disk = await read_disk(client)
    if member is None or disk.is_of(member):
        return True
    await _lose(cluster, client)
    return False


async def _lose(cluster: Cluster, client: NodeClient) -> None:
    for uid in await cluster.store.lose(client.name):
        await publish(cluster, uid)


async def publish(
    cluster: Cluster, uid: str, *, deleted: Index | None = None, names: Iterable[NodeName] | None = None
) -> None:
    """Copy what the store knows of an index to every node that answers; it is queued there, not waited for.

    `deleted`: the index that is gone from the store; nodes get its tombstone. `names`: the nodes (all members).
    The marker's epoch is changed, the rest of it never written: an emptied disk must not get a marker here. When the
    index was changed meanwhile its newer copy follows: two processes that copy at once must not leave the older one.
    """
    members = await cluster.store.members()
    chosen = [name for name in (members if names is None else names) if name in members and name in cluster.fleet]
    before: object = None
    while (record := await cluster.store.cluster()) is not None:
        map = await cluster.store.map(uid)
        if map is not None:
            now: object = (map.index, map.replicas)
            document = copy_document(record, map)
        elif deleted is not None:
            now, document = deleted, tombstone_document(record, deleted)
        else:
            return
        if now == before:
            return
        before = now
        await cluster.fleet.each(partial(_copy_to, cluster, record, document), names=chosen)
        if map is not None and names is None:
            await cluster.store.note_published(map.index, map.epoch)


async def publish_names(cluster: Cluster) -> None:
    """Tell every node that answers of the newest names and aliases, which are all copies; it is queued there, not
    waited for. A node that does not answer gets them with the next copy of anything."""
    members = await cluster.store.members()
    chosen = [name for name in members if name in cluster.fleet]
    told = -1
    while (record := await cluster.store.cluster()) is not None and record.renamed != told:
        told = record.renamed
        await cluster.fleet.each(partial(_copy_to, cluster, record, None), names=chosen)


async def _copy_to(
    cluster: Cluster, record: ClusterRecord, document: dict[str, Any] | None, client: NodeClient
) -> None:
    """Give a node one copy or tombstone with its epoch, unless it knows a newer state than this store. One that has not
    heard of the newest names gets all copies: of names that change together none may be there alone. Without a document
    only such a node gets anything.

    Everything goes in one request of one kind, which is one batch of the node's: that costs the same however small it
    is.
    """
    names = 0
    try:
        question = client.get_document(RESERVED_INDEX, MARKER)
        marker = await _in_time(client, question, limit=cluster.patience.answer)
    except NodeRefusal as error:
        if error.status != 404:
            raise
    else:
        names = int(marker.get("names", 0))
        if int(marker.get("epoch", 0)) > await cluster.store.epoch():
            return
    documents = [] if document is None else [document]
    if names >= record.renamed and not documents:
        return
    if names < record.renamed:
        copies = await cluster.store.copies()
        record, documents = copies.cluster, copy_documents(copies)
    told = {"id": MARKER, "epoch": record.epoch, "names": record.renamed}
    answer = await _put(client, [*documents, told], method="PUT")
    if isinstance(answer, Accepted) and document is not None and document["deleted"]:
        await _forget_old_tombstones(client)


async def _forget_old_tombstones(client: NodeClient) -> None:
    body = {"fields": ["id", "epoch", "deleted"], "limit": 100_000}
    surplus = surplus_tombstones((await client.fetch_documents(RESERVED_INDEX, body))["results"])
    if surplus:
        await client.write(
            "POST",
            path_of(RESERVED_INDEX, "documents/delete-batch"),
            content=msgspec.json.encode(surplus),
            timeout=10.0,
        )


async def _put(
    client: NodeClient, documents: list[dict[str, Any]], *, method: str = "POST", as_admin: bool = False
) -> Answer:
    return await client.write(
        method,
        path_of(RESERVED_INDEX, "documents"),
        content=msgspec.json.encode(documents),
        params={"primaryKey": "id"},
        timeout=10.0,
        as_admin=as_admin,
    )
