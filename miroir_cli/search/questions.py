"""What is asked of the nodes for one search: hits, counts, facets, the vector of a text; and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from miroir_cli.errors import NodeRefusal, ShardUnavailable
from miroir_cli.search.distinct_answer import answer_distinct
from miroir_cli.search.hidden import hidden_rules, hides, reveal, sort_rules
from miroir_cli.search.merge import NodeAnswer, Ranking, cut_short, needs_count, rank, reaches
from miroir_cli.search.request import Prepared, prepare
from miroir_cli.search.semantics import CANNOT_EMBED
from miroir_cli.search.whole_facets import too_many_values, whole_facets
from miroir_cli.search.window import GEO_MARGIN

if TYPE_CHECKING:
    from miroir_cli.model import Json, ShardId
    from miroir_cli.node.client import NodeClient
    from miroir_cli.search.rank import Hit
    from miroir_cli.search.reading import Question, Reader

NOTHING: Mapping[str, dict[str, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the nodes answered to a request, and what is made of it. `missing`: shards that nobody answered for.

    `by_vector`: vectors were looked at, so that all that the filter keeps is found, whatever its words.
    """

    prepared: Prepared
    answers: Sequence[NodeAnswer]
    ranking: Ranking
    missing: Sequence[ShardId]
    by_vector: bool = False


async def prepared_for(reader: Reader, request: Json, *, scored: bool = False) -> Prepared:
    prepared = prepare(request, reader.map.index, scored=scored)
    if prepared is None:
        raise await reader.let_a_node_refuse()
    return prepared


async def ask_nodes(
    reader: Reader, prepared: Prepared, *, sparing: bool = False
) -> tuple[list[NodeAnswer], tuple[ShardId, ...]]:
    """Answers with all the hits that decide (`sparing`: that are likely to), and the shards without one."""
    more = GEO_MARGIN
    answers, missing = await reader.ask(hits_of(reader, prepared, sparing=sparing), prepared.shards)
    while prepared.by_distance and len(answers) > 1 and not reaches(prepared, answers, reader.map.index, more):
        more *= 10
        answers, missing = await reader.ask(hits_of(reader, prepared, more), prepared.shards)
    return answers, missing


async def ask_sparingly(reader: Reader, prepared: Prepared) -> tuple[list[NodeAnswer], tuple[ShardId, ...], Ranking]:
    """The same with the ranking: nodes are asked for the hits that they are likely to add, and those again of which
    that was too few."""
    answers, missing = await ask_nodes(reader, prepared, sparing=True)
    ranking = await ranking_of(reader, prepared, answers)
    if short := cut_short(answers, ranking, prepared.window.needed):
        shards = [shard for answer in short for shard in answer.shards]
        more = await reader.ask_all(hits_of(reader, prepared), shards)
        answers = [*(answer for answer in answers if not set(answer.shards) & set(shards)), *more]
        ranking = await ranking_of(reader, prepared, answers)
    return answers, missing, ranking


def hits_of(reader: Reader, prepared: Prepared, more: int = GEO_MARGIN, *, sparing: bool = False) -> Question:
    features = reader.cluster.features if sparing else None
    every = reader.map.index.shards if prepared.shards is None else len(prepared.shards)

    async def ask(client: NodeClient, shards: tuple[ShardId, ...]) -> dict[str, Any]:
        # A pinned document may have a place behind those that a node is asked for.
        share = len(shards) / every if features is not None and features.pins_nothing(client.name) else 1.0
        body = await client.search(
            reader.stored_as, prepared.for_shards(shards, more, share), timeout=reader.options.timeout
        )
        await _reveal(reader, prepared, client, body["hits"])
        return body

    return ask


async def counts(reader: Reader, prepared: Prepared, answers: Sequence[NodeAnswer]) -> list[NodeAnswer]:
    """What the shards that `answers` are about count apart, whether it reaches a threshold or not."""

    async def count(client: NodeClient, shards: tuple[ShardId, ...]) -> dict[str, Any]:
        return await client.search(
            reader.stored_as, prepared.for_count(shards, above=False), timeout=reader.options.timeout
        )

    return await reader.ask_all(count, [shard for answer in answers for shard in answer.shards])


async def ranking_of(reader: Reader, prepared: Prepared, answers: Sequence[NodeAnswer]) -> Ranking:
    """The hits of the answers in order, counted and with facets as one node has them."""
    if prepared.distinct and len(answers) > 1 and (prepared.window.needed or prepared.window.pages):
        return await answer_distinct(reader, prepared, answers)
    counted = await counts(reader, prepared, answers) if needs_count(prepared, answers) else None
    found = await listed(reader, prepared, counted or answers, above=counted is None)
    return rank(prepared, answers, reader.map.index, counted=counted, listed=found)


async def listed(
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


async def ask_one(
    reader: Reader, body: Json, shards: Sequence[ShardId], *, instead: Mapping[str, dict[str, Any]] = NOTHING
) -> dict[str, Any]:
    """The answer of the first node that has one. `instead`: answers that stand for refusals with a code."""

    async def ask(client: NodeClient, _: tuple[ShardId, ...]) -> dict[str, Any]:
        try:
            return await client.search(reader.stored_as, body, timeout=reader.options.timeout)
        except NodeRefusal as refusal:
            if refusal.node_code in instead:
                return instead[refusal.node_code]
            raise

    for shard in shards[:-1]:
        try:
            return (await reader.ask_all(ask, [shard]))[0].body
        except ShardUnavailable:
            continue
    return (await reader.ask_all(ask, [shards[-1]]))[0].body


async def embed(reader: Reader, body: Json, shards: Sequence[ShardId], *, may_fail: bool = False) -> list[float] | None:
    """The vector of the query's text, made by one node so that all look for the same; None if it failed and may."""
    instead = {CANNOT_EMBED: dict[str, Any]()} if may_fail else NOTHING
    vector: list[float] | None = (await ask_one(reader, body, shards, instead=instead)).get("queryVector")
    return vector


async def _reveal(reader: Reader, prepared: Prepared, client: NodeClient, hits: list[Hit]) -> None:
    """Read sort values that a node hides from its documents."""
    if not hides(hits):
        return
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
    found = await client.fetch_documents(reader.stored_as, body, timeout=reader.options.timeout)
    reveal(hits, hidden, {str(document[key]): document for document in found["results"]}, key)
