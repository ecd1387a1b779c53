"""`search`: one query over all shards of an index, answered as one node would."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from miroir_cli.model import ShardId
from miroir_cli.search.hybrid_answer import answer_hybrid
from miroir_cli.search.merge import SEMANTIC_HITS, assemble
from miroir_cli.search.questions import Found, ask_nodes, ask_sparingly, embed, prepared_for, ranking_of
from miroir_cli.search.reading import Reader, SearchOptions, marked, read
from miroir_cli.search.request import refuse
from miroir_cli.search.semantics import Semantics, embedding_request, semantics_of, vector_request

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.model import Json, StoredUid
    from miroir_cli.node.client import NodeClient


async def search(cluster: Cluster, uid: str, request: Json, *, options: SearchOptions | None = None) -> dict[str, Any]:
    """The body that one Meilisearch with all documents would answer to `POST /indexes/{uid}/search`.

    With `"partial": true` and `"missingShards"` added when shards have no in-sync replica that answers and that was
    allowed. Raises `ShardUnavailable` naming them otherwise, `NodeRefusal` in a node's own words when the request is
    wrong, `ReservedField` and `UsageError` for what cannot be asked, `IndexNotFound`.
    """

    async def replay(client: NodeClient, stored_as: StoredUid, timeout: float) -> object:
        return await client.search(stored_as, request, timeout=timeout)

    return await read(cluster, uid, lambda reader: _search(reader, request), replay=replay, options=options)


async def _search(reader: Reader, request: Json) -> dict[str, Any]:
    asked = await _semantics(reader, request)
    found = await _find(reader, request, asked, sparing=True)
    body = assemble(found.prepared, found.answers, found.ranking)
    if asked.kind == "hybrid":
        body.setdefault(SEMANTIC_HITS, 0)
    return marked(body, found.missing)


async def find(reader: Reader, request: Json) -> Found:
    """Ask the nodes of an index, by words, by vectors or by both. Raises as `search` does."""
    return await _find(reader, request, await _semantics(reader, request))


async def _semantics(reader: Reader, request: Json) -> Semantics:
    refuse(request)
    asked = semantics_of(request)
    if asked is None:
        raise await reader.let_a_node_refuse()
    return asked


async def _find(reader: Reader, request: Json, asked: Semantics, *, sparing: bool = False) -> Found:
    """`sparing`: nodes are asked for no more hits than they are likely to add."""
    if asked.kind == "hybrid":
        return await answer_hybrid(reader, request, asked)
    if asked.kind == "semantic" and asked.vector is None:
        shards = [ShardId(shard) for shard in range(reader.map.index.shards)]
        vector = await embed(reader, embedding_request(request, asked), shards)
        request = vector_request(request, asked, vector or ())
    prepared = await prepared_for(reader, request)
    if sparing and prepared.first_hits_alone_decide and reader.map.index.tie_break:
        answers, missing, ranking = await ask_sparingly(reader, prepared)
    else:
        answers, missing = await ask_nodes(reader, prepared)
        ranking = await ranking_of(reader, prepared, answers)
    by_vector = asked.kind == "semantic"
    return Found(prepared=prepared, answers=answers, ranking=ranking, missing=missing, by_vector=by_vector)
