"""`similar`: documents near another one by their vectors, over all shards of an index, answered as one node would."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from miroir_cli.documents.route import shard_of
from miroir_cli.errors import NodeRefusal, NodeUnavailable
from miroir_cli.model import shard_filter
from miroir_cli.search.filters import rewrite
from miroir_cli.search.likeness import (
    Likeness,
    assemble_similar,
    check_settings,
    likeness_of,
    nearest,
    search_by,
    vector_of,
)
from miroir_cli.search.reading import Reader, SearchOptions, marked, read

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.model import Json, ShardId, StoredUid
    from miroir_cli.node.client import NodeClient

_NOT_HERE = "not_found_similar_id"


async def similar(cluster: Cluster, uid: str, request: Json, *, options: SearchOptions | None = None) -> dict[str, Any]:
    """The body that one Meilisearch with all documents would answer to `POST /indexes/{uid}/similar`.

    Partial answers, and what is raised, as for `search`; `UsageError` also for what only one node can answer: a
    document with several vectors, and settings that make searches reorder the nearest documents.
    """
    found: set[str] = set()

    async def replay(client: NodeClient, stored_as: StoredUid, timeout: float) -> object:
        try:
            return await client.similar(stored_as, request, timeout=timeout)
        except NodeRefusal as refusal:
            if found and refusal.node_code == _NOT_HERE:
                raise NodeUnavailable(
                    f"node `{refusal.node}` does not have the document", node=refusal.node, sent=True
                ) from None
            raise

    async def work(reader: Reader) -> dict[str, Any]:
        return await _similar(reader, request, found)

    return await read(cluster, uid, work, replay=replay, options=options)


async def _similar(reader: Reader, request: Json, found: set[str]) -> dict[str, Any]:
    """Adds the document to `found` once it is seen: nodes that do not have it have no say any more."""
    index = reader.map.index
    asked = likeness_of(request, index.settings)
    if asked is None:
        raise await reader.let_a_node_refuse()
    check_settings(index.settings)
    document, among_them = await _document(reader, asked, found)
    if document is None:
        raise await reader.let_a_node_refuse()
    prepared = search_by(vector_of(document, asked), asked, index)
    if prepared is None:
        raise await reader.let_a_node_refuse()

    async def ask(client: NodeClient, shards: tuple[ShardId, ...]) -> dict[str, Any]:
        return await client.search(reader.stored_as, nearest(prepared, asked, shards), timeout=reader.options.timeout)

    answers, missing = await reader.ask(ask)
    body = assemble_similar(asked, prepared, answers, index, among_them=among_them)
    return marked(body, missing)


async def _document(reader: Reader, asked: Likeness, found: set[str]) -> tuple[dict[str, Any] | None, bool]:
    """The document with its vectors, None without one, and whether it passes the filter."""
    conditions = rewrite(asked.passed.get("filter"))

    async def ask(client: NodeClient, shards: tuple[ShardId, ...]) -> dict[str, Any]:
        body, here = {"ids": [asked.id], "limit": 1, "retrieveVectors": True}, shard_filter(shards)
        timeout = reader.options.timeout
        seen = passing = await client.fetch_documents(reader.stored_as, {**body, "filter": [here]}, timeout=timeout)
        if seen["results"]:
            found.add(asked.id)
        if conditions and seen["results"]:
            passing = await client.fetch_documents(
                reader.stored_as, {**body, "filter": [*conditions, here]}, timeout=timeout
            )
        return {"found": seen["results"], "passing": passing["results"]}

    owner = shard_of(asked.id, reader.map.index.shards)
    answer = (await reader.ask_all(ask, [owner]))[0].body
    return (answer["found"][0] if answer["found"] else None), bool(answer["passing"])
