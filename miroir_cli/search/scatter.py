"""`search`: one query over all shards of an index, answered as one node would."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from miroir_cli.search.distinct_answer import answer_distinct
from miroir_cli.search.merge import NodeAnswer, merge, needs_count
from miroir_cli.search.reading import Reader, SearchOptions, read
from miroir_cli.search.request import Prepared, prepare
from miroir_cli.search.whole_facets import too_many_values, whole_facets

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.model import Json, ShardId
    from miroir_cli.node.client import NodeClient


async def search(cluster: Cluster, uid: str, request: Json, *, options: SearchOptions | None = None) -> dict[str, Any]:
    """The body that one Meilisearch with all documents would answer to `POST /indexes/{uid}/search`.

    With `"partial": true` and `"missingShards"` added when shards have no in-sync replica that answers and that was
    allowed. Raises `ShardUnavailable` naming them otherwise, `NodeRefusal` in a node's own words when the request is
    wrong, `ReservedField` and `UsageError` for what cannot be asked, `IndexNotFound`.
    """

    async def replay(client: NodeClient) -> object:
        return await client.search(uid, request, timeout=chosen.timeout)

    chosen = options or SearchOptions()
    return await read(cluster, uid, lambda reader: _search(reader, request), replay=replay, options=chosen)


async def _search(reader: Reader, request: Json) -> dict[str, Any]:
    prepared = prepare(request, reader.map.index)
    if prepared is None:
        raise await reader.let_a_node_refuse()

    async def ask(client: NodeClient, shards: tuple[ShardId, ...]) -> dict[str, Any]:
        return await client.search(reader.uid, prepared.for_shards(shards), timeout=reader.options.timeout)

    async def count(client: NodeClient, shards: tuple[ShardId, ...]) -> dict[str, Any]:
        return await client.search(reader.uid, prepared.for_count(shards), timeout=reader.options.timeout)

    answers, missing = await reader.ask(ask, prepared.shards)
    if prepared.distinct and len(answers) > 1 and (prepared.window.needed or prepared.window.pages):
        body = await answer_distinct(reader, prepared, answers)
    else:
        counted = None
        if needs_count(prepared, answers):
            counted = await reader.ask_all(count, [shard for answer in answers for shard in answer.shards])
        listed = await _listed(reader, prepared, counted or answers, above=counted is None)
        body = merge(prepared, answers, reader.map.index, counted=counted, listed=listed)
    if missing:
        body["partial"] = True
        body["missingShards"] = list(missing)
    return body


async def _listed(
    reader: Reader, prepared: Prepared, counting: Sequence[NodeAnswer], *, above: bool
) -> Sequence[NodeAnswer] | None:
    """Answers with the client's facets, listed far enough. `above`: of what reaches the threshold."""
    if prepared.facets is None or (prepared.distinct and len(counting) == 1):
        return None
    found = await whole_facets(
        reader,
        counting,
        lambda shards: prepared.for_count(shards, above=above),
        prepared.facets,
        limit=prepared.listed,
    )
    if found is None:
        raise too_many_values(reader, prepared.listed)
    return found
