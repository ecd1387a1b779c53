"""What all nodes together tell of an index: documents counted once, sizes, fields, and when it last changed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from miroir_cli.errors import MiroirError, NodeUnavailable, ShardUnavailable
from miroir_cli.indexes.counts import count_documents
from miroir_cli.model import RESERVED_INDEX, RESERVED_PREFIX, IndexMap, Json, NodeName, StoredUid, shards_named
from miroir_cli.node.client import path_of

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster

MOST_INDEXES = 100_000
SIZES = ("rawDocumentDbSize", "numberOfEmbeddings", "numberOfEmbeddedDocuments")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One index as Meilisearch's statistics have it. `sizes`: bytes of its databases on all nodes, by their names."""

    documents: int
    raw_size: int
    indexing: bool
    embeddings: int
    embedded: int
    fields: Mapping[str, int]
    sizes: Mapping[str, int] = field(default_factory=dict)

    @property
    def average_size(self) -> int:
        return self.raw_size // self.documents if self.documents else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """The statistics of the whole cluster: sizes in bytes on all nodes that answered."""

    size: int
    used: int
    last_update: str | None
    indexes: Mapping[str, Measure]


async def measure_index(cluster: Cluster, uid: str, *, sizes: bool = False) -> Measure:
    """One index. Raises `ShardUnavailable` when nobody can count some of its documents."""
    map = await cluster.reload(uid)
    params = _params(sizes)
    found = await cluster.fleet.each(
        lambda client: client.get(path_of(map.index.stored_as, "stats"), params=params),
        names=[name for name in map.nodes() if name in cluster.fleet],
    )
    return await _measured(cluster, map, {name: each for name, each in found.items() if isinstance(each, dict)})


async def measure_all(cluster: Cluster, uids: Iterable[str], *, sizes: bool = False) -> Whole:
    """The whole cluster, with these indexes."""
    params = _params(sizes)
    found = await cluster.fleet.each(lambda client: client.get("stats", params=params))
    answers: dict[NodeName, dict[str, Any]] = {name: each for name, each in found.items() if isinstance(each, dict)}
    if not answers:
        raise next(
            (each for each in found.values() if isinstance(each, MiroirError)),
            NodeUnavailable("no node answers", node="", sent=False),
        )
    wanted = frozenset(uids)
    maps = [map for map in await cluster.store.maps() if map.index.uid in wanted]

    async def one(map: IndexMap) -> Measure:
        uid = map.index.stored_as
        return await _measured(
            cluster, map, {name: each["indexes"][uid] for name, each in answers.items() if uid in each["indexes"]}
        )

    measures = await asyncio.gather(*map_in_turn(one, maps))
    return Whole(
        size=sum(int(each["databaseSize"]) for each in answers.values()),
        used=sum(int(each.get("usedDatabaseSize", 0)) for each in answers.values()),
        last_update=latest(each.get("lastUpdate") for each in answers.values()),
        indexes={map.index.uid: measure for map, measure in zip(maps, measures, strict=True)},
    )


def map_in_turn(work: Any, maps: list[IndexMap], *, most: int = 8) -> list[Any]:
    """The work on each, of which only so many are under way at once."""
    turns = asyncio.Semaphore(most)

    async def one(map: IndexMap) -> Any:
        async with turns:
            return await work(map)

    return [one(map) for map in maps]


def _params(sizes: bool) -> dict[str, str]:
    return {"showInternalDatabaseSizes": "true"} if sizes else {}


async def _measured(cluster: Cluster, map: IndexMap, answers: Mapping[NodeName, Json]) -> Measure:
    count = await count_documents(cluster, map)
    if count.missing:
        raise ShardUnavailable(f"nobody can count {shards_named(count.missing)} of index `{map.index.uid}`")
    stored = sum(int(answer["numberOfDocuments"]) for answer in answers.values())
    totals: Counter[str] = Counter()
    fields: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for answer in answers.values():
        totals.update({name: int(answer.get(name, 0)) for name in SIZES})
        fields.update(answer.get("fieldDistribution", {}))
        sizes.update(answer.get("internalDatabaseSizes", {}))

    def once(total: int) -> int:
        """What was summed over all that is stored, for each document once; exact when replicas are equally many."""
        return round(total * count.documents / stored) if stored else 0

    return Measure(
        documents=count.documents,
        raw_size=once(totals["rawDocumentDbSize"]),
        indexing=any(answer.get("isIndexing", False) for answer in answers.values()),
        embeddings=once(totals["numberOfEmbeddings"]),
        embedded=once(totals["numberOfEmbeddedDocuments"]),
        fields={name: once(fields[name]) for name in sorted(fields) if not name.startswith(RESERVED_PREFIX)},
        sizes=dict(sizes),
    )


async def last_change(cluster: Cluster, map: IndexMap) -> str | None:
    """When an index last changed on any of its nodes that answers, as nodes write moments."""
    names = [name for name in map.nodes() if name in cluster.fleet]
    found = await cluster.fleet.each(lambda client: client.index(map.index.stored_as), names=names)
    return latest(index["updatedAt"] for index in found.values() if isinstance(index, dict))


async def last_changes(cluster: Cluster) -> dict[StoredUid, str]:
    """When each index last changed on any node that answers, as nodes write moments, by its name there."""
    found = await cluster.fleet.each(lambda client: client.get("indexes", params={"limit": MOST_INDEXES}))
    changes: dict[StoredUid, list[str]] = {}
    for page in found.values():
        for index in page["results"] if isinstance(page, dict) else ():
            if index["uid"] != RESERVED_INDEX:
                changes.setdefault(index["uid"], []).append(index["updatedAt"])
    return {uid: moment for uid, moments in changes.items() if (moment := latest(moments)) is not None}


def latest(moments: Iterable[str | None]) -> str | None:
    """The latest of moments that Meilisearch has written: fractions of seconds have as many digits as they need."""
    known = [moment for moment in moments if moment is not None]
    return max(known, key=lambda moment: (moment[:19], moment[19:].rstrip("Z").ljust(10, "0")), default=None)
