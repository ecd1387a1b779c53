"""Which disks belong to the cluster: a marker on every node, a copy of the map beside it, and doubts about both.

Every node carries the index `_miroir` with one document `cluster` (the marker: whose disk this is) and one document
for each index (definition, settings and placement at an epoch), so that a lost state store can be rebuilt and a
foreign or empty disk is recognised.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from miroir_cli.errors import EpochStale, ForeignNode, MiroirError, NodeRefusal, NodeTaskFailed
from miroir_cli.model import RESERVED_INDEX, IndexMap, NodeName, ReplicaState
from miroir_cli.node.answers import Accepted, Answer
from miroir_cli.store.records import ClusterRecord, Member

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.node.client import NodeClient

MARKER = "cluster"


@dataclass(frozen=True, slots=True, kw_only=True)
class Roll:
    """Who answered the roll call: members with the right disk, and nodes that did not answer with their errors."""

    present: tuple[NodeName, ...]
    absent: dict[NodeName, MiroirError] = field(default_factory=dict)


async def call_roll(cluster: Cluster, *, required: Iterable[NodeName] | None = None) -> Roll:
    """Check every node's marker before writing; new nodes get one.

    A member whose disk is not the one we knew (no marker, or fewer tasks than it has had) has all its replicas marked
    `lost`. Raises `ForeignNode` for a node of
    another cluster, `EpochStale` when a node knows a newer state than this store, and the node's own error when one
    of `required` does not answer.
    """
    await cluster.store.found(name=cluster.topology.cluster.name)
    known = await cluster.store.members()
    disks = await cluster.fleet.each(read_disk)
    record = await cluster.store.found(name=cluster.topology.cluster.name)
    absent = {name: disk for name, disk in disks.items() if isinstance(disk, MiroirError)}
    present = {name: disk for name, disk in disks.items() if isinstance(disk, Disk)}
    for name, disk in present.items():
        if disk.marker is not None:
            _check_marker(cluster.fleet[name], disk.marker, record)
    for name, disk in present.items():
        member = known.get(name)
        if member is not None and not disk.is_of(member):
            await _lose(cluster, cluster.fleet[name])
        if member is None or not disk.is_of(member):
            await _welcome(cluster, cluster.fleet[name], record)
    for name in required or ():
        if name in absent:
            raise absent[name]
    return Roll(present=tuple(present), absent=absent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """What a node shows of its disk: the marker (None: it has none) and its highest task uid."""

    marker: dict[str, Any] | None
    top_task: int

    def is_of(self, member: Member) -> bool:
        """Whether it can be the disk that was enrolled. `member` must have been read before the disk was."""
        return self.marker is not None and self.top_task >= member.top_task


async def read_disk(client: NodeClient) -> Disk:
    """What a node's disk says of itself; changes nothing."""
    await client.version()
    try:
        marker: dict[str, Any] | None = await client.get_document(RESERVED_INDEX, MARKER)
    except NodeRefusal as error:
        if error.status != 404:
            raise
        marker = None
    if marker is not None and "cluster_id" not in marker:
        marker = None  # only `publish` was here since the disk was emptied
    return Disk(marker=marker, top_task=await client.top_task())


def _check_marker(client: NodeClient, marker: dict[str, Any], record: ClusterRecord) -> None:
    if marker.get("cluster_id") != record.id:
        raise ForeignNode(
            f"node `{client.name}` at {client.node.url} belongs to another cluster (`{marker.get('name')}`)",
            hint="take it out of the topology file, or use the state file of its cluster; if that is gone for good, "
            "delete its indexes and `_miroir` on the node",
        )
    if marker.get("node") != client.name:
        raise ForeignNode(
            f"the server at {client.node.url} is node `{marker.get('node')}`, not `{client.name}`",
            hint="correct the name or the url of the node in the topology file",
        )
    if int(marker.get("epoch", 0)) > record.epoch:
        raise EpochStale(
            f"node `{client.name}` knows state {marker.get('epoch')}, this state file is at {record.epoch}",
            hint="this is an older copy of the state file: use the newest one (`[state] url` in the topology file)",
        )


async def _welcome(cluster: Cluster, client: NodeClient, record: ClusterRecord) -> None:
    """Write the marker and wait for it; the node is a member from then on."""
    answer = await _put(client, [_marker(client, record)])
    if not isinstance(answer, Accepted):
        raise answer.error
    task = await client.wait_task(answer.task, timeout=60.0)
    if task["status"] != "succeeded":
        raise NodeTaskFailed(
            f"node `{client.name}` could not store its marker: {(task.get('error') or {}).get('message')}"
        )
    await cluster.store.enrol(Member(name=client.name, url=client.node.url, top_task=answer.task))


async def suspect(cluster: Cluster, client: NodeClient) -> bool:
    """A node behaved as if its disk were another one (rule N1): confirm, and mark its replicas `lost` if so."""
    member = (await cluster.store.members()).get(client.name)
    try:
        disk = await read_disk(client)
    except MiroirError:
        return False
    if member is None or disk.is_of(member):
        return False
    await _lose(cluster, client)
    return True


async def _lose(cluster: Cluster, client: NodeClient) -> None:
    for index in await cluster.store.indexes():
        map = await cluster.store.map(index.uid)
        shards = [
            replica.shard
            for replica in (map.replicas if map else ())
            if replica.node == client.name and replica.state is not ReplicaState.LOST
        ]
        await cluster.store.mark(index.uid, {client.name: shards}, state=ReplicaState.LOST)


async def publish(cluster: Cluster, uid: str, *, deleted: bool = False) -> None:
    """Copy what the store knows of an index to every node that answers; it is queued there, not waited for.

    The marker's epoch is changed, the rest of it never written: an emptied disk must not get a marker here.
    """
    record = await cluster.store.cluster()
    if record is None:
        return
    map = await cluster.store.map(uid)

    async def put(client: NodeClient) -> None:
        documents: list[dict[str, Any]] = [{"id": MARKER, "epoch": record.epoch}]
        if map is not None and not deleted:
            documents.append(_manifest(map))
        await _put(client, documents, method="PUT")
        if deleted:
            await client.write("DELETE", f"indexes/{RESERVED_INDEX}/documents/index-{uid}", timeout=10.0)

    members = await cluster.store.members()
    await cluster.fleet.each(put, names=[name for name in members if name in cluster.fleet])


async def _put(client: NodeClient, documents: list[dict[str, Any]], *, method: str = "POST") -> Answer:
    return await client.write(
        method,
        f"indexes/{RESERVED_INDEX}/documents",
        content=msgspec.json.encode(documents),
        params={"primaryKey": "id"},
        timeout=10.0,
    )


def _marker(client: NodeClient, record: ClusterRecord) -> dict[str, Any]:
    return {
        "id": MARKER,
        "name": record.name,
        "cluster_id": record.id,
        "node": client.name,
        "epoch": record.epoch,
    }


def _manifest(map: IndexMap) -> dict[str, Any]:
    index = map.index
    return {
        "id": f"index-{index.uid}",
        "epoch": map.epoch,
        "uid": index.uid,
        "incarnation": index.incarnation,
        "primary_key": index.primary_key,
        "shards": index.shards,
        "replicas": index.replicas,
        "tie_break": index.tie_break,
        "settings": index.settings,
        "placement": [[replica.shard, replica.node, replica.state.value, replica.since] for replica in map.replicas],
    }
