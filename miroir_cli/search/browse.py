"""`browse`: documents themselves, over all shards, in the order of their primary keys or sorted.

One node lists documents in the order in which they came, which a cluster does not know: here the order is that of
primary keys, as in searches (numbers, then texts by their normalised form). First the keys of the documents wanted are
found, then these documents are fetched; what is deleted in between is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from miroir_cli.documents.route import shard_of
from miroir_cli.errors import ReservedField
from miroir_cli.model import RESERVED_PREFIX, SHARD_FIELD, ShardId, shard_filter
from miroir_cli.search.facet_values import normalise
from miroir_cli.search.filters import rewrite
from miroir_cli.search.merge import NodeAnswer, ordered_hits
from miroir_cli.search.narrow import narrowed
from miroir_cli.search.rank import identity, rank_keys
from miroir_cli.search.reading import Reader, SearchOptions, marked, read
from miroir_cli.search.request import prepare, refuse
from miroir_cli.search.sorting import SortRule, sort_details, sort_rules
from miroir_cli.search.view import DETAILS, VECTORS, select

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.model import Json, StoredUid
    from miroir_cli.node.client import NodeClient

EVERYTHING = 2**31 - 1
LARGEST_SIZE = 2**64 - 1
"""What nodes take for an offset or a limit."""

DEFAULT_LIMIT = 20

RANKED_UP_TO = 1000
"""Documents up to which their keys are found by a search for everything; beyond, all keys are listed."""

DEEPER = 4
_KNOWN = ("offset", "limit", "fields", "filter", "ids", "sort", "retrieveVectors")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What a client asks for. `filters` are all required."""

    offset: int
    limit: int
    fields: list[str] | None
    filters: tuple[Any, ...]
    ids: tuple[str, ...] | None
    sort: tuple[SortRule, ...]
    vectors: bool

    @property
    def end(self) -> int:
        return self.offset + self.limit


async def browse(cluster: Cluster, uid: str, request: Json, *, options: SearchOptions | None = None) -> dict[str, Any]:
    """The body of `POST /indexes/{uid}/documents/fetch`, in the order of primary keys.

    Raises and marks partial answers as `search` does.
    """

    async def replay(client: NodeClient, stored_as: StoredUid, timeout: float) -> object:
        return await client.fetch_documents(stored_as, request, timeout=timeout)

    return await read(cluster, uid, lambda reader: _browse(reader, request), replay=replay, options=options)


async def _browse(reader: Reader, request: Json) -> dict[str, Any]:
    page = page_of(request)
    if page is None:
        raise await reader.let_a_node_refuse()
    keys, total, missing = await _keys(reader, page)
    documents = await fetch(reader, page, keys[page.offset : page.end])
    body = {"results": documents, "offset": page.offset, "limit": page.limit, "total": total}
    return marked(body, missing)


def page_of(request: Json) -> Page | None:
    """A request read; None when a part of it has a wrong type, which a node has to refuse in its own words."""
    refuse(request)
    fields, sort, ids = request.get("fields"), request.get("sort"), request.get("ids")
    for names in (fields, sort):
        if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
            return None
    sizes = (request.get("offset", 0), request.get("limit", DEFAULT_LIMIT))
    if not all(isinstance(size, int) and not isinstance(size, bool) and 0 <= size <= LARGEST_SIZE for size in sizes):
        return None
    if ids is not None and not (isinstance(ids, list) and all(type(each) in (int, str) for each in ids)):
        return None
    rules = sort_rules(sort or ())
    if rules is None or not isinstance(request.get("retrieveVectors", False), bool) or set(request) - set(_KNOWN):
        return None
    if reserved := [name for name in fields or () if name.startswith(RESERVED_PREFIX)]:
        raise ReservedField(f"`fields` names `{reserved[0]}`: attributes that begin with `_miroir_` are miroir's own")
    return Page(
        offset=sizes[0],
        limit=sizes[1],
        fields=fields,
        filters=tuple(rewrite(request.get("filter"))),
        ids=None if ids is None else tuple(dict.fromkeys(map(str, ids))),
        sort=rules,
        vectors=request.get("retrieveVectors", False),
    )


def key_order(key: Any) -> tuple[Any, ...]:
    """The place of a primary key among others, the same as in searches."""
    return (1, normalise(key), key) if isinstance(key, str) else (0, key, "")


# -- which documents


async def _keys(reader: Reader, page: Page) -> tuple[list[Any], int, tuple[ShardId, ...]]:
    """The keys of the documents up to the end of the page, in order; how many there are in all; missing shards."""
    if page.sort:
        return await _sorted_keys(reader, page)
    index = reader.map.index
    rules = index.settings.get("rankingRules") or ()
    if page.ids is None and index.tie_break and page.end <= RANKED_UP_TO and not any(":" in rule for rule in rules):
        return await _first_keys(reader, page)
    answers, missing = await _listed(reader, page, [index.primary_key], limit=EVERYTHING)
    keys = [identity(found, index.primary_key)[1] for answer in answers for found in answer.body["results"]]
    return sorted(keys, key=key_order), len(keys), missing


