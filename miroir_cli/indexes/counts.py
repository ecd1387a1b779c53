"""Documents of an index, each counted once whatever the number of replicas."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from miroir_cli.errors import MiroirError, NodeRefusal
from miroir_cli.model import SHARD_FIELD, IndexMap, Json, NodeName, ShardId, StoredUid, shard_filter

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.node.client import NodeClient


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How many documents the shards in `counted` hold together; `missing` names the shards that nobody could count."""

    documents: int
    missing: tuple[ShardId, ...] = ()
    errors: Mapping[NodeName, str] = field(default_factory=dict)


async def count_documents(
    cluster: Cluster, map: IndexMap, *, ids: Sequence[str] | None = None, filter: Sequence[Any] = ()
) -> Count:
    """Ask one in-sync replica of each shard, another one when its node fails.

    With `ids`, only documents of these keys count; with `filter`, those for which all its elements hold. Raises
    `NodeRefusal` when a node finds the filter wrong.
    """
    candidates = map.in_sync()
    open_shards = set(candidates)
    failed: dict[NodeName, str] = {}
    documents = 0
    while True:
        asks: dict[NodeName, list[ShardId]] = {}
        for shard in sorted(open_shards):
            usable = [name for name in candidates[shard] if name not in failed and name in cluster.fleet]
            if usable:
                chosen = min(usable, key=lambda name: (name not in asks, len(asks.get(name, ())), name))
                asks.setdefault(chosen, []).append(shard)
        if not asks:
            return Count(documents=documents, missing=tuple(sorted(open_shards)), errors=failed)
        selection = {"ids": list(ids)} if ids is not None else {}
        bodies = {name: {**_only(shards, filter), **selection} for name, shards in asks.items()}
        found = await cluster.fleet.each(
            partial(_fetch, map.index.stored_as, bodies, cluster.patience.answer), names=asks
        )
        for name, answer in found.items():
            if isinstance(answer, NodeRefusal) and filter:
                raise answer
            if isinstance(answer, MiroirError):
                failed[name] = answer.message
            else:
                documents += answer
                open_shards.difference_update(asks[name])


async def _fetch(uid: StoredUid, bodies: Mapping[NodeName, Json], limit: float, client: NodeClient) -> int:
    found = await client.fetch_documents(uid, bodies[client.name], timeout=limit)
    with client.understood():
        return int(found["total"])


def _only(shards: list[ShardId], filter: Sequence[Any]) -> dict[str, Any]:
    return {"filter": [shard_filter(shards), *filter], "limit": 0, "fields": []}


async def index_stats(cluster: Cluster, uid: str) -> dict[str, Any]:
    """`numberOfDocuments` counted once, `isIndexing` of any node, the nodes' own numbers, and `fieldDistribution`
    where it can be told exactly: when every replica of every shard is in sync and answers (null otherwise)."""
    map = await cluster.reload(uid)
    count = await count_documents(cluster, map)
    stats = await cluster.fleet.each(
        lambda client: client.stats(map.index.stored_as), names=[name for name in map.nodes() if name in cluster.fleet]
    )
    good = {name: answer for name, answer in stats.items() if not isinstance(answer, MiroirError)}
    stored = sum(int(answer["numberOfDocuments"]) for answer in good.values())
    copies = len(map.replicas) // map.index.shards
    whole = len(good) == len(map.nodes()) and stored == copies * count.documents and not count.missing
    fields: Counter[str] = Counter()
    for answer in good.values():
        fields.update(answer.get("fieldDistribution", {}))
    fields.pop(SHARD_FIELD, None)
    return {
        "uid": uid,
        "numberOfDocuments": count.documents,
        "isIndexing": any(answer.get("isIndexing", False) for answer in good.values()),
        "fieldDistribution": {name: fields[name] // copies for name in sorted(fields)} if whole else None,
        "missingShards": list(count.missing),
        "nodes": [
            {"name": name, "documents": None if name not in good else int(good[name]["numberOfDocuments"])}
            for name in map.nodes()
        ],
    }
