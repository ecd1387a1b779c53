"""The cluster and its nodes.

`miroir:cluster` has name, id, epoch and renamed; `miroir:members` the url of each node, and their listing the highest
task uid of each as its score.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Final

from miroir_cli.model import NodeName
from miroir_cli.store.records import ClusterRecord, Member
from miroir_cli.store.redis.keys import CLUSTER, listing

if TYPE_CHECKING:
    from miroir_cli.store.redis.transaction import Transaction

MEMBERS: Final = "miroir:members"


async def read_cluster(tx: Transaction) -> ClusterRecord | None:
    fields = await tx.hash(CLUSTER)
    if not fields:
        return None
    return ClusterRecord(
        name=fields["name"], id=fields["id"], epoch=int(fields["epoch"]), renamed=int(fields["renamed"])
    )


async def found_cluster(tx: Transaction, *, name: str) -> ClusterRecord:
    found = await read_cluster(tx)
    if found is not None:
        return found
    record = ClusterRecord(name=name, id=uuid.uuid4().hex, epoch=1)
    await save_cluster(tx, record)
    return record


async def save_cluster(tx: Transaction, record: ClusterRecord) -> None:
    (await tx.hash(CLUSTER)).replace(
        {"name": record.name, "id": record.id, "epoch": str(record.epoch), "renamed": str(record.renamed)}
    )


async def read_members(tx: Transaction) -> dict[NodeName, Member]:
    """All nodes that belong to the cluster, in the order of their names."""
    await tx.ahead(hashes=[MEMBERS], sets=[listing("members")])
    urls = await tx.hash(MEMBERS)
    tops = {member.name: int(member.score) for member in await tx.ranged(listing("members"))}
    return {NodeName(name): Member(name=NodeName(name), url=urls[name], top_task=tops[name]) for name in sorted(urls)}


async def enrol(tx: Transaction, member: Member) -> None:
    (await tx.hash(MEMBERS))[member.name] = member.url
    tx.add(listing("members"), member.name, member.top_task)


async def forget_member(tx: Transaction, node: NodeName) -> None:
    """The node is no member any more."""
    (await tx.hash(MEMBERS)).pop(node, None)
    tx.discard(listing("members"), node)
