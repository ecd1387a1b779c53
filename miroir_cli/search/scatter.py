"""`search`: one query over all shards of an index, answered as one node would."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from miroir_cli.errors import UsageError
from miroir_cli.search.hidden import hidden_rules, reveal, sort_rules
from miroir_cli.search.merge import merge, needs_count, reaches
from miroir_cli.search.reading import Reader, SearchOptions, read
from miroir_cli.search.request import prepare
from miroir_cli.search.window import GEO_MARGIN

if TYPE_CHECKING:
    from miroir_cli.cluster import Cluster
    from miroir_cli.model import Json, ShardId
    from miroir_cli.node.client import NodeClient
    from miroir_cli.search.merge import NodeAnswer
    from miroir_cli.search.rank import Hit
    from miroir_cli.search.request import Prepared


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
    found = await find(reader, request)
    body = merge(found.prepared, found.answers, reader.map.index, counted=found.counted)
    if found.missing:
        body["partial"] = True
        body["missingShards"] = list(found.missing)
    return body


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the nodes answered to a request, ready to be merged. `missing`: shards that nobody answered for."""

    prepared: Prepared
    answers: Sequence[NodeAnswer]
    counted: Sequence[NodeAnswer] | None
    missing: Sequence[ShardId]


async def find(reader: Reader, request: Json) -> Found:
    """Ask the nodes of an index. Raises as `search` does."""
    prepared = prepare(request, reader.map.index)
    if prepared is None:
        raise await reader.let_a_node_refuse()

    more = GEO_MARGIN

    async def ask(client: NodeClient, shards: tuple[ShardId, ...]) -> dict[str, Any]:
        body = await client.search(reader.uid, prepared.for_shards(shards, more), timeout=reader.options.timeout)
        await _reveal(reader, prepared, client, body["hits"])
        return body

    async def count(client: NodeClient, shards: tuple[ShardId, ...]) -> dict[str, Any]:
        return await client.search(reader.uid, prepared.for_count(shards), timeout=reader.options.timeout)

    answers, missing = await reader.ask(ask)
    while prepared.by_distance and len(answers) > 1 and not reaches(prepared, answers, reader.map.index, more):
        more *= 10
        answers, missing = await reader.ask(ask)
    if prepared.unmergeable and len(answers) > 1:
        raise UsageError(
            f"cannot be merged exactly over several nodes: {prepared.unmergeable}", hint="leave one of them out"
        )
    counted = None
    if needs_count(prepared, answers):
        counted = await reader.ask_all(count, [shard for answer in answers for shard in answer.shards])
    return Found(prepared=prepared, answers=answers, counted=counted, missing=missing)


async def _reveal(reader: Reader, prepared: Prepared, client: NodeClient, hits: list[Hit]) -> None:
    """Read sort values that a node hides from its documents."""
    ranking_rules = reader.map.index.settings.get("rankingRules")
    rules = sort_rules(prepared.original, ranking_rules, last=prepared.view.hidden_rule)
    hidden = hidden_rules(hits, rules)
    if not hidden:
        return
    key = prepared.primary_key
    body = {
        "ids": [hit[key] for hit in hits],
        "fields": [key, *{rule.field for rule in hidden.values()}],
        "limit": len(hits),
    }
    found = await client.fetch_documents(reader.uid, body, timeout=reader.options.timeout)
    reveal(hits, hidden, {str(document[key]): document for document in found["results"]}, key)