async def _first_keys(reader: Reader, page: Page) -> tuple[list[Any], int, tuple[ShardId, ...]]:
    """By a search without words, which the last ranking rule orders by primary key."""
    primary_key = reader.map.index.primary_key
    prepared = prepare({"filter": list(page.filters)}, reader.map.index)
    assert prepared is not None

    async def first(client: NodeClient, shards: tuple[ShardId, ...]) -> dict[str, Any]:
        body = prepared.for_every(shards, most=page.end, keys_only=True)
        return await client.search(reader.stored_as, body, timeout=reader.options.timeout)

    answers, missing = await reader.ask(first, prepared.shards)
    hits = ordered_hits(prepared, answers, reader.map.index)
    return [identity(hit, primary_key)[1] for hit in hits], sum(answer.total for answer in answers), missing


async def _sorted_keys(reader: Reader, page: Page) -> tuple[list[Any], int, tuple[ShardId, ...]]:
    """By the nodes' own sort, as far as it takes to know which of the documents with equal values come first."""
    primary_key = reader.map.index.primary_key
    names = sorted({primary_key, *(rule.field for rule in page.sort)})
    limit = min(max(page.end, 1), EVERYTHING)
    while True:
        answers, missing = await _listed(reader, page, names, limit=limit)
        found: list[dict[str, Any]] = []
        last: list[int] = []  # places of the last documents of nodes that may have more
        for answer in answers:
            results = answer.body["results"]
            found += [{**each, DETAILS: sort_details(each, page.sort)} for each in results]
            if len(results) == limit:
                last.append(len(found) - 1)
        total = sum(answer.body["total"] for answer in answers)
        ranks = rank_keys(found, primary_key=primary_key, candidates=total)
        order = sorted(range(len(found)), key=ranks.__getitem__)
        if not last or all(ranks[order[_end(page, order)]][:-1] < ranks[place][:-1] for place in last):
            return [identity(found[place], primary_key)[1] for place in order], total, missing
        limit = min(limit * DEEPER, EVERYTHING)


def _end(page: Page, order: Sequence[int]) -> int:
    """The place of the last document of the page in the order."""
    return min(max(page.end, 1), len(order)) - 1


async def _listed(
    reader: Reader, page: Page, names: Sequence[str], *, limit: int
) -> tuple[list[NodeAnswer], tuple[ShardId, ...]]:
    """Of each node the first documents that are asked for, with only these fields; of all, when `limit` allows."""
    fields = sorted({*names, *(name.partition(".")[0] for name in names)})
    body: dict[str, Any] = {"fields": fields, "limit": limit}
    if page.sort:
        body["sort"] = [rule.name for rule in page.sort]
    wanted = None if page.ids is None else by_shard(page.ids, reader.map.index.shards)

    async def listed(client: NodeClient, shards: tuple[ShardId, ...]) -> dict[str, Any]:
        asked = {**body, "filter": [*page.filters, shard_filter(shards)]}
        if wanted is not None:
            asked["ids"] = [key for shard in shards for key in wanted.get(shard, ())]
        return await client.fetch_documents(reader.stored_as, asked, timeout=reader.options.timeout)

    if wanted:
        return await reader.ask(listed, sorted(wanted))
    index = reader.map.index
    return await reader.ask(listed, narrowed(page.filters, index.primary_key, lambda key: shard_of(key, index.shards)))


def by_shard(keys: Sequence[Any], shards: int) -> dict[ShardId, list[str]]:
    found: dict[ShardId, list[str]] = {}
    for text in map(str, keys):
        found.setdefault(shard_of(text, shards), []).append(text)
    return found


# -- the documents


async def fetch(reader: Reader, page: Page, keys: Sequence[Any]) -> list[dict[str, Any]]:
    """The documents with these keys, in their order, as the client wants to see them."""
    primary_key = reader.map.index.primary_key
    wanted = by_shard(keys, reader.map.index.shards)
    body: dict[str, Any] = {} if page.fields is None else {"fields": [*page.fields, primary_key]}
    if page.vectors:
        body["retrieveVectors"] = True

    async def fetched(client: NodeClient, shards: tuple[ShardId, ...]) -> dict[str, Any]:
        ids = [key for shard in shards for key in wanted[shard]]
        asked = {**body, "ids": ids, "filter": shard_filter(shards), "limit": len(ids)}
        return await client.fetch_documents(reader.stored_as, asked, timeout=reader.options.timeout)

    if not wanted:
        return []
    answers = await reader.ask_all(fetched, sorted(wanted))
    found = {identity(each, primary_key)[1]: each for answer in answers for each in answer.body["results"]}
    return [_shown(found[key], page) for key in keys if key in found]


def _shown(document: dict[str, Any], page: Page) -> dict[str, Any]:
    document.pop(SHARD_FIELD, None)
    if page.fields is None:
        return document
    vectors = {VECTORS: document[VECTORS]} if page.vectors and VECTORS in document else {}
    return select({name: value for name, value in document.items() if name not in vectors}, page.fields) | vectors
