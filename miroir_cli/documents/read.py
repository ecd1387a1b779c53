"""Reading one document: from an in-sync replica of its shard, or the next one when that does not answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from miroir_cli.documents.refusals import KEY_TEXT
from miroir_cli.documents.route import shard_of
from miroir_cli.errors import (
    DocumentNotFound,
    NodeRefusal,
    NodeUnavailable,
    ReservedField,
    ShardUnavailable,
    UsageError,
)
from miroir_cli.model import RESERVED_PREFIX, SHARD_FIELD, IndexMap, NodeName, ShardId

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster

ATTEMPTS = 3
"""Readings of a document while replicas change under the reader, before it gives up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """Where a document lives, whether it exists or not: its shard and that shard's nodes by state. `index` is the
    index's own name."""

    index: str
    id: str
    shard: ShardId
    in_sync: tuple[NodeName, ...]
    others: dict[NodeName, str]


async def locate_document(cluster: Cluster, uid: str, id: str) -> Location:
    """The shard of a primary key and its replicas. Asks no node."""
    found = await cluster.reload_named(uid)
    shard = _shard_of(found, id)
    replicas = [replica for replica in found.replicas if replica.shard == shard]
    in_sync = found.in_sync()[shard]
    return Location(
        index=found.index.uid,
        id=id,
        shard=shard,
        in_sync=in_sync,
        others={replica.node: replica.state.value for replica in replicas if replica.node not in in_sync},
    )


async def get_document(
    cluster: Cluster, uid: str, id: str, *, fields: Sequence[str] | None = None, vectors: bool = False
) -> dict[str, Any]:
    """The document, without what is miroir's own; with its `vectors` if they are wanted. `uid` may be an alias.

    Raises `DocumentNotFound`, and `ShardUnavailable` when no in-sync replica of its shard answers.
    """
    for name in fields or ():
        if name.startswith(RESERVED_PREFIX):
            raise ReservedField(f"`{name}` is miroir's own field")
    for _ in range(ATTEMPTS):
        found = await cluster.named(uid)
        shard = _shard_of(found, id)
        try:
            node, document = await _ask(cluster, found, shard, id, fields, vectors)
        except (NodeRefusal, ShardUnavailable):
            if (await cluster.reload_named(uid)).index == found.index:
                raise
            continue
        if await cluster.still_valid(found, {node: (shard,)}):
            if document is None:
                raise DocumentNotFound(
                    f"document `{id}` not found in index `{uid}`",
                    hint=f"`miroir browse {uid}` lists those that there are",
                )
            document.pop(SHARD_FIELD, None)
            return document
        await cluster.reload_named(uid)
    raise ShardUnavailable(f"the replicas of index `{uid}` keep changing", hint="try again")


async def _ask(
    cluster: Cluster, found: IndexMap, shard: ShardId, id: str, fields: Sequence[str] | None, vectors: bool
) -> tuple[NodeName, dict[str, Any] | None]:
    """Who answered, and the document; None when there is no such document."""
    reasons: list[str] = []
    nodes = [name for name in found.in_sync()[shard] if name in cluster.fleet]
    first = cluster.rotation % len(nodes) if nodes else 0
    for name in nodes[first:] + nodes[:first]:
        try:
            names = None if fields is None else list(fields)
            return name, await cluster.fleet[name].get_document(
                found.index.stored_as, id, fields=names, vectors=vectors
            )
        except NodeRefusal as error:
            if error.node_code == "document_not_found":
                return name, None
            if error.node_code != "index_not_found":
                raise
            reasons.append(error.message)
        except NodeUnavailable as error:
            reasons.append(error.message)
    raise ShardUnavailable(
        f"no in-sync replica of shard {shard} of index `{found.index.uid}` answers"
        + (f": {'; '.join(reasons)}" if reasons else ""),
        hint="run `miroir status` to see its replicas",
    )


def _shard_of(found: IndexMap, id: str) -> ShardId:
    if not KEY_TEXT.fullmatch(id):
        raise UsageError(
            f"`{id}` cannot be a document's id",
            hint="ids are integers, or letters, digits, `-` and `_`, shorter than 512 bytes",
        )
    return shard_of(id, found.index.shards)
